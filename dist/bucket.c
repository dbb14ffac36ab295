/* See bucket.h. A bucket is a row of whole layers. With one rank nothing is sent, and every layer is a bucket
 * of its own.
 *
 * Where the communicator works beside the backend, nothing is waited for until the last bucket has been
 * handed over: a wait would keep the rest of backward behind it. */
#include "dist/bucket.h"

#include "core/clock.h"
#include "core/fault.h"
#include "core/phase.h"

#include <math.h>
#include <stdlib.h>

#define SMALL_BYTES ((int64_t)1 << 20) /* first and last bucket: about 0.3 ms on one machine */

typedef struct bucket {
    int64_t begin, end;
    bool stats; /* begins with running statistics; holds nothing else where the state is sharded */
} bucket;

/* All slots of one layer that are trained, or all that are not. */
typedef struct group {
    int64_t begin, end;
    bool stats;
} group;

struct nt_buckets {
    nt_net *net;
    nt_comm *comm;
    int64_t real_bytes;
    bool overlaps, sharded;
    int n_buckets;
    bucket *bucket;
    nt_ready_fn reduced;
    void *arg;
    int next;     /* bucket to be reduced next */
    int64_t done; /* gradients are final up to here */
    double seconds;
};

static bool same_group(const nt_slot *a, const nt_slot *b)
{
    return a->layer == b->layer && (a->role == NT_PARAM_STAT) == (b->role == NT_PARAM_STAT);
}

/* Groups of slots by layer, running statistics apart; the last one reaches to the arena's end. */
static nt_status list_groups(const nt_net *net, group *groups, int *n_groups)
{
    int n = 0;
    int64_t previous = -1;
    for (int i = 0; i < nt_net_n_slots(net); i++) {
        const nt_slot *slot = nt_net_get_slot(net, i);
        NT_BUG_UNLESS(slot->offset > previous, "slot %s at %lld lies before the one in front of it at %lld",
                      slot->name, (long long)slot->offset, (long long)previous);
        previous = slot->offset;
        if (i > 0 && same_group(nt_net_get_slot(net, i - 1), slot)) continue;
        if (n > 0) groups[n - 1].end = slot->offset;
        groups[n++] =
            (group){.begin = slot->offset, .end = nt_net_n_elems(net), .stats = slot->role == NT_PARAM_STAT};
    }
    *n_groups = n;
    return NT_OK;
}

/* Index of the first group of the small bucket at the end; n_groups if even the last group is too big. */
static int find_tail(const group *groups, int n_groups, int64_t small)
{
    int first = n_groups;
    while (first > 0 && groups[n_groups - 1].end - groups[first - 1].begin <= small)
        first--;
    return first;
}

/* Whether a bucket may hold both. */
static bool may_join(const nt_buckets *b, const group *first, const group *next)
{
    return !b->sharded || first->stats == next->stats;
}

static void plan_buckets(nt_buckets *b, const group *groups, int n_groups, int64_t most, int64_t small)
{
    int tail = find_tail(groups, n_groups, small);
    for (int first = 0; first < n_groups;) {
        int end = first + 1, stop = first < tail ? tail : n_groups;
        int64_t limit = b->n_buckets == 0 ? small : most;
        while (end < stop && groups[end].end - groups[first].begin <= limit &&
               may_join(b, &groups[first], &groups[end]))
            end++;
        b->bucket[b->n_buckets++] = (bucket){groups[first].begin, groups[end - 1].end, groups[first].stats};
        first = end;
    }
}

/* Tells the net which parts are its own. */
static nt_status own_parts(nt_buckets *b)
{
    int n = 0;
    if (!b->sharded) return NT_OK;
    NT_BUG_UNLESS(nt_net_n_shards(b->net) == b->comm->size, "%d shards for %d ranks", nt_net_n_shards(b->net),
                  b->comm->size);
    nt_span *own = calloc((size_t)b->n_buckets + 1, sizeof *own);
    NT_CHECK_ALLOC(own, (size_t)b->n_buckets * sizeof *own);
    for (int i = 0; i < b->n_buckets; i++) {
        own[n] = nt_buckets_own(b, i);
        n += own[n].end > own[n].begin;
    }
    nt_status status = nt_net_own(b->net, own, n);
    free(own);
    NT_TRY(status);
    return NT_OK;
}

static nt_status plan(nt_buckets *b, double bucket_mb)
{
    int n_slots = nt_net_n_slots(b->net), n_groups = 0;
    int64_t most = b->comm->size > 1 ? (int64_t)(bucket_mb * 0x1p20) / b->real_bytes : 0,
            small = SMALL_BYTES / b->real_bytes;
    b->bucket = calloc((size_t)n_slots + 1, sizeof *b->bucket);
    group *groups = calloc((size_t)n_slots + 1, sizeof *groups);
    nt_status status = NT_OK;
    if (b->bucket && groups) status = list_groups(b->net, groups, &n_groups);
    if (groups && status == NT_OK) plan_buckets(b, groups, n_groups, most, small < most ? small : most);
    free(groups);
    NT_CHECK_ALLOC(b->bucket && groups, (size_t)n_slots * sizeof *b->bucket);
    NT_TRY(status);
    return NT_OK;
}

nt_status nt_buckets_create(nt_buckets **out, nt_net *net, nt_comm *comm, double bucket_mb,
                            nt_ready_fn reduced, void *arg)
{
    *out = NULL;
    NT_BUG_UNLESS(nt_net_grads(net), "buckets for a net without gradients");
    NT_BUG_UNLESS(bucket_mb > 0 && bucket_mb < 1e6, "buckets of %g MiB", bucket_mb);
    nt_buckets *b = calloc(1, sizeof *b);
    NT_CHECK_ALLOC(b, sizeof *b);
    b->net = net;
    b->comm = comm;
    b->reduced = reduced;
    b->arg = arg;
    b->overlaps = comm->size > 1 && nt_comm_overlaps(comm);
    b->sharded = nt_net_n_shards(net) > 1;
    b->real_bytes = (int64_t)nt_dtype_bytes(nt_net_backend(net)->ops->real);
    nt_status status = plan(b, bucket_mb);
    if (status == NT_OK) status = own_parts(b);
    if (status != NT_OK) {
        nt_buckets_destroy(b);
        return status;
    }
    *out = b;
    return NT_OK;
}

void nt_buckets_destroy(nt_buckets *b)
{
    if (!b) return;
    free(b->bucket);
    free(b);
}

static void *grad_at(const nt_buckets *b, int64_t offset)
{
    return (char *)nt_net_grads(b->net) + offset * b->real_bytes;
}

static bool is_statistic(const nt_buckets *b, int slot)
{
    return nt_net_get_slot(b->net, slot)->role == NT_PARAM_STAT;
}

/* Rows of slots of one kind: gradients may be rounded on the wire, statistics are values and may not. */
static nt_status sum_by_kind(nt_buckets *b, const bucket *it)
{
    const int n = nt_net_n_slots(b->net);
    int64_t begin = it->begin;
    for (int i = 0; i < n && begin < it->end; i++) {
        int64_t end = i + 1 < n ? nt_net_get_slot(b->net, i + 1)->offset : it->end;
        bool goes_on = i + 1 < n && is_statistic(b, i + 1) == is_statistic(b, i);
        if (end <= it->begin || (goes_on && end < it->end)) continue;
        if (is_statistic(b, i))
            NT_TRY(nt_comm_all_reduce(b->comm, grad_at(b, begin), end - begin, NT_F32));
        else
            NT_TRY(nt_comm_sum_gradients(b->comm, grad_at(b, begin), end - begin, NT_F32));
        begin = end;
    }
    return NT_OK;
}

static nt_status sum(nt_buckets *b, const bucket *it)
{
    nt_dtype real = nt_net_backend(b->net)->ops->real;
    if (b->sharded && !it->stats)
        return nt_comm_reduce_scatter(b->comm, grad_at(b, it->begin), it->end - it->begin, real);
    if (b->comm->bf16_wire && real == NT_F32) return sum_by_kind(b, it);
    return nt_comm_all_reduce(b->comm, grad_at(b, it->begin), it->end - it->begin, real);
}

/* Sums over ranks, or begins to. */
static nt_status reduce(nt_buckets *b, const bucket *it)
{
    if (b->comm->size == 1) return NT_OK;
    double start = nt_clock_s();
    nt_phase_wait("all-reduce");
    if (nt_fault_point("step.reduce") == NT_FAULT_ERROR)
        NT_FAIL(NT_ERR_UNAVAILABLE, "fault point step.reduce: no reduction");
    NT_TRY(sum(b, it));
    if (!b->overlaps) NT_TRY(nt_comm_wait(b->comm));
    nt_phase_enter("backward");
    b->seconds += nt_clock_s() - start;
    return NT_OK;
}

static nt_status report_reduced(nt_buckets *b, int index)
{
    if (b->reduced) NT_TRY(b->reduced(b->arg, b->bucket[index].begin, b->bucket[index].end));
    return NT_OK;
}

/* All are handed over: the backend's next work comes after all of them. */
static nt_status wait_for_all(nt_buckets *b)
{
    NT_TRY(nt_comm_wait(b->comm));
    for (int i = 0; i < b->n_buckets; i++)
        NT_TRY(report_reduced(b, i));
    return NT_OK;
}

nt_status nt_buckets_ready(void *buckets, int64_t begin, int64_t end)
{
    nt_buckets *b = buckets;
    NT_BUG_UNLESS(begin == b->done && end >= begin, "gradients [%lld, %lld) became final after [0, %lld)",
                  (long long)begin, (long long)end, (long long)b->done);
    b->done = end;
    for (; b->next < b->n_buckets && b->bucket[b->next].end <= end; b->next++) {
        NT_TRY(reduce(b, &b->bucket[b->next]));
        if (!b->overlaps) NT_TRY(report_reduced(b, b->next));
    }
    if (b->overlaps && b->next == b->n_buckets) NT_TRY(wait_for_all(b));
    return NT_OK;
}

nt_status nt_buckets_finish(nt_buckets *b)
{
    NT_BUG_UNLESS(b->next == b->n_buckets, "%d of %d buckets were reduced", b->next, b->n_buckets);
    nt_buckets_reset(b);
    return NT_OK;
}

void nt_buckets_reset(nt_buckets *b)
{
    b->next = 0;
    b->done = 0;
}

bool nt_buckets_sharded(const nt_buckets *b)
{
    return b->sharded;
}

nt_span nt_buckets_own(const nt_buckets *b, int index)
{
    const bucket *it = &b->bucket[index];
    nt_span own = {it->begin, it->begin};
    if (it->stats) return own;
    nt_comm_part(it->end - it->begin, b->comm->rank, b->comm->size, &own.begin, &own.end);
    return (nt_span){it->begin + own.begin, it->begin + own.end};
}

nt_status nt_buckets_begin_gather(const nt_buckets *b, int index, void *arena)
{
    const bucket *it = &b->bucket[index];
    if (it->stats) return NT_OK;
    NT_TRY(nt_comm_all_gather(b->comm, (char *)arena + it->begin * b->real_bytes, it->end - it->begin,
                              nt_net_backend(b->net)->ops->real));
    return NT_OK;
}

nt_status nt_buckets_gather(const nt_buckets *b, void *arena)
{
    for (int i = 0; i < b->n_buckets; i++)
        NT_TRY(nt_buckets_begin_gather(b, i, arena));
    NT_TRY(nt_comm_wait(b->comm));
    return NT_OK;
}

/* The part of a slot whose sums this rank has: all of it, unless they are sharded. */
static nt_span summed_part(const nt_buckets *b, const nt_slot *slot)
{
    nt_span part = {slot->offset, slot->offset + slot->n_elems};
    for (int i = 0; b->sharded && i < b->n_buckets; i++) {
        if (b->bucket[i].stats || slot->offset < b->bucket[i].begin || slot->offset >= b->bucket[i].end)
            continue;
        nt_span own = nt_buckets_own(b, i);
        if (own.begin > part.begin) part.begin = own.begin;
        if (own.end < part.end) part.end = own.end;
    }
    return part;
}

/* Sum of squares of a slot's gradient; *sum lies in backend memory. */
static nt_status measure_slot(nt_buckets *b, int index, double *sum, double *out)
{
    const nt_span part = summed_part(b, nt_net_get_slot(b->net, index));
    if (part.begin >= part.end || nt_net_used_up(b->net, index, out)) return NT_OK;
    nt_backend *backend = nt_net_backend(b->net);
    NT_TRY(nt_backend_zero(backend, sum, sizeof *sum));
    NT_TRY(nt_backend_sum_squares(backend, sum, grad_at(b, part.begin), part.end - part.begin));
    NT_TRY(nt_backend_download(backend, out, sum, sizeof *out));
    NT_TRY(nt_backend_sync(backend));
    return NT_OK;
}

/* The first slot that is not finite here; the number of slots if all are finite. */
static nt_status find_bad(nt_buckets *b, double *sum, int *first)
{
    const int n = nt_net_n_slots(b->net);
    for (*first = 0; *first < n; (*first)++) {
        double value = 0;
        NT_TRY(measure_slot(b, *first, sum, &value));
        if (!isfinite(value)) break;
    }
    return NT_OK;
}

nt_status nt_buckets_blame(nt_buckets *b, const char **name)
{
    const int n = nt_net_n_slots(b->net);
    void *sum;
    int mine = n;
    *name = NULL;
    NT_TRY(nt_backend_alloc(nt_net_backend(b->net), &sum, sizeof(double)));
    nt_status status = find_bad(b, sum, &mine);
    nt_backend_free(nt_net_backend(b->net), sum, sizeof(double));
    NT_TRY(status);
    double first = mine;
    if (b->sharded) NT_TRY(nt_comm_host_reduce(b->comm, &first, 1, NT_REDUCE_MIN));
    if ((int)first < n) *name = nt_net_get_slot(b->net, (int)first)->name;
    return NT_OK;
}

double nt_buckets_take_seconds(nt_buckets *b)
{
    double seconds = b->seconds;
    b->seconds = 0;
    return seconds;
}

nt_net *nt_buckets_net(const nt_buckets *b)
{
    return b->net;
}

nt_comm *nt_buckets_comm(const nt_buckets *b)
{
    return b->comm;
}

int nt_buckets_count(const nt_buckets *b)
{
    return b->n_buckets;
}

void nt_buckets_range(const nt_buckets *b, int index, int64_t *begin, int64_t *end)
{
    *begin = b->bucket[index].begin;
    *end = b->bucket[index].end;
}
