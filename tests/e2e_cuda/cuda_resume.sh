#!/usr/bin/env bash
# Acceptance 2: a run on the device that is stopped in mid-epoch and resumed ends with the same bits as one that is not,
# and two runs are equal bit for bit; a checkpoint of the CPU is continued on the device and back, with the losses of a run
# that stays to 1e-3 (two devices round differently, and momentum carries it on over the steps).
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1
sed -i '/^schedule/d' cfg.ini # whose rate would depend on the number of steps
for n in 1 2; do
    [ $n -le "$gpus" ] || break
    expect 0 on $n cfg.ini run.device=cuda "run.output=whole$n"
    expect 0 on $n cfg.ini run.device=cuda "run.output=parts$n" run.steps=7
    expect 0 on $n cfg.ini run.device=cuda "run.output=parts$n"
    says 'after step 7'
    same_run "whole$n" "parts$n"
done

expect 0 nntrain cfg.ini run.device=cpu run.output=cpu
for way in cpu-cuda cuda-cpu; do
    expect 0 nntrain cfg.ini "run.device=${way%-*}" "run.output=$way" run.steps=7
    expect 0 nntrain cfg.ini "run.device=${way#*-}" "run.output=$way"
    says 'after step 7'
    close_losses cpu "$way" 1e-3 16
done
