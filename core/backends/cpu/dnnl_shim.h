/* The one place where oneDNN's C API 2 and 3 differ.
 *
 * Version 2 hands memory descriptors around by value and makes a primitive descriptor in two calls (operation
 * descriptor, then primitive descriptor); version 3 made descriptors opaque and creation one call with all
 * arguments. The functions here have the shape of version 3, with the long argument lists as structs; the
 * rest of the backend knows only them. Everything that is the same in both versions is called directly.
 *
 * Functions that make primitive descriptors return oneDNN's own status, because "unimplemented" is an answer
 * there and not an error; NT_DNNL turns a status into ours where it is one. */
#ifndef NT_CORE_BACKENDS_CPU_DNNL_SHIM_H
#define NT_CORE_BACKENDS_CPU_DNNL_SHIM_H

#include "core/status.h"

#include <oneapi/dnnl/dnnl.h>

/* A memory descriptor that somebody else owns (a primitive descriptor, or nt_dnnl_md_*'s caller). */
#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t nt_md;
#else
typedef const dnnl_memory_desc_t *nt_md;
#endif

nt_status nt_dnnl_status(dnnl_status_t status, const char *file, int line, const char *func,
                         const char *call);

/* Calls oneDNN; an answer that is not success is our error (memory: NT_ERR_UNAVAILABLE, else NT_ERR_BUG). */
#define NT_DNNL(call)                                                                                        \
    do {                                                                                                     \
        dnnl_status_t dnnl_s_ = (call);                                                                      \
        if (dnnl_s_ != dnnl_success) return nt_dnnl_status(dnnl_s_, __FILE__, __LINE__, __func__, #call);    \
    } while (0)

/* Descriptors of f32 memory, to be freed with nt_dnnl_md_destroy. tag dnnl_format_tag_any: free choice. */
dnnl_status_t nt_dnnl_md_create(nt_md *out, int n_dims, const dnnl_dims_t dims, dnnl_format_tag_t tag);
dnnl_status_t nt_dnnl_md_clone(nt_md *out, nt_md md);
/* The part of md that starts at `offset`; unimplemented where blocks would be cut. */
dnnl_status_t nt_dnnl_md_part(nt_md *out, nt_md md, const dnnl_dims_t dims, const dnnl_dims_t offset);
void nt_dnnl_md_destroy(nt_md md);
int nt_dnnl_md_n_dims(nt_md md);
const dnnl_dim_t *nt_dnnl_md_dims(nt_md md);

/* Appends "dst +=" to post_ops. */
dnnl_status_t nt_dnnl_post_sum(dnnl_post_ops_t post_ops);

/* For each primitive one struct for forward and backward: in backward the descriptors of outputs stand for
 * those of their gradients. hint is the forward primitive descriptor, NULL in forward. A bias of NULL is no
 * bias. */
typedef struct nt_dnnl_conv {
    dnnl_prop_kind_t prop; /* of forward */
    dnnl_alg_kind_t alg;
    nt_md src, weights, bias, dst;
    dnnl_dims_t strides, dilates, pad_begin, pad_end; /* dilates: 0 is none */
} nt_dnnl_conv;

typedef struct nt_dnnl_linear {
    dnnl_prop_kind_t prop;
    nt_md src, weights, bias, dst;
} nt_dnnl_linear;

typedef struct nt_dnnl_pool {
    dnnl_prop_kind_t prop;
    dnnl_alg_kind_t alg;
    nt_md src, dst;
    dnnl_dims_t kernel, strides, pad_begin, pad_end;
} nt_dnnl_pool;

typedef struct nt_dnnl_norm {
    dnnl_prop_kind_t prop;
    nt_md data; /* of src, dst and their gradients */
    float eps;
    unsigned flags;
} nt_dnnl_norm;

typedef struct nt_dnnl_eltwise {
    dnnl_prop_kind_t prop;
    dnnl_alg_kind_t alg;
    nt_md data; /* of src, dst and their gradients */
    float alpha, beta;
} nt_dnnl_eltwise;

typedef const_dnnl_primitive_desc_t nt_const_pd;
typedef const_dnnl_primitive_attr_t nt_const_attr;

dnnl_status_t nt_dnnl_conv_forward(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const nt_dnnl_conv *c,
                                   nt_const_attr attr);
dnnl_status_t nt_dnnl_conv_backward_data(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                         const nt_dnnl_conv *c, nt_const_pd hint, nt_const_attr attr);
dnnl_status_t nt_dnnl_conv_backward_weights(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                            const nt_dnnl_conv *c, nt_const_pd hint, nt_const_attr attr);
dnnl_status_t nt_dnnl_linear_forward(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                     const nt_dnnl_linear *l, nt_const_attr attr);
dnnl_status_t nt_dnnl_linear_backward_data(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                           const nt_dnnl_linear *l, nt_const_pd hint, nt_const_attr attr);
dnnl_status_t nt_dnnl_linear_backward_weights(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                              const nt_dnnl_linear *l, nt_const_pd hint, nt_const_attr attr);
dnnl_status_t nt_dnnl_pool_forward(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const nt_dnnl_pool *p,
                                   nt_const_attr attr);
dnnl_status_t nt_dnnl_pool_backward(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const nt_dnnl_pool *p,
                                    nt_const_pd hint, nt_const_attr attr);
dnnl_status_t nt_dnnl_norm_forward(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const nt_dnnl_norm *n,
                                   nt_const_attr attr);
dnnl_status_t nt_dnnl_norm_backward(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const nt_dnnl_norm *n,
                                    nt_const_pd hint, nt_const_attr attr);
dnnl_status_t nt_dnnl_eltwise_forward(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                      const nt_dnnl_eltwise *e, nt_const_attr attr);
dnnl_status_t nt_dnnl_eltwise_backward(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                       const nt_dnnl_eltwise *e, nt_const_pd hint, nt_const_attr attr);
/* dst: where the n parts go, one after the other along axis. */
dnnl_status_t nt_dnnl_concat(dnnl_primitive_desc_t *out, dnnl_engine_t engine, nt_md dst, int n, int axis,
                             const nt_md *parts, nt_const_attr attr);

#endif
