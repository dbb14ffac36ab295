"""Whole networks: ten training steps, each on another batch.

Weights and samples are not stored: both sides draw them from the name of the tensor (core/rng.h's Philox, see draw), so
that Inception v3 takes no more room than LeNet. PyTorch computes in double; a second run in float32 tells how far its own
float32 is from that, which is what a float32 backend may be off by, too.

Of every trained tensor two numbers are kept of its gradient in the first step and of its value after the last, the norm and
the product with a random tensor, in the order of the names: nothing can be wrong in one element without showing in the
second. A few small tensors are there in full. Dropout is off: its masks are not PyTorch's.
"""
import copy

import numpy
import torch
import torch.nn.functional as F
import torchvision

from . import modules
from .common import philox_blocks, store

STEPS = 10
STREAM_TEST = 5


def fnv1a(name):
    """The key of a tensor's numbers: FNV-1a in 64 bits (Fowler, Noll & Vo)."""
    hash_ = 0xCBF29CE484222325
    for byte in name.encode():
        hash_ = (hash_ ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return hash_


def words(name, n):
    """n random 32-bit words."""
    blocks = numpy.arange((n + 3) // 4, dtype=numpy.uint64)
    return philox_blocks(blocks, 0, 0, STREAM_TEST << 24, fnv1a(name)).reshape(-1)[:n]


def uniform(name, shape):
    """In [-1, 1), of 24 bits, exact in float32."""
    n = int(numpy.prod(shape))
    return ((words(name, n) >> numpy.uint64(8)).astype(numpy.float64) * 2.0**-23 - 1).reshape(shape)


def initial(name, shape, is_norm):
    """What a tensor of that name begins with, as a float32 number in double.

    Normalisations begin with a scale of about 0.3 and a shift of about 1, so that few of the units behind them are off:
    with 1 and 0, ten steps of a deep network with small batches make of float32's roundings differences of tenths, in
    PyTorch as well, and nothing could be compared."""
    u = uniform(name, shape)
    if name.endswith("running_var"):
        u = 1 + 0.25 * u
    elif is_norm:
        u = 0.3 + 0.05 * u if name.endswith("weight") else 1 + 0.1 * u
    elif len(shape) == 1:
        u = 0.1 * u
    else:
        u = u * numpy.sqrt(3.0 / (u.size // shape[0]))
    return torch.tensor(u.astype(numpy.float32).astype(numpy.float64))


def fill(model):
    norms = {f"{name}.{p}" for name, module in model.named_modules() for p in ("weight", "bias")
             if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.LayerNorm))}
    with torch.no_grad():
        for name, t in state_of(model).items():
            t.copy_(initial(name, tuple(t.shape), name in norms))


class Case:
    def __init__(self, name, config, make, optimizer, batch, shape, ref_steps, classes=0, values=0, tokens=0, full=(),
                 ties=0.0):
        """full: tensors that are kept whole. ref_steps: as many as the plain loops of ref can do in a second or two.

        ties: what float32 gradients may be off by where there is max pooling. A window whose two largest values differ by
        less than float32's rounding may send its gradient to the other one; among 100 thousand windows there are a few,
        and one is 1 / sqrt(100 000) = 0.003 of the gradient's norm."""
        self.__dict__.update(locals())

    def x(self, step):
        shape = (self.batch, *self.shape)
        if self.tokens:
            n = int(numpy.prod(shape))
            return torch.tensor((words(f"x{step}", n) % numpy.uint64(self.tokens)).astype(numpy.int64).reshape(shape))
        return torch.tensor(uniform(f"x{step}", shape))

    def target(self, step):
        if self.values:
            return torch.tensor(uniform(f"t{step}", (self.batch, self.values)))
        shape = (self.batch, *self.shape) if self.tokens else (self.batch,)
        n, classes = int(numpy.prod(shape)), self.tokens or self.classes
        return torch.tensor((words(f"t{step}", n) % numpy.uint64(classes)).astype(numpy.int64).reshape(shape))

    def loss(self, y, target):
        if self.values:
            return F.mse_loss(y, target)
        return F.cross_entropy(y.flatten(0, -2), target.flatten())


CASES = []


def summary(tensors):
    """(tensors, 2): the norm, and the product with a random tensor of the same name."""
    rows = [(float(t.norm()), float((t * torch.tensor(uniform("dot " + name, tuple(t.shape)), dtype=t.dtype)).sum()))
            for name, t in sorted(tensors.items())]
    return numpy.array(rows, dtype=numpy.float64)


def state_of(model):
    """Trained tensors and running statistics by name; a tensor with two names under the first."""
    seen, state = set(), {}
    for name, t in model.state_dict(keep_vars=True).items():
        if "num_batches_tracked" not in name and id(t) not in seen:
            seen.add(id(t))
            state[name] = t
    return state


def train(case, model):
    """Everything that is compared, by name."""
    out, real = {}, next(model.parameters()).dtype
    optimizer, losses = case.optimizer(model), []
    cast = (lambda t: t) if case.tokens else (lambda t: t.to(real))
    for step in range(STEPS):
        model.train()
        optimizer.zero_grad()
        target = case.target(step)
        loss = case.loss(model(cast(case.x(step))), target.to(real) if case.values else target)
        loss.backward()
        losses.append(float(loss.detach()))
        if step == 0:
            grads = {name: t.grad for name, t in state_of(model).items() if t.requires_grad}
            out["gradient"] = summary({k: v.detach() for k, v in grads.items()})
            for name in case.full:
                if name in grads:
                    out["gradient_" + name] = grads[name].detach().clone().numpy()
        optimizer.step()
    out["loss"] = numpy.array(losses)
    after = {name: t.detach() for name, t in state_of(model).items()}
    out["after"] = summary(after)
    for name in case.full:
        out["after_" + name] = after[name].clone().numpy()
    model.eval()
    with torch.no_grad():
        out["output"] = model(cast(case.x(STEPS))).flatten(1).numpy()
    return out


def largest_difference(a, b):
    """Relative to the largest of b; of a table of norms and products, to the norm of each row, or a thousandth of the
    largest: some gradients are zero but for rounding (a shift in front of a normalisation)."""
    scale = numpy.abs(b).max()
    if b.ndim == 2 and b.shape[1] == 2:
        scale = numpy.maximum(b[:, :1], 1e-3 * b[:, 0].max())
    return float((numpy.abs(a - b) / scale).max())


def write(file):
    for case in CASES:
        model = case.make().double()
        fill(model)
        single = copy.deepcopy(model).float()
        wanted, float32 = train(case, model), train(case, single)
        group = file.create_group(case.name)
        group.attrs["config"] = case.config
        group.attrs["batch"], group.attrs["steps"], group.attrs["ref_steps"] = case.batch, STEPS, case.ref_steps
        group.attrs["classes"], group.attrs["values"], group.attrs["tokens"] = case.classes, case.values, case.tokens
        group.attrs["ties"] = case.ties
        group.create_dataset("shape", data=numpy.array(case.shape, dtype=numpy.int32))
        for name, value in wanted.items():
            store(group, name, value)
            # how far PyTorch's float32 is from its double
            group[name].attrs["float32"] = largest_difference(float32[name].astype(numpy.float64), value)
        words_ = ", ".join(f"{n} {group[n].attrs['float32']:.1e}" for n in ("loss", "gradient", "after", "output"))
        print(f"  {case.name}: loss {wanted['loss'][0]:.4f} to {wanted['loss'][-1]:.4f}; float32 off by: {words_}", flush=True)
    return len(CASES)


def sgd(**options):
    """nntrain decays weights only: not biases, not normalisations."""
    decay = options.pop("weight_decay", 0.0)

    def make(model):
        decayed = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim <= 1]
        return torch.optim.SGD([{"params": decayed, "weight_decay": decay}, {"params": others}], **options)
    return make


def model_of(file, params=""):
    return f"[model]\nfile = launcher/models/{file}.ini\n" + (f"params = {params}\n" if params else "")


CASES += [
    Case("lenet5", model_of("lenet5") + "[optimizer]\ntype = sgd\nlr = 0.1\nmomentum = 0.9\n", modules.LeNet5,
         sgd(lr=0.1, momentum=0.9), 8, (1, 28, 28), 10, classes=10, full=("conv1.weight", "fc3.bias")),
    Case("resnet20", model_of("resnet20_cifar") + "[optimizer]\ntype = sgd\nlr = 0.002\nmomentum = 0.9\nnesterov = yes\n"
         "weight_decay = 0.1\n", modules.CifarResNet, sgd(lr=0.002, momentum=0.9, nesterov=True, weight_decay=0.1),
         16, (3, 32, 32), 0, classes=10,
         full=("conv1.weight", "layer2.0.downsample.0.weight", "layer3.2.bn2.weight", "fc.bias", "bn1.running_mean",
               "layer3.2.bn2.running_var")),
    Case("mobilenet_v2", model_of("mobilenet_v2", "outputs=10 dropout=0") + "[optimizer]\ntype = sgd\nlr = 0.002\n"
         "momentum = 0.9\n", lambda: torchvision.models.mobilenet_v2(num_classes=10, dropout=0.0),
         sgd(lr=0.002, momentum=0.9), 16, (3, 32, 32), 1, classes=10,
         full=("features.0.0.weight", "features.5.conv.1.0.weight", "classifier.1.bias", "features.18.1.running_var")),
    Case("inception3", model_of("inception3", "outputs=5 dropout=0") + "[loss]\ntype = mse\n[optimizer]\ntype = adam\n"
         "lr = 1e-5\n", lambda: torchvision.models.inception_v3(num_classes=5, aux_logits=False, dropout=0.0,
                                                                 init_weights=False),
         lambda m: torch.optim.Adam(m.parameters(), lr=1e-5), 8, (3, 75, 75), 0, values=5,
         full=("Conv2d_1a_3x3.conv.weight", "Mixed_6c.branch7x7_2.bn.weight", "Mixed_7c.branch_pool.bn.running_var",
               "Mixed_6c.branch7x7_2.bn.running_mean", "fc.bias"), ties=0.02),
    Case("vit_tiny", model_of("vit_tiny") + "[optimizer]\ntype = sgd\nlr = 0.05\nmomentum = 0.9\n",
         lambda: modules.vit_tiny(16), sgd(lr=0.05, momentum=0.9), 8, (3, 16, 16), 3, classes=10,
         full=("class_token", "encoder.pos_embedding", "encoder.layers.encoder_layer_2.self_attention.out_proj.bias",
               "encoder.ln.weight", "heads.head.bias")),
    Case("gpt2", model_of("gpt2", "vocabulary=61 context=16 width=48 heads=4 hidden=96 depth=3 dropout=0")
         + "[loss]\ntype = cross_entropy\nclass_dim = last\n[optimizer]\ntype = adamw\nlr = 0.003\neps = 1e-6\n"
         "weight_decay = 0\n", lambda: modules.GPT2(61, 16, 48, 4, 96, 3),
         lambda m: torch.optim.AdamW(m.parameters(), lr=0.003, eps=1e-6, weight_decay=0), 6, (13,), 10, tokens=61,
         full=("wte.weight", "wpe.weight", "h.1.attn.out_proj.bias", "h.2.mlp.c_fc.bias", "ln_f.weight")),
]
