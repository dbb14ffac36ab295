"""Losses: the loss of each sample, how many of its answers are right, and the gradient of the mean over samples."""
import torch
import torch.nn.functional as F

from .common import generator, normal, start_file, store

CASES = []


def case(name, config, fn, shape, target, mean=None):
    """fn(x, t) -> losses (N). target: a function of (rng) that makes t. mean(x, t): PyTorch's mean, where it is
    another than that over samples."""
    CASES.append((name, config, fn, shape, target, mean))


def n_right(x, t, config):
    """How many answers of each sample are right: positions that count and have the same class at the top, or outputs
    on the right side where each says yes or no. Losses of values have no answers."""
    if "type = bce" in config:
        return ((x > 0) == (t > 0.5)).flatten(1).sum(1)
    if "type = hinge" in config and t.is_floating_point():
        return ((x > 0) == (t > 0)).flatten(1).sum(1)
    if "cross_entropy" not in config and "hinge" not in config and "kl_divergence" not in config:
        return torch.zeros(len(x))
    dim = -1 if "class_dim = last" in config else 1
    answers = x.argmax(dim).reshape(len(x), -1)
    truth = t if not t.is_floating_point() else t.argmax(dim)
    truth = truth.reshape(len(x), -1)
    same = answers == truth
    if "ignore_index = " in config:
        same &= truth != int(config.split("ignore_index = ")[1].split("\n")[0])
    return same.sum(1)


def write(file):
    start_file(file)
    for name, config, fn, shape, target, mean in CASES:
        rng = generator(name)
        group = file.create_group(name)
        group.attrs["config"] = "[loss]\n" + config
        group.attrs["training"] = 1
        x, t = normal(rng, shape, 2.0), target(rng)
        if "log_softmax" in name:
            x = F.log_softmax(x, 1).float().double()
        store(group, "x0", x, exact=True)
        store(group, "x1", t, exact=True)
        x.requires_grad_(True)
        loss = fn(x, t)
        total = mean(x, t) if mean else loss.mean()
        mean_weight = loss.mean() / total
        group.attrs["mean_weight"] = mean_weight.item()
        store(group, "y", torch.stack([loss / mean_weight, n_right(x, t, config).double()], 1))
        total.backward()
        store(group, "dx0", x.grad)
    return len(CASES)


def values(*shape):
    return lambda rng: normal(rng, shape, 2.0)


def fractions(*shape):
    return lambda rng: torch.tensor(rng.random(shape).astype("float32").astype("float64"))


def signs(*shape):
    return lambda rng: torch.tensor(rng.integers(0, 2, shape) * 2.0 - 1)


def labels(n_classes, *shape):
    return lambda rng: torch.tensor(rng.integers(0, n_classes, shape))


def probabilities(*shape):
    """Sixty-fourths: they sum to 1 exactly in float32."""
    def make(rng):
        counts = rng.multinomial(64, [1 / shape[1]] * shape[1], shape[0])
        return torch.tensor(counts / 64.0)
    return make


def per_sample(fn, **options):
    """Mean over everything but the batch."""
    return lambda x, t: fn(x, t, reduction="none", **options).flatten(1).mean(1)


case("mse", "type = mse", per_sample(F.mse_loss), (5, 3), values(5, 3))
case("l1", "type = l1", per_sample(F.l1_loss), (5, 3), values(5, 3))
case("huber", "type = huber", per_sample(F.huber_loss), (5, 3), values(5, 3))
case("huber_delta", "type = huber\ndelta = 0.4", per_sample(F.huber_loss, delta=0.4), (5, 3), values(5, 3))
case("smooth_l1", "type = smooth_l1", per_sample(F.smooth_l1_loss), (5, 3), values(5, 3))
case("smooth_l1_beta", "type = smooth_l1\nbeta = 0.3", per_sample(F.smooth_l1_loss, beta=0.3), (5, 3), values(5, 3))
case("smooth_l1_beta_0", "type = smooth_l1\nbeta = 0", per_sample(F.smooth_l1_loss, beta=0.0), (5, 3), values(5, 3))
case("bce", "type = bce", per_sample(F.binary_cross_entropy_with_logits), (5, 3), fractions(5, 3))
case("hinge", "type = hinge", lambda x, t: F.multi_margin_loss(x, t, reduction="none"), (7, 4), labels(4, 7))
case("hinge_squared_weighted", "type = hinge\np = 2\nmargin = 0.75\nclass_weights = 1, 0.5, 2",
     lambda x, t: F.multi_margin_loss(x, t, 2, 0.75, torch.tensor([1, 0.5, 2]), reduction="none"), (7, 3), labels(3, 7))
case("hinge_values", "type = hinge", lambda x, t: (1 - t * x).clamp(min=0).mean(1), (7, 3), signs(7, 3))
case("kl_divergence_log_softmax", "type = kl_divergence",
     lambda x, t: F.kl_div(x, t, reduction="none").sum(1), (4, 5), probabilities(4, 5))


def cross_entropy(**options):
    return lambda x, t: F.cross_entropy(x, t, reduction="none", **options).reshape(len(x), -1).mean(1)


WEIGHTS = torch.tensor([1, 0.5, 2], dtype=torch.float64)
case("cross_entropy", "type = cross_entropy", cross_entropy(), (5, 7), labels(7, 5))
case("cross_entropy_weights", "type = cross_entropy\nclass_weights = 1, 0.5, 2", cross_entropy(weight=WEIGHTS), (7, 3),
     labels(3, 7))
case("cross_entropy_smoothing", "type = cross_entropy\nlabel_smoothing = 0.1", cross_entropy(label_smoothing=0.1), (7, 4),
     labels(4, 7))
case("cross_entropy_weights_smoothing_ignore",
     "type = cross_entropy\nclass_weights = 1, 0.5, 2\nlabel_smoothing = 0.2\nignore_index = 1",
     cross_entropy(weight=WEIGHTS, label_smoothing=0.2, ignore_index=1), (7, 3), labels(3, 7))
case("cross_entropy_probabilities", "type = cross_entropy", cross_entropy(), (4, 5), probabilities(4, 5))
case("cross_entropy_probabilities_weights_smoothing",
     "type = cross_entropy\nclass_weights = 1, 0.5, 2\nlabel_smoothing = 0.3",
     cross_entropy(weight=WEIGHTS, label_smoothing=0.3), (4, 3), probabilities(4, 3))
case("cross_entropy_positions", "type = cross_entropy\nignore_index = 2", cross_entropy(ignore_index=2), (3, 3, 5),
     labels(3, 3, 5))
case("cross_entropy_map", "type = cross_entropy\nclass_weights = 1, 0.5, 2\nlabel_smoothing = 0.1",
     lambda x, t: cross_entropy(weight=WEIGHTS, label_smoothing=0.1)(x, t.view(2, 2, 3)), (2, 3, 2, 3), labels(3, 2, 6))
case("cross_entropy_tokens", "type = cross_entropy\nclass_dim = last\nignore_index = 0",
     lambda x, t: cross_entropy(ignore_index=0)(x.transpose(1, 2), t), (2, 5, 4), labels(4, 2, 5))


def weighted_mean(**options):
    return lambda x, t: F.cross_entropy(x, t, **options)


case("cross_entropy_mean_over_weights",
     "type = cross_entropy\nclass_weights = 1, 0.5, 2\nlabel_smoothing = 0.2\nignore_index = 1\nmean_over = weights",
     cross_entropy(weight=WEIGHTS, label_smoothing=0.2, ignore_index=1), (7, 3), labels(3, 7),
     weighted_mean(weight=WEIGHTS, label_smoothing=0.2, ignore_index=1))
case("cross_entropy_tokens_mean_over_weights",
     "type = cross_entropy\nclass_dim = last\nignore_index = 0\nmean_over = weights",
     lambda x, t: cross_entropy(ignore_index=0)(x.transpose(1, 2), t), (2, 5, 4), labels(4, 2, 5),
     lambda x, t: weighted_mean(ignore_index=0)(x.transpose(1, 2), t))
