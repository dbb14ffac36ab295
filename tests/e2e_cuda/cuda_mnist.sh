#!/usr/bin/env bash
# Acceptance 2: MNIST's own images through the net of the example, thinner, on 1, 2, 4 and 8 ranks: the first steps with
# device = cuda and with ref have the same losses to 1e-4, dropout and all. The images are four files as they are published
# (train-images-idx3-ubyte.gz, ...), in the folder NNTRAIN_MNIST, datasets/mnist, or shared/data/mnist in or beside the
# source folder; without them the test is skipped.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
for images in "${NNTRAIN_MNIST:-}" "$source_dir"/{datasets/mnist,shared/data/mnist,../shared/data/mnist} ''; do
    [ -z "$images" ] || [ ! -e "$images/train-images-idx3-ubyte.gz" ] || break
done
if [ -z "$images" ]; then
    echo "skipped: there are no MNIST images; NNTRAIN_MNIST names their folder"
    exit 77
fi
expect 0 nntrain import mnist "$images" mnist.h5 --deflate 0

# steps RANKS DEVICE
steps() {
    expect 0 on "$1" "$source_dir/launcher/examples/mnist_lenet.ini" data.file=mnist.h5 data.limit=1000 data.batch=16 run.steps=3 \
        run.log_every=1 run.validate=never run.threads=1 optimizer.warmup=0 layer.conv1.filters=4 layer.conv2.filters=8 \
        layer.fc1.units=64 "run.device=$2" "run.output=$2$1"
}
for n in 1 2 4 8; do
    [ $n -le "$gpus" ] || break
    steps $n ref
    steps $n cuda
    close_losses "ref$n" "cuda$n" 1e-4 3
done
