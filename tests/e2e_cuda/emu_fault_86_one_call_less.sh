#!/usr/bin/env bash
# Fault 86 on the device: one rank makes one collective call less than the others. The emulated NCCL says what the real one
# would hang in; in debug mode the ranks' calls are compared before they are made, and rank 0 names them.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1
for rank in 0 1; do
    export NNTRAIN_FAULT="point=comm.skip,kind=error,rank=$rank,step=5"
    job "less$rank" 2 cfg.ini run.device=cuda
    job "debug$rank" 2 cfg.ini run.device=cuda run.debug_sync=yes
done
for rank in 0 1; do
    ended "less$rank" 69 15
    says 'nntrain: rank [01] on .*, step [0-9]*, .*rank 0 calls ncclAllReduce(.*), rank 1 calls ncclAllReduce('
    ended "debug$rank" 70 15
    says_once "the ranks' collective calls differ: rank 0 makes an* .*, and rank 1 on .* makes an* "
done
