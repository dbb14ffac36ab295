/* position_embedding: x (N, T, ...), weight (max_length, ...) -> y = x + the first T rows of the weight: a
 * trained vector for each position, added to every sample.
 *
 * class_token: x (N, T, E), weight (E) -> y (N, T + 1, E): a trained token in front of the others, whose
 * output stands for the whole sample (Dosovitskiy et al. 2021). */
#ifndef NT_CORE_LAYERS_POSITION_EMBEDDING_H
#define NT_CORE_LAYERS_POSITION_EMBEDDING_H

#include "core/layer.h"

typedef struct nt_position_embedding_options {
    int64_t max_length; /* 0: T */
    double init_std;
    bool bare; /* the parameter is (1, max_length, ...) and called as the layer, like an nn.Parameter */
} nt_position_embedding_options;

typedef struct nt_class_token_options {
    double init_std;
    bool bare; /* (1, 1, E), called as the layer */
} nt_class_token_options;

#endif
