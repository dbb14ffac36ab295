#!/usr/bin/env bash
# eval on data with class names, by a net with two outputs more than there are names: those go by their numbers.
# The data are two records a file in the layout of CIFAR-10.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# record LABEL TEXT: a label byte, and pixels that repeat TEXT.
record() {
    printf '%b' "\\0$(printf '%o' "$1")"
    yes "$2" | head -c 3072
}
mkdir cifar
for i in 1 2 3 4 5; do
    { record 0 ab && record 9 "${i}c"; } >cifar/data_batch_$i.bin
done
{ record 0 ab && record 9 zz; } >cifar/test_batch.bin
expect 0 nntrain import cifar10 cifar cifar.h5

cat >cfg.ini <<END
[run]
output = run
epochs = 1
threads = 1
[data]
file = cifar.h5
batch = 2
[layer flat]
type = flatten
[layer fc]
type = linear
units = 12
END
expect 0 nntrain cfg.ini
expect 0 nntrain eval cfg.ini
says '^samples *2$'
says '^ *airplane  *.* 1$'
says '^ *truck  *.* 1$'
says '^ *11  *.* 0$'
expect 0 ranks 2 eval cfg.ini
says '^ *11  *.* 0$'


# Predictions name the classes; outputs beyond the names go by their numbers; --logits gives what comes before.
expect 0 nntrain predict cfg.ini cifar.h5 p.csv --group /test
head -n 1 p.csv | grep -q '^sample,class,class_name,probability_airplane,.*,probability_truck,probability_10,probability_11$' ||
    fail "header: $(head -n 1 p.csv)"
[ "$(wc -l <p.csv)" = 3 ] || fail "p.csv has $(wc -l <p.csv) lines"
awk -F, 'NR > 1 { sum = 0; for (i = 4; i <= NF; i++) sum += $i; if (NF != 15 || sum < 0.9999 || sum > 1.0001) exit 1 }' p.csv ||
    fail "no probabilities in p.csv"
expect 0 ranks 2 predict cfg.ini cifar.h5 q.csv --group /test
cmp -s p.csv q.csv || fail "predictions of 1 and 2 ranks differ"
expect 0 nntrain predict cfg.ini cifar.h5 logits.csv --group /test --logits
head -n 1 logits.csv | grep -q ',output_truck,output_10' || fail "header: $(head -n 1 logits.csv)"
expect 73 nntrain predict cfg.ini cifar.h5 p.csv --group /test

# A class that is ignored has no output: it is in no count and in no matrix.
expect 0 nntrain cfg.ini run.output=ignoring loss.ignore_index=9 layer.fc.units=9
expect 0 nntrain eval cfg.ini run.output=ignoring loss.ignore_index=9 layer.fc.units=9
says '^accuracy .* of 1 right'
says '^ *airplane  *.* 1$'
does_not_say truck
