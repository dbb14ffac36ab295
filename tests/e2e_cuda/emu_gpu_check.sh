#!/usr/bin/env bash
# scripts/gpu_check.sh itself: without a GPU it says so in one line; on the emulator it runs what it is told to, notices
# what fails, and leaves a report that says so. compute-sanitizer is played by a script.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
NNTRAIN_BUILD_DIR=$(dirname "$binary")
export NNTRAIN_BUILD_DIR
script=$source_dir/scripts/gpu_check.sh

# gpu_check ARGS
gpu_check() { "$script" "$@" >"$work/out" 2>"$work/err"; }

mkdir bin
printf '#!/bin/sh\nexit 9\n' >bin/nvidia-smi
# shellcheck disable=SC2016
printf '#!/bin/sh\necho "sanitizer: $*" && shift 4 && exec "$@"\n' >bin/compute-sanitizer
chmod +x bin/*
PATH=$work/bin:$PATH

expect 69 gpu_check --report report.md
says_once 'there is no NVIDIA GPU here'
[ "$(wc -l <err)" = 1 ] || fail "more than one line"

# An nvidia-smi that does not know compute_cap; everything is built, whatever --only says. What would build is played, too.
mkdir fake
# shellcheck disable=SC2016
printf '#!/bin/sh\ncase "$*" in -L) echo "GPU 0: none" ;; *compute_cap*) exit 6 ;; esac\n' >fake/nvidia-smi
for tool in cmake ninja apt-get; do printf '#!/bin/sh\nexit 1\n' >fake/$tool; done
chmod +x fake/*
PATH=$work/fake:$PATH NNTRAIN_BUILD_DIR=$work/build expect 1 gpu_check --only nothing --report "$work/native.md"
for line in 'does not say the compute capability' 'cmake .*-DCMAKE_CUDA_ARCHITECTURES=native' 'FAILED.*: build' 'nothing to test'; do
    grep -q -- "$line" native.md || fail "the report lacks '$line'"
done

options=(--emulate --no-build --gpus 2 --report "$work/report.md" --only 'backend|cuda_modes|bench mlp fp32')
expect 0 gpu_check "${options[@]}"
says 'passed, 0 failed'
for line in 'ok: test_cuda_backend' '^| mlp | fp32 | 1 |' '^|---|---|---|' 'ok: memcheck: test_cuda_backend' 'ok: cuda_modes' '| mlp | fp32 | 2 |' '0 failed'; do
    grep -q -- "$line" report.md || fail "the report lacks '$line'"
done

NT_EMU_FAIL_LAUNCH=2 expect 1 gpu_check "${options[@]}" --no-bench
says 'FAILED: test_cuda_backend'
grep -q 'FAILED.*test_cuda_backend' report.md || fail "the report does not say what failed"
