#!/usr/bin/env bash
# Faults 3 and 4: a checkpoint cannot be written: all ranks stop with 74, or go on, by checkpoint.on_error; older
# checkpoints stay as they were.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 2
sed -i 's/^filters = .*/filters = 64/' cfg.ini
expect 0 nntrain cfg.ini run.steps=7
sum=$(cksum <run/checkpoints/step_00000007.h5)
size=$(stat -c %s run/checkpoints/step_00000007.h5)

# kept RUN: the old checkpoint is as it was, `latest` names it, nothing else was left.
kept() {
    [ "$(cksum <run/checkpoints/step_00000007.h5)" = "$sum" ] || fail "the old checkpoint has changed"
    [ "$(cat run/checkpoints/latest)" = step_00000007.h5 ] || fail "latest names $(cat run/checkpoints/latest)"
    [ "$(ls run/checkpoints)" = "$(printf 'latest\nstep_00000007.h5')" ] || fail "left over: $(ls run/checkpoints)"
    [ ! -e run/lock ] || fail "the lock was left"
}

# limited COMMAND...: no file may grow beyond a little less than a checkpoint (bash counts in KiB).
limited() {
    (ulimit -f "$((size / 1024 - 2))" && "$@")
}
expect 74 limited nntrain cfg.ini run.steps=30
says_once 'nntrain: .*step_'
kept

# Under MPI, whose own files a limit would break, by a fault in each step of the writing.
for point in checkpoint.write checkpoint.fsync checkpoint.rename; do
    export NNTRAIN_FAULT="point=$point,kind=error,rank=0"
    expect 74 ranks 2 cfg.ini run.steps=30
    says "fault point $point"
    says_once '^nntrain: '
    kept
done
export NNTRAIN_FAULT="point=checkpoint.write,kind=error,rank=0,hit=2"
expect 0 ranks 2 cfg.ini run.steps=30 checkpoint.on_error=continue
says 'training goes on'
says 'done: step 30'
unset NNTRAIN_FAULT
latest_is_sound run

# The last one must succeed whatever the policy: nothing comes after it that could save the work.
expect 74 limited nntrain cfg.ini run.steps=40 checkpoint.on_error=continue
says 'training goes on'
does_not_say 'done: step 40'
expect 0 nntrain cfg.ini run.steps=40
latest_is_sound run
