/* mixup and cutmix: every sample of a batch is mixed with the one before it in the global batch, the first
 * with the last, all in the same way, as torchvision's MixUp and CutMix do.
 *
 * What is mixed how is a pure function of (seed, epoch, batch), and a rank reads what its part of a batch
 * needs beyond its own: the sample before its first. So nothing depends on the number of ranks. */
#ifndef NT_DATASETS_MIX_H
#define NT_DATASETS_MIX_H

#include "core/tensor.h"

typedef enum nt_mix_kind { NT_MIX_NONE, NT_MIX_UP, NT_MIX_CUT } nt_mix_kind;

/* What happens to one batch. */
typedef struct nt_mix {
    int kind;      /* nt_mix_kind */
    double lambda; /* the sample's own part; the rest is its partner's */
    int64_t top, left, bottom,
        right; /* NT_MIX_CUT: the partner's rectangle, without its last row and column */
} nt_mix;

typedef struct nt_mix_options {
    double mixup, cutmix; /* alpha of Beta(alpha, alpha), which lambda is drawn from; 0: not that way */
    double probability;   /* that a batch is mixed at all; both ways are as likely where both are on */
} nt_mix_options;

/* How samples and targets lie in memory. */
typedef struct nt_mix_form {
    nt_dtype dtype; /* NT_U8 or NT_F32; bytes are rounded */
    int64_t channels, height, width;
    int64_t n_classes; /* of labels */
    int64_t n_values;  /* of float targets */
} nt_mix_form;

/* The mixture of batch `index` of `epoch`, for images of that size. */
nt_mix nt_mix_draw(const nt_mix_options *options, uint64_t seed, int64_t epoch, int64_t index, int64_t height,
                   int64_t width);

/* x (n + extra, ...): the n samples of this rank, which are mixed in place, each with sample partner[i]: the
 * one before it, or one of those behind the n. */
void nt_mix_samples(const nt_mix *mix, const nt_mix_form *form, void *x, const int64_t *partner, int64_t n);

/* The same for targets: label (n + extra) to probabilities (n, n_classes); NT_MIX_NONE makes ones and zeros.
 * And float targets (n + extra, n_values) in place. */
void nt_mix_labels(const nt_mix *mix, const nt_mix_form *form, float *probability, const int32_t *label,
                   const int64_t *partner, int64_t n);
void nt_mix_values(const nt_mix *mix, const nt_mix_form *form, float *value, const int64_t *partner,
                   int64_t n);

#endif
