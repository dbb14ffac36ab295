/* Writing groups and datasets: chunked, with fletcher32, deflated on request, without time stamps. */
#include "core/h5_private.h"

#include <hdf5.h>

#include <stdlib.h>
#include <string.h>

/* Says why the last call failed: the disk's error if there is one. */
#define WRITE_CHECK(cond, file, format, ...)                                                                 \
    NT_CHECK(cond, NT_ERR_IO, "%s: " format " (%s)", (file)->label, ##__VA_ARGS__,                           \
             (file)->io->error ? strerror((file)->io->error) : nt_h5_reason())

static nt_status make_one_group(nt_h5 *file, const char *path)
{
    hid_t create = H5Pcreate(H5P_GROUP_CREATE);
    bool ok = create >= 0 && H5Pset_obj_track_times(create, false) >= 0;
    hid_t group = ok ? H5Gcreate2(file->id, path, H5P_DEFAULT, create, H5P_DEFAULT) : -1;
    ok = group >= 0 && H5Gclose(group) >= 0;
    if (create >= 0) (void)H5Pclose(create);
    WRITE_CHECK(ok, file, "cannot create group '%s'", path);
    return NT_OK;
}

/* The first n_bytes of `name` as a group, with all groups on the way: HDF5 can make those by itself, but with
 * time stamps. */
static nt_status make_group(nt_h5 *file, const char *name, size_t n_bytes)
{
    char path[NT_H5_PATH_BYTES], resolved[NT_H5_PATH_BYTES];
    NT_CHECK(n_bytes < sizeof path, NT_ERR_IO, "%s: a group name of more than %d bytes", file->label,
             NT_H5_PATH_BYTES);
    for (size_t i = 1; i <= n_bytes; i++) {
        if (i < n_bytes && name[i] != '/') continue;
        memcpy(path, name, i);
        path[i] = '\0';
        bool found;
        NT_TRY(nt_h5_resolve(file, path, resolved, &found));
        if (!found) NT_TRY(make_one_group(file, path));
    }
    return NT_OK;
}

nt_status nt_h5_make_group(nt_h5 *file, const char *name)
{
    nt_h5_enter();
    nt_status status = make_group(file, name, strlen(name));
    nt_h5_leave();
    if (status != NT_OK) return nt_error_trail(status, __FILE__, __LINE__, __func__);
    return NT_OK;
}

static hid_t type_of(nt_dtype dtype, bool in_file)
{
    switch (dtype) {
    case NT_F32:
        return in_file ? H5T_IEEE_F32LE : H5T_NATIVE_FLOAT;
    case NT_F64:
        return in_file ? H5T_IEEE_F64LE : H5T_NATIVE_DOUBLE;
    case NT_U8:
        return in_file ? H5T_STD_U8LE : H5T_NATIVE_UINT8;
    case NT_I32:
        return in_file ? H5T_STD_I32LE : H5T_NATIVE_INT32;
    case NT_I64:
        return in_file ? H5T_STD_I64LE : H5T_NATIVE_INT64;
    case NT_BF16: /* never on the host */
    case NT_N_DTYPES:
        break;
    }
    return -1;
}

/* Never fills: a chunk that was not written is absent and readers say so. */
static bool set_storage(hid_t create, const hsize_t *chunk, int n_dims, int deflate)
{
    return H5Pset_chunk(create, n_dims, chunk) >= 0 && H5Pset_fill_time(create, H5D_FILL_TIME_NEVER) >= 0 &&
           H5Pset_obj_track_times(create, false) >= 0 && (deflate == 0 || H5Pset_shuffle(create) >= 0) &&
           (deflate == 0 || H5Pset_deflate(create, (unsigned)deflate) >= 0) && H5Pset_fletcher32(create) >= 0;
}

static nt_status create_set(nt_h5_set *set, int64_t chunk_rows, int deflate)
{
    const nt_shape *shape = &set->info.shape;
    hsize_t dim[NT_MAX_DIMS], chunk[NT_MAX_DIMS];
    for (int i = 0; i < shape->n_dims; i++)
        dim[i] = chunk[i] = (hsize_t)shape->dim[i];
    if (chunk_rows < shape->dim[0]) chunk[0] = (hsize_t)chunk_rows;
    size_t chunk_bytes = (size_t)chunk[0] * set->row_bytes;
    const char *slash = strrchr(set->name, '/');
    NT_TRY(make_group(set->file, set->name, slash ? (size_t)(slash - set->name) : 0));
    hid_t create = H5Pcreate(H5P_DATASET_CREATE), access = H5Pcreate(H5P_DATASET_ACCESS);
    hid_t space = H5Screate_simple(shape->n_dims, dim, NULL);
    bool ok = create >= 0 && access >= 0 && space >= 0 &&
              set_storage(create, chunk, shape->n_dims, deflate) &&
              H5Pset_chunk_cache(access, 7, chunk_bytes, 1.0) >= 0; /* the chunk that is being filled */
    if (ok)
        set->id = H5Dcreate2(set->file->id, set->name, type_of(set->dtype, true), space, H5P_DEFAULT, create,
                             access);
    const char *reason = set->id < 0 ? nt_h5_reason() : "";
    if (create >= 0) (void)H5Pclose(create);
    if (access >= 0) (void)H5Pclose(access);
    if (space >= 0) (void)H5Sclose(space);
    NT_CHECK(set->id >= 0, NT_ERR_IO, "%s: cannot create dataset '%s' (HDF5: %s)", set->file->label,
             set->name, reason);
    return NT_OK;
}

nt_status nt_h5_set_create(nt_h5_set **out, nt_h5 *file, const char *name, nt_dtype dtype, nt_shape shape,
                           int64_t chunk_rows, int deflate)
{
    *out = NULL;
    NT_TRY(nt_shape_check(shape, name));
    NT_BUG_UNLESS(shape.n_dims >= 1 && chunk_rows >= 1 && deflate >= 0 && deflate <= 9,
                  "dataset '%s': %d dimensions, chunks of %lld rows, deflate %d", name, shape.n_dims,
                  (long long)chunk_rows, deflate);
    nt_h5_set *set = calloc(1, sizeof *set);
    char *copy = strdup(name);
    if (!set || !copy) {
        free(set), free(copy);
        NT_FAIL(NT_ERR_UNAVAILABLE, "out of memory creating dataset '%s'", name);
    }
    *set = (nt_h5_set){.file = file, .name = copy, .id = -1, .dtype = dtype, .info.shape = shape};
    set->row_elems = nt_shape_elems(shape) / shape.dim[0];
    set->row_bytes = (size_t)set->row_elems * nt_dtype_bytes(dtype);
    nt_h5_enter();
    nt_status status = create_set(set, chunk_rows, deflate);
    nt_h5_leave();
    if (status != NT_OK) {
        nt_h5_set_close(set);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    *out = set;
    return NT_OK;
}

static nt_status write_rows(nt_h5_set *set, int64_t first, int64_t n_rows, const void *src)
{
    const nt_shape *shape = &set->info.shape;
    hsize_t start[NT_MAX_DIMS] = {(hsize_t)first}, count[NT_MAX_DIMS] = {(hsize_t)n_rows};
    for (int i = 1; i < shape->n_dims; i++)
        count[i] = (hsize_t)shape->dim[i];
    hid_t memory = H5Screate_simple(shape->n_dims, count, NULL), space = H5Dget_space(set->id);
    bool ok = memory >= 0 && space >= 0 &&
              H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL) >= 0 &&
              H5Dwrite(set->id, type_of(set->dtype, false), memory, space, H5P_DEFAULT, src) >= 0;
    if (memory >= 0) (void)H5Sclose(memory);
    if (space >= 0) (void)H5Sclose(space);
    WRITE_CHECK(ok && set->file->io->error == 0, set->file, "cannot write rows %lld to %lld of '%s'",
                (long long)first, (long long)(first + n_rows), set->name);
    return NT_OK;
}

nt_status nt_h5_set_write(nt_h5_set *set, int64_t first, int64_t n_rows, const void *src)
{
    NT_BUG_UNLESS(first >= 0 && n_rows >= 1 && n_rows <= set->info.shape.dim[0] &&
                      first <= set->info.shape.dim[0] - n_rows,
                  "rows %lld to %lld of dataset '%s', which has %lld", (long long)first,
                  (long long)(first + n_rows), set->name, (long long)set->info.shape.dim[0]);
    nt_h5_enter();
    nt_status status = write_rows(set, first, n_rows, src);
    nt_h5_leave();
    if (status != NT_OK) return nt_error_trail(status, __FILE__, __LINE__, __func__);
    return NT_OK;
}

nt_status nt_h5_set_shorten(nt_h5_set *set, int64_t n_rows)
{
    nt_shape *shape = &set->info.shape;
    hsize_t dim[NT_MAX_DIMS];
    NT_BUG_UNLESS(n_rows >= 1 && n_rows <= shape->dim[0], "%lld rows of dataset '%s', which has %lld",
                  (long long)n_rows, set->name, (long long)shape->dim[0]);
    for (int i = 0; i < shape->n_dims; i++)
        dim[i] = (hsize_t)(i == 0 ? n_rows : shape->dim[i]);
    nt_h5_enter();
    bool ok = H5Dset_extent(set->id, dim) >= 0 && set->file->io->error == 0;
    nt_h5_leave();
    WRITE_CHECK(ok, set->file, "cannot shorten '%s' to %lld rows", set->name, (long long)n_rows);
    shape->dim[0] = n_rows;
    return NT_OK;
}
