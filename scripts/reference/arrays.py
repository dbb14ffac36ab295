"""Files that numpy.save writes, of every element type, order and version of the format.

A case is `file`, its bytes, and `values` in C order as doubles; attribute `shape`."""
import io

import numpy
from numpy.lib import format as npy


def arrays():
    count = numpy.arange(-7, 17)
    for code in ("|b1", "|u1", "|i1", "<u2", ">u2", "<i2", ">i2", "<i4", ">i4", "<u4", "<i8", ">i8", "<u8", "<f2", ">f2", "<f4",
                 ">f4", "<f8", ">f8"):
        kind = numpy.dtype(code).kind
        values = count / 8 if kind == "f" else count % 2 if kind == "b" else abs(count) if kind == "u" else count
        yield code[1:] + ("_big" if code[0] == ">" else ""), values.astype(code).reshape(4, 3, 2), (1, 0)
    values = numpy.linspace(-1e3, 1e-3, 120).astype("<f4")
    yield "version_2", values.reshape(5, 24), (2, 0)
    yield "version_3", values.reshape(5, 24), (3, 0)
    yield "fortran", numpy.asfortranarray(values.reshape(4, 5, 3, 2)), (1, 0)
    yield "fortran_rows", numpy.asfortranarray(values.reshape(120, 1)), (1, 0)
    yield "vector", values, (1, 0)
    yield "half", numpy.array([0, 6e-8, 6e-5, 65504, -2.5, 1 / 3], "<f2"), (1, 0)


def write(file):
    n = 0
    for name, values, version in arrays():
        stream = io.BytesIO()
        npy.write_array(stream, values, version=version)
        group = file.create_group(name)
        group.attrs["shape"] = numpy.array(values.shape, float)
        group["file"] = numpy.frombuffer(stream.getvalue(), numpy.uint8)
        group["values"] = numpy.ascontiguousarray(values).astype(float)
        n += 1
    return n
