/* Mean and variance of a batch whose parts are computed in different places, in host memory.
 *
 * A part is known by its count, mean and biased variance; the parts' sums of count, of (mean - pivot) and of
 * the squares about the pivot are all that has to travel, in one collective. The pivot is the running mean,
 * the same everywhere, so that hardly anything cancels: in double the variance loses 1e-16 ((mean - pivot) /
 * standard deviation)^2 of itself. Two collectives, the mean first, would lose nothing and take twice as
 * long. */
#ifndef NT_CORE_MOMENTS_H
#define NT_CORE_MOMENTS_H

#include "core/op.h"

/* Statistics of a batchnorm from forward to backward: one allocation of nt_moments_bytes. */
typedef struct nt_moments {
    int64_t channels;
    double *mean, *var; /* (C) */
    double *sums;       /* (2 C + 1): what travels */
    double *count;      /* values per channel, of all parts */
} nt_moments;

size_t nt_moments_bytes(int64_t channels);
nt_moments nt_moments_at(void *memory, int64_t channels);

/* mean and var, of a part with `count` values per channel, become those of all parts. The caller has put the
 * pivots into m->sums[0, C). Without pass->sum only *m->count is set. */
NT_MUST nt_status nt_moments_join(const nt_moments *m, double count, const nt_pass *pass);

/* m->sums, 2 C gradient sums of this part, become those of all parts; without pass->sum they stay. */
NT_MUST nt_status nt_moments_join_gradients(const nt_moments *m, const nt_pass *pass);

#endif
