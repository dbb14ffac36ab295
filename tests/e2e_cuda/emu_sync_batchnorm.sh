#!/usr/bin/env bash
# run.sync_batchnorm on the device: N ranks, their sums in NCCL's stream, are one rank with the whole batch, to 1e-4 (sums in
# another order, over 16 steps); so are N ranks whose steps are replayed as graphs, pieces, and a rank without samples.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1
sed -i 's/^batch = .*/batch = 22/; s/^threads = .*/&\ndevice = cuda/' cfg.ini
expect 0 nntrain cfg.ini run.output=b1
for n in 2 3; do
    for graph in yes no; do
        expect 0 ranks $n cfg.ini "run.output=b$n$graph" run.sync_batchnorm=yes run.cuda_graph=$graph run.bucket_mb=0.001
        close_losses b1 "b$n$graph" 1e-4
    done
    [ "$(digest_of "b${n}yes")" = "$(digest_of "b${n}no")" ] || fail "replayed steps have other bits"
done
# 256 samples are eleven batches of 22 and one of 14, in pieces of 5, 5 and 4: the eighth rank has none of them.
expect 0 nntrain cfg.ini run.output=p1 run.accumulate=3
expect 0 ranks 8 cfg.ini run.output=p8 run.accumulate=3 run.sync_batchnorm=yes
close_losses p1 p8 1e-4
expect 0 ranks 2 cfg.ini run.output=apart
(close_losses b1 apart 1e-4) 2>/dev/null && fail "batchnorm does not see the difference between one rank and two"
# bfloat16 activations have 8 bits
expect 0 nntrain cfg.ini run.output=h1 run.precision=bf16
expect 0 ranks 2 cfg.ini run.output=h2 run.precision=bf16 run.sync_batchnorm=yes
close_losses h1 h2 0.05
