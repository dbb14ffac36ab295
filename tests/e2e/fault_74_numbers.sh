#!/usr/bin/env bash
# Fault 74 and 102: batches that do not fit the ranks or the data, nothing to do.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1

expect 78 ranks 2 cfg.ini data.batch=1
says_once 'less than one sample for each of 2 ranks'
expect 78 nntrain cfg.ini optimizer.lr=0
expect 78 nntrain cfg.ini run.epochs=0
says 'nothing to do'
expect 78 nntrain cfg.ini run.epochs=-1
expect 78 nntrain cfg.ini data.batch=0
expect 0 nntrain cfg.ini data.batch=100000 run.output=all run.epochs=2
says 'more than the 256 training samples'
says 'step 2/2'
expect 0 ranks 3 cfg.ini run.epochs=0 run.steps=3 run.output=steps
says 'step 3/3'
grep -q '^3,.*,valid,' steps/metrics.csv || fail 'no evaluation at the end of a run that ends within an epoch'

# 17 samples do not divide by 3 ranks, and the last batch has one sample for two of them.
# (batchnorm normalises with the statistics of each rank's part, so it is left out.)
sed -i '/^batchnorm/d' cfg.ini
expect 0 nntrain cfg.ini data.batch=17 run.output=one
expect 0 ranks 3 cfg.ini data.batch=17 run.output=three
expect 0 ranks 2 cfg.ini data.batch=255 data.eval_batch=63 run.output=last_of_one
close_losses one three 4e-5 16
