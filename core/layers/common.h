/* What several layer types need in infer(): checks with one wording, the arithmetic of sliding windows,
 * counts that do not overflow. */
#ifndef NT_CORE_LAYERS_COMMON_H
#define NT_CORE_LAYERS_COMMON_H

#include "core/layer.h"

/* Values of an enum option `bias`. */
typedef enum nt_bias_choice { NT_BIAS_AUTO, NT_BIAS_YES, NT_BIAS_NO } nt_bias_choice;
extern const char *const nt_bias_choices[]; /* auto, yes, no */

/* Whether the layer gets a bias: auto means unless a batchnorm follows, which would take it away again. */
bool nt_layer_wants_bias(const nt_layer *layer, int choice);

/* Fails unless input `index` is (C, H, W). */
NT_MUST nt_status nt_layer_need_image(const nt_layer *layer, int index);

/* A window that slides over (height, width). */
typedef struct nt_window {
    const int64_t *kernel, *stride, *padding, *dilation; /* [2] each; padding -1: same */
} nt_window;

/* Output size [2] and the zeros before and after rows and columns [2] of a window over `in` (C, H, W). `same`
 * gives ceil(size / stride), with the odd zero at the end. Fails if the window does not fit. */
NT_MUST nt_status nt_window_resolve(const nt_layer *layer, const nt_window *window, int64_t out[2],
                                    int64_t pad_begin[2], int64_t pad_end[2]);

/* a * b for a, b >= 0; INT64_MAX instead of an overflow. */
int64_t nt_count_mul(int64_t a, int64_t b);

#endif
