#!/usr/bin/env bash
# Acceptance 2 and fault 33: a run on the device that is stopped in mid-epoch and resumed ends with the same bits as one that is not,
# and two runs are equal bit for bit; a checkpoint of the CPU is continued on the device and back, with the losses of a run
# that stays to 1e-3 (two devices round differently, and momentum carries it on over the steps).
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1
sed -i '/^schedule/d' cfg.ini # whose rate would depend on the number of steps
# Two parts of a run that know nothing of each other end with an evaluation each.
train_rows() { grep -e train "$1/metrics.csv" | cut -d, -f1-7; }
for n in 1 2 4 8; do
    [ $n -le "$gpus" ] || break
    last=$((n <= 2 ? 16 : 9))
    expect 0 on $n cfg.ini run.device=cuda "run.output=whole$n" run.steps=$last
    expect 0 on $n cfg.ini run.device=cuda "run.output=parts$n" run.steps=7
    expect 0 on $n cfg.ini run.device=cuda "run.output=parts$n" run.steps=$last
    says 'after step 7'
    [ "$(digest_of "whole$n")" = "$(digest_of "parts$n")" ] || fail "digests differ at $n ranks"
    [ "$(train_rows "whole$n")" = "$(train_rows "parts$n")" ] || fail "metrics differ at $n ranks"
done

expect 0 nntrain cfg.ini run.device=cpu run.output=cpu
for way in cpu-cuda cuda-cpu; do
    expect 0 nntrain cfg.ini "run.device=${way%-*}" "run.output=$way" run.steps=7
    expect 0 nntrain cfg.ini "run.device=${way#*-}" "run.output=$way"
    says 'after step 7'
    for run in cpu "$way"; do
        mkdir -p "rows/$run"
        grep -e step -e train "$run/metrics.csv" >"rows/$run/metrics.csv"
    done
    close_losses rows/cpu "rows/$way" 1e-3 16
done
