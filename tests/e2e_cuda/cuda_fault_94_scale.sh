#!/usr/bin/env bash
# Fault 94, under- and overflow of what is scaled: the product has no fp16, which would need the loss to be scaled, and says
# so in one line; it has bfloat16, which has the exponents of float32. So the same data in units 2^14 times as large or as
# small, with activations and gradients (2^28 times) far outside of fp16's range of 2^-24 to 2^16, train to the same bits.
# A real overflow stops the run by the NaN policy, on all ranks alike.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini
expect 78 nntrain cfg.ini run.device=cuda run.precision=fp16
says_once 'run.precision = fp16: must be one of fp32, tf32, bf16'
expect 0 nntrain help config
says 'there is no fp16, and no loss scaling'

# units NAME SCALE RATE: a regression without biases, in which everything is proportional to the data.
units() {
    awk -v scale="$2" 'BEGIN {
        for (i = 0; i < 96; i++) {
            target = 0
            for (k = 0; k < 8; k++) { x = (i * 7 + k * k * 5) % 17 - 8; target += x * (k % 3 - 1); printf "%.17g,", x * scale }
            printf "%.17g\n", target * scale
        }
    }' >"$1.csv"
    expect 0 nntrain import csv "$1.csv" "$1.h5" --targets 1 --test-rows 16
    cat >"$1.ini" <<END
[run]
epochs = 2
log_every = 1
threads = 1
precision = bf16
[data]
file = $1.h5
mean = 0
std = 1
batch = 16
[layer one]
type = linear
units = 16
bias = no
activation = relu
[layer two]
type = linear
units = 1
bias = no
[optimizer]
lr = $3
[checkpoint]
every = never
END
}
units same 1 0.000244140625                    # 2^-12
units small 6.103515625e-05 65536              # 2^-14, 2^16
units large 16384 9.094947017729282379150390625e-13 # 2^14, 2^-40
for device in cuda cpu; do
    for data in same small large; do
        expect 0 nntrain "$data.ini" "run.device=$device" "run.output=$device.$data"
    done
    for data in small large; do
        [ "$(digest_of "$device.same")" = "$(digest_of "$device.$data")" ] || fail "$device: the weights of $data data differ"
    done
done

n=$((gpus < 2 ? 1 : 2))
expect 80 on $n same.ini run.device=cuda run.output=over optimizer.lr=1e30
says_once 'is not finite (NaN or Inf)'
