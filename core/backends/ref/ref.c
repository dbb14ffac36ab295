/* The ref backend: plain loops on host memory, row-major tensors, everything done at once.
 *
 * It is the oracle that other backends are compared with, the implementation they fall back to, and the
 * template for a new one: a table of functions (below) and a list of operations, each with its own file.
 * Clarity decides every choice here; speed belongs to core/backends/cpu and cuda. */
#include "core/backends/ref/ref.h"

#include <stdlib.h>
#include <string.h>

#define IMPL_ENTRY(kind) &NT_REF(kind),
static const nt_op_impl *const impls[] = {NT_REF_OPS(IMPL_ENTRY) NULL};

static nt_status ref_create(nt_backend *backend, const nt_backend_options *options)
{
    backend->options = *options;
    return NT_OK;
}

static void ref_destroy(nt_backend *backend)
{
    (void)backend;
}

static nt_status ref_alloc(nt_backend *backend, void **out, size_t n_bytes)
{
    (void)backend;
    *out = NULL;
    NT_CHECK(n_bytes <= SIZE_MAX - 63, NT_ERR_UNAVAILABLE, "out of memory: could not get %zu bytes", n_bytes);
    size_t rounded = n_bytes == 0 ? 64 : (n_bytes + 63) / 64 * 64;
    *out = aligned_alloc(64, rounded);
    NT_CHECK_ALLOC(*out, rounded);
    memset(*out, 0, rounded);
    return NT_OK;
}

static void ref_free(nt_backend *backend, void *ptr, size_t n_bytes)
{
    (void)backend, (void)n_bytes;
    free(ptr);
}

static nt_status ref_upload(nt_backend *backend, void *dst, const void *host, size_t n_bytes)
{
    (void)backend;
    if (n_bytes) memcpy(dst, host, n_bytes);
    return NT_OK;
}

static nt_status ref_zero(nt_backend *backend, void *dst, size_t n_bytes)
{
    (void)backend;
    if (n_bytes) memset(dst, 0, n_bytes);
    return NT_OK;
}

static nt_status ref_stage(nt_backend *backend, nt_tensor *t, const void *host)
{
    (void)backend;
    t->data = (void *)host; /* read only, by contract of ops: x is never written */
    return NT_OK;
}

static const nt_op_impl *ref_find_op(const nt_backend *backend, const char *kind)
{
    (void)backend;
    for (int i = 0; impls[i]; i++)
        if (strcmp(impls[i]->kind, kind) == 0) return impls[i];
    return NULL;
}

static nt_status ref_sum(nt_backend *backend, void *dst, const void *a, const void *b, int64_t n)
{
    (void)backend;
    real *d = dst;
    const real *x = a, *y = b;
    for (int64_t i = 0; i < n; i++)
        d[i] = x[i] + y[i];
    return NT_OK;
}

static nt_status ref_sum_squares(nt_backend *backend, double *total, const void *x, int64_t n)
{
    (void)backend;
    const real *v = x;
    double sum = *total;
    for (int64_t i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    *total = sum;
    return NT_OK;
}

const nt_backend_ops NT_BACKEND_REF = {
    .name = NT_REF_NAME,
    .real = NT_REAL_DTYPE,
    .host_memory = true,
    .create = ref_create,
    .destroy = ref_destroy,
    .alloc = ref_alloc,
    .free = ref_free,
    .upload = ref_upload,
    .download = ref_upload, /* memory is memory */
    .zero = ref_zero,
    .stage = ref_stage,
    .find_op = ref_find_op,
    .sum = ref_sum,
    .sum_squares = ref_sum_squares,
    .update = NT_REF(update),
};
