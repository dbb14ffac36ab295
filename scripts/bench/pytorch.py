#!/usr/bin/env python3
"""Training throughput of PyTorch on CPU, to compare nntrain with.

One training step is: zero the gradients, forward, cross-entropy loss, backward, SGD with momentum 0.9, float32.
The data are synthetic and lie in memory, in the layout the model wants, before the clock starts.
Prints one JSON object on one line.

    bench_pytorch.py --model lenet5 --layout channels_last --mode compile
    bench_pytorch.py --model resnet18 --batch 32 --ddp              # starts 2 processes itself (gloo)
    torchrun --nproc-per-node 2 bench_pytorch.py --model mlp --ddp  # or is started by torchrun
"""
import argparse
import json
import os
import resource
import socket
import statistics
import sys
import time
from typing import Callable, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")   # before torch starts its thread pool
os.environ.setdefault("MKL_NUM_THREADS", "1")

import torch                                     # noqa: E402
import torch.distributed as dist                 # noqa: E402
from torch import nn                             # noqa: E402


def mlp():
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(),
                         nn.Linear(512, 512), nn.ReLU(),
                         nn.Linear(512, 10))


def lenet5():
    return nn.Sequential(nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(),
                         nn.Linear(3136, 512), nn.ReLU(),
                         nn.Linear(512, 10))


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.relu = nn.ReLU(inplace=True)
        self.down = None
        if stride != 1 or cin != cout:
            self.down = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.down is None else self.down(x)
        return self.relu(y)


def resnet18():
    layers = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    cin = 64
    for cout, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [BasicBlock(cin, cout, stride), BasicBlock(cout, cout, 1)]
        cin = cout
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)]
    return nn.Sequential(*layers)


def of_torchvision(name, **options):
    def make():
        from torchvision import models
        return getattr(models, name)(num_classes=10, **options)
    return make


def of_reference(name, *args):
    """Architectures of launcher/models that torchvision does not have."""
    def make():
        sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        from reference import modules
        return getattr(modules, name)(*args)
    return make


class Network(NamedTuple):
    make: Callable
    shape: tuple     # of a sample
    batch: int
    tokens: int = 0  # samples are so many tokens; each position foretells one


MODELS = {
    "mlp": Network(mlp, (784,), 64),
    "lenet5": Network(lenet5, (1, 28, 28), 64),
    "resnet18": Network(resnet18, (3, 32, 32), 32),
    "resnet20_cifar": Network(of_reference("CifarResNet"), (3, 32, 32), 64),
    "vit_tiny": Network(of_reference("vit_tiny"), (3, 32, 32), 64),
    "gpt2": Network(of_reference("GPT2"), (128,), 16, tokens=256),
    "mobilenet_v2": Network(of_torchvision("mobilenet_v2"), (3, 96, 96), 16),
    "efficientnet_b0": Network(of_torchvision("efficientnet_b0"), (3, 96, 96), 16),
    "inception3": Network(of_torchvision("inception_v3", aux_logits=False, init_weights=False), (3, 75, 75), 16),
    "googlenet": Network(of_torchvision("googlenet", aux_logits=False, init_weights=False), (3, 96, 96), 16),
    "densenet121": Network(of_torchvision("densenet121"), (3, 96, 96), 8),
    "squeezenet1_1": Network(of_torchvision("squeezenet1_1"), (3, 128, 128), 16),
    "alexnet": Network(of_torchvision("alexnet"), (3, 224, 224), 16),
    "resnet50": Network(of_torchvision("resnet50"), (3, 96, 96), 8),
    "resnext50_32x4d": Network(of_torchvision("resnext50_32x4d"), (3, 64, 64), 8),
    "vgg11": Network(of_torchvision("vgg11"), (3, 224, 224), 4),
}


def rss_mib():
    """Peak resident set of this process. VmHWM, as ru_maxrss also counts the parent's pages before exec."""
    try:
        with open("/proc/self/status", encoding="ascii") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(args, rank, world):
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    import_rss = rss_mib()
    layout = torch.channels_last if args.layout == "channels_last" else torch.contiguous_format
    network = MODELS[args.model]
    is_image = len(network.shape) == 3
    model = network.make()
    if is_image:
        model = model.to(memory_format=layout)
    if args.ddp:
        model = nn.parallel.DistributedDataParallel(model)
    step_model = torch.compile(model) if args.mode == "compile" else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9,
                                foreach={"auto": None, "foreach": True, "loop": False}.get(args.optimizer),
                                fused=True if args.optimizer == "fused" else None)
    loss_fn = nn.CrossEntropyLoss()

    nbatches = 4
    torch.manual_seed(100 + rank)
    xs = [torch.randn(args.batch, *network.shape) for _ in range(nbatches)]
    ys = [torch.randint(0, 10, (args.batch,)) for _ in range(nbatches)]
    if is_image:
        xs = [x.to(memory_format=layout) for x in xs]
    if network.tokens:
        xs = [torch.randint(0, network.tokens, x.shape) for x in xs]
        ys = [torch.randint(0, network.tokens, (x.numel(),)) for x in xs]

    times = []
    cpu = 0.0
    loss = None
    for i in range(args.warmup + args.steps):
        if args.ddp and i == args.warmup:
            dist.barrier()
        if i == args.warmup:
            cpu = time.process_time()
        t0 = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = loss_fn(step_model(xs[i % nbatches]).flatten(0, -2), ys[i % nbatches])
        loss.backward()
        optimizer.step()
        if i >= args.warmup:
            times.append(time.perf_counter() - t0)

    cpu = (time.process_time() - cpu) / args.steps
    step = statistics.median(times)
    if args.ddp:      # the slowest rank's median sets the pace
        t = torch.tensor([step])
        dist.all_reduce(t, op=dist.ReduceOp.MAX)
        step = t.item()
    peak = rss_mib()
    if rank == 0:
        print(json.dumps({
            "framework": "pytorch", "version": torch.__version__, "model": args.model, "batch": args.batch,
            "mode": args.mode, "layout": args.layout, "optimizer": args.optimizer, "procs": world,
            "threads": args.threads, "steps": args.steps,
            "samples_per_s": round(args.batch * world / step, 1), "ms_per_step": round(step * 1e3, 4),
            "cpu_ms": round(cpu * 1e3, 4), "ms_min": round(min(times) * 1e3, 4), "ms_mean": round(statistics.fmean(times) * 1e3, 4),
            "peak_rss_mib": round(peak, 1), "rss_after_import_mib": round(import_rss, 1),
            "loss": round(loss.item(), 4),
        }), flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run_rank(rank, world, args, port=None):
    if port is not None:      # we started this process; under torchrun all of this is set
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(world))
    cpus = sorted(os.sched_getaffinity(0))
    if world > 1 and args.threads == 1 and len(cpus) >= world:
        os.sched_setaffinity(0, {cpus[rank % len(cpus)]})
    dist.init_process_group("gloo", rank=rank, world_size=world)
    try:
        measure(args, rank, world)
    finally:
        dist.destroy_process_group()


def main():
    p = argparse.ArgumentParser(description="Training throughput of PyTorch on CPU; prints one JSON line.")
    p.add_argument("--model", choices=sorted(MODELS), required=True)
    p.add_argument("--batch", type=int, help="samples per process and step (default: the network's own)")
    p.add_argument("--steps", type=int, default=100)
    p.add_argument("--warmup", type=int, default=10)
    p.add_argument("--threads", type=int, default=1, help="threads per process (default 1)")
    p.add_argument("--mode", choices=("eager", "compile"), default="eager")
    p.add_argument("--layout", choices=("nchw", "channels_last"), default="nchw")
    p.add_argument("--optimizer", choices=("auto", "foreach", "loop", "fused"), default="auto",
                   help="implementation of SGD (default: what PyTorch picks)")
    p.add_argument("--ddp", action="store_true", help="DistributedDataParallel over gloo")
    p.add_argument("--procs", type=int, default=2, help="processes started by --ddp outside torchrun")
    args = p.parse_args()
    if args.batch is None:
        args.batch = MODELS[args.model].batch
    if min(args.batch, args.steps, args.threads, args.procs) < 1 or args.warmup < 0:
        p.error("--batch, --steps, --threads and --procs must be positive, --warmup not negative")

    if not args.ddp:
        measure(args, 0, 1)
    elif "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        run_rank(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), args)
    else:
        torch.multiprocessing.spawn(run_rank, (args.procs, args, free_port()), nprocs=args.procs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
