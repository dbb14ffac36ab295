#!/usr/bin/env bash
# Fault 87 with device = cuda, whose results come a step late: TERM to one rank, USR1 to mpirun and INT to a lone run stop
# all ranks after the same step with a checkpoint and code 75, and the run goes on to the same bits as one that was not
# stopped.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 5

# stopped RUN N: its end, and what became of it.
stopped() {
    local got=0
    wait "$pid" || got=$?
    [ "$got" = 75 ] || fail "exit code $got instead of 75 ($1)"
    says_once 'nntrain: stopped after step'
    latest_is_sound "$1"
    expect 0 on "$2" cfg.ini run.device=cuda "run.output=$1"
    says 'going on from checkpoint'
    same_run "whole$2" "$1"
}

expect 0 nntrain cfg.ini run.device=cuda run.output=whole1
"$binary" cfg.ini run.device=cuda run.output=alone >out 2>err &
pid=$!
wait_for grep -qs train alone/metrics.csv
kill -INT "$pid"
stopped alone 1

[ "$gpus" -ge 2 ] || exit 0
expect 0 ranks 2 cfg.ini run.device=cuda run.output=whole2
for way in TERM USR1; do
    mpirun -np 2 "$binary" cfg.ini run.device=cuda "run.output=$way" >out 2>err &
    pid=$!
    wait_for grep -qs train "$way/metrics.csv"
    to=$pid
    [ "$way" = USR1 ] || to=$(children_of "$pid" | awk '{ print $NF }')
    kill "-$way" "$to"
    stopped "$way" 2
done
