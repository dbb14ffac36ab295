#!/usr/bin/env bash
# A validation loss that is not finite while training is sound: said once, and the best checkpoint stays as it is.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
for i in $(seq 10 41); do echo "0.$i,0.$((i % 7)),0.$i"; done >rows.csv
for i in $(seq 4); do echo "1e30,-2e30,0.$i"; done >>rows.csv
expect 0 nntrain import csv rows.csv rows.h5 --targets 1 --test-rows 4
cat >cfg.ini <<END
[run]
output = run
epochs = 3
[data]
file = rows.h5
batch = 8
[layer out]
type = linear
units = 1
[loss]
type = mse
[optimizer]
type = sgd
lr = 0.01
[checkpoint]
keep = 1
END
expect 0 ranks 2 cfg.ini
says_once 'warning: step 4: the validation loss is infinite'
says 'done: step 12'
expect 0 nntrain inspect "run/checkpoints/$(cat run/checkpoints/latest)"
does_not_say 'best '
