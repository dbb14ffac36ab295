/* Finding objects by name without trusting links.
 *
 * HDF5 resolves a path by itself and would follow external links into other files and call user-defined link
 * classes. So we walk: each component is looked at before it is entered, soft links are spliced in by us (a
 * bounded number of times, which also ends loops), and what comes out is a path of hard links only, which is
 * all that HDF5 ever gets to see. */
#include "core/h5_private.h"

#include <hdf5.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SOFT_LINKS 16

typedef struct walk {
    nt_h5 *file;
    const char *name;            /* as asked for */
    char *done;                  /* NT_H5_PATH_BYTES: hard links so far, "" is the root */
    char rest[NT_H5_PATH_BYTES]; /* still to go */
    int n_soft;
} walk;

/* Cuts the next component off w->rest; NULL at the end. */
static const char *next_component(walk *w, char part[NT_H5_PATH_BYTES])
{
    const char *from = w->rest;
    do {
        from += strspn(from, "/");
        size_t n = strcspn(from, "/");
        memcpy(part, from, n);
        part[n] = '\0';
        from += n;
    } while (strcmp(part, ".") == 0);
    memmove(w->rest, from, strlen(from) + 1);
    return part[0] ? part : NULL;
}

/* Puts the value of the soft link `link` in front of the rest. */
static nt_status splice_soft(walk *w, const char *link, size_t n_bytes)
{
    char value[NT_H5_PATH_BYTES], joined[NT_H5_PATH_BYTES];
    NT_CHECK(++w->n_soft <= MAX_SOFT_LINKS, NT_ERR_DATA, "%s: '%s' goes through more than %d soft links",
             w->file->label, w->name, MAX_SOFT_LINKS);
    NT_CHECK(n_bytes < sizeof value && H5Lget_val(w->file->id, link, value, sizeof value, H5P_DEFAULT) >= 0,
             NT_ERR_DATA, "%s: soft link '%s' cannot be read", w->file->label, link);
    value[n_bytes] = '\0';
    int n = snprintf(joined, sizeof joined, "%s/%s", value, w->rest);
    NT_CHECK(n < (int)sizeof joined, NT_ERR_DATA, "%s: '%s' is a path of more than %d bytes", w->file->label,
             w->name, NT_H5_PATH_BYTES);
    memcpy(w->rest, joined, (size_t)n + 1);
    if (value[0] == '/') w->done[0] = '\0';
    return NT_OK;
}

/* Goes one link on from w->done. */
static nt_status step(walk *w, const char *part, bool *found)
{
    char link[NT_H5_PATH_BYTES];
    int n = snprintf(link, sizeof link, "%s/%s", w->done, part);
    NT_CHECK(n < (int)sizeof link, NT_ERR_DATA, "%s: '%s' is a path of more than %d bytes", w->file->label,
             w->name, NT_H5_PATH_BYTES);
    *found = H5Lexists(w->file->id, link, H5P_DEFAULT) > 0; /* negative: the parent is no group */
    if (!*found) return NT_OK;
    H5L_info_t info;
    NT_CHECK(H5Lget_info(w->file->id, link, &info, H5P_DEFAULT) >= 0, NT_ERR_DATA,
             "%s: link '%s' cannot be read (HDF5: %s)", w->file->label, link, nt_h5_reason());
    if (info.type == H5L_TYPE_SOFT) return splice_soft(w, link, info.u.val_size);
    NT_CHECK(info.type != H5L_TYPE_EXTERNAL, NT_ERR_DATA,
             "%s: '%s' is an external link to another file, which is refused", w->file->label, link);
    NT_CHECK(info.type == H5L_TYPE_HARD, NT_ERR_DATA, "%s: '%s' is a user-defined link, which is refused",
             w->file->label, link);
    memcpy(w->done, link, (size_t)n + 1);
    return NT_OK;
}

nt_status nt_h5_resolve(nt_h5 *file, const char *name, char path[NT_H5_PATH_BYTES], bool *found)
{
    walk w = {.file = file, .name = name, .done = path};
    char part[NT_H5_PATH_BYTES];
    *found = true;
    path[0] = '\0';
    NT_CHECK(strlen(name) < sizeof w.rest, NT_ERR_DATA, "%s: an object name of more than %d bytes",
             file->label, NT_H5_PATH_BYTES);
    memcpy(w.rest, name, strlen(name) + 1);
    while (*found && next_component(&w, part))
        NT_TRY(step(&w, part, found));
    if (!path[0]) memcpy(path, "/", 2);
    return NT_OK;
}

/* Whether `name` is an object of HDF5 type `type`. */
static bool has_object(nt_h5 *file, const char *name, H5I_type_t type)
{
    char path[NT_H5_PATH_BYTES];
    bool found = false;
    nt_h5_enter();
    if (nt_h5_resolve(file, name, path, &found) != NT_OK) nt_error_clear();
    hid_t id = found ? H5Oopen(file->id, path, H5P_DEFAULT) : -1;
    found = id >= 0 && H5Iget_type(id) == type;
    if (id >= 0) (void)H5Oclose(id);
    nt_h5_leave();
    return found;
}

bool nt_h5_has_set(nt_h5 *file, const char *name)
{
    return has_object(file, name, H5I_DATASET);
}

bool nt_h5_has_group(nt_h5 *file, const char *name)
{
    return has_object(file, name, H5I_GROUP);
}

/* The parent is resolved, the last component only looked up. */
static bool has_link(nt_h5 *file, const char *name)
{
    char parent[NT_H5_PATH_BYTES], path[NT_H5_PATH_BYTES], link[NT_H5_PATH_BYTES];
    bool found;
    int n = snprintf(parent, sizeof parent, "%s", name);
    if (n <= 0 || n >= (int)sizeof parent) return false;
    char *slash = strrchr(parent, '/');
    const char *last = slash ? name + (slash - parent) + 1 : name;
    if (slash) *slash = '\0';
    if (!last[0] || nt_h5_resolve(file, slash ? parent : "/", path, &found) != NT_OK || !found) return false;
    n = snprintf(link, sizeof link, "%s/%s", strcmp(path, "/") == 0 ? "" : path, last);
    return n < (int)sizeof link && H5Lexists(file->id, link, H5P_DEFAULT) > 0;
}

bool nt_h5_has_link(nt_h5 *file, const char *name)
{
    nt_h5_enter();
    bool found = has_link(file, name);
    nt_h5_leave();
    if (!found) nt_error_clear();
    return found;
}

typedef struct name_list {
    char **name;
    int n, max;
} name_list;

static herr_t take_name(hid_t group, const char *name, const H5L_info_t *info, void *arg)
{
    (void)group, (void)info;
    name_list *list = arg;
    if (list->n == list->max || !(list->name[list->n] = strdup(name))) return -1;
    list->n++;
    return 0;
}

static nt_status iterate(nt_h5 *file, hid_t id, const char *group, int max, name_list *list)
{
    H5G_info_t info;
    hsize_t at = 0;
    NT_CHECK(H5Gget_info(id, &info) >= 0, NT_ERR_DATA, "%s: group '%s' is damaged (HDF5: %s)", file->label,
             group, nt_h5_reason());
    NT_CHECK(info.nlinks <= (hsize_t)max, NT_ERR_DATA,
             "%s: group '%s' holds %llu objects; at most %d are possible", file->label, group,
             (unsigned long long)info.nlinks, max);
    size_t n_bytes = ((size_t)info.nlinks + 1) * sizeof *list->name;
    list->max = (int)info.nlinks;
    list->name = calloc(1, n_bytes);
    NT_CHECK_ALLOC(list->name, n_bytes);
    NT_CHECK(H5Literate(id, H5_INDEX_NAME, H5_ITER_NATIVE, &at, take_name, list) >= 0, NT_ERR_DATA,
             "%s: group '%s' cannot be listed (HDF5: %s)", file->label, group, nt_h5_reason());
    return NT_OK;
}

static nt_status list_group(nt_h5 *file, const char *group, int max, name_list *list)
{
    char path[NT_H5_PATH_BYTES];
    bool found;
    NT_TRY(nt_h5_resolve(file, group, path, &found));
    hid_t id = found ? H5Gopen2(file->id, path, H5P_DEFAULT) : -1;
    NT_CHECK(id >= 0, NT_ERR_DATA, "%s: there is no group '%s'", file->label, group);
    nt_status status = iterate(file, id, group, max, list);
    (void)H5Gclose(id);
    return status;
}

nt_status nt_h5_list(nt_h5 *file, const char *group, int max, char ***names, int *n_names)
{
    *names = NULL;
    *n_names = 0;
    name_list list = {0};
    nt_h5_enter();
    nt_status status = list_group(file, group, max, &list);
    nt_h5_leave();
    if (status != NT_OK) {
        nt_h5_free_list(list.name, list.n);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    *names = list.name;
    *n_names = list.n;
    return NT_OK;
}

void nt_h5_free_list(char **names, int n_names)
{
    for (int i = 0; i < n_names; i++)
        free(names[i]);
    free(names);
}
