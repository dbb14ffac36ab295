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

# torchvision 0.29: sum of numel() over parameters(); those that it lacks: the same of scripts/reference/modules.py
checked=0
while read -r model parameters shape; do
    expect 0 nntrain check cfg.ini "model.file=$source_dir/launcher/models/$model.ini" "data.synthetic_shape=${shape:-3,75,75}"
    got=$(awk '$1 == "total" { print $2 }' out)
    [ "$got" = "$parameters" ] || fail "$model has $got parameters, not $parameters"
    checked=$((checked + 1))
done <<END
alexnet 61100840
densenet121 7978856
efficientnet_b0 5288548
googlenet 6624904
inception3 23834568
lenet5 61706 1,28,28
mlp 669706 1,28,28
mobilenet_v2 3504872
perceptron 650 1,8,8
resnet18 11689512
resnet18_cifar 11173962
resnet20_cifar 272474 3,32,32
resnet34 21797672
resnet50 25557032
resnet101 44549160
resnext50_32x4d 25028904
squeezenet1_1 1235496
vgg11 132863336
vgg11_bn 132868840
vgg16 138357544
vgg16_bn 138365992
vit_b_16 86567656 3,224,224
vit_tiny 142026 3,32,32
wide_resnet50_2 68883240
END
# with the auxiliary classifiers; parameters of the file
total() {
    expect 0 nntrain check cfg.ini "model.file=$source_dir/launcher/models/$1.ini" "model.params=$2" "data.synthetic_shape=$3"
    [ "$(awk '$1 == "total" { n = $2 } END { print n }' out)" = "$4" ] || fail "$1 with $2 has not $4 parameters"
}
total inception3 'aux=yes transform_input=yes' 3,299,299 27161264
total googlenet aux=yes 3,224,224 13004888
total googlenet outputs=10 3,75,75 5610154
total resnet20_cifar more=8 3,32,32 855770
total lenet5 'activation=relu pool=max_pool' 1,28,28 61706
seq 1000 >text.txt
expect 0 nntrain import text text.txt text.h5
expect 0 nntrain check cfg.ini "model.file=$source_dir/launcher/models/gpt2.ini" data.file=text.h5 data.sequence=64 \
    loss.type=cross_entropy loss.class_dim=last
[ "$(awk '$1 == "total" { print $2 }' out)" = 124439808 ] || fail "gpt2 has not 124439808 parameters"
expect 78 nntrain check cfg.ini "model.file=$source_dir/launcher/models/googlenet.ini" model.params=auxx=yes
says "command line: \[layers\] has no parameter 'auxx'; did you mean 'aux'?"

shipped=$(find "$source_dir/launcher/models" -name '*.ini' | wc -l)
checked=$((checked + 1)) # gpt2, which reads tokens
[ "$shipped" = "$checked" ] || fail "$shipped models are shipped, $checked were checked"

# a promise of the models: ResNet-50 in at most 60 lines, Inception v3 in at most 150
[ "$(wc -l <"$source_dir/launcher/models/resnet50.ini")" -le 60 ] || fail "resnet50.ini is too long"
[ "$(wc -l <"$source_dir/launcher/models/inception3.ini")" -le 150 ] || fail "inception3.ini is too long"
