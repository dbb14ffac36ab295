#!/usr/bin/env bash
# Augmentation, mixup and cutmix in whole runs: the same losses at any number of ranks (float sums in another order: 1e-5
# relative), the same bits with any number of threads and after a resume in mid-epoch; evaluation and prediction see
# the deterministic part.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 2
sed -i '/^batchnorm/d; s/^batch = .*/batch = 22/; s/^synthetic_shape.*/synthetic_shape = 3, 9, 8/' cfg.ini
cat >>cfg.ini <<'END'
[augment]
crop = 8
padding = 2
hflip = 0.5
rotation = 15
brightness = 0.4
contrast = 0.4
saturation = 0.4
hue = 0.1
randaugment = 2
cutout = 3
erase = 0.25
[loss]
label_smoothing = 0.1
END
mixed=(augment.mixup=0.3 augment.cutmix=1)

# same_losses A B
same_losses() { close_losses "$1" "$2" 1e-5 4; }
differ() { ! cmp -s <(cut -d, -f4 "$1/metrics.csv") <(cut -d, -f4 "$2/metrics.csv") || fail "$1 and $2 are the same"; }

expect 0 nntrain cfg.ini run.output=n1
says 'augment: crop 8x8 of 13x12, hflip 0.5, rotation 15 (nearest), .*erase 0.25$'
expect 0 nntrain cfg.ini run.output=threads augment.threads=3 data.prefetch=0
same_run n1 threads
expect 0 ranks 2 cfg.ini run.output=n2
same_losses n1 n2
expect 0 nntrain cfg.ini run.output=other run.seed=2
differ n1 other

# Killed in mid-epoch (12 steps an epoch) and resumed, with other threads: bit for bit.
expect 0 nntrain cfg.ini run.output=m1 "${mixed[@]}"
differ n1 m1
NNTRAIN_FAULT="point=run.step,kind=kill,step=17" expect 137 nntrain cfg.ini run.output=m2 "${mixed[@]}"
expect 0 nntrain cfg.ini run.output=m2 "${mixed[@]}" augment.threads=2
says 'after step 14'
same_run m1 m2
expect 0 ranks 3 cfg.ini run.output=m3 "${mixed[@]}" run.accumulate=2
same_losses m1 m3
expect 0 ranks 2 cfg.ini run.output=m4 "${mixed[@]}" run.accumulate=3 run.sync_batchnorm=yes
same_losses m1 m4
expect 78 nntrain cfg.ini run.output=m1 run.epochs=3 "${mixed[@]}" augment.mixup=0.4
says "augment.mixup: '0.3' -> '0.4'"

# Evaluation has labels and no chance in it; prediction takes files of the stored size.
expect 0 nntrain eval cfg.ini run.output=m1 "${mixed[@]}" --json
cp out once
expect 0 ranks 2 eval cfg.ini run.output=m1 "${mixed[@]}" data.eval_batch=7 --json
cmp -s <(sed 's/"loss.*correct/"correct/' once) <(sed 's/"loss.*correct/"correct/' out) || fail "evaluations differ"
expect 0 nntrain check m1/config.ini # as resolved: every key is given
digits=("$source_dir/launcher/examples/digits.ini" "data.file=$source_dir/datasets/digits.h5" run.steps=3 run.output=d1
    augment.crop=7 augment.padding=1 "${mixed[@]}")
expect 0 nntrain "${digits[@]}"
expect 0 nntrain predict "${digits[0]}" "$source_dir/datasets/digits.h5" p.h5 --group /test "${digits[@]:1}"
says 'predictions of 360 samples'
values=(data.target=value layer.fc.units=1 loss.label_smoothing=0)
expect 0 nntrain cfg.ini run.output=v1 "${values[@]}" "${mixed[@]}"
expect 0 ranks 2 cfg.ini run.output=v2 "${values[@]}" "${mixed[@]}"
same_losses v1 v2
table=$(sed '/^\[augment\]/,$d; s/^synthetic_shape.*/synthetic_shape = 12/; /^\[layer conv\]/,/^\[layer flat/d; /^type = flatten/d' cfg.ini)
printf '%s\n' "$table" >table.ini
expect 0 nntrain table.ini run.output=t1 augment.mixup=0.5
expect 0 ranks 2 table.ini run.output=t2 augment.mixup=0.5
same_losses t1 t2

# Three mistakes with what only the model knows.
expect 78 nntrain check cfg.ini "${mixed[@]}" loss.type=hinge loss.label_smoothing=0
says 'augment.mixup mixes class labels, which needs loss cross_entropy, not hinge'
expect 78 nntrain check cfg.ini augment.cutmix=1 data.classes=8
says 'augment.cutmix needs as many outputs .*layer fc has 10 outputs and the data have 8 classes'
expect 78 nntrain check cfg.ini "${mixed[@]}" loss.ignore_index=3
says 'ignore_index.*augment.mixup'
