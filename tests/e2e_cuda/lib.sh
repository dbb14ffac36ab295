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
