# Shared by the end-to-end tests: a folder of their own, a small run, and checks of exit codes and texts.
# Sourced by tests/e2e/*.sh, which CTest calls with the binary and the source folder.
# shellcheck shell=bash disable=SC2034
set -u

binary=$1
source_dir=$2
shift 2
work=$(mktemp -d "${TMPDIR:-/tmp}/nntrain_e2e.XXXXXX")

# end_jobs: what was started in the background and still runs, as when a test fails: told to end, and after 5 s made to.
end_jobs() {
    local pid i
    for pid in $(jobs -rp); do kill -TERM "$pid" && kill -CONT "$pid"; done 2>/dev/null
    for i in $(seq 50); do
        [ -n "$(jobs -rp)" ] || return 0
        sleep 0.1
    done
    for pid in $(jobs -rp); do kill -KILL "$pid"; done 2>/dev/null
}
trap 'end_jobs; rm -rf "$work"' EXIT
cd "$work" || exit 1

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    for file in out err; do
        [ -f "$work/$file" ] && { printf -- '--- std%s:\n' "$file" && tail -n 20 "$work/$file"; } >&2
    done
    exit 1
}

# nntrain ARGS: the program, output in $work/out and $work/err. Leaks are looked for where MPI, which leaks, is not started.
nntrain() { ASAN_OPTIONS=detect_leaks=1 "$binary" "$@" >"$work/out" 2>"$work/err"; }

# A job that takes longer than this hangs, however busy the machine is.
patience=300

# ranks N ARGS: the same under mpirun.
ranks() {
    local n=$1
    shift
    timeout -k 5 $patience mpirun -np "$n" "$binary" "$@" >"$work/out" 2>"$work/err"
}

# expect CODE COMMAND...: runs it and compares the exit code.
expect() {
    local wanted=$1 got=0
    shift
    "$@" || got=$?
    [ "$got" = "$wanted" ] || fail "exit code $got instead of $wanted: $*"
}

# promised S: the S seconds in which something is to happen, times the number of processes that wait for each core, up to 4:
# beyond that a limit would be none.
promised() {
    awk -v s="$1" -v cores="$(nproc)" '{ f = $1 > cores ? 1 + $1 / cores : 1; print int(s * (f > 4 ? 4 : f)) }' /proc/loadavg
}

# expect_failure COMMAND...: any exit code but 0, and soon: within the 20 s of the watchdog and 10 more.
expect_failure() {
    local got=0 began=$SECONDS
    "$@" || got=$?
    [ "$got" != 0 ] || fail "exit code 0: $*"
    [ $((SECONDS - began)) -le "$(promised 30)" ] || fail "it took $((SECONDS - began)) s (exit code $got): $*"
}

# says TEXT: stdout or stderr of the last run hold it (basic regular expression).
says() { grep -q -e "$1" "$work/out" "$work/err" || fail "it does not say '$1'"; }
does_not_say() { ! grep -q -e "$1" "$work/out" "$work/err" || fail "it says '$1'"; }

# says_once TEXT: exactly one line of stderr holds it.
says_once() {
    local n
    n=$(grep -c -e "$1" "$work/err")
    [ "$n" = 1 ] || fail "it says '$1' $n times"
}

# small_config FILE [EPOCHS]: a small run on made-up data, 16 steps an epoch, with dropout and batchnorm.
small_config() {
    cat >"$1" <<END
[run]
output = run
epochs = ${2:-3}
log_every = 1
threads = 1
watchdog = 20
[data]
file = synthetic
synthetic_shape = 1, 6, 6
synthetic_samples = 256
batch = 16
[layer conv]
type = conv2d
filters = 4
kernel = 3
batchnorm = yes
activation = relu
[layer flat]
type = flatten
[layer drop]
type = dropout
rate = 0.2
[layer fc]
type = linear
units = 10
[optimizer]
lr = 0.05
momentum = 0.9
schedule = cosine
[checkpoint]
every = 7 steps
END
}

# digest_of RUN: the last digest in its log.
digest_of() { sed -n 's/.*digest \([0-9a-f]\{32\}\).*/\1/p' "$1/train.log" | tail -n 1; }

# numbers_of RUN: the metrics that do not depend on the clock.
numbers_of() { cut -d, -f1-7,9 "$1/metrics.csv"; } # all but samples_per_s

# same_run A B: the same digest and the same metrics.
same_run() {
    [ -n "$(digest_of "$1")" ] || fail "run $1 has no digest"
    [ "$(digest_of "$1")" = "$(digest_of "$2")" ] || fail "digests of $1 and $2 differ"
    numbers_of "$1" >"$work/numbers_a"
    numbers_of "$2" >"$work/numbers_b"
    cmp -s "$work/numbers_a" "$work/numbers_b" || fail "metrics of $1 and $2 differ: $(diff "$work/numbers_a" "$work/numbers_b" | head -n 3)"
}

# close_losses A B TOLERANCE [ROWS]: the losses of the runs A and B at every step, to a relative tolerance; at least ROWS.
close_losses() {
    local rows
    rows=$(($(wc -l <"$1/metrics.csv") - 1))
    [ $rows -ge "${4:-8}" ] || fail "only $rows rows in $1"
    [ $rows = $(($(wc -l <"$2/metrics.csv") - 1)) ] || fail "rows of $1 and $2"
    paste -d, "$1/metrics.csv" "$2/metrics.csv" | awk -F, -v tolerance="$3" '
        { b = NF / 2 } # columns of a run
        NR > 1 && ($1 != $(b + 1) || $3 != $(b + 3)) { print "another step: " $0; exit 1 }
        NR > 1 { d = $4 - $(b + 4); if (d < 0) d = -d; if (!(d <= tolerance * $4)) { print; exit 1 } }' >"$work/far" ||
        fail "losses of $1 and $2 differ by more than $3: $(cat "$work/far")"
}

# latest_is_sound RUN: what `latest` names is a whole checkpoint; fine if there is none yet.
latest_is_sound() {
    [ -e "$1/checkpoints/latest" ] || return 0
    expect 0 nntrain inspect "$1/checkpoints/$(cat "$1/checkpoints/latest")"
}

# wait_for CONDITION...: what is sure to come, sooner or later.
wait_for() {
    local i
    for i in $(seq $((patience * 10))); do
        "$@" && return 0
        sleep 0.1
    done
    fail "never came true: $*"
}

# children_of PID
children_of() { cat "/proc/$1/task/$1/children" 2>/dev/null; }
