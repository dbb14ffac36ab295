#!/usr/bin/env bash
# A device's results come one step late. nntrain_late has such a device, which computes what ref computes
# (tests/late/late_device.c): runs on it end with ref's bits, metrics included, whatever happens in between.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
late_binary=$1
ref_binary=$binary
small_config cfg.ini 2

on_ref() { binary=$ref_binary; device=ref; }
on_late() { binary=$late_binary; device=cuda; }

# both COMMAND ARGS...: the same on both, with the same end.
both() {
    on_ref
    rm -rf run late
    expect 0 "$@" cfg.ini run.device=ref "${options[@]}"
    on_late
    expect 0 "$@" cfg.ini run.device=cuda run.output=late "${options[@]}"
    same_run run late
}

options=(run.check_replicas=4)
both nntrain
options=(run.validate=5\ steps checkpoint.every=3\ steps optimizer.clip_norm=0.5 run.nan_policy=skip)
both nntrain
options=(data.batch=21 run.accumulate=3 run.bucket_mb=0.001)
both ranks 2
both ranks 3

# 93: found one step late, by then nothing was saved that holds it.
on_late
options=(run.device=cuda checkpoint.every=1\ steps)
for point in step.forward step.backward; do
    export NNTRAIN_FAULT="point=$point,kind=nan,rank=1,step=9"
    rm -rf run
    expect 80 ranks 2 cfg.ini "${options[@]}"
    says_once 'nntrain: .*step 10.*NaN'
    [ "$(cat run/checkpoints/latest)" = step_00000009.h5 ] || fail "the last checkpoint is $(cat run/checkpoints/latest)"
    latest_is_sound run
done

# Skipped, with the same end as on ref.
options=(run.nan_policy=skip)
NNTRAIN_FAULT="point=step.backward,kind=nan,step=9"
both nntrain
says 'step 10.*no update'

# Killed and gone on with, on either: the same end.
unset NNTRAIN_FAULT
options=(checkpoint.every=7\ steps)
both nntrain
for first in on_ref on_late; do
    for second in on_ref on_late; do
        rm -rf run
        $first
        NNTRAIN_FAULT="point=run.step,kind=kill,step=20" expect 137 nntrain cfg.ini run.device=$device "${options[@]}"
        $second
        expect 0 nntrain cfg.ini run.device=$device "${options[@]}"
        says 'going on from checkpoint .* after step 16'
        same_run run late
    done
done

# A signal stops after a step whose result is there.
small_config long.ini 12
on_ref
expect 0 nntrain long.ini run.device=ref run.output=whole
on_late
"$binary" long.ini run.device=cuda run.output=stopped >out 2>err &
pid=$!
wait_for grep -qs train stopped/metrics.csv
kill -USR1 "$pid"
wait "$pid"
[ $? = 75 ] || fail "the signal did not stop the run"
says_once 'nntrain: stopped after step'
expect 0 nntrain long.ini run.device=cuda run.output=stopped
same_run whole stopped

# With every launch waited for, results come at once and a NaN's layer is named.
on_late
rm -rf run
NNTRAIN_FAULT="point=step.backward,kind=nan,step=9" expect 80 nntrain cfg.ini run.device=cuda run.debug_sync=yes
says 'step 10: the gradient of fc.weight is not finite'
rm -rf run
expect 0 nntrain cfg.ini run.device=cuda run.debug_sync=yes "${options[@]}"
same_run run late
expect 0 nntrain bench cfg.ini run.device=cuda --steps 3
says 'to give the work'
expect 78 nntrain cfg.ini run.device=cuda run.debug_sync=yes run.cuda_graph=yes
on_ref
expect 69 nntrain cfg.ini run.output=graph run.device=ref run.cuda_graph=yes
says 'cannot be recorded'
