"""Random inputs, nntrain's random masks, and how a case is stored."""
import zlib

import numpy
import torch

# What masks are a function of, besides the position (core/rng.h, core/layers/dropout.h).
SEED, EPOCH, LAYER = 99, 4, 3
SAMPLES = [11, 5, 42, 7, 100, 3, 9, 1000]
STREAM_DROPOUT = 3


def generator(name):
    return numpy.random.default_rng(zlib.crc32(name.encode()))


def normal(rng, shape, spread=1.0):
    """Normal numbers, exact in float32, as a double tensor."""
    values = rng.standard_normal(shape) * spread
    return torch.tensor(values.astype(numpy.float32).astype(numpy.float64))


def philox(counter, key):
    """Philox4x32-10, Salmon et al. 2011, written from the paper."""
    words, keys, mask = list(counter), [key & 0xFFFFFFFF, key >> 32], 0xFFFFFFFF
    for _ in range(10):
        low, high = 0xD2511F53 * words[0], 0xCD9E8D57 * words[2]
        words = [(high >> 32) ^ words[1] ^ keys[0], high & mask, (low >> 32) ^ words[3] ^ keys[1], low & mask]
        keys = [(keys[0] + 0x9E3779B9) & mask, (keys[1] + 0xBB67AE85) & mask]
    return words


def philox_blocks(a, b, c, d, key):
    """(blocks, 4): the same for many counters at once; each coordinate a number or an array of uint64."""
    u64 = numpy.uint64
    mask = u64(0xFFFFFFFF)
    counter = [numpy.asarray(v, u64) for v in numpy.broadcast_arrays(a, b, c, d)]
    keys = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        low, high = u64(0xD2511F53) * counter[0], u64(0xCD9E8D57) * counter[2]
        counter = [(high >> u64(32)) ^ counter[1] ^ u64(keys[0]), high & mask,
                   (low >> u64(32)) ^ counter[3] ^ u64(keys[1]), low & mask]
        keys = [(keys[0] + 0x9E3779B9) & 0xFFFFFFFF, (keys[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return numpy.stack(counter, 1)


def keeps(n, n_elems, rate):
    """(n, n_elems): whether element e of sample row i survives dropout, as 0 or 1."""
    out = numpy.zeros((n, n_elems))
    for i in range(n):
        for e in range(n_elems):
            block = philox([e // 4, SAMPLES[i], EPOCH, STREAM_DROPOUT << 24 | LAYER], SEED)
            out[i, e] = (block[e % 4] >> 8) * 2.0**-24 >= rate
    return torch.tensor(out)


def store(group, name, tensor, exact=False):
    """Inputs are exact in float32 (or integers); results are stored in double."""
    values = tensor.detach().numpy() if torch.is_tensor(tensor) else numpy.asarray(tensor)
    if exact and values.dtype == numpy.float64:
        assert (values.astype(numpy.float32) == values).all(), name
        values = values.astype(numpy.float32)
    if values.dtype == numpy.int64:
        values = values.astype(numpy.int32)
    group.create_dataset(name, data=values)


def start_file(file):
    file.attrs["seed"], file.attrs["epoch"], file.attrs["layer"] = SEED, EPOCH, LAYER
    file.create_dataset("sample", data=numpy.array(SAMPLES, dtype=numpy.int32))
