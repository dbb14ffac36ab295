/* What transformers spend their time on, cpu against ref at sizes where products are real ones: heads that do
 * and do not fill a vector, causal and not, with dropout and without, one position; layer_norm; embeddings of
 * tokens, some of which come often and some never, and of positions. One and three threads, training and
 * inference, gradients assigned and added to. */
#include "core/layers/embedding.h"
#include "core/layers/layer_norm.h"
#include "core/layers/multihead_attention.h"
#include "core/layers/position_embedding.h"
#include "tests/unit/op_pair.h"

/* float sums of up to 300 terms, and an exponential */
#define TOLERANCE 1e-5

static void check(int64_t n, int64_t t, int64_t e, int64_t heads, bool causal, double dropout, bool bias)
{
    const nt_multihead_attention_options o = {
        .num_heads = heads, .causal = causal, .dropout = dropout, .bias = bias};
    nt_shape x = nt_shape_of(3, n, t, e);
    pair_spec spec = {
        .kind = "multihead_attention",
        .options = &o,
        .n_inputs = 1,
        .n_params = bias ? 4 : 2,
        .x = {nt_tensor_plain(NT_F32, x)},
        .param = {nt_shape_of(2, 3 * e, e), nt_shape_of(2, e, e), nt_shape_of(1, 3 * e), nt_shape_of(1, e)},
        .y = x,
        .tolerance = TOLERANCE};
    pair_check(&spec);
    spec.no_dx = true;
    pair_check(&spec);
    spec.inference = true;
    pair_check(&spec);
}

static void attention(void **state)
{
    (void)state;
    check(3, 17, 48, 4, false, 0, true);
    check(2, 33, 24, 3, true, 0, true);
    check(4, 16, 64, 1, true, 0.3, true);
    check(3, 13, 20, 5, false, 0.6, false);
    check(5, 1, 6, 2, true, 0, true);
    check(1, 50, 10, 10, false, 0.1, true);
    check(2, 7, 96, 2, false, 0, false);
}

/* layer_norm of tokens and of maps, also where the mean is large against the spread. */
static void layer_norm(void **state)
{
    (void)state;
    static const int64_t cases[][5] = {
        {3, 17, 48, 1, 1}, {2, 9, 13, 1, 0}, {5, 3, 200, 2, 1}, {4, 1, 7, 1, 1}};
    for (int i = 0; i < 4; i++)
        for (int large = 0; large < 2; large++) {
            const int64_t *c = cases[i];
            const nt_layer_norm_options o = {
                .normalized_dims = c[3], .eps = 1e-5, .elementwise_affine = c[4]};
            nt_shape x = nt_shape_of(3, c[0], c[1], c[2]);
            nt_shape weight = c[3] == 1 ? nt_shape_of(1, c[2]) : nt_shape_of(2, c[1], c[2]);
            nt_tensor t = nt_tensor_plain(NT_F32, x);
            float *values = pair_random(&t, 70, 0);
            for (int64_t e = 0; large && e < nt_shape_elems(x); e++)
                values[e] += 64;
            t.data = values;
            pair_spec spec = {.kind = "layer_norm",
                              .options = &o,
                              .n_inputs = 1,
                              .n_params = c[4] ? 2 : 0,
                              .x = {t},
                              .param = {weight, weight},
                              .y = x,
                              .tolerance = TOLERANCE};
            for (int way = 0; way < 4; way++) {
                spec.in_place = way & 1;
                spec.inference = way & 2;
                pair_check(&spec);
            }
            free(values);
        }
}

static void embedding(void **state)
{
    (void)state;
    static const int64_t cases[][4] = {{4, 17, 50, 70}, {1, 1, 3, 1}, {6, 40, 7, 128}}; /* N, T, V, E */
    int32_t token[240];
    for (int i = 0; i < 3; i++) {
        const int64_t *c = cases[i], v = c[2], e = c[3];
        for (int64_t j = 0; j < c[0] * c[1]; j++)
            token[j] = (int32_t)(j % 3 == 0 ? 1 : j * j % v);
        const nt_embedding_options o = {v, e, 1};
        nt_tensor x = nt_tensor_plain(NT_I32, nt_shape_of(2, c[0], c[1]));
        x.data = token;
        pair_spec spec = {.kind = "embedding",
                          .options = &o,
                          .n_inputs = 1,
                          .n_params = 1,
                          .x = {x},
                          .param = {nt_shape_of(2, v, e)},
                          .y = nt_shape_of(3, c[0], c[1], e),
                          .tolerance = TOLERANCE};
        pair_check(&spec);
        spec.inference = true;
        pair_check(&spec);
    }
}

/* As many positions as the weight has, and fewer. */
static void position_embedding(void **state)
{
    (void)state;
    for (int way = 0; way < 8; way++) {
        const nt_position_embedding_options o = {.max_length = way & 1 ? 40 : 33};
        const int64_t rows = o.max_length, e = 21;
        nt_shape x = nt_shape_of(3, (int64_t)5, (int64_t)33, e);
        pair_check(&(pair_spec){.kind = "position_embedding",
                                .options = &o,
                                .n_inputs = 1,
                                .n_params = 1,
                                .x = {nt_tensor_plain(NT_F32, x)},
                                .param = {nt_shape_of(2, rows, e)},
                                .y = x,
                                .in_place = way & 2,
                                .inference = way & 4,
                                .tolerance = TOLERANCE});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(attention), cmocka_unit_test(layer_norm),
                                       cmocka_unit_test(embedding), cmocka_unit_test(position_embedding)};
    return cmocka_run_group_tests_name("cpu_transformer", tests, NULL, NULL);
}
