#!/usr/bin/env bash
# Every shipped architecture is sound and has as many parameters as torchvision's, for 1000 classes. (Outputs for the same
# weights: scripts/compare_models.py, which needs torchvision.)
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

cat >cfg.ini <<END
[run]
device = ref
[data]
file = synthetic
synthetic_shape = 3, 75, 75
synthetic_samples = 8
batch = 1
END

# torchvision 0.29: sum of numel() over parameters()
checked=0
while read -r model parameters; do
    expect 0 nntrain check cfg.ini "model.file=$source_dir/launcher/models/$model.ini"
    got=$(awk '$1 == "total" { print $2 }' out)
    [ "$got" = "$parameters" ] || fail "$model has $got parameters, not $parameters"
    checked=$((checked + 1))
done <<END
alexnet 61100840
densenet121 7978856
efficientnet_b0 5288548
googlenet 6624904
inception3 23834568
mobilenet_v2 3504872
resnet18 11689512
resnet18_cifar 11173962
resnet34 21797672
resnet50 25557032
resnet101 44549160
resnext50_32x4d 25028904
squeezenet1_1 1235496
vgg11 132863336
vgg11_bn 132868840
vgg16 138357544
vgg16_bn 138365992
wide_resnet50_2 68883240
END
shipped=$(find "$source_dir/launcher/models" -name '*.ini' | wc -l)
[ "$shipped" = "$checked" ] || fail "$shipped models are shipped, $checked were checked"

# a promise of the models: ResNet-50 in at most 60 lines, Inception v3 in at most 150
[ "$(wc -l <"$source_dir/launcher/models/resnet50.ini")" -le 60 ] || fail "resnet50.ini is too long"
[ "$(wc -l <"$source_dir/launcher/models/inception3.ini")" -le 150 ] || fail "inception3.ini is too long"
