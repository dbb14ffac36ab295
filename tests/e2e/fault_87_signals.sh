#!/usr/bin/env bash
# Fault 87 and 88: a signal stops all ranks after the same step with a checkpoint and code 75, and the run goes on to the
# same end; a second signal leaves at once.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 12
expect 0 nntrain cfg.ini run.output=whole_1
expect 0 ranks 2 cfg.ini run.output=whole_2

# start N OUTPUT: in the background; pid is what was started. Returns when steps are being done.
start() {
    if [ "$1" = 1 ]; then
        "$binary" cfg.ini "run.output=$2" >out 2>err &
    else
        mpirun -np "$1" "$binary" cfg.ini "run.output=$2" >out 2>err &
    fi
    pid=$!
    wait_for grep -qs train "$2/metrics.csv"
}

# stopped N OUTPUT: it ended with 75 and says so once; resuming gives the uninterrupted run.
stopped() {
    local got=0
    wait "$pid" || got=$?
    [ "$got" = 75 ] || fail "exit code $got instead of 75 ($2)"
    says_once 'nntrain: stopped after step'
    latest_is_sound "$2"
    expect 0 ranks "$1" cfg.ini "run.output=$2"
    same_run "whole_$1" "$2"
}

for signal in USR1 USR2 TERM INT; do
    start 1 "alone_$signal"
    kill "-$signal" "$pid"
    stopped 1 "alone_$signal"
done

start 2 to_mpirun
kill -USR1 "$pid"
stopped 2 to_mpirun

start 2 to_one_rank
# shellcheck disable=SC2046
kill -TERM $(children_of "$pid" | awk '{ print $NF }')
stopped 2 to_one_rank

start 2 to_all
# shellcheck disable=SC2046
kill -USR1 "$pid" $(children_of "$pid")
stopped 2 to_all

# 88: TERM to mpirun leaves a second or so: whatever comes of it, the last checkpoint is good.
start 2 term_to_mpirun
kill -TERM "$pid"
wait "$pid" && fail "success after SIGTERM to mpirun"
latest_is_sound term_to_mpirun
expect 0 ranks 2 cfg.ini run.output=term_to_mpirun
same_run whole_2 term_to_mpirun

# A second signal, while a slow step goes on: at once, without a new checkpoint.
export NNTRAIN_FAULT="point=run.step,kind=hang,step=30"
start 1 twice
wait_for grep -qs '^30,' twice/metrics.csv
kill -INT "$pid"
sleep 0.4
kill -INT "$pid"
got=0
wait "$pid" || got=$?
[ "$got" = 130 ] || fail "exit code $got instead of 130 after a second SIGINT"
unset NNTRAIN_FAULT
latest_is_sound twice
expect 0 nntrain cfg.ini run.output=twice
same_run whole_1 twice
