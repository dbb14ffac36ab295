/* The emulated NCCL's arithmetic: element by element, in the order of ranks, so that all ranks and all runs
 * agree.
 *
 * bfloat16 is rounded after every addition, as in a ring over the devices: the least exact of the original's
 * ways, so that what holds here holds there. The mean of floats is the sum of x / n, that of integers the sum
 * divided by n, as documented. */
#include "tests/cuda_emulator/gemm.h"
#include "tests/cuda_emulator/nccl_parts.h"

#include <string.h>

size_t nccl_type_bytes(ncclDataType_t type)
{
    switch (type) {
    case ncclInt8:
    case ncclUint8:
        return 1;
    case ncclBfloat16:
        return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
        return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
        return 8;
    default:
        return 0;
    }
}

#define LOOP(expression)                                                                                     \
    for (size_t i = 0; i < n; i++)                                                                           \
    out[i] = (expression)

/* Integers: sums and products wrap, so they are taken in an unsigned type. */
#define DEFINE_INTEGER(name, type, wide)                                                                     \
    static void name##_next(type *out, const type *in, size_t n, int op)                                     \
    {                                                                                                        \
        if (op == ncclProd)                                                                                  \
            LOOP((type)((wide)out[i] * (wide)in[i]));                                                        \
        else if (op == ncclMax)                                                                              \
            LOOP(out[i] > in[i] ? out[i] : in[i]);                                                           \
        else if (op == ncclMin)                                                                              \
            LOOP(out[i] < in[i] ? out[i] : in[i]);                                                           \
        else                                                                                                 \
            LOOP((type)((wide)out[i] + (wide)in[i]));                                                        \
    }                                                                                                        \
    static void name##_divide(type *out, size_t n, int size)                                                 \
    {                                                                                                        \
        LOOP((type)(out[i] / (type)size));                                                                   \
    }
DEFINE_INTEGER(int8, int8_t, uint32_t)
DEFINE_INTEGER(uint8, uint8_t, uint32_t)
DEFINE_INTEGER(int32, int32_t, uint32_t)
DEFINE_INTEGER(uint32, uint32_t, uint32_t)
DEFINE_INTEGER(int64, int64_t, uint64_t)
DEFINE_INTEGER(uint64, uint64_t, uint64_t)

/* Floats: `value` of an element, `kept` of a result; real is the type of the arithmetic. */
#define DEFINE_FLOAT(name, type, real, value, kept)                                                          \
    static void name##_first(type *out, const type *in, size_t n, int op, int size)                          \
    {                                                                                                        \
        const real share = 1 / (real)size;                                                                   \
        if (op == ncclAvg)                                                                                   \
            LOOP(kept(value(in[i]) * share));                                                                \
        else if (out != in)                                                                                  \
            memcpy(out, in, n * sizeof *out);                                                                \
    }                                                                                                        \
    static void name##_next(type *out, const type *in, size_t n, int op, int size)                           \
    {                                                                                                        \
        const real share = 1 / (real)size;                                                                   \
        if (op == ncclAvg)                                                                                   \
            LOOP(kept(value(out[i]) + value(kept(value(in[i]) * share))));                                   \
        else if (op == ncclProd)                                                                             \
            LOOP(kept(value(out[i]) * value(in[i])));                                                        \
        else if (op == ncclMax)                                                                              \
            LOOP(value(out[i]) > value(in[i]) ? out[i] : in[i]);                                             \
        else if (op == ncclMin)                                                                              \
            LOOP(value(out[i]) < value(in[i]) ? out[i] : in[i]);                                             \
        else                                                                                                 \
            LOOP(kept(value(out[i]) + value(in[i])));                                                        \
    }
#define AS_IT_IS(x) (x)
DEFINE_FLOAT(float32, float, float, AS_IT_IS, AS_IT_IS)
DEFINE_FLOAT(float64, double, double, AS_IT_IS, AS_IT_IS)
DEFINE_FLOAT(bf16, uint16_t, float, emu_bf16_value, emu_bf16_of)

void nccl_reduce_first(void *out, const void *in, size_t n, int type, int op, int size)
{
    switch (type) {
    case ncclFloat32:
        float32_first(out, in, n, op, size);
        break;
    case ncclFloat64:
        float64_first(out, in, n, op, size);
        break;
    case ncclBfloat16:
        bf16_first(out, in, n, op, size);
        break;
    default:
        if (out != in) memcpy(out, in, n * nccl_type_bytes((ncclDataType_t)type));
    }
}

void nccl_reduce_next(void *out, const void *in, size_t n, int type, int op, int size)
{
    switch (type) {
    case ncclInt8:
        int8_next(out, in, n, op);
        break;
    case ncclUint8:
        uint8_next(out, in, n, op);
        break;
    case ncclInt32:
        int32_next(out, in, n, op);
        break;
    case ncclUint32:
        uint32_next(out, in, n, op);
        break;
    case ncclInt64:
        int64_next(out, in, n, op);
        break;
    case ncclUint64:
        uint64_next(out, in, n, op);
        break;
    case ncclFloat32:
        float32_next(out, in, n, op, size);
        break;
    case ncclFloat64:
        float64_next(out, in, n, op, size);
        break;
    default:
        bf16_next(out, in, n, op, size);
    }
}

void nccl_reduce_last(void *out, size_t n, int type, int op, int size)
{
    if (op != ncclAvg) return;
    switch (type) {
    case ncclInt8:
        int8_divide(out, n, size);
        break;
    case ncclUint8:
        uint8_divide(out, n, size);
        break;
    case ncclInt32:
        int32_divide(out, n, size);
        break;
    case ncclUint32:
        uint32_divide(out, n, size);
        break;
    case ncclInt64:
        int64_divide(out, n, size);
        break;
    case ncclUint64:
        uint64_divide(out, n, size);
        break;
    default:
        break; /* floats: done with each addend */
    }
}
