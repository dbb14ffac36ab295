/* Reading datasets whose description and bytes are both under suspicion.
 *
 * nt_h5_set_open looks at how a dataset claims to be stored before it asks for anything else, because already
 * the question for its shape would open the sources of a virtual dataset. HDF5 is then only used to find out
 * where bytes lie: contiguous rows are read by pread, chunks are fetched raw and decoded here
 * (core/h5_filter.c), and values are converted with a check (core/h5_convert.c). H5Dread was the alternative:
 * it fills what was never written with zeros, inflates without a limit, clamps values, and holds the
 * library's lock while it does all that.
 *
 * A band is the set of rows that share a row of chunks; the last band is kept, so rows in ascending order
 * decode every chunk once. A set may be used by one thread at a time. */
#include "core/h5_private.h"

#include <hdf5.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_ELEMS ((hsize_t)1 << 40) /* as nt_shape_check */

/* Names what is wrong with a set; "file: dataset 'name' ..." */
#define SET_CHECK(cond, format, ...)                                                                         \
    NT_CHECK(cond, NT_ERR_DATA, "%s: dataset '%s' " format, set->file->label, set->name, ##__VA_ARGS__)

/* What a library says of objects in a format that came after it. */
#define NEWER_HDF5                                                                                           \
    ": it seems to be written by a newer HDF5 than the one in use here; "                                    \
    "write it with libver='earliest', or rewrite it with that version's h5repack"

/* --- opening --- */

/* What the last group on the way holds, for "there is no ..."; "" if that cannot be said. */
static void say_children(nt_h5 *file, const char *group, char *text, size_t cap)
{
    H5G_info_t info = {.nlinks = 0};
    text[0] = '\0';
    hid_t id = H5Gopen2(file->id, group, H5P_DEFAULT);
    if (id >= 0 && H5Gget_info(id, &info) < 0) info.nlinks = 0;
    size_t used = 0;
    for (hsize_t i = 0; i < info.nlinks && i < 8 && used < cap; i++) {
        char name[64];
        if (H5Lget_name_by_idx(id, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name, H5P_DEFAULT) < 0)
            break;
        if (i == 0) used += (size_t)snprintf(text, cap, "; '%.200s' holds: %s", group, name);
        if (i > 0) used += (size_t)snprintf(text + used, cap - used, ", %s", name);
    }
    if (info.nlinks > 8 && used < cap) snprintf(text + used, cap - used, ", ...");
    if (id >= 0) (void)H5Gclose(id);
}

/* Whether the last link to an object that was not found is there itself; for a message. */
static bool has_soft_link(nt_h5 *file, const char *name)
{
    H5L_info_t info;
    bool soft = H5Lget_info(file->id, name, &info, H5P_DEFAULT) >= 0 && info.type == H5L_TYPE_SOFT;
    return soft;
}

static nt_status open_object(nt_h5_set *set)
{
    char path[NT_H5_PATH_BYTES], children[NT_H5_PATH_BYTES];
    bool found;
    NT_TRY(nt_h5_resolve(set->file, set->name, path, &found));
    if (!found && has_soft_link(set->file, set->name))
        NT_FAIL(NT_ERR_DATA, "%s: there is no dataset '%s': it is a soft link that leads nowhere",
                set->file->label, set->name);
    if (!found) {
        say_children(set->file, path, children, sizeof children);
        NT_FAIL(NT_ERR_DATA, "%s: there is no dataset '%s'%s", set->file->label, set->name, children);
    }
    set->id = H5Oopen(set->file->id, path, H5P_DEFAULT);
    const char *reason = set->id >= 0 ? "" : nt_h5_reason();
    SET_CHECK(set->id >= 0, "cannot be opened (HDF5: %s)%s", reason,
              strstr(reason, "bad version number") ? NEWER_HDF5 : "");
    H5I_type_t type = H5Iget_type(set->id);
    SET_CHECK(type != H5I_GROUP, "is a group, not a dataset");
    SET_CHECK(type == H5I_DATASET, "is a named type, not a dataset");
    return NT_OK;
}

/* Only whole IEEE floats and two's complement integers count as numbers. */
static nt_h5_elem classify(hid_t type, size_t n_bytes, bool *swap)
{
    const struct {
        hid_t little, big;
    } known[NT_H5_N_ELEMS] = {
        [NT_H5_I8] = {H5T_STD_I8LE, H5T_STD_I8BE},      [NT_H5_U8] = {H5T_STD_U8LE, H5T_STD_U8BE},
        [NT_H5_I16] = {H5T_STD_I16LE, H5T_STD_I16BE},   [NT_H5_U16] = {H5T_STD_U16LE, H5T_STD_U16BE},
        [NT_H5_I32] = {H5T_STD_I32LE, H5T_STD_I32BE},   [NT_H5_U32] = {H5T_STD_U32LE, H5T_STD_U32BE},
        [NT_H5_I64] = {H5T_STD_I64LE, H5T_STD_I64BE},   [NT_H5_U64] = {H5T_STD_U64LE, H5T_STD_U64BE},
        [NT_H5_F32] = {H5T_IEEE_F32LE, H5T_IEEE_F32BE}, [NT_H5_F64] = {H5T_IEEE_F64LE, H5T_IEEE_F64BE},
    };
    const bool here_little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
    *swap = false;
    for (int i = 0; i < NT_H5_N_ELEMS; i++) {
        if (nt_h5_elem_bytes((nt_h5_elem)i) != n_bytes) continue;
        bool little = H5Tequal(type, known[i].little) > 0, big = H5Tequal(type, known[i].big) > 0;
        if (!little && !big) continue;
        *swap = nt_h5_elem_bytes((nt_h5_elem)i) > 1 && little != here_little;
        return (nt_h5_elem)i;
    }
    return NT_H5_N_ELEMS;
}

static nt_h5_class class_of(hid_t type, nt_h5_elem elem)
{
    if (elem == NT_H5_F32 || elem == NT_H5_F64) return NT_H5_FLOAT;
    if (elem < NT_H5_N_ELEMS) return elem % 2 == 0 ? NT_H5_INT : NT_H5_UINT;
    return H5Tget_class(type) == H5T_STRING ? NT_H5_STRING : NT_H5_OTHER;
}

static nt_status look_at_type(nt_h5_set *set)
{
    hid_t type = H5Dget_type(set->id);
    SET_CHECK(type >= 0, "has an unreadable type (HDF5: %s)", nt_h5_reason());
    bool swap;
    size_t n_bytes = H5Tget_size(type);
    set->elem = classify(type, n_bytes, &swap);
    set->info.type_class = class_of(type, set->elem);
    set->info.native_order = !swap;
    (void)H5Tclose(type);
    SET_CHECK(n_bytes > 0 && n_bytes <= 1 << 20, "has elements of %zu bytes", n_bytes);
    set->info.type_bytes = (int)n_bytes;
    set->elem_bytes = n_bytes;
    return NT_OK;
}

/* n dimensions as given by HDF5 into a shape with at least one and at most 2^40 elements. */
static nt_status take_shape(nt_h5_set *set, nt_shape *shape, const char *what, int n, const hsize_t *dim)
{
    hsize_t n_elems = 1;
    shape->n_dims = n;
    for (int i = 0; i < n; i++) {
        SET_CHECK(dim[i] > 0, "has %s of size 0 in dimension %d", what, i);
        SET_CHECK(dim[i] <= MAX_ELEMS / n_elems, "claims %s of more than 2^40 elements", what);
        n_elems *= dim[i];
        shape->dim[i] = (int64_t)dim[i];
    }
    return NT_OK;
}

static nt_status look_at_shape(nt_h5_set *set)
{
    hsize_t dim[H5S_MAX_RANK];
    hid_t space = H5Dget_space(set->id);
    int n = space >= 0 ? H5Sget_simple_extent_ndims(space) : -1;
    bool ok = n >= 0 && H5Sget_simple_extent_dims(space, dim, NULL) == n;
    bool simple = space >= 0 && H5Sget_simple_extent_type(space) == H5S_SIMPLE;
    if (space >= 0) (void)H5Sclose(space);
    SET_CHECK(ok, "has an unreadable shape (HDF5: %s)", nt_h5_reason());
    SET_CHECK(simple && n >= 1, "holds a single value or nothing; an array was expected");
    SET_CHECK(n <= NT_MAX_DIMS, "has %d dimensions; at most %d are possible", n, NT_MAX_DIMS);
    NT_TRY(take_shape(set, &set->info.shape, "a shape", n, dim));
    set->row_elems = nt_shape_elems(set->info.shape) / set->info.shape.dim[0];
    set->row_bytes = (size_t)set->row_elems * set->elem_bytes;
    return NT_OK;
}

/* Bytes of the whole set: at most 2^40 elements of at most 2^20 bytes. */
static uint64_t declared_bytes(const nt_h5_set *set)
{
    return (uint64_t)set->row_bytes * (uint64_t)set->info.shape.dim[0];
}

static nt_status look_at_contiguous(nt_h5_set *set)
{
    haddr_t offset = H5Dget_offset(set->id);
    SET_CHECK(offset != HADDR_UNDEF, "was never written");
    SET_CHECK(set->info.stored_bytes >= declared_bytes(set), "claims %llu bytes but stores %zu",
              (unsigned long long)declared_bytes(set), set->info.stored_bytes);
    uint64_t size = (uint64_t)set->file->io->size;
    SET_CHECK(offset <= size && declared_bytes(set) <= size - offset,
              "claims %llu bytes, but the file ends before them", (unsigned long long)declared_bytes(set));
    set->info.file_offset = (int64_t)offset;
    return NT_OK;
}

/* Compact: the data lie in the object's header (at most 64 kB); read now. */
static nt_status look_at_compact(nt_h5_set *set)
{
    uint64_t n_bytes = declared_bytes(set);
    SET_CHECK(n_bytes <= 65536 && set->info.stored_bytes >= n_bytes, "claims %llu bytes but stores %zu",
              (unsigned long long)n_bytes, set->info.stored_bytes);
    if (set->elem == NT_H5_N_ELEMS) return NT_OK;
    set->band_memory = malloc(n_bytes);
    NT_CHECK_ALLOC(set->band_memory, n_bytes);
    hid_t type = H5Dget_type(set->id);
    bool ok = type >= 0 && H5Dread(set->id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, set->band_memory) >= 0;
    if (type >= 0) (void)H5Tclose(type);
    SET_CHECK(ok, "cannot be read (HDF5: %s)", nt_h5_reason());
    set->band = set->band_memory;
    return NT_OK;
}

static nt_status add_filter(nt_h5_set *set, hid_t plist, unsigned index)
{
    unsigned flags, values[8] = {0};
    size_t n_values = 8;
    char name[64] = "";
    H5Z_filter_t id = H5Pget_filter2(plist, index, &flags, &n_values, values, sizeof name, name, NULL);
    SET_CHECK(id >= 0, "has an unreadable filter (HDF5: %s)", nt_h5_reason());
    SET_CHECK(
        id == H5Z_FILTER_SHUFFLE || id == H5Z_FILTER_DEFLATE || id == H5Z_FILTER_FLETCHER32,
        "uses filter %d (%.40s); only shuffle, deflate and fletcher32 can be read: rewrite the file with "
        "h5repack -f GZIP=1",
        id, name[0] ? name : "unknown");
    nt_h5_filter filter = id == H5Z_FILTER_SHUFFLE   ? NT_H5_SHUFFLE
                          : id == H5Z_FILTER_DEFLATE ? NT_H5_DEFLATE
                                                     : NT_H5_FLETCHER32;
    for (int i = 0; i < set->pipeline.n; i++)
        SET_CHECK(set->pipeline.filter[i] != filter, "uses filter %d twice", id);
    if (filter == NT_H5_SHUFFLE)
        SET_CHECK(n_values >= 1 && values[0] == set->elem_bytes, "shuffles elements of the wrong size");
    set->pipeline.filter[set->pipeline.n++] = filter;
    set->info.filtered = true;
    if (filter == NT_H5_FLETCHER32) set->info.fletcher32 = true;
    return NT_OK;
}

static nt_status look_at_filters(nt_h5_set *set, hid_t plist)
{
    int n = H5Pget_nfilters(plist);
    SET_CHECK(n >= 0, "has an unreadable filter pipeline (HDF5: %s)", nt_h5_reason());
    set->pipeline.elem_bytes = set->elem_bytes;
    for (int i = 0; i < n; i++)
        NT_TRY(add_filter(set, plist, (unsigned)i));
    unsigned options = 0;
    SET_CHECK(H5Pget_chunk_opts(plist, &options) >= 0 &&
                  (options & H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS) == 0,
              "leaves chunks at its edge unfiltered, which cannot be read");
    return NT_OK;
}

/* What one chunk, and one band of them, take in memory. */
static nt_status look_at_chunk_size(nt_h5_set *set, size_t max_chunk_bytes)
{
    const nt_shape *shape = &set->info.shape, *chunk = &set->info.chunk;
    char text[NT_SHAPE_TEXT_BYTES];
    uint64_t n_bytes = (uint64_t)nt_shape_elems(*chunk) * set->elem_bytes;
    SET_CHECK(n_bytes <= max_chunk_bytes, "has chunks of %s, %llu bytes each; at most %zu can be read",
              nt_shape_text(*chunk, text), (unsigned long long)n_bytes, max_chunk_bytes);
    set->pipeline.chunk_bytes = (size_t)n_bytes;
    set->whole_rows = true;
    for (int i = 1; i < shape->n_dims; i++)
        set->whole_rows = set->whole_rows && chunk->dim[i] == shape->dim[i];
    int64_t rows = chunk->dim[0] < shape->dim[0] ? chunk->dim[0] : shape->dim[0];
    SET_CHECK(set->row_bytes <= max_chunk_bytes / (size_t)rows,
              "has chunks of %s: to read one row, %lld rows of %zu bytes have to be decoded, more than %zu "
              "bytes: rewrite it with whole rows in a chunk (h5repack -l)",
              nt_shape_text(*chunk, text), (long long)rows, set->row_bytes, max_chunk_bytes);
    set->band_bytes = set->whole_rows ? (size_t)n_bytes : (size_t)rows * set->row_bytes;
    return NT_OK;
}

/* All chunks that the shape needs must have been written: what was not would read as zeros. */
static nt_status count_chunks(nt_h5_set *set)
{
    uint64_t wanted = 1;
    for (int i = 0; i < set->info.shape.n_dims; i++)
        wanted *= (uint64_t)((set->info.shape.dim[i] - 1) / set->info.chunk.dim[i] + 1);
    hsize_t n = 0;
    hid_t space = H5Dget_space(set->id);
    bool ok = space >= 0 && H5Dget_num_chunks(set->id, space, &n) >= 0;
    if (space >= 0) (void)H5Sclose(space);
    SET_CHECK(ok, "has a damaged chunk index (HDF5: %s)", nt_h5_reason());
    SET_CHECK(n >= wanted, "claims %llu chunks, but only %llu of them were ever written",
              (unsigned long long)wanted, (unsigned long long)n);
    return NT_OK;
}

static nt_status look_at_chunks(nt_h5_set *set, hid_t plist, size_t max_chunk_bytes)
{
    hsize_t dim[H5S_MAX_RANK];
    int n = H5Pget_chunk(plist, H5S_MAX_RANK, dim);
    SET_CHECK(n == set->info.shape.n_dims, "has chunks of another rank (%d) than its own (%d)", n,
              set->info.shape.n_dims);
    NT_TRY(take_shape(set, &set->info.chunk, "chunks", n, dim));
    set->info.chunked = true;
    NT_TRY(look_at_filters(set, plist));
    NT_TRY(look_at_chunk_size(set, max_chunk_bytes));
    return count_chunks(set);
}

/* Where the data are, before anything that would make HDF5 go and look there. */
static nt_status look_at_storage(nt_h5_set *set, hid_t plist, size_t max_chunk_bytes)
{
    H5D_layout_t layout = H5Pget_layout(plist);
    SET_CHECK(layout != H5D_VIRTUAL, "is virtual: its data are in other files, which is refused");
    SET_CHECK(layout == H5D_CONTIGUOUS || layout == H5D_CHUNKED || layout == H5D_COMPACT,
              "has an unknown layout");
    SET_CHECK(H5Pget_external_count(plist) == 0,
              "keeps its data in other files (external storage), which is refused");
    NT_TRY(look_at_type(set));
    NT_TRY(look_at_shape(set));
    set->info.stored_bytes = (size_t)H5Dget_storage_size(set->id);
    if (layout == H5D_CHUNKED) return look_at_chunks(set, plist, max_chunk_bytes);
    return layout == H5D_COMPACT ? look_at_compact(set) : look_at_contiguous(set);
}

static nt_status open_checked(nt_h5_set *set, size_t max_chunk_bytes)
{
    NT_TRY(open_object(set));
    hid_t plist = H5Dget_create_plist(set->id);
    SET_CHECK(plist >= 0, "is damaged (HDF5: %s)", nt_h5_reason());
    nt_status status = look_at_storage(set, plist, max_chunk_bytes);
    (void)H5Pclose(plist);
    return status;
}

nt_status nt_h5_set_open(nt_h5_set **out, nt_h5 *file, const char *name, size_t max_chunk_bytes)
{
    *out = NULL;
    nt_h5_set *set = calloc(1, sizeof *set);
    char *copy = strdup(name);
    if (!set || !copy) {
        free(set), free(copy);
        NT_FAIL(NT_ERR_UNAVAILABLE, "out of memory opening dataset '%s'", name);
    }
    *set = (nt_h5_set){.file = file, .name = copy, .id = -1, .band_index = -1, .info.file_offset = -1};
    nt_h5_enter();
    nt_status status = open_checked(set, max_chunk_bytes);
    nt_h5_leave();
    if (status != NT_OK) {
        nt_h5_set_close(set);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    *out = set;
    return NT_OK;
}

void nt_h5_set_close(nt_h5_set *set)
{
    if (!set) return;
    nt_h5_enter();
    bool ok =
        set->id < 0 || (H5Iget_type(set->id) == H5I_DATASET ? H5Dclose(set->id) : H5Oclose(set->id)) >= 0;
    if (!ok) set->file->spoiled = true;
    nt_h5_leave();
    free(set->buffer[0]), free(set->buffer[1]);
    free(set->band_memory), free(set->stage), free(set->name);
    free(set);
}

const nt_h5_info *nt_h5_set_info(const nt_h5_set *set)
{
    return &set->info;
}

/* --- reading --- */

static nt_status get_memory(nt_h5_set *set)
{
    if (!set->info.chunked) {
        if (set->stage || set->band) return NT_OK;
        set->stage = malloc(NT_H5_STAGE_BYTES);
        NT_CHECK_ALLOC(set->stage, NT_H5_STAGE_BYTES);
        return NT_OK;
    }
    if (set->buffer[0]) return NT_OK;
    set->decode_bytes = nt_h5_decode_bytes(set->pipeline.chunk_bytes);
    set->buffer[1] = set->info.filtered ? malloc(set->decode_bytes) : NULL;
    NT_CHECK_ALLOC(!set->info.filtered || set->buffer[1], set->decode_bytes);
    set->band_memory = set->whole_rows ? NULL : malloc(set->band_bytes);
    NT_CHECK_ALLOC(set->whole_rows || set->band_memory, set->band_bytes);
    set->buffer[0] = malloc(set->decode_bytes);
    NT_CHECK_ALLOC(set->buffer[0], set->decode_bytes);
    return NT_OK;
}

/* Reads and decodes the chunk whose first element is at `offset`. */
static nt_status read_chunk(nt_h5_set *set, const hsize_t *offset, unsigned char **out)
{
    hsize_t n_bytes = 0;
    uint32_t skipped = 0;
    nt_h5_enter();
    bool found = H5Dget_chunk_storage_size(set->id, offset, &n_bytes) >= 0 && n_bytes > 0;
    bool fits = n_bytes <= set->decode_bytes;
    bool read = found && fits && H5Dread_chunk(set->id, H5P_DEFAULT, offset, &skipped, set->buffer[0]) >= 0;
    const char *reason = read ? "" : nt_h5_reason();
    nt_h5_leave();
    SET_CHECK(found, "has a chunk at row %lld that was never written", (long long)offset[0]);
    SET_CHECK(fits, "stores %llu bytes for the chunk at row %lld, which has only %zu",
              (unsigned long long)n_bytes, (long long)offset[0], set->pipeline.chunk_bytes);
    SET_CHECK(read, "has a chunk at row %lld that cannot be read (HDF5: %s)", (long long)offset[0], reason);
    const char *why =
        nt_h5_decode(&set->pipeline, skipped, set->buffer, (size_t)n_bytes, set->decode_bytes, out);
    SET_CHECK(!why, "has a chunk at row %lld that %s", (long long)offset[0], why);
    return NT_OK;
}

/* Copies a decoded chunk into its place in the band: runs along the last dimension. */
static void scatter_chunk(nt_h5_set *set, const unsigned char *chunk, const hsize_t *offset)
{
    const nt_shape *shape = &set->info.shape, *box = &set->info.chunk;
    int last = shape->n_dims - 1;
    int64_t index[NT_MAX_DIMS] = {0}, n[NT_MAX_DIMS]; /* inside the chunk; the part that is inside the set */
    for (int i = 0; i <= last; i++) {
        int64_t left = shape->dim[i] - (int64_t)offset[i];
        n[i] = box->dim[i] < left ? box->dim[i] : left;
    }
    size_t run_bytes = (size_t)n[last] * set->elem_bytes;
    for (;;) {
        int64_t from = index[0], to = index[0]; /* in elements, row-major; rows of the band start at 0 */
        for (int i = 1; i <= last; i++) {
            from = from * box->dim[i] + index[i];
            to = to * shape->dim[i] + (int64_t)offset[i] + index[i];
        }
        memcpy(set->band_memory + (size_t)to * set->elem_bytes, chunk + (size_t)from * set->elem_bytes,
               run_bytes);
        int i = last - 1;
        while (i >= 0 && ++index[i] == n[i])
            index[i--] = 0;
        if (i < 0) return;
    }
}

/* Moves on to the next chunk of a band; false after the last. */
static bool next_chunk(const nt_h5_set *set, hsize_t *offset)
{
    for (int i = set->info.shape.n_dims - 1; i >= 1; i--) {
        offset[i] += (hsize_t)set->info.chunk.dim[i];
        if (offset[i] < (hsize_t)set->info.shape.dim[i]) return true;
        offset[i] = 0;
    }
    return false;
}

static nt_status load_band(nt_h5_set *set, int64_t index)
{
    if (set->band_index == index) return NT_OK;
    hsize_t offset[NT_MAX_DIMS] = {(hsize_t)(index * set->info.chunk.dim[0])};
    unsigned char *chunk;
    set->band_index = -1;
    if (set->whole_rows) {
        NT_TRY(read_chunk(set, offset, &chunk));
        set->band = chunk;
    } else {
        do {
            NT_TRY(read_chunk(set, offset, &chunk));
            scatter_chunk(set, chunk, offset);
        } while (next_chunk(set, offset));
        set->band = set->band_memory;
    }
    set->band_index = index;
    return NT_OK;
}

/* n_bytes of a contiguous set that begin `skip` bytes into it. */
static nt_status read_bytes(nt_h5_set *set, int64_t skip, size_t n_bytes, void *dst)
{
    char *to = dst;
    off_t at = (off_t)(set->info.file_offset + skip);
    while (n_bytes > 0) {
        ssize_t n = pread(set->file->io->fd, to, n_bytes, at);
        if (n < 0 && errno == EINTR) continue;
        NT_CHECK(n >= 0, NT_ERR_IO, "cannot read '%s': %s", set->file->label, strerror(errno));
        SET_CHECK(n > 0, "ends early: the file has become shorter");
        to += n, at += n, n_bytes -= (size_t)n;
    }
    return NT_OK;
}

/* A run of elements that begins `skip` elements into row `row`. */
static nt_status convert(nt_h5_set *set, void *dst, nt_dtype dtype, const void *src, int64_t row,
                         int64_t skip, int64_t n)
{
    int64_t bad = 0;
    char why[96];
    bool ok = nt_h5_convert(dst, dtype, src, set->elem, !set->info.native_order, n, &bad, why);
    SET_CHECK(ok, "row %lld: %s", (long long)(row + (skip + bad) / set->row_elems), why);
    return NT_OK;
}

/* In blocks of elements where they are converted: a row may be larger than the stage. */
static nt_status read_contiguous(nt_h5_set *set, int64_t first, int64_t n_rows, nt_dtype dtype, char *dst)
{
    int64_t start = first * (int64_t)set->row_bytes; /* byte */
    if (nt_h5_elem_is(set->elem, !set->info.native_order, dtype))
        return read_bytes(set, start, (size_t)n_rows * set->row_bytes, dst);
    int64_t n = n_rows * set->row_elems, stage = (int64_t)(NT_H5_STAGE_BYTES / set->elem_bytes);
    for (int64_t at = 0; at < n; at += stage) {
        int64_t count = n - at < stage ? n - at : stage;
        int64_t skip = start + at * (int64_t)set->elem_bytes;
        NT_TRY(read_bytes(set, skip, (size_t)count * set->elem_bytes, set->stage));
        char *to = dst + (size_t)at * nt_dtype_bytes(dtype);
        NT_TRY(convert(set, to, dtype, set->stage, first, at, count));
    }
    return NT_OK;
}

static nt_status read_run(nt_h5_set *set, int64_t first, int64_t n_rows, nt_dtype dtype, char *dst)
{
    size_t to_row_bytes = (size_t)set->row_elems * nt_dtype_bytes(dtype);
    if (!set->info.chunked && !set->band) return read_contiguous(set, first, n_rows, dtype, dst);
    int64_t band_rows = set->info.chunked ? set->info.chunk.dim[0] : set->info.shape.dim[0];
    while (n_rows > 0) {
        int64_t skip = first % band_rows, left = band_rows - skip, n = n_rows < left ? n_rows : left;
        if (set->info.chunked) NT_TRY(load_band(set, first / band_rows));
        const unsigned char *src = set->band + (size_t)skip * set->row_bytes;
        NT_TRY(convert(set, dst, dtype, src, first, 0, n * set->row_elems));
        first += n, n_rows -= n, dst += (size_t)n * to_row_bytes;
    }
    return NT_OK;
}

static nt_status ready_to_read(nt_h5_set *set)
{
    NT_BUG_UNLESS(!set->file->io->writing, "dataset '%s' is open for writing, not for reading", set->name);
    SET_CHECK(set->info.type_class != NT_H5_STRING, "holds text; numbers were expected");
    SET_CHECK(set->elem != NT_H5_N_ELEMS,
              "holds elements of %d bytes that are neither integers of 8 to 64 bits nor 32- or 64-bit floats",
              set->info.type_bytes);
    return get_memory(set);
}

nt_status nt_h5_set_read(nt_h5_set *set, int64_t first, int64_t n_rows, nt_dtype dtype, void *dst)
{
    NT_TRY(ready_to_read(set));
    int64_t rows = set->info.shape.dim[0];
    NT_BUG_UNLESS(first >= 0 && n_rows >= 0 && n_rows <= rows && first <= rows - n_rows,
                  "rows %lld to %lld of dataset '%s', which has %lld", (long long)first,
                  (long long)(first + n_rows), set->name, (long long)rows);
    NT_TRY(read_run(set, first, n_rows, dtype, dst));
    return NT_OK;
}

nt_status nt_h5_set_read_rows(nt_h5_set *set, const int64_t *rows, int64_t n_rows, nt_dtype dtype, void *dst)
{
    NT_TRY(ready_to_read(set));
    size_t to_row_bytes = (size_t)set->row_elems * nt_dtype_bytes(dtype);
    char *to = dst;
    for (int64_t i = 0; i < n_rows; i++)
        NT_BUG_UNLESS(rows[i] >= 0 && rows[i] < set->info.shape.dim[0] && (i == 0 || rows[i] > rows[i - 1]),
                      "row %lld after row %lld of dataset '%s', which has %lld", (long long)rows[i],
                      (long long)(i ? rows[i - 1] : -1), set->name, (long long)set->info.shape.dim[0]);
    for (int64_t i = 0, n; i < n_rows; i += n) {
        for (n = 1; i + n < n_rows && rows[i + n] == rows[i] + n;)
            n++;
        NT_TRY(read_run(set, rows[i], n, dtype, to));
        to += (size_t)n * to_row_bytes;
    }
    return NT_OK;
}
