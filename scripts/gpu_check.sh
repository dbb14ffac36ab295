#!/usr/bin/env bash
# For whoever has a GPU, even for half an hour: builds with CUDA for the devices that are there, goes from the first kernel
# to whole networks on all of them, goes on after what fails, and leaves one report to send back (build-gpu/gpu_report.md),
# which is complete at every moment. Everything is compared with ref or cpu; what the device reaches is compared with
# what it could; last come compute-sanitizer and Nsight Systems where they are installed.
#   scripts/gpu_check.sh [--minutes N] [--report FILE] [--gpus N] [--only WORDS] [--no-build] [--no-bench] [--emulate]
# After N minutes (30) no further check is begun. --only runs the checks whose names match an extended regular expression.
# --emulate runs the same on the emulator of the device, which is how this script is tested where there is no GPU.
# NNTRAIN_BUILD_DIR is where to build.
# Exit codes: 0 everything passed; 1 something failed (the report says what); 69 there is no GPU.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage="usage: gpu_check.sh [--minutes N] [--report FILE] [--gpus N] [--only WORDS] [--no-build] [--no-bench] [--emulate]"
report='' gpus='' only='' build=yes bench=yes emulate=no minutes=30
while [ $# -gt 0 ]; do
    case $1 in
        --minutes) minutes=${2:?$usage} && shift ;;
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
[[ $minutes$gpus =~ ^[0-9]+$ ]] || die "$usage"

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
report=$(realpath -m "${report:-$build_dir/gpu_report.md}")
mkdir -p "$build_dir" "$(dirname "$report")"
build_dir=$(realpath "$build_dir")
log=$build_dir/gpu_check.log
passed=0 failed=0 late=0 deadline=$((SECONDS + 60 * minutes))
cd "$root"

# --- the report ---

write() { printf '%s\n' "$@" >>"$report"; }
section() {
    say "== $* ($((SECONDS / 60)) min)"
    write '' "## $*" ''
}
# quote COMMAND...: its output as a block of the report; no harm if there is no such command.
quote() {
    write "    \$ $*"
    (timeout 60 "$@" 2>&1 || echo "(exit code $?)") | sed 's/^/    /' >>"$report"
}

# check NAME COMMAND...: one line of the report; the end of the output too where it fails. False unless it passed.
check() {
    local name=$1 began=$SECONDS got=0 limit=${NNTRAIN_GPU_CHECK_TIMEOUT:-600}
    [[ $name =~ $only ]] || return 1
    shift
    if [ $SECONDS -ge $deadline ]; then
        late=$((late + 1))
        write "* no time left: $name"
        return 1
    fi
    timeout -k 10 "$limit" "$@" >"$log" 2>&1 || got=$?
    if [ $got = 0 ]; then
        passed=$((passed + 1))
        write "* ok: $name ($((SECONDS - began)) s)"
        return 0
    elif [ $got = 77 ]; then
        write "* left out: $name"
    else
        failed=$((failed + 1))
        say "FAILED: $name"
        write "* **FAILED** (exit code $got): $name" '' "    \$ $*"
        tail -n 60 "$log" | sed 's/^/    /' >>"$report"
        write ''
    fi
    return 1
}

# table NAME COMMAND...: a check whose output is a part of the report.
table() {
    check "$@" || return 0
    write ''
    grep -v '^ok ' "$log" >>"$report" || true
    write ''
}

# --- the parts ---

describe_machine() {
    section "Machine"
    quote git log -1 --format='%H %cd'
    quote git status --short
    quote uname -srm
    quote grep -m1 'model name' /proc/cpuinfo
    quote nproc
    [ $emulate = yes ] && return
    quote nvidia-smi
    quote nvidia-smi topo -m
    quote nvidia-smi --query-gpu=index,name,uuid,driver_version,compute_cap,memory.total,clocks.max.sm,clocks.max.mem,pcie.link.gen.max,pcie.link.width.max,mig.mode.current,persistence_mode,compute_mode --format=csv
    quote nvcc --version
    quote bash -c 'env | grep -E "^(CUDA|NCCL|NVIDIA|OMPI|PRTE|UCX|SLURM|LD_LIBRARY)[A-Z_]*=" | sort'
}

# Code for the devices that are here only: a third of the time of the compiler.
architectures() {
    nvidia-smi --query-gpu=compute_cap --format=csv,noheader | sort -u | sed 's/\.//; s/$/-real/' | paste -sd ';'
}

build_all() {
    section "Build"
    local only='' options=(-DCMAKE_BUILD_TYPE=Release -DNNTRAIN_TESTS=ON) targets=(gpu) arch # all is built, whatever is run
    if [ $build = yes ]; then
        if [ $emulate = yes ]; then
            targets=(nntrain_emu measure_device measure_ranks)
            local source
            for source in tests/cuda/test_cuda_*.c tests/cuda/job_*.c; do targets+=("$(basename "$source" .c)"); done
        else
            "$root/scripts/install_deps.sh" --tests || write "install_deps.sh failed; going on with what is there"
            arch=$(architectures) || arch=''
            [ -n "$arch" ] || write "nvidia-smi does not say the compute capability; building for what nvcc finds (native)"
            options+=(-DNNTRAIN_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=${arch:-native}")
        fi
        check "configure" cmake -S "$root" -B "$build_dir" -G Ninja "${options[@]}" || true
        grep -h -e 'CUDA backend' -e NCCL "$log" | sed 's/^/    /' >>"$report" || true
        # all that can be built: one file that a compiler does not like must not hide the rest
        NNTRAIN_GPU_CHECK_TIMEOUT=1500 check "build, warnings are errors" ninja -C "$build_dir" -k 0 "${targets[@]}" || true
    fi
    if [ ! -x "$build_dir/$binary" ]; then
        write "There is no $binary: nothing to test."
        failed=$((failed + 1))
        finish
    fi
    quote "$build_dir/$binary" --version
}

# The first kernel, copies, graphs; then a training run of a second.
test_first_contact() {
    section "First contact"
    check test_cuda_backend "$build_dir/${prefix}test_cuda_backend" || true
    program cuda_digits NNTRAIN_GPUS=1
}

# program NAME [SETTING...]: a whole program of tests/e2e_cuda.
program() {
    local name=$1
    shift
    check "$name${*:+ ($*)}" env "$@" bash "tests/e2e_cuda/$name.sh" "$build_dir/$binary" "$root" || true
}

# Tests of one process: tests/cuda/test_cuda_*.c.
test_ops() {
    section "Operations against ref, on one device"
    local source
    for source in tests/cuda/test_cuda_[!b]*.c; do # all but test_cuda_backend; from here, where tests/reference is
        source=$(basename "$source" .c)
        check "$source" "$build_dir/$prefix$source" || true
    done
}

measure_one() {
    section "What the device reaches, at real sizes, against cpu"
    table measure_device "$build_dir/${prefix}measure_device"
}

# bench_one MODEL PRECISION RANKS [SETTING]: a row of the table.
bench_one() {
    local ini=scripts/bench/$1.ini batch name="bench $1 $2 at $3 ranks${4:+ $4}"
    batch=$(awk -F'= *' '/^batch/ { print $2; exit }' "$ini")
    local command=("$build_dir/$binary" bench "$ini" --json run.device=cuda "run.precision=$2" "data.batch=$((batch * $3))")
    [ -z "${4:-}" ] || command+=("$4")
    [ $emulate = yes ] && command+=(--steps 1 --warmup 2 data.batch="$3")
    [ "$3" = 1 ] || command=(mpirun -np "$3" "${command[@]}")
    check "$name" "${command[@]}" || return 0
    value() { sed -n "s/^{.*\"$1\": \"*\([^,\"}]*\).*/\1/p" "$log"; }
    rows+="| $1 | $2${4:+ $4} | $3 | $(value batch) | $(value samples_per_s) | $(value gflop_per_s) | $(value step_ms) | $(value data_ms) | $(value startup_s) |"$'\n'
}

# bench_table ROWS
bench_table() {
    [ -z "$1" ] || write '' '| model | precision | ranks | batch | samples/s | GFLOP/s | step ms | waiting for data ms | start s |' \
        '|---|---|---|---|---|---|---|---|---|' "$1"
}

bench_one_device() {
    section "Training on one device"
    local model precision rows='' models=(resnet50 resnet18 lenet5 mlp)
    [ $emulate = no ] || models=(mlp)
    for model in "${models[@]}"; do
        for precision in fp32 tf32 bf16; do
            bench_one "$model" $precision 1
        done
        bench_one "$model" fp32 1 run.cuda_graph=no
    done
    bench_table "$rows"
}

# Tests of several ranks, one GPU each: tests/cuda/job_*.c; then what the links between them give.
test_ranks() {
    section "Collectives, one GPU a rank"
    local source n
    for source in tests/cuda/job_*.c; do
        source=$(basename "$source" .c)
        for n in 1 2 3 4 8; do
            [ $n -le "$gpus" ] || break
            check "$source at $n ranks" mpirun --bind-to none -np $n "$build_dir/$prefix$source" || true
        done
    done
    write '' "A ring over NVLink gives a bus 240 GB/s (A100) or 370 (H100), over PCIe 4.0 x16 about 20; see nccl-tests."
    for n in 2 4 8; do
        [ $n -le "$gpus" ] || break
        table "measure_ranks at $n ranks" mpirun --bind-to none -np $n "$build_dir/${prefix}measure_ranks"
    done
}

bench_ranks() {
    section "Training on several devices"
    local model precision n rows='' models=(resnet50 mlp)
    [ $emulate = no ] || models=(mlp)
    for model in "${models[@]}"; do
        for precision in fp32 bf16; do
            for n in 2 4 8; do
                [ $n -le "$gpus" ] || break
                bench_one "$model" $precision $n
            done
        done
    done
    [ "$gpus" -lt 2 ] || [ $emulate = yes ] || bench_one resnet50 bf16 2 run.zero=1
    bench_table "$rows"
}

# Whole programs: tests/e2e_cuda/cuda_*.sh. They find the number of devices in NNTRAIN_GPUS.
test_programs() {
    section "Whole programs on up to $gpus devices"
    local script
    for script in tests/e2e_cuda/cuda_*.sh; do
        program "$(basename "$script" .sh)"
    done
}

# same_losses A B: the losses of the first steps of two runs.
# shellcheck disable=SC2317
same_losses() {
    paste -d, "$1/metrics.csv" "$2/metrics.csv" | awk -F, '
        NR > 1 { n++; b = $(NF / 2 + 4); d = $4 - b; if (d < 0) d = -d; print "step " $1 ": cpu " $4 ", cuda " b; if (!(d <= 1e-3 * $4)) far = 1 }
        END { exit far || n < 3 }'
}

export -f same_losses

# Networks of real size for three steps on cpu and on cuda: 1e-3, because hundreds of layers carry differences on.
compare_nets() {
    section "Networks of real size, cuda against cpu"
    local model out device options
    for model in resnet50 efficientnet_b0 vit_b_16; do
        out=$build_dir/gpu_check_$model
        rm -rf "$out"
        options=(data.file=synthetic "data.synthetic_shape=3,224,224" data.classes=1000 data.synthetic_samples=64 data.batch=16
            "model.file=launcher/models/$model.ini" optimizer.lr=0.001 run.steps=3 run.log_every=1 run.validate=never)
        for device in cpu cuda; do
            check "$model on $device" "$build_dir/$binary" scripts/bench/resnet50.ini "${options[@]}" run.device=$device \
                "run.output=$out/$device" || continue 2
        done
        table "$model: losses" bash -c 'same_losses "$@"' same_losses "$out/cpu" "$out/cuda"
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
        for source in tests/cuda/test_cuda_{backend,op_*}.c; do
            source=$(basename "$source" .c)
            check "$tool: $source" compute-sanitizer --tool $tool --error-exitcode 1 "$build_dir/$prefix$source" || true
        done
    done
}

# Where the time of a step goes, kernel by kernel.
profile() {
    section "Under Nsight Systems"
    local out=$build_dir/gpu_check_profile
    if ! command -v nsys >/dev/null; then
        write "nsys is not installed."
        return
    fi
    check "nsys: resnet50 bf16" nsys profile --trace cuda,nvtx --cuda-graph-trace node --force-overwrite true --output "$out" \
        "$build_dir/$binary" bench scripts/bench/resnet50.ini run.device=cuda run.precision=bf16 --steps 10 --warmup 5 || return 0
    (nsys stats --report cuda_gpu_kern_sum,cuda_gpu_mem_time_sum,nvtx_sum "$out.nsys-rep" 2>&1 || true) | cut -c1-200 | head -n 90 |
        sed 's/^/    /' >>"$report"
}

finish() {
    write '' "## Result" '' "$passed passed, $failed failed, $late not begun for lack of time."
    say "$passed passed, $failed failed, $late not begun; please send back $report"
    [ $failed = 0 ] || exit 1
    exit 0
}

: >"$report"
write "# nntrain on $([ $emulate = yes ] && echo 'the emulator (no GPU)' || echo 'real GPUs'): $(hostname), $(date -u +%FT%TZ)"
export NNTRAIN_GPUS=$gpus OMP_NUM_THREADS=1
allow_small_machines
describe_machine
build_all
test_first_contact
test_ops
[ $bench = no ] || measure_one
[ $bench = no ] || bench_one_device
test_ranks
[ $bench = no ] || bench_ranks
test_programs
[ $emulate = yes ] || compare_nets
test_under_sanitizer
[ $bench = no ] || [ $emulate = yes ] || profile
finish
