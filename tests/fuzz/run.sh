#!/usr/bin/env bash
# Fuzzes the readers of files: each target with its kept corpus, for NNTRAIN_FUZZ_SECONDS (default 60), as many at once
# as there are cores. Fails if one crashes, leaks, hangs for 10 s, or takes more than 2 GiB; the input is left in the
# build folder. Skipped (77) where there is no clang with libFuzzer.
#   tests/fuzz/run.sh BUILD_FOLDER [TARGET...]
#   tests/fuzz/run.sh --build BUILD_FOLDER        builds the targets and runs none
#   tests/fuzz/run.sh --built BUILD_FOLDER TARGET...  runs what is built; 77 if it is not
set -euo pipefail
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=yes run=yes
case ${1:-} in
    --build) run=no && shift ;;
    --built) build=no && shift ;;
esac
[ $# -ge 1 ] || {
    sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}
mkdir -p "$1/found"
build_dir=$(cd "$1" && pwd)
shift
seconds=${NNTRAIN_FUZZ_SECONDS:-60}

if [ $build = yes ]; then
    if ! echo 'int LLVMFuzzerTestOneInput(const char *a, unsigned long n) { (void)a; return (int)(n - n); }' |
        clang -x c -fsanitize=fuzzer,address -o "$build_dir/probe" - 2>/dev/null; then
        echo "skipped: there is no clang that can link libFuzzer (packages clang and libclang-rt-dev)"
        exit 77
    fi
    cmake -S "$source_dir" -B "$build_dir" -G Ninja -DCMAKE_C_COMPILER=clang >"$build_dir/cmake.log" || {
        cat "$build_dir/cmake.log"
        exit 1
    }
    ninja -C "$build_dir" >"$build_dir/build.log" || {
        tail -n 40 "$build_dir/build.log"
        exit 1
    }
fi
[ $run = yes ] || exit 0

if [ $# = 0 ]; then
    for target in "$source_dir"/fuzz_*.c; do
        name=$(basename "$target" .c)
        set -- "$@" "${name#fuzz_}"
    done
fi
for name in "$@"; do
    [ -x "$build_dir/fuzz_$name" ] || {
        echo "skipped: fuzz_$name is not built"
        exit 77
    }
done

# Scratch files in memory where there is /dev/shm. A target that crashes cannot remove its own; what a run that was killed
# has left is removed by the next one.
memory=/tmp
[ -w /dev/shm ] && memory=/dev/shm
for left in "$memory"/nntrain_fuzz.*; do
    pid=${left##*/nntrain_fuzz.} && pid=${pid%%.*}
    [ ! -O "$left" ] || [ -d "/proc/$pid" ] || rm -rf -- "$left"
done
NNTRAIN_FUZZ_SCRATCH=$(mktemp -d "$memory/nntrain_fuzz.$$.XXXXXX")
trap 'rm -rf -- "$NNTRAIN_FUZZ_SCRATCH"' EXIT
trap 'exit 143' INT TERM

# One target: new inputs go to a folder of the build, the corpus stays as it is.
fuzz_one() {
    local name=$1
    mkdir -p "$build_dir/new/$name"
    if (cd "$build_dir/found" && "$build_dir/fuzz_$name" "$build_dir/new/$name" "$source_dir/corpus/$name" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
        -close_fd_mask=1 -artifact_prefix="$name-") >"$build_dir/$name.log" 2>&1; then
        echo "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$build_dir/$name.log") inputs"
    else
        echo "$name: FAILED"
        tail -n 60 "$build_dir/$name.log"
        return 1
    fi
}
export -f fuzz_one
export build_dir source_dir seconds NNTRAIN_FUZZ_SCRATCH
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} bash -c 'fuzz_one {}'
