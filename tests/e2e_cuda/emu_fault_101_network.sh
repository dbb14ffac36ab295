#!/usr/bin/env bash
# Fault 101: NCCL_SOCKET_IFNAME names no network, on all ranks, the first, one in the middle, the last: the error says so,
# once, and names the variable; long before the deadline of the start, and without the watchdog.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1
sed -i 's/^watchdog = .*/watchdog = 0/' cfg.ini
export NNTRAIN_INIT_TIMEOUT=50

NCCL_SOCKET_IFNAME=nosuch job all 3 cfg.ini run.device=cuda
for rank in 0 1 2; do
    ONLY="$rank NCCL_SOCKET_IFNAME=nosuch" job "only$rank" 3 cfg.ini run.device=cuda
done
ended all 69 15
says_once '^nntrain: rank 0 on .*no socket interface found.*NCCL_SOCKET_IFNAME, which chooses the network, is nosuch'
for rank in 0 1 2; do
    ended "only$rank" 69 15
    says_once "^nntrain: rank $rank on .*no socket interface found.*NCCL_SOCKET_IFNAME, which chooses the network, is nosuch"
    [ "$(grep -c '^nntrain:' err)" = 1 ] || fail "rank $rank alone: others speak too"
done
NCCL_SOCKET_IFNAME='^nosuch' expect 0 ranks 2 cfg.ini run.device=cuda run.steps=2 run.output=fine
