#!/usr/bin/env bash
# Whole networks of the kinds that people train, tiny: with device = cuda the losses of three steps are those of ref to
# 1e-4, as in cuda_losses.sh. A MobileNet/EfficientNet (depthwise, squeeze and excite, stochastic depth), a vision
# transformer (tokens, attention with dropout, layer_norm), and a net with two auxiliary heads, of other losses.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# config FILE SHAPE: what the nets share, then stdin.
config() {
    cat >"$1" <<END
[run]
epochs = 1
log_every = 1
threads = 1
[data]
file = synthetic
synthetic_shape = $2
synthetic_samples = 24
batch = 8
[optimizer]
type = adamw
lr = 0.003
clip_norm = 1
END
    cat >>"$1"
}

# same CONFIG ARGS: the losses of ref and cuda, with a captured step and in pieces.
same() {
    local cfg=$1
    shift
    expect 0 nntrain "$cfg" run.device=ref run.output=ref "$@"
    expect 0 nntrain "$cfg" run.device=cuda run.output=cuda "$@"
    close_losses ref cuda 1e-4 3
    rm -rf ref cuda
}

config mobile.ini '3, 16, 16' <<'END'
[loss]
type = cross_entropy
label_smoothing = 0.1
[block mbconv]
params = hidden squeezed out stride=1 add=yes
expand = conv2d filters=$hidden kernel=1 bias=no
expand_bn = batchnorm activation=relu6
depthwise = conv2d filters=$hidden kernel=3 stride=$stride padding=1 groups=$hidden bias=no
depthwise_bn = batchnorm activation=silu
pool = adaptive_avg_pool output_size=1
squeeze = conv2d filters=$squeezed kernel=1 activation=silu
excite = conv2d filters=$hidden kernel=1 activation=logistic
gate = multiply input=depthwise_bn,excite
project = conv2d filters=$out kernel=1 bias=no
project_bn = batchnorm
drop = stochastic_depth if=$add rate=0.3
add = add if=$add input=drop,in
[layers]
stem = conv2d filters=8 kernel=3 stride=2 padding=1 bias=no
stem_bn = batchnorm activation=hardswish
b1 = mbconv hidden=16 squeezed=3 out=8
b2 = mbconv hidden=16 squeezed=3 out=12 stride=2 add=no
b3 = mbconv hidden=24 squeezed=4 out=12
pool = global_avg_pool
drop = dropout rate=0.2
fc = linear units=10
END
same mobile.ini
same mobile.ini run.accumulate=2

config vit.ini '3, 12, 12' <<'END'
[block encoder]
params = wide features
ln1 = layer_norm
attention = multihead_attention num_heads=3 dropout=0.1
drop1 = dropout rate=0.1
add1 = add input=drop1,in
ln2 = layer_norm
fc1 = linear units=$wide axis=last activation=gelu
fc2 = linear units=$features axis=last
add2 = add input=fc2,add1
[layers]
patches = conv2d filters=24 kernel=3 stride=3
rows = reshape shape=24,16
tokens = permute dims=2,1
class = class_token
position = position_embedding
e1 = encoder wide=40 features=24
e2 = encoder wide=40 features=24
ln = layer_norm
first = slice dim=1 length=1
flat = flatten
fc = linear units=10
END
same vit.ini
same vit.ini run.accumulate=2

config heads.ini '2, 12, 10' <<'END'
[loss]
type = cross_entropy
class_weights = 1,2,1,0.5,1,1,3,1,1,1
mean_over = weights
[layers]
c1 = conv2d filters=6 kernel=3 padding=1
norm = group_norm num_groups=3
act = prelu num_parameters=6
aux_pool = adaptive_avg_pool output_size=4,3
aux_flat = flatten
aux_fc = linear units=10
aux1 = head loss=hinge loss_weight=0.4
c2 = conv2d input=act filters=8 kernel=3 stride=2
lrn = local_response_norm size=3
up = conv_transpose2d filters=5 kernel=3 stride=2
aux2_pool = global_avg_pool
aux2_fc = linear units=10
aux2 = head loss_weight=0.2
pool = max_pool input=up kernel=3 stride=2 ceil_mode=yes
flat = flatten
fc = linear units=10
END
same heads.ini
same heads.ini run.accumulate=2
same heads.ini optimizer.type=lamb optimizer.clip_norm=0 optimizer.clip_value=0.05
same heads.ini optimizer.type=lars
