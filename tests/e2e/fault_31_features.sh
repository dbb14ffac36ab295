#!/usr/bin/env bash
# Features of tabular data in whole runs: the checkpoint's are used wherever it is, whatever the data are by then; one
# rank and three, killed and resumed or not, see the same; what does not fit the checkpoint is said (fault 31).
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# rows N OFFSET: a number, a class of three, a constant, and a label that depends on the first two.
rows() {
    awk -v n="$1" -v offset="$2" 'BEGIN { srand(7); for (i = 0; i < n; i++) {
        a = 50 * rand() + offset; b = int(3 * rand()) * 10; print a "," b ",4.5," ((a > offset + 25) + (b == 10)) % 2 } }'
}
rows 200 1000 >a.csv
rows 200 5000 >b.csv
expect 0 nntrain import csv a.csv a.h5 --test-rows 40
expect 0 nntrain import csv b.csv b.h5 --test-rows 40
cat >cfg.ini <<END
[run]
output = run
epochs = 6
threads = 1
[data]
file = a.h5
batch = 20
features = standardise
one_hot = 1
[layer hidden]
type = linear
units = 8
activation = tanh
[layer out]
type = linear
units = 2
[optimizer]
lr = 0.2
momentum = 0.9
END
expect 0 nntrain cfg.ini
says 'features: 3 columns of the training part become 5'
expect 0 nntrain eval cfg.ini --json
cp out trained.json

# Another training part must not change what the model sees of the same test part.
expect 0 nntrain predict cfg.ini a.h5 one.h5 --group /test
expect 0 nntrain predict cfg.ini a.h5 two.h5 --group /test data.file=b.h5
cmp -s one.h5 two.h5 || fail "predictions depend on the training part that is at hand"
expect 0 nntrain predict cfg.ini a.h5 three.h5 --group /test data.file=gone.h5
cmp -s one.h5 three.h5 || fail "predictions depend on a training part being at hand"
expect 0 ranks 3 predict cfg.ini a.h5 four.h5 --group /test
cmp -s one.h5 four.h5 || fail "predictions of 1 and 3 ranks differ"
expect 0 nntrain eval cfg.ini --json
cmp -s out trained.json || fail "the same evaluation gives other numbers"

# Stopped and resumed; and the file was changed in between: the numbers of the checkpoint go on to be used.
expect 0 nntrain cfg.ini run.output=parts run.epochs=3
expect 0 nntrain cfg.ini run.output=parts
does_not_say 'features: 3 columns'
[ "$(digest_of run)" = "$(digest_of parts)" ] || fail "a run in two parts ends with other weights"

# Fault 31: another configuration of the features.
expect 78 nntrain cfg.ini run.epochs=7 data.features=minmax
says "data.features: 'standardise' -> 'minmax'"
expect 78 nntrain eval cfg.ini data.features=none data.one_hot=
says 'was trained on features: the config must say data.features'
expect 0 nntrain cfg.ini run.output=plain data.features=none data.one_hot=
expect 78 nntrain eval cfg.ini run.output=plain
says 'was trained without features'
expect 78 nntrain check cfg.ini data.one_hot=3
says 'command line: data.one_hot names column 3, but there are only 0 to 2'
sed 's/^one_hot = 1/one_hot = 1, 3/' cfg.ini >wrong.ini
expect 78 nntrain wrong.ini
says_once 'wrong.ini:9:11: data.one_hot names column 3'
expect 78 ranks 2 check wrong.ini
says_once 'wrong.ini:9:11: data.one_hot names column 3'
printf 'scale = 0.5\n' | sed -i '/^batch/r /dev/stdin' cfg.ini
expect 78 nntrain check cfg.ini
says 'cfg.ini:9:12: data.features and data.scale exclude each other'
sed -i '/^scale/d' cfg.ini

# The folder is looked through once: what is wrong there is said once.
cp -r run torn
newest=$(cat torn/checkpoints/latest)
truncate -s -100 "torn/checkpoints/$newest"
expect 0 nntrain eval cfg.ini run.output=torn
says_once "$newest"

# Several ranks train on the same features.
expect 0 ranks 2 cfg.ini run.output=two
a=$(sed -n 's/.*valid loss \([0-9.]*\), valid acc.*/\1/p' run/train.log | tail -n 1)
b=$(sed -n 's/.*valid loss \([0-9.]*\), valid acc.*/\1/p' two/train.log | tail -n 1)
awk -v a="$a" -v b="$b" 'BEGIN { exit !(a > 0 && a - b < 1e-4 && b - a < 1e-4) }' || fail "losses $a and $b of 1 and 2 ranks"
