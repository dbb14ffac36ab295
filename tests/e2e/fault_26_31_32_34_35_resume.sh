#!/usr/bin/env bash
# Faults 26, 31, 32, 34, 35: what a run resumes from, and what it refuses.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 2
expect 0 nntrain cfg.ini
cp -r run original

# 31: options that change what is computed are refused, with the list; others may change.
expect 78 nntrain cfg.ini run.epochs=3 optimizer.lr=0.1 layer.drop.rate=0.3
says "optimizer.lr.*0.05.*0.1"
says "layer.drop.rate.*0.2.*0.3"
says 'checkpoint.force=yes'
cp -r run forced
expect 0 nntrain cfg.ini run.output=forced run.epochs=3 optimizer.lr=0.1 checkpoint.force=yes
says "warning: .*going on with another configuration: .*optimizer.lr: '0.05' -> '0.1'"
# Force is about options, not about what cannot be: another number of batches, other shapes.
expect 83 nntrain cfg.ini run.output=forced run.epochs=4 data.batch=20 checkpoint.force=yes
says 'cannot be with'
expect 78 nntrain cfg.ini run.output=forced run.epochs=4 layer.conv.filters=5 checkpoint.force=yes
says 'layer conv.*: .* is 5 in this model, but 4 in the checkpoint'
expect 0 nntrain cfg.ini run.epochs=3 run.log_every=2
says 'going on from checkpoint .* after step 32'
says 'step 48: valid'
says 'may change have changed.*run.epochs: .2. -> .3.; run.log_every: .1. -> .2.'
expect 0 nntrain cfg.ini run.epochs=3
says 'done already'

# The number of pieces changes what batchnorm sees.
expect 78 nntrain cfg.ini run.epochs=4 run.accumulate=2
says "run.accumulate: '0' -> '2'"

# The layers of a model file count as if they stood in the config; the file is found beside the config.
mkdir conf
sed -e '/^\[layer/,/^\[optimizer/{/^\[optimizer/!d}' cfg.ini >conf/with_model.ini
printf '[model]\nfile = model.ini\n' >>conf/with_model.ini
sed -n -e '/^\[layer/,/^\[optimizer/{/^\[optimizer/!p}' cfg.ini >conf/model.ini
expect 0 nntrain conf/with_model.ini run.output=from_model
[ "$(digest_of from_model)" = "$(digest_of original)" ] || fail "a model file makes another run"
grep -q '^\[layer fc\]' from_model/config.ini || fail "config.ini lacks the layers of the model file"
sed -i 's/^rate = .*/rate = 0.4/' conf/model.ini
expect 78 nntrain conf/with_model.ini run.output=from_model run.epochs=3
says "layer.drop.rate: '0.2' -> '0.4'"
does_not_say '\\x0a'

# resume = no does not run beside checkpoints; a path is taken as it is, into a new folder.
expect 73 nntrain cfg.ini checkpoint.resume=no
says 'holds checkpoints of an earlier run'
expect 0 nntrain cfg.ini run.output=again run.epochs=3 checkpoint.resume=original/checkpoints/step_00000032.h5
[ "$(digest_of run)" ] && [ "$(digest_of run)" = "$(digest_of again)" ] || fail "digests of run and again differ"
expect 66 nntrain cfg.ini run.output=nowhere checkpoint.resume=nothing.h5

# 34: the newest is damaged, an older one is good: falls back, says so, ends the same.
rm -rf run && cp -r original run
newest=run/checkpoints/$(cat run/checkpoints/latest)
head -c 5000 "$newest" >short && mv short "$newest"
expect 0 nntrain cfg.ini
says 'warning: .*step_00000032.h5'
says 'going on from checkpoint'
does_not_say 'after step 32'
same_run original run

# 35: all are damaged: refused, nothing is trained and nothing is overwritten.
rm -rf run && cp -r original run
for file in run/checkpoints/*.h5; do
    head -c 4000 "$file" >short && mv short "$file"
done
expect 83 nntrain cfg.ini
expect 83 ranks 2 cfg.ini
does_not_say 'step 1/'
says_once 'nntrain: '
[ "$(find run/checkpoints -name 'step_*.h5' | wc -l)" = "$(find original/checkpoints -name 'step_*.h5' | wc -l)" ] || fail "files are gone"

# 32: another number of ranks goes on, and says that rounding will differ.
rm -rf run && cp -r original run
expect 0 ranks 2 cfg.ini run.epochs=3
says 'made by 1 rank.*other rounding'

# Another number of threads does too.
rm -rf run && cp -r original run
expect 0 nntrain cfg.ini run.epochs=3 run.threads=2
says 'warning: .*with run.threads=1, this run has 2.*other rounding'
expect 0 nntrain cfg.ini run.epochs=3 run.threads=2
says 'done already'
does_not_say 'other rounding'

# 26: another model
rm -rf run && cp -r original run
expect 78 nntrain eval cfg.ini layer.conv.filters=5
says 'conv'
