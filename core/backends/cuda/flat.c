/* What the backend does with flat ranges: sums of gradients that meet, squares, the report of a step, the
 * optimizer. And which activations its operations apply themselves. */
#include "core/backends/cuda/ops.h"

#include "core/layers/conv2d.h"
#include "core/layers/linear.h"

#include <string.h>

static bool has_bias(const char *kind, const void *options)
{
    return strcmp(kind, "linear") == 0 && ((const nt_linear_options *)options)->has_bias;
}

/* ReLU where a kernel has the values in hand anyway: batchnorm, add, the bias of linear; and max_pool, which
 * has a quarter of them. */
bool nt_cuda_fuses(const nt_backend *backend, const char *kind, const void *options,
                   const nt_activation_options *activation, bool training)
{
    (void)backend, (void)training;
    static const char *const kinds[] = {"batchnorm", "add", "max_pool"};
    if (activation->function != NT_ACT_RELU) return false;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kind, kinds[i]) == 0) return true;
    return has_bias(kind, options);
}

nt_status nt_cuda_flat_sum(nt_backend *backend, void *dst, const void *a, const void *b, int64_t n)
{
    const nt_cuda *cuda = backend->state;
    NT_CUDA_TRY(
        backend, "sum of gradients",
        nt_cuda_add_forward(cuda->compute, backend->activation, dst, (const void *[]){a, b}, 2, false, n));
    return NT_OK;
}

nt_status nt_cuda_flat_sum_squares_of(nt_backend *backend, double *totals, const void *x,
                                      const nt_stretch *ranges, int n)
{
    const nt_cuda *cuda = backend->state;
    NT_CUDA_TRY(backend, "sum of squares",
                nt_cuda_sum_squares(cuda->compute, totals, cuda->partial, x, ranges, n, NT_SUM_BLOCK));
    return NT_OK;
}

nt_status nt_cuda_flat_sum_squares(nt_backend *backend, double *total, const void *x, int64_t n)
{
    return nt_cuda_flat_sum_squares_of(backend, total, x, &(nt_stretch){.n = n}, 1);
}

_Static_assert(sizeof(nt_report) == 5 * sizeof(double), "reduce.cu takes a report as five doubles");

nt_status nt_cuda_flat_add_losses(nt_backend *backend, nt_report *report, const void *y, int64_t n)
{
    const nt_cuda *cuda = backend->state;
    NT_CUDA_TRY(backend, "sum of losses", nt_cuda_add_losses(cuda->compute, &report->loss, y, n));
    return NT_OK;
}

nt_status nt_cuda_flat_judge(nt_backend *backend, nt_report *report, double *squares, int n, int n_others,
                             double clip)
{
    const nt_cuda *cuda = backend->state;
    NT_CUDA_TRY(backend, "norm of the gradient",
                nt_cuda_judge(cuda->compute, &report->loss, squares, n, n_others, clip));
    return NT_OK;
}

nt_status nt_cuda_flat_ratios(nt_backend *backend, double *pairs, const double *decay, const double *scale,
                              double coefficient, int n)
{
    const nt_cuda *cuda = backend->state;
    NT_CUDA_TRY(backend, "norms of tensors",
                nt_cuda_ratios(cuda->compute, pairs, decay, scale, coefficient, n));
    return NT_OK;
}

/* Rounded once, here: 1 - beta in float would be off by 1e-5. */
static nt_cuda_update rounded(const nt_update *u)
{
    const bool adam = u->rule == NT_UPDATE_ADAM || u->rule == NT_UPDATE_LAMB;
    return (nt_cuda_update){.lr = (float)u->lr,
                            .momentum = (float)u->momentum,
                            .weight_decay = (float)u->weight_decay,
                            .beta1 = (float)u->beta1,
                            .beta2 = (float)u->beta2,
                            .one_minus_beta1 = (float)(1 - u->beta1),
                            .one_minus_beta2 = (float)(1 - u->beta2),
                            .eps = (float)u->eps,
                            .inv_correction1 = (float)(adam ? 1 / u->correction1 : u->correction1),
                            .inv_correction2 = (float)(adam ? 1 / u->correction2 : 1),
                            .grad_scale = u->grad_scale,
                            .scale = u->scale,
                            .ratio = u->ratio,
                            .limit = (float)u->limit,
                            .nesterov = u->nesterov,
                            .decoupled = u->decoupled,
                            .centered = u->centered};
}

nt_status nt_cuda_flat_update(nt_backend *backend, const nt_update *u, void *p, const void *g, void *s1,
                              void *s2, int64_t n)
{
    return nt_cuda_flat_update_of(backend, u, p, g, s1, s2, &(nt_stretch){.n = n}, 1);
}

nt_status nt_cuda_flat_update_of(nt_backend *backend, const nt_update *u, void *p, const void *g, void *s1,
                                 void *s2, const nt_stretch *ranges, int n)
{
    const nt_cuda *cuda = backend->state;
    const nt_cuda_update r = rounded(u);
    switch (u->rule) {
    case NT_UPDATE_SGD:
        NT_CUDA_TRY(backend, "sgd", nt_cuda_update_sgd(cuda->compute, &r, p, g, s1, ranges, n));
        return NT_OK;
    case NT_UPDATE_ADAM:
        NT_CUDA_TRY(backend, "adam", nt_cuda_update_adam(cuda->compute, &r, p, g, s1, s2, ranges, n));
        return NT_OK;
    case NT_UPDATE_RMSPROP:
        NT_CUDA_TRY(backend, "rmsprop",
                    nt_cuda_update_rmsprop(cuda->compute, &r, p, g, s1, u->centered ? s2 : NULL,
                                           nt_update_buffer(u, s2), ranges, n));
        return NT_OK;
    case NT_UPDATE_ADAGRAD:
        NT_CUDA_TRY(backend, "adagrad", nt_cuda_update_adagrad(cuda->compute, &r, p, g, s1, ranges, n));
        return NT_OK;
    case NT_UPDATE_LION:
        NT_CUDA_TRY(backend, "lion", nt_cuda_update_lion(cuda->compute, &r, p, g, s1, ranges, n));
        return NT_OK;
    case NT_UPDATE_LARS:
        NT_CUDA_TRY(backend, "lars", nt_cuda_update_lars(cuda->compute, &r, p, g, s1, ranges, n));
        return NT_OK;
    case NT_UPDATE_LAMB:
        NT_CUDA_TRY(backend, "lamb", nt_cuda_update_lamb(cuda->compute, &r, p, g, s1, s2, u->s3, ranges, n));
        return NT_OK;
    case NT_UPDATE_STEP:
        NT_CUDA_TRY(backend, "step", nt_cuda_update_step(cuda->compute, &r, p, g, ranges, n));
        return NT_OK;
    case NT_UPDATE_LIMIT:
        NT_CUDA_TRY(backend, "clipping by value", nt_cuda_update_limit(cuda->compute, &r, p, g, ranges, n));
        return NT_OK;
    case NT_UPDATE_AVERAGE:
        NT_CUDA_TRY(backend, "average of weights",
                    nt_cuda_update_average(cuda->compute, &r, p, g, ranges, n));
        return NT_OK;
    case NT_N_UPDATE_RULES:
        break;
    case NT_UPDATE_STAT:
        NT_CUDA_TRY(backend, "running statistics",
                    nt_cuda_update_stat(cuda->compute, &r, p, g, s1, s2, ranges, n));
        return NT_OK;
    }
    NT_BUG_UNLESS(false, "update rule %d is unknown", (int)u->rule);
}
