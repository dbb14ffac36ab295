#!/usr/bin/env bash
# Fault 86: one rank makes one collective call less than the others. Calls that do not match meet: MPI says so where
# the sizes differ, else the watchdog ends the job. In debug mode rank 0 names the calls that differ, at once.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# One layer, so one bucket: with reductions of many sizes that do not match, MPI may do anything, also crash.
cat >cfg.ini <<END
[run]
output = run
epochs = 2
threads = 1
validate = never
[data]
file = synthetic
synthetic_shape = 1, 6, 6
synthetic_samples = 256
batch = 16
[layer fc]
type = linear
units = 10
bias = no
[optimizer]
lr = 0.05
[checkpoint]
every = never
END

for rank in 0 1; do
    export NNTRAIN_FAULT="point=comm.skip,kind=error,rank=$rank,step=5"
    rm -rf run
    expect_failure ranks 2 cfg.ini run.watchdog=1 run.check_replicas=0
    says 'no progress for\|message truncated'
    rm -rf run
    expect 70 ranks 2 cfg.ini run.watchdog=10 run.check_replicas=0 run.debug_sync=yes
    says_once "the ranks' collective calls differ: rank 0 makes an* .*, and rank 1 on .* makes an* "
done
