#!/usr/bin/env bash
# Fault 93: NaN in one rank's gradient or loss: stop with 80 on all ranks, or skip the step on all, by run.nan_policy.
# The fault's step counts from 0, as in the code; messages count from 1, as the log.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1

for point in step.forward step.backward; do
    for rank in 0 1; do
        export NNTRAIN_FAULT="point=$point,kind=nan,rank=$rank,step=9"
        rm -rf run
        expect 80 ranks 2 cfg.ini
        says_once 'nntrain: .*step 10.*NaN'
        latest_is_sound run
        rm -rf run
        expect 0 ranks 2 cfg.ini run.nan_policy=skip
        says_once 'step 10.*no update'
        says 'done: step 16'
        grep -q '"step": 16.*"split": "epoch", "loss": [0-9]' run/metrics.jsonl || fail "the epoch's loss is lost"
    done
done
unset NNTRAIN_FAULT
expect 80 nntrain cfg.ini optimizer.lr=1e30 run.output=explodes
