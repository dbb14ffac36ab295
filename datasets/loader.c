/* Rows are read a few at a time into a buffer that stays in the cache, and augmented from there into the
 * slice; with nothing to augment they are read into the slice directly, as if this file were not there.
 * Reading is one thread's, because a dataset has one reader; augmenting is shared out sample by sample. Where
 * it comes out does not depend on who does it. */
#include "datasets/loader.h"

#include "datasets/workers.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define BLOCK_BYTES ((size_t)128 << 10) /* of rows read at a time: half a second-level cache */

struct nt_loader {
    nt_dataset *dataset;
    const nt_augment *augment; /* NULL: nothing changes */
    const nt_mix_options *mix; /* NULL: no mixing */
    nt_mix_form form;
    bool training;
    size_t row_bytes, x_bytes, target_bytes; /* of x as stored and as it comes out */
    nt_workers *workers;                     /* NULL without augment */
    int n_threads;
    nt_augmenter **augmenter; /* (n_threads) */
    char *block;              /* (n_block, row_bytes) */
    int64_t n_block;
    int32_t *label; /* (n_labels), before they are mixed */
    int64_t n_labels;
    atomic_llong mix_ns;
    /* the block at hand */
    const int64_t *sample;
    int64_t epoch;
    char *dst;
};

/* --- set-up --- */

static nt_status set_up_augmentation(nt_loader *l, const nt_augment *augment)
{
    l->augment = augment;
    l->n_threads = nt_augment_threads(augment);
    l->n_block = (int64_t)(BLOCK_BYTES / l->row_bytes) + 1;
    if (l->n_block < 4 * l->n_threads) l->n_block = 4 * l->n_threads;
    NT_TRY(nt_rows_allocate((void **)&l->block, (size_t)l->n_block * l->row_bytes));
    l->augmenter = calloc((size_t)l->n_threads, sizeof(nt_augmenter *));
    NT_CHECK_ALLOC(l->augmenter, (size_t)l->n_threads * sizeof(nt_augmenter *));
    for (int i = 0; i < l->n_threads; i++)
        NT_TRY(nt_augmenter_create(&l->augmenter[i], augment, l->training));
    NT_TRY(nt_workers_create(&l->workers, l->n_threads));
    return NT_OK;
}

static void set_up_mixing(nt_loader *l, const nt_sample_spec *spec)
{
    bool image = spec->x.n_dims == 3;
    l->form = (nt_mix_form){.dtype = spec->x_dtype,
                            .channels = image ? spec->x.dim[0] : 1,
                            .height = image ? spec->x.dim[1] : 1,
                            .width = image ? spec->x.dim[2] : nt_shape_elems(spec->x),
                            .n_classes = spec->n_classes,
                            .n_values = spec->n_values};
    if (spec->target == NT_TARGET_CLASS) l->target_bytes = (size_t)spec->n_classes * sizeof(float);
}

nt_status nt_loader_create(nt_loader **out, nt_dataset *dataset, const nt_augment *augment, bool training)
{
    nt_status status = NT_OK;
    *out = NULL;
    nt_loader *l = calloc(1, sizeof *l);
    NT_CHECK_ALLOC(l, sizeof *l);
    l->dataset = dataset;
    l->training = training;
    l->row_bytes = l->x_bytes = nt_dataset_x_bytes(dataset);
    l->target_bytes = nt_dataset_target_bytes(dataset);
    if (augment) {
        const nt_sample_spec *spec = nt_augment_spec(augment);
        l->x_bytes = (size_t)nt_shape_elems(spec->x) * nt_dtype_bytes(spec->x_dtype);
        l->mix = training ? nt_augment_mixing(augment) : NULL;
        l->augment = augment;
        if (l->mix) set_up_mixing(l, spec);
        if (nt_augment_changes(augment, training)) status = set_up_augmentation(l, augment);
    }
    if (status != NT_OK) {
        nt_loader_destroy(l);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    *out = l;
    return NT_OK;
}

void nt_loader_destroy(nt_loader *l)
{
    if (!l) return;
    nt_workers_destroy(l->workers);
    for (int i = 0; l->augmenter && i < l->n_threads; i++)
        nt_augmenter_destroy(l->augmenter[i]);
    free(l->augmenter);
    free(l->block);
    free(l->label);
    free(l);
}

size_t nt_loader_x_bytes(const nt_loader *l)
{
    return l->x_bytes;
}

size_t nt_loader_target_bytes(const nt_loader *l)
{
    return l->target_bytes;
}

bool nt_loader_mixes(const nt_loader *l)
{
    return l->mix != NULL;
}

/* --- reading --- */

static void augment_one(void *arg, int worker, int64_t item)
{
    const nt_loader *l = arg;
    nt_augmenter_run(l->augmenter[worker], l->epoch, l->sample[item], l->dst + (size_t)item * l->x_bytes,
                     l->block + (size_t)item * l->row_bytes);
}

/* n rows, through the block. */
static nt_status read_augmented(nt_loader *l, const nt_rows *rows, int64_t n, void *x, void *target)
{
    const size_t target_bytes = nt_dataset_target_bytes(l->dataset);
    l->epoch = rows->epoch;
    for (int64_t first = 0; first < n; first += l->n_block) {
        int64_t n_here = n - first < l->n_block ? n - first : l->n_block;
        l->sample = rows->sample + first;
        l->dst = (char *)x + (size_t)first * l->x_bytes;
        void *stored = target ? (char *)target + (size_t)first * target_bytes : NULL;
        NT_TRY(nt_dataset_read(l->dataset, l->sample, n_here, l->block, stored));
        nt_workers_run(l->workers, augment_one, l, n_here);
    }
    return NT_OK;
}

static nt_status make_room_for_labels(nt_loader *l, int64_t n)
{
    if (n <= l->n_labels) return NT_OK;
    free(l->label);
    l->n_labels = 0;
    l->label = malloc((size_t)n * sizeof *l->label);
    NT_CHECK_ALLOC(l->label, (size_t)n * sizeof *l->label);
    l->n_labels = n;
    return NT_OK;
}

static long long cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Mixes n samples, whose labels lie in l->label or whose values lie in target. */
static void mix(nt_loader *l, const nt_rows *rows, void *x, void *target)
{
    long long began = cpu_ns();
    const nt_mix m = nt_mix_draw(l->mix, nt_augment_seed(l->augment), rows->epoch, rows->index,
                                 l->form.height, l->form.width);
    nt_mix_samples(&m, &l->form, x, rows->partner, rows->n);
    if (l->form.n_values > 0)
        nt_mix_values(&m, &l->form, target, rows->partner, rows->n);
    else
        nt_mix_labels(&m, &l->form, target, l->label, rows->partner, rows->n);
    atomic_fetch_add(&l->mix_ns, cpu_ns() - began);
}

nt_status nt_loader_read(nt_loader *l, const nt_rows *rows, void *x, void *target)
{
    const int64_t n = rows->n + rows->n_extra;
    void *stored = target; /* where targets go before they are mixed */
    if (l->mix && l->form.n_values == 0) {
        NT_TRY(make_room_for_labels(l, n));
        stored = l->label;
    }
    if (l->workers)
        NT_TRY(read_augmented(l, rows, n, x, stored));
    else
        NT_TRY(nt_dataset_read(l->dataset, rows->sample, n, x, stored));
    if (l->mix) mix(l, rows, x, target);
    return NT_OK;
}

double nt_loader_cost(const nt_loader *l)
{
    double mixing = 1e-9 * (double)atomic_load((atomic_llong *)(uintptr_t)&l->mix_ns);
    return mixing + (l->workers ? nt_workers_cost(l->workers) : 0);
}
