"""What torchvision.transforms.v2.functional makes of small images, and its RandAugment, MixUp and CutMix.

A case is `do` (which function of datasets/image.h), its numbers `args` in the order of that function, x and y. Bytes
stay bytes; floats are float32."""
import numpy
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from .common import generator

BILINEAR, NEAREST = v2.InterpolationMode.BILINEAR, v2.InterpolationMode.NEAREST


def picture(name, shape=(3, 13, 17), smooth=True):
    """Bytes with slopes, steps and noise; every image has its own."""
    rng = generator(name)
    c, h, w = shape
    y, x = numpy.mgrid[0:h, 0:w]
    image = numpy.stack([rng.uniform(40, 90) + 90 * numpy.sin(rng.uniform(0.1, 0.4) * x + rng.uniform(0.1, 0.4) * y + k)
                         + 60 * (x > w // 2) for k in range(c)])
    image += rng.uniform(-20, 20, image.shape) if smooth else rng.uniform(-120, 120, image.shape)
    return torch.tensor(numpy.clip(image, 0, 255).astype(numpy.uint8))


def real(name, shape):
    return torch.tensor(generator(name).standard_normal(shape).astype(numpy.float32))


def both(name, do, args, function, shape=(3, 13, 17), floats=True):
    """The same for bytes and for floats."""
    yield name, do, args, function, picture(name, shape)
    if floats:
        yield name + "_f32", do, args, function, real(name, shape)


def crop(top, left, height, width, padding, mode="constant"):
    def function(x):
        return F.crop(F.pad(x, [padding] * 4, padding_mode=mode), top + padding, left + padding, height, width)
    return function


def geometry():
    for mode, code in (("constant", 0), ("edge", 1), ("reflect", 2)):
        for k, (top, left, h, w) in enumerate(((-4, -3, 13, 17), (3, 2, 13, 17), (2, 5, 6, 9), (-4, 4, 21, 17))):
            for flips in (k, (k + code + 1) % 4):
                def function(x, cut=crop(top, left, h, w, 8, mode), flips=flips):
                    y = F.horizontal_flip(cut(x)) if flips & 1 else cut(x)
                    return F.vertical_flip(y) if flips & 2 else y
                yield from both(f"crop_{mode}_{top}_{left}_{h}_{flips}", "crop",
                                [top, left, h, w, code, flips & 1, flips >> 1], function,
                                floats=k == code and flips == k)
    for degrees in (17.0, -33.0, 121.0):
        for bilinear in (0, 1):
            yield from both(f"rotate_{degrees}_{bilinear}", "rotate", [degrees, bilinear],
                            lambda x, d=degrees, b=bilinear: F.rotate(x, d, BILINEAR if b else NEAREST),
                            floats=degrees == 17.0)
    for h, w, size in ((13, 17, (7, 9)), (13, 17, (6, 5)), (13, 17, (29, 31)), (13, 17, (13, 17)), (31, 30, (4, 40)),
                       (5, 4, (16, 16)), (40, 3, (1, 7))):
        yield from both(f"resize_{h}_{w}_{size[0]}", "resize", [0, 0, h, w, *size],
                        lambda x, s=size: F.resize(x, list(s), BILINEAR, antialias=True), (3, h, w),
                        floats=h == 13 and w != size[1])
    for top, left, h, w, size in ((2, 3, 9, 12, (5, 5)), (0, 0, 13, 5, (8, 8)), (12, 16, 1, 1, (4, 4))):
        yield from both(f"resized_crop_{top}_{left}", "resize", [top, left, h, w, *size],
                        lambda x, t=top, l=left, h=h, w=w, s=size:
                        F.resized_crop(x, t, l, h, w, list(s), BILINEAR, antialias=True), floats=top == 2)
    for top, left, h, w in ((2, 3, 4, 5), (0, 0, 13, 17)):
        yield from both(f"erase_{top}", "erase", [top, left, h, w, 7, 130, 255],
                        lambda x, t=top, l=left, h=h, w=w:
                        F.erase(x, t, l, h, w, torch.tensor([7, 130, 255], dtype=x.dtype)[:, None, None]),
                        floats=top == 2)


COLOURS = {
    "brightness": (F.adjust_brightness, (0.0, 0.4, 1.0, 1.7)),
    "contrast": (F.adjust_contrast, (0.0, 0.3517, 1.0, 1.913)),
    "saturation": (F.adjust_saturation, (0.0, 0.3517, 1.0, 2.317)),
    "hue": (F.adjust_hue, (-0.5, -0.13, 0.0, 0.21, 0.5)),
    "sharpness": (F.adjust_sharpness, (0.0, 0.3, 1.0, 2.5)),
    "posterize": (F.posterize, (0, 1, 4, 7, 8)),
    "solarize": (F.solarize, (0.0, 77.3, 200.0, 255.0)),
}


def colours():
    for do, (function, factors) in COLOURS.items():
        for channels in (1, 3):
            for factor in factors if channels == 3 else factors[1:2]:
                name = f"{do}_{channels}_{factor}"
                image = picture(name, (channels, 13, 17), False)
                yield name, do, [factor], lambda x, f=function, a=factor: f(x, a), image
    for channels in (1, 3):
        for h, w in ((13, 17), (40, 40)):  # equalize does nothing below 255 pixels
            for do, function in (("autocontrast", F.autocontrast), ("equalize", F.equalize)):
                name = f"{do}_{channels}_{h}"
                yield name, do, [], function, picture(name, (channels, h, w))
    yield "autocontrast_flat", "autocontrast", [], F.autocontrast, torch.full((3, 4, 5), 99, dtype=torch.uint8)
    yield "equalize_flat", "equalize", [], F.equalize, torch.full((3, 40, 40), 99, dtype=torch.uint8)


# As datasets/randaugment.c numbers them.
RANDOM = ["Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast",
          "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"]


def random_operation(kind, magnitude, minus, interpolation):
    """One operation of RandAugment, drawn by us."""
    def function(x):
        augment = v2.RandAugment(num_ops=1, magnitude=magnitude, interpolation=interpolation)
        levels, signed = augment._AUGMENTATION_SPACE[kind]
        levels = levels(31, *x.shape[-2:])
        value = 0.0 if levels is None else float(levels[magnitude])
        return augment._apply_image_or_video_transform(x, kind, -value if signed and minus else value, interpolation,
                                                       augment._fill)
    return function


def random_operations():
    for number, kind in enumerate(RANDOM):
        for magnitude, minus, bilinear in ((9, 0, 0), (14, 1, 0), (21, 1, 1))[:3 if kind == "Rotate" else 2]:
            yield (f"random_{number}_{magnitude}", "random", [number, magnitude, minus, bilinear],
                   random_operation(kind, magnitude, minus, BILINEAR if bilinear else NEAREST),
                   picture(f"random_{number}", (3, 19, 24)))


def mixes(file):
    """MixUp and CutMix of a batch of five; labels to three classes."""
    labels = torch.tensor([2, 0, 1, 1, 2])
    x = torch.stack([real(f"mix_{i}", (2, 6, 7)) for i in range(5)])
    params = {"labels": labels, "batch_size": 5}
    for name, transform, params in (
            ("mixup", v2.MixUp(num_classes=3), {**params, "lam": 0.3125}),
            ("cutmix", v2.CutMix(num_classes=3), {**params, "box": (2, 1, 5, 4), "lam_adjusted": 1 - 9 / 42})):
        group = file.create_group(name)
        group.attrs["do"] = name
        group.attrs["args"] = numpy.array([params.get("lam", 0)] + list(params.get("box", (0, 0, 0, 0))), float)
        group["x"], group["label"] = x.numpy(), labels.numpy().astype(numpy.int32)
        group["y"] = transform.transform(x, params).numpy()
        group["target"] = transform.transform(labels, params).numpy()


def spread(rows):
    """Means, then standard deviations."""
    rows = numpy.array(rows, dtype=float)
    return numpy.concatenate([rows.mean(0), rows.std(0)])


def distributions(file):
    """Means of 20000 draws of torchvision's transforms."""
    torch.manual_seed(1)
    image = torch.ones(1, 30, 40)
    for name, options in (("default", {}), ("narrow", {"scale": (0.5, 1.0), "ratio": (0.2, 0.4)})):
        draw = v2.RandomResizedCrop(8, **options)
        rows = [draw.make_params([image]) for _ in range(20000)]
        file.attrs["resized_crop_" + name] = spread([(r["top"], r["left"], r["height"], r["width"],
                                                      r["height"] * r["width"]) for r in rows])
    draw, rows = v2.RandomErasing(p=1.0), []
    for i in range(20000):
        part = draw.make_params([torch.ones(1, 16, 24)]) if torch.rand(()) < 0.7 else {"v": None}
        rows.append((0, 0, 0) if part["v"] is None else (1, part["h"] * part["w"], part["i"]))
    file.attrs["erase"] = spread(rows)
    draw = v2.CutMix(num_classes=2)
    file.attrs["cutmix_lambda"] = spread([[draw.make_params([torch.ones(1, 10, 6)])["lam_adjusted"]]
                                          for _ in range(20000)])


def evaluation(file):
    x = picture("evaluation", (3, 30, 20))
    group = file.create_group("evaluation")
    group.attrs["do"], group.attrs["args"] = "evaluation", numpy.array([11.0, 8, 8])
    group["x"] = x.numpy()
    group["y"] = F.center_crop(F.resize(x, [11], BILINEAR, antialias=True), [8, 8]).contiguous().numpy()


def write(file):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    n = 0
    for part in (geometry, colours, random_operations):
        for name, do, args, function, x in part():
            if x.dtype == torch.uint8 or part is geometry:
                group = file.create_group(name)
                group.attrs["do"] = do
                group.attrs["args"] = numpy.array(args or [0], dtype=float)
                group["x"], group["y"] = x.numpy(), function(x).contiguous().numpy()
                n += 1
    mixes(file)
    evaluation(file)
    distributions(file)
    torch.set_default_dtype(before)
    return n + 3
