#!/usr/bin/env bash
# Fault 98, on a machine without a GPU: device = cuda says in one line what is missing and exits with 69, on one rank
# and on two; device = auto says why it takes the CPU (nothing, where this build knows no CUDA) and trains.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
[ -e /proc/driver/nvidia/version ] && exit 77
small_config cfg.ini 1

built=yes
reason='there is no NVIDIA driver on this machine'
nntrain --version
grep -q 'CUDA not built in' out && built=no reason='this nntrain was built without CUDA'

# one_line: that reason, and nothing else.
one_line() {
    says_once "$reason"
    [ "$(wc -l <err)" = 1 ] || fail "more than one line"
}
expect 69 nntrain cfg.ini run.device=cuda
one_line
expect 69 ranks 2 cfg.ini run.device=cuda
says_once "$reason"

expect 0 nntrain cfg.ini run.device=auto
if [ $built = yes ]; then
    says_once 'device = auto: there is no NVIDIA driver on this machine, so this runs on the CPU'
else
    does_not_say 'device = auto'
fi
expect 0 nntrain cfg.ini run.device=cpu run.output=cpu
same_run run cpu

# check plans for the CPU where the device cannot be had.
expect 0 nntrain check cfg.ini run.device=cuda
says "warning: .*$reason.*planning for the cpu"
