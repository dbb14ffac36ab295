/* One op alone, with memory of its own: what the gradient check differentiates, and what tests use to compare
 * one backend with another.
 *
 * Values go in and out as doubles in canonical order, whatever the backend's type and layout. */
#ifndef NT_CORE_LONE_OP_H
#define NT_CORE_LONE_OP_H

#include "core/backend.h"

typedef struct nt_lone_spec {
    const char *type;    /* layer type or loss */
    const void *options; /* its options struct, copied; NULL: its defaults */
    const nt_shape *in;  /* (n_inputs) per sample; a loss's target: () for a class, else values or labels */
    bool labels;         /* losses: in[1] are as many class labels */
    int n_inputs;
    int64_t n; /* samples */
    bool training;
    bool shares;     /* y lies on x[0] and dx[0] on dy where the op's flags allow it, as in a planned net */
    uint32_t id;     /* op->id: stream of dropout's numbers */
    nt_dtype stored; /* type of x[0] of the layer `input` */
} nt_lone_spec;

typedef struct nt_lone_memory {
    void *ptr;
    size_t n_bytes;
} nt_lone_memory;

typedef struct nt_lone_op {
    nt_layer layer; /* inferred */
    nt_op op;       /* bound; its tensors are meant to be read and written by the two functions below */
    bool shares;
    nt_tuning *tuning;
    nt_lone_memory *owned; /* all memory of the backend behind op's tensors */
    int n_owned;
} nt_lone_op;

/* backend is borrowed and outlives the op. All memory starts as zeros. */
NT_MUST nt_status nt_lone_create(nt_lone_op **out, nt_backend *backend, const nt_lone_spec *spec);
void nt_lone_destroy(nt_lone_op *lone);

/* nt_shape_elems(t->shape) values to and from a tensor of lone->op. Integers are rounded towards zero. */
NT_MUST nt_status nt_lone_write(nt_lone_op *lone, nt_tensor *t, const double *values);
NT_MUST nt_status nt_lone_read(nt_lone_op *lone, const nt_tensor *t, double *values);

/* Forward and backward; an op that is a view runs nothing, as in a net. */
NT_MUST nt_status nt_lone_forward(nt_lone_op *lone, const nt_pass *pass);
NT_MUST nt_status nt_lone_backward(nt_lone_op *lone, const nt_pass *pass);

#endif
