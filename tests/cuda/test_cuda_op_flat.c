/* Flat ranges on cuda against ref: optimizers, sums, the report of a step and its verdict, casts, and sizes
 * of more than one block. */
#include "cuda_cases.h"

#include "core/backends/cuda/cuda.h"
#include "core/report.h"

#include <float.h>

static nt_backend *cuda(void)
{
    return pair_backend("cuda", NT_PRECISION_FP32, 1);
}

/* Device memory with these bytes, `shift` bytes off its alignment. */
static void *put(const void *host, size_t n_bytes, size_t shift)
{
    char *out = pair_memory(cuda(), n_bytes + shift);
    pair_ok(nt_backend_upload(cuda(), out + shift, host, n_bytes));
    return out + shift;
}

static void drop(void *device, size_t shift)
{
    nt_backend_free(cuda(), (char *)device - shift, 1);
}

static float *numbers(int64_t n, uint32_t id, bool positive)
{
    nt_tensor t = nt_tensor_plain(NT_F32, nt_shape_of(1, n));
    float *out = pair_random(&t, id, 0);
    for (int64_t i = 0; positive && i < n; i++)
        out[i] = fabsf(out[i]);
    return out;
}

static const nt_update rules[] = {
    {.rule = NT_UPDATE_SGD, .lr = 0.1, .grad_scale = 1},
    {.rule = NT_UPDATE_SGD, .lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .grad_scale = 0.5},
    {.rule = NT_UPDATE_SGD, .lr = 0.1, .momentum = 0.9, .nesterov = true, .grad_scale = 1},
    {.rule = NT_UPDATE_ADAM,
     .lr = 0.01,
     .beta1 = 0.9,
     .beta2 = 0.999,
     .eps = 1e-8,
     .grad_scale = 1,
     .correction1 = 0.19,
     .correction2 = 0.002,
     .weight_decay = 0.1},
    {.rule = NT_UPDATE_ADAM,
     .lr = 0.01,
     .beta1 = 0.9,
     .beta2 = 0.999,
     .eps = 1e-8,
     .grad_scale = 1,
     .correction1 = 0.19,
     .correction2 = 0.002,
     .weight_decay = 0.1,
     .decoupled = true},
    {.rule = NT_UPDATE_RMSPROP, .lr = 0.1, .beta2 = 0.99, .eps = 1e-8, .grad_scale = 1},
    {.rule = NT_UPDATE_RMSPROP,
     .lr = 0.1,
     .beta2 = 0.99,
     .eps = 1e-8,
     .momentum = 0.9,
     .weight_decay = 0.01,
     .grad_scale = 0.5},
    {.rule = NT_UPDATE_RMSPROP,
     .lr = 0.1,
     .beta2 = 0.99,
     .eps = 1e-8,
     .momentum = 0.9,
     .centered = true,
     .grad_scale = 1},
    {.rule = NT_UPDATE_ADAGRAD, .lr = 0.1, .eps = 1e-10, .weight_decay = 0.01, .grad_scale = 0.5},
    {.rule = NT_UPDATE_LION, .lr = 0.1, .beta1 = 0.9, .beta2 = 0.99, .weight_decay = 0.1, .grad_scale = 1},
    {.rule = NT_UPDATE_LARS, .lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .grad_scale = 0.5},
    {.rule = NT_UPDATE_LAMB,
     .beta1 = 0.9,
     .beta2 = 0.999,
     .eps = 1e-6,
     .correction1 = 0.19,
     .correction2 = 0.002,
     .weight_decay = 0.1,
     .grad_scale = 1},
    {.rule = NT_UPDATE_STEP, .lr = 0.1},
    {.rule = NT_UPDATE_LIMIT, .limit = 0.5},
    {.rule = NT_UPDATE_AVERAGE, .lr = 0.01},
    {.rule = NT_UPDATE_AVERAGE, .lr = 1},
    {.rule = NT_UPDATE_STAT, .momentum = 0.1, .correction1 = 1.02, .grad_scale = 1},
};

/* p, g, s1, s2, s3 of one update. */
typedef struct range {
    float *p, *g, *s1, *s2, *s3;
} range;

static range make_range(int64_t n)
{
    range r = {numbers(n, 1, false), numbers(n, 2, false), numbers(n, 3, false), numbers(n, 4, true),
               numbers(n, 5, false)};
    for (int64_t i = 0; i < n; i++) /* fit for a mean of squares beside the mean in s2 */
        r.s1[i] = 1 + r.s1[i] * r.s1[i] + r.s2[i] * r.s2[i];
    return r;
}

static void free_range(range *r)
{
    free(r->p);
    free(r->g);
    free(r->s1);
    free(r->s2);
    free(r->s3);
}

/* The update of *r by cuda; momentum: whether s1 is given. */
static void update_on_device(range *r, const nt_update *u, double scale, bool momentum, int64_t n,
                             size_t shift)
{
    const size_t n_bytes = (size_t)n * sizeof(float);
    nt_update own = *u;
    float *host[] = {r->p, r->g, r->s1, r->s2, r->s3};
    void *device[5];
    double *factor = put(&scale, sizeof scale, 0);
    own.scale = factor;
    for (int i = 0; i < 5; i++)
        device[i] = put(host[i], n_bytes, shift);
    own.s3 = device[4];
    pair_ok(nt_backend_update(cuda(), &own, device[0], device[1], momentum ? device[2] : NULL, device[3], n));
    for (int i = 0; i < 5; i++) {
        pair_ok(nt_backend_download(cuda(), host[i], device[i], n_bytes));
        drop(device[i], shift);
    }
    drop(factor, 0);
}

/* ref computes in double and rounds once, cuda in float: a few roundings of values of order 1, and Adam's
 * quotient of two of them, relative where it is large. */
static void expect_close(const float *a, const float *b, int64_t n, double tolerance)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= tolerance * fmax(1, fabs((double)a[i]))))
            fail_msg("element %lld: %.9g and %.9g", (long long)i, (double)a[i], (double)b[i]);
}

static void updates(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 3, 4, 1021, 1024, 5000};
    static const double scales[] = {1, 0.25};
    nt_backend *ref = pair_backend("ref", NT_PRECISION_FP32, 1);
    for (size_t rule = 0; rule < sizeof rules / sizeof rules[0]; rule++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            for (size_t shift = 0; shift <= 4; shift += 4) {
                const bool momentum = rules[rule].rule != NT_UPDATE_SGD || rules[rule].momentum > 0;
                const double scale = scales[i % 2];
                const int64_t n = sizes[i];
                nt_update own = rules[rule];
                range want = make_range(n), got = make_range(n);
                own.scale = &scale;
                own.s3 = want.s3;
                pair_ok(nt_backend_update(ref, &own, want.p, want.g, momentum ? want.s1 : NULL, want.s2, n));
                update_on_device(&got, &rules[rule], scale, momentum, n, shift);
                expect_close(want.p, got.p, n, 1e-6);
                expect_close(want.s1, got.s1, n, 1e-6);
                expect_close(want.s2, got.s2, n, 1e-6);
                expect_close(want.s3, got.s3, n, 1e-6);
                free_range(&want);
                free_range(&got);
            }
    nt_backend_destroy(ref);
}

/* Where the factor is not finite nothing is written, running statistics included. */
static void fault_no_update_without_a_finite_scale(void **state)
{
    (void)state;
    static const double scales[] = {NAN, INFINITY, -INFINITY};
    enum { N = 1030 };
    for (size_t rule = 0; rule < sizeof rules / sizeof rules[0]; rule++)
        for (int i = 0; i < 3; i++) {
            range before = make_range(N), after = make_range(N);
            update_on_device(&after, &rules[rule], scales[i], true, N, 0);
            assert_memory_equal(before.p, after.p, N * sizeof(float));
            assert_memory_equal(before.s1, after.s1, N * sizeof(float));
            assert_memory_equal(before.s2, after.s2, N * sizeof(float));
            assert_memory_equal(before.s3, after.s3, N * sizeof(float));
            free_range(&before);
            free_range(&after);
        }
}

/* A rate that is multiplied by what lies in device memory, made there of norms; more tensors than a block has
 * threads. */
static void ratios(void **state)
{
    (void)state;
    enum { N = 300 };
    const double scale = 0.5;
    double pairs[2 * N], decay[N], want[2 * N];
    for (int i = 0; i < N; i++) {
        pairs[2 * i] = i % 7 == 0 ? 0 : 1 + i;
        pairs[2 * i + 1] = i % 11 == 0 ? 0 : 2 + i % 5;
        decay[i] = 0.01 * (i % 3);
    }
    memcpy(want, pairs, sizeof want);
    nt_host_ratios(want, decay, &scale, 0.25, N);
    double *on_device = put(pairs, sizeof pairs, 0), *decays = put(decay, sizeof decay, 0);
    double *factor = put(&scale, sizeof scale, 0);
    pair_ok(nt_backend_ratios(cuda(), on_device, decays, factor, 0.25, N));
    pair_ok(nt_backend_download(cuda(), pairs, on_device, sizeof pairs));
    for (int i = 0; i < N; i++)
        assert_true(fabs(pairs[2 * i] - want[2 * i]) <= 1e-15 * want[2 * i]);
    float p[3] = {1, 1, 1}, g[3] = {1, 1, 1};
    float *weights = put(p, sizeof p, 0), *gradient = put(g, sizeof g, 0);
    const nt_update step = {.rule = NT_UPDATE_STEP, .lr = 0.5, .ratio = on_device + 2, .scale = factor};
    pair_ok(nt_backend_update(cuda(), &step, weights, gradient, NULL, NULL, 3));
    pair_ok(nt_backend_download(cuda(), p, weights, sizeof p));
    for (int i = 0; i < 3; i++) /* two roundings */
        assert_true(fabs((double)p[i] - (1 - 0.5 * want[2])) <= 0x1p-23);
    drop(on_device, 0), drop(decays, 0), drop(factor, 0), drop(weights, 0), drop(gradient, 0);
}

static double squares_of(const float *x, int64_t n, double start)
{
    double *total = put(&start, sizeof start, 0), out;
    pair_ok(nt_backend_sum_squares(cuda(), total, x, n));
    pair_ok(nt_backend_download(cuda(), &out, total, sizeof out));
    drop(total, 0);
    return out;
}

/* In double on both sides; cuts of the range between blocks do not show. */
static void sums_of_squares(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 15, 1000, NT_SUM_BLOCK, 40000, 5 * NT_SUM_BLOCK + 7};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (size_t shift = 0; shift <= 4; shift += 4) {
            const int64_t n = sizes[i];
            float *x = numbers(n, 9, false), *device = put(x, (size_t)n * sizeof *x, shift);
            double want = 3, pieces = 3, whole = squares_of(device, n, 3);
            for (int64_t k = 0; k < n; k++)
                want += (double)x[k] * (double)x[k];
            assert_true(fabs(want - whole) <= 1e-12 * want);
            for (int64_t at = 0, left; (left = n - at) > 0; at += 2 * NT_SUM_BLOCK)
                pieces = squares_of(device + at, left < 2 * NT_SUM_BLOCK ? left : 2 * NT_SUM_BLOCK, pieces);
            assert_true(pieces == whole);
            drop(device, shift);
            free(x);
        }
}

/* Ranges of all lengths, more than a launch takes; most begin at an odd place. Gaps between them. */
enum { N_SPANS = 211 };

static int64_t make_spans(nt_stretch *spans)
{
    static const int64_t lengths[] = {1, 7, 64, 3, 4096, 0, 5001, 2};
    int64_t at = 3;
    for (int i = 0; i < N_SPANS; i++) {
        spans[i] = (nt_stretch){at, i % 50 == 1 ? 3 * NT_SUM_BLOCK + 11 : lengths[i % 8], i * 5 % N_SPANS};
        at += spans[i].n + i % 3;
    }
    return at;
}

/* The bits of each range's own sum. */
static void sums_of_squares_of_many_ranges(void **state)
{
    (void)state;
    nt_stretch spans[N_SPANS];
    double start[N_SPANS], got[N_SPANS];
    const int64_t n = make_spans(spans);
    float *x = numbers(n, 9, false), *device = put(x, (size_t)n * sizeof *x, 0);
    for (int i = 0; i < N_SPANS; i++)
        start[i] = i;
    double *totals = put(start, sizeof start, 0);
    pair_ok(nt_backend_sum_squares_of(cuda(), totals, device, spans, N_SPANS));
    pair_ok(nt_backend_download(cuda(), got, totals, sizeof got));
    for (int i = 0; i < N_SPANS; i++) {
        const int64_t to = spans[i].other;
        assert_true(
            got[to] ==
            (spans[i].n == 0 ? start[to] : squares_of(device + spans[i].begin, spans[i].n, start[to])));
    }
    drop(totals, 0);
    drop(device, 0);
    free(x);
}

/* Every rule over many ranges in one call, and over each by itself: the same bits, and nothing between them
 * is touched. Ratios and the variances of running statistics are found by `other`. */
static void updates_of_many_ranges(void **state)
{
    (void)state;
    nt_stretch spans[N_SPANS];
    const int64_t n = make_spans(spans);
    double ratios[N_SPANS];
    for (int i = 0; i < N_SPANS; i++)
        ratios[i] = 1 + 0.25 * i;
    double *on_device = put(ratios, sizeof ratios, 0);
    for (size_t rule = 0; rule < sizeof rules / sizeof rules[0]; rule++) {
        const bool stat = rules[rule].rule == NT_UPDATE_STAT;
        range r = make_range(n);
        const size_t n_bytes = (size_t)n * sizeof(float);
        float *host[] = {r.p, r.g, r.s1, r.s2, r.s3}, *back = malloc(n_bytes), *want = malloc(n_bytes);
        float *one[5], *many[5];
        assert_true(back && want);
        for (int i = 0; i < 5; i++) {
            one[i] = put(host[i], n_bytes, 0);
            many[i] = put(host[i], n_bytes, 0);
        }
        for (int i = 0; stat && i < N_SPANS; i++)
            spans[i].other = spans[i].begin;
        nt_update u = rules[rule];
        u.ratio = stat ? NULL : on_device;
        u.s3 = many[4];
        pair_ok(nt_backend_update_of(cuda(), &u, many[0], many[1], many[2], many[3], spans, N_SPANS));
        for (int i = 0; i < N_SPANS; i++) {
            const int64_t at = spans[i].begin;
            u.ratio = stat ? NULL : on_device + spans[i].other;
            u.s3 = one[4] + at;
            pair_ok(nt_backend_update(cuda(), &u, one[0] + at, one[1] + at, one[2] + at, one[3] + at,
                                      spans[i].n));
        }
        for (int i = 0; i < 5; i++) {
            pair_ok(nt_backend_download(cuda(), back, many[i], n_bytes));
            pair_ok(nt_backend_download(cuda(), want, one[i], n_bytes));
            assert_memory_equal(back, want, n_bytes);
            drop(one[i], 0), drop(many[i], 0);
        }
        free(back);
        free(want);
        free_range(&r);
    }
    drop(on_device, 0);
}

/* More blocks than there is room for partial sums at a time; all ones, so that the sum is exact. */
static void squares_of_more_than_one_round(void **state)
{
    (void)state;
    const nt_cuda *c = cuda()->state;
    enum { BLOCK = 4, N = BLOCK * NT_CUDA_PARTIAL_SUMS + 9 };
    float *x = malloc(N * sizeof *x);
    double zero = 0, got;
    assert_non_null(x);
    for (int i = 0; i < N; i++)
        x[i] = 1;
    float *device = put(x, N * sizeof *x, 0);
    double *total = put(&zero, sizeof zero, 0);
    assert_int_equal(
        nt_cuda_sum_squares(c->compute, total, c->partial, device, &(nt_stretch){.n = N}, 1, BLOCK), 0);
    pair_ok(nt_backend_download(cuda(), &got, total, sizeof got));
    assert_true(got == N);
    drop(device, 0);
    drop(total, 0);
    free(x);
}

/* Large values whose squares float does not have are finite; a NaN or an infinity shows. */
static void fault_squares_that_are_not_finite(void **state)
{
    (void)state;
    enum { N = 70 };
    static const float odd[] = {NAN, INFINITY, -INFINITY, FLT_MAX};
    for (int at = 0; at < N; at += 23)
        for (int i = 0; i < 4; i++) {
            float x[N] = {0};
            x[at] = odd[i];
            float *device = put(x, sizeof x, 0);
            assert_true((bool)isfinite(squares_of(device, N, 0)) == (i == 3));
            drop(device, 0);
        }
}

static void sums(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 5, 8, 1027, 9000};
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            for (int at = 0; at < 2; at++) { /* dst is a or b */
                nt_backend *b = pair_backend("cuda", bf16 ? NT_PRECISION_BF16 : NT_PRECISION_FP32, 1);
                nt_tensor t[2];
                float *values[2], *got = malloc((size_t)sizes[i] * sizeof *got);
                for (int k = 0; k < 2; k++) {
                    t[k] = nt_tensor_plain(b->activation, nt_shape_of(1, sizes[i]));
                    values[k] = numbers(sizes[i], 40 + (uint32_t)k, false);
                    for (int64_t e = 0; e < sizes[i]; e++)
                        values[k][e] = bf16 ? nt_bf16_round(values[k][e]) : values[k][e];
                    t[k].data = pair_memory(b, t[k].n_bytes);
                    pair_ok(nt_backend_from_plain(b, &t[k], values[k]));
                }
                pair_ok(nt_backend_sum(b, t[at].data, t[0].data, t[1].data, sizes[i]));
                pair_ok(nt_backend_to_plain(b, got, &t[at]));
                for (int64_t e = 0; e < sizes[i]; e++) {
                    const float sum = values[0][e] + values[1][e];
                    assert_true(got[e] == (bf16 ? nt_bf16_round(sum) : sum));
                }
                for (int k = 0; k < 2; k++) {
                    nt_backend_free(b, t[k].data, t[k].n_bytes);
                    free(values[k]);
                }
                free(got);
            }
}

/* Adds the losses of one pass to a report and returns it. */
static nt_report add_losses(nt_report before, const float *y, int64_t n)
{
    nt_report *report = put(&before, sizeof before, 0), out;
    float *device = put(y, (size_t)(2 * n) * sizeof *y, 0);
    pair_ok(nt_backend_add_losses(cuda(), report, device, n));
    pair_ok(nt_backend_download(cuda(), &out, report, sizeof out));
    drop(report, 0);
    drop(device, 0);
    return out;
}

static void reports(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 7, 256, 1001};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        float *y = numbers(2 * sizes[i], 60, false);
        for (int64_t k = 0; k < sizes[i]; k++) /* counts, up to the largest that float has all of */
            y[2 * k + 1] = (float)(k % 5 == 4 ? (1 << 24) - k : k % 7);
        nt_report want = {.loss = 5, .loss_squared = 7, .correct = 2, .sum_squares = 11, .scale = 13};
        nt_report got = add_losses(want, y, sizes[i]);
        for (int64_t k = 0; k < sizes[i]; k++) {
            want.loss += (double)y[2 * k];
            want.loss_squared += (double)y[2 * k] * (double)y[2 * k];
            want.correct += (double)y[2 * k + 1];
        }
        assert_true(fabs(got.loss - want.loss) <= 1e-12 * (double)sizes[i]);
        assert_true(fabs(got.loss_squared - want.loss_squared) <= 1e-12 * (double)sizes[i]);
        assert_true(got.correct == want.correct && got.sum_squares == 11 && got.scale == 13);
        free(y);
    }
}

static nt_report judge(const double *squares, int n, int n_others, double clip)
{
    nt_report before = {.loss = 1, .loss_squared = 2, .correct = 3}, out;
    nt_report *report = put(&before, sizeof before, 0);
    const size_t n_bytes = (size_t)(n + n_others) * sizeof *squares;
    double *device = put(squares, n_bytes, 0), *left = malloc(n_bytes);
    assert_non_null(left);
    pair_ok(nt_backend_judge(cuda(), report, device, n, n_others, clip));
    pair_ok(nt_backend_download(cuda(), &out, report, sizeof out));
    pair_ok(nt_backend_download(cuda(), left, device, n_bytes));
    for (int i = 0; i < n + n_others; i++)
        assert_true(left[i] == 0);
    assert_true(out.loss == 1 && out.loss_squared == 2 && out.correct == 3);
    drop(report, 0);
    drop(device, 0);
    free(left);
    return out;
}

static void verdicts(void **state)
{
    (void)state;
    enum { MANY = 700 };
    double squares[MANY];
    for (int i = 0; i < MANY; i++)
        squares[i] = i < 600 ? 0.25 : 1e6;
    nt_report r = judge(squares, 600, 100, 0);
    assert_true(r.sum_squares == 150 && r.scale == 1);
    r = judge(squares, 600, 0, 20); /* the norm is 12.2 */
    assert_true(r.sum_squares == 150 && r.scale == 1);
    r = judge(squares, 600, 100, 2);
    assert_true(r.sum_squares == 150 && fabs(r.scale - 2 / sqrt(150)) < 1e-15);
    squares[3] = NAN;
    r = judge(squares, 600, 100, 2);
    assert_true(isnan(r.sum_squares) && isnan(r.scale));
    squares[3] = INFINITY;
    r = judge(squares, 600, 100, 2);
    assert_true(!isfinite(r.sum_squares) && isnan(r.scale));
    squares[3] = 1;
    squares[650] = NAN; /* of a running statistic */
    r = judge(squares, 600, 100, 0);
    assert_true(isnan(r.sum_squares) && isnan(r.scale));
    squares[650] = INFINITY;
    r = judge(squares, 600, 100, 0);
    assert_true(isnan(r.sum_squares) && isnan(r.scale));
}

/* All bits of bfloat16 there and back; float32 to the nearest. */
static void casts(void **state)
{
    (void)state;
    enum { N = 65536 };
    const nt_cuda *c = cuda()->state;
    uint16_t *bits = malloc(N * sizeof *bits), *back = malloc(N * sizeof *back);
    float *values = malloc(N * sizeof *values), *noise = numbers(N, 70, false);
    assert_true(bits && back && values);
    for (int i = 0; i < N; i++)
        bits[i] = (uint16_t)i;
    for (size_t shift = 0; shift < 2; shift++) {
        void *b16 = put(bits, N * sizeof *bits, 2 * shift), *f = put(noise, N * sizeof *noise, 4 * shift);
        assert_int_equal(nt_cuda_cast(c->compute, NT_F32, f, NT_BF16, b16, N), 0);
        pair_ok(nt_backend_download(cuda(), values, f, N * sizeof *values));
        for (int i = 0; i < N; i++)
            assert_true(nt_bf16_to_float(bits[i]) == values[i] || isnan(values[i]));
        assert_int_equal(nt_cuda_cast(c->compute, NT_BF16, b16, NT_F32, f, N - 3), 0);
        pair_ok(nt_backend_download(cuda(), back, b16, N * sizeof *back));
        for (int i = 0; i < N; i++)
            assert_true(bits[i] == back[i] || isnan(values[i]));
        pair_ok(nt_backend_upload(cuda(), f, noise, N * sizeof *noise));
        assert_int_equal(nt_cuda_cast(c->compute, NT_BF16, b16, NT_F32, f, N), 0);
        pair_ok(nt_backend_download(cuda(), back, b16, N * sizeof *back));
        for (int i = 0; i < N; i++)
            assert_int_equal(back[i], nt_bf16_from_float(noise[i]));
        drop(b16, 2 * shift);
        drop(f, 4 * shift);
    }
    free(bits);
    free(back);
    free(values);
    free(noise);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates),
        cmocka_unit_test(fault_no_update_without_a_finite_scale),
        cmocka_unit_test(ratios),
        cmocka_unit_test(sums_of_squares),
        cmocka_unit_test(sums_of_squares_of_many_ranges),
        cmocka_unit_test(updates_of_many_ranges),
        cmocka_unit_test(squares_of_more_than_one_round),
        cmocka_unit_test(fault_squares_that_are_not_finite),
        cmocka_unit_test(sums),
        cmocka_unit_test(reports),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(casts),
    };
    return cmocka_run_group_tests(tests, NULL, pair_close);
}
