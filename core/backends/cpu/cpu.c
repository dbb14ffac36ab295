/* The cpu backend's table: memory, and the list of its operations.
 *
 * Host memory, everything done at once by `threads` OpenMP threads (oneDNN uses the same runtime). Blocks of
 * 2 MiB and more ask for huge pages: the arenas of a network are long-lived and walked through again and
 * again. */
#include "core/backends/cpu/cpu.h"

#include "core/backends/cpu/isa.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const nt_op_impl *const impls[] = {
    &nt_cpu_input,
    &nt_cpu_conv2d,
    &nt_cpu_linear,
    &nt_cpu_max_pool,
    &nt_cpu_avg_pool,
    &nt_cpu_avg_pool_padded,
    &nt_cpu_global_avg_pool,
    &nt_cpu_flatten,
    &nt_cpu_batchnorm,
    &nt_cpu_activation,
    &nt_cpu_add,
    &nt_cpu_concat,
    &nt_cpu_dropout,
    &nt_cpu_cross_entropy,
    &nt_cpu_multihead_attention,
    &nt_cpu_layer_norm,
    &nt_cpu_multiply,
    &nt_cpu_adaptive_avg_pool,
    &nt_cpu_stochastic_depth,
    &nt_cpu_embedding,
    &nt_cpu_position_embedding,
    &nt_cpu_cross_entropy_full,
};

enum { HUGE_PAGE = 2 << 20 };

static nt_status make_attributes(nt_cpu *cpu)
{
    NT_DNNL(dnnl_primitive_attr_create(&cpu->attr));
    NT_DNNL(dnnl_primitive_attr_set_scratchpad_mode(cpu->attr, dnnl_scratchpad_mode_user));
    NT_DNNL(dnnl_primitive_attr_create(&cpu->attr_sum));
    NT_DNNL(dnnl_primitive_attr_set_scratchpad_mode(cpu->attr_sum, dnnl_scratchpad_mode_user));
    dnnl_post_ops_t sum;
    NT_DNNL(dnnl_post_ops_create(&sum));
    dnnl_status_t status = nt_dnnl_post_sum(sum);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(cpu->attr_sum, sum);
    (void)dnnl_post_ops_destroy(sum);
    NT_DNNL(status);
    return NT_OK;
}

static nt_status start_cpu(nt_cpu *cpu, const nt_backend_options *options)
{
    cpu->vec = nt_vec_tables()[0];
    cpu->blocks_of_16 = nt_isa_best() >= NT_ISA_AVX512;
    cpu->threads = options->threads > 0 ? options->threads : 1;
    cpu->worth_threads = NT_CPU_WORTH_THREADS;
    NT_DNNL(dnnl_engine_create(&cpu->engine, dnnl_cpu, 0));
    NT_DNNL(dnnl_stream_create(&cpu->stream, cpu->engine, dnnl_stream_default_flags));
    NT_TRY(make_attributes(cpu));
    return NT_OK;
}

static void cpu_destroy(nt_backend *backend)
{
    nt_cpu *cpu = backend->state;
    nt_cpu_free_layouts(cpu);
    if (cpu->attr) (void)dnnl_primitive_attr_destroy(cpu->attr);
    if (cpu->attr_sum) (void)dnnl_primitive_attr_destroy(cpu->attr_sum);
    if (cpu->stream) (void)dnnl_stream_destroy(cpu->stream);
    if (cpu->engine) (void)dnnl_engine_destroy(cpu->engine);
    free(cpu);
}

static nt_status cpu_create(nt_backend *backend, const nt_backend_options *options)
{
    nt_cpu *cpu = calloc(1, sizeof *cpu);
    NT_CHECK_ALLOC(cpu, sizeof *cpu);
    backend->state = cpu;
    nt_status status = start_cpu(cpu, options);
    if (status == NT_OK) return NT_OK;
    cpu_destroy(backend);
    return nt_error_trail(status, __FILE__, __LINE__, __func__);
}

/* Large blocks start at different distances from a page border. Parameters, gradients and momentum would
 * otherwise lie at equal addresses modulo 4096, where a load seems to depend on every store just made to one
 * of the others: 20 % of an optimizer step. The distance is noted in front of the block. */
static nt_status cpu_alloc(nt_backend *backend, void **out, size_t n_bytes)
{
    enum { STEP = 1344, STEPS = 13 };
    nt_cpu *cpu = backend->state;
    bool large = n_bytes >= HUGE_PAGE;
    size_t align = large ? HUGE_PAGE : 64, skew = large ? 64 + STEP * (cpu->n_allocs++ % STEPS) : 64;
    NT_CHECK(n_bytes <= SIZE_MAX - 2 * align - skew, NT_ERR_UNAVAILABLE,
             "out of memory: could not get %zu bytes", n_bytes);
    size_t rounded = (n_bytes + skew + align - 1) / align * align;
    char *block = aligned_alloc(align, rounded);
    NT_CHECK_ALLOC(block, rounded);
    if (large) (void)madvise(block, rounded, MADV_HUGEPAGE); /* only advice */
    memset(block + skew, 0, n_bytes);
    memcpy(block + skew - sizeof skew, &skew, sizeof skew);
    *out = block + skew;
    return NT_OK;
}

static void cpu_free(nt_backend *backend, void *ptr, size_t n_bytes)
{
    (void)backend, (void)n_bytes;
    size_t skew;
    if (!ptr) return;
    memcpy(&skew, (char *)ptr - sizeof skew, sizeof skew);
    free((char *)ptr - skew);
}

static nt_status cpu_copy(nt_backend *backend, void *dst, const void *src, size_t n_bytes)
{
    (void)backend;
    if (n_bytes) memcpy(dst, src, n_bytes);
    return NT_OK;
}

static nt_status cpu_zero(nt_backend *backend, void *dst, size_t n_bytes)
{
    (void)backend;
    memset(dst, 0, n_bytes);
    return NT_OK;
}

static nt_status cpu_stage(nt_backend *backend, nt_tensor *t, const void *host)
{
    (void)backend;
    t->data = (void *)(uintptr_t)host; /* ops only read their inputs */
    return NT_OK;
}

static const nt_op_impl *cpu_find_op(const nt_backend *backend, const char *kind)
{
    (void)backend;
    for (size_t i = 0; i < sizeof impls / sizeof impls[0]; i++)
        if (strcmp(impls[i]->kind, kind) == 0) return impls[i];
    return NULL;
}

/* ReLU and ReLU6 where they cost nothing: on values that are in registers anyway. */
static bool cpu_fuses(const nt_backend *backend, const char *kind, const void *options,
                      const nt_activation_options *activation, bool training)
{
    (void)options, (void)training;
    static const char *const kinds[] = {"linear", "batchnorm", "add", "max_pool"};
    if (activation->function == NT_ACT_RELU6) return strcmp(kind, "batchnorm") == 0;
    if (activation->function != NT_ACT_RELU || !cpu_find_op(backend, kind)) return false;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kind, kinds[i]) == 0) return true;
    return false;
}

/* ---- flat ranges ---- */

typedef struct flat {
    const nt_vec_ops *vec;
    const nt_update *u;
    float *p, *s1, *s2;
    const float *a, *b;
} flat;

static void sum_range(void *arg, int64_t begin, int64_t end)
{
    const flat *f = arg;
    f->vec->add(f->p + begin, f->a + begin, f->b + begin, end - begin);
}

static nt_status cpu_sum(nt_backend *backend, void *dst, const void *a, const void *b, int64_t n)
{
    const nt_cpu *cpu = backend->state;
    flat f = {.vec = cpu->vec, .p = dst, .a = a, .b = b};
    nt_cpu_parallel(cpu, n, sum_range, &f);
    return NT_OK;
}

/* Blocks of fixed length, added in order: the result does not depend on the number of threads. */
enum { BLOCK = NT_SUM_BLOCK, AT_ONCE = 128 };

typedef struct squares {
    const nt_vec_ops *vec;
    const float *x;
    int64_t n;
    double partial[AT_ONCE];
} squares;

static void square_block(void *arg, int64_t i)
{
    squares *s = arg;
    const int64_t left = s->n - i * BLOCK;
    s->partial[i] = s->vec->sum_squares(s->x + i * BLOCK, left < BLOCK ? left : BLOCK);
}

static nt_status cpu_sum_squares(nt_backend *backend, double *total, const void *x, int64_t n)
{
    const nt_cpu *cpu = backend->state;
    squares s = {.vec = cpu->vec};
    double sum = *total;
    for (int64_t start = 0; start < n; start += (int64_t)BLOCK * AT_ONCE) {
        s.x = (const float *)x + start;
        s.n = n - start < BLOCK * AT_ONCE ? n - start : BLOCK * AT_ONCE;
        const int64_t blocks = (s.n + BLOCK - 1) / BLOCK;
        nt_cpu_each(cpu, blocks, s.n, square_block, &s);
        for (int64_t i = 0; i < blocks; i++)
            sum += s.partial[i];
    }
    *total = sum;
    return NT_OK;
}

static void update_range(void *arg, int64_t begin, int64_t end)
{
    const flat *f = arg;
    float *p = f->p + begin, *s1 = f->s1 ? f->s1 + begin : NULL, *s2 = f->s2 ? f->s2 + begin : NULL;
    const float *g = f->a + begin;
    int64_t n = end - begin;
    nt_update u = *f->u;
    if (u.s3) u.s3 = (float *)u.s3 + begin;
    if (u.rule == NT_UPDATE_SGD) f->vec->sgd(&u, p, g, s1, n);
    if (u.rule == NT_UPDATE_ADAM) f->vec->adam(&u, p, g, s1, s2, n);
    if (u.rule == NT_UPDATE_RMSPROP)
        f->vec->rmsprop(&u, p, g, s1, u.centered ? s2 : NULL, nt_update_buffer(&u, s2), n);
    if (u.rule == NT_UPDATE_ADAGRAD) f->vec->adagrad(&u, p, g, s1, n);
    if (u.rule == NT_UPDATE_LION) f->vec->lion(&u, p, g, s1, n);
    if (u.rule == NT_UPDATE_LARS) f->vec->lars(&u, p, g, s1, n);
    if (u.rule == NT_UPDATE_LAMB) f->vec->lamb(&u, p, g, s1, s2, u.s3, n);
    if (u.rule == NT_UPDATE_STEP) f->vec->step(&u, p, g, n);
    if (u.rule == NT_UPDATE_LIMIT) f->vec->limit(&u, p, g, n);
    if (u.rule == NT_UPDATE_AVERAGE) f->vec->average(&u, p, g, n);
    if (u.rule == NT_UPDATE_STAT) f->vec->stat(&u, p, g, s1, s2, n);
}

static nt_status cpu_update(nt_backend *backend, const nt_update *u, void *p, const void *g, void *s1,
                            void *s2, int64_t n)
{
    const nt_cpu *cpu = backend->state;
    NT_BUG_UNLESS((unsigned)u->rule < NT_N_UPDATE_RULES, "update rule %d is unknown", (int)u->rule);
    nt_update own = *u;
    if (!nt_update_fold_scale(&own)) return NT_OK;
    flat f = {.vec = cpu->vec, .u = &own, .p = p, .a = g, .s1 = s1, .s2 = s2};
    nt_cpu_parallel(cpu, n, update_range, &f);
    return NT_OK;
}

typedef struct relu_work {
    const nt_vec_ops *vec;
    float *dx;
    const float *dy, *y;
} relu_work;

static void relu_range(void *arg, int64_t begin, int64_t end)
{
    const relu_work *r = arg;
    r->vec->relu_backward(r->dx + begin, r->dy + begin, r->y + begin, end - begin);
}

void nt_cpu_relu_backward(const nt_cpu *cpu, float *dx, const float *dy, const float *y, int64_t n)
{
    relu_work r = {cpu->vec, dx, dy, y};
    nt_cpu_parallel(cpu, n, relu_range, &r);
}

const nt_backend_ops nt_backend_cpu = {
    .name = "cpu",
    .real = NT_F32,
    .host_memory = true,
    .create = cpu_create,
    .destroy = cpu_destroy,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .upload = cpu_copy,
    .download = cpu_copy,
    .zero = cpu_zero,
    .stage = cpu_stage,
    .to_plain = nt_cpu_to_plain,
    .from_plain = nt_cpu_from_plain,
    .find_op = cpu_find_op,
    .fuses = cpu_fuses,
    .sum = cpu_sum,
    .sum_squares = cpu_sum_squares,
    .update = cpu_update,
};
