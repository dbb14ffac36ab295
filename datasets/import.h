/* Importers: other formats into an HDF5 dataset in the default layout.
 *
 * An importer is a const nt_importer in a file of its own (datasets/import_<name>.c) and a line in the list
 * of datasets/import.c. It parses its inputs and hands samples to a writer, which keeps the statistics,
 * writes to a temporary file beside the output and renames it when all is well: the output is whole or
 * absent. Inputs may be gzipped. Every reader checks lengths before it believes them. */
#ifndef NT_DATASETS_IMPORT_H
#define NT_DATASETS_IMPORT_H

#include "core/tensor.h"

#include <stdio.h>

/* What the command line gives to an importer. */
typedef struct nt_import_args {
    int n_inputs;
    const char *const *inputs;
    const char *out;    /* the HDF5 file to make */
    bool force;         /* replace it if it exists */
    int deflate;        /* 0 to 9 */
    const char *source; /* where the data come from, in words; NULL: the input's name */
    /* csv; shape and n_targets also npy */
    nt_shape shape;    /* of a sample; n_dims 0: (columns), or the array's */
    int64_t test_rows; /* the last so many rows are the test part */
    int64_t n_targets; /* csv: the last n_targets columns are float values; 0: the last column is a class.
                          npy: y has so many columns, of values; 0: integers are classes */
    bool label_first;  /* the label or targets are the first columns */
    bool header;       /* the first line holds names */
    bool no_header;    /* it is a row, whatever it looks like */
    double scale;      /* attribute `scale`; 0: 1/255 for uint8, 1 for float */
    /* images */
    int64_t size[2];        /* height and width to resize to; 0: as they are */
    bool crop;              /* the middle of the shape of `size`, instead of all squeezed into it */
    int64_t channels;       /* 1 or 3; 0: 1 if all are grey, else 3 */
    double test_fraction;   /* part of the samples that becomes the test part; below 0: not said */
    bool skip_bad;          /* damaged files are left out and counted */
    bool ignore_exif;       /* pictures stay as they are stored, also where EXIF says how they were held */
    bool follow_links;      /* also those that lead out of the folder */
    bool coarse;            /* cifar100: the coarse labels */
    bool channels_last;     /* npy: samples are (H, W, C) */
    bool channels_first;    /* npy: samples are (C, H, W) */
    const char *vocabulary; /* text: a file of tokens; NULL: bytes */
} nt_import_args;

typedef struct nt_importer {
    const char *name;  /* "mnist" */
    const char *usage; /* what follows the name on the command line */
    const char *help;
    NT_MUST nt_status (*run)(const nt_import_args *args);
} nt_importer;

/* NULL-terminated list, and one by name (NULL if there is none). */
const nt_importer *const *nt_importers(void);
const nt_importer *nt_importer_find(const char *name);

/* A number in [0, 1) that is a function of the text alone: which names --test-fraction takes. */
double nt_name_fraction(const char *name);

/* --- the writer --- */

typedef struct nt_import_writer nt_import_writer;

/* What is the same for both parts. */
typedef struct nt_import_format {
    nt_dtype dtype;                 /* NT_U8, NT_F32; tokens: NT_U8 or NT_I32 */
    nt_shape shape;                 /* of a sample, (C, H, W) or (F); of a stream of tokens, () */
    int64_t n_classes;              /* 0: float targets */
    int64_t n_targets;              /* float targets per sample */
    const char *const *class_names; /* (n_classes) or NULL */
    bool tokens;                    /* a stream of tokens, which is its own target; n_classes: vocabulary */
} nt_import_format;

NT_MUST nt_status nt_import_open(nt_import_writer **out, const nt_import_args *args,
                                 const nt_import_format *format);

/* Begins a part ("train" first, then "test") of n samples. */
NT_MUST nt_status nt_import_begin(nt_import_writer *writer, const char *part, int64_t n_samples);

/* The next n samples of the part: x (n, ...) of the format's dtype, target int32 (n) or float32 (n,
 * n_targets), NULL with tokens. */
NT_MUST nt_status nt_import_put(nt_import_writer *writer, int64_t n, const void *x, const void *target);

/* This part may end with fewer samples than announced, but at least one. */
void nt_import_may_lack(nt_import_writer *writer);

/* Checks that all samples came, writes the attributes (layout, classes, class_names, scale, mean, std,
 * source, nntrain_version), makes the file durable and gives it its name. Frees the writer in every case. */
NT_MUST nt_status nt_import_finish(nt_import_writer *writer);

/* Throws everything away (after a failure). */
void nt_import_discard(nt_import_writer *writer);

/* --- reading inputs, gzipped or not --- */

typedef struct nt_zfile nt_zfile;

NT_MUST nt_status nt_zfile_open(nt_zfile **out, const char *path); /* NT_ERR_NO_INPUT; regular files only */
/* Path of `name` in a folder, with or without .gz: NT_ERR_NO_INPUT if neither is there. */
NT_MUST nt_status nt_zfile_find(const char *folder, const char *name, char *path, size_t cap);
void nt_zfile_close(nt_zfile *file);
const char *nt_zfile_path(const nt_zfile *file);
/* Exactly n_bytes, or NT_ERR_DATA ("ends after ... bytes"). */
NT_MUST nt_status nt_zfile_read(nt_zfile *file, void *dst, size_t n_bytes);
/* Up to n_bytes; *got is less at the end only. */
NT_MUST nt_status nt_zfile_read_some(nt_zfile *file, void *dst, size_t n_bytes, size_t *got);
/* NT_ERR_DATA unless the file ends here. */
NT_MUST nt_status nt_zfile_expect_end(nt_zfile *file);

#endif
