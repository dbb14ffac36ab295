#!/usr/bin/env bash
# Fault 85: a kernel that never ends, on the only rank, the first and the last: the job ends with 82 within the watchdog's
# second and 10 more, and names rank, step and phase; the rank whose device hangs, where that can be known (in a recorded
# step it cannot). A collective that never ends is the same to all ranks.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1
run=(cfg.ini run.device=cuda run.watchdog=1)

NT_EMU_HANG_LAUNCH=200 job alone 1 "${run[@]}"
NT_EMU_NCCL_HANG=9@0 NT_EMU_NCCL_ABORT_HANG=1 job abort 2 "${run[@]}"
NT_EMU_HANG_LAUNCH=200 job debug 1 "${run[@]}" run.debug_sync=yes
ONLY='0 NT_EMU_HANG_LAUNCH=200' job first 2 "${run[@]}" run.cuda_graph=no
ONLY='2 NT_EMU_HANG_LAUNCH=200' job last 3 "${run[@]}" run.cuda_graph=no
ended alone 82 11
says_once '^nntrain: step [0-9]*, waiting for the device: no progress for .* the watchdog ends the job'
ended debug 82 11
says_once '^nntrain: step [0-9]*, \(forward\|backward\|update\): no progress for .* the watchdog ends the job'
ended first 82 11
says_once '^nntrain: rank 0 on .*, step [0-9]*, waiting for the device: no progress for .*: a kernel on the device of this rank'
ended last 82 11
says_once '^nntrain: rank 2 on .*, step [0-9]*, waiting for the device: no progress for .*: a kernel on the device of this rank'

ONLY='1 NT_EMU_HANG_LAUNCH=200' job graph 2 "${run[@]}"
NT_EMU_NCCL_HANG=9@1 job sum 3 "${run[@]}"
for name in graph sum; do
    ended $name 82 11
    says_once '^nntrain: rank [0-2] on .*, step [0-9]*, waiting for the device: no progress for .*: a sum over the ranks does not end'
done
ended abort 82 25 # and ncclCommAbort too, which is given 10 s
says 'ncclCommAbort hangs'
