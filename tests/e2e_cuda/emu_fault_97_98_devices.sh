#!/usr/bin/env bash
# Faults 97 and 98 on the emulator: no driver, no device, a driver or an NCCL that is too old, fewer devices than ranks, a
# CUDA_VISIBLE_DEVICES that names none or one twice, devices of two kinds: one clear line each, exit code 69 where the run
# cannot be what was asked for; the CPU only if `device = auto` chose.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1
unset CUDA_VISIBLE_DEVICES

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

for visible in '' bogus 17; do
    CUDA_VISIBLE_DEVICES=$visible expect 69 nntrain cfg.ini run.device=cuda run.output=none
    one_line "shows no device: CUDA_VISIBLE_DEVICES is '$visible'"
done

# Too old: somebody wants to know, also where auto was to choose.
for device in cuda auto; do
    NT_EMU_DRIVER_VERSION=11040 expect 69 nntrain cfg.ini run.device=$device run.output=old
    one_line 'the NVIDIA driver is too old: it runs CUDA 11.4'
done

# Fewer devices than ranks, and one device under two numbers.
job fewer 2 cfg.ini run.device=cuda
export NT_EMU_DEVICES=2
CUDA_VISIBLE_DEVICES=1 job shared 2 cfg.ini run.device=cuda
CUDA_VISIBLE_DEVICES=0,0 job twice 2 cfg.ini run.device=cuda
NT_EMU_MIXED=1 job mixed 2 cfg.ini run.device=cuda run.steps=2
NT_EMU_NCCL_VERSION=21700 job old_nccl 2 cfg.ini run.device=cuda run.steps=2
for name in fewer shared; do
    ended $name 69 20
    says_once 'ranks 0 and 1 on .* have the same device'
done
ended twice 69 20
says_once "shows no device: CUDA_VISIBLE_DEVICES is '0,0'"
ended mixed 0 20
says_once 'rank 1 on .* has another kind of device'
ended old_nccl 0 20
says_once 'NCCL 2.17 is too old (2.18 or later is needed): gradients go through host memory and '
