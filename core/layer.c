/* The list of layer types and losses: one line each. */
#include "core/layer.h"

void nt_layer_add_param(nt_layer *layer, const char *name, nt_shape shape, nt_param_role role, nt_init init)
{
    layer->param[layer->n_params++] = (nt_param){name, shape, role, init};
}
