#!/usr/bin/env bash
# The example of CIFAR ResNet-18 with crop, flip, label smoothing and cosine, in small: 1 and 2 ranks have the same losses.
# Batchnorm takes the statistics of all ranks; 1e-4 relative, for float sums in another order through twenty layers.
# shellcheck source=lib.sh disable=SC2054
. "$(dirname "$0")/lib.sh"
cifar=("$source_dir/launcher/examples/cifar10_resnet18.ini" data.file=synthetic data.synthetic_shape=3,32,32
    data.synthetic_samples=16 data.batch=4 run.steps=3 run.log_every=1 run.validate=never optimizer.warmup=0
    run.sync_batchnorm=yes run.threads=1 run.autotune=no optimizer.lr=0.01)
expect 0 nntrain "${cifar[@]}" run.output=c1
says 'augment: crop 32x32 of 40x40, hflip 0.5'
expect 0 ranks 2 "${cifar[@]}" run.output=c2
close_losses c1 c2 1e-4 3
