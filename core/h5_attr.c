/* Attributes: small texts and numbers beside the data.
 *
 * An attribute may claim any type and any number of elements; both are checked against what the caller can
 * take before a byte of it is read. Text is read in its stored form, fixed or variable; numbers are converted
 * by HDF5 to the widest kind. */
#include "core/h5_private.h"

#include <hdf5.h>

#include <stdlib.h>
#include <string.h>

#define MAX_TEXT_BYTES ((size_t)64 << 20)

/* An open attribute. */
typedef struct attribute {
    nt_h5 *file;
    const char *object, *name;
    hid_t id, type;
    int64_t n; /* elements */
} attribute;

#define ATTR_CHECK(cond, format, ...)                                                                        \
    NT_CHECK(cond, NT_ERR_DATA, "%s: attribute '%s' of '%s' " format, a->file->label, a->name, a->object,    \
             ##__VA_ARGS__)

static void attr_close(attribute *a)
{
    if (a->type >= 0) (void)H5Tclose(a->type);
    if (a->id >= 0) (void)H5Aclose(a->id);
}

static nt_status attr_look(attribute *a)
{
    ATTR_CHECK(a->id >= 0, "cannot be opened (HDF5: %s)", nt_h5_reason());
    a->type = H5Aget_type(a->id);
    ATTR_CHECK(a->type >= 0, "has an unreadable type (HDF5: %s)", nt_h5_reason());
    hid_t space = H5Aget_space(a->id);
    hssize_t n = space >= 0 ? H5Sget_simple_extent_npoints(space) : -1;
    int n_dims = space >= 0 ? H5Sget_simple_extent_ndims(space) : -1;
    if (space >= 0) (void)H5Sclose(space);
    ATTR_CHECK(n >= 1 && n_dims >= 0 && n_dims <= 1, "is empty, or an array of more than one dimension");
    a->n = n;
    return NT_OK;
}

/* Opens attribute `name` of `object`; a missing object or attribute is *found false. Close in every case. */
static nt_status attr_open(attribute *a, nt_h5 *file, const char *object, const char *name, bool *found)
{
    char path[NT_H5_PATH_BYTES];
    *a = (attribute){.file = file, .object = object, .name = name, .id = -1, .type = -1};
    NT_TRY(nt_h5_resolve(file, object, path, found));
    if (!*found) return NT_OK;
    hid_t owner = H5Oopen(file->id, path, H5P_DEFAULT);
    NT_CHECK(owner >= 0, NT_ERR_DATA, "%s: '%s' cannot be opened (HDF5: %s)", file->label, object,
             nt_h5_reason());
    htri_t exists = H5Aexists(owner, name);
    if (exists > 0) a->id = H5Aopen(owner, name, H5P_DEFAULT);
    (void)H5Oclose(owner);
    *found = exists > 0;
    ATTR_CHECK(exists >= 0, "cannot be looked up (HDF5: %s)", nt_h5_reason());
    return *found ? attr_look(a) : NT_OK;
}

/* --- text --- */

static nt_status read_variable(attribute *a, size_t cap, char **texts)
{
    char **raw = calloc((size_t)a->n, sizeof *raw);
    NT_CHECK_ALLOC(raw, (size_t)a->n * sizeof *raw);
    hid_t memory = H5Tcopy(a->type), space = H5Aget_space(a->id);
    bool read = memory >= 0 && H5Aread(a->id, memory, raw) >= 0, fits = true, copied = true;
    for (int64_t i = 0; read && i < a->n; i++) {
        const char *text = raw[i] ? raw[i] : "";
        fits = fits && strlen(text) < cap;
        copied = copied && fits && (texts[i] = strdup(text)) != NULL;
    }
    if (read && space >= 0) (void)H5Dvlen_reclaim(memory, space, H5P_DEFAULT, raw);
    if (space >= 0) (void)H5Sclose(space);
    if (memory >= 0) (void)H5Tclose(memory);
    free(raw);
    ATTR_CHECK(read, "cannot be read (HDF5: %s)", nt_h5_reason());
    ATTR_CHECK(fits, "is longer than %zu bytes", cap);
    ATTR_CHECK(copied, "does not fit into memory");
    return NT_OK;
}

/* Length of a fixed-size text without its padding. */
static size_t fixed_length(const char *text, size_t n_bytes, H5T_str_t padding)
{
    size_t n = strnlen(text, n_bytes);
    while (padding == H5T_STR_SPACEPAD && n > 0 && text[n - 1] == ' ')
        n--;
    return n;
}

static nt_status read_fixed(attribute *a, size_t cap, char **texts)
{
    size_t each = H5Tget_size(a->type);
    ATTR_CHECK(each > 0 && each <= cap && each <= MAX_TEXT_BYTES / (size_t)a->n, "is longer than %zu bytes",
               cap);
    char *raw = malloc((size_t)a->n * each);
    NT_CHECK_ALLOC(raw, (size_t)a->n * each);
    bool read = H5Aread(a->id, a->type, raw) >= 0, copied = true;
    for (int64_t i = 0; read && i < a->n; i++) {
        const char *text = raw + (size_t)i * each;
        copied =
            copied && (texts[i] = strndup(text, fixed_length(text, each, H5Tget_strpad(a->type)))) != NULL;
    }
    free(raw);
    ATTR_CHECK(read, "cannot be read (HDF5: %s)", nt_h5_reason());
    ATTR_CHECK(copied, "does not fit into memory");
    return NT_OK;
}

/* Fills texts (a->n), each malloc'ed and shorter than cap. */
static nt_status read_texts(attribute *a, size_t cap, char **texts)
{
    ATTR_CHECK(H5Tget_class(a->type) == H5T_STRING, "is not text");
    return H5Tis_variable_str(a->type) > 0 ? read_variable(a, cap, texts) : read_fixed(a, cap, texts);
}

static nt_status get_texts(attribute *a, size_t cap, int max, char ***dst, int *n)
{
    ATTR_CHECK(a->n <= max, "holds %lld texts; at most %d are possible", (long long)a->n, max);
    char **texts = calloc((size_t)a->n, sizeof *texts);
    NT_CHECK_ALLOC(texts, (size_t)a->n * sizeof *texts);
    nt_status status = read_texts(a, cap, texts);
    if (status != NT_OK) {
        nt_h5_free_list(texts, (int)a->n);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    *dst = texts;
    *n = (int)a->n;
    return NT_OK;
}

/* Every text attribute is read through here. */
static nt_status fetch_texts(nt_h5 *file, const char *object, const char *name, size_t cap, int max,
                             char ***dst, int *n, bool *found)
{
    attribute a;
    *dst = NULL;
    *n = 0;
    nt_h5_enter();
    nt_status status = attr_open(&a, file, object, name, found);
    if (status == NT_OK && *found) status = get_texts(&a, cap, max, dst, n);
    attr_close(&a);
    nt_h5_leave();
    return status;
}

nt_status nt_h5_attr_strings(nt_h5 *file, const char *object, const char *name, char ***dst, int cap, int *n,
                             bool *found)
{
    NT_TRY(fetch_texts(file, object, name, (size_t)1 << 20, cap, dst, n, found));
    return NT_OK;
}

nt_status nt_h5_attr_text(nt_h5 *file, const char *object, const char *name, size_t cap, char **dst,
                          bool *found)
{
    char **list;
    int n;
    *dst = NULL;
    NT_TRY(fetch_texts(file, object, name, cap, 1, &list, &n, found));
    if (n == 1) *dst = list[0];
    free(list);
    return NT_OK;
}

nt_status nt_h5_attr_string(nt_h5 *file, const char *object, const char *name, char *dst, size_t cap,
                            bool *found)
{
    char *text;
    NT_TRY(nt_h5_attr_text(file, object, name, (size_t)1 << 20, &text, found));
    dst[0] = '\0';
    if (text) strncat(dst, text, cap - 1);
    free(text);
    return NT_OK;
}

/* --- numbers --- */

static nt_status read_numbers(attribute *a, hid_t memory, bool floats, int cap, void *dst)
{
    H5T_class_t class = H5Tget_class(a->type);
    ATTR_CHECK(class == H5T_INTEGER || (floats && class == H5T_FLOAT), "is not %s",
               floats ? "a number" : "an integer");
    ATTR_CHECK(H5Tget_size(a->type) <= 16, "is a number of %zu bytes", H5Tget_size(a->type));
    ATTR_CHECK(a->n <= cap, "holds %lld numbers; at most %d are possible", (long long)a->n, cap);
    ATTR_CHECK(H5Aread(a->id, memory, dst) >= 0, "cannot be read (HDF5: %s)", nt_h5_reason());
    return NT_OK;
}

nt_status nt_h5_attr_floats(nt_h5 *file, const char *object, const char *name, double *dst, int cap, int *n,
                            bool *found)
{
    attribute a;
    *n = 0;
    nt_h5_enter();
    nt_status status = attr_open(&a, file, object, name, found);
    if (status == NT_OK && *found) status = read_numbers(&a, H5T_NATIVE_DOUBLE, true, cap, dst);
    if (status == NT_OK && *found) *n = (int)a.n;
    attr_close(&a);
    nt_h5_leave();
    if (status != NT_OK) return nt_error_trail(status, __FILE__, __LINE__, __func__);
    return NT_OK;
}

nt_status nt_h5_attr_int(nt_h5 *file, const char *object, const char *name, int64_t *dst, bool *found)
{
    attribute a;
    nt_h5_enter();
    nt_status status = attr_open(&a, file, object, name, found);
    if (status == NT_OK && *found) status = read_numbers(&a, H5T_NATIVE_INT64, false, 1, dst);
    attr_close(&a);
    nt_h5_leave();
    if (status != NT_OK) return nt_error_trail(status, __FILE__, __LINE__, __func__);
    return NT_OK;
}

/* --- writing --- */

/* n < 0: a scalar. */
static nt_status put(nt_h5 *file, const char *object, const char *name, hid_t stored, hid_t memory, int n,
                     const void *value)
{
    char path[NT_H5_PATH_BYTES];
    bool found;
    NT_TRY(nt_h5_resolve(file, object, path, &found));
    NT_CHECK(found, NT_ERR_IO, "%s: there is no '%s' to put attribute '%s' on", file->label, object, name);
    hsize_t dim = (hsize_t)n;
    hid_t owner = H5Oopen(file->id, path, H5P_DEFAULT);
    hid_t space = n < 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &dim, NULL);
    bool ready = owner >= 0 && space >= 0;
    hid_t id = ready ? H5Acreate2(owner, name, stored, space, H5P_DEFAULT, H5P_DEFAULT) : -1;
    bool ok = id >= 0 && H5Awrite(id, memory, value) >= 0;
    if (id >= 0) ok = H5Aclose(id) >= 0 && ok;
    if (space >= 0) (void)H5Sclose(space);
    if (owner >= 0) (void)H5Oclose(owner);
    NT_CHECK(ok && file->io->error == 0, NT_ERR_IO, "%s: cannot write attribute '%s' of '%s' (%s)",
             file->label, name, object, file->io->error ? strerror(file->io->error) : nt_h5_reason());
    return NT_OK;
}

/* Texts of equal size, zero-padded, UTF-8. */
static nt_status put_texts(nt_h5 *file, const char *object, const char *name, size_t each, int n,
                           const char *value)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    bool ok = type >= 0 && H5Tset_size(type, each) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0;
    nt_status status = NT_OK;
    if (!ok)
        status = nt_error_set(NT_ERR_IO, __FILE__, __LINE__, __func__,
                              "%s: no type for attribute '%s' (HDF5: %s)", file->label, name, nt_h5_reason());
    if (ok) status = put(file, object, name, type, type, n, value);
    if (type >= 0) (void)H5Tclose(type);
    return status;
}

nt_status nt_h5_put_string(nt_h5 *file, const char *object, const char *name, const char *value)
{
    nt_h5_enter();
    nt_status status = put_texts(file, object, name, strlen(value) + 1, -1, value);
    nt_h5_leave();
    if (status != NT_OK) return nt_error_trail(status, __FILE__, __LINE__, __func__);
    return NT_OK;
}

nt_status nt_h5_put_strings(nt_h5 *file, const char *object, const char *name, const char *const *values,
                            int n)
{
    size_t each = 1;
    for (int i = 0; i < n; i++)
        each = strlen(values[i]) + 1 > each ? strlen(values[i]) + 1 : each;
    char *flat = calloc((size_t)n + 1, each);
    NT_CHECK_ALLOC(flat, (size_t)n * each);
    for (int i = 0; i < n; i++)
        memcpy(flat + (size_t)i * each, values[i], strlen(values[i]));
    nt_h5_enter();
    nt_status status = put_texts(file, object, name, each, n, flat);
    nt_h5_leave();
    free(flat);
    if (status != NT_OK) return nt_error_trail(status, __FILE__, __LINE__, __func__);
    return NT_OK;
}

nt_status nt_h5_put_floats(nt_h5 *file, const char *object, const char *name, const double *values, int n)
{
    nt_h5_enter();
    nt_status status = put(file, object, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, n, values);
    nt_h5_leave();
    if (status != NT_OK) return nt_error_trail(status, __FILE__, __LINE__, __func__);
    return NT_OK;
}

nt_status nt_h5_put_int(nt_h5 *file, const char *object, const char *name, int64_t value)
{
    nt_h5_enter();
    nt_status status = put(file, object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, -1, &value);
    nt_h5_leave();
    if (status != NT_OK) return nt_error_trail(status, __FILE__, __LINE__, __func__);
    return NT_OK;
}
