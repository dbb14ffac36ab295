#!/usr/bin/env bash
# What `cmake --install` leaves is enough to train: the program, an example and its data, with the source tree out of reach.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
cmake --install "$(dirname "$binary")" --prefix "$work/prefix" >out 2>err || fail "cmake --install failed"
binary=$work/prefix/bin/nntrain
cd "$work/prefix/share/nntrain" || fail "there is no share/nntrain"

expect 0 nntrain launcher/examples/digits.ini run.epochs=1 run.output="$work/digits"
expect 0 nntrain eval launcher/examples/digits.ini run.output="$work/digits"
says '^accuracy *0\.[5-9]' # chance is 0.1

# The other examples: their data are not shipped, their models are.
expect 0 nntrain check launcher/examples/cifar10_resnet18.ini data.file=synthetic data.synthetic_shape=3,32,32 data.batch=2 data.eval_batch=2
expect 0 nntrain import csv launcher/examples/perceptron.csv "$work/perceptron.h5" --targets 1 --header
expect 0 nntrain check launcher/examples/perceptron.ini data.file="$work/perceptron.h5"
expect 0 nntrain check launcher/examples/regression.ini
[ -r scripts/slurm/train.sbatch ] || fail "no SLURM template"
