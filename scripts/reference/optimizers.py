"""Optimizers and schedules: weights and rates over twenty steps of given gradients. What PyTorch lacks is written
after its paper."""
import math

import torch
from torch.optim import lr_scheduler as schedules
from torch.optim import swa_utils

from .common import generator, normal, store

STEPS, STEPS_PER_EPOCH, N = 20, 5, 37
CASES = []


def case(name, config, optimizer, schedule=None, clip_value=None, metrics=None, average=None):
    CASES.append((name, config, optimizer, schedule, clip_value, metrics, average))


class Written(torch.optim.Optimizer):
    """A rule for one tensor: rule(p, g, state, lr), p in place."""

    def __init__(self, params, lr, rule):
        super().__init__(params, {"lr": lr})
        self.rule, self.kept = rule, {}

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                self.rule(p, p.grad, self.kept, group["lr"])


def lars(lr, momentum, decay, trust):
    """You, Gitman & Ginsburg 2017, Large Batch Training of Convolutional Networks, algorithm 1."""
    def rule(p, g, kept, rate):
        ratio = trust * p.norm() / (g.norm() + decay * p.norm())
        kept["v"] = momentum * kept.get("v", 0) + rate * ratio * (g + decay * p)
        p -= kept["v"]
    return lambda params: Written(params, lr, rule)


def lamb(lr=0.001, beta1=0.9, beta2=0.999, eps=1e-6, decay=0.01):
    """You et al. 2019, Large Batch Optimization for Deep Learning, algorithm 2, phi(z) = z."""
    def rule(p, g, kept, rate):
        t = kept["t"] = kept.get("t", 0) + 1
        kept["m"] = beta1 * kept.get("m", 0) + (1 - beta1) * g
        kept["v"] = beta2 * kept.get("v", 0) + (1 - beta2) * g * g
        r = kept["m"] / (1 - beta1**t) / ((kept["v"] / (1 - beta2**t)).sqrt() + eps)
        direction = r + decay * p
        p -= rate * p.norm() / direction.norm() * direction
    return lambda params: Written(params, lr, rule)


def lion(lr=0.0001, beta1=0.9, beta2=0.99, decay=0.0):
    """Chen et al. 2023, Symbolic Discovery of Optimization Algorithms, algorithm 2."""
    def rule(p, g, kept, rate):
        m = kept.get("m", torch.zeros_like(p))
        p -= rate * ((beta1 * m + (1 - beta1) * g).sign() + decay * p)
        kept["m"] = beta2 * m + (1 - beta2) * g
    return lambda params: Written(params, lr, rule)


def write(file):
    file.attrs["steps_per_epoch"] = STEPS_PER_EPOCH
    for name, config, optimizer, schedule, clip_value, metrics, average in CASES:
        rng = generator(name)
        group = file.create_group(name)
        group.attrs["config"] = "[optimizer]\n" + config
        weights = normal(rng, (N,))
        gradients = normal(rng, (STEPS, N))
        gradients[:, 0] = 0  # what an optimizer makes of a weight without gradient
        store(group, "start", weights, exact=True)
        store(group, "gradients", gradients, exact=True)
        weights.requires_grad_(True)
        opt = optimizer([weights])
        plan = schedule(opt) if schedule else None
        rates, steps = [], []
        average = average and average(torch.nn.ParameterList([torch.nn.Parameter(weights.detach())]))
        averages = []
        if metrics:
            store(group, "metrics", torch.tensor(metrics))
        for step, gradient in enumerate(gradients):
            rates.append(opt.param_groups[0]["lr"])
            weights.grad = gradient.clone()
            if clip_value:
                torch.nn.utils.clip_grad_value_([weights], clip_value)
            opt.step()
            if metrics:
                plan.step(metrics[step])
            elif plan:
                plan.step()
            steps.append(weights.detach().clone())
            if average and average.due(step + 1):
                average.update_parameters([weights])
            if average and average.n_averaged:
                averages.append(average.module[0].detach().clone())
        store(group, "rates", torch.tensor(rates))
        store(group, "weights", torch.stack(steps))
        if average:  # those of the last steps
            store(group, "averages", torch.stack(averages))
    return len(CASES)


def sgd(**options):
    return lambda params: torch.optim.SGD(params, **{"lr": 0.1, **options})


case("sgd", "lr = 0.1", sgd())
case("sgd_decay", "lr = 0.1\nweight_decay = 0.05", sgd(weight_decay=0.05))
case("sgd_momentum", "lr = 0.1\nmomentum = 0.9", sgd(momentum=0.9))
case("sgd_momentum_decay", "lr = 0.1\nmomentum = 0.9\nweight_decay = 0.05", sgd(momentum=0.9, weight_decay=0.05))
case("sgd_nesterov", "lr = 0.1\nmomentum = 0.8\nnesterov = yes\nweight_decay = 0.01",
     sgd(momentum=0.8, nesterov=True, weight_decay=0.01))
case("adam", "type = adam", lambda p: torch.optim.Adam(p))
case("adam_options", "type = adam\nlr = 0.01\nbeta1 = 0.8\nbeta2 = 0.95\neps = 1e-4\nweight_decay = 0.1",
     lambda p: torch.optim.Adam(p, 0.01, (0.8, 0.95), 1e-4, 0.1))
case("adamw", "type = adamw", lambda p: torch.optim.AdamW(p))
case("adamw_options", "type = adamw\nlr = 0.02\nbeta1 = 0.85\nbeta2 = 0.9\nweight_decay = 0.3",
     lambda p: torch.optim.AdamW(p, 0.02, (0.85, 0.9), weight_decay=0.3))

def rmsprop(**options):
    return lambda params: torch.optim.RMSprop(params, **options)


case("rmsprop", "type = rmsprop", rmsprop())
case("rmsprop_options", "type = rmsprop\nlr = 0.02\nalpha = 0.9\neps = 1e-3\nweight_decay = 0.1\nmomentum = 0.8",
     rmsprop(lr=0.02, alpha=0.9, eps=1e-3, weight_decay=0.1, momentum=0.8))
case("rmsprop_centered", "type = rmsprop\nlr = 0.02\ncentered = yes\nalpha = 0.95",
     rmsprop(lr=0.02, centered=True, alpha=0.95))
case("rmsprop_centered_momentum", "type = rmsprop\nlr = 0.02\ncentered = yes\nmomentum = 0.9",
     rmsprop(lr=0.02, centered=True, momentum=0.9))
case("adagrad", "type = adagrad", lambda p: torch.optim.Adagrad(p))
case("adagrad_options", "type = adagrad\nlr = 0.1\nweight_decay = 0.05\neps = 1e-3",
     lambda p: torch.optim.Adagrad(p, 0.1, weight_decay=0.05, eps=1e-3))
case("lion", "type = lion", lion())
case("lion_options", "type = lion\nlr = 0.01\nbeta1 = 0.8\nbeta2 = 0.95\nweight_decay = 0.2", lion(0.01, 0.8, 0.95, 0.2))
case("lars", "type = lars\nlr = 2\nmomentum = 0.9\nweight_decay = 0.01", lars(2, 0.9, 0.01, 0.001))
case("lars_options", "type = lars\nlr = 0.5\nmomentum = 0.5\ntrust = 0.1", lars(0.5, 0.5, 0, 0.1))
case("lamb", "type = lamb", lamb())
case("lamb_options", "type = lamb\nlr = 0.02\nbeta1 = 0.8\nbeta2 = 0.95\neps = 1e-3\nweight_decay = 0.1",
     lamb(0.02, 0.8, 0.95, 1e-3, 0.1))
case("clip_value", "lr = 0.1\nmomentum = 0.9\nclip_value = 0.5", sgd(momentum=0.9), clip_value=0.5)
case("clip_value_lamb", "type = lamb\nclip_value = 0.25", lamb(), clip_value=0.25)

case("schedule_constant", "lr = 0.1\nschedule = constant", sgd(), lambda o: schedules.ConstantLR(o, 1, STEPS))
case("schedule_step", "lr = 0.1\nschedule = step\nstep_every = 6 steps\ngamma = 0.3", sgd(),
     lambda o: schedules.StepLR(o, 6, 0.3))
case("schedule_step_epochs", "lr = 0.1\nschedule = step\nstep_every = 2 epochs\ngamma = 0.1", sgd(momentum=0),
     lambda o: schedules.StepLR(o, 2 * STEPS_PER_EPOCH, 0.1))
case("schedule_multistep", "lr = 0.1\nschedule = multistep\nmilestones = 1, 3\ngamma = 0.2", sgd(),
     lambda o: schedules.MultiStepLR(o, [STEPS_PER_EPOCH, 3 * STEPS_PER_EPOCH], 0.2))
case("schedule_exponential", "lr = 0.1\nschedule = exponential\nstep_every = 4 steps\ngamma = 0.5", sgd(),
     lambda o: schedules.ExponentialLR(o, 0.5**0.25))
case("schedule_polynomial", "lr = 0.1\nschedule = polynomial\npower = 2", sgd(),
     lambda o: schedules.PolynomialLR(o, STEPS, 2))
case("schedule_cosine", "lr = 0.1\nschedule = cosine\nmin_lr = 0.01", sgd(momentum=0),
     lambda o: schedules.CosineAnnealingLR(o, STEPS, 0.01))


def warmup(o, steps):
    return schedules.LinearLR(o, 1 / steps, 1, steps - 1)


# PyTorch's LinearLR is at 1 after its last step; nntrain's warm-up ends there, and the schedule begins.
case("schedule_warmup", "lr = 0.1\nwarmup = 4", sgd(), lambda o: warmup(o, 4))
case("schedule_warmup_cosine", "type = adamw\nlr = 0.1\nschedule = cosine\nwarmup = 4", lambda p: torch.optim.AdamW(p, 0.1),
     lambda o: schedules.SequentialLR(o, [warmup(o, 4), schedules.CosineAnnealingLR(o, STEPS - 4)], [4]))
case("schedule_warmup_step", "lr = 0.1\nschedule = step\nstep_every = 5 steps\ngamma = 0.5\nwarmup = 4", sgd(),
     lambda o: schedules.ChainedScheduler([warmup(o, 4), schedules.StepLR(o, 5, 0.5)]))

case("schedule_one_cycle", "lr = 0.1\nschedule = one_cycle", sgd(),
     lambda o: schedules.OneCycleLR(o, 0.1, STEPS, cycle_momentum=False))
case("schedule_one_cycle_options",
     "lr = 0.2\nschedule = one_cycle\npct_start = 0.45\ndiv_factor = 10\nfinal_div_factor = 100", sgd(),
     lambda o: schedules.OneCycleLR(o, 0.2, STEPS, pct_start=0.45, div_factor=10, final_div_factor=100,
                                    cycle_momentum=False))
case("schedule_sgdr", "lr = 0.1\nschedule = sgdr\nrestart_every = 6 steps\nmin_lr = 0.01", sgd(momentum=0),
     lambda o: schedules.CosineAnnealingWarmRestarts(o, 6, 1, 0.01))
case("schedule_sgdr_longer", "lr = 0.1\nschedule = sgdr\nrestart_every = 1 epochs\nrestart_mult = 2", sgd(),
     lambda o: schedules.CosineAnnealingWarmRestarts(o, STEPS_PER_EPOCH, 2))
case("schedule_warmup_sgdr", "lr = 0.1\nschedule = sgdr\nrestart_every = 3 steps\nrestart_mult = 3\nwarmup = 4", sgd(),
     lambda o: schedules.SequentialLR(o, [warmup(o, 4), schedules.CosineAnnealingWarmRestarts(o, 3, 3)], [4]))


def wsd(o, decay, power=1):
    return schedules.SequentialLR(o, [warmup(o, 3), schedules.ConstantLR(o, 1), schedules.PolynomialLR(o, decay, power)],
                                  [3, STEPS - decay])


case("schedule_wsd", "lr = 0.1\nschedule = wsd\nwarmup = 3\ndecay_for = 8 steps", sgd(), lambda o: wsd(o, 8))
case("schedule_wsd_power", "lr = 0.1\nschedule = wsd\nwarmup = 3\ndecay_for = 2 epochs\npower = 2", sgd(),
     lambda o: wsd(o, 2 * STEPS_PER_EPOCH, 2))
FALLING = [3, 2, 1.9, 1.9, 1.95, 1.9, 1.2, 1.195, 1.3, 1.4, 1.5, 1.5, 1.5, 1.5, 1.5, 1.0, 1.1, 1.1, 1.1, 1.1]
case("schedule_plateau", "lr = 0.1\nschedule = plateau\npatience = 2", sgd(),
     lambda o: schedules.ReduceLROnPlateau(o, patience=2), metrics=FALLING)
case("schedule_plateau_options",
     "lr = 0.1\nschedule = plateau\npatience = 1\ngamma = 0.5\nthreshold = 0.01\ncooldown = 2\nmin_lr = 0.03",
     sgd(momentum=0),
     lambda o: schedules.ReduceLROnPlateau(o, patience=1, factor=0.5, threshold=0.01, cooldown=2, min_lr=0.03),
     metrics=FALLING)
case("schedule_plateau_nan", "lr = 0.1\nschedule = plateau\npatience = 0\ngamma = 0.9", sgd(),
     lambda o: schedules.ReduceLROnPlateau(o, patience=0, factor=0.9),
     metrics=[2.0, 1.0] + [math.nan] * 3 + [1.0] * 5 + [0.5] * 10)


class Average(swa_utils.AveragedModel):
    """Takes the parameters of a list, at steps that `due` says."""

    def __init__(self, module, due, **options):
        super().__init__(module, use_buffers=True, **options)
        self.due = due

    def update_parameters(self, parameters):
        super().update_parameters(torch.nn.ParameterList([torch.nn.Parameter(p.detach()) for p in parameters]))


def ema(decay, every=1):
    return lambda module: Average(module, lambda step: step % every == 0,
                                  multi_avg_fn=swa_utils.get_ema_multi_avg_fn(decay))


def swa(start, every):
    return lambda module: Average(module, lambda step: step >= start and (step - start) % every == 0)


case("average_ema", "lr = 0.1\n[average]\nema = 0.9", sgd(), average=ema(0.9))
case("average_ema_every", "lr = 0.1\nmomentum = 0.9\n[average]\nema = 0.75\nema_every = 3", sgd(momentum=0.9),
     average=ema(0.75, 3))
case("average_swa", "lr = 0.1\nmomentum = 0.9\n[average]\nswa_start = 7 steps\nswa_every = 2 steps", sgd(momentum=0.9),
     average=swa(7, 2))
case("average_swa_epochs", "lr = 0.1\n[average]\nswa_start = 2 epochs", sgd(), average=swa(10, STEPS_PER_EPOCH))
