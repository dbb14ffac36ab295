/* What the operations of the cuda backend share, and the flat operations of its table. Every op follows the
 * same pattern: create() sets flags and sizes, forward() and backward() put kernels into the compute stream
 * and return. Tensors are plain; activations are of type op->y.dtype or op->x[0].dtype, parameters and their
 * gradients float32. What may change from pass to pass is read from nt_cuda.pass and nt_cuda.sample, which
 * the op looks up at each call, as they move when a larger batch comes. */
#ifndef NT_CORE_BACKENDS_CUDA_OPS_H
#define NT_CORE_BACKENDS_CUDA_OPS_H

#include "core/backends/cuda/cuda.h"

/* Beginning of every create(): y and parameters are plain, nothing is kept. Fails if the op arrives with a
 * layout, or with an activation that nt_cuda_fuses never offered. */
NT_MUST nt_status nt_cuda_create_plain(nt_op *op);

/* create() of a loss: x[1] is the target and has to be of `wanted` type; backward reads x. */
NT_MUST nt_status nt_cuda_create_loss(nt_op *op, nt_dtype wanted);

/* Fails if a plane of x or y has 2^31 elements or more, which the window kernels cannot count. */
NT_MUST nt_status nt_cuda_check_planes(const nt_op *op, const nt_cuda_window *window);

/* destroy() of ops whose state is one block of host memory. */
void nt_cuda_free_state(nt_op *op);

/* param[index] in `type`: itself, or cast into `room`. */
NT_MUST nt_status nt_cuda_fetch_param(const nt_op *op, int index, nt_dtype type, void *room,
                                      const void **out);

/* Numbers of the options that kernels read, float32 in device memory; data NULL if there are none. */
typedef struct nt_cuda_constants {
    float *data;
    size_t n_bytes;
} nt_cuda_constants;

/* n values: `values`, or its only one again and again. */
NT_MUST nt_status nt_cuda_constants_create(const nt_op *op, nt_cuda_constants *out, const nt_floats *values,
                                           int64_t n);
void nt_cuda_constants_free(const nt_op *op, nt_cuda_constants *constants);

/* out = in, memory of a tensor like `t`, unless they are the same memory. */
NT_MUST nt_status nt_cuda_copy_tensor(const nt_op *op, void *out, const void *in, const nt_tensor *t);

/* (N, C, ...) as (N, C, S). */
nt_cuda_channels nt_cuda_channels_of(const nt_tensor *t);

/* Bytes of a part of scratch, so that the next part is aligned as the first. */
static inline size_t nt_cuda_round(size_t n_bytes)
{
    return (n_bytes + 255) / 256 * 256;
}

/* flat.c: slots of the backend's table. */
bool nt_cuda_fuses(const nt_backend *backend, const char *kind, const void *options,
                   const nt_activation_options *activation, bool training);
NT_MUST nt_status nt_cuda_flat_sum(nt_backend *backend, void *dst, const void *a, const void *b, int64_t n);
NT_MUST nt_status nt_cuda_flat_sum_squares(nt_backend *backend, double *total, const void *x, int64_t n);
NT_MUST nt_status nt_cuda_flat_sum_squares_of(nt_backend *backend, double *totals, const void *x,
                                              const nt_stretch *ranges, int n);
NT_MUST nt_status nt_cuda_flat_add_losses(nt_backend *backend, nt_report *report, const void *y, int64_t n);
NT_MUST nt_status nt_cuda_flat_judge(nt_backend *backend, nt_report *report, double *squares, int n,
                                     int n_others, double clip);
NT_MUST nt_status nt_cuda_flat_ratios(nt_backend *backend, double *pairs, const double *decay,
                                      const double *scale, double coefficient, int n);
NT_MUST nt_status nt_cuda_flat_update(nt_backend *backend, const nt_update *u, void *p, const void *g,
                                      void *s1, void *s2, int64_t n);
NT_MUST nt_status nt_cuda_flat_update_of(nt_backend *backend, const nt_update *u, void *p, const void *g,
                                         void *s1, void *s2, const nt_stretch *ranges, int n);

#endif
