#!/usr/bin/env bash
# Fault 14: rank 1 dies while rank 0 saves: the checkpoint is whole or absent, and the run goes on from it.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini

expect 0 ranks 2 cfg.ini run.output=whole
for hit in 1 3; do
    export NNTRAIN_FAULT="point=run.checkpoint,kind=kill,rank=1,hit=$hit"
    expect_failure ranks 2 cfg.ini "run.output=run_$hit"
    unset NNTRAIN_FAULT
    says 'fault point run.checkpoint, rank 1'
    latest_is_sound "run_$hit"
    expect 0 ranks 2 cfg.ini "run.output=run_$hit"
    same_run whole "run_$hit"
done
