#!/usr/bin/env python3
"""Compares every shipped architecture with torchvision's: number of parameters, and outputs for the same weights.

    scripts/compare_models.py [--binary build/nntrain] [MODEL ...]

Needs torch, torchvision, safetensors and h5py (pip install torch torchvision safetensors h5py). A model's weights are
those torchvision draws, its batchnorm statistics random; they go to nntrain as a safetensors file and are read strictly.
Prints a line a model; the exit status is 1 if a count differs or an output is off by more than 1e-4 of the largest.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import h5py
import numpy as np
import torch
import torchvision
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
# model: (torchvision's name, its arguments, side of the images)
MODELS = {
    "alexnet": ("alexnet", {}, 96), "vgg11": ("vgg11", {}, 64), "vgg11_bn": ("vgg11_bn", {}, 64), "vgg16": ("vgg16", {}, 64),
    "vgg16_bn": ("vgg16_bn", {}, 64), "resnet18": ("resnet18", {}, 97), "resnet34": ("resnet34", {}, 64),
    "resnet50": ("resnet50", {}, 97), "resnet101": ("resnet101", {}, 64), "wide_resnet50_2": ("wide_resnet50_2", {}, 64),
    "resnext50_32x4d": ("resnext50_32x4d", {}, 64), "squeezenet1_1": ("squeezenet1_1", {}, 97),
    "mobilenet_v2": ("mobilenet_v2", {}, 97), "densenet121": ("densenet121", {}, 97),
    "efficientnet_b0": ("efficientnet_b0", {}, 97), "googlenet": ("googlenet", {"aux_logits": False, "init_weights": True}, 97),
    "inception3": ("inception_v3", {"aux_logits": False, "init_weights": True}, 107),
}
CONFIG = """[run]
output = {dir}/run
device = {device}
[data]
file = {dir}/in.h5
batch = 2
[model]
file = {root}/launcher/models/{model}.ini
[loss]
type = mse
"""


def randomise_statistics(model, generator):
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.5)


def compare(name, binary, device, work):
    torchvision_name, arguments, side = MODELS[name]
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(2)
    model = getattr(torchvision.models, torchvision_name)(weights=None, **arguments).eval()
    x = torch.randn(2, 3, side, side, generator=generator)
    with torch.no_grad():
        randomise_statistics(model, generator)
        wanted = model(x).numpy()
    save_file(model.state_dict(), work / "w.safetensors")
    with h5py.File(work / "in.h5", "w") as file:
        for part in ("train", "test"):
            file[f"{part}/data"] = x.numpy()
            file[f"{part}/label"] = np.zeros_like(wanted)
    (work / "cfg.ini").write_text(CONFIG.format(dir=work, root=ROOT, model=name, device=device))
    command = [binary, "predict", work / "cfg.ini", work / "in.h5", work / "out.h5", "--force", "--group", "/test",
               "--checkpoint", work / "w.safetensors", "data.scale=1", "data.mean=0", "data.std=1"]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        return None, None, done.stderr.strip()
    with h5py.File(work / "out.h5") as file:
        got = file["prediction"][:]
    check = subprocess.run([str(binary), "check", str(work / "cfg.ini")], capture_output=True, text=True).stdout
    ours = next((int(line.split()[1]) for line in check.splitlines() if line.startswith("total ")), -1)
    theirs = sum(p.numel() for p in model.parameters())
    return (ours, theirs), float(np.abs(got - wanted).max() / np.abs(wanted).max()), ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=ROOT / "build" / "nntrain", type=pathlib.Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("models", nargs="*", default=list(MODELS))
    options = parser.parse_args()
    good = True
    for name in options.models:
        with tempfile.TemporaryDirectory() as work:
            counts, error, message = compare(name, options.binary, options.device, pathlib.Path(work))
        fine = counts is not None and counts[0] == counts[1] and error < 1e-4
        good = good and fine
        words = message or f"{counts[0]:>11} parameters, torchvision {counts[1]:>11}; outputs differ by {error:.1e}"
        print(f"{'ok' if fine else 'NO':3} {name:16} {words}", flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
