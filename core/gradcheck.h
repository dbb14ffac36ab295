/* Gradient check: analytic gradients of a graph against central finite differences, in double on the backend
 * it is given (ref64). */
#ifndef NT_CORE_GRADCHECK_H
#define NT_CORE_GRADCHECK_H

#include "core/lone_op.h"
#include "core/net.h"

typedef struct nt_gradcheck_result {
    double worst; /* largest |analytic - numeric| / max(1, |analytic| + |numeric|) over everything checked */
    char where[NT_NAME_BYTES]; /* "conv1.weight[3]" */
} nt_gradcheck_result;

/* Checks parameters of a built net in training mode on one batch, at most max_per_tensor evenly spaced
 * elements of each. */
NT_MUST nt_status nt_gradcheck_net(nt_net *net, const nt_batch *batch, double epsilon, int max_per_tensor,
                                   nt_gradcheck_result *out);

/* Checks dx and dparam of one layer type or loss with given options and per-sample input shapes, alone, in
 * training: of spec type, options, in, labels, n_inputs and n count. Inputs and parameters are random from
 * seed, the objective is a random weighted sum of y. */
NT_MUST nt_status nt_gradcheck_layer(nt_backend *backend, const nt_lone_spec *spec, uint64_t seed,
                                     nt_gradcheck_result *out);

#endif
