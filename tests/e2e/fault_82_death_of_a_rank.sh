#!/usr/bin/env bash
# Fault 82: a rank dies (first argument: kill, segv, abort, exit0) in set-up, data, step, checkpoint, as the first or the
# last of two: the job ends, soon, and never with success.
. "$(dirname "$0")/lib.sh"
kind=${1:-kill}
small_config cfg.ini 2

for point in run.init run.data_open run.data run.step step.backward run.checkpoint comm.finalize; do
    for rank in 0 1; do
        export NNTRAIN_FAULT="point=$point,kind=$kind,rank=$rank"
        rm -rf run
        expect_failure ranks 2 cfg.ini
        says "fault point $point, rank $rank: $kind"
    done
done
