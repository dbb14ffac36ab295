#!/usr/bin/env bash
# For whoever has a GPU: builds with CUDA, runs every test of the cuda backend on the real device against ref, on one GPU
# and on all of them, under compute-sanitizer where it is installed, then the benchmarks, and leaves one report to send
# back (build-gpu/gpu_report.md).
#   scripts/gpu_check.sh [--report FILE] [--gpus N] [--only WORDS] [--no-build] [--no-bench] [--emulate]
# --only runs the checks whose names match an extended regular expression. --emulate runs the same on the emulator of the
# device, which is how this script is tested where there is no GPU. NNTRAIN_BUILD_DIR is where to build.
# Exit codes: 0 everything passed; 1 something failed (the report says what); 69 there is no GPU.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage="usage: gpu_check.sh [--report FILE] [--gpus N] [--only WORDS] [--no-build] [--no-bench] [--emulate]"
report='' gpus='' only='' build=yes bench=yes emulate=no
while [ $# -gt 0 ]; do
    case $1 in
        --report) report=${2:?$usage} && shift ;;
        --gpus) gpus=${2:?$usage} && shift ;;
        --only) only=${2:?$usage} && shift ;;
        --no-build) build=no ;;
        --no-bench) bench=no ;;
        --emulate) emulate=yes ;;
        *) die "$usage" ;;
    esac
    shift
done

if [ $emulate = yes ]; then
    build_dir=${NNTRAIN_BUILD_DIR:-$root/build} binary=nntrain_emu prefix=''
    gpus=${gpus:-2}
    export NT_EMU_DEVICES=$gpus
else
    build_dir=${NNTRAIN_BUILD_DIR:-$root/build-gpu} binary=nntrain prefix=gpu_
    seen=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU') || seen=0
    if [ "$seen" = 0 ]; then
        say "gpu_check: there is no NVIDIA GPU here (nvidia-smi -L shows none); --emulate tries the script itself"
        exit 69
    fi
    gpus=${gpus:-$seen}
fi
report=${report:-$build_dir/gpu_report.md}
mkdir -p "$build_dir" "$(dirname "$report")"
log=$build_dir/gpu_check.log
passed=0 failed=0

# --- the report ---

write() { printf '%s\n' "$*" >>"$report"; }
section() {
    say "== $*"
    write '' "## $*" ''
}
# quote COMMAND...: its output as a block of the report; no harm if there is no such command.
quote() {
    write "    \$ $*"
    ("$@" 2>&1 || echo "(exit code $?)") | sed 's/^/    /' >>"$report"
}

# check NAME COMMAND...: one line of the report; the end of the output too where it fails.
check() {
    local name=$1 began=$SECONDS got=0
    [[ $name =~ $only ]] || return 0
    shift
    timeout -k 10 "${NNTRAIN_GPU_CHECK_TIMEOUT:-1200}" "$@" >"$log" 2>&1 || got=$?
    if [ $got = 0 ]; then
        passed=$((passed + 1))
        write "* ok: $name ($((SECONDS - began)) s)"
    elif [ $got = 77 ]; then
        write "* left out: $name"
    else
        failed=$((failed + 1))
        say "FAILED: $name"
        write "* **FAILED** (exit code $got): $name" '' "    \$ $*"
        tail -n 60 "$log" | sed 's/^/    /' >>"$report"
        write ''
    fi
}

# --- the parts ---

describe_machine() {
    section "Machine"
    quote git -C "$root" log -1 --format='%H %cd'
    quote git -C "$root" status --short
    quote uname -srm
    quote grep -m1 'model name' /proc/cpuinfo
    quote nproc
    [ $emulate = yes ] && return
    quote nvidia-smi
    quote nvidia-smi topo -m
    quote nvidia-smi --query-gpu=index,name,uuid,driver_version,memory.total,clocks.max.sm,clocks.max.mem --format=csv
    quote nvcc --version
}

build_all() {
    section "Build"
    [ $emulate$build = noyes ] && "$root/scripts/install_deps.sh" --tests
    local options=(-DCMAKE_BUILD_TYPE=Release -DNNTRAIN_TESTS=ON)
    [ $emulate = yes ] || options+=(-DNNTRAIN_CUDA=ON)
    if [ $build = yes ]; then
        check "configure" cmake -S "$root" -B "$build_dir" -G Ninja "${options[@]}"
        check "build, warnings are errors" ninja -C "$build_dir"
        [ $failed = 0 ] || finish
    fi
    quote "$build_dir/$binary" --version
}

# Tests of one process: tests/cuda/test_cuda_*.c.
test_ops() {
    section "Operations against ref, on one device"
    local source
    for source in "$root"/tests/cuda/test_cuda_*.c; do
        source=$(basename "$source" .c)
        check "$source" env -C "$root" "$(realpath -m "$build_dir")/$prefix$source" # tests/reference is read from there
    done
}

test_under_sanitizer() {
    section "Under compute-sanitizer"
    local tool source
    if ! command -v compute-sanitizer >/dev/null; then
        write "compute-sanitizer is not installed."
        return
    fi
    for tool in memcheck racecheck synccheck initcheck; do
        for source in "$root"/tests/cuda/test_cuda_*.c; do
            source=$(basename "$source" .c)
            [ "$source" != test_cuda_networks ] || continue # the operations of the others, for hours
            check "$tool: $source" compute-sanitizer --tool $tool --error-exitcode 1 "$build_dir/$prefix$source"
        done
    done
}

# Tests of several ranks, one GPU each: tests/cuda/job_*.c.
test_ranks() {
    section "Collectives, one GPU a rank"
    local source n
    for source in "$root"/tests/cuda/job_*.c; do
        source=$(basename "$source" .c)
        for n in 1 2 3 4 8; do
            [ $n -le "$gpus" ] || break
            check "$source at $n ranks" mpirun -np $n "$build_dir/$prefix$source"
        done
    done
}

# Whole programs: tests/e2e_cuda/cuda_*.sh. They find the number of devices in NNTRAIN_GPUS.
test_programs() {
    section "Whole programs on up to $gpus devices"
    local script
    for script in "$root"/tests/e2e_cuda/cuda_*.sh; do
        check "$(basename "$script" .sh)" bash "$script" "$build_dir/$binary" "$root"
    done
}

# bench_one MODEL PRECISION RANKS: a row of the table.
bench_one() {
    local ini=$root/scripts/bench/$1.ini out=$build_dir/bench.json batch
    batch=$(awk -F'= *' '/^batch/ { print $2; exit }' "$ini")
    local command=("$build_dir/$binary" bench "$ini" --json run.device=cuda "run.precision=$2" "data.batch=$((batch * $3))")
    [ $emulate = yes ] && command+=(--steps 1 --warmup 2 data.batch="$3")
    [ "$3" = 1 ] || command=(mpirun -np "$3" "${command[@]}")
    : >"$log"
    check "bench $1 $2 at $3 ranks" "${command[@]}"
    grep -h '^{' "$log" >"$out" || return 0
    value() { sed -n "s/.*\"$1\": \"*\([^,\"}]*\).*/\1/p" "$out"; }
    rows+="| $1 | $2 | $3 | $(value batch) | $(value samples_per_s) | $(value step_ms) | $(value startup_s) |"$'\n'
}

run_benchmarks() {
    section "Benchmarks"
    local model precision n rows=''
    for model in mlp lenet5 resnet18; do
        for precision in fp32 tf32 bf16; do
            for n in 1 2 4 8; do
                [ $n -le "$gpus" ] && bench_one $model $precision $n
            done
        done
        [ $emulate = yes ] && break
    done
    write '' '| model | precision | ranks | batch | samples/s | step ms | start s |' '|---|---|---|---|---|---|---|' "$rows"
}

finish() {
    write '' "## Result" '' "$passed passed, $failed failed."
    say "$passed passed, $failed failed; please send back $report"
    [ $failed = 0 ] || exit 1
    exit 0
}

: >"$report"
write "# nntrain on $([ $emulate = yes ] && echo 'the emulator (no GPU)' || echo 'real GPUs'): $(hostname), $(date -u +%FT%TZ)"
export NNTRAIN_GPUS=$gpus OMP_NUM_THREADS=1
allow_small_machines
describe_machine
build_all
test_ops
test_under_sanitizer
test_ranks
test_programs
[ $bench = no ] || run_benchmarks
finish
