/* The list of backends and the thin public functions in front of their tables.
 *
 * nt_op_create asks the backend for an implementation and falls back to ref's behind reorders
 * (core/fallback.c), so that a new layer works on every host backend at once. */
#include "core/backend.h"

#include "core/fallback.h"
#include "core/log.h"
#include "core/precision.h"
#include "core/report.h"
#include "core/text.h"

#include <stdlib.h>
#include <string.h>

static const nt_backend_ops *const backends[] = {&nt_backend_ref, &nt_backend_ref64, &nt_backend_cpu,
                                                 &nt_backend_cuda};

const char *const *nt_backend_names(void)
{
    static const char *names[NT_N_ELEMS(backends) + 2];
    names[0] = "auto";
    for (int i = 0; i < NT_N_ELEMS(backends); i++)
        names[i + 1] = backends[i]->name;
    return names;
}

static const nt_backend_ops *choose_backend(void)
{
    const char *why;
    if (!nt_backend_cuda.present) return &nt_backend_cpu;
    if (nt_backend_cuda.present(&why)) return &nt_backend_cuda;
    nt_info("device = auto: %s, so this runs on the CPU", why);
    return &nt_backend_cpu;
}

static const nt_backend_ops *find_backend(const char *name)
{
    if (strcmp(name, "auto") == 0) return choose_backend();
    for (int i = 0; i < NT_N_ELEMS(backends); i++)
        if (strcmp(backends[i]->name, name) == 0) return backends[i];
    return NULL;
}

nt_status nt_backend_create(nt_backend **out, const char *name, const nt_backend_options *options)
{
    const nt_backend_ops *ops = find_backend(name);
    const char *nearest = ops ? NULL : nt_text_nearest(name, nt_backend_names());
    NT_CHECK(ops, NT_ERR_CONFIG, "there is no device or backend '%s'%s%s%s", name,
             nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
    nt_backend *backend = calloc(1, sizeof *backend);
    NT_CHECK_ALLOC(backend, sizeof *backend);
    backend->ops = ops;
    backend->options = *options;
    backend->activation = ops->real;
    nt_status status = nt_precision_check(backend);
    if (status == NT_OK) status = ops->create(backend, options);
    if (status != NT_OK) {
        free(backend);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    *out = backend;
    return NT_OK;
}

void nt_backend_destroy(nt_backend *backend)
{
    if (!backend) return;
    backend->ops->destroy(backend);
    free(backend);
}

/* Fails if a slot is empty that only host memory can do without. */
#define NEED_HOST_MEMORY(b, slot)                                                                            \
    NT_BUG_UNLESS(!nt_backend_is_device(b), "backend '%s' has no '%s'", (b)->ops->name, #slot)

/* Fails if an optional slot is empty. */
#define NEED_SLOT(b, slot) NT_BUG_UNLESS((b)->ops->slot, "backend '%s' has no '%s'", (b)->ops->name, #slot)

nt_status nt_backend_alloc(nt_backend *b, void **out, size_t n_bytes)
{
    *out = NULL;
    if (n_bytes == 0) return NT_OK;
    NT_TRY(b->ops->alloc(b, out, n_bytes));
    return NT_OK;
}

nt_status nt_backend_alloc_input(nt_backend *b, void **out, size_t n_bytes, int64_t n)
{
    *out = NULL;
    if (!nt_backend_is_device(b)) return NT_OK;
    NEED_SLOT(b, alloc_input);
    NT_TRY(b->ops->alloc_input(b, out, n_bytes, n));
    return NT_OK;
}

nt_status nt_backend_memory(nt_backend *b, size_t *free_bytes, size_t *total_bytes)
{
    *free_bytes = *total_bytes = 0;
    if (b->ops->memory) NT_TRY(b->ops->memory(b, free_bytes, total_bytes));
    return NT_OK;
}

void nt_backend_free(nt_backend *b, void *ptr, size_t n_bytes)
{
    if (ptr) b->ops->free(b, ptr, n_bytes);
}

nt_status nt_backend_upload(nt_backend *b, void *dst, const void *host, size_t n_bytes)
{
    NT_TRY(b->ops->upload(b, dst, host, n_bytes));
    return NT_OK;
}

nt_status nt_backend_download(nt_backend *b, void *host, const void *src, size_t n_bytes)
{
    NT_TRY(b->ops->download(b, host, src, n_bytes));
    return NT_OK;
}

nt_status nt_backend_zero(nt_backend *b, void *dst, size_t n_bytes)
{
    if (n_bytes == 0) return NT_OK;
    NT_TRY(b->ops->zero(b, dst, n_bytes));
    return NT_OK;
}

nt_status nt_backend_stage(nt_backend *b, nt_tensor *t, const void *host)
{
    NT_TRY(b->ops->stage(b, t, host));
    return NT_OK;
}

nt_status nt_backend_alloc_host(nt_backend *b, void **out, size_t n_bytes)
{
    enum { ALIGNMENT = 64 }; /* a cache line, and what vector loads like */
    *out = NULL;
    if (b && b->ops->alloc_host) return b->ops->alloc_host(b, out, n_bytes);
    int failed = posix_memalign(out, ALIGNMENT, n_bytes > 0 ? n_bytes : 1);
    NT_CHECK(!failed, NT_ERR_UNAVAILABLE, "out of memory: could not get %zu bytes", n_bytes);
    return NT_OK;
}

void nt_backend_free_host(nt_backend *b, void *ptr)
{
    if (ptr && b && b->ops->free_host)
        b->ops->free_host(b, ptr);
    else
        free(ptr);
}

nt_status nt_backend_unstage(nt_backend *b)
{
    if (!b->ops->unstage) return NT_OK;
    NT_TRY(b->ops->unstage(b));
    return NT_OK;
}

/* Whether the canonical form is the tensor's own bytes. */
static bool is_canonical(const nt_tensor *t)
{
    return !t->layout && t->dtype != NT_BF16;
}

nt_status nt_backend_to_plain(nt_backend *b, void *host, const nt_tensor *t)
{
    if (is_canonical(t)) return nt_backend_download(b, host, t->data, t->n_bytes);
    NEED_SLOT(b, to_plain);
    NT_TRY(b->ops->to_plain(b, host, t));
    return NT_OK;
}

nt_status nt_backend_from_plain(nt_backend *b, nt_tensor *t, const void *host)
{
    if (is_canonical(t)) return nt_backend_upload(b, t->data, host, t->n_bytes);
    NEED_SLOT(b, from_plain);
    NT_TRY(b->ops->from_plain(b, t, host));
    return NT_OK;
}

bool nt_backend_fuses(const nt_backend *b, const char *kind, const void *options,
                      const nt_activation_options *a, bool training)
{
    return b->ops->fuses && b->ops->fuses(b, kind, options, a, training);
}

nt_status nt_backend_sum(nt_backend *b, void *dst, const void *x, const void *y, int64_t n)
{
    NT_TRY(b->ops->sum(b, dst, x, y, n));
    if (nt_precision_rounds(b)) nt_precision_round(dst, n);
    return NT_OK;
}

nt_status nt_backend_sum_squares(nt_backend *b, double *total, const void *x, int64_t n)
{
    if (n == 0) return NT_OK;
    NT_TRY(b->ops->sum_squares(b, total, x, n));
    return NT_OK;
}

/* Element i of an array of the real type; NULL of NULL. */
static void *element(const nt_backend *b, const void *array, int64_t i)
{
    return array ? (char *)(uintptr_t)array + (size_t)i * nt_dtype_bytes(b->ops->real) : NULL;
}

nt_status nt_backend_sum_squares_of(nt_backend *b, double *totals, const void *x, const nt_stretch *ranges,
                                    int n)
{
    if (b->ops->sum_squares_of) return n > 0 ? b->ops->sum_squares_of(b, totals, x, ranges, n) : NT_OK;
    for (int i = 0; i < n; i++)
        NT_TRY(
            nt_backend_sum_squares(b, &totals[ranges[i].other], element(b, x, ranges[i].begin), ranges[i].n));
    return NT_OK;
}

nt_status nt_backend_add_losses(nt_backend *b, nt_report *report, const void *y, int64_t n)
{
    if (b->ops->add_losses) return b->ops->add_losses(b, report, y, n);
    NEED_HOST_MEMORY(b, add_losses);
    nt_host_add_losses(report, y, b->ops->real, n);
    return NT_OK;
}

nt_status nt_backend_judge(nt_backend *b, nt_report *report, double *squares, int n, int n_others,
                           double clip)
{
    if (b->ops->judge) return b->ops->judge(b, report, squares, n, n_others, clip);
    NEED_HOST_MEMORY(b, judge);
    nt_host_judge(report, squares, n, n_others, clip);
    return NT_OK;
}

nt_status nt_backend_ratios(nt_backend *b, double *pairs, const double *decay, const double *scale,
                            double coefficient, int n)
{
    if (n == 0) return NT_OK;
    if (b->ops->ratios) return b->ops->ratios(b, pairs, decay, scale, coefficient, n);
    NEED_HOST_MEMORY(b, ratios);
    nt_host_ratios(pairs, decay, scale, coefficient, n);
    return NT_OK;
}

nt_status nt_backend_update(nt_backend *b, const nt_update *u, void *p, const void *g, void *s1, void *s2,
                            int64_t n)
{
    if (n == 0) return NT_OK;
    NT_TRY(b->ops->update(b, u, p, g, s1, s2, n));
    return NT_OK;
}

nt_status nt_backend_update_of(nt_backend *b, const nt_update *u, void *p, const void *g, void *s1, void *s2,
                               const nt_stretch *ranges, int n)
{
    if (b->ops->update_of) return n > 0 ? b->ops->update_of(b, u, p, g, s1, s2, ranges, n) : NT_OK;
    for (int i = 0; i < n; i++) {
        const nt_stretch *r = &ranges[i];
        const int64_t second = u->rule == NT_UPDATE_STAT ? r->other : r->begin;
        nt_update own = *u;
        own.s3 = element(b, u->s3, r->begin);
        own.ratio = u->ratio ? u->ratio + r->other : NULL;
        NT_TRY(nt_backend_update(b, &own, element(b, p, r->begin), element(b, g, r->begin),
                                 element(b, s1, second), element(b, s2, second), r->n));
    }
    return NT_OK;
}

nt_status nt_backend_begin_pass(nt_backend *b, const nt_pass *pass, int64_t n)
{
    if (!b->ops->begin_pass) return NT_OK;
    NT_TRY(b->ops->begin_pass(b, pass, n));
    return NT_OK;
}

static nt_status check_post(int slot, size_t n_bytes)
{
    NT_BUG_UNLESS(slot >= 0 && slot < NT_POST_SLOTS && n_bytes <= NT_POST_BYTES, "%zu bytes in slot %d",
                  n_bytes, slot);
    return NT_OK;
}

nt_status nt_backend_post(nt_backend *b, const void *src, size_t n_bytes, int slot)
{
    NT_TRY(check_post(slot, n_bytes));
    if (b->ops->post) return b->ops->post(b, src, n_bytes, slot);
    NEED_HOST_MEMORY(b, post);
    memcpy(b->posted[slot], src, n_bytes);
    return NT_OK;
}

nt_status nt_backend_collect(nt_backend *b, int slot, void *host, size_t n_bytes)
{
    NT_TRY(check_post(slot, n_bytes));
    if (b->ops->collect) return b->ops->collect(b, slot, host, n_bytes);
    NEED_HOST_MEMORY(b, collect);
    memcpy(host, b->posted[slot], n_bytes);
    return NT_OK;
}

void nt_backend_forget(nt_backend *b)
{
    if (b->ops->forget) b->ops->forget(b);
}

nt_status nt_backend_record(nt_backend *b, uint64_t key, nt_status (*fn)(void *arg), void *arg, bool *ran)
{
    if (b->ops->record) return b->ops->record(b, key, fn, arg, ran);
    *ran = true;
    return fn(arg);
}

nt_status nt_backend_sync(nt_backend *b)
{
    if (!b->ops->sync) return NT_OK;
    NT_TRY(b->ops->sync(b));
    return NT_OK;
}

/* The backend's implementation, or ref's. */
static nt_status create_op(nt_op *op, const char *kind)
{
    op->impl = op->backend->ops->find_op(op->backend, kind);
    if (!op->impl && !nt_backend_is_device(op->backend)) {
        NT_TRY(nt_fallback_create(op, kind));
        return NT_OK;
    }
    NT_CHECK(op->impl, NT_ERR_UNAVAILABLE,
             "device = %s cannot compute %s: it has no operation '%s'; device = cpu has them all",
             op->backend->ops->name, op->name, kind);
    nt_status status = op->impl->create(op);
    if (status == NT_OK) return NT_OK;
    nt_op_destroy(op);
    return nt_error_trail(status, __FILE__, __LINE__, __func__);
}

nt_status nt_op_create(nt_op *op, const char *kind)
{
    if (nt_precision_rounds(op->backend)) return nt_precision_create(op, kind, create_op);
    return create_op(op, kind);
}

void nt_op_destroy(nt_op *op)
{
    if (op->impl && op->impl->destroy) op->impl->destroy(op);
    op->impl = NULL;
}

nt_status nt_op_bind(nt_op *op)
{
    if (!op->impl->bind) return NT_OK;
    NT_TRY(op->impl->bind(op));
    return NT_OK;
}

nt_status nt_op_forward(nt_op *op, const nt_pass *pass)
{
    NT_TRY(op->impl->forward(op, pass));
    return NT_OK;
}

nt_status nt_op_backward(nt_op *op, const nt_pass *pass)
{
    if (!op->impl->backward) return NT_OK;
    NT_TRY(op->impl->backward(op, pass));
    return NT_OK;
}
