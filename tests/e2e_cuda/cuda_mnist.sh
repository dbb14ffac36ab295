#!/usr/bin/env bash
# Acceptance 2: the LeNet of the MNIST example, the first steps on 1, 2, 4 and 8 ranks with device = cuda and with ref: the
# same losses to 1e-4, dropout and all. Data of MNIST's shape, made up; NNTRAIN_MNIST may name a file of the real ones.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
if [ -n "${NNTRAIN_MNIST:-}" ]; then
    data=("data.file=$NNTRAIN_MNIST")
else
    data=(data.file=synthetic 'data.synthetic_shape=1, 28, 28' data.synthetic_samples=64)
fi

# steps RANKS DEVICE
steps() {
    expect 0 on "$1" "$source_dir/launcher/examples/mnist_lenet.ini" "${data[@]}" run.steps=2 run.log_every=1 data.batch=8 \
        data.valid_limit=4 data.eval_batch=4 run.threads=1 optimizer.warmup=0 "run.device=$2" "run.output=$2$1"
}
for n in 1 2 4 8; do
    [ $n -le "$gpus" ] || break
    steps $n ref
    steps $n cuda
    close_losses "ref$n" "cuda$n" 1e-4 2
done
