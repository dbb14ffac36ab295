/* Rows of one data set over several files, formed and checked on their way.
 *
 * Shuffled rows are read in ascending order and put where they belong: neighbours become one read, and a
 * chunk that several rows of a batch share is decoded once, because core/h5 keeps the last one. Rows that
 * need no forming go straight to their place. A column that was loaded is one block of memory on huge pages:
 * a shuffled row is a few kilobytes, and with small pages the TLB misses cost as much as the copy.
 *
 * Contiguous rows that are wanted as they are stored are copied out of a mapping of the file, without a call
 * for each. Where the file is not in memory they are asked for, all rows of a batch, in ascending order,
 * before the first is touched, so that the disk has them all in its queue. Asking costs as much as copying a
 * small row, so rows that were found in memory are not asked for, until a batch has to wait again. */
#include "datasets/hdf5_column.h"

#include "core/log.h"
#include "datasets/dataset.h"
#include "datasets/image.h"
#include "datasets/mapped.h"
#include "datasets/transform.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CHUNK_BYTES ((size_t)256 << 20)
#define MAX_SET_DIMS    5
#define LOAD_ROWS       1024               /* rows read at a time while loading, or if these are small */
#define LOAD_BYTES      ((int64_t)1 << 18) /* so many bytes */
#define LARGE_ROW_BYTES 65536              /* where asking ahead costs nothing beside the copy */
#define ASK_BATCHES     32                 /* after one that had to wait, so many are asked for */

/* A row that is asked for and its place in the batch. */
typedef struct wish {
    int64_t row, place;
} wish;

typedef struct share {
    nt_column_source source;
    nt_h5_set *set;
    int64_t first, n; /* rows of the column */
    nt_mapped mapped;
    bool touched; /* by the batch that is being read */
} share;

struct nt_column {
    int n_shares;
    share *share;
    int64_t n;
    nt_shape stored; /* of a row */
    bool is_u8, is_integer, is_chunked;

    nt_dtype dtype;
    int64_t n_channels, n_pixels; /* channels_last: of a stored row; n_channels 0: no transposition */
    nt_resampler *resize;         /* NULL: not resized */
    nt_image big, small;          /* before and after that; no data */
    int64_t n_raw, n_out;         /* elements of a row before and after */
    void *raw, *turned;           /* one row each, where forming needs them */

    wish *wish; /* (n_wish_cap) and as many to sort with: grows to the largest batch */
    int64_t n_wish_cap;
    const char **from;   /* (n_wish_cap) of a mapped column: where each row of the batch lies */
    bool looked, mapped; /* whether mapping was tried, and whether rows are read that way */
    int64_t asks_left;   /* batches to ask for ahead */
    char *memory;        /* (n_loaded) formed rows from the first on; NULL: none */
    int64_t n_loaded;
    bool complete; /* no other rows will be asked for */
    int64_t n_denormal;
    bool said_denormal;
};

/* --- opening --- */

static bool same_row_shape(nt_shape a, nt_shape b)
{
    a.dim[0] = b.dim[0] = 1;
    return nt_shape_equal(a, b);
}

static bool is_u8(const nt_h5_info *info)
{
    return info->type_class == NT_H5_UINT && info->type_bytes == 1;
}

static bool is_integer(const nt_h5_info *info)
{
    return info->type_class == NT_H5_INT || info->type_class == NT_H5_UINT;
}

/* Numbers of a kind we take, in a reasonable number of dimensions. */
static nt_status check_share(const share *s)
{
    const nt_h5_info *info = nt_h5_set_info(s->set);
    const char *path = nt_h5_path(s->source.file), *name = s->source.name;
    NT_CHECK(info->type_class != NT_H5_STRING, NT_ERR_DATA, "%s: '%s' holds text, not numbers", path, name);
    NT_CHECK(info->type_class != NT_H5_OTHER, NT_ERR_DATA,
             "%s: '%s' holds elements of %d bytes that are neither integers nor 32- or 64-bit floats (16-bit "
             "floats, booleans, enums and compounds cannot be read: store them as uint8 or float32)",
             path, name, info->type_bytes);
    NT_CHECK(info->shape.n_dims <= MAX_SET_DIMS, NT_ERR_DATA,
             "%s: '%s' has %d dimensions, at most %d are possible", path, name, info->shape.n_dims,
             MAX_SET_DIMS);
    return NT_OK;
}

/* Against the first share. */
static nt_status check_agreement(const share *a, const share *b)
{
    const nt_h5_info *one = nt_h5_set_info(a->set), *two = nt_h5_set_info(b->set);
    char shape_a[NT_SHAPE_TEXT_BYTES], shape_b[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(same_row_shape(one->shape, two->shape), NT_ERR_DATA,
             "'%s' of %s is %s and '%s' of %s is %s: they differ in more than the number of rows",
             a->source.name, nt_h5_path(a->source.file), nt_shape_text(one->shape, shape_a), b->source.name,
             nt_h5_path(b->source.file), nt_shape_text(two->shape, shape_b));
    static const char *const kind[] = {"floats", "integers", "uint8"};
    int kind_a = is_integer(one) + is_u8(one), kind_b = is_integer(two) + is_u8(two);
    NT_CHECK(kind_a == kind_b, NT_ERR_DATA, "'%s' of %s holds %s and '%s' of %s holds %s", a->source.name,
             nt_h5_path(a->source.file), kind[kind_a], b->source.name, nt_h5_path(b->source.file),
             kind[kind_b]);
    return NT_OK;
}

static nt_status open_shares(nt_column *c, const nt_column_source *source)
{
    for (int i = 0; i < c->n_shares; i++) {
        share *s = &c->share[i];
        s->source = source[i];
        NT_TRY(nt_h5_set_open(&s->set, source[i].file, source[i].name, MAX_CHUNK_BYTES));
        NT_TRY(check_share(s));
        if (i > 0) NT_TRY(check_agreement(&c->share[0], s));
        s->first = c->n;
        s->n = nt_h5_set_info(s->set)->shape.dim[0];
        c->n += s->n;
        c->is_chunked = c->is_chunked || nt_h5_set_info(s->set)->chunked;
    }
    const nt_h5_info *info = nt_h5_set_info(c->share[0].set);
    c->is_u8 = is_u8(info);
    c->is_integer = is_integer(info);
    c->stored.n_dims = info->shape.n_dims - 1;
    for (int i = 0; i < c->stored.n_dims; i++)
        c->stored.dim[i] = info->shape.dim[i + 1];
    return NT_OK;
}

nt_status nt_column_open(nt_column **out, const nt_column_source *source, int n_sources)
{
    nt_status status = NT_OK;
    *out = NULL;
    nt_column *c = calloc(1, sizeof *c);
    NT_CHECK_ALLOC(c, sizeof *c);
    c->n_shares = n_sources;
    c->share = calloc((size_t)n_sources, sizeof *c->share);
    if (!c->share)
        status = nt_error_set(NT_ERR_UNAVAILABLE, __FILE__, __LINE__, __func__, "out of memory");
    else
        status = open_shares(c, source);
    if (status != NT_OK) {
        nt_column_close(c);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    *out = c;
    return NT_OK;
}

static void close_sets(nt_column *c)
{
    for (int i = 0; c->share && i < c->n_shares; i++) {
        nt_mapped_close(&c->share[i].mapped);
        nt_h5_set_close(c->share[i].set);
        c->share[i].set = NULL;
    }
}

void nt_column_close(nt_column *c)
{
    if (!c) return;
    close_sets(c);
    nt_resampler_destroy(c->resize);
    free(c->share), free(c->raw), free(c->turned), free(c->wish), free(c->from), free(c->memory);
    free(c);
}

int64_t nt_column_rows(const nt_column *c)
{
    return c->n;
}

int64_t nt_column_source_rows(const nt_column *c, int source)
{
    return c->share[source].n;
}

nt_shape nt_column_stored_shape(const nt_column *c)
{
    return c->stored;
}

bool nt_column_is_u8(const nt_column *c)
{
    return c->is_u8;
}

bool nt_column_is_integer(const nt_column *c)
{
    return c->is_integer;
}

bool nt_column_is_chunked(const nt_column *c)
{
    return c->is_chunked;
}

size_t nt_column_row_bytes(const nt_column *c)
{
    return (size_t)c->n_out * nt_dtype_bytes(c->dtype);
}

static const share *share_of(const nt_column *c, int64_t row)
{
    int low = 0, high = c->n_shares - 1;
    while (low < high) {
        int mid = (low + high + 1) / 2;
        if (row >= c->share[mid].first)
            low = mid;
        else
            high = mid - 1;
    }
    return &c->share[low];
}

int nt_column_source_of(const nt_column *c, int64_t row, int64_t *row_in_source)
{
    const share *s = share_of(c, row);
    *row_in_source = row - s->first;
    return (int)(s - c->share);
}

const char *nt_column_where(const nt_column *c, int64_t row, char text[NT_COLUMN_WHERE_BYTES])
{
    const share *s = share_of(c, row);
    snprintf(text, NT_COLUMN_WHERE_BYTES, "%s: '%s' row %lld", nt_h5_path(s->source.file), s->source.name,
             (long long)(row - s->first));
    return text;
}

/* --- forming --- */

/* A resizer for (C, H, W) unless that is its size already. */
static nt_status plan_resize(nt_column *c, nt_shape shape, nt_column_form form, nt_shape *out_shape)
{
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(
        shape.n_dims == 3 && form.height > 0 && form.width > 0, NT_ERR_CONFIG,
        "data.resize = %lld, %lld: samples are %s; only images (C, H, W) can be resized, to at least 1x1",
        (long long)form.height, (long long)form.width, nt_shape_text(shape, text));
    if (shape.dim[1] == form.height && shape.dim[2] == form.width) return NT_OK;
    c->big = (nt_image){c->dtype, shape.dim[0], shape.dim[1], shape.dim[2], NULL};
    c->small = (nt_image){c->dtype, shape.dim[0], form.height, form.width, NULL};
    NT_TRY(nt_resampler_create(&c->resize, shape.dim[1], shape.dim[2], form.height, form.width));
    out_shape->dim[1] = form.height;
    out_shape->dim[2] = form.width;
    return NT_OK;
}

nt_status nt_column_form_rows(nt_column *c, nt_dtype dtype, nt_shape shape, nt_column_form form,
                              nt_shape *out_shape)
{
    c->dtype = dtype;
    c->n_raw = nt_shape_elems(shape);
    *out_shape = shape;
    if (form.channels_last && shape.dim[0] > 1 && shape.dim[0] < c->n_raw) {
        c->n_channels = shape.dim[0];
        c->n_pixels = c->n_raw / c->n_channels;
    }
    if (form.height || form.width) NT_TRY(plan_resize(c, shape, form, out_shape));
    c->n_out = nt_shape_elems(*out_shape);
    NT_CHECK(c->n_raw <= INT32_MAX && c->n_out <= INT32_MAX, NT_ERR_DATA,
             "%s: '%s' has rows of more than 2^31 elements", nt_h5_path(c->share[0].source.file),
             c->share[0].source.name);
    size_t n_bytes = (size_t)c->n_raw * nt_dtype_bytes(dtype);
    if (!c->n_channels && !c->resize) return NT_OK;
    c->raw = malloc(n_bytes);
    c->turned = malloc(n_bytes);
    NT_CHECK_ALLOC(c->raw && c->turned, 2 * n_bytes);
    return NT_OK;
}

/* NaN and infinity stop; subnormals are counted. x: n rows of n_raw floats that begin at `row`. */
static nt_status check_values(nt_column *c, int64_t row, int64_t n, float *x)
{
    int64_t bad = nt_values_check(x, n * c->n_raw, &c->n_denormal);
    if (bad < 0) return NT_OK;
    char where[NT_COLUMN_WHERE_BYTES];
    const float *begin = x + bad / c->n_raw * c->n_raw;
    int64_t n_bad = 0;
    for (int64_t i = 0; i < c->n_raw; i++)
        n_bad += !isfinite(begin[i]);
    NT_FAIL(NT_ERR_DATA, "%s: value %lld is %g (%lld of its %lld values are not finite)",
            nt_column_where(c, row + bad / c->n_raw, where), (long long)(bad % c->n_raw), (double)x[bad],
            (long long)n_bad, (long long)c->n_raw);
}

/* n stored rows, all of one share, checked. */
static nt_status read_raw(nt_column *c, int64_t row, int64_t n, void *dst)
{
    const share *s = share_of(c, row);
    NT_TRY(nt_h5_set_read(s->set, row - s->first, n, c->dtype, dst));
    if (c->dtype == NT_F32) NT_TRY(check_values(c, row, n, dst));
    return NT_OK;
}

static void resize(nt_column *c, void *dst, void *src)
{
    nt_image big = c->big, small = c->small;
    big.data = src;
    small.data = dst;
    nt_resampler_run(c->resize, &small, &big, &(nt_window){0, 0, big.height, big.width});
}

/* One row through all of its transformations. */
static nt_status read_formed(nt_column *c, int64_t row, void *dst)
{
    NT_TRY(read_raw(c, row, 1, c->raw));
    void *now = c->raw;
    if (c->n_channels) {
        void *to = c->resize ? c->turned : dst;
        nt_hwc_to_chw(to, now, c->n_pixels, c->n_channels, nt_dtype_bytes(c->dtype));
        now = to;
    }
    if (c->resize) resize(c, dst, now);
    return NT_OK;
}

/* --- reading --- */

/* Stable merge sort by row; `spare` has n places too. qsort takes as long for a batch as reading its rows. */
static void sort_by_row(wish *w, wish *spare, int64_t n)
{
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t begin = 0; begin < n; begin += 2 * width) {
            int64_t a = begin, mid = begin + width < n ? begin + width : n, b = mid;
            int64_t end = begin + 2 * width < n ? begin + 2 * width : n;
            for (int64_t i = begin; i < end; i++)
                spare[i] = a < mid && (b >= end || w[a].row <= w[b].row) ? w[a++] : w[b++];
        }
        memcpy(w, spare, (size_t)n * sizeof *w);
    }
}

static nt_status make_room(nt_column *c, int64_t n)
{
    if (n <= c->n_wish_cap) return NT_OK;
    wish *more = realloc(c->wish, 2 * (size_t)n * sizeof *more);
    NT_CHECK_ALLOC(more, 2 * (size_t)n * sizeof *more);
    c->wish = more;
    const char **from = realloc(c->from, (size_t)n * sizeof *from);
    NT_CHECK_ALLOC(from, (size_t)n * sizeof *from);
    c->from = from;
    c->n_wish_cap = n;
    return NT_OK;
}

/* The rows that are not in memory become wishes in ascending order; returns their number. */
static int64_t make_wishes(nt_column *c, const int64_t *index, int64_t n)
{
    int64_t n_wishes = 0;
    bool sorted = true;
    for (int64_t i = 0; i < n; i++) {
        if (index[i] < c->n_loaded) continue;
        sorted = sorted && (n_wishes == 0 || index[i] >= c->wish[n_wishes - 1].row);
        c->wish[n_wishes++] = (wish){.row = index[i], .place = i};
    }
    if (!sorted) sort_by_row(c->wish, c->wish + c->n_wish_cap, n_wishes);
    return n_wishes;
}

/* How many wishes from the i-th on are neighbours in the file and in the batch. */
static int64_t run_length(const nt_column *c, int64_t i, int64_t n)
{
    const wish *w = c->wish + i;
    const share *s = share_of(c, w->row);
    int64_t most = s->first + s->n - w->row, run = 1;
    if (most > n - i) most = n - i;
    while (run < most && w[run].row == w->row + run && w[run].place == w->place + run)
        run++;
    return run;
}

static nt_status read_files(nt_column *c, const int64_t *index, int64_t n, char *dst)
{
    size_t row_bytes = nt_column_row_bytes(c);
    int64_t n_wishes = make_wishes(c, index, n);
    for (int64_t i = 0, run; i < n_wishes; i += run) {
        char *to = dst + (size_t)c->wish[i].place * row_bytes;
        run = c->raw ? 1 : run_length(c, i, n_wishes);
        if (c->raw)
            NT_TRY(read_formed(c, c->wish[i].row, to));
        else
            NT_TRY(read_raw(c, c->wish[i].row, run, to));
    }
    return NT_OK;
}

/* --- mapped files --- */

/* Whether a stored row is, byte for byte, what is wanted. */
static bool is_wanted_as_stored(const nt_column *c, const nt_h5_info *info)
{
    bool same = c->dtype == NT_U8 ? is_u8(info)
                                  : c->dtype == NT_F32 && info->type_class == NT_H5_FLOAT &&
                                        info->type_bytes == 4 && info->native_order;
    return same && !c->raw && info->file_offset >= 0;
}

/* All shares or none. */
static bool map_files(nt_column *c)
{
    for (int i = 0; i < c->n_shares; i++) {
        share *s = &c->share[i];
        const nt_h5_info *info = nt_h5_set_info(s->set);
        if (is_wanted_as_stored(c, info) &&
            nt_mapped_open(&s->mapped, nt_h5_descriptor(s->source.file), info->file_offset,
                           s->n * (int64_t)nt_column_row_bytes(c)))
            continue;
        while (i-- > 0)
            nt_mapped_close(&c->share[i].mapped);
        return false;
    }
    return true;
}

/* Has the disk read the rows that are not in memory, in the order of the file. */
static void ask_ahead(nt_column *c, const int64_t *index, int64_t n)
{
    size_t row_bytes = nt_column_row_bytes(c);
    int64_t n_wishes = make_wishes(c, index, n);
    for (int64_t i = 0; i < n_wishes; i++)
        nt_mapped_want(&share_of(c, c->wish[i].row)->mapped, c->from[c->wish[i].place], row_bytes);
}

static nt_status check_mapped(nt_column *c, bool copied)
{
    for (int i = 0; i < c->n_shares; i++) {
        share *s = &c->share[i];
        NT_CHECK(!s->touched || nt_mapped_is_whole(&s->mapped), NT_ERR_DATA,
                 "%s: dataset '%s' ends early: the file has become shorter", nt_h5_path(s->source.file),
                 s->source.name);
        s->touched = false;
    }
    NT_CHECK(copied, NT_ERR_IO, "cannot read '%s' or a file beside it: the disk failed (SIGBUS)",
             nt_h5_path(c->share[0].source.file));
    return NT_OK;
}

static nt_status read_mapped(nt_column *c, const int64_t *index, int64_t n, char *dst)
{
    size_t row_bytes = nt_column_row_bytes(c);
    for (int64_t i = 0; i < n; i++) {
        share *s = &c->share[share_of(c, index[i]) - c->share];
        s->touched = true;
        c->from[i] = s->mapped.part + (size_t)(index[i] - s->first) * row_bytes;
    }
    if (row_bytes >= LARGE_ROW_BYTES || c->asks_left > 0) ask_ahead(c, index, n);
    int64_t waits = nt_mapped_waits();
    bool copied = nt_mapped_copy(dst, c->from, n, row_bytes);
    if (c->asks_left-- <= 0) c->asks_left = nt_mapped_waits() > waits ? ASK_BATCHES : 0;
    NT_TRY(check_mapped(c, copied));
    for (int64_t i = 0; c->dtype == NT_F32 && i < n; i++)
        NT_TRY(check_values(c, index[i], 1, (float *)(void *)(dst + (size_t)i * row_bytes)));
    return NT_OK;
}

/* Once per column. */
static void report_denormals(nt_column *c)
{
    if (c->n_denormal == 0 || c->said_denormal) return;
    c->said_denormal = true;
    nt_warn("%s: '%s' holds subnormal numbers (%lld so far), taken as zero",
            nt_h5_path(c->share[0].source.file), c->share[0].source.name, (long long)c->n_denormal);
}

nt_status nt_column_read(nt_column *c, const int64_t *index, int64_t n, void *dst)
{
    size_t row_bytes = nt_column_row_bytes(c);
    if (c->complete) {
        nt_rows_gather(dst, c->memory, index, n, row_bytes);
        return NT_OK;
    }
    NT_TRY(make_room(c, n));
    if (!c->looked) c->mapped = map_files(c);
    c->looked = true;
    for (int64_t i = 0; c->memory && i < n; i++)
        if (index[i] < c->n_loaded)
            memcpy((char *)dst + (size_t)i * row_bytes, c->memory + (size_t)index[i] * row_bytes, row_bytes);
    if (c->mapped)
        NT_TRY(read_mapped(c, index, n, dst));
    else
        NT_TRY(read_files(c, index, n, dst));
    report_denormals(c);
    return NT_OK;
}

/* Rows that are not in memory, share by share. */
static nt_status read_range(nt_column *c, int64_t first, int64_t n, char *dst)
{
    size_t row_bytes = nt_column_row_bytes(c);
    for (int64_t count; n > 0; first += count, n -= count, dst += (size_t)count * row_bytes) {
        const share *s = share_of(c, first);
        int64_t left = s->first + s->n - first;
        count = c->raw ? 1 : n < left ? n : left;
        if (c->raw)
            NT_TRY(read_formed(c, first, dst));
        else
            NT_TRY(read_raw(c, first, count, dst));
    }
    return NT_OK;
}

nt_status nt_column_read_range(nt_column *c, int64_t first, int64_t n, void *dst)
{
    size_t row_bytes = nt_column_row_bytes(c);
    int64_t there = c->n_loaded - first < n ? c->n_loaded - first : n;
    if (there < 0) there = 0;
    if (there > 0) memcpy(dst, c->memory + (size_t)first * row_bytes, (size_t)there * row_bytes);
    NT_TRY(read_range(c, first + there, n - there, (char *)dst + (size_t)there * row_bytes));
    report_denormals(c);
    return NT_OK;
}

/* In pieces, because what converts them needs as much memory again. */
static nt_status load_rows(nt_column *c, int64_t n, char *memory)
{
    const int64_t row_bytes = (int64_t)nt_column_row_bytes(c);
    const int64_t step = row_bytes * LOAD_ROWS < LOAD_BYTES ? LOAD_BYTES / row_bytes : LOAD_ROWS;
    for (int64_t first = 0; first < n; first += step) {
        int64_t count = n - first < step ? n - first : step;
        NT_TRY(read_range(c, first, count, memory + first * row_bytes));
    }
    return NT_OK;
}

nt_status nt_column_load(nt_column *c, int64_t n, bool complete)
{
    void *memory;
    NT_TRY(nt_rows_allocate(&memory, (size_t)n * nt_column_row_bytes(c)));
    nt_status status = load_rows(c, n, memory);
    if (status != NT_OK) {
        free(memory);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    c->memory = memory;
    c->n_loaded = n;
    c->complete = complete;
    if (complete) close_sets(c); /* and with them their chunk buffers */
    report_denormals(c);
    return NT_OK;
}

nt_status nt_column_read_integers(nt_column *c, int64_t first, int64_t n, int64_t *dst)
{
    int64_t row_elems = nt_shape_elems(c->stored);
    while (n > 0) {
        const share *s = share_of(c, first);
        int64_t left = s->first + s->n - first, count = n < left ? n : left;
        NT_TRY(nt_h5_set_read(s->set, first - s->first, count, NT_I64, dst));
        first += count, n -= count, dst += count * row_elems;
    }
    return NT_OK;
}
