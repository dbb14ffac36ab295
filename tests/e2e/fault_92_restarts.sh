#!/usr/bin/env bash
# shellcheck disable=SC1091,SC2154,SC2016
# Fault 92 and the rest of what scripts/slurm/train.sbatch decides, with an srun and a scontrol that only write down
# how they were called: what is requeued, what is not, and under which name. tests/e2e/slurm.sh is the real thing.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
batch=$source_dir/scripts/slurm/train.sbatch

mkdir bin
export PATH=$work/bin:$PATH TMPDIR=$work
# srun: says what the file `said` holds, ends with the code in the file `code`.
cat >bin/srun <<'END'
#!/bin/sh
printf '%s\n' "$@" >srun_args
cat said
exit "$(cat code)"
END
cat >bin/scontrol <<'END'
#!/bin/sh
echo "$*" >>scontrol_args
exit "$(cat scontrol_code)"
END
printf '#!/bin/sh\n' >bin/sleep # SLURM would end the script there
chmod +x bin/*

# batch RESTART CODE SAID [ARGS]: the script as SLURM runs it for the restart of that number.
batch() {
    echo "$2" >code
    echo "$3" >said
    echo "${scontrol_code:-0}" >scontrol_code
    rm -f scontrol_args
    env SLURM_JOB_ID=12 SLURM_JOB_NAME=demo SLURM_NTASKS=2 SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=n1 \
        SLURM_RESTART_COUNT="$1" NNTRAIN="$binary" bash "$batch" "${@:4}" >out 2>err
}
requeued() { [ "$(cat scontrol_args 2>/dev/null)" = "requeue $1" ] || fail "not requeued as $1"; }
not_requeued() {
    [ ! -e scontrol_args ] || fail "requeued: $(cat scontrol_args)"
    no_count_left
}
no_count_left() { [ ! -e .nntrain-restarts-12 ] || fail "the count of restarts was left behind"; }
argument() { grep -qxF -e "$1" srun_args || fail "srun has not got the argument '$1'"; }

command -v shellcheck >/dev/null && { expect 0 shellcheck "$batch"; }
expect 0 bash -n "$batch"

# Every code but 75 ends the job with that code.
for code in 0 1 65 78 80 137; do
    expect $code batch 0 $code 'nothing' cfg.ini
    not_requeued
done

# Arguments arrive as they are.
expect 75 batch 0 75 'checkpoint step 5 saved' cfg.ini 'checkpoint.every=2 epochs' 'run.output=a$b*'
requeued 12
says 'restart 0'
argument "$binary"
argument cfg.ini
argument 'checkpoint.every=2 epochs'
argument 'run.output=a$b*'

# 3 restarts without a new step; a new step begins the count anew.
expect 75 batch 1 75 'info: checkpoint step 5 saved' cfg.ini
requeued 12
expect 75 batch 2 75 'no step' cfg.ini
requeued 12
expect 75 batch 3 75 'info: checkpoint step 6 saved' cfg.ini
requeued 12
for restart in 4 5; do
    expect 75 batch $restart 75 'no step' cfg.ini
    requeued 12
done
expect 82 batch 6 75 'no step' cfg.ini
says '3 restarts without a new step'
not_requeued

# A site that forbids requeueing.
scontrol_code=1
expect 75 batch 0 75 'checkpoint step 5 saved' cfg.ini
says 'cannot be requeued'
no_count_left
scontrol_code=0

# A task of an array: its own name, also for the last task, whose job ID is the array's; %a is its index.
export SLURM_ARRAY_JOB_ID=12 SLURM_ARRAY_TASK_ID=3
expect 75 batch 0 75 'checkpoint step 5 saved' cfg.ini run.seed=%a run.output=runs/s-%a
requeued 12_3
argument run.seed=3
argument run.output=runs/s-3
unset SLURM_ARRAY_JOB_ID SLURM_ARRAY_TASK_ID

# No arguments, no program, no SLURM.
expect 2 batch 0 0 ''
says 'usage'
binary=/nowhere/nntrain expect 2 batch 0 0 '' cfg.ini
says '/nowhere/nntrain'
expect 2 bash "$batch" cfg.ini >out 2>err
says 'this is a batch script'
[ -z "$(ls -d "$work"/tmp.* 2>/dev/null)" ] || fail "temporary files were left behind"
