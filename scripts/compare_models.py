#!/usr/bin/env python3
"""Compares every shipped architecture with torchvision's, or that of scripts/reference/modules.py where torchvision has
none: number of parameters, outputs for the same weights, and the weights that come back from nntrain export, which must
load with strict=True and be the same bits; with --onnx also what onnxruntime makes of the exported graph.

    scripts/compare_models.py [--binary build/nntrain] [MODEL ...]

Needs torch, torchvision, safetensors and h5py (pip install torch torchvision safetensors h5py), for --onnx onnxruntime. A
model's weights are those torchvision draws, its batchnorm statistics random; they go to nntrain as a safetensors file and are
read strictly. Prints a line a model; the exit status is 1 if a count differs, an output is off by more than 1e-4 of the
largest or a weight comes back changed.
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
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from reference import modules  # noqa: E402


def torchvision_model(name, **arguments):
    return lambda: getattr(torchvision.models, name)(weights=None, **arguments)


# line of the comparison: (file in launcher/models, [model] params, PyTorch's model, shape of a sample); a sample of tokens
# has its vocabulary for a third
MODELS = {
    "perceptron": ("perceptron", "", modules.Perceptron, (1, 8, 8)),
    "mlp": ("mlp", "", modules.MLP, (1, 28, 28)),
    "lenet5": ("lenet5", "", modules.LeNet5, (1, 28, 28)),
    "lenet5 today": ("lenet5", "activation=relu pool=max_pool",
                     lambda: modules.LeNet5(torch.relu, torch.nn.functional.max_pool2d), (1, 28, 28)),
    "alexnet": ("alexnet", "", torchvision_model("alexnet"), (3, 96, 96)),
    "vgg11": ("vgg11", "", torchvision_model("vgg11"), (3, 64, 64)),
    "vgg11_bn": ("vgg11_bn", "", torchvision_model("vgg11_bn"), (3, 64, 64)),
    "vgg16": ("vgg16", "", torchvision_model("vgg16"), (3, 64, 64)),
    "vgg16_bn": ("vgg16_bn", "", torchvision_model("vgg16_bn"), (3, 64, 64)),
    "resnet18": ("resnet18", "", torchvision_model("resnet18"), (3, 97, 97)),
    "resnet34": ("resnet34", "", torchvision_model("resnet34"), (3, 64, 64)),
    "resnet50": ("resnet50", "", torchvision_model("resnet50"), (3, 97, 97)),
    "resnet101": ("resnet101", "", torchvision_model("resnet101"), (3, 64, 64)),
    "resnet18_cifar": ("resnet18_cifar", "", lambda: modules.CifarResNet((64, 128, 256, 512), 2), (3, 32, 32)),
    "resnet20_cifar": ("resnet20_cifar", "", modules.CifarResNet, (3, 32, 32)),
    "wide_resnet50_2": ("wide_resnet50_2", "", torchvision_model("wide_resnet50_2"), (3, 64, 64)),
    "resnext50_32x4d": ("resnext50_32x4d", "", torchvision_model("resnext50_32x4d"), (3, 64, 64)),
    "squeezenet1_1": ("squeezenet1_1", "", torchvision_model("squeezenet1_1"), (3, 97, 97)),
    "mobilenet_v2": ("mobilenet_v2", "", torchvision_model("mobilenet_v2"), (3, 97, 97)),
    "densenet121": ("densenet121", "", torchvision_model("densenet121"), (3, 97, 97)),
    "efficientnet_b0": ("efficientnet_b0", "", torchvision_model("efficientnet_b0"), (3, 97, 97)),
    "googlenet": ("googlenet", "", torchvision_model("googlenet", aux_logits=False, init_weights=True), (3, 97, 97)),
    "googlenet, heads": ("googlenet", "aux=yes", torchvision_model("googlenet", aux_logits=True, init_weights=True),
                         (3, 97, 97)),
    "inception3": ("inception3", "", torchvision_model("inception_v3", aux_logits=False, init_weights=True), (3, 107, 107)),
    "inception3, head": ("inception3", "aux=yes transform_input=yes",
                         torchvision_model("inception_v3", aux_logits=True, transform_input=True, init_weights=True),
                         (3, 299, 299)),
    "vit_b_16": ("vit_b_16", "", torchvision_model("vit_b_16"), (3, 224, 224)),
    "vit_tiny": ("vit_tiny", "", modules.vit_tiny, (3, 32, 32)),
    "gpt2": ("gpt2", "", lambda: modules.GPT2(50257, 1024, 768, 12, 3072, 12), (48, None, 50257)),
    "gpt2, small": ("gpt2", "vocabulary=256 context=128 width=128 heads=4 hidden=512 depth=4 dropout=0", modules.GPT2,
                    (100, None, 256)),
}
CONFIG = """[run]
output = {dir}/run
device = {device}
[data]
file = {dir}/in.h5
batch = 2
[model]
file = {root}/launcher/models/{model}.ini
params = {params}
[loss]
type = {loss}
"""
LOSS = "cross_entropy\nclass_dim = last"  # of tokens
IMAGES = ["data.scale=1", "data.mean=0", "data.std=1"]


def randomise_statistics(model, generator):
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.5)
        if isinstance(module, torch.nn.Embedding):
            torch.nn.init.normal_(module.weight, std=0.1, generator=generator)
        if type(module).__name__ == "VisionTransformer":
            torch.nn.init.normal_(module.heads.head.weight, std=0.05, generator=generator)  # zeros tell nothing
            torch.nn.init.normal_(module.class_token, generator=generator)


def draw(shape, generator):
    """Samples, and labels or targets of the shape that the model wants."""
    if shape[1:2] == (None,):
        x = torch.randint(shape[2], (2, shape[0]), generator=generator)
        return x, x.numpy().astype(np.int32)
    return torch.randn(2, *shape, generator=generator), None


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip() or f"{command[1]} ended with {done.returncode}")
    return done.stdout


def nearness(got, wanted):
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


def export_again(binary, work, model, x, options, extra):
    """The weights as nntrain gives them back, loaded strictly; then its graph in onnxruntime. Words for the line."""
    run(binary, "export", work / "cfg.ini", work / "back.safetensors", "--checkpoint", work / "w.safetensors", *extra)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(load_file(work / "back.safetensors"), strict=True)
    changed = [k for k, v in model.state_dict().items() if "num_batches" not in k and not torch.equal(v, before[k])]
    if changed:
        raise RuntimeError(f"{changed[0]} comes back changed")
    if not options.onnx:
        return "comes back strictly", 0.0
    import onnxruntime
    run(binary, "export", work / "cfg.ini", work / "m.onnx", "--checkpoint", work / "w.safetensors", *extra)
    session = onnxruntime.InferenceSession(str(work / "m.onnx"))
    given = x.numpy().astype(np.int32) if x.dtype == torch.int64 else x.numpy()
    with torch.no_grad():
        error = nearness(session.run(None, {"input": given})[0], model(x).numpy())
    return f"comes back strictly; onnxruntime {error:.1e}", error


def compare(name, options, work):
    file, params, make, shape = MODELS[name]
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(2)
    model = make().eval()
    x, label = draw(shape, generator)
    with torch.no_grad():
        randomise_statistics(model, generator)
        wanted = model(x)
    save_file({k: v.contiguous().clone() for k, v in model.state_dict().items()}, work / "w.safetensors")
    with h5py.File(work / "in.h5", "w") as h5:
        for part in ("train", "test"):
            h5[f"{part}/data" if label is None else f"{part}/tokens"] = x.numpy() if label is None else label
            h5[f"{part}/label"] = np.zeros(tuple(wanted.shape), np.float32) if label is None else label
        if label is not None:
            h5.attrs["classes"] = shape[2]
            wanted = torch.softmax(wanted.double(), -1)
    (work / "cfg.ini").write_text(CONFIG.format(dir=work, root=ROOT, model=file, params=params, device=options.device,
                                                loss="mse" if label is None else LOSS))
    extra = IMAGES if label is None else []
    run(options.binary, "predict", work / "cfg.ini", work / "in.h5", work / "out.h5", "--force", "--group", "/test",
        "--checkpoint", work / "w.safetensors", *extra)
    with h5py.File(work / "out.h5") as h5:
        error = nearness(h5["prediction"][:].reshape(2, -1), wanted.numpy().reshape(2, -1))
    check = run(options.binary, "check", work / "cfg.ini", *extra)
    ours = [int(line.split()[1]) for line in check.splitlines() if line.startswith("total ") and line.split()[1].isdigit()]
    theirs = sum(p.numel() for p in model.parameters())
    words, onnx_error = export_again(options.binary, work, model, x, options, extra)
    line = f"{ours[-1]:>11} parameters, PyTorch {theirs:>11}; outputs differ by {error:.1e}; {words}"
    return ours[-1] == theirs and error < 1e-4 and onnx_error < 1e-4, line


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=ROOT / "build" / "nntrain", type=pathlib.Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--onnx", action="store_true")
    parser.add_argument("models", nargs="*", default=list(MODELS))
    options = parser.parse_args()
    good = True
    for name in options.models:
        with tempfile.TemporaryDirectory() as work:
            try:
                fine, words = compare(name, options, pathlib.Path(work))
            except RuntimeError as error:
                fine, words = False, str(error)
        good = good and fine
        print(f"{'ok' if fine else 'NO':3} {name:17} {words}", flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
