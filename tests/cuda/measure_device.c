/* What a device reaches, and whether it is right at the sizes of real networks: operations of ResNet-50,
 * MobileNet, GPT-2 and a vision transformer, each compared with the cpu backend and timed, then what a step
 * does besides. Prints Markdown for the report of scripts/gpu_check.sh; ends with 1 if a result is wrong.
 *
 * The other tests have small odd shapes, because the emulator computes a few million operations a second.
 * What only large ones meet: grids of millions of blocks, many pieces of a batch, cuBLAS's kernels with split
 * sums, tensors that no cache holds. On the emulator this runs with tiny sizes, to see that it runs.
 *
 * Tolerances are of differences, relative to the largest value of a tensor. float32: 1e-4, sums of up to 10^6
 * products in two orders (2^-24 times the root of their number, times some). TF32 rounds factors to 2^-11,
 * bfloat16 to 2^-9, and results to that again. */
#include "layer_cases.h"
#include "op_cases.h"

#include "core/backends/cuda/cuda.h"
#include "core/clock.h"
#include "core/lone_op.h"
#include "core/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef NT_CUDA_EMULATOR
enum { EMULATED = 1, TIMED = 1 };
static const double enough_s = 0;
#define SIZE(real, emulated) (emulated)
#else
enum { EMULATED = 0, TIMED = 200 };
static const double enough_s = 0.1;
#define SIZE(real, emulated) (real)
#endif

static int n_wrong;

static void must(nt_status status, const char *what)
{
    if (status == NT_OK) return;
    fprintf(stderr, "%s: %s\n%s\n", what, nt_error_last()->message, nt_error_last()->trail);
    exit(1);
}

/* --- what the device could do, by its data sheet; dense, at boost clocks --- */

static const struct limits {
    const char *name;                  /* part of the device's */
    double gb_per_s, fp32, tf32, bf16; /* TFLOP/s */
} limits[] = {
    {"A100-SXM4-80GB", 2039, 19.5, 156, 312},
    {"A100 80GB", 1935, 19.5, 156, 312},
    {"A100", 1555, 19.5, 156, 312},
    {"H100 NVL", 3900, 60, 418, 835},
    {"H100 PCIe", 2000, 51, 378, 756},
    {"H100", 3350, 67, 495, 989},
    {"H200", 4800, 67, 495, 989},
    {"GH200", 4000, 67, 495, 989},
    {"B200", 8000, 80, 1100, 2250},
    {"A10", 600, 31, 62, 125},
    {"L40S", 864, 91, 183, 362},
    {"L4", 300, 30, 60, 121},
};

static const struct limits *limits_of(const nt_backend *b)
{
    for (int i = 0; i < NT_N_ELEMS(limits); i++)
        if (strstr(b->device_name, limits[i].name)) return &limits[i];
    return NULL;
}

static const char *const precisions[] = {"fp32", "tf32", "bf16"};

/* "1234 GB/s (61 %)" or "12.3 TFLOP/s (63 %)". */
static const char *rate(char text[64], const nt_backend *b, double flops, double n_bytes, double seconds)
{
    const struct limits *l = limits_of(b);
    const double peak[] = {l ? l->fp32 : 0, l ? l->tf32 : 0, l ? l->bf16 : 0};
    double value = flops > 0 ? 1e-12 * flops / seconds : 1e-9 * n_bytes / seconds;
    double most = flops > 0 ? peak[b->options.precision] : l ? l->gb_per_s : 0;
    int used = snprintf(text, 64, flops > 0 ? "%.2f TFLOP/s" : "%.0f GB/s", value);
    if (most > 0) snprintf(text + used, (size_t)(64 - used), " (%.0f %%)", 100 * value / most);
    return text;
}

/* --- operations --- */

typedef struct measured {
    op_case what;
    double flops;             /* forward, a sample; 0: bound by memory */
    double forward, backward; /* passes over y then */
    int64_t n_integers;       /* inputs are labels or tokens below it */
} measured;

#define CONV_FLOPS(k, taps, places) (2.0 * (k) * (taps) * (places))

/* clang-format off */
static const measured cases[] = {
    {{"conv 7x7/2, 3 to 64", "conv2d", CONV(64, 7, 7, 2, 2, 3, 3, 1, 1, 1, NO), SIZE(32, 1), 1, {MAP(3, SIZE(224, 8), SIZE(224, 8))}},
     CONV_FLOPS(64, 3 * 49, 112 * 112), 0, 0, 0},
    {{"conv 3x3, 64 at 56", "conv2d", CONV(SIZE(64, 8), 3, 3, 1, 1, 1, 1, 1, 1, 1, NO), SIZE(32, 1), 1, {MAP(SIZE(64, 8), SIZE(56, 8), SIZE(56, 8))}},
     CONV_FLOPS(64, 64 * 9, 56 * 56), 0, 0, 0},
    {{"conv 3x3, 128 at 28", "conv2d", CONV(SIZE(128, 8), 3, 3, 1, 1, 1, 1, 1, 1, 1, NO), SIZE(32, 1), 1, {MAP(SIZE(128, 8), SIZE(28, 7), SIZE(28, 7))}},
     CONV_FLOPS(128, 128 * 9, 28 * 28), 0, 0, 0},
    {{"conv 3x3, 256 at 14", "conv2d", CONV(SIZE(256, 8), 3, 3, 1, 1, 1, 1, 1, 1, 1, NO), SIZE(32, 1), 1, {MAP(SIZE(256, 8), SIZE(14, 6), SIZE(14, 6))}},
     CONV_FLOPS(256, 256 * 9, 14 * 14), 0, 0, 0},
    {{"conv 3x3, 512 at 7", "conv2d", CONV(SIZE(512, 8), 3, 3, 1, 1, 1, 1, 1, 1, 1, NO), SIZE(32, 1), 1, {MAP(SIZE(512, 8), SIZE(7, 5), SIZE(7, 5))}},
     CONV_FLOPS(512, 512 * 9, 7 * 7), 0, 0, 0},
    {{"conv 1x1, 64 to 256 at 56", "conv2d", CONV(SIZE(256, 8), 1, 1, 1, 1, 0, 0, 1, 1, 1, NO), SIZE(32, 1), 1, {MAP(SIZE(64, 8), SIZE(56, 8), SIZE(56, 8))}},
     CONV_FLOPS(256, 64, 56 * 56), 0, 0, 0},
    {{"conv 1x1, 1024 to 256 at 14", "conv2d", CONV(SIZE(256, 8), 1, 1, 1, 1, 0, 0, 1, 1, 1, NO), SIZE(32, 1), 1, {MAP(SIZE(1024, 8), SIZE(14, 6), SIZE(14, 6))}},
     CONV_FLOPS(256, 1024, 14 * 14), 0, 0, 0},
    {{"conv 1x1/2, 256 to 512 at 56", "conv2d", CONV(SIZE(512, 8), 1, 1, 2, 2, 0, 0, 1, 1, 1, NO), SIZE(32, 1), 1, {MAP(SIZE(256, 8), SIZE(56, 8), SIZE(56, 8))}},
     CONV_FLOPS(512, 256, 28 * 28), 0, 0, 0},
    {{"conv 3x3, 128 in 32 groups at 56", "conv2d", CONV(SIZE(128, 8), 3, 3, 1, 1, 1, 1, 1, 1, SIZE(32, 4), NO), SIZE(16, 1), 1, {MAP(SIZE(128, 8), SIZE(56, 8), SIZE(56, 8))}},
     CONV_FLOPS(128, 4 * 9, 56 * 56), 0, 0, 0},
    {{"depthwise 3x3, 144 at 56", "conv2d", CONV(SIZE(144, 8), 3, 3, 1, 1, 1, 1, 1, 1, SIZE(144, 8), NO), SIZE(64, 1), 1, {MAP(SIZE(144, 8), SIZE(56, 8), SIZE(56, 8))}},
     0, 2, 5, 0},
    {{"linear, 4096 to 4096", "linear", LINEAR(SIZE(4096, 8), YES), SIZE(4096, 4), 1, {VEC(SIZE(4096, 8))}}, 2.0 * 4096 * 4096, 0, 0, 0},
    {{"linear, 2048 to 1000", "linear", LINEAR(SIZE(1000, 8), YES), SIZE(256, 4), 1, {VEC(SIZE(2048, 8))}}, 2.0 * 2048 * 1000, 0, 0, 0},
    {{"attention, 12 heads, 197 x 768", "multihead_attention", MHA(SIZE(12, 2), false, 0, true), SIZE(16, 1), 1, {SEQ(SIZE(197, 9), SIZE(768, 8))}},
     8.0 * 197 * 768 * 768 + 4.0 * 197 * 197 * 768, 0, 0, 0},
    {{"attention, causal, 1024 x 768", "multihead_attention", MHA(SIZE(12, 2), true, 0, true), SIZE(4, 1), 1, {SEQ(SIZE(1024, 9), SIZE(768, 8))}},
     8.0 * 1024 * 768 * 768 + 4.0 * 1024 * 1024 * 768, 0, 0, 0},
    {{"batchnorm, 64 at 56", "batchnorm", BATCHNORM(1e-5, 0.1), SIZE(128, 2), 1, {MAP(SIZE(64, 8), SIZE(56, 8), SIZE(56, 8))}}, 0, 3, 5, 0},
    {{"batchnorm, 2048 at 7", "batchnorm", BATCHNORM(1e-5, 0.1), SIZE(128, 2), 1, {MAP(SIZE(2048, 8), 7, 7)}}, 0, 3, 5, 0},
    {{"relu", "activation", ACT(NT_ACT_RELU, 0.01, 1), SIZE(128, 2), 1, {MAP(SIZE(64, 8), SIZE(56, 8), SIZE(56, 8))}}, 0, 2, 3, 0},
    {{"gelu", "activation", ACT(NT_ACT_GELU, 0.01, 1), SIZE(128, 2), 1, {MAP(SIZE(64, 8), SIZE(56, 8), SIZE(56, 8))}}, 0, 2, 3, 0},
    {{"add", "add", NULL, SIZE(64, 2), 2, {MAP(SIZE(64, 8), SIZE(56, 8), SIZE(56, 8)), MAP(SIZE(64, 8), SIZE(56, 8), SIZE(56, 8))}}, 0, 3, 4, 0},
    {{"max_pool 3x3/2, 64 at 112", "max_pool", POOL(3, 3, 2, 2, 1, 1), SIZE(64, 2), 1, {MAP(SIZE(64, 8), SIZE(112, 9), SIZE(112, 9))}}, 0, 5.25, 5.25, 0},
    {{"global_avg_pool, 2048 at 7", "global_avg_pool", NULL, SIZE(256, 2), 1, {MAP(SIZE(2048, 8), 7, 7)}}, 0, 50, 50, 0},
    {{"layer_norm, 768", "layer_norm", OPTIONS(layer_norm, 1, 1e-5, true), SIZE(128, 2), 1, {SEQ(SIZE(197, 9), SIZE(768, 8))}}, 0, 2, 5, 0},
    {{"dropout", "dropout", DROPOUT(0.1), SIZE(128, 2), 1, {MAP(SIZE(64, 8), SIZE(56, 8), SIZE(56, 8))}}, 0, 2, 2, 0},
    {{"softmax of 50257", "softmax", NULL, SIZE(1024, 2), 1, {VEC(SIZE(50257, 67))}}, 0, 2, 3, 0},
    {{"cross_entropy of 1000", "cross_entropy", NULL, SIZE(4096, 2), 2, {VEC(SIZE(1000, 67)), CLASS}}, 0, 500, 1000, SIZE(1000, 67)},
    {{"embedding, 50257 x 768", "embedding", OPTIONS(embedding, SIZE(50257, 67), SIZE(768, 8), 1), SIZE(8, 2), 1, {VEC(SIZE(1024, 9))}},
     0, 2, 3, SIZE(50257, 67)},
};
/* clang-format on */

/* Cheap numbers in [-1, 1), or integers below n. */
static double *make_values(int64_t count, uint64_t seed, int64_t n)
{
    double *values = malloc((size_t)count * sizeof *values);
    if (!values) must(NT_ERR_UNAVAILABLE, "out of memory");
    uint64_t word = seed * 0x9E3779B97F4A7C15u + 1;
    for (int64_t i = 0; i < count; i++) {
        word = word * 6364136223846793005u + 1442695040888963407u;
        values[i] = n > 0 ? (double)((int64_t)(word >> 33) % n) : (double)(word >> 40) * 0x1p-23 - 1;
    }
    return values;
}

static void fill(nt_lone_op *lone, nt_tensor *t, uint64_t seed, int64_t n)
{
    double *values = make_values(nt_shape_elems(t->shape), seed, n);
    must(nt_lone_write(lone, t, values), "values");
    free(values);
}

static nt_lone_op *make_op(nt_backend *b, const measured *m)
{
    const op_case *c = &m->what;
    nt_lone_op *lone;
    must(nt_lone_create(&lone, b,
                        &(nt_lone_spec){.type = c->type,
                                        .options = c->options,
                                        .in = c->in,
                                        .n_inputs = c->n_inputs,
                                        .n = c->n,
                                        .training = true}),
         c->name);
    nt_op *op = &lone->op;
    for (int k = 0; k < op->n_inputs; k++)
        fill(lone, &op->x[k], 1 + (uint64_t)k, op->x[k].dtype == NT_I32 ? m->n_integers : 0);
    for (int p = 0; p < op->n_params; p++)
        fill(lone, &op->param[p], 11 + (uint64_t)p, 0);
    if (!op->is_loss) fill(lone, &op->dy, 21, 0);
    return lone;
}

static void run(nt_lone_op *lone, bool backward, const nt_pass *pass)
{
    must(backward ? nt_lone_backward(lone, pass) : nt_lone_forward(lone, pass), lone->layer.kind);
}

/* Seconds of one pass, after a few. */
static double time_of(nt_lone_op *lone, bool backward, const nt_pass *pass)
{
    nt_backend *b = lone->op.backend;
    int n = 0;
    for (int i = 0; i < 2; i++)
        run(lone, backward, pass);
    must(nt_backend_sync(b), "warm-up");
    double began = nt_clock_s(), took;
    do {
        for (int i = 0; i < (TIMED + 9) / 10; i++, n++)
            run(lone, backward, pass);
        must(nt_backend_sync(b), lone->layer.kind);
        took = nt_clock_s() - began;
    } while (took < enough_s && n < TIMED);
    return took / n;
}

/* The largest difference, relative to the largest value of `right`. */
static double difference(nt_lone_op *mine, const nt_tensor *a, nt_lone_op *right, const nt_tensor *b)
{
    const int64_t n = nt_shape_elems(a->shape);
    double *x = make_values(n, 0, 0), *y = make_values(n, 0, 0), most = 0, largest = 1e-30;
    must(nt_lone_read(mine, a, x), "result");
    must(nt_lone_read(right, b, y), "result of the cpu");
    for (int64_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(y[i]));
        most = x[i] - y[i] == 0 ? most : isnan(x[i]) ? INFINITY : fmax(most, fabs(x[i] - y[i]));
    }
    free(x);
    free(y);
    return most / largest;
}

/* Of everything that forward and backward have written. */
static double compare(nt_lone_op *mine, nt_lone_op *right)
{
    double most = difference(mine, &mine->op.y, right, &right->op.y);
    for (int k = 0; k < mine->op.n_inputs; k++)
        if (mine->op.dx[k].data)
            most = fmax(most, difference(mine, &mine->op.dx[k], right, &right->op.dx[k]));
    for (int p = 0; p < mine->op.n_params; p++)
        most = fmax(most, difference(mine, &mine->op.dparam[p], right, &right->op.dparam[p]));
    return most;
}

static double n_bytes_of(const nt_lone_op *lone, double passes)
{
    return passes * (double)lone->op.y.n_bytes;
}

static void measure(nt_backend *b, nt_lone_op *right, const measured *m, const nt_pass *pass)
{
    static const double tolerance[] = {1e-4, 1e-2, 4e-2};
    const nt_precision precision = b->options.precision;
    nt_lone_op *lone = make_op(b, m);
    char forward[64], backward[64];
    run(lone, false, pass);
    run(lone, true, pass);
    /* where a rounded input decides which of two neighbours is the larger, there is nothing to compare */
    const bool compares = precision != NT_PRECISION_BF16 || m->flops > 0;
    const double off = compares ? compare(lone, right) : 0;
    const double forward_s = time_of(lone, false, pass), backward_s = time_of(lone, true, pass);
    const double flops = m->flops * (double)m->what.n;
    const bool wrong = !(off <= tolerance[precision]);
    n_wrong += wrong;
    printf("| %s, batch %lld | %s | %.3f | %s | %.3f | %s | %s%.1e |\n", m->what.name, (long long)m->what.n,
           precisions[precision], 1e3 * forward_s,
           rate(forward, b, flops, n_bytes_of(lone, m->forward), forward_s), 1e3 * backward_s,
           rate(backward, b, 2 * flops, n_bytes_of(lone, m->backward), backward_s), wrong ? "**WRONG** " : "",
           off);
    (void)fflush(stdout);
    nt_lone_destroy(lone);
}

static nt_backend *make_backend(const char *name, nt_precision precision)
{
    nt_backend *b;
    const nt_backend_options options = {
        .threads = (int)sysconf(_SC_NPROCESSORS_ONLN), .precision = precision, .graph = true};
    must(nt_backend_create(&b, name, &options), name);
    return b;
}

/* What the ops read of a pass; samples are numbered as they come. */
static void begin_pass(nt_backend *b, const nt_pass *pass, int64_t n)
{
    must(nt_backend_begin_pass(b, pass, n), "begin_pass");
}

static void measure_ops(nt_backend *const devices[3])
{
    nt_backend *cpu = make_backend("cpu", NT_PRECISION_FP32);
    int64_t *sample = calloc(1 << 16, sizeof *sample);
    if (!sample) must(NT_ERR_UNAVAILABLE, "out of memory");
    for (int64_t i = 0; i < 1 << 16; i++)
        sample[i] = i;
    const nt_pass pass = {.scale = 1, .share = 1, .seed = 3, .sample = sample};
    printf("\n| operation | precision | forward ms | of the limit | backward ms | of the limit | off from "
           "cpu |\n"
           "|---|---|---|---|---|---|---|\n");
    for (int i = 0; i < NT_N_ELEMS(cases); i++) {
        nt_lone_op *right = make_op(cpu, &cases[i]);
        run(right, false, &pass);
        run(right, true, &pass);
        for (int p = 0; p < 3; p++) {
            if (p == NT_PRECISION_TF32 && cases[i].flops == 0) continue;
            begin_pass(devices[p], &pass, cases[i].what.n);
            measure(devices[p], right, &cases[i], &pass);
        }
        nt_lone_destroy(right);
    }
    free(sample);
    nt_backend_destroy(cpu);
}

/* How large the pieces of a batch should be that convolutions make matrices of: conv_products.h. */
static void measure_pieces(nt_backend *b)
{
    static const int which[] = {1, 3};
    nt_cuda *cuda = b->state;
    const size_t usual = cuda->piece_bytes;
    const nt_pass pass = {.scale = 1, .share = 1};
    printf("\n| convolution, %s | MiB a piece | forward ms | backward ms |\n|---|---|---|---|\n",
           precisions[b->options.precision]);
    for (int i = 0; i < NT_N_ELEMS(which); i++)
        for (size_t mib = SIZE(8, 64); mib <= SIZE(512, 64); mib *= 2) {
            cuda->piece_bytes = mib << 20;
            nt_lone_op *lone = make_op(b, &cases[which[i]]);
            const double forward_s = time_of(lone, false, &pass), backward_s = time_of(lone, true, &pass);
            printf("| %s | %zu | %.3f | %.3f |\n", cases[which[i]].what.name, mib, 1e3 * forward_s,
                   1e3 * backward_s);
            nt_lone_destroy(lone);
        }
    cuda->piece_bytes = usual;
}

/* --- the rest of a step --- */

enum { N_PARAMS = SIZE(25600000, 4096), BATCH_BYTES = SIZE(64 << 20, 4096), N_LAUNCHES = SIZE(1000, 4) };

static struct room {
    float *p, *g, *s1, *s2;
    double *total;
    nt_tensor batch;
    void *pinned, *pageable;
    int *number;
} room;

static nt_status update(nt_backend *b, nt_update_rule rule)
{
    const nt_update u = {.rule = rule,
                         .lr = 1e-3f,
                         .momentum = 0.9f,
                         .beta1 = 0.9f,
                         .beta2 = 0.999f,
                         .eps = 1e-8f,
                         .correction1 = 0.1f,
                         .correction2 = 0.001f,
                         .grad_scale = 1};
    return nt_backend_update(b, &u, room.p, room.g, room.s1, room.s2, N_PARAMS);
}

static nt_status sgd(nt_backend *b)
{
    return update(b, NT_UPDATE_SGD);
}

static nt_status adam(nt_backend *b)
{
    return update(b, NT_UPDATE_ADAM);
}

static nt_status squares(nt_backend *b)
{
    return nt_backend_sum_squares(b, room.total, room.g, N_PARAMS);
}

static nt_status stage_pinned(nt_backend *b)
{
    NT_TRY(nt_backend_stage(b, &room.batch, room.pinned));
    return nt_backend_unstage(b);
}

static nt_status stage_pageable(nt_backend *b)
{
    return nt_backend_stage(b, &room.batch, room.pageable);
}

static nt_status download(nt_backend *b)
{
    return nt_backend_download(b, room.pageable, room.batch.data, BATCH_BYTES);
}

static nt_status launch(void *arg)
{
    nt_backend *b = arg;
    const nt_cuda *cuda = b->state;
    for (int i = 0; i < N_LAUNCHES; i++)
        NT_CUDA_TRY(b, "probe", nt_cuda_probe(cuda->compute, room.number, i));
    return NT_OK;
}

static nt_status launch_eagerly(nt_backend *b)
{
    return launch(b);
}

static nt_status launch_recorded(nt_backend *b)
{
    bool ran;
    return nt_backend_record(b, 1, launch, b, &ran);
}

static void make_room(nt_backend *b)
{
    void **arrays[] = {(void **)&room.p, (void **)&room.g, (void **)&room.s1, (void **)&room.s2};
    for (int i = 0; i < NT_N_ELEMS(arrays); i++)
        must(nt_backend_alloc(b, arrays[i], N_PARAMS * sizeof(float)), "arrays");
    must(nt_backend_alloc(b, (void **)&room.total, sizeof *room.total), "total");
    must(nt_backend_alloc(b, (void **)&room.number, sizeof *room.number), "number");
    room.batch = nt_tensor_plain(NT_U8, nt_shape_of(1, (int64_t)BATCH_BYTES));
    must(nt_backend_alloc_input(b, &room.batch.data, BATCH_BYTES, 1), "batch");
    must(nt_backend_alloc_host(b, &room.pinned, BATCH_BYTES), "pinned memory");
    must(nt_backend_alloc_host(NULL, &room.pageable, BATCH_BYTES), "memory");
    memset(room.pinned, 1, BATCH_BYTES);
    memset(room.pageable, 1, BATCH_BYTES);
}

static void free_room(nt_backend *b)
{
    float *const arrays[] = {room.p, room.g, room.s1, room.s2};
    for (int i = 0; i < NT_N_ELEMS(arrays); i++)
        nt_backend_free(b, arrays[i], N_PARAMS * sizeof(float));
    nt_backend_free(b, room.total, sizeof *room.total);
    nt_backend_free(b, room.number, sizeof *room.number);
    nt_backend_free(b, room.batch.data, BATCH_BYTES);
    nt_backend_free_host(b, room.pinned);
    nt_backend_free_host(NULL, room.pageable);
}

static double seconds_of(nt_backend *b, nt_status (*what)(nt_backend *))
{
    int n = 0;
    for (int i = 0; i < 3; i++)
        must(what(b), "warm-up");
    must(nt_backend_sync(b), "warm-up");
    double began = nt_clock_s(), took;
    do {
        must(what(b), "timed");
        n++;
        took = nt_clock_s() - began;
    } while (took < enough_s && n < TIMED);
    must(nt_backend_sync(b), "timed");
    return (nt_clock_s() - began) / n;
}

static void measure_step(nt_backend *b)
{
    static const struct {
        const char *name;
        nt_status (*what)(nt_backend *);
        double n_bytes;
    } parts[] = {
        {"sgd with momentum, 25.6 million parameters", sgd, 20.0 * N_PARAMS},
        {"adam", adam, 28.0 * N_PARAMS},
        {"sum of squares", squares, 4.0 * N_PARAMS},
        {"batch of 64 MiB to the device, pinned", stage_pinned, BATCH_BYTES},
        {"the same from ordinary memory", stage_pageable, BATCH_BYTES},
        {"64 MiB from the device to ordinary memory", download, BATCH_BYTES},
    };
    char text[64];
    make_room(b);
    printf("\n| part of a step | ms | |\n|---|---|---|\n");
    for (int i = 0; i < NT_N_ELEMS(parts); i++) {
        const double seconds = seconds_of(b, parts[i].what);
        const double n_bytes = parts[i].n_bytes;
        if (i < 3)
            (void)rate(text, b, 0, n_bytes, seconds);
        else
            snprintf(text, sizeof text, "%.1f GB/s", 1e-9 * n_bytes / seconds);
        printf("| %s | %.3f | %s |\n", parts[i].name, 1e3 * seconds, text);
    }
    printf("| a launch | %.5f | |\n", 1e3 * seconds_of(b, launch_eagerly) / N_LAUNCHES);
    printf("| a launch in a graph | %.5f | |\n", 1e3 * seconds_of(b, launch_recorded) / N_LAUNCHES);
    free_room(b);
}

int main(void)
{
    nt_backend *devices[3];
    for (int p = 0; p < 3; p++)
        devices[p] = make_backend("cuda", (nt_precision)p);
    const struct limits *l = limits_of(devices[0]);
    printf("%s%s\n", devices[0]->device_name, EMULATED ? ", whose times mean nothing" : "");
    if (l)
        printf("Data sheet: %.0f GB/s; TFLOP/s fp32 %.1f, tf32 %.0f, bf16 %.0f.\n", l->gb_per_s, l->fp32,
               l->tf32, l->bf16);
    measure_step(devices[0]);
    measure_ops(devices);
    measure_pieces(devices[NT_PRECISION_FP32]);
    measure_pieces(devices[NT_PRECISION_BF16]);
    for (int p = 0; p < 3; p++)
        nt_backend_destroy(devices[p]);
    printf("\n%d of %d results are wrong.\n", n_wrong, NT_N_ELEMS(cases));
    return n_wrong > 0;
}
