#!/usr/bin/env bash
# Acceptance 1 and the examples that need no download: what their comments promise. The others are checked as far as
# their data allow.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
examples=$source_dir/launcher/examples
ln -s "$source_dir/datasets" datasets
ln -s "$source_dir/launcher" launcher

# at_least RUN SPLIT COLUMN LOW HIGH: the last row of that split.
within() {
    awk -F, -v split_="$2" -v column="$3" -v low="$4" -v high="$5" \
        '$3 == split_ { last = $column } END { exit !(last != "" && last >= low && last <= high) }' "$1/metrics.csv" ||
        fail "$1: column $3 of the last $2 row is not in $4..$5"
}
expect 0 ranks 2 "$examples/digits.ini" run.output=digits
within digits valid 5 0.95 1
expect 0 nntrain eval "$examples/digits.ini" run.output=digits
says '^accuracy *0.9[5-9]'

expect 0 nntrain "$examples/regression.ini" run.output=regression
within regression valid 4 0 0.001

expect 0 nntrain import csv "$examples/perceptron.csv" perceptron.h5 --targets 1 --header
expect 0 nntrain "$examples/perceptron.ini" data.file=perceptron.h5 run.output=perceptron
within perceptron epoch 4 0 0

expect 0 nntrain check "$examples/mnist_lenet.ini" data.file=synthetic data.synthetic_shape=1,28,28
expect 0 nntrain check "$examples/cifar10_resnet18.ini" data.file=synthetic data.synthetic_shape=3,32,32
says '11.17 M parameters'

expect 0 nntrain import shapes train=20 test=8 shapes.h5
expect 0 nntrain check "$examples/inception3_regression.ini" data.file=shapes.h5 data.batch=4
says '21.80 M parameters'

cat "$source_dir"/core/*.c >text.txt
expect 0 nntrain import text text.txt text.h5 --test-fraction 0.1
expect 0 nntrain "$examples/gpt.ini" data.file=text.h5 run.output=gpt run.steps=12 data.batch=4 data.valid_limit=8 optimizer.warmup=3
within gpt valid 4 2 4.5 # ln 256 = 5.5 for one that knows nothing
