#!/usr/bin/env bash
# mixup and cutmix on the device: training has probabilities where evaluation has labels, in one net, in a recorded step too.
# The same losses as ref's to 1e-4, on one rank and on two.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1
sed -i '/^batchnorm/d; s/^synthetic_samples.*/synthetic_samples = 64/' cfg.ini
printf '[augment]\ncrop = 6\npadding = 1\nhflip = 0.5\nmixup = 0.4\ncutmix = 1\n[loss]\nlabel_smoothing = 0.1\n' >>cfg.ini
expect 0 nntrain cfg.ini run.device=ref run.output=ref
for n in 1 2; do
    [ $n -le "$gpus" ] || break
    expect 0 on $n cfg.ini run.device=cuda "run.output=cuda$n"
    close_losses ref "cuda$n" 1e-4 4
done
