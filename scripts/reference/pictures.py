"""JPEG and PNG files of every kind, and what Pillow makes of them: turned upright, as RGB, as grey.

A case is `file`, the bytes of the file, `rgb` (H, W, 3) and `grey` (H, W). `resized` (new H, new W, 3) is Pillow's
BILINEAR, which rounds after each axis. 16 bits of grey are scaled to 8, where Pillow's own conversion to RGB cuts."""
import io

import numpy
from PIL import Image, ImageOps

SIZE = (24, 40)  # height, width


def slopes(height, width):
    y, x = numpy.mgrid[0:height, 0:width]
    edge = 60 * (x + y > (height + width) // 2)
    return numpy.stack([x * 190 // width + edge, y * 190 // height + edge, 255 - (x + y) * 190 // (height + width)],
                       -1).astype(numpy.uint8)


def files():
    pixels = slopes(*SIZE)
    image, grey = Image.fromarray(pixels), Image.fromarray(pixels[..., 0])
    yield "jpeg", image, "JPEG", {"quality": 90}
    yield "jpeg_progressive", image, "JPEG", {"quality": 75, "progressive": True, "subsampling": 2}
    yield "jpeg_grey", grey, "JPEG", {}
    yield "jpeg_cmyk", image.convert("CMYK"), "JPEG", {}
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"jpeg_exif_{orientation}", image, "JPEG", {"quality": 95, "exif": exif}
    yield "png", image, "PNG", {}
    yield "png_palette", image.quantize(11), "PNG", {}
    yield "png_palette_transparent", image.quantize(11), "PNG", {"transparency": 3}
    yield "png_alpha", Image.fromarray(numpy.dstack([pixels, 255 - pixels[..., :1]])), "PNG", {}
    yield "png_grey", grey, "PNG", {}
    yield "png_grey_alpha", Image.fromarray(numpy.dstack([pixels[..., 0], 255 - pixels[..., 0]])), "PNG", {}
    yield "png_bits", grey.point(lambda v: 255 * (v > 100), "1"), "PNG", {}
    yield "png_16", Image.fromarray(pixels[..., 0].astype(numpy.uint16) * 257), "PNG", {}


def write(file):
    n = 0
    for name, image, kind, options in files():
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        read = ImageOps.exif_transpose(Image.open(io.BytesIO(stream.getvalue())))
        if read.mode.startswith("I"):
            read = Image.fromarray((numpy.array(read) / 257).round().astype(numpy.uint8))
        rgb = read.convert("RGB")
        group = file.create_group(name)
        group["file"] = numpy.frombuffer(stream.getvalue(), numpy.uint8)
        group["rgb"], group["grey"] = numpy.array(rgb), numpy.array(rgb.convert("L"))
        if name in ("jpeg", "png_palette"):
            group["resized"] = numpy.array(rgb.resize((17, 15), Image.BILINEAR))
        n += 1
    return n
