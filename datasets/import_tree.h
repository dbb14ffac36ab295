/* The files of a folder of classes, in a fixed order. */
#ifndef NT_DATASETS_IMPORT_TREE_H
#define NT_DATASETS_IMPORT_TREE_H

#include "datasets/import.h"

enum { NT_TREE_TRAIN, NT_TREE_VALID, NT_TREE_TEST, NT_TREE_PARTS };
extern const char *const nt_tree_part_names[NT_TREE_PARTS]; /* groups of the output */

typedef struct nt_tree_file {
    char *path;
    int32_t class_;
    int part;
} nt_tree_file;

typedef struct nt_tree {
    int n_classes;
    char **class_name; /* (n_classes), sorted by bytes */
    int64_t n_files, cap;
    nt_tree_file *file; /* (n_files), by part, class and name */
    int64_t n_other;    /* files that are no pictures by their names */
    int64_t n_links;    /* symbolic links that were left out */
    char *first_other;
} nt_tree;

/* Lists inputs[0]; says what was left out. NT_ERR_NO_INPUT, NT_ERR_DATA, NT_ERR_USAGE. Free also after a
 * failure. */
NT_MUST nt_status nt_tree_list(nt_tree *tree, const nt_import_args *args);
void nt_tree_free(nt_tree *tree);

#endif
