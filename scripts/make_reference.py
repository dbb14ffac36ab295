#!/usr/bin/env python3
"""Writes tests/reference/*.h5: what PyTorch computes, for the tests to hold nntrain to.

Needed only to make the files again, after a change of scripts/reference: they are part of the repository. Each
part below is one file and one module, which lists cases; a case is INI text as a user would write it, inputs,
and everything that PyTorch makes of them in double precision. Inputs, weights and output gradients are float32
numbers, so nntrain starts from exactly the same ones. The same versions write the same bytes.

    python3 -m venv venv && venv/bin/pip install torch torchvision h5py numpy
    venv/bin/python scripts/make_reference.py [PART ...]
"""
import os
import platform
import sys

import h5py
import numpy
import torch
import torchvision

from reference import arrays, images, layers, losses, networks, optimizers, pictures

PARTS = {"arrays": arrays.write, "images": images.write, "layers": layers.write, "losses": losses.write,
         "networks": networks.write, "optimizers": optimizers.write, "pictures": pictures.write}
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "reference")


def made_by():
    return (f"torch {torch.__version__}, torchvision {torchvision.__version__}, numpy {numpy.__version__}, "
            f"h5py {h5py.__version__}, Python {platform.python_version()}")


def main():
    wanted = sys.argv[1:] or list(PARTS)
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        sys.exit(f"there is no part {unknown[0]}; there are: {', '.join(PARTS)}")
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    os.makedirs(FOLDER, exist_ok=True)
    for name in wanted:
        path = os.path.join(FOLDER, name + ".h5")
        # the format that HDF5 1.10 can read
        with h5py.File(path, "w", libver=("v108", "v110")) as file:
            file.attrs["made_by"] = made_by()
            n_cases = PARTS[name](file)
        print(f"{os.path.relpath(path)}: {n_cases} cases, {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    main()
