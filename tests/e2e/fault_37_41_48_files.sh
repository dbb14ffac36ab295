#!/usr/bin/env bash
# Faults 37, 41, 48: a checkpoint replaced between two looks at it, ranks that see different files, one sample for eight.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 2
expect 0 nntrain cfg.ini
cp -r run original

# 37: stopped between finding the checkpoint and loading it. A file of another step in its place: an error.
stopped() { grep -q '^State:[[:space:]]*T' "/proc/$1/status" 2>/dev/null; }
replaced() { # replaced WITH: the exit code of a resume whose checkpoint becomes WITH under its eyes
    local process code=0
    NNTRAIN_FAULT=point=resume.load,kind=stop "$binary" cfg.ini run.epochs=3 >out 2>err &
    process=$!
    wait_for stopped $process
    cp "$1" run/new && mv run/new run/checkpoints/step_00000032.h5
    kill -CONT $process
    wait $process || code=$?
    echo $code >code
}
replaced original/checkpoints/step_00000028.h5
[ "$(cat code)" = 83 ] || fail "exit code $(cat code)"
says 'was replaced while it was read: it stood at step 32 and now stands at step 28'
# Half a file: found to be damaged. The same numbers again, in another file: the same run.
rm -rf run && cp -r original run
head -c 3000 original/checkpoints/step_00000032.h5 >half
replaced half
[ "$(cat code)" = 83 ] || fail "exit code $(cat code)"
rm -rf run && cp -r original run
replaced original/checkpoints/step_00000032.h5
[ "$(cat code)" = 0 ] || fail "exit code $(cat code)"

# 41: rank 1 looks at other files of the same name. Of the run folder only rank 0's counts; data must be the same.
cat >elsewhere <<END
#!/bin/sh
[ "\${OMPI_COMM_WORLD_RANK:-\$PMIX_RANK}" = 1 ] && cd "$work/other"
exec "$binary" "\$@"
END
chmod +x elsewhere
two() { timeout -k 5 $patience mpirun -np 2 "$work/elsewhere" "$@" >"$work/out" 2>"$work/err"; }
rm -rf run && cp -r original run
mkdir -p other/run/checkpoints && cp cfg.ini other/
cp original/checkpoints/step_00000028.h5 other/run/checkpoints/step_00000099.h5
expect 0 ranks 2 cfg.ini run.epochs=3
cp -r run together && rm -rf run && cp -r original run
expect 0 two cfg.ini run.epochs=3
same_run run together
sed -i 's/^lr = .*/lr = 0.06/' other/cfg.ini
expect 78 two cfg.ini run.epochs=4
says_once 'rank 1 on '
cp cfg.ini other/
printf '1,2,0\n3,4,1\n5,6,0\n7,8,1\n' >rows.csv
printf '1,2,0\n3,4,1\n5,6,0\n7,9,1\n' >other/rows.csv
expect 0 nntrain import csv rows.csv data.h5
expect 0 nntrain import csv other/rows.csv other/data.h5
printf '[data]\nfile = data.h5\nbatch = 4\n[layer fc]\ntype = linear\nunits = 2\n' | tee small.ini >other/small.ini
expect 78 two small.ini run.output=small
says_once 'the training data (data.file) differs between ranks: rank 1 on .* does not have what rank 0 has'
expect 0 nntrain import csv rows.csv other/data.h5 --force
echo 9,9,1 >>rows.csv
expect 0 nntrain import csv rows.csv data.h5 --test-rows 1 --force
expect 78 two small.ini run.output=small
says_once 'the validation data (data.file, data.valid_file) differs between ranks: rank 1 on .* does not have what rank 0 has'
[ ! -e small/checkpoints/latest ] || fail "it trained on different data"

# 48: one sample, eight ranks: seven of them wait for the others, in every layer.
printf '1,2,1\n' >one.csv
expect 0 nntrain import csv one.csv one.h5
printf '[run]\nepochs = 3\nthreads = 1\nvalidate = never\n[data]\nfile = one.h5\nbatch = 8\n[layer fc]\ntype = linear\nunits = 2\n' >one.ini
expect 0 nntrain one.ini run.output=one1
expect 0 ranks 8 one.ini run.output=one8 run.zero=1
[ "$(cut -d, -f1-4 one1/metrics.csv)" = "$(cut -d, -f1-4 one8/metrics.csv)" ] || fail "eight ranks learn another thing"
sed -i 's/units = 2/units = 2\nbatchnorm = yes/' one.ini
expect 0 ranks 8 one.ini run.output=bn8 run.sync_batchnorm=yes run.accumulate=3
