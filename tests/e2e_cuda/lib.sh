# Shared by the tests of whole programs on a device, which run on the emulator (CTest, nntrain_emu) and on real GPUs
# (scripts/gpu_check.sh, nntrain). NNTRAIN_GPUS says how many devices there are. Sourced, not run.
# shellcheck shell=bash
# shellcheck source=../e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../e2e/lib.sh"

# shellcheck disable=SC2034
gpus=${NNTRAIN_GPUS:-1}

# on N ARGS: the program on N ranks.
on() {
    local n=$1
    shift
    if [ "$n" = 1 ]; then nntrain "$@"; else ranks "$n" "$@"; fi
}

# one_line TEXT: what the program says of itself on stderr is one line and holds TEXT.
one_line() {
    says_once "$1"
    [ "$(grep -c nntrain: err)" = 1 ] || fail "more than one line"
}

# with_only: a program that its arguments are started by; ONLY="RANK NAME=VALUE" gives one rank a setting of its own.
cat >with_only <<'END'
#!/bin/sh
[ "${ONLY%% *}" != "${OMPI_COMM_WORLD_RANK:-$PMIX_RANK}" ] || export "${ONLY#* }"
exec "$@"
END
chmod +x with_only
declare -A jobs

# job NAME N ARGS: the program on N ranks in the background, as the run NAME.
job() {
    local name=$1 n=$2
    shift 2
    (
        began=$SECONDS got=0
        timeout -k 5 $patience mpirun -np "$n" ./with_only "$binary" "$@" "run.output=$name" <&- >"$name.out" 2>"$name.err" || got=$?
        echo "$got $((SECONDS - began))" >"$name.end"
    ) &
    jobs[$name]=$!
}

# ended NAME CODE SECONDS: that job's end, which must have come within SECONDS (see promised). What it said is in out and err.
ended() {
    local got took
    wait "${jobs[$1]}"
    cp "$1.out" out
    cp "$1.err" err
    read -r got took <"$1.end"
    [ "$got" = "$2" ] || fail "$1: exit code $got instead of $2"
    [ "$took" -le "$(promised "$3")" ] || fail "$1: it took $took s"
}
