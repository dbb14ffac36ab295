"""Layers: outputs and all gradients, of a random output gradient."""
import warnings

import torch
import torch.nn.functional as F
import torchvision

from .common import generator, keeps, normal, start_file, store

warnings.filterwarnings("ignore", "Using padding=.same.")
CASES = []


def case(name, config, fn, *inputs, params=(), training=True, spread=1.0, tokens=0):
    """fn(p, *x) -> y, p a dict of parameters. inputs: shapes with the batch in front. tokens: integers below."""
    CASES.append((name, config, fn, inputs, dict(params), training, spread, tokens))


def write(file):
    start_file(file)
    for name, config, fn, inputs, params, training, spread, tokens in CASES:
        rng = generator(name)
        group = file.create_group(name)
        group.attrs["config"] = "[layer l]\n" + config
        group.attrs["training"] = int(training)
        x = [torch.tensor(rng.integers(0, tokens, s)) if tokens else normal(rng, s, spread) for s in inputs]
        p = {key: normal(rng, shape, 0.5) for key, shape in params.items()}
        if "running_var" in p:
            p["running_var"] = (p["running_var"].abs() + 0.5).float().double()
        for i, value in enumerate(x):
            store(group, f"x{i}", value, exact=True)
        for key, value in p.items():
            store(group, f"param_{key}", value, exact=True)
        leaves = [t for t in x if t.is_floating_point()] + [t for k, t in p.items() if "running" not in k]
        for leaf in leaves:
            leaf.requires_grad_(True)
        y = fn(p, *x)
        store(group, "y", y)
        if not training:
            continue
        dy = normal(rng, tuple(y.shape))
        store(group, "dy", dy, exact=True)
        y.backward(dy)
        for i, value in enumerate(x):
            if value.is_floating_point():
                store(group, f"dx{i}", value.grad)
        for key, value in p.items():
            if "running" in key:
                store(group, f"after_{key}", value)
            else:
                store(group, f"dparam_{key}", value.grad)
    return len(CASES)


# --- linear and convolutions ---

case("linear", "type = linear\nunits = 3", lambda p, x: F.linear(x, p["weight"], p["bias"]), (5, 7),
     params=dict(weight=(3, 7), bias=(3,)))
case("linear_map", "type = linear\nunits = 4\nbias = no", lambda p, x: F.linear(x.flatten(1), p["weight"]),
     (3, 2, 3, 5), params=dict(weight=(4, 30)))
case("linear_wide", "type = linear\nunits = 67", lambda p, x: F.linear(x, p["weight"], p["bias"]), (5, 37),
     params=dict(weight=(67, 37), bias=(67,)))
case("linear_last", "type = linear\nunits = 4\naxis = last", lambda p, x: F.linear(x, p["weight"], p["bias"]),
     (2, 3, 5), params=dict(weight=(4, 5), bias=(4,)))
case("linear_last_wide", "type = linear\nunits = 35\naxis = last",
     lambda p, x: F.linear(x, p["weight"], p["bias"]), (2, 9, 19), params=dict(weight=(35, 19), bias=(35,)))


def conv(name, n, shape, filters, kernel, config="", bias=True, groups=1, **options):
    text = f"type = conv2d\nfilters = {filters}\nkernel = {kernel[0]}, {kernel[1]}\ngroups = {groups}\n{config}"
    params = dict(weight=(filters, shape[0] // groups, *kernel))
    if bias:
        params["bias"] = (filters,)
    else:
        text += "\nbias = no"
    case(name, text, lambda p, x: F.conv2d(x, p["weight"], p.get("bias"), groups=groups, **options),
         (n, *shape), params=params)


conv("conv2d", 2, (3, 5, 7), 5, (3, 3), "padding = 1", padding=1)
conv("conv2d_no_bias", 3, (2, 4, 3), 2, (3, 3), bias=False)
conv("conv2d_1x1", 2, (5, 3, 4), 7, (1, 1))
conv("conv2d_1x7", 2, (3, 5, 9), 4, (1, 7), "padding = 0, 3", padding=(0, 3))
conv("conv2d_7x1", 2, (3, 9, 4), 4, (7, 1), "padding = 3, 0", padding=(3, 0))
conv("conv2d_stride", 2, (2, 7, 8), 3, (3, 2), "stride = 2, 3\npadding = 1", stride=(2, 3), padding=1)
conv("conv2d_dilation", 1, (2, 9, 8), 3, (3, 2), "dilation = 2, 3\npadding = 2, 1", dilation=(2, 3),
     padding=(2, 1))
conv("conv2d_same", 2, (2, 5, 6), 3, (2, 4), "padding = same", padding="same")
conv("conv2d_groups", 2, (4, 5, 4), 6, (3, 3), "padding = 1", groups=2, padding=1)
conv("conv2d_depthwise", 2, (5, 6, 5), 5, (3, 3), "stride = 2\npadding = 1", groups=5, stride=2, padding=1)
conv("conv2d_depthwise_5x5", 2, (3, 7, 7), 3, (5, 5), "padding = 2", groups=3, padding=2, bias=False)
conv("conv2d_depthwise_doubled", 1, (3, 4, 5), 6, (3, 1), "padding = 1, 0", groups=3, padding=(1, 0))
conv("conv2d_blocks", 2, (16, 6, 5), 16, (3, 3), "padding = 1", padding=1)


def conv_transpose(name, n, shape, filters, kernel, config="", bias=True, groups=1, **options):
    text = (f"type = conv_transpose2d\nfilters = {filters}\nkernel = {kernel[0]}, {kernel[1]}\n"
            f"groups = {groups}\n{config}")
    params = dict(weight=(shape[0], filters // groups, *kernel))
    if bias:
        params["bias"] = (filters,)
    else:
        text += "\nbias = no"
    case(name, text, lambda p, x: F.conv_transpose2d(x, p["weight"], p.get("bias"), groups=groups, **options),
         (n, *shape), params=params)


conv_transpose("conv_transpose2d", 2, (2, 3, 4), 3, (3, 3))
conv_transpose("conv_transpose2d_stride", 2, (3, 3, 2), 2, (4, 3), "stride = 2\npadding = 1\noutput_padding = 0, 1",
               stride=2, padding=1, output_padding=(0, 1))
conv_transpose("conv_transpose2d_groups", 1, (4, 3, 5), 6, (1, 3), "stride = 3, 2\npadding = 0, 1\noutput_padding = 2, 1",
               groups=2, bias=False, stride=(3, 2), padding=(0, 1), output_padding=(2, 1))
conv_transpose("conv_transpose2d_dilation", 1, (2, 3, 3), 2, (3, 2), "dilation = 2, 3\npadding = 2, 0",
               dilation=(2, 3), padding=(2, 0))

# --- pooling ---


def max_pool(name, shape, config, *args, **options):
    case(name, f"type = max_pool\n{config}", lambda p, x: F.max_pool2d(x, *args, **options), shape)


max_pool("max_pool", (2, 3, 6, 4), "kernel = 2", 2)
max_pool("max_pool_overlap", (2, 2, 7, 6), "kernel = 3\nstride = 2\npadding = 1", 3, 2, 1)
max_pool("max_pool_asymmetric", (1, 3, 7, 5), "kernel = 2, 3\nstride = 3, 1\npadding = 0, 1", (2, 3), (3, 1), (0, 1))
max_pool("max_pool_ceil", (2, 2, 6, 5), "kernel = 3, 2\nstride = 2\nceil_mode = yes", (3, 2), 2, ceil_mode=True)
max_pool("max_pool_ceil_padded", (2, 2, 6, 8), "kernel = 3, 2\nstride = 2, 3\npadding = 1\nceil_mode = yes", (3, 2), (2, 3),
         1, ceil_mode=True)


def avg_pool(name, shape, config, *args, **options):
    case(name, f"type = avg_pool\n{config}", lambda p, x: F.avg_pool2d(x, *args, **options), shape)


avg_pool("avg_pool", (2, 3, 6, 4), "kernel = 2", 2)
avg_pool("avg_pool_counted", (2, 2, 7, 6), "kernel = 3\nstride = 1\npadding = 1", 3, 1, 1)
avg_pool("avg_pool_counted_stride", (2, 2, 7, 6), "kernel = 4, 3\nstride = 3, 2\npadding = 2, 1", (4, 3), (3, 2), (2, 1))
avg_pool("avg_pool_not_counted", (2, 2, 7, 6), "kernel = 3\nstride = 2\npadding = 1\ncount_include_pad = no", 3, 2, 1,
         count_include_pad=False)
avg_pool("avg_pool_ceil", (2, 2, 6, 5), "kernel = 3, 2\nstride = 2\nceil_mode = yes", (3, 2), 2, ceil_mode=True)
avg_pool("avg_pool_ceil_counted", (1, 2, 6, 4), "kernel = 3\nstride = 2\npadding = 1\nceil_mode = yes", 3, 2, 1,
         ceil_mode=True)
avg_pool("avg_pool_ceil_not_counted", (1, 2, 6, 8), "kernel = 3, 2\nstride = 2, 3\npadding = 1\nceil_mode = yes\n"
         "count_include_pad = no", (3, 2), (2, 3), 1, ceil_mode=True, count_include_pad=False)

for size in [(2, 3), (3, 2), (5, 4), (1, 1)]:
    case(f"adaptive_avg_pool_{size[0]}x{size[1]}",
         f"type = adaptive_avg_pool\noutput_size = {size[0]}, {size[1]}",
         lambda p, x, size=size: F.adaptive_avg_pool2d(x, size), (2, 3, 4, 6) if size == (2, 3) else (2, 2, 7, 5))
case("global_avg_pool", "type = global_avg_pool", lambda p, x: F.adaptive_avg_pool2d(x, 1).flatten(1), (3, 5, 3, 7))

# --- shapes ---

case("flatten", "type = flatten", lambda p, x: x.flatten(1), (2, 2, 3, 5))
case("reshape", "type = reshape\nshape = 5, -1", lambda p, x: x.reshape(2, 5, -1), (2, 2, 3, 5))
case("permute", "type = permute\ndims = 0, 2, 3, 1", lambda p, x: x.permute(0, 2, 3, 1), (2, 2, 3, 5))
case("permute_tokens", "type = permute\ndims = 2, 1", lambda p, x: x.permute(0, 2, 1), (3, 3, 4))
case("slice", "type = slice\nstart = 1\nlength = 2", lambda p, x: x.narrow(1, 1, 2), (2, 5, 2, 3))
case("slice_last", "type = slice\ndim = -1\nstart = -3", lambda p, x: x[..., -3:], (2, 2, 2, 5))
case("slice_token", "type = slice\ndim = 1\nlength = 1", lambda p, x: x[:, :1], (2, 4, 3))

# --- joins ---

case("add", "type = add\ninput = input, input", lambda p, a, b: a + b, (2, 2, 3, 5), (2, 2, 3, 5))
case("add_three", "type = add\ninput = input, input, input", lambda p, a, b, c: a + b + c, (3, 7), (3, 7), (3, 7))
case("concat", "type = concat\ninput = input, input, input", lambda p, *x: torch.cat(x, 1), (2, 2, 3, 5), (2, 1, 3, 5),
     (2, 4, 3, 5))
case("multiply", "type = multiply\ninput = input, input", lambda p, a, b: a * b, (2, 2, 3, 5), (2, 2, 3, 5))
case("multiply_gates", "type = multiply\ninput = input, input", lambda p, a, b: a * b, (3, 4, 2, 3), (3, 4, 1, 1))
case("multiply_vector", "type = multiply\ninput = input, input", lambda p, a, b: a * b[:, :, None, None], (3, 4, 2, 3),
     (3, 4))
case("scale", "type = scale\nfactor = 0.5, -2, 4\nshift = 0.25",
     lambda p, x: x * torch.tensor([0.5, -2, 4])[:, None, None] + 0.25, (2, 3, 2, 3))

# --- normalisation ---


def batchnorm(training, momentum):
    return lambda p, x: F.batch_norm(x, p["running_mean"], p["running_var"], p["weight"], p["bias"], training,
                                     momentum, 1e-3)


BN = dict(weight=(4,), bias=(4,), running_mean=(4,), running_var=(4,))
case("batchnorm", "type = batchnorm\neps = 1e-3", batchnorm(True, 0.1), (3, 4, 2, 3), params=BN)
case("batchnorm_vector", "type = batchnorm\neps = 1e-3\nmomentum = 0.3", batchnorm(True, 0.3), (7, 4), params=BN)
case("batchnorm_inference", "type = batchnorm\neps = 1e-3", batchnorm(False, 0.1), (3, 4, 2, 3), params=BN, training=False)
case("layer_norm", "type = layer_norm", lambda p, x: F.layer_norm(x, (7,), p["weight"], p["bias"]), (2, 3, 7),
     params=dict(weight=(7,), bias=(7,)))
case("layer_norm_map", "type = layer_norm\nnormalized_dims = 3\neps = 1e-3",
     lambda p, x: F.layer_norm(x, (2, 3, 2), p["weight"], p["bias"], 1e-3), (3, 2, 3, 2),
     params=dict(weight=(2, 3, 2), bias=(2, 3, 2)))
case("layer_norm_no_affine", "type = layer_norm\nelementwise_affine = no", lambda p, x: F.layer_norm(x, (7,)), (2, 3, 7))
case("group_norm", "type = group_norm\nnum_groups = 3", lambda p, x: F.group_norm(x, 3, p["weight"], p["bias"]),
     (2, 6, 2, 3), params=dict(weight=(6,), bias=(6,)))
case("instance_norm", "type = group_norm\nnum_groups = 3\naffine = no", lambda p, x: F.instance_norm(x), (2, 3, 3, 4))
case("local_response_norm", "type = local_response_norm\nsize = 5\nalpha = 0.7",
     lambda p, x: F.local_response_norm(x, 5, 0.7), (2, 7, 2, 3), spread=2)
case("local_response_norm_even", "type = local_response_norm\nsize = 2\nalpha = 0.9\nbeta = 0.5\nk = 2",
     lambda p, x: F.local_response_norm(x, 2, 0.9, 0.5, 2), (2, 3, 1, 2), spread=2)

# --- activations: values far enough out to meet every branch ---


def hardsigmoid(x):
    """Not F.hardsigmoid itself, whose gradient has a sixth in single precision even for doubles."""
    torch.testing.assert_close(F.relu6(x + 3) / 6, F.hardsigmoid(x))
    return F.relu6(x + 3) / 6


for function, fn in dict(
        logistic=torch.sigmoid, tanh=torch.tanh, relu=F.relu, leaky_relu=F.leaky_relu, elu=F.elu, gelu=F.gelu,
        silu=F.silu, relu6=F.relu6, hardsigmoid=hardsigmoid, hardswish=F.hardswish, softplus=F.softplus,
        mish=F.mish, gelu_tanh=lambda x: F.gelu(x, approximate="tanh")).items():
    case(f"activation_{function}", f"type = activation\nfunction = {function}", lambda p, x, fn=fn: fn(x), (2, 3, 5, 7),
         spread=4)
case("activation_leaky_relu_slope", "type = activation\nfunction = leaky_relu\nalpha = 0.3",
     lambda p, x: F.leaky_relu(x, 0.3), (2, 11))
case("activation_elu_alpha", "type = activation\nfunction = elu\nalpha = 0.5", lambda p, x: F.elu(x, 0.5), (2, 11))
case("activation_softplus_beta", "type = activation\nfunction = softplus\nbeta = 3", lambda p, x: F.softplus(x, 3), (2, 23),
     spread=6)
case("prelu", "type = prelu", lambda p, x: F.prelu(x, p["weight"]), (2, 2, 3, 5), params=dict(weight=(1,)))
case("prelu_channels", "type = prelu\nnum_parameters = 3", lambda p, x: F.prelu(x, p["weight"]), (3, 3, 2, 2),
     params=dict(weight=(3,)))
case("softmax", "type = softmax", lambda p, x: F.softmax(x, 1), (3, 7))
case("softmax_channels", "type = softmax", lambda p, x: F.softmax(x, 1), (2, 5, 2, 3))
case("log_softmax", "type = log_softmax", lambda p, x: F.log_softmax(x, 1), (3, 7))
case("log_softmax_channels", "type = log_softmax", lambda p, x: F.log_softmax(x, 1), (2, 5, 2, 3))

# --- chance: the masks are nntrain's, PyTorch does the rest ---

case("dropout", "type = dropout\nrate = 0.4", lambda p, x: x * keeps(3, 30, 0.4).view(3, 2, 3, 5) / 0.6, (3, 2, 3, 5))
case("dropout_inference", "type = dropout\nrate = 0.4", lambda p, x: F.dropout(x, 0.4, False), (3, 7), training=False)
case("stochastic_depth", "type = stochastic_depth\nrate = 0.4", lambda p, x: x * keeps(7, 1, 0.4).view(7, 1, 1, 1) / 0.6,
     (7, 2, 1, 3))
case("stochastic_depth_inference", "type = stochastic_depth\nrate = 0.4",
     lambda p, x: torchvision.ops.stochastic_depth(x, 0.4, "row", False), (2, 3), training=False)

# --- transformers ---

case("embedding", "type = embedding\nnum_embeddings = 5\nembedding_dim = 3", lambda p, x: F.embedding(x, p["weight"]),
     (2, 7), params=dict(weight=(5, 3)), tokens=5)
case("position_embedding", "type = position_embedding\nmax_length = 5", lambda p, x: x + p["weight"][None, :3],
     (2, 3, 4), params=dict(weight=(5, 4)))
case("class_token", "type = class_token", lambda p, x: torch.cat([p["weight"].expand(3, 1, 5), x], 1), (3, 2, 5),
     params=dict(weight=(5,)))


def attention(heads, causal, bias):
    def fn(p, x):
        t, e = x.shape[1:]
        module = torch.nn.MultiheadAttention(e, heads, bias=bias, batch_first=True)
        names = ["in_proj_weight", "out_proj.weight"] + (["in_proj_bias", "out_proj.bias"] if bias else [])
        mask = torch.triu(torch.ones(t, t, dtype=torch.bool), 1) if causal else None
        return torch.func.functional_call(module, {name: p[name] for name in names}, (x, x, x),
                                          dict(need_weights=False, attn_mask=mask))[0]
    return fn


def attention_by_hand(heads, causal, rate):
    """The same in single steps, so that the probabilities can be masked."""
    def fn(p, x):
        n, t, e = x.shape
        q, k, v = F.linear(x, p["in_proj_weight"], p["in_proj_bias"]).view(n, t, 3, heads, e // heads).permute(
            2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / (e // heads)**0.5
        if causal:
            scores = scores.masked_fill(torch.triu(torch.ones(t, t, dtype=torch.bool), 1), float("-inf"))
        probabilities = scores.softmax(-1)
        if rate > 0:
            probabilities = probabilities * keeps(n, heads * t * t, rate).view(n, heads, t, t) / (1 - rate)
        context = (probabilities @ v).transpose(1, 2).reshape(n, t, e)
        return F.linear(context, p["out_proj.weight"], p["out_proj.bias"])
    return fn


def checked_attention(heads, causal, rate):
    def fn(p, x):
        torch.testing.assert_close(attention_by_hand(heads, causal, 0)(p, x), attention(heads, causal, True)(p, x))
        return attention_by_hand(heads, causal, rate)(p, x)
    return fn


def attention_params(e, bias=True):
    params = {"in_proj_weight": (3 * e, e), "out_proj.weight": (e, e)}
    if bias:
        params.update({"in_proj_bias": (3 * e,), "out_proj.bias": (e,)})
    return params


MHA = "type = multihead_attention\nnum_heads = "
case("attention", MHA + "2", attention(2, False, True), (2, 3, 4), params=attention_params(4))
case("attention_causal", MHA + "3\ncausal = yes", attention(3, True, True), (2, 5, 6), params=attention_params(6))
case("attention_no_bias", MHA + "1\nbias = no", attention(1, False, False), (2, 4, 3), params=attention_params(3, False))
case("attention_dropout", MHA + "2\ndropout = 0.4", checked_attention(2, False, 0.4), (2, 3, 4), params=attention_params(4))
case("attention_causal_dropout", MHA + "2\ncausal = yes\ndropout = 0.25", checked_attention(2, True, 0.25), (3, 5, 6),
     params=attention_params(6))
case("attention_inference", MHA + "2\ndropout = 0.4", attention(2, False, True), (2, 3, 4), params=attention_params(4),
     training=False)

# --- auxiliary heads ---


class Weighted(torch.autograd.Function):
    """Hands x on, and its gradient weighted."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        return 0.375 * dy


case("head", "type = head\nloss_weight = 0.375", lambda p, x: Weighted.apply(x), (3, 5))
