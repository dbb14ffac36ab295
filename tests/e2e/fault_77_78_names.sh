#!/usr/bin/env bash
# Faults 77 and 78: links and names that would lead out of the run folder; hostile words in a job script.
# shellcheck disable=SC2016,SC2317 # hostile words stay words
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1

# 77: the run folder is a link: refused before anything is written, also by check. Links above it are the user's.
mkdir outside real && ln -s outside run && ln -s nowhere dangling && ln -s real up
for path in run run/ dangling; do
    expect 73 nntrain cfg.ini "run.output=$path"
    says 'is a symbolic link to .*: name that folder itself'
    expect 73 nntrain check cfg.ini "run.output=$path"
done
expect 73 ranks 2 cfg.ini
says_once 'is a symbolic link to'
[ -z "$(ls outside)" ] || fail "something was written through the link"
[ ! -e nowhere ] || fail "the target of a dangling link was made"
expect 0 nntrain cfg.ini run.output=up/run
[ -e real/run/config.ini ] || fail "nothing was written below a link"

# Links in the place of the files that a run writes: what they lead to stays as it was.
echo precious >victim
for name in train.log metrics.csv metrics.jsonl times.csv lock config.ini tuning.txt; do
    rm -rf files && mkdir files && ln -s ../victim "files/$name"
    nntrain cfg.ini run.output=files
    [ "$(cat victim)" = precious ] || fail "files/$name was followed"
done
for name in checkpoints checkpoints/latest checkpoints/step_00000007.h5; do
    rm -rf files && mkdir -p files/checkpoints outside
    [ $name != checkpoints ] || rmdir files/checkpoints
    ln -s "$work/$([ $name = checkpoints ] && echo outside || echo victim)" "files/$name"
    nntrain cfg.ini run.output=files
    [ "$(cat victim)" = precious ] || fail "files/$name was followed"
    [ -z "$(ls outside)" ] || fail "files/$name was followed"
done

# Names of layers are names.
for name in ../up /etc/x a/b '..' '-x' '$(touch pwned)' 'a b'; do
    sed "s|^\[layer fc\]|[layer $name]|" cfg.ini >layer.ini
    expect 78 nntrain layer.ini run.output=layers
    says 'layer.ini:[0-9]*'
    [ ! -e layers ] || fail "'$name' got as far as the run folder"
done

# 78: the job script takes values from arguments and the environment only, and hands them on as they are.
batch=$source_dir/scripts/slurm/train.sbatch
bash -n "$batch" || fail "the job script is no script"
if command -v shellcheck >/dev/null; then shellcheck "$batch" >out || fail "shellcheck"; fi
mkdir bin 'a place'
cat >bin/srun <<'END'
#!/bin/sh
while [ "${1#--}" != "$1" ]; do shift; done
printf '%s\0' "$@" >"$GOT"
END
printf '#!/bin/sh\n' >'a place/nn;touch pwned'
chmod +x bin/srun 'a place/nn;touch pwned'
hostile=("cfg.ini" "run.output=a b;touch pwned" 'run.output=$(touch pwned)' 'run.name=`touch pwned`' "run.name='; touch pwned; '"
    "run.name=\"; touch pwned; \"" $'run.name=x\n#SBATCH --uid=0\ntouch pwned' 'run.name=*' 'run.name=%s%n' '--' '')
submitted() { # submitted [VARIABLE=VALUE ...]: the script as SLURM would run it
    env "$@" PATH="$work/bin:$PATH" SLURM_JOB_ID=7 SLURM_NTASKS=2 SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=n1 \
        GOT="$work/got" NNTRAIN="$work/a place/nn;touch pwned" bash "$batch" "${hostile[@]}" >out 2>err
}
printf '%s\0' "$work/a place/nn;touch pwned" "${hostile[@]}" >wanted
expect 0 submitted SLURM_JOB_NAME='x"; touch pwned; $(touch pwned)'
cmp got wanted || fail "the arguments did not arrive as they were"
expect 0 submitted SLURM_JOB_NAME=x SLURM_ARRAY_TASK_ID=3 SLURM_ARRAY_JOB_ID=6
cmp got wanted || fail "the arguments of an array's task did not arrive as they were"
[ -z "$(find . -name pwned)" ] || fail "a value was executed"
# What #SBATCH lines say is in the file: no value gets there.
grep '^#SBATCH' "$batch" | grep -qE '[$`]' && fail "a #SBATCH line takes a value"
exit 0
