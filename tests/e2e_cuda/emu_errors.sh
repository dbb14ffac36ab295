#!/usr/bin/env bash
# Faults 97, 98 and 99 on the emulator: no driver, no device, a driver that is too old, fewer devices than ranks, every
# allocation failing in turn, memory that is too small, a kernel that goes wrong: one clear line each, exit code 69.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1
unset CUDA_VISIBLE_DEVICES

# one_line TEXT: stderr is one line and holds it.
one_line() {
    says_once "$1"
    [ "$(grep -c nntrain: err)" = 1 ] || fail "more than one line"
}

export NT_EMU_NO_DRIVER=1
expect 69 nntrain cfg.ini run.device=cuda
one_line 'there is no NVIDIA driver'
expect 0 nntrain cfg.ini run.device=auto run.steps=2
says_once 'device = auto: there is no NVIDIA driver on this machine, so this runs on the CPU'
unset NT_EMU_NO_DRIVER

export NT_EMU_DEVICES=0
expect 69 nntrain cfg.ini run.device=cuda run.output=none
one_line 'the NVIDIA driver shows no device'
expect 0 nntrain cfg.ini run.device=auto run.steps=2 run.output=none
says_once 'device = auto: the NVIDIA driver shows no device'
export NT_EMU_DEVICES=1

CUDA_VISIBLE_DEVICES='' expect 69 nntrain cfg.ini run.device=cuda run.output=none
one_line "shows no device: CUDA_VISIBLE_DEVICES is ''"

# Too old: somebody wants to know, also where auto was to choose.
for device in cuda auto; do
    NT_EMU_DRIVER_VERSION=11040 expect 69 nntrain cfg.ini run.device=$device run.output=old
    one_line 'the NVIDIA driver is too old: it runs CUDA 11.4'
done

# Fewer devices than ranks.
expect 69 ranks 2 cfg.ini run.device=cuda run.output=fewer
says_once 'ranks 0 and 1 on .* have the same device'

# fault_99: every allocation of set-up and the first step fails in turn.
for k in $(seq 200); do
    got=0
    NT_EMU_FAIL_ALLOC=$k nntrain cfg.ini run.device=cuda run.steps=2 "run.output=alloc$k" || got=$?
    [ $got = 0 ] && break
    [ $got = 69 ] || fail "exit code $got where allocation $k fails"
    one_line 'out of memory'
done
[ "$k" -gt 8 ] || fail "only $k allocations"
[ "$got" = 0 ] || fail "allocation 200 still fails"

# Memory for everything but the activations of this batch: says what is asked for, what is free, and what would fit.
sed 's/^synthetic_shape.*/synthetic_shape = 3, 64, 64/; s/^batch = .*/batch = 256/; s/^synthetic_samples.*/synthetic_samples = 512/' cfg.ini >large.ini
NT_EMU_MEMORY_MB=64 expect 69 nntrain large.ini run.device=cuda run.output=large
one_line 'out of memory on CUDA device 0 .* MiB were asked for, .* of .* MiB are free'
says 'the model needs .* MiB in all for 256 samples a rank; about [0-9]* would fit'
fits=$(sed -n 's/.*about \([0-9]*\) would fit.*/\1/p' err)
[ "$fits" -ge 1 ] || fail "nothing fits"
NT_EMU_MEMORY_MB=64 expect 0 nntrain large.ini run.device=cuda run.output=fits "data.batch=$fits" run.steps=1 data.valid_limit=1

# fault_99: a kernel that fails while it runs ends the run; with debug_sync it is named.
for k in 5 20 40; do
    NT_EMU_FAIL_LAUNCH=$k expect 69 nntrain cfg.ini run.device=cuda "run.output=launch$k"
    one_line 'failed on CUDA device 0'
    NT_EMU_FAIL_LAUNCH=$k expect 69 nntrain cfg.ini run.device=cuda "run.output=sync$k" run.debug_sync=yes
    one_line 'failed on CUDA device 0'
    does_not_say 'a kernel given earlier caused it'
done
