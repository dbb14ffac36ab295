/* multihead_attention (Vaswani et al. 2017), self-attention as PyTorch's MultiheadAttention(batch_first):
 * x (N, T, E), H heads of D = E / H features.
 *   q, k, v = the thirds of x in_proj_weight^T + in_proj_bias, each (N, T, H, D)
 *   p = softmax over j of q_i k_j / sqrt(D), (N, H, T, T); causal: j > i has p = 0
 *   y = (sum over j of p_ij v_j) out_proj.weight^T + out_proj.bias, (N, T, E)
 * Parameters in the order below; without bias only the first two.
 *
 * Dropout acts on p: element e of the (H, T, T) of sample row n is kept and divided by 1 - dropout iff
 * nt_rng_uniform(word) >= dropout, with the word of core/layers/dropout.h. */
#ifndef NT_CORE_LAYERS_MULTIHEAD_ATTENTION_H
#define NT_CORE_LAYERS_MULTIHEAD_ATTENTION_H

#include "core/layer.h"

typedef struct nt_multihead_attention_options {
    int64_t num_heads;
    bool causal, bias;
    double dropout;
    nt_init_options init;
} nt_multihead_attention_options;

enum { NT_MHA_IN_WEIGHT, NT_MHA_OUT_WEIGHT, NT_MHA_IN_BIAS, NT_MHA_OUT_BIAS };

#endif
