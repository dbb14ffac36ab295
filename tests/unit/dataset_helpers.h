/* What the tests of HDF5 datasets share: files made by HDF5 itself, and options as a config without a word
 * about [data] gives them. */
#ifndef NT_TESTS_DATASET_HELPERS_H
#define NT_TESTS_DATASET_HELPERS_H

#include "h5_helpers.h"

#include "datasets/dataset.h"

#include <hdf5.h>

static inline hid_t new_file(const char *name)
{
    hid_t file = H5Fcreate(in_dir(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(file >= 0);
    return file;
}

static inline void end_file(hid_t file)
{
    assert_true(H5Fclose(file) >= 0);
}

/* How put_set stores: contiguous, or chunked (and compressed, checked) in so many rows. */
typedef struct storage {
    hsize_t chunk_rows; /* 0: contiguous */
    bool filtered;
} storage;

/* Writes a set (parents are made) from `data`, which is of type `memory`; NULL: leaves it unwritten. */
static inline void put_stored(hid_t file, const char *name, hid_t type, hid_t memory, int n_dims,
                              const hsize_t *dim, const void *data, storage how)
{
    hsize_t chunk[8];
    hid_t links = H5Pcreate(H5P_LINK_CREATE), create = H5Pcreate(H5P_DATASET_CREATE);
    hid_t space = H5Screate_simple(n_dims, dim, NULL);
    assert_true(H5Pset_create_intermediate_group(links, 1) >= 0);
    memcpy(chunk, dim, (size_t)n_dims * sizeof *dim);
    chunk[0] = how.chunk_rows;
    if (how.chunk_rows) assert_true(H5Pset_chunk(create, n_dims, chunk) >= 0);
    if (how.filtered) assert_true(H5Pset_deflate(create, 1) >= 0 && H5Pset_fletcher32(create) >= 0);
    hid_t set = H5Dcreate2(file, name, type, space, links, create, H5P_DEFAULT);
    assert_true(set >= 0);
    if (data) assert_true(H5Dwrite(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    assert_true(H5Dclose(set) >= 0 && H5Sclose(space) >= 0 && H5Pclose(create) >= 0 && H5Pclose(links) >= 0);
}

#define DIMS(...)                                                                                            \
    ((int)(sizeof((hsize_t[]){__VA_ARGS__}) / sizeof(hsize_t))), (hsize_t[])                                 \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }

static inline void put_u8(hid_t file, const char *name, int n_dims, const hsize_t *dim, const uint8_t *data)
{
    put_stored(file, name, H5T_STD_U8LE, H5T_NATIVE_UINT8, n_dims, dim, data, (storage){0});
}

static inline void put_f32(hid_t file, const char *name, int n_dims, const hsize_t *dim, const float *data)
{
    put_stored(file, name, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, n_dims, dim, data, (storage){0});
}

static inline void put_int(hid_t file, const char *name, int n_dims, const hsize_t *dim, const int *data)
{
    put_stored(file, name, H5T_STD_I64LE, H5T_NATIVE_INT, n_dims, dim, data, (storage){0});
}

static inline void put_attribute(hid_t file, const char *object, const char *name, hid_t type, hsize_t n,
                                 const void *value)
{
    hid_t owner = H5Oopen(file, object, H5P_DEFAULT), space = H5Screate_simple(1, &n, NULL);
    hid_t id = H5Acreate2(owner, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(id >= 0 && H5Awrite(id, type, value) >= 0);
    assert_true(H5Aclose(id) >= 0 && H5Sclose(space) >= 0 && H5Oclose(owner) >= 0);
}

static inline void put_text(hid_t file, const char *object, const char *name, const char *value)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    assert_true(H5Tset_size(type, strlen(value) + 1) >= 0);
    put_attribute(file, object, name, type, 1, value);
    assert_true(H5Tclose(type) >= 0);
}

/* The defaults of [data], and one file. The name lives in the options' keeper below. */
static const char *the_files[8];
static inline nt_data_options options_for(const char *path)
{
    nt_data_options options;
    assert_ok(nt_section_defaults(&nt_data_section, &options));
    static char kept[4300];
    snprintf(kept, sizeof kept, "%s", path);
    the_files[0] = kept;
    options.file = (nt_names){.n = 1, .name = the_files};
    return options;
}

static inline nt_dataset *must_open(const nt_data_options *options, nt_split split)
{
    nt_dataset *ds = NULL;
    assert_ok(nt_dataset_open(&ds, options, split, 1));
    assert_non_null(ds);
    return ds;
}

#define assert_open_fails(options, split, status, ...)                                                       \
    do {                                                                                                     \
        nt_dataset *ds_ = (void *)1;                                                                         \
        assert_fails(nt_dataset_open(&ds_, options, split, 1), status, __VA_ARGS__);                         \
        assert_null(ds_);                                                                                    \
    } while (0)

#endif
