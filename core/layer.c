/* The list of layer types and losses: one line each.
 *
 * A line X(name) stands for the table `nt_layer_<name>` (or `nt_loss_<name>`) of a file in core/layers. */
#include "core/layer.h"

#include <string.h>

#define LAYERS(X)                                                                                            \
    X(linear)                                                                                                \
    X(conv2d)                                                                                                \
    X(conv_transpose2d)                                                                                      \
    X(max_pool)                                                                                              \
    X(avg_pool)                                                                                              \
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
    X(total_loss) /* and the last: nt_layer_types leaves them out */                                         \
    X(input)

#define LOSSES(X)                                                                                            \
    X(mse)                                                                                                   \
    X(l1)                                                                                                    \
    X(huber)                                                                                                 \
    X(smooth_l1)                                                                                             \
    X(bce)                                                                                                   \
    X(hinge)                                                                                                 \
    X(kl_divergence)                                                                                         \
    X(cross_entropy)

#define DECLARE_LAYER(name) extern const nt_layer_ops nt_layer_##name;
#define DECLARE_LOSS(name)  extern const nt_layer_ops nt_loss_##name;
#define LAYER_ENTRY(name)   &nt_layer_##name,
#define LOSS_ENTRY(name)    &nt_loss_##name,
#define NAME_ENTRY(name)    #name,

LAYERS(DECLARE_LAYER)
LOSSES(DECLARE_LOSS)

static const nt_layer_ops *const layers[] = {LAYERS(LAYER_ENTRY) NULL};
static const nt_layer_ops *const losses[] = {LOSSES(LOSS_ENTRY) NULL};

static const nt_layer_ops *find(const nt_layer_ops *const *list, const char *type)
{
    for (; *list; list++)
        if (strcmp((*list)->section.name, type) == 0) return *list;
    return NULL;
}

const nt_layer_ops *nt_layer_find(const char *type)
{
    return find(layers, type);
}

const nt_layer_ops *nt_loss_find(const char *type)
{
    return find(losses, type);
}

const char *const *nt_layer_types(void)
{
    static const char *const all[] = {LAYERS(NAME_ENTRY) NULL};
    static const char *written[NT_N_ELEMS(all) - 2]; /* without total_loss and input; the rest stays NULL */
    for (int i = 0; i < NT_N_ELEMS(all) - 3; i++)
        written[i] = all[i];
    return written;
}

const char *const *nt_loss_types(void)
{
    static const char *const all[] = {LOSSES(NAME_ENTRY) NULL};
    return all;
}

static nt_status check_inputs(const nt_layer *layer)
{
    const nt_layer_ops *ops = layer->ops;
    const char *type = ops->section.name;
    NT_CHECK(layer->n_inputs >= ops->min_inputs, NT_ERR_CONFIG, "%s needs at least %d input%s, got %d", type,
             ops->min_inputs, ops->min_inputs == 1 ? "" : "s", layer->n_inputs);
    NT_CHECK(ops->max_inputs < 0 || layer->n_inputs <= ops->max_inputs, NT_ERR_CONFIG,
             "%s takes %d input%s, got %d", type, ops->max_inputs, ops->max_inputs == 1 ? "" : "s",
             layer->n_inputs);
    for (int i = 0; i < layer->n_inputs; i++) {
        bool is_class = ops->is_loss && i == 1;
        NT_CHECK(is_class || layer->in[i].n_dims >= 1, NT_ERR_CONFIG, "%s: input %d has no dimensions", type,
                 i);
    }
    return NT_OK;
}

/* nt_shape_check speaks of bad data; a shape that options led to is a bad config. */
static nt_status check_shape(nt_shape shape, const char *type, const char *what)
{
    if (nt_shape_check(shape, what) == NT_OK) return NT_OK;
    char text[NT_SHAPE_TEXT_BYTES];
    NT_FAIL(NT_ERR_CONFIG, "%s: shape %s of the %s is empty or has more than 2^40 elements", type,
            nt_shape_text(shape, text), what);
}

nt_status nt_layer_infer(nt_layer *layer)
{
    const char *type = layer->ops->section.name;
    NT_TRY(check_inputs(layer));
    layer->n_params = 0;
    layer->kind = type;
    layer->folds = false;
    layer->weight_of = NULL;
    NT_TRY(layer->ops->infer(layer));
    NT_BUG_UNLESS(layer->n_params <= NT_MAX_PARAMS, "%s has %d parameters, room is for %d", type,
                  layer->n_params, NT_MAX_PARAMS);
    NT_TRY(check_shape(layer->out, type, "output"));
    for (int i = 0; i < layer->n_params; i++)
        NT_TRY(check_shape(layer->param[i].shape, type, layer->param[i].name));
    return NT_OK;
}

nt_shape nt_layer_op_shape(const nt_layer *layer, nt_shape shape, int64_t n)
{
    if (!layer->folds || shape.n_dims < 2) return nt_shape_with_n(shape, n);
    int64_t last = shape.dim[shape.n_dims - 1];
    return nt_shape_of(2, n * (nt_shape_elems(shape) / last), last);
}

int64_t nt_layer_flops(const nt_layer *layer)
{
    return layer->ops->flops ? layer->ops->flops(layer) : 0;
}

int nt_layer_param_name(const nt_layer *layer, int p, char *text, size_t cap)
{
    const char *name = layer->param[p].name;
    return snprintf(text, cap, "%s%s%s", layer->name, *name ? "." : "", name);
}

void nt_layer_add_param(nt_layer *layer, const char *name, nt_shape shape, nt_param_role role, nt_init init)
{
    if (layer->n_params < NT_MAX_PARAMS)
        layer->param[layer->n_params] = (nt_param){name, shape, role, init, 0};
    layer->n_params++; /* nt_layer_infer refuses more than there is room for */
}
