#!/usr/bin/env bash
# Fault 2, and acceptance 5: SIGKILL at random moments, resume each time; at any instant the folder holds a whole
# checkpoint, and the run ends with the digest and the metrics of an uninterrupted one. Ten kills; more by an argument.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
kills=${1:-10}
small_config cfg.ini 15

# kill_once N: starts N ranks and kills one of them, at random, after a random time.
kill_once() {
    local n=$1 pid victims
    if [ "$n" = 1 ]; then
        "$binary" cfg.ini run.output=run_1 >/dev/null 2>&1 &
        pid=$! victims=$!
    else
        mpirun -np "$n" "$binary" cfg.ini "run.output=run_$n" >/dev/null 2>&1 &
        pid=$!
    fi
    sleep "0.$((RANDOM % 6))$((RANDOM % 9 + 1))"
    # shellcheck disable=SC2046
    [ "$n" = 1 ] || victims=$(shuf -n 1 -e $(children_of "$pid"))
    # shellcheck disable=SC2086
    [ -z "$victims" ] || kill -KILL $victims 2>/dev/null
    # Open MPI 4.1's mpirun may lock itself up at its own end, when a rank dies while it is being started.
    timeout 60 tail --pid="$pid" -s 0.1 -f /dev/null || kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    latest_is_sound "run_$n"
}

for n in 1 2; do
    expect 0 ranks "$n" cfg.ini "run.output=whole_$n"
    for ((i = 0; i < kills / 2; i++)); do
        kill_once "$n"
    done
    expect 0 ranks "$n" cfg.ini "run.output=run_$n"
    says 'done: \|done already'
    same_run "whole_$n" "run_$n"
done
