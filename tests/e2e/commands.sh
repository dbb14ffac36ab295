#!/usr/bin/env bash
# Every command once, alone and under mpirun where it computes.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 2
digits=$source_dir/datasets/digits.h5

expect 0 nntrain help
says 'commands:'
expect 0 nntrain --help
expect 0 nntrain help config
says 'watchdog'
expect 0 nntrain help layers
says 'conv2d'
expect 0 nntrain help conv2d
says 'kernel'
expect 0 nntrain help optimizer
says '^  momentum = 0'
expect 0 nntrain help lr_per
says '^.optimizer.'
does_not_say 'momentum'
expect 0 nntrain help data.scale
says '^.data.'
expect 0 nntrain help csv
says 'import csv .*--header'
expect 0 nntrain help cosine
says '^  schedule = constant'
expect 2 nntrain help dense
says "did you mean 'linear'"
expect 2 nntrain help auto
expect 2 nntrain help optimiser
says "did you mean 'optimizer'"
for command in train check eval predict import inspect export bench help version; do
    expect 0 nntrain $command --help
    says "nntrain \\(-*$command\\|\\[train\\]\\|cfg.ini\\)"
done
expect 0 nntrain bench cfg.ini --steps 3 --help
says 'nntrain bench'
expect 0 nntrain cfg.ini -h
says 'train'
[ ! -e run ] || fail "help has trained"
expect 0 nntrain --version
says 'oneDNN [0-9]'
says 'MPI [0-9]'

expect 0 nntrain check cfg.ini
says 'conv .*conv2d .*4x4x4'
says 'without reuse'
says 'bucket'
[ ! -e run ] || fail "check has made the run folder"
expect 0 ranks 2 check cfg.ini
expect 0 nntrain check cfg.ini --dot
says '^digraph model {'
says 'n1 .label="conv.nconv2d.n4x4x4.n'
says '^  n0 -> n1;'
does_not_say 'bucket'
expect 0 nntrain check cfg.ini --ranks 8
expect 78 nntrain check cfg.ini --ranks 800

expect 66 nntrain eval cfg.ini
says 'no checkpoint'
expect 0 ranks 2 cfg.ini
grep -q '^lr = 0.05' run/config.ini || fail "config.ini lacks what was given"
grep -q '^eval_batch' run/config.ini || fail "config.ini lacks defaults"
expect 0 nntrain run/config.ini run.output=from_resolved
[ "$(digest_of run)" ] || fail "no digest"

# eval: the same numbers alone and under two ranks, and those of the training run's end
# check: the checkpoint from which the run would go on, and nothing is changed
find run -type f -exec cksum {} + | sort >before
expect 0 nntrain check cfg.ini run.epochs=9
says 'would go on from checkpoint .* after step 32'
expect 78 nntrain check cfg.ini optimizer.lr=0.3
says 'made with another configuration'
expect 73 nntrain check cfg.ini checkpoint.resume=no
expect 66 nntrain check cfg.ini checkpoint.resume=missing.h5
find run -type f -exec cksum {} + | sort | cmp - before || fail "check has changed the run folder"
expect 73 nntrain check cfg.ini run.output=cfg.ini
expect 73 nntrain check cfg.ini run.output=cfg.ini/below

expect 0 nntrain eval cfg.ini --json
cp out one.json
expect 0 ranks 2 eval cfg.ini --json
one=$(sed 's/.*"loss": \([0-9.e+-]*\).*/\1/' one.json)
two=$(sed 's/.*"loss": \([0-9.e+-]*\).*/\1/' out)
awk -v a="$one" -v b="$two" 'BEGIN { exit !(a > 0 && (a - b) ^ 2 < 1e-10 * a * a) }' || fail "eval: $one and $two"
end=$(sed -n 's/.*"split": "valid", "loss": \([0-9.e+-]*\).*/\1/p' run/metrics.jsonl | tail -n 1)
awk -v a="$one" -v b="$end" 'BEGIN { exit !((a - b) ^ 2 < 1e-10 * a * a) }' || fail "eval: $one, training: $end"
expect 0 nntrain eval cfg.ini
says '95 % interval'
says 'precision'
says 'rows: truth'
expect 0 nntrain eval cfg.ini "run/checkpoints/$(cat run/checkpoints/latest)" --part train
says '256 samples'
expect 2 nntrain eval cfg.ini --part test

# import, inspect, predict
printf '%s\n' 1,2,3,0 4,5,6,1 7,8,9,2 1,1,1,0 >rows.csv
expect 0 nntrain import csv rows.csv rows.h5 --test-rows 1
says 'rows.h5:/train, 3 samples 3 uint8, 3 classes'
expect 0 nntrain inspect rows.h5
says '3 samples'
says 'sound'
expect 73 nntrain import csv rows.csv rows.h5
expect 0 nntrain import csv rows.csv rows.h5 --force
expect 2 nntrain import cvs rows.csv x.h5
says "did you mean 'csv'"
expect 2 nntrain import csv --size 8x8 rows.csv x.h5
says '^nntrain: .*--size is not for csv; usage: .*--header'
[ ! -e x.h5 ] || fail "a flag of another format was passed over"
printf '%s\n' 1,2,250000 4,5,310000 >prices.csv
expect 0 nntrain import csv prices.csv prices.h5 --targets 1
says 'no test part'
printf '%s\n' '[data]' 'file = prices.h5' '[layers]' 'value = linear units=1' >prices.ini
expect 0 nntrain check prices.ini data.batch=2
says 'target values are about 2.8e+05 in size'
expect 0 nntrain prices.ini data.batch=2 run.epochs=1 optimizer.lr=1e-12
says_once 'target values are about 2.8e+05 in size'
expect 0 nntrain check prices.ini data.batch=2 run.epochs=2 optimizer.lr=1e-12
does_not_say 'target values are about' # a run that goes on has heard it
expect 65 nntrain check prices.ini data.file=prices.csv
says 'not an HDF5 file.*nntrain import'
expect 0 nntrain inspect "run/checkpoints/$(cat run/checkpoints/latest)"
says 'conv.weight'

# under mpirun rank 0 alone imports and inspects, and says so once; all ranks end with its exit code
expect 0 ranks 3 import csv rows.csv ranks.h5
[ "$(grep -c 'imported into' out)" = 1 ] || fail "several ranks have imported"
cmp -s rows.h5 ranks.h5 || fail "the imports of 1 and 3 ranks differ"
expect 73 ranks 3 import csv rows.csv ranks.h5
says_once '^nntrain: .*--force'
expect 0 ranks 3 inspect ranks.h5
[ "$(grep -c 'sound' out)" = 1 ] || fail "several ranks have inspected"
head -c 2000 "$digits" >cut.h5
expect 65 nntrain inspect cut.h5
expect 65 ranks 2 inspect cut.h5
says_once '^nntrain: '
expect 66 nntrain inspect nothing.h5

sed "s|^file = .*|file = $digits|; /^synthetic/d" cfg.ini >digits.ini
expect 0 nntrain digits.ini run.output=digits run.epochs=1
expect 0 nntrain predict digits.ini "$digits" one.h5 run.output=digits --group /test
expect 0 ranks 2 predict digits.ini "$digits" two.h5 run.output=digits --group /test
cmp -s one.h5 two.h5 || fail "predictions of 1 and 2 ranks differ"
expect 73 nntrain predict digits.ini "$digits" one.h5 run.output=digits
expect 0 nntrain predict digits.ini "$digits" one.h5 run.output=digits --force
says '360 samples'
expect 78 nntrain predict digits.ini "$digits" big.h5 run.output=digits --group /test data.eval_batch=300000000
says 'eval_batch up to 214748364'
[ -z "$(find . -name '*.tmp*')" ] || fail "a temporary file was left"

expect 0 nntrain bench cfg.ini --steps 1 --json # the median of what was timed, nothing else
says '"samples_per_s": [0-9]'
says '"startup_s": [0-9]'
expect 0 ranks 2 bench cfg.ini --steps 5
says 'samples/s'
