/* embedding: x (N, T) int32 tokens in [0, V), weight (V, E) -> y (N, T, E), row x of the weight for each
 * token. The tokens are the data themselves: the layer stands right behind `input`. */
#ifndef NT_CORE_LAYERS_EMBEDDING_H
#define NT_CORE_LAYERS_EMBEDDING_H

#include "core/layer.h"

typedef struct nt_embedding_options {
    int64_t num_embeddings, embedding_dim; /* V, E */
    double init_std;
} nt_embedding_options;

#endif
