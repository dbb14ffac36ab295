#!/usr/bin/env python3
"""nntrain against PyTorch on the same cores: one thread a rank, at 1 and 2 ranks, alternating, medians.

First every variant of PyTorch (NCHW and channels_last, eager and compiled) runs once, briefly, and the fastest is kept as the
opponent. Then nntrain and that variant take turns, `--rounds` times; a row of the table is the median of each side, and the ratio is the
median of the ratios of neighbouring runs, because a shared machine changes its speed from minute to minute. Started by scripts/bench.sh.
"""
import argparse
import concurrent.futures
import csv
import json
import os
import statistics
import subprocess
import sys
from typing import NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TEXT = os.path.join(ROOT, "build", "bench-text.h5")  # tokens for the language model: README.md, byte by byte
VARIANTS = [(mode, layout) for mode in ("eager", "compile") for layout in ("nchw", "channels_last")]


class Model(NamedTuple):
    batch: int        # a rank
    steps: int        # timed
    warmup: int
    short: int        # PyTorch's timed steps when choosing the variant
    bar: float = 1    # how much faster nntrain must be
    config: str = ""  # in scripts/bench; default: that of its name
    set: tuple = ()   # further settings


def network(file, size, batch, steps):
    """A network of launcher/models on coloured pictures of size x size."""
    return Model(batch, steps, 2, 2, config="network",
                 set=(f"model.file=launcher/models/{file}.ini", f"data.synthetic_shape=3,{size},{size}"))


MODELS = {
    "mlp": Model(64, 400, 50, 100, bar=2.0),
    "lenet5": Model(64, 60, 10, 15, bar=1.8),
    "resnet18": Model(32, 8, 2, 3, bar=1.5),
    # On request: --models vit_tiny,gpt2. Sizes as in scripts/bench/pytorch.py.
    "resnet20_cifar": network("resnet20_cifar", 32, 64, 8),
    "vit_tiny": network("vit_tiny", 32, 64, 10),
    "gpt2": Model(16, 8, 2, 2),
    "mobilenet_v2": network("mobilenet_v2", 96, 16, 8),
    "efficientnet_b0": network("efficientnet_b0", 96, 16, 6),
    "inception3": network("inception3", 75, 16, 4),
    "googlenet": network("googlenet", 96, 16, 8),
    "densenet121": network("densenet121", 96, 8, 6),
    "squeezenet1_1": network("squeezenet1_1", 128, 16, 8),
    "alexnet": network("alexnet", 224, 16, 4),
    "resnet50": network("resnet50", 96, 8, 6),
    "resnext50_32x4d": network("resnext50_32x4d", 64, 8, 6),
    "vgg11": network("vgg11", 224, 4, 3),
}
DEFAULT = "mlp,lenet5,resnet18"


class Failed(Exception):
    """A benchmark ended with an error; the text names the command and its last words."""


def last_json(command, env=None):
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        raise Failed(f"failed ({done.returncode}): {' '.join(command)}\n{done.stderr[-2000:]}")
    return json.loads(lines[-1])


def run_pytorch(model, ranks, variant, steps, warmup):
    mode, layout = variant
    command = [sys.executable, os.path.join(HERE, "pytorch.py"), "--model", model, "--mode", mode, "--layout", layout,
               "--steps", str(steps), "--warmup", str(warmup), "--batch", str(MODELS[model].batch)]
    if ranks > 1:
        command += ["--ddp", "--procs", str(ranks)]
    return last_json(command)


def bench_command(binary, model, ranks, steps, warmup):
    m = MODELS[model]
    return [binary, "bench", f"scripts/bench/{m.config or model}.ini", "--json", f"--steps={steps}", f"--warmup={warmup}",
            f"data.batch={m.batch * ranks}", "run.threads=1", *m.set]


def make_text(binary):
    if not os.path.exists(TEXT):
        subprocess.run([binary, "import", "text", os.path.join(ROOT, "README.md"), TEXT], check=True, capture_output=True)


def run_nntrain(binary, model, ranks, steps, warmup):
    command = ["mpirun", "-np", str(ranks)] if ranks > 1 else []
    command += bench_command(binary, model, ranks, steps, warmup)
    return last_json(command, dict(os.environ, OMP_NUM_THREADS="1"))


def best_variant(model, ranks):
    """The fastest of those that run: torch.compile, for one, wants a C++ compiler."""
    variants = [v for v in VARIANTS if model not in ("mlp", "gpt2") or v[1] == "nchw"]
    steps = MODELS[model].short
    speed = {}
    for v in variants:
        try:
            speed[v] = run_pytorch(model, ranks, v, steps, 3)["samples_per_s"]
            print(f"  pytorch {v[0]} {v[1]}: {speed[v]:.0f} samples/s", file=sys.stderr)
        except Failed as error:
            print(f"  pytorch {v[0]} {v[1]} is left out: it {error}", file=sys.stderr)
    if not speed:
        raise Failed(f"no variant of PyTorch runs {model} at {ranks} rank(s)")
    return max(speed, key=speed.get)


def compare(binary, model, ranks, rounds):
    steps, warmup = MODELS[model].steps, MODELS[model].warmup
    print(f"{model}, {ranks} rank(s)", file=sys.stderr)
    variant = best_variant(model, ranks)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(run_nntrain(binary, model, ranks, steps, warmup))
        theirs.append(run_pytorch(model, ranks, variant, steps, warmup))
        print(f"  {ours[-1]['samples_per_s']:.0f} against {theirs[-1]['samples_per_s']:.0f}", file=sys.stderr)
    median = lambda runs, key: statistics.median(run[key] for run in runs)
    return {
        "model": model, "ranks": ranks,
        "nntrain_samples_per_s": round(median(ours, "samples_per_s")),
        "pytorch_samples_per_s": round(median(theirs, "samples_per_s")),
        "ratio": round(statistics.median(a["samples_per_s"] / b["samples_per_s"] for a, b in zip(ours, theirs)), 2),
        "bar": MODELS[model].bar,
        "nntrain_rss_mib": round(median(ours, "peak_rss_mib")),
        "pytorch_rss_mib": round(median(theirs, "peak_rss_mib")),
        "nntrain_start_s": round(median(ours, "startup_s"), 3),
        "pytorch_variant": f"{theirs[0]['version']} {variant[0]} {variant[1]}",
    }


def run_pair(binary, model, steps, warmup):
    """Samples/s of two processes of one rank together, each on a core of its own, started at the same time."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise Failed("failed: a pair needs two cores")
    command = bench_command(binary, model, 1, steps, warmup)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(last_json, ["taskset", "-c", str(core)] + command, dict(os.environ, OMP_NUM_THREADS="1"))
                for core in cores]
        return sum(run.result()["samples_per_s"] for run in runs)


def efficiency(binary, model, rounds):
    """Medians of samples/s at 2 ranks over twice one process alone, and over two processes that know nothing of each other:
    what the machine allows when both cores are busy. The three take turns; ratios are of neighbouring runs."""
    steps, warmup = MODELS[model].steps, MODELS[model].warmup
    alone, pair = [], []
    for _ in range(rounds):
        one = run_nntrain(binary, model, 1, steps, warmup)["samples_per_s"]
        both = run_pair(binary, model, steps, warmup)
        two = run_nntrain(binary, model, 2, steps, warmup)["samples_per_s"]
        print(f"  {model}: alone {one:.0f}, pair {both:.0f}, 2 ranks {two:.0f} samples/s", file=sys.stderr)
        alone.append(two / (2 * one))
        pair.append(two / both)
    return statistics.median(alone), statistics.median(pair)


def efficiency_note(binary, model, rounds):
    alone, pair = efficiency(binary, model, rounds)
    return (f"Efficiency from 1 to 2 ranks, {model}: {100 * alone:.1f} % of twice one process alone, {100 * pair:.1f} % of two "
            "independent processes at the same time.")


def write_tables(rows, notes, out):
    keys = list(rows[0])
    with open(out + ".csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, keys)
        writer.writeheader()
        writer.writerows(rows)
    lines = ["| " + " | ".join(keys) + " |", "|" + "---|" * len(keys)]
    lines += ["| " + " | ".join(str(row[key]) for key in keys) + " |" for row in rows]
    text = "\n".join(lines + [""] + notes) + "\n"
    with open(out + ".md", "w", encoding="utf-8") as file:
        file.write(text)
    print(text)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", required=True)
    p.add_argument("--models", default=DEFAULT, help=f"of {', '.join(MODELS)}; default {DEFAULT}")
    p.add_argument("--ranks", default="1,2")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--out", required=True, help="writes OUT.md and OUT.csv")
    args = p.parse_args()
    models = args.models.split(",")
    unknown = [m for m in models if m not in MODELS]
    if unknown:
        p.error(f"there is no model {', '.join(unknown)}; there are {', '.join(MODELS)}")
    if "gpt2" in models:
        make_text(args.binary)
    rows = [compare(args.binary, m, int(r), args.rounds) for m in models for r in args.ranks.split(",")]
    notes = []
    if "2" in args.ranks.split(","):
        notes = [efficiency_note(args.binary, m, args.rounds) for m in models]
    write_tables(rows, notes, args.out)


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        sys.exit(str(error))
