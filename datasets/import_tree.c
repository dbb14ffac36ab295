/* Listing a folder of classes.
 *
 * Everything is sorted by the bytes of its name, so the same tree gives the same file on every machine. A
 * symbolic link counts as what it leads to if that lies in the folder itself, or if the user says so; links
 * to folders within a class are never followed, so there are no loops. Names hold what they like: blanks,
 * newlines, bytes that are no text. */
#include "datasets/import_tree.h"

#include "core/log.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define MAX_DEPTH   16
#define MAX_CLASSES 65536
#define MAX_FILES   ((int64_t)1 << 30)

const char *const nt_tree_part_names[NT_TREE_PARTS] = {"train", "valid", "test"};

/* What people call the parts. */
static const struct {
    const char *name;
    int part;
} part_folders[] = {{"train", NT_TREE_TRAIN}, {"training", NT_TREE_TRAIN},   {"val", NT_TREE_VALID},
                    {"valid", NT_TREE_VALID}, {"validation", NT_TREE_VALID}, {"test", NT_TREE_TEST},
                    {"testing", NT_TREE_TEST}};

typedef struct walk {
    nt_tree *tree;
    const nt_import_args *args;
    char root[PATH_MAX]; /* without links */
    int part, class_;
    size_t base;                /* bytes of a path in front of "class/name" */
    char *found[NT_TREE_PARTS]; /* folders of the root; owned */
} walk;

typedef enum kind { KIND_FILE, KIND_FOLDER, KIND_LINKED_FOLDER, KIND_LEFT_OUT, KIND_OTHER } kind;

/* --- entries --- */

static char *join(const char *folder, const char *name)
{
    size_t n = strlen(folder) + strlen(name) + 2;
    char *path = malloc(n);
    if (path) snprintf(path, n, "%s/%s", folder, name);
    return path;
}

/* Whether what a link leads to lies in the tree. */
static bool is_inside(const walk *w, const char *path)
{
    char target[PATH_MAX];
    size_t n = strlen(w->root);
    if (!realpath(path, target)) return false;
    return strncmp(target, w->root, n) == 0 &&
           (target[n] == '/' || target[n] == '\0' || strcmp(w->root, "/") == 0);
}

/* What an entry is; sockets and devices count as other files, links that are not followed are left out and
 * counted. */
static kind kind_of(walk *w, const char *path)
{
    struct stat info;
    if (lstat(path, &info) != 0) return KIND_LEFT_OUT;
    bool link = S_ISLNK(info.st_mode);
    if (link && ((!w->args->follow_links && !is_inside(w, path)) || stat(path, &info) != 0)) {
        w->tree->n_links++;
        return KIND_LEFT_OUT;
    }
    if (S_ISDIR(info.st_mode)) return link ? KIND_LINKED_FOLDER : KIND_FOLDER;
    return S_ISREG(info.st_mode) ? KIND_FILE : KIND_OTHER;
}

static int not_dots(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static nt_status list(const char *folder, struct dirent ***entry, int *n)
{
    *n = scandir(folder, entry, not_dots, by_bytes);
    NT_CHECK(*n >= 0, NT_ERR_NO_INPUT, "cannot list the folder '%s': %s", folder, strerror(errno));
    return NT_OK;
}

/* Calls `each` with the path and name of every entry of a folder, in their order. */
typedef nt_status (*each_fn)(walk *w, const char *path, const char *name, int depth);
static nt_status for_each(walk *w, const char *folder, int depth, each_fn each)
{
    struct dirent **entry;
    int n;
    NT_TRY(list(folder, &entry, &n));
    nt_status status = NT_OK;
    for (int i = 0; i < n; i++) {
        char *path = status == NT_OK ? join(folder, entry[i]->d_name) : NULL;
        if (status == NT_OK)
            status = path ? each(w, path, entry[i]->d_name, depth)
                          : nt_error_set(NT_ERR_UNAVAILABLE, __FILE__, __LINE__, __func__, "out of memory");
        free(path);
        free(entry[i]);
    }
    free(entry);
    return status;
}

/* --- pictures --- */

static bool is_picture(const char *name)
{
    const char *dot = strrchr(name, '.');
    return name[0] != '.' && dot &&
           (strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0 || strcasecmp(dot, ".png") == 0);
}

static nt_status add_file(walk *w, const char *path)
{
    nt_tree *t = w->tree;
    if (t->n_files == t->cap) {
        int64_t cap = t->cap ? 2 * t->cap : 1024;
        NT_CHECK(cap <= MAX_FILES, NT_ERR_DATA, "more than %lld pictures", (long long)MAX_FILES);
        nt_tree_file *grown = realloc(t->file, (size_t)cap * sizeof *grown);
        NT_CHECK_ALLOC(grown, (size_t)cap * sizeof *grown);
        t->file = grown;
        t->cap = cap;
    }
    char *copy = strdup(path);
    NT_CHECK_ALLOC(copy, strlen(path));
    int part = w->part;
    if (part == NT_TREE_TRAIN && nt_name_fraction(path + w->base) < w->args->test_fraction)
        part = NT_TREE_TEST;
    t->file[t->n_files++] = (nt_tree_file){.path = copy, .class_ = w->class_, .part = part};
    return NT_OK;
}

static nt_status add_other(walk *w, const char *path)
{
    if (w->tree->n_other++ > 0) return NT_OK;
    w->tree->first_other = strdup(path);
    NT_CHECK_ALLOC(w->tree->first_other, strlen(path));
    return NT_OK;
}

/* An entry of a class's folder. */
static nt_status take_entry(walk *w, const char *path, const char *name, int depth)
{
    NT_CHECK(depth < MAX_DEPTH, NT_ERR_DATA, "'%s' lies more than %d folders deep", path, MAX_DEPTH);
    switch (kind_of(w, path)) {
    case KIND_FILE:
        return is_picture(name) ? add_file(w, path) : add_other(w, path);
    case KIND_FOLDER:
        return for_each(w, path, depth + 1, take_entry);
    case KIND_LINKED_FOLDER:
        w->tree->n_links++;
        return NT_OK;
    case KIND_OTHER:
        return add_other(w, path);
    case KIND_LEFT_OUT:
        break;
    }
    return NT_OK;
}

/* --- classes --- */

static int find_class(const nt_tree *t, const char *name)
{
    for (int i = 0; i < t->n_classes; i++)
        if (strcmp(t->class_name[i], name) == 0) return i;
    return -1;
}

static nt_status add_class(nt_tree *t, const char *name)
{
    NT_CHECK(t->n_classes < MAX_CLASSES, NT_ERR_DATA, "more than %d classes", MAX_CLASSES);
    char **grown = realloc(t->class_name, ((size_t)t->n_classes + 1) * sizeof *grown);
    NT_CHECK_ALLOC(grown, ((size_t)t->n_classes + 1) * sizeof *grown);
    t->class_name = grown;
    t->class_name[t->n_classes] = strdup(name);
    NT_CHECK_ALLOC(t->class_name[t->n_classes], strlen(name));
    t->n_classes++;
    return NT_OK;
}

/* An entry of the folder of a part: a class, known from the training part or made by it. */
static nt_status take_class(walk *w, const char *path, const char *name, int depth)
{
    kind what = kind_of(w, path);
    if (what == KIND_FILE || what == KIND_OTHER) return add_other(w, path);
    if (what == KIND_LEFT_OUT || name[0] == '.') return NT_OK;
    w->class_ = find_class(w->tree, name);
    if (w->class_ < 0 && w->part == NT_TREE_TRAIN) {
        NT_TRY(add_class(w->tree, name));
        w->class_ = w->tree->n_classes - 1;
    }
    NT_CHECK(w->class_ >= 0, NT_ERR_DATA, "'%s' is a class that the training part does not have", path);
    int64_t before = w->tree->n_files;
    NT_TRY(for_each(w, path, depth + 1, take_entry));
    NT_CHECK(w->tree->n_files > before || w->part != NT_TREE_TRAIN, NT_ERR_DATA,
             "'%s' holds no JPEG or PNG files: each folder is a class", path);
    return NT_OK;
}

/* --- the whole --- */

/* The part that people mean by a folder's name, small or capital; -1: none. */
static int part_of(const char *name)
{
    for (size_t i = 0; i < sizeof part_folders / sizeof part_folders[0]; i++)
        if (strcasecmp(name, part_folders[i].name) == 0) return part_folders[i].part;
    return -1;
}

/* An entry of the root: w->found[part] is the path, or NULL. */
static nt_status take_part(walk *w, const char *path, const char *name, int depth)
{
    struct stat info;
    int part = part_of(name);
    (void)depth;
    if (part < 0 || stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) return NT_OK;
    NT_CHECK(!w->found[part], NT_ERR_DATA, "'%s' and '%s' are the same part under two names", w->found[part],
             path);
    w->found[part] = strdup(path);
    NT_CHECK_ALLOC(w->found[part], strlen(path));
    return NT_OK;
}

static nt_status list_part(walk *w, const char *folder, int part)
{
    w->part = part;
    w->base = strlen(folder) + 1;
    return for_each(w, folder, 0, take_class);
}

/* Parts to test on without one to train on would become classes by the names of parts. */
static nt_status list_parts(walk *w)
{
    const char *root = w->args->inputs[0];
    const char *other = w->found[NT_TREE_TEST] ? w->found[NT_TREE_TEST] : w->found[NT_TREE_VALID];
    NT_CHECK(
        !other || w->found[NT_TREE_TRAIN], NT_ERR_DATA,
        "'%s' looks like a part to test on, but there is no '%s/train': call the folder with the classes to "
        "train on `train`; import '%s' itself to take it alone; or, if it is a class, give it another name",
        other, root, other);
    if (!w->found[NT_TREE_TRAIN]) return list_part(w, root, NT_TREE_TRAIN);
    NT_CHECK(!other || w->args->test_fraction <= 0, NT_ERR_USAGE,
             "'%s' has a part to test on: --test-fraction is for folders without one", other);
    for (int part = 0; part < NT_TREE_PARTS; part++)
        if (w->found[part]) NT_TRY(list_part(w, w->found[part], part));
    return NT_OK;
}

static nt_status check(const nt_tree *t, const nt_import_args *args)
{
    int64_t n[NT_TREE_PARTS] = {0};
    for (int64_t i = 0; i < t->n_files; i++)
        n[t->file[i].part]++;
    NT_CHECK(
        t->n_files > 0, NT_ERR_DATA,
        "'%s' holds no folders with JPEG or PNG files (a folder for each class, or train and test with such "
        "folders)",
        args->inputs[0]);
    NT_CHECK(n[NT_TREE_TRAIN] > 0, NT_ERR_DATA, "--test-fraction leaves none of %lld pictures to train on",
             (long long)t->n_files);
    NT_CHECK(args->test_fraction <= 0 || n[NT_TREE_TEST] > 0, NT_ERR_DATA,
             "--test-fraction %g takes none of %lld pictures", args->test_fraction, (long long)t->n_files);
    if (t->n_classes == 1) nt_warn("'%s' has one class only, '%s'", args->inputs[0], t->class_name[0]);
    if (t->n_other > 0)
        nt_info("%lld other files were ignored, the first: '%s'", (long long)t->n_other, t->first_other);
    if (t->n_links > 0)
        nt_warn("%lld symbolic links that lead out of the folder, or to folders within a class, were ignored "
                "(--follow-links follows the former)",
                (long long)t->n_links);
    return NT_OK;
}

nt_status nt_tree_list(nt_tree *tree, const nt_import_args *args)
{
    walk w = {.tree = tree, .args = args};
    *tree = (nt_tree){0};
    NT_CHECK(realpath(args->inputs[0], w.root), NT_ERR_NO_INPUT, "cannot open the folder '%s': %s",
             args->inputs[0], strerror(errno));
    nt_status status = for_each(&w, args->inputs[0], 0, take_part);
    if (status == NT_OK) status = list_parts(&w);
    for (int part = 0; part < NT_TREE_PARTS; part++)
        free(w.found[part]);
    NT_TRY(status);
    return check(tree, args);
}

void nt_tree_free(nt_tree *tree)
{
    for (int64_t i = 0; i < tree->n_files; i++)
        free(tree->file[i].path);
    for (int i = 0; i < tree->n_classes; i++)
        free(tree->class_name[i]);
    free(tree->file);
    free(tree->class_name);
    free(tree->first_other);
    *tree = (nt_tree){0};
}
