/* Winograd convolution for training, stride 1, 3x3 and 5x5 filters, float32.
 *
 * An m x m tile of the output costs (m + r - 1)^2 multiplications per channel pair instead of m^2 r^2 (Lavin
 * & Gray 2016, "Fast algorithms for convolutional neural networks"). Two tile sizes, their points in
 * winograd_body.h:
 *
 * - tile 6: F(4x4, 3x3) with 4.0x and F(2x2, 5x5) with 2.8x fewer multiplications;
 * - tile 8: F(6x6, 3x3) with 5.1x and F(4x4, 5x5) with 6.3x fewer, less accurate.
 *
 * Activations are in oneDNN's nChw16c ([n][C/16][h][w][16]), weights and their gradient in ABcd16b16a
 * ([K/16][C/16][r][r][16 c][16 k]), or, where AVX2 is the best that there is, in nChw8c and ABcd8b8a, the
 * same with 8 for 16; all densely packed; pointers need only the alignment of a float. So a caller may
 * switch between oneDNN's kernels and these without a reorder. Needs AVX-512 or AVX2 with FMA (isa.h);
 * nt_winograd_supported is false on other machines.
 *
 * Nothing is allocated: the caller brings scratch. Results do not depend on the number of threads. A NaN
 * in an operand stays NaN; an infinity may become NaN, and either spreads over its tile. */
#ifndef NT_CORE_BACKENDS_CPU_WINOGRAD_H
#define NT_CORE_BACKENDS_CPU_WINOGRAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nt_winograd_shape {
    int64_t n, c, h, w;   /* x (n, c, h, w) */
    int64_t k;            /* filters; y (n, k, h + 2 pad_h - kernel + 1, w + 2 pad_w - kernel + 1) */
    int64_t kernel;       /* 3 or 5, square */
    int64_t pad_h, pad_w; /* less than kernel, the same at both ends */
    int tile;             /* 6 or 8 */
    bool blocks_of_8;     /* nChw8c and ABcd8b8a; c and k are still multiples of 16 */
} nt_winograd_shape;

typedef enum nt_winograd_pass {
    NT_WINOGRAD_FORWARD,
    NT_WINOGRAD_BACKWARD_DATA,
    NT_WINOGRAD_BACKWARD_WEIGHTS,
} nt_winograd_pass;

/* Whether the functions below can do this shape on this machine; they must not be called otherwise. */
bool nt_winograd_supported(const nt_winograd_shape *s);

/* Bytes of scratch that a pass with this number of threads needs; 64-byte alignment is best. */
size_t nt_winograd_scratch_bytes(const nt_winograd_shape *s, nt_winograd_pass pass, int threads);

/* y = x * w (+ bias (k), unless NULL), then max(y, 0) if `relu`; a NaN stays NaN. */
void nt_winograd_forward(const nt_winograd_shape *s, float *y, const float *x, const float *w,
                         const float *bias, bool relu, void *scratch, int threads);

/* dx = the gradient of x, from dy and w. */
void nt_winograd_backward_data(const nt_winograd_shape *s, float *dx, const float *dy, const float *w,
                               void *scratch, int threads);

/* dw = (or += if `accumulate`) the gradient of w; the same for dbias (k), unless NULL. */
void nt_winograd_backward_weights(const nt_winograd_shape *s, float *dw, float *dbias, const float *x,
                                  const float *dy, bool accumulate, void *scratch, int threads);

#endif
