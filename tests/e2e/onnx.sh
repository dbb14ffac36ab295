#!/usr/bin/env bash
# ONNX: a trained net with layers of many kinds, run by onnxruntime where Python has it (else only exported), gives the
# same predictions. Whole networks of torchvision: scripts/compare_models.py --onnx.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

cat >cfg.ini <<END
[run]
output = run
epochs = 3
threads = 1
[optimizer]
type = adam
lr = 0.005
[data]
file = $source_dir/datasets/digits.h5
batch = 32
limit = 640
[block gate]
params = channels
pool = adaptive_avg_pool output_size=1
fc = conv2d filters=\$channels kernel=1 activation=logistic
mul = multiply input=in,fc
[layers]
conv1 = conv2d filters=8 kernel=3 padding=same stride=2 batchnorm=yes activation=hardswish
se = gate channels=8
gelu = activation function=gelu
conv2 = conv2d input=se filters=8 kernel=1,3 padding=0,1 groups=2 activation=leaky_relu activation_alpha=0.2
sum = add input=gelu,conv2,conv1 activation=relu6
up = conv_transpose2d filters=6 kernel=2 stride=2 activation=silu
avg = avg_pool kernel=3 stride=2 padding=1 ceil_mode=yes count_include_pad=no
max = max_pool input=up kernel=3 stride=2 padding=1 ceil_mode=yes
cat = concat input=avg,max
norm = local_response_norm size=3 activation=mish
groups = group_norm num_groups=6
each_channel = group_norm num_groups=12 affine=no eps=1e-3
uneven = adaptive_avg_pool output_size=3,5
slopes = prelu num_parameters=12
twice = scale factor=2 shift=0.1
part = slice start=2 length=8
whole = layer_norm normalized_dims=3 elementwise_affine=no
turn = permute dims=2,3,1
line = reshape shape=-1,8
place = position_embedding max_length=20
first = class_token bare=yes init_std=1
attend = multihead_attention num_heads=2 causal=yes
ln = layer_norm activation=softplus
still = layer_norm elementwise_affine=no
each = linear axis=last units=5 activation=elu
flat = flatten
drop = dropout rate=0.3
hidden = linear units=16 activation=tanh
vector = group_norm num_groups=2
fc = linear units=10
END
expect 0 nntrain cfg.ini
expect 0 nntrain export cfg.ini net.onnx
says 'parameters of run/checkpoints/step_00000060.h5'
expect 0 nntrain predict cfg.ini "$source_dir/datasets/digits.h5" p.h5 --group /test

# mistakes
expect 73 nntrain export cfg.ini net.onnx
expect 73 nntrain export cfg.ini no_folder/net.onnx
says "cannot create 'no_folder/net.onnx"
cat >odd.ini <<END
[run]
output = odd
epochs = 1
[data]
file = $source_dir/datasets/digits.h5
limit = 64
[layers]
p = adaptive_avg_pool output_size=3
c = conv2d filters=4 kernel=1
g = local_response_norm size=2
fc = linear units=10
END
expect 0 nntrain odd.ini
expect 78 nntrain export odd.ini odd.onnx
says 'layer g: local_response_norm over an even number of channels has no form in ONNX'
[ ! -e odd.onnx ] || fail "a failed export left a file"

python3 -c 'import onnxruntime, onnx, h5py' 2>/dev/null ||
    { echo "SKIPPED: no onnxruntime, onnx and h5py for the comparison" && exit 0; }
python3 - "$source_dir/datasets/digits.h5" <<'END' || fail "onnxruntime disagrees"
import sys
import h5py, numpy as np, onnx, onnxruntime
model = onnx.load("net.onnx")
onnx.checker.check_model(model, full_check=True)
# onnxruntime before the end of 2025 takes no scale that is broadcast.
shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
          for v in onnx.shape_inference.infer_shapes(model).graph.value_info}
scales = {i.name: list(i.dims) for i in model.graph.initializer}
norms = [node for node in model.graph.node if node.op_type == "LayerNormalization"]
assert len(norms) == 3, len(norms)
for node in norms:
    axis = next(a.i for a in node.attribute if a.name == "axis")
    assert scales[node.input[1]] == shapes[node.output[0]][axis:], (node.name, scales[node.input[1]])
with h5py.File(sys.argv[1]) as file:
    x = file["test/data"][:]
with h5py.File("p.h5") as file:
    wanted = file["prediction"][:]
logits = onnxruntime.InferenceSession("net.onnx").run(None, {"input": x})[0].astype(np.float64)
got = np.exp(logits - logits.max(axis=1, keepdims=True))
got /= got.sum(axis=1, keepdims=True)
assert got.shape == wanted.shape
assert np.abs(got - wanted).max() < 1e-4, np.abs(got - wanted).max()
assert (got.argmax(axis=1) == wanted.argmax(axis=1)).all()
assert len(set(got.argmax(axis=1))) > 3, "the net has learned nothing to compare"
END
