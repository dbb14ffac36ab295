/* Vector loops: what the cpu backend does itself, once per instruction set.
 *
 * vec_body.h holds plain C loops; vec_base.c, vec_avx2.c and vec_avx512.c compile it for their instruction
 * set, and the best table that the machine can run is taken at start-up. So one binary runs on every x86-64,
 * and other processors get the base table. No loop depends on the width in its result: elementwise ones have
 * no contraction (-ffp-contract=off), sums have a fixed number of partial sums. y may be the same as x. */
#ifndef NT_CORE_BACKENDS_CPU_VEC_H
#define NT_CORE_BACKENDS_CPU_VEC_H

#include "core/optim.h"

#include <stdint.h>

typedef struct nt_vec_ops {
    const char *name;
    void (*add)(float *y, const float *a, const float *b, int64_t n);              /* y = a + b */
    void (*add_relu)(float *y, const float *a, const float *b, int64_t n);         /* y = max(a + b, 0) */
    void (*mul)(float *y, const float *a, const float *b, int64_t n);              /* y = a b */
    void (*scale)(float *y, const float *x, float factor, int64_t n);              /* y = factor x */
    void (*affine)(float *y, const float *x, float scale, float shift, int64_t n); /* y = x scale + shift */
    void (*affine_u8)(float *y, const uint8_t *x, float scale, float shift, int64_t n);
    void (*relu)(float *y, const float *x, int64_t n);
    void (*relu_backward)(float *dx, const float *dy, const float *y, int64_t n); /* y > 0 ? dy : 0 */
    void (*leaky)(float *y, const float *x, float slope, int64_t n);
    void (*leaky_backward)(float *dx, const float *dy, const float *x, float slope, int64_t n);
    void (*threshold)(float *y, const float *x, int64_t n); /* x >= 0 ? 1 : 0 */
    void (*logistic_backward)(float *dx, const float *dy, const float *y, float beta, int64_t n);
    double (*sum_squares)(const float *x, int64_t n);
    void (*sgd)(const nt_update *u, float *p, const float *g, float *velocity, int64_t n);
    void (*adam)(const nt_update *u, float *p, const float *g, float *m, float *v, int64_t n);
    void (*stat)(const nt_update *u, float *mean, const float *a, float *var, const float *b, int64_t n);
} nt_vec_ops;

extern const nt_vec_ops nt_vec_base;
#if defined(__x86_64__)
extern const nt_vec_ops nt_vec_avx2, nt_vec_avx512;
#endif

/* All tables that this machine can run, the best one first; NULL after the last. */
const nt_vec_ops *const *nt_vec_tables(void);

#endif
