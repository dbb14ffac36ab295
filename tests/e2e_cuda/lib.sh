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

# close_losses A B TOLERANCE [ROWS]: the losses of the runs A and B at every step, to a relative tolerance; at least ROWS.
close_losses() {
    local rows
    rows=$(($(wc -l <"$1/metrics.csv") - 1))
    [ $rows -ge "${4:-8}" ] || fail "only $rows rows in $1"
    [ $rows = $(($(wc -l <"$2/metrics.csv") - 1)) ] || fail "rows of $1 and $2"
    paste -d, "$1/metrics.csv" "$2/metrics.csv" | awk -F, -v tolerance="$3" '
        NR > 1 && ($1 != $9 || $3 != $11) { print "another step: " $0; exit 1 }
        NR > 1 { d = $4 - $12; if (d < 0) d = -d; if (!(d <= tolerance * $4)) { print; exit 1 } }' >"$work/far" ||
        fail "losses of $1 and $2 differ by more than $3: $(cat "$work/far")"
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
        timeout -k 5 60 mpirun -np "$n" ./with_only "$binary" "$@" "run.output=$name" <&- >"$name.out" 2>"$name.err" || got=$?
        echo "$got $((SECONDS - began))" >"$name.end"
    ) &
    jobs[$name]=$!
}

# ended NAME CODE SECONDS: that job's end, which must have come within SECONDS. What it said is in out and err.
ended() {
    local got took
    wait "${jobs[$1]}"
    cp "$1.out" out
    cp "$1.err" err
    read -r got took <"$1.end"
    [ "$got" = "$2" ] || fail "$1: exit code $got instead of $2"
    [ "$took" -le "$3" ] || fail "$1: it took $took s"
}
