#!/usr/bin/env bash
# A run that ends when it no longer gets better, and a rate that goes down then: decided alike by all ranks, and the same after
# a resume, whose counts go on.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 6
sed -i 's/^schedule = .*/schedule = plateau\npatience = 0\nthreshold = 0.9\ngamma = 0.5/' cfg.ini

# Nothing is better by 100: the first evaluation is the best, two more are borne with.
stop="run.stop_after=2 run.stop_delta=100"
# shellcheck disable=SC2086
expect 0 nntrain cfg.ini $stop
says_once 'stopped early after step 48: the validation loss was not better than .* in 2 evaluations in a row (run.stop_after); the best checkpoint'
says 'done: step 48'
[ "$(cat run/checkpoints/latest)" = step_00000048.h5 ] || fail "the last step has no checkpoint"
says 'step 32: no better validation loss than .* in more than 0 evaluations: the rate is reduced to 0.025'
says 'step 48: no better .* reduced to 0.0125'
# shellcheck disable=SC2086
expect 0 nntrain cfg.ini $stop
says 'stopped early after step 48'
says 'to train on, raise run.stop_after'

# In two parts: both counts go on.
# shellcheck disable=SC2086
expect 0 nntrain cfg.ini run.output=parts run.epochs=2 $stop
does_not_say 'stopped early'
# shellcheck disable=SC2086
expect 0 nntrain cfg.ini run.output=parts $stop
says 'stopped early after step 48'
same_run run parts
[ "$(sed -n 's/^40,3,train,[^,]*,[^,]*,\([^,]*\),.*/\1/p' run/metrics.csv)" = 0.025 ] || fail "the rate of epoch 3"

# All ranks decide alike, and the best checkpoint is by what was asked for.
# shellcheck disable=SC2086
expect 0 ranks 2 cfg.ini run.output=two run.metric=accuracy $stop
says 'stopped early after step 48: the validation error'

# The rate for another batch.
expect 0 nntrain cfg.ini run.output=scaled run.steps=2 optimizer.lr_per=64
says 'learning rate 0.0125: 0.05 for a batch of 64, times 16 / 64'

# Mistakes, before anything is trained.
expect 78 nntrain cfg.ini run.output=none run.validate=never
says 'schedule = plateau needs evaluations'
expect 78 nntrain cfg.ini run.output=none optimizer.schedule=constant run.validate=never run.stop_after=3
says 'run.stop_after needs evaluations'
expect 78 nntrain cfg.ini run.output=none run.metric=acuracy
says "did you mean 'accuracy'"
expect 78 nntrain cfg.ini run.output=none optimizer.min_lr=0.04 optimizer.lr_per=64
says 'optimizer.min_lr = 0.04 is above the rate for this batch, 0.0125'
