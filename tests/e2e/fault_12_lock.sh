#!/usr/bin/env bash
# Fault 12: a second run in the same folder is refused; the lock of a dead run is taken over.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 400

"$binary" cfg.ini >first.out 2>&1 &
first=$!
wait_for test -s run/lock
expect 73 nntrain cfg.ini
says "in use by process $first"
expect 73 ranks 2 cfg.ini
says_once 'in use by process'
expect 73 nntrain check cfg.ini
says "in use by process $first"
expect 0 nntrain check cfg.ini run.output=elsewhere
grep -q "^[^ ]* $first " run/lock || fail "the lock is not the first run's any more"
kill -KILL "$first"
wait "$first" 2>/dev/null

expect 0 nntrain cfg.ini run.epochs=2
says 'taking it over'
[ ! -e run/lock ] || fail "the lock was left behind"
echo "another-host 1 1" >run/lock
expect 73 nntrain cfg.ini run.epochs=3
says 'another-host'
echo torn >run/lock
expect 0 nntrain cfg.ini run.epochs=3

# A lock of this very SLURM job from before it was requeued is nobody's any more, whatever the host.
echo "another-host 1 1 77 0" >run/lock
SLURM_JOB_ID=77 SLURM_RESTART_COUNT=0 expect 73 nntrain cfg.ini run.epochs=4
SLURM_JOB_ID=78 SLURM_RESTART_COUNT=1 expect 73 nntrain cfg.ini run.epochs=4
SLURM_JOB_ID=77 SLURM_RESTART_COUNT=1 expect 0 nntrain cfg.ini run.epochs=4
