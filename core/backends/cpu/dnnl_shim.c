/* See dnnl_shim.h. The first half is for both versions, then each version has its own half of a function. */
#include "core/backends/cpu/dnnl_shim.h"

#include <stdint.h>
#include <stdlib.h>

nt_status nt_dnnl_status(dnnl_status_t status, const char *file, int line, const char *func, const char *call)
{
    static const char *const words[] = {"success",     "out of memory", "invalid arguments", "unimplemented",
                                        "end of list", "runtime error", "not required"};
    unsigned index = (unsigned)status;
    const char *word = index < sizeof words / sizeof words[0] ? words[index] : "unknown status";
    nt_status own = status == dnnl_out_of_memory ? NT_ERR_UNAVAILABLE : NT_ERR_BUG;
    return nt_error_set(own, file, line, func, "oneDNN: %s (%d) from %s", word, (int)status, call);
}

#if DNNL_VERSION_MAJOR >= 3

dnnl_status_t nt_dnnl_md_create(nt_md *out, int n_dims, const dnnl_dims_t dims, dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t md = NULL;
    dnnl_status_t status = dnnl_memory_desc_create_with_tag(&md, n_dims, dims, dnnl_f32, tag);
    *out = md;
    return status;
}

dnnl_status_t nt_dnnl_md_clone(nt_md *out, nt_md md)
{
    dnnl_memory_desc_t copy = NULL;
    dnnl_status_t status = dnnl_memory_desc_clone(&copy, md);
    *out = copy;
    return status;
}

dnnl_status_t nt_dnnl_md_part(nt_md *out, nt_md md, const dnnl_dims_t dims, const dnnl_dims_t offset)
{
    dnnl_memory_desc_t part = NULL;
    dnnl_status_t status = dnnl_memory_desc_create_submemory(&part, md, dims, offset);
    *out = part;
    return status;
}

void nt_dnnl_md_destroy(nt_md md)
{
    if (md) (void)dnnl_memory_desc_destroy((dnnl_memory_desc_t)(uintptr_t)md);
}

int nt_dnnl_md_n_dims(nt_md md)
{
    int n_dims = 0;
    (void)dnnl_memory_desc_query(md, dnnl_query_ndims_s32, &n_dims);
    return n_dims;
}

const dnnl_dim_t *nt_dnnl_md_dims(nt_md md)
{
    dnnl_dims_t *dims = NULL;
    (void)dnnl_memory_desc_query(md, dnnl_query_dims, &dims);
    return dims ? *dims : NULL;
}

dnnl_status_t nt_dnnl_post_sum(dnnl_post_ops_t post_ops)
{
    return dnnl_post_ops_append_sum(post_ops, 1, 0, dnnl_data_type_undef);
}

dnnl_status_t nt_dnnl_conv_forward(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const nt_dnnl_conv *c,
                                   nt_const_attr attr)
{
    return dnnl_convolution_forward_primitive_desc_create(out, engine, c->prop, c->alg, c->src, c->weights,
                                                          c->bias, c->dst, c->strides, c->dilates,
                                                          c->pad_begin, c->pad_end, attr);
}

dnnl_status_t nt_dnnl_conv_backward_data(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                         const nt_dnnl_conv *c, nt_const_pd hint, nt_const_attr attr)
{
    return dnnl_convolution_backward_data_primitive_desc_create(out, engine, c->alg, c->src, c->weights,
                                                                c->dst, c->strides, c->dilates, c->pad_begin,
                                                                c->pad_end, hint, attr);
}

dnnl_status_t nt_dnnl_conv_backward_weights(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                            const nt_dnnl_conv *c, nt_const_pd hint, nt_const_attr attr)
{
    return dnnl_convolution_backward_weights_primitive_desc_create(out, engine, c->alg, c->src, c->weights,
                                                                   c->bias, c->dst, c->strides, c->dilates,
                                                                   c->pad_begin, c->pad_end, hint, attr);
}

dnnl_status_t nt_dnnl_linear_forward(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                     const nt_dnnl_linear *l, nt_const_attr attr)
{
    return dnnl_inner_product_forward_primitive_desc_create(out, engine, l->prop, l->src, l->weights, l->bias,
                                                            l->dst, attr);
}

dnnl_status_t nt_dnnl_linear_backward_data(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                           const nt_dnnl_linear *l, nt_const_pd hint, nt_const_attr attr)
{
    return dnnl_inner_product_backward_data_primitive_desc_create(out, engine, l->src, l->weights, l->dst,
                                                                  hint, attr);
}

dnnl_status_t nt_dnnl_linear_backward_weights(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                              const nt_dnnl_linear *l, nt_const_pd hint, nt_const_attr attr)
{
    return dnnl_inner_product_backward_weights_primitive_desc_create(out, engine, l->src, l->weights, l->bias,
                                                                     l->dst, hint, attr);
}

static const dnnl_dims_t no_dilation = {0};

dnnl_status_t nt_dnnl_pool_forward(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const nt_dnnl_pool *p,
                                   nt_const_attr attr)
{
    return dnnl_pooling_forward_primitive_desc_create(out, engine, p->prop, p->alg, p->src, p->dst,
                                                      p->strides, p->kernel, no_dilation, p->pad_begin,
                                                      p->pad_end, attr);
}

dnnl_status_t nt_dnnl_pool_backward(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const nt_dnnl_pool *p,
                                    nt_const_pd hint, nt_const_attr attr)
{
    return dnnl_pooling_backward_primitive_desc_create(out, engine, p->alg, p->src, p->dst, p->strides,
                                                       p->kernel, no_dilation, p->pad_begin, p->pad_end, hint,
                                                       attr);
}

dnnl_status_t nt_dnnl_norm_forward(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const nt_dnnl_norm *n,
                                   nt_const_attr attr)
{
    return dnnl_batch_normalization_forward_primitive_desc_create(out, engine, n->prop, n->data, n->data,
                                                                  n->eps, n->flags, attr);
}

dnnl_status_t nt_dnnl_norm_backward(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const nt_dnnl_norm *n,
                                    nt_const_pd hint, nt_const_attr attr)
{
    return dnnl_batch_normalization_backward_primitive_desc_create(
        out, engine, dnnl_backward, n->data, n->data, n->data, n->eps, n->flags, hint, attr);
}

dnnl_status_t nt_dnnl_eltwise_forward(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                      const nt_dnnl_eltwise *e, nt_const_attr attr)
{
    return dnnl_eltwise_forward_primitive_desc_create(out, engine, e->prop, e->alg, e->data, e->data,
                                                      e->alpha, e->beta, attr);
}

dnnl_status_t nt_dnnl_eltwise_backward(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                       const nt_dnnl_eltwise *e, nt_const_pd hint, nt_const_attr attr)
{
    return dnnl_eltwise_backward_primitive_desc_create(out, engine, e->alg, e->data, e->data, e->data,
                                                       e->alpha, e->beta, hint, attr);
}

dnnl_status_t nt_dnnl_concat(dnnl_primitive_desc_t *out, dnnl_engine_t engine, nt_md dst, int n, int axis,
                             const nt_md *parts, nt_const_attr attr)
{
    return dnnl_concat_primitive_desc_create(out, engine, dst, n, axis, parts, attr);
}

#else /* version 2 */

/* Takes `md` into memory of its own. */
static dnnl_status_t keep_md(nt_md *out, const dnnl_memory_desc_t *md, dnnl_status_t status)
{
    *out = NULL;
    if (status != dnnl_success) return status;
    dnnl_memory_desc_t *kept = malloc(sizeof *kept);
    if (!kept) return dnnl_out_of_memory;
    *kept = *md;
    *out = kept;
    return dnnl_success;
}

dnnl_status_t nt_dnnl_md_create(nt_md *out, int n_dims, const dnnl_dims_t dims, dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t md;
    return keep_md(out, &md, dnnl_memory_desc_init_by_tag(&md, n_dims, dims, dnnl_f32, tag));
}

dnnl_status_t nt_dnnl_md_clone(nt_md *out, nt_md md)
{
    return keep_md(out, md, dnnl_success);
}

dnnl_status_t nt_dnnl_md_part(nt_md *out, nt_md md, const dnnl_dims_t dims, const dnnl_dims_t offset)
{
    dnnl_memory_desc_t part;
    return keep_md(out, &part, dnnl_memory_desc_init_submemory(&part, md, dims, offset));
}

void nt_dnnl_md_destroy(nt_md md)
{
    free((void *)(uintptr_t)md);
}

int nt_dnnl_md_n_dims(nt_md md)
{
    return md->ndims;
}

const dnnl_dim_t *nt_dnnl_md_dims(nt_md md)
{
    return md->dims;
}

dnnl_status_t nt_dnnl_post_sum(dnnl_post_ops_t post_ops)
{
    return dnnl_post_ops_append_sum(post_ops, 1);
}

/* The second of version 2's two calls. */
static dnnl_status_t make_pd(dnnl_primitive_desc_t *out, dnnl_status_t described, const void *op_desc,
                             nt_const_attr attr, dnnl_engine_t engine, nt_const_pd hint)
{
    if (described != dnnl_success) return described;
    return dnnl_primitive_desc_create(out, op_desc, attr, engine, hint);
}

dnnl_status_t nt_dnnl_conv_forward(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const nt_dnnl_conv *c,
                                   nt_const_attr attr)
{
    dnnl_convolution_desc_t d;
    dnnl_status_t status =
        dnnl_dilated_convolution_forward_desc_init(&d, c->prop, c->alg, c->src, c->weights, c->bias, c->dst,
                                                   c->strides, c->dilates, c->pad_begin, c->pad_end);
    return make_pd(out, status, &d, attr, engine, NULL);
}

dnnl_status_t nt_dnnl_conv_backward_data(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                         const nt_dnnl_conv *c, nt_const_pd hint, nt_const_attr attr)
{
    dnnl_convolution_desc_t d;
    dnnl_status_t status = dnnl_dilated_convolution_backward_data_desc_init(
        &d, c->alg, c->src, c->weights, c->dst, c->strides, c->dilates, c->pad_begin, c->pad_end);
    return make_pd(out, status, &d, attr, engine, hint);
}

dnnl_status_t nt_dnnl_conv_backward_weights(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                            const nt_dnnl_conv *c, nt_const_pd hint, nt_const_attr attr)
{
    dnnl_convolution_desc_t d;
    dnnl_status_t status = dnnl_dilated_convolution_backward_weights_desc_init(
        &d, c->alg, c->src, c->weights, c->bias, c->dst, c->strides, c->dilates, c->pad_begin, c->pad_end);
    return make_pd(out, status, &d, attr, engine, hint);
}

dnnl_status_t nt_dnnl_linear_forward(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                     const nt_dnnl_linear *l, nt_const_attr attr)
{
    dnnl_inner_product_desc_t d;
    dnnl_status_t status =
        dnnl_inner_product_forward_desc_init(&d, l->prop, l->src, l->weights, l->bias, l->dst);
    return make_pd(out, status, &d, attr, engine, NULL);
}

dnnl_status_t nt_dnnl_linear_backward_data(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                           const nt_dnnl_linear *l, nt_const_pd hint, nt_const_attr attr)
{
    dnnl_inner_product_desc_t d;
    dnnl_status_t status = dnnl_inner_product_backward_data_desc_init(&d, l->src, l->weights, l->dst);
    return make_pd(out, status, &d, attr, engine, hint);
}

dnnl_status_t nt_dnnl_linear_backward_weights(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                              const nt_dnnl_linear *l, nt_const_pd hint, nt_const_attr attr)
{
    dnnl_inner_product_desc_t d;
    dnnl_status_t status =
        dnnl_inner_product_backward_weights_desc_init(&d, l->src, l->weights, l->bias, l->dst);
    return make_pd(out, status, &d, attr, engine, hint);
}

dnnl_status_t nt_dnnl_pool_forward(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const nt_dnnl_pool *p,
                                   nt_const_attr attr)
{
    dnnl_pooling_desc_t d;
    dnnl_status_t status = dnnl_pooling_forward_desc_init(&d, p->prop, p->alg, p->src, p->dst, p->strides,
                                                          p->kernel, p->pad_begin, p->pad_end);
    return make_pd(out, status, &d, attr, engine, NULL);
}

dnnl_status_t nt_dnnl_pool_backward(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const nt_dnnl_pool *p,
                                    nt_const_pd hint, nt_const_attr attr)
{
    dnnl_pooling_desc_t d;
    dnnl_status_t status = dnnl_pooling_backward_desc_init(&d, p->alg, p->src, p->dst, p->strides, p->kernel,
                                                           p->pad_begin, p->pad_end);
    return make_pd(out, status, &d, attr, engine, hint);
}

dnnl_status_t nt_dnnl_norm_forward(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const nt_dnnl_norm *n,
                                   nt_const_attr attr)
{
    dnnl_batch_normalization_desc_t d;
    dnnl_status_t status = dnnl_batch_normalization_forward_desc_init(&d, n->prop, n->data, n->eps, n->flags);
    return make_pd(out, status, &d, attr, engine, NULL);
}

dnnl_status_t nt_dnnl_norm_backward(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const nt_dnnl_norm *n,
                                    nt_const_pd hint, nt_const_attr attr)
{
    dnnl_batch_normalization_desc_t d;
    dnnl_status_t status =
        dnnl_batch_normalization_backward_desc_init(&d, dnnl_backward, n->data, n->data, n->eps, n->flags);
    return make_pd(out, status, &d, attr, engine, hint);
}

dnnl_status_t nt_dnnl_eltwise_forward(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                      const nt_dnnl_eltwise *e, nt_const_attr attr)
{
    dnnl_eltwise_desc_t d;
    dnnl_status_t status = dnnl_eltwise_forward_desc_init(&d, e->prop, e->alg, e->data, e->alpha, e->beta);
    return make_pd(out, status, &d, attr, engine, NULL);
}

dnnl_status_t nt_dnnl_eltwise_backward(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                       const nt_dnnl_eltwise *e, nt_const_pd hint, nt_const_attr attr)
{
    dnnl_eltwise_desc_t d;
    dnnl_status_t status = dnnl_eltwise_backward_desc_init(&d, e->alg, e->data, e->data, e->alpha, e->beta);
    return make_pd(out, status, &d, attr, engine, hint);
}

dnnl_status_t nt_dnnl_concat(dnnl_primitive_desc_t *out, dnnl_engine_t engine, nt_md dst, int n, int axis,
                             const nt_md *parts, nt_const_attr attr)
{
    dnnl_memory_desc_t *list = calloc((size_t)n, sizeof *list);
    if (!list) return dnnl_out_of_memory;
    for (int i = 0; i < n; i++)
        list[i] = *parts[i];
    dnnl_status_t status = dnnl_concat_primitive_desc_create(out, dst, n, axis, list, attr, engine);
    free(list);
    return status;
}

#endif
