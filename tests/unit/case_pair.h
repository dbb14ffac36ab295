/* A case of the shared lists (layer_cases.h) as a layer for op_pair.h. */
#ifndef NT_TESTS_UNIT_CASE_PAIR_H
#define NT_TESTS_UNIT_CASE_PAIR_H

#include "layer_cases.h"
#include "op_pair.h"

/* The case's layer or loss with its shapes inferred; options and in are malloc'ed. */
static inline nt_layer case_infer(const op_case *c)
{
    const nt_layer_ops *ops = nt_layer_find(c->type);
    nt_layer layer = {
        .ops = ops ? ops : nt_loss_find(c->type), .n_inputs = c->n_inputs, .has_labels = c->labels};
    layer.options = calloc(1, layer.ops->section.size + 1);
    layer.in = calloc(4, sizeof *layer.in);
    assert_true(layer.options && layer.in);
    pair_ok(nt_section_defaults(&layer.ops->section, layer.options));
    if (c->options) memcpy(layer.options, c->options, layer.ops->section.size);
    memcpy(layer.in, c->in, sizeof c->in);
    pair_ok(nt_layer_infer(&layer));
    return layer;
}

#endif
