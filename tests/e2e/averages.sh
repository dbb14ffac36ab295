#!/usr/bin/env bash
# Averages of the weights: evaluated and saved beside the raw ones, chosen by whoever uses a checkpoint, the same after a resume
# and on every rank.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 3
sed -i 's/^schedule = .*/schedule = constant/' cfg.ini
cp cfg.ini plain.ini
printf '[average]\nema = 0.9\nswa_start = 1 epoch\nswa_every = 8 steps\n' >>cfg.ini

expect 0 nntrain cfg.ini
says 'step 16: valid loss .* with the ema weights'
says 'step 48: valid loss .* with the swa weights'
[ "$(grep -c ',valid_ema,' run/metrics.csv)" = 3 ] || fail "rows of the ema weights"

# Beside the raw ones: they are trained as without.
expect 0 nntrain plain.ini run.output=plain
for run in run plain; do
    grep -v ',valid_' $run/metrics.csv | cut -d, -f1-7 >"$run.raw"
done
cmp -s run.raw plain.raw || fail "averages change the training"

# What eval says is what the run said.
for which in raw ema swa; do
    expect 0 nntrain eval cfg.ini average.weights=$which --json
    said=$(sed -n 's/.*"loss": \([0-9.e+-]*\),.*/\1/p' out)
    split=valid_$which
    wanted=$(grep "^48,.*,${split%_raw}," run/metrics.csv | cut -d, -f4)
    [ -n "$said" ] && [ "$said" = "$wanted" ] || fail "$which: eval says $said, the run $wanted"
    expect 0 nntrain export cfg.ini "$which.safetensors" average.weights=$which
    says "parameters of .*($which)"
done
! cmp -s raw.safetensors ema.safetensors || fail "the same weights are exported"
expect 0 nntrain eval cfg.ini average.weights=swa
says 'weights     swa'

# In two parts, cut in mid-epoch before and after the mean begins; judged by an average.
for cut in 5 30; do
    expect 0 nntrain cfg.ini run.output=parts$cut run.steps=$cut run.validate=never
    expect 0 nntrain cfg.ini run.output=parts$cut average.weights=ema
    [ "$(digest_of parts$cut)" = "$(digest_of run)" ] || fail "a resume after step $cut makes other averages"
done

# Ranks: resumed, all of them have the averages.
expect 0 ranks 2 cfg.ini run.output=two run.steps=20
expect 0 ranks 2 cfg.ini run.output=two average.weights=swa
says 'done: step 48'
expect 0 ranks 2 cfg.ini run.output=straight
[ "$(digest_of two)" = "$(digest_of straight)" ] || fail "two ranks make other averages after a resume"

# Begun late, from a checkpoint without: the first average is a copy of the weights.
expect 0 nntrain plain.ini run.output=late run.steps=20
expect 0 nntrain cfg.ini run.output=late run.steps=21 checkpoint.force=yes run.validate=never
for which in raw ema; do
    expect 0 nntrain eval cfg.ini run.output=late average.weights=$which --json
    sed -n 's/.*"loss": \([0-9.e+-]*\),.*/\1/p' out >"late.$which"
done
cmp late.raw late.ema || fail "an average that begins late is not that of weights"

# Mistakes.
expect 78 nntrain plain.ini run.output=none average.weights=ema
says 'average.weights = ema, but no such average is kept: give average.ema'
expect 78 nntrain eval plain.ini run.output=plain average.weights=swa
says 'holds no swa weights'
expect 78 nntrain cfg.ini run.output=none average.ema=1
says 'average.ema = 1: must be'
expect 78 nntrain cfg.ini run.output=none 'average.swa_every=5 minutes'
says "average.swa_every is in steps or epochs"
