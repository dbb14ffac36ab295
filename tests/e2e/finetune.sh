#!/usr/bin/env bash
# Fine-tuning as a user does it: a net is trained, its weights exported, and a second net takes them but for another head;
# only the head is trained. What is frozen stays bit for bit on one rank and on two, with weight decay and momentum and
# through a resume; running statistics of frozen batchnorms move unless momentum = 0; the head learns.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

cat >cfg.ini <<END
[run]
output = base
epochs = 3
threads = 1
[data]
file = $source_dir/datasets/digits.h5
batch = 32
limit = 640
[layer conv1]
type = conv2d
filters = 8
kernel = 3
batchnorm = yes
activation = relu
[layer conv2]
type = conv2d
filters = 8
kernel = 3
stride = 2
batchnorm = yes
activation = relu
[layer flat]
type = flatten
[layer fc]
type = linear
units = 10
[optimizer]
type = adamw
lr = 0.01
weight_decay = 0.1
END
expect 0 nntrain cfg.ini
expect 0 nntrain export cfg.ini base.safetensors

tune="model.init=base.safetensors model.init_partial=yes model.trained=fc layer.fc.units=12"
# shellcheck disable=SC2086 # words
tuned() { "$1" ${2:+"$2"} cfg.ini $tune "${@:3}"; }
expect 0 tuned nntrain "" run.output=tuned
says "10 of 12 parameters taken from 'base.safetensors'; 2 of another shape"
awk -F, '$3 == "valid" { if (!n++) first = $4; last = $4; right = $5 } END { exit !(last < 0.8 * first && right > 0.8) }' tuned/metrics.csv ||
    fail "the head has not learned: $(grep valid tuned/metrics.csv)"

# tensors FILE.safetensors: "name digest" of each, by the format's own rules: 8 bytes of length, JSON, bytes
tensors() {
    local header length entry name begin end
    length=$(od -An -tu8 -N8 "$1" | tr -d ' ')
    header=$(tail -c +9 "$1" | head -c "$length")
    grep -oE '"[^"{}]*": ?\{[^}]*\}' <<<"$header" | grep data_offsets | while read -r entry; do
        name=$(cut -d'"' -f2 <<<"$entry")
        read -r begin end < <(sed 's/.*"data_offsets": *\[\([0-9]*\), *\([0-9]*\)\].*/\1 \2/' <<<"$entry")
        echo "$name $(tail -c +$((9 + length + begin)) "$1" | head -c $((end - begin)) | md5sum | cut -d' ' -f1)"
    done | sort
}
# moved RUN: names of the parameters that differ from the first net's
moved() {
    expect 0 nntrain export cfg.ini "$1.safetensors" layer.fc.units=12 run.output="$1"
    join <(tensors base.safetensors) <(tensors "$1.safetensors") | awk '$2 != $3 { printf "%s ", $1 }'
}
statistics="conv1.bn.running_mean conv1.bn.running_var conv2.bn.running_mean conv2.bn.running_var "
[ "$(tensors base.safetensors | wc -l)" = 12 ] || fail "the file has $(tensors base.safetensors | wc -l) tensors, not 12"
got=$(moved tuned)
[ "$got" = "${statistics}fc.bias fc.weight " ] || fail "moved: $got"

# two ranks; momentum, an average, and statistics that are held
expect 0 tuned ranks 2 run.output=two average.ema=0.9
got=$(moved two)
[ "$got" = "${statistics}fc.bias fc.weight " ] || fail "moved on two ranks: $got"
expect 0 tuned nntrain "" run.output=held layer.conv1.batchnorm_momentum=0 layer.conv2.batchnorm_momentum=0 optimizer.type=sgd optimizer.momentum=0.9
got=$(moved held)
[ "$got" = "fc.bias fc.weight " ] || fail "moved without batchnorm's momentum: $got"

# killed and resumed in mid-epoch: the same run, and init is not taken again
NNTRAIN_FAULT="point=run.step,kind=kill,step=30" expect 137 tuned nntrain "" run.output=parts checkpoint.every='7 steps'
expect 0 tuned nntrain "" run.output=parts checkpoint.every='7 steps'
does_not_say 'parameters taken from'
same_run tuned parts

# mistakes
expect 78 tuned nntrain "" run.output=x model.trained=head
says 'head'
expect 78 tuned nntrain "" run.output=x layer.fc.frozen=yes
says 'there is nothing to train'
expect 78 nntrain cfg.ini run.output=x model.init=base.safetensors model.init_partial=no layer.fc.units=12
says '2 of another shape: fc.weight'
expect 0 tuned nntrain check run.output=new
says 'of them frozen'
