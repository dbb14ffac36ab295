/* embedding: a table of vectors, drawn from a normal distribution as PyTorch's is. */
#include "core/layers/embedding.h"

#include "core/onnx.h"

static nt_status embedding_infer(nt_layer *layer)
{
    const nt_embedding_options *o = layer->options;
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(layer->in[0].n_dims == 1, NT_ERR_CONFIG,
             "embedding needs samples of shape T, one integer token for each position, got %s",
             nt_shape_text(layer->in[0], text));
    NT_CHECK(o->num_embeddings >= 1 && o->embedding_dim >= 1, NT_ERR_CONFIG,
             "embedding: num_embeddings %lld and embedding_dim %lld must be at least 1",
             (long long)o->num_embeddings, (long long)o->embedding_dim);
    layer->out = nt_shape_of(2, layer->in[0].dim[0], o->embedding_dim);
    nt_layer_add_param(layer, "weight", nt_shape_of(2, o->num_embeddings, o->embedding_dim), NT_PARAM_WEIGHT,
                       (nt_init){.type = NT_INIT_NORMAL, .b = o->init_std});
    return NT_OK;
}

static const nt_option embedding_options[] = {
    {.key = "num_embeddings",
     .type = NT_OPTION_INT,
     .offset = offsetof(nt_embedding_options, num_embeddings),
     .min = 1,
     .max = 1 << 28,
     .flags = NT_OPTION_REQUIRED,
     .help = "size of the vocabulary; tokens are 0 to one less"},
    {.key = "embedding_dim",
     .type = NT_OPTION_INT,
     .offset = offsetof(nt_embedding_options, embedding_dim),
     .min = 1,
     .max = 1 << 20,
     .flags = NT_OPTION_REQUIRED,
     .help = "elements of a token's vector"},
    {.key = "init_std",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_embedding_options, init_std),
     .def = "1",
     .min = 0,
     .max = 1e6,
     .help = "standard deviation of the initial vectors"},
};

static nt_status embedding_onnx(const nt_layer *layer, nt_onnx *o)
{
    (void)layer;
    nt_onnx_op(o, "Gather");
    nt_onnx_input(o, nt_onnx_param(o, 0));
    nt_onnx_input(o, nt_onnx_x(o, 0));
    nt_onnx_int(o, "axis", 0);
    nt_onnx_end_layer(o);
    return NT_OK;
}

const nt_layer_ops nt_layer_embedding = {
    .section = {.name = "embedding",
                .help = "a trained vector for each integer token",
                .size = sizeof(nt_embedding_options),
                .options = embedding_options,
                .n_options = NT_N_ELEMS(embedding_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .takes_tokens = true,
    .infer = embedding_infer,
    .onnx = embedding_onnx,
};
