#!/usr/bin/env bash
# Threads of OpenMP that wait spin for a short time only, unless the user has chosen otherwise: the process starts itself
# again with a setting, and stays the same process under the same name.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 100000

# setting VARIABLE: its value in the environment of $pid.
setting() { tr '\0' '\n' <"/proc/$pid/environ" | sed -n "s/^$1=//p"; }

# start OUTPUT [VARIABLE=VALUE]: a run in the background, until it takes steps.
start() {
    env -u GOMP_SPINCOUNT -u OMP_WAIT_POLICY "${@:2}" "$binary" cfg.ini "run.output=$1" >out 2>err &
    pid=$!
    wait_for grep -qs train "$1/metrics.csv"
}

stop() {
    local got=0
    kill -TERM "$pid"
    wait "$pid" || got=$?
    [ "$got" = 75 ] || fail "exit code $got instead of 75"
}

start default
[ "$(setting GOMP_SPINCOUNT)" = 2000 ] || fail "GOMP_SPINCOUNT is '$(setting GOMP_SPINCOUNT)'"
[ "$(cat "/proc/$pid/comm")" = nntrain ] || fail "the process is called '$(cat "/proc/$pid/comm")'"
stop

start spin GOMP_SPINCOUNT=77
[ "$(setting GOMP_SPINCOUNT)" = 77 ] || fail "GOMP_SPINCOUNT is '$(setting GOMP_SPINCOUNT)'"
stop

start policy OMP_WAIT_POLICY=passive
[ -z "$(setting GOMP_SPINCOUNT)" ] || fail "GOMP_SPINCOUNT is '$(setting GOMP_SPINCOUNT)'"
stop
