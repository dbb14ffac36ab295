#!/usr/bin/env bash
# Fault 86: one rank makes one collective call less than the others. The watchdog ends the job; in debug mode the
# calls that differ are named at once.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 2

for rank in 0 1; do
    export NNTRAIN_FAULT="point=comm.skip,kind=error,rank=$rank,step=5"
    rm -rf run
    expect 82 ranks 2 cfg.ini run.watchdog=1 run.check_replicas=0
    says 'no progress for'
done
