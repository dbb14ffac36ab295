#!/usr/bin/env bash
# Fault 87 and 88: a signal stops all ranks after the same step with a checkpoint and code 75, and the run goes on to the
# same end; a second signal leaves at once.
#
# What is signalled would go on for a day: however late the signal comes, it does not come too late. What it is held against
# does 192 steps, or, on a machine so loaded that more were done by then, as many as are needed.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 100000
sed -i 's/^schedule = .*/schedule = constant/' cfg.ini # no part of which depends on how many steps there will be
steps=192
expect 0 nntrain cfg.ini run.output=whole_1 run.steps=$steps
expect 0 ranks 2 cfg.ini run.output=whole_2 run.steps=$steps

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

# goes_on N OUTPUT: from its last checkpoint to the end of the uninterrupted run.
goes_on() {
    local whole=whole_$1 n=$steps done=0
    [ -e "$2/checkpoints/latest" ] && done=$((10#$(tr -cd '0-9' <"$2/checkpoints/latest" | cut -c1-8)))
    if [ $done -ge $steps ]; then
        whole=$2_whole n=$((done + 9))
        expect 0 ranks "$1" cfg.ini "run.output=$whole" run.steps=$n
    fi
    expect 0 ranks "$1" cfg.ini "run.output=$2" run.steps=$n
    same_run "$whole" "$2"
}

# stopped N OUTPUT: it ended with 75 and says so once; resuming gives the uninterrupted run.
stopped() {
    local got=0
    wait "$pid" || got=$?
    [ "$got" = 75 ] || fail "exit code $got instead of 75 ($2)"
    says_once 'nntrain: stopped after step'
    latest_is_sound "$2"
    goes_on "$1" "$2"
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
goes_on 2 term_to_mpirun

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
goes_on 1 twice
