#!/usr/bin/env python3
"""Compares the first steps of launcher/examples/inception3_regression.ini with PyTorch's: the example as it is shipped, its
own initial weights, the samples in its own order, and the loss of every step.

    build/nntrain import shapes train=2000 test=500 size=75 datasets/shapes.h5
    scripts/compare_training.py [--binary build/nntrain] [--ranks 1,2] [--steps 10] [section.key=value ...]

Needs torch, torchvision, safetensors and h5py (pip install torch torchvision safetensors h5py). PyTorch trains torchvision's
inception_v3 by itself, in double and in float32: the order of samples is made here (Fisher-Yates with Philox, as
datasets/sampler.h says), so is the rate (core/schedule.h); optimizer and loss are torch's. nntrain runs as a user starts it,
with a line for every step, and is told to stop (USR1) when it has made enough of them, so that its schedule is that of the
whole run. Where ranks normalise by themselves (run.sync_batchnorm = no), PyTorch does so too, each part of the batch by
itself, as DistributedDataParallel would.

Prints a line a step: the rate, PyTorch's loss in double, and how far the others are from it, relative. The exit status is 1
if nntrain is off by more than 1e-4.
"""
import argparse
import configparser
import csv
import math
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np
import torch
import torchvision
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from reference.common import philox_blocks  # noqa: E402

EXAMPLE = ROOT / "launcher" / "examples" / "inception3_regression.ini"
STREAM_SHUFFLE = 2
TOLERANCE = 1e-4


# --- nntrain ---

def command(options, ranks, verb, *words):
    alone = [options.binary, verb, EXAMPLE, *words, *options.settings]
    return [str(w) for w in (alone if ranks == 1 else ["mpirun", "-np", ranks, *alone])]


def environment():
    """What lets Open MPI run as root and more ranks than cores, as allow_small_machines of scripts/common.sh does."""
    allowed = {"OMPI_MCA_rmaps_base_oversubscribe": "1", "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}
    if os.geteuid() == 0:
        allowed |= {f"{mpi}_ALLOW_RUN_AS_ROOT{end}": "1" for mpi in ("OMPI", "PRTE") for end in ("", "_CONFIRM")}
    return os.environ | allowed


def losses_of(folder):
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    with open(path) as file:
        return [float(row["loss"]) for row in csv.DictReader(file) if row["split"] == "train" and row["lr"]]


def run(options, ranks, folder, steps, *words):
    """Trains until the losses of so many steps are there; these."""
    with tempfile.TemporaryFile("w+") as errors:  # a pipe that nobody reads would fill
        process = subprocess.Popen(command(options, ranks, "train", f"run.output={folder}", "run.log_every=1", *words),
                                   stdout=subprocess.DEVNULL, stderr=errors, env=environment())
        while process.poll() is None and len(losses_of(folder)) < steps:
            time.sleep(0.1)
        if process.poll() is None:
            process.send_signal(signal.SIGUSR1)
        process.wait()
        errors.seek(0)
        said = errors.read()
    losses = losses_of(folder)[:steps]
    if len(losses) < steps or process.returncode not in (0, 75):
        sys.exit(f"nntrain ended with {process.returncode} after {len(losses)} steps:\n{said}")
    return np.array(losses)


def initial_weights(options, work):
    """What training begins with: a step at a rate of 1e-30 changes no weight but those that are zero."""
    still = ["run.steps=1", "optimizer.lr=1e-30", "data.batch=2", "data.valid_limit=2"]
    run(options, 1, work / "still", 1, *still)
    export = command(options, 1, "export", work / "w.safetensors", f"run.output={work / 'still'}", *still)
    subprocess.run(export, check=True, stdout=subprocess.DEVNULL)
    weights = load_file(work / "w.safetensors")
    for name, w in weights.items():
        if name.endswith(("running_mean", "running_var")):
            w.fill_(float(name.endswith("var")))  # that step moved them
        w[w.abs() < 1e-20] = 0
    return weights


def settings_of(folder):
    """The run's configuration as nntrain has written it."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, inline_comment_prefixes=("#",))
    parser.read(folder / "config.ini")
    return parser


# --- the same by hand ---

def order(n, seed, epoch):
    """The samples of an epoch in nntrain's order."""
    i = np.arange(n, dtype=np.uint64)
    words = philox_blocks(i, 0, epoch, STREAM_SHUFFLE << 24, seed)
    out = list(range(n))
    for k in range(n - 1, 0, -1):
        j = (int(words[k, 0]) << 32 | int(words[k, 1])) * (k + 1) >> 64
        out[k], out[j] = out[j], out[k]
    return out


def ease(a, b, part):
    return b + (a - b) * (1 + math.cos(math.pi * part)) / 2


def rate(config, step, n_steps):
    o = config["optimizer"]
    lr, warmup = float(o["lr"]), int(o["warmup"])
    if o["schedule"] == "one_cycle":
        start, top, last = lr / float(o["div_factor"]), float(o["pct_start"]) * n_steps - 1, n_steps - 1
        return (ease(start, lr, step / top) if step < top
                else ease(lr, start / float(o["final_div_factor"]), (step - top) / (last - top)))
    if step < warmup:
        return lr * (step + 1) / warmup
    if o["schedule"] == "constant":
        return lr
    if o["schedule"] != "cosine":
        sys.exit(f"this comparison does not know schedule = {o['schedule']}")
    return ease(lr, float(o["min_lr"]), (step - warmup) / (n_steps - warmup))


def make_optimizer(config, model):
    o = config["optimizer"]
    if o["type"] != "adam" or config["loss"]["type"] != "mse":
        sys.exit(f"this comparison knows adam and mse, not {o['type']} and {config['loss']['type']}")
    number = {key: float(o[key]) for key in ("beta1", "beta2", "eps", "weight_decay") if o[key] != "auto"}
    return torch.optim.Adam(model.parameters(), betas=(number.get("beta1", 0.9), number.get("beta2", 0.999)),
                            eps=number.get("eps", 1e-8), weight_decay=number.get("weight_decay", 0))


def read_samples(path):
    """Pictures as numbers from 0 to 1, less the file's mean over its deviation if it has them; targets."""
    with h5py.File(path) as file:
        x, t = file["train/data"][:], file["train/label"][:]
        mean, std = (np.array(file.attrs.get(key, empty), dtype=np.float64).reshape(-1, 1, 1)
                     for key, empty in (("mean", 0.0), ("std", 1.0)))
    return lambda rows: (torch.tensor((x[rows] / 255.0 - mean) / std), torch.tensor(t[rows].astype(np.float64)))


def train(config, weights, batches, n_steps, parts, real):
    """PyTorch's loss at each step; the batch in so many parts, which normalise by themselves."""
    outputs = weights["fc.bias"].numel()
    model = torchvision.models.inception_v3(num_classes=outputs, aux_logits=False, dropout=0.0, init_weights=False)
    missing = model.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys and all("num_batches" in k for k in missing.missing_keys), missing
    model.to(real).train()
    optimizer, losses = make_optimizer(config, model), []
    for step, (x, target) in enumerate(batches):
        optimizer.param_groups[0]["lr"] = rate(config, step, n_steps)
        optimizer.zero_grad()
        total = 0.0
        for part_x, part_t in zip(x.to(real).tensor_split(parts), target.to(real).tensor_split(parts)):
            loss = torch.nn.functional.mse_loss(model(part_x), part_t) * (len(part_x) / len(x))
            loss.backward()
            total += float(loss.detach())
        losses.append(total)
        optimizer.step()
    return np.array(losses)


# --- side by side ---

def compare(options, work):
    weights = initial_weights(options, work)
    ours = {ranks: run(options, ranks, work / f"run{ranks}", options.steps) for ranks in options.ranks}
    config = settings_of(work / f"run{options.ranks[0]}")
    batch, samples = int(config["data"]["batch"]), read_samples(config["data"]["file"])
    with h5py.File(config["data"]["file"]) as file:
        n = len(file["train/data"])
    rows = order(n, int(config["run"]["seed"]), 0)
    batches = [samples(rows[k * batch:(k + 1) * batch]) for k in range(options.steps)]
    n_steps = int(config["run"]["steps"]) or int(config["run"]["epochs"]) * -(-n // batch)
    good, theirs = True, {}
    for ranks in options.ranks:
        parts = 1 if config["run"]["sync_batchnorm"] == "yes" else ranks
        if parts not in theirs:
            theirs[parts] = [train(config, weights, batches, n_steps, parts, real) for real in (torch.float64, torch.float32)]
        wanted, single = theirs[parts]
        print(f"{ranks} rank(s); PyTorch normalises over {'the whole batch' if parts == 1 else f'{parts} parts of the batch'}\n"
              "step  rate       PyTorch, double  its float32 off by  nntrain off by  nntrain from its float32")
        for k in range(options.steps):
            off = [abs(a - b) / b for a, b in ((single[k], wanted[k]), (ours[ranks][k], wanted[k]), (ours[ranks][k], single[k]))]
            good = good and off[1] <= TOLERANCE and off[2] <= TOLERANCE
            print(f"{k + 1:4}  {rate(config, k, n_steps):.3e}  {wanted[k]:15.9f}  {off[0]:18.1e}  {off[1]:14.1e}  {off[2]:.1e}")
    print(f"{'ok' if good else 'NO'}: nntrain's losses are {'' if good else 'not '}PyTorch's to {TOLERANCE:g}")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=ROOT / "build" / "nntrain", type=pathlib.Path)
    parser.add_argument("--ranks", default=[1, 2], type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--steps", default=10, type=int)
    parser.add_argument("--threads", default=os.cpu_count(), type=int, help="PyTorch's")
    parser.add_argument("settings", nargs="*", help="as for nntrain")
    options = parser.parse_args()
    options.binary = options.binary.resolve()
    if not options.binary.exists():
        sys.exit(f"there is no {options.binary}: build it, or say --binary")
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as work:
        sys.exit(0 if compare(options, pathlib.Path(work)) else 1)


if __name__ == "__main__":
    main()
