/* Reading the HDF5 files of tests/reference, which scripts/make_reference.py wrote with PyTorch: tensors as
 * doubles, and how near to them is near enough.
 *
 * PyTorch computed in double. ref64 does, too, in another order of operations: 1e-12 of the largest value of
 * a tensor. ref stores single results as float and sums in double, cpu sums in float: 1e-5 of the largest
 * value; a wrong formula is wrong by 1e-2 and more. */
#ifndef NT_TESTS_UNIT_REFERENCE_H
#define NT_TESTS_UNIT_REFERENCE_H

#include "core/backend.h"
#include "core/h5.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REF_MUST(expr)                                                                                       \
    do {                                                                                                     \
        if ((expr) != NT_OK) fail_msg("%s", nt_error_last()->message);                                       \
    } while (0)

static const char *const reference_backends[] = {"ref64", "ref", "cpu"};

static inline double reference_tolerance(const nt_backend *backend)
{
    return backend->ops->real == NT_F64 ? 1e-12 : 1e-5;
}

static inline nt_h5 *reference_open(const char *part)
{
    char path[128];
    nt_h5 *file;
    snprintf(path, sizeof path, "tests/reference/%s.h5", part);
    REF_MUST(nt_h5_open(&file, path));
    return file;
}

static inline nt_backend *reference_backend(const char *name)
{
    nt_backend *backend;
    const nt_backend_options options = {.threads = 1};
    REF_MUST(nt_backend_create(&backend, name, &options));
    return backend;
}

/* A tensor of the file; values is malloc'ed. */
typedef struct reference_tensor {
    nt_shape shape;
    bool is_integer;
    double *values;
} reference_tensor;

static inline void reference_path(char path[256], const char *group, const char *name)
{
    snprintf(path, 256, "/%s/%s", group, name);
}

static inline bool reference_has(nt_h5 *file, const char *group, const char *name)
{
    char path[256];
    reference_path(path, group, name);
    return nt_h5_has_set(file, path);
}

static inline reference_tensor reference_read(nt_h5 *file, const char *group, const char *name)
{
    char path[256];
    nt_h5_set *set;
    reference_path(path, group, name);
    REF_MUST(nt_h5_set_open(&set, file, path, 1 << 24));
    const nt_h5_info *info = nt_h5_set_info(set);
    reference_tensor t = {.shape = info->shape,
                          .is_integer = info->type_class == NT_H5_INT,
                          .values = calloc((size_t)nt_shape_elems(info->shape) + 1, sizeof *t.values)};
    assert_non_null(t.values);
    REF_MUST(nt_h5_set_read(set, 0, t.shape.dim[0], NT_F64, t.values));
    nt_h5_set_close(set);
    return t;
}

static inline int64_t reference_int(nt_h5 *file, const char *object, const char *name)
{
    int64_t value;
    bool found;
    REF_MUST(nt_h5_attr_int(file, object, name, &value, &found));
    if (!found) fail_msg("%s has no %s", object, name);
    return value;
}

static inline char *reference_text(nt_h5 *file, const char *object, const char *name)
{
    char *text;
    bool found;
    REF_MUST(nt_h5_attr_text(file, object, name, 4096, &text, &found));
    if (!found) fail_msg("%s has no %s", object, name);
    return text;
}

/* Largest difference of n values, relative to the largest of `want`; infinite where one is no number. */
static inline double reference_error(const double *got, const double *want, int64_t n)
{
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(want[i]));
        double error = fabs(got[i] - want[i]);
        if (isnan(error)) return INFINITY;
        worst = fmax(worst, error);
    }
    return worst == 0 ? 0 : worst / largest;
}

/* Calls fn for every group of the file. */
static inline void reference_each(nt_h5 *file, void (*fn)(nt_h5 *file, const char *name, void *arg),
                                  void *arg)
{
    char **names, path[256];
    int n_names, n_groups = 0;
    REF_MUST(nt_h5_list(file, "/", 1000, &names, &n_names));
    for (int i = 0; i < n_names; i++) {
        snprintf(path, sizeof path, "/%s", names[i]);
        if (!nt_h5_has_group(file, path)) continue;
        fn(file, names[i], arg);
        n_groups++;
    }
    nt_h5_free_list(names, n_names);
    assert_true(n_groups > 0);
}

#endif
