#!/usr/bin/env bash
# Acceptance 2: the digits that ship with the project, the first steps on 1, 2, 4 and 8 ranks with device = cuda and with
# ref: the same losses to 1e-4. On a real GPU the whole run too, and its accuracy.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
example=$source_dir/launcher/examples/digits.ini data=$source_dir/datasets/digits.h5

# steps RANKS DEVICE
steps() {
    expect 0 on "$1" "$example" "data.file=$data" run.steps=3 run.log_every=1 data.batch=24 data.valid_limit=16 run.threads=1 \
        "run.device=$2" "run.output=$2$1"
}
for n in 1 2 4 8; do
    [ $n -le "$gpus" ] || break
    steps $n ref
    steps $n cuda
    close_losses "ref$n" "cuda$n" 1e-4 3
done
[ -n "${NT_EMU_DEVICES:-}" ] && exit 0
expect 0 nntrain "$example" "data.file=$data" run.device=cuda run.output=whole
says 'valid accuracy 0\.9[5-9]'
