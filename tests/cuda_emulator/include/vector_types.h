/* Vector types and dim3 of the emulated CUDA runtime: a test double, written from the public documentation.
 *
 * Alignments are those of the device, so a misaligned vector load is an error under UBSan and faults in
 * ordinary builds where the compiler uses aligned moves. */
#ifndef NT_EMU_VECTOR_TYPES_H
#define NT_EMU_VECTOR_TYPES_H

/* NT_EMU_VECTORS(scalar, prefix, alignments of 2 and 4 elements): the four types of one scalar. */
#define NT_EMU_VECTORS(scalar, name, align2, align4)                                                         \
    typedef struct name##1                                                                                   \
    {                                                                                                        \
        scalar x;                                                                                            \
    }                                                                                                        \
    name##1;                                                                                                 \
    typedef struct __attribute__((aligned(align2))) name##2                                                  \
    {                                                                                                        \
        scalar x, y;                                                                                         \
    }                                                                                                        \
    name##2;                                                                                                 \
    typedef struct name##3                                                                                   \
    {                                                                                                        \
        scalar x, y, z;                                                                                      \
    }                                                                                                        \
    name##3;                                                                                                 \
    typedef struct __attribute__((aligned(align4))) name##4                                                  \
    {                                                                                                        \
        scalar x, y, z, w;                                                                                   \
    }                                                                                                        \
    name##4;

NT_EMU_VECTORS(signed char, char, 2, 4)
NT_EMU_VECTORS(unsigned char, uchar, 2, 4)
NT_EMU_VECTORS(short, short, 4, 8)
NT_EMU_VECTORS(unsigned short, ushort, 4, 8)
NT_EMU_VECTORS(int, int, 8, 16)
NT_EMU_VECTORS(unsigned int, uint, 8, 16)
NT_EMU_VECTORS(long long, longlong, 16, 16)
NT_EMU_VECTORS(unsigned long long, ulonglong, 16, 16)
NT_EMU_VECTORS(float, float, 8, 16)
NT_EMU_VECTORS(double, double, 16, 16)
#undef NT_EMU_VECTORS

#ifdef __cplusplus
struct dim3 {
    unsigned int x, y, z;
    constexpr dim3(unsigned int x_ = 1, unsigned int y_ = 1, unsigned int z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z)
    {
    }
    constexpr operator uint3() const
    {
        return uint3{x, y, z};
    }
};
#else
typedef struct dim3 {
    unsigned int x, y, z;
} dim3;
#endif

#endif
