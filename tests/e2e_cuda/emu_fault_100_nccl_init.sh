#!/usr/bin/env bash
# Fault 100: a rank is missing when NCCL connects them: the first, the last, one in the middle, one of two; it hangs, or is
# stopped. The others give up after the deadline of the start, one of them says so, and the job ends.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1
export NNTRAIN_INIT_TIMEOUT=6

# missing RANK KIND N
missing() { NNTRAIN_FAULT=point=nccl.init,kind=$2,rank=$1 job "$2$1of$3" "$3" cfg.ini run.device=cuda; }
missing 0 hang 3
missing 1 stop 3
missing 2 hang 3
missing 0 stop 2
missing 1 hang 2
for name in hang0of3 stop1of3 hang2of3 stop0of2 hang1of2; do
    ended $name 69 20
    text="^nntrain: rank [0-2] on .*: NCCL has not connected the ${name##*of} ranks within 6 s (NNTRAIN_INIT_TIMEOUT sets"
    case $name in
        stop*) says "$text" ;; # mpirun wakes the one it kills, which may say the same
        *) says_once "$text" ;;
    esac
    says 'NCCL_SOCKET_IFNAME, which chooses the network, is not set'
done
NNTRAIN_FAULT=point=nccl.init,kind=exit0,rank=1 job left 3 cfg.ini run.device=cuda
wait "${jobs[left]}"
[ "$(cut -d ' ' -f 1 left.end)" != 0 ] || fail "a rank that left made the job a success"
