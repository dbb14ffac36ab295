#!/usr/bin/env bash
# Acceptance 4: 1, 2, 3 and 4 ranks compute the same loss at every step, to 1e-5 relative (float sums in another order),
# on batches that do not divide by the ranks. Accumulation in pieces changes nothing more than that either. Batchnorm
# is left out: it normalises with the statistics of each rank's part.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 2
sed -i '/^batchnorm/d; s/^batch = .*/batch = 22/' cfg.ini

# same_losses A B
same_losses() { close_losses "$1" "$2" 1e-5 20; }
expect 0 nntrain cfg.ini run.output=n1
for n in 2 3 4; do
    expect 0 ranks "$n" cfg.ini "run.output=n$n"
    same_losses n1 "n$n"
done
expect 0 nntrain cfg.ini run.output=pieces run.accumulate=3
same_losses n1 pieces
expect 0 ranks 2 cfg.ini run.output=pieces2 run.accumulate=4
same_losses n1 pieces2

# PyTorch's weighted mean: the divisor is a sum over the ranks' labels, in training and in evaluation.
weighted=(loss.class_weights=1,2,3,4,5,6,7,8,9,10 loss.mean_over=weights)
expect 0 nntrain cfg.ini run.output=w1 "${weighted[@]}"
expect 0 ranks 3 cfg.ini run.output=w3 "${weighted[@]}"
same_losses w1 w3

# Synchronised batchnorm: N ranks normalise as one rank with the whole batch does; pieces, as one rank with the same pieces.
small_config bn.ini 2
sed -i 's/^batch = .*/batch = 22/' bn.ini
expect 0 nntrain bn.ini run.output=b1
for n in 2 3 4; do
    expect 0 ranks "$n" bn.ini "run.output=b$n" run.sync_batchnorm=yes
    same_losses b1 "b$n"
done
expect 0 nntrain bn.ini run.output=p1 run.accumulate=3
expect 0 ranks 4 bn.ini run.output=p4 run.accumulate=3 run.sync_batchnorm=yes
same_losses p1 p4
expect 0 ranks 2 bn.ini run.output=apart
(same_losses b1 apart) 2>/dev/null && fail "batchnorm does not see the difference between one rank and two"
expect 78 nntrain bn.ini run.output=p1 run.accumulate=3 run.epochs=3 run.sync_batchnorm=yes
says "run.sync_batchnorm: .no. -> .yes."
expect 0 nntrain cfg.ini run.output=none run.epochs=1 run.sync_batchnorm=yes
says 'the model has no batchnorm'
