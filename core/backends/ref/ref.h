/* The operations of the ref backend and what they share.
 *
 * To add one: a file with a table NT_REF(<kind>), a line in NT_REF_OPS, a test. Every op follows the same
 * pattern: create() sets flags and sizes, forward() writes y, backward() writes dx where need_dx says so and
 * adds to or assigns dparam. Tensors are plain row-major `real`, gradients like their tensors; sums are made
 * in double in a fixed order. */
#ifndef NT_CORE_BACKENDS_REF_REF_H
#define NT_CORE_BACKENDS_REF_REF_H

#include "core/backend.h"
#include "core/backends/ref/real.h"

/* Kinds of op, in the order of core/layer.c. */
#define NT_REF_OPS(X)                                                                                        \
    X(input)                                                                                                 \
    X(linear)                                                                                                \
    X(conv2d)                                                                                                \
    X(conv_transpose2d)                                                                                      \
    X(max_pool)                                                                                              \
    X(avg_pool)                                                                                              \
    X(avg_pool_padded)                                                                                       \
    X(adaptive_avg_pool)                                                                                     \
    X(global_avg_pool)                                                                                       \
    X(flatten)                                                                                               \
    X(reshape)                                                                                               \
    X(permute)                                                                                               \
    X(slice)                                                                                                 \
    X(dropout)                                                                                               \
    X(stochastic_depth)                                                                                      \
    X(batchnorm)                                                                                             \
    X(layer_norm)                                                                                            \
    X(group_norm)                                                                                            \
    X(local_response_norm)                                                                                   \
    X(add)                                                                                                   \
    X(multiply)                                                                                              \
    X(concat)                                                                                                \
    X(scale)                                                                                                 \
    X(activation)                                                                                            \
    X(prelu)                                                                                                 \
    X(softmax)                                                                                               \
    X(log_softmax)                                                                                           \
    X(embedding)                                                                                             \
    X(position_embedding)                                                                                    \
    X(class_token)                                                                                           \
    X(multihead_attention)                                                                                   \
    X(head)                                                                                                  \
    X(total_loss)                                                                                            \
    X(mse)                                                                                                   \
    X(l1)                                                                                                    \
    X(huber)                                                                                                 \
    X(smooth_l1)                                                                                             \
    X(bce)                                                                                                   \
    X(hinge)                                                                                                 \
    X(kl_divergence)                                                                                         \
    X(cross_entropy)                                                                                         \
    X(cross_entropy_full)

#define NT_REF_DECLARE(kind) extern const nt_op_impl NT_REF(kind);
NT_REF_OPS(NT_REF_DECLARE)

/* Beginning of every create(): y and parameters are plain, nothing is kept, nothing fused. Fails if the op
 * arrives with a layout or a fused activation, which this backend never offers. */
NT_MUST nt_status NT_REF(create_plain)(nt_op *op);

/* create() of a loss: x[1] is the target and has to be of `wanted` type; backward reads x. */
NT_MUST nt_status NT_REF(create_loss)(nt_op *op, nt_dtype wanted);

/* Copies unless both are the same memory. */
void NT_REF(copy)(void *dst, const void *src, size_t n_bytes);

/* dbias (K): sums of dy (N, K, positions) over samples and positions. */
void NT_REF(backward_bias)(real *dbias, const real *dy, int64_t n, int64_t k, int64_t positions,
                           const nt_pass *pass);

/* One element of a parameter's gradient. */
static inline void nt_ref_put(real *dparam, double value, const nt_pass *pass)
{
    *dparam = (real)(pass->accumulate ? (double)*dparam + value : value);
}

/* One step of an optimizer over a range: update.c. */
NT_MUST nt_status NT_REF(update)(nt_backend *backend, const nt_update *u, void *p, const void *g, void *s1,
                                 void *s2, int64_t n);

#endif
