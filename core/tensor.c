#include "core/tensor.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    size_t n_bytes;
    const char *name;
} dtypes[NT_N_DTYPES] = {
    [NT_F32] = {4, "float32"}, [NT_F64] = {8, "float64"}, [NT_U8] = {1, "uint8"},
    [NT_I32] = {4, "int32"},   [NT_I64] = {8, "int64"},   [NT_BF16] = {2, "bfloat16"},
};

size_t nt_dtype_bytes(nt_dtype dtype)
{
    return dtypes[dtype].n_bytes;
}

const char *nt_dtype_name(nt_dtype dtype)
{
    return dtypes[dtype].name;
}

nt_shape nt_shape_of(int n_dims, ...)
{
    nt_shape shape = {.n_dims = n_dims};
    va_list args;
    va_start(args, n_dims);
    for (int i = 0; i < n_dims; i++)
        shape.dim[i] = va_arg(args, int64_t);
    va_end(args);
    return shape;
}

nt_shape nt_shape_with_n(nt_shape shape, int64_t n)
{
    nt_shape out = {.n_dims = shape.n_dims + 1, .dim = {n}};
    for (int i = 0; i < shape.n_dims; i++)
        out.dim[i + 1] = shape.dim[i];
    return out;
}

bool nt_shape_equal(nt_shape a, nt_shape b)
{
    if (a.n_dims != b.n_dims) return false;
    for (int i = 0; i < a.n_dims; i++)
        if (a.dim[i] != b.dim[i]) return false;
    return true;
}

int64_t nt_shape_elems(nt_shape shape)
{
    int64_t n = 1;
    for (int i = 0; i < shape.n_dims; i++)
        n *= shape.dim[i];
    return n;
}

nt_status nt_shape_check(nt_shape shape, const char *what)
{
    const int64_t limit = (int64_t)1 << 40;
    int64_t n = 1;
    for (int i = 0; i < shape.n_dims; i++) {
        NT_CHECK(shape.dim[i] >= 1, NT_ERR_DATA, "%s: dimension %d is %lld, must be at least 1", what, i,
                 (long long)shape.dim[i]);
        NT_CHECK(shape.dim[i] <= limit / n, NT_ERR_DATA, "%s: more than 2^40 elements", what);
        n *= shape.dim[i];
    }
    return NT_OK;
}

const char *nt_shape_text(nt_shape shape, char text[NT_SHAPE_TEXT_BYTES])
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < shape.n_dims && used < NT_SHAPE_TEXT_BYTES; i++)
        used += (size_t)snprintf(text + used, NT_SHAPE_TEXT_BYTES - used, "%s%lld", i ? "x" : "",
                                 (long long)shape.dim[i]);
    return text;
}

nt_tensor nt_tensor_plain(nt_dtype dtype, nt_shape shape)
{
    return (nt_tensor){
        .dtype = dtype, .shape = shape, .n_bytes = (size_t)nt_shape_elems(shape) * nt_dtype_bytes(dtype)};
}
