#!/usr/bin/env bash
# Acceptance 2: with device = cuda the losses are those of ref to 1e-4 at every step, at 1, 2, 4 and 8 ranks: convolution,
# batchnorm, dropout (other masks would show at once) and a last batch that is smaller. 1e-4, because sums are made in
# another order and in float32, and the steps of training carry the difference on.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1
sed -i 's/^batch = .*/batch = 28/' cfg.ini
for n in 1 2 4 8; do
    [ $n -le "$gpus" ] || break
    expect 0 on $n cfg.ini run.device=ref "run.output=ref$n"
    expect 0 on $n cfg.ini run.device=cuda "run.output=cuda$n"
    close_losses "ref$n" "cuda$n" 1e-4
done

# In pieces, with clipping, and with another optimizer.
sed -i 's/^momentum = .*/type = adamw\nclip_norm = 0.5/; s/^lr = .*/lr = 0.01/' cfg.ini
expect 0 nntrain cfg.ini run.device=ref run.output=ref run.accumulate=2
expect 0 nntrain cfg.ini run.device=cuda run.output=cuda run.accumulate=2
close_losses ref cuda 1e-4
