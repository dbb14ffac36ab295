#!/usr/bin/env bash
# Fault 99 on the emulator: every allocation failing in turn, memory that is too small, a kernel that goes wrong, also on one
# rank of two: one clear line each, exit code 69, and nobody hangs.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1
unset CUDA_VISIBLE_DEVICES

for rank in 0 1; do
    ONLY="$rank NT_EMU_FAIL_ALLOC=5" job "alloc$rank" 2 cfg.ini run.device=cuda
    ONLY="$rank NT_EMU_FAIL_LAUNCH=60" job "launch$rank" 2 cfg.ini run.device=cuda
done
for rank in 0 1; do
    ended "alloc$rank" 69 20
    says_once "nntrain: rank $rank on .*out of memory"
    ended "launch$rank" 69 20
    says "nntrain: rank $rank on .*, step [0-9]*, .* failed on CUDA device $rank .*cudaErrorIllegalAddress"
done

# Every allocation of set-up and the first step fails in turn. Batches need no pinned memory.
ordinary=0
for k in $(seq 200); do
    got=0
    NT_EMU_FAIL_ALLOC=$k nntrain cfg.ini run.device=cuda run.steps=2 "run.output=lone$k" || got=$?
    if [ $got = 0 ]; then
        grep -q 'that can be locked for copies .* batches lie in ordinary memory' err || break
        ordinary=$((ordinary + 1))
        continue
    fi
    [ $got = 69 ] || fail "exit code $got where allocation $k fails"
    one_line 'out of memory'
done
[ "$k" -gt 8 ] || fail "only $k allocations"
[ "$got" = 0 ] || fail "allocation 200 still fails"
[ "$ordinary" -gt 1 ] || fail "$ordinary batches in ordinary memory"

# Memory for everything but the activations of this batch: says what is asked for, what is free, and what would fit.
sed 's/^synthetic_shape.*/synthetic_shape = 3, 64, 64/; s/^batch = .*/batch = 256/; s/^synthetic_samples.*/synthetic_samples = 512/' cfg.ini >large.ini
NT_EMU_MEMORY_MB=64 expect 69 nntrain large.ini run.device=cuda run.output=large
one_line 'out of memory on CUDA device 0 .* MiB were asked for, .* of .* MiB are free'
says 'the model needs .* MiB in all for 256 samples a rank; about [0-9]* would fit'
fits=$(sed -n 's/.*about \([0-9]*\) would fit.*/\1/p' err)
[ "$fits" -ge 1 ] || fail "nothing fits"
NT_EMU_MEMORY_MB=64 expect 0 nntrain large.ini run.device=cuda run.output=fits "data.batch=$fits" run.steps=1 data.valid_limit=1

# A kernel that fails while it runs ends the run; with debug_sync it is named.
for k in 5 20 40; do
    NT_EMU_FAIL_LAUNCH=$k expect 69 nntrain cfg.ini run.device=cuda "run.output=launch$k"
    one_line 'failed on CUDA device 0'
    NT_EMU_FAIL_LAUNCH=$k expect 69 nntrain cfg.ini run.device=cuda "run.output=sync$k" run.debug_sync=yes
    one_line 'failed on CUDA device 0'
    does_not_say 'a kernel given earlier caused it'
done
