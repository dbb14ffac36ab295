/* A device that is none: ref behind a table that says its memory is not the host's, and a gradient plane that
 * does its work as late as it may. Linked in the place of the cuda backend and of NCCL, so that `device =
 * cuda` means it.
 *
 * What it is for: results that come one step late, with everything built on that (dist/step.c,
 * launcher/run.c), on any machine, bit for bit like ref. Not for what host code must not touch: that is the
 * emulator's business (tests/cuda_emulator). It complains about a report that is posted over one nobody
 * collected, about ops whose pass was not begun, and about ranks that do not record in step. */
#include "core/report.h"
#include "core/version.h"
#include "dist/comm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_KEYS   64
#define MAX_QUEUED 256

typedef struct late {
    bool posted[NT_POST_SLOTS];
    int n_keys;
    uint64_t key[MAX_KEYS]; /* recorded so far */
    int64_t begun;          /* samples of the pass under way */
} late;

static nt_status late_create(nt_backend *backend, const nt_backend_options *options)
{
    (void)options;
    backend->state = calloc(1, sizeof(late));
    NT_CHECK_ALLOC(backend->state, sizeof(late));
    snprintf(backend->device_id, sizeof backend->device_id, "late device of process %d", (int)getpid());
    return NT_OK;
}

static void late_destroy(nt_backend *backend)
{
    free(backend->state);
}

static bool late_present(const char **why)
{
    *why = NULL;
    return true;
}

static nt_status late_alloc(nt_backend *backend, void **out, size_t n_bytes)
{
    return nt_backend_ref.alloc(backend, out, n_bytes);
}

static void late_free(nt_backend *backend, void *ptr, size_t n_bytes)
{
    nt_backend_ref.free(backend, ptr, n_bytes);
}

static nt_status late_alloc_input(nt_backend *backend, void **out, size_t n_bytes, int64_t n)
{
    (void)n;
    return nt_backend_ref.alloc(backend, out, n_bytes);
}

static nt_status late_copy(nt_backend *backend, void *dst, const void *src, size_t n_bytes)
{
    return nt_backend_ref.upload(backend, dst, src, n_bytes);
}

static nt_status late_zero(nt_backend *backend, void *dst, size_t n_bytes)
{
    return nt_backend_ref.zero(backend, dst, n_bytes);
}

static nt_status late_stage(nt_backend *backend, nt_tensor *t, const void *host)
{
    NT_BUG_UNLESS(t->data, "a batch is staged to no address");
    return late_copy(backend, t->data, host, t->n_bytes);
}

static nt_status late_begin_pass(nt_backend *backend, const nt_pass *pass, int64_t n)
{
    (void)pass;
    ((late *)backend->state)->begun = n;
    return NT_OK;
}

static const nt_op_impl *late_find_op(const nt_backend *backend, const char *kind)
{
    return nt_backend_ref.find_op(backend, kind);
}

static nt_status late_sum(nt_backend *backend, void *dst, const void *a, const void *b, int64_t n)
{
    return nt_backend_ref.sum(backend, dst, a, b, n);
}

static nt_status late_sum_squares(nt_backend *backend, double *total, const void *x, int64_t n)
{
    return nt_backend_ref.sum_squares(backend, total, x, n);
}

static nt_status late_add_losses(nt_backend *backend, nt_report *report, const void *y, int64_t n)
{
    int64_t begun = ((late *)backend->state)->begun;
    NT_BUG_UNLESS(n == begun, "%lld losses of a pass of %lld samples", (long long)n, (long long)begun);
    nt_host_add_losses(report, y, backend->ops->real, n);
    return NT_OK;
}

static nt_status late_judge(nt_backend *backend, nt_report *report, double *squares, int n, int n_others,
                            double clip)
{
    (void)backend;
    nt_host_judge(report, squares, n, n_others, clip);
    return NT_OK;
}

static nt_status late_ratios(nt_backend *backend, double *pairs, const double *decay, const double *scale,
                             double coefficient, int n)
{
    (void)backend;
    nt_host_ratios(pairs, decay, scale, coefficient, n);
    return NT_OK;
}

static nt_status late_update(nt_backend *backend, const nt_update *u, void *p, const void *g, void *s1,
                             void *s2, int64_t n)
{
    return nt_backend_ref.update(backend, u, p, g, s1, s2, n);
}

static nt_status late_post(nt_backend *backend, const void *src, size_t n_bytes, int slot)
{
    late *l = backend->state;
    NT_BUG_UNLESS(!l->posted[slot], "slot %d was not collected", slot);
    l->posted[slot] = true;
    memcpy(backend->posted[slot], src, n_bytes);
    return NT_OK;
}

static nt_status late_collect(nt_backend *backend, int slot, void *host, size_t n_bytes)
{
    late *l = backend->state;
    NT_BUG_UNLESS(l->posted[slot], "nothing was posted to slot %d", slot);
    l->posted[slot] = false;
    memcpy(host, backend->posted[slot], n_bytes);
    return NT_OK;
}

/* Runs everything, but says from the second time of a key on that it did not; ranks must be at the same one.
 */
static nt_status late_record(nt_backend *backend, uint64_t key, nt_status (*fn)(void *arg), void *arg,
                             bool *ran)
{
    late *l = backend->state;
    int i = 0;
    while (i < l->n_keys && l->key[i] != key)
        i++;
    *ran = i == l->n_keys;
    NT_BUG_UNLESS(i < MAX_KEYS, "more than %d recordings", MAX_KEYS);
    if (*ran) l->key[l->n_keys++] = key;
    bool captured = !*ran;
    if (backend->agree) NT_TRY(backend->agree(backend->poll_arg, &captured));
    NT_BUG_UNLESS(captured == !*ran, "recording %d is not the same one on all ranks", i);
    return fn(arg);
}

const nt_backend_ops nt_backend_cuda = {
    .name = "cuda",
    .real = NT_F32,
    .create = late_create,
    .destroy = late_destroy,
    .present = late_present,
    .alloc = late_alloc,
    .free = late_free,
    .alloc_input = late_alloc_input,
    .upload = late_copy,
    .download = late_copy,
    .zero = late_zero,
    .stage = late_stage,
    .begin_pass = late_begin_pass,
    .find_op = late_find_op,
    .sum = late_sum,
    .sum_squares = late_sum_squares,
    .add_losses = late_add_losses,
    .judge = late_judge,
    .ratios = late_ratios,
    .update = late_update,
    .post = late_post,
    .collect = late_collect,
    .record = late_record,
};

const char *nt_cuda_version(void)
{
    return "a test's";
}

/* --- the gradient plane --- */

typedef nt_status collective(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype);

/* What was asked for since the last wait. */
static struct {
    int n;
    struct {
        collective *run; /* of the plane for host memory */
        void *buffer;
        int64_t n;
        nt_dtype dtype;
    } call[MAX_QUEUED];
} queue;

bool late_has_no_plane; /* as on a host without NCCL */

static const char *plane_missing(void)
{
    return late_has_no_plane ? "the test wants it so" : NULL;
}

static nt_status put_off(collective *run, void *buffer, int64_t n, nt_dtype dtype)
{
    NT_BUG_UNLESS(queue.n < MAX_QUEUED, "more than %d collectives", MAX_QUEUED);
    queue.call[queue.n].run = run;
    queue.call[queue.n].buffer = buffer;
    queue.call[queue.n].n = n;
    queue.call[queue.n++].dtype = dtype;
    return NT_OK;
}

static nt_status plane_all_reduce(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    return put_off(comm->ops->gradient->all_reduce, buffer, n, dtype);
}

static nt_status plane_reduce_scatter(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    return put_off(comm->ops->gradient->reduce_scatter, buffer, n, dtype);
}

static nt_status plane_all_gather(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    return put_off(comm->ops->gradient->all_gather, buffer, n, dtype);
}

static nt_status plane_wait(nt_comm *comm)
{
    int n = queue.n;
    queue.n = 0;
    for (int i = 0; i < n; i++)
        NT_TRY(queue.call[i].run(comm, queue.call[i].buffer, queue.call[i].n, queue.call[i].dtype));
    return NT_OK;
}

static nt_status plane_broadcast(nt_comm *comm, void *buffer, size_t n_bytes, int root)
{
    return comm->ops->gradient->broadcast(comm, buffer, n_bytes, root);
}

static nt_status plane_agree(void *arg, bool *captured)
{
    double least = *captured, most = -least;
    NT_TRY(nt_comm_host_reduce(arg, &least, 1, NT_REDUCE_MIN));
    NT_TRY(nt_comm_host_reduce(arg, &most, 1, NT_REDUCE_MIN));
    NT_BUG_UNLESS(least + most == 0, "some ranks replay what others do not");
    *captured = least != 0;
    return NT_OK;
}

static nt_status plane_create(nt_comm *comm)
{
    comm->backend->agree = plane_agree;
    comm->backend->poll_arg = comm;
    return NT_OK;
}

const nt_gradient_ops nt_comm_nccl = {
    .name = "late",
    .missing = plane_missing,
    .overlaps = true,
    .create = plane_create,
    .all_reduce = plane_all_reduce,
    .reduce_scatter = plane_reduce_scatter,
    .all_gather = plane_all_gather,
    .broadcast = plane_broadcast,
    .wait = plane_wait,
};
