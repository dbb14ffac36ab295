/* See moments.h. */
#include "core/moments.h"

#include "core/layers/batchnorm.h"

size_t nt_moments_bytes(int64_t channels)
{
    return (size_t)(4 * channels + 2) * sizeof(double);
}

nt_moments nt_moments_at(void *memory, int64_t channels)
{
    double *at = memory;
    return (nt_moments){.channels = channels,
                        .mean = at,
                        .var = at + channels,
                        .sums = at + 2 * channels,
                        .count = at + 4 * channels + 1};
}

nt_status nt_moments_join(const nt_moments *m, double count, const nt_pass *pass)
{
    const int64_t c = m->channels;
    *m->count = count;
    if (!pass->sum) return NT_OK;
    for (int64_t i = 0; i < c; i++) {
        double pivot = m->sums[i], shift = m->mean[i] - pivot;
        m->mean[i] = pivot;
        m->sums[i] = count * shift;
        m->sums[c + i] = count * (m->var[i] + shift * shift);
    }
    m->sums[2 * c] = count;
    NT_TRY(pass->sum(pass->sum_arg, m->sums, nt_batchnorm_forward_sums(c)));
    *m->count = m->sums[2 * c];
    for (int64_t i = 0; i < c; i++) {
        double shift = m->sums[i] / *m->count, var = m->sums[c + i] / *m->count - shift * shift;
        m->mean[i] += shift;
        m->var[i] = var < 0 ? 0 : var;
    }
    return NT_OK;
}

nt_status nt_moments_join_gradients(const nt_moments *m, const nt_pass *pass)
{
    if (!pass->sum) return NT_OK;
    NT_TRY(pass->sum(pass->sum_arg, m->sums, nt_batchnorm_backward_sums(m->channels)));
    return NT_OK;
}
