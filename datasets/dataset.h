/* Datasets: random access to samples, whatever they are stored in.
 *
 * A dataset is a const nt_dataset_ops in a file of its own and a line in the list of datasets/dataset.c. It
 * delivers rows by index; order, batches and threads are the sampler's and the prefetcher's business. */
#ifndef NT_DATASETS_DATASET_H
#define NT_DATASETS_DATASET_H

#include "core/config.h"
#include "core/model.h"

typedef enum nt_data_layout { NT_LAYOUT_AUTO, NT_LAYOUT_NCHW, NT_LAYOUT_NHWC } nt_data_layout;
typedef enum nt_data_target {
    NT_DATA_TARGET_AUTO,
    NT_DATA_TARGET_CLASS,
    NT_DATA_TARGET_VALUE,
    NT_DATA_TARGET_POSITIONS
} nt_data_target;
typedef enum nt_data_features {
    NT_FEATURES_NONE,
    NT_FEATURES_STANDARDISE,
    NT_FEATURES_MINMAX
} nt_data_features;
typedef enum nt_data_tokens { NT_TOKENS_AUTO, NT_TOKENS_YES, NT_TOKENS_NO } nt_data_tokens;

typedef struct nt_data_options { /* [data] */
    nt_names file;               /* HDF5 files, or "synthetic" */
    nt_names valid_file;         /* files of the validation part; none: `file` */
    const char *train, *valid;   /* groups; default: found by name */
    const char *data, *label;    /* names in the group; default: found by name */
    int layout;                  /* nt_data_layout: order of axes in the file */
    int target;                  /* nt_data_target */
    int64_t classes;             /* 0: from attribute or labels */
    int tokens;                  /* nt_data_tokens: whether samples are integer tokens */
    int64_t sequence, stride;    /* of windows of a stream of tokens; stride 0: as sequence */
    bool any_sequence;  /* no key: a stream may be cut anyhow where `sequence` is not set (inspect) */
    int64_t batch;      /* global */
    int64_t eval_batch; /* global, 0: batch */
    bool shuffle, drop_last;
    int64_t limit, valid_limit; /* use only the first so many samples; 0: all */
    int64_t resize[2];          /* 0: as stored */
    double scale;               /* factor on stored values; 0: 1/255 for uint8, 1 for float */
    nt_floats mean, std;        /* per channel, of scaled values; empty: attributes of the file, or none */
    bool normalize;    /* compute mean and std from the training part if the file has none; default no */
    int features;      /* nt_data_features: of numeric columns */
    nt_ints one_hot;   /* columns of classes, from 0 */
    int64_t prefetch;  /* batches ahead; default 2 */
    int64_t memory_mb; /* a set up to this size is kept in memory; default 1024 */
    nt_ints synthetic_shape;   /* synthetic: sample shape, default 1, 28, 28 */
    int64_t synthetic_samples; /* default 4096 */
} nt_data_options;
extern const nt_section nt_data_section;

typedef struct nt_dataset nt_dataset;

/* NT_SPLIT_PREDICT: the group options->train of options->file, targets optional, no limit. */
typedef enum nt_split { NT_SPLIT_TRAIN, NT_SPLIT_VALID, NT_SPLIT_PREDICT } nt_split;

typedef struct nt_dataset_ops {
    const char *name;
    /* Sets spec (input: scale, mean and inv_std if the file gives them), n_samples and the rest of *ds;
     * leaves n_samples 0 if there is no such part and none was named (NT_SPLIT_VALID only). close() is called
     * also after a failed open. */
    NT_MUST nt_status (*open)(nt_dataset *ds, const nt_data_options *options, nt_split split, uint64_t seed);
    void (*close)(nt_dataset *ds);
    /* Rows index[0 .. n) into x (n, ...) and target; either may be NULL. Thread-safe for one reader thread.
     * Values are checked: class in range, finite floats (NT_ERR_DATA names file, object and row). */
    NT_MUST nt_status (*read)(nt_dataset *ds, const int64_t *index, int64_t n, void *x, void *target);
    void (*describe)(const nt_dataset *ds, char *text, size_t cap); /* where it is: "digits.h5:/train" */
} nt_dataset_ops;

struct nt_dataset {
    const nt_dataset_ops *ops;
    nt_sample_spec spec;   /* set by open */
    int64_t n_samples;     /* after limit */
    int64_t max_class_row; /* NT_TARGET_CLASS: a row with the largest class */
    char **class_names;    /* (spec.n_classes) or NULL; owned */
    void *state;
    /* What is made of samples that are rows of numbers; spec tells what comes out. */
    const struct nt_features *features; /* borrowed; NULL: they stay as they are stored */
    nt_dtype stored_dtype;              /* with features */
    void *stored;                       /* (n_stored_cap, columns): rows on their way; owned */
    int64_t n_stored_cap, n_unknown;
};

/* Opens the split. *out NULL for NT_SPLIT_VALID where the file has no such part and the config names none. */
NT_MUST nt_status nt_dataset_open(nt_dataset **out, const nt_data_options *options, nt_split split,
                                  uint64_t seed);
void nt_dataset_close(nt_dataset *ds);
NT_MUST nt_status nt_dataset_read(nt_dataset *ds, const int64_t *index, int64_t n, void *x, void *target);

/* Makes a set for validation or prediction fit what the model was built for: takes over the normalisation of
 * the input and the number of classes. NT_ERR_DATA, naming set and both sides, if sample shape, element type,
 * kind of target or number of values differ, or if a class is beyond those of `spec`. */
NT_MUST nt_status nt_dataset_conform(nt_dataset *ds, const nt_sample_spec *spec);

/* Puts features (datasets/features.h) before the set: from now on samples are what comes out of them. Once,
 * after nt_dataset_conform; the features are borrowed. NT_ERR_DATA names both numbers of columns. */
NT_MUST nt_status nt_dataset_set_features(nt_dataset *ds, const struct nt_features *features);

/* Opens one HDF5 group (NULL: found by name) for prediction: targets optional. Then nt_dataset_conform. */
NT_MUST nt_status nt_dataset_open_for_predict(nt_dataset **out, const nt_data_options *options,
                                              const char *file, const char *group);

/* 1/255 for uint8, 1 for floats. */
double nt_default_scale(nt_dtype dtype);

/* Bytes of x and of the target of one sample. */
size_t nt_dataset_x_bytes(const nt_dataset *ds);
size_t nt_dataset_target_bytes(const nt_dataset *ds);

/* What every set that is in memory does: dst row i = src row index[i], for n rows of row_bytes. */
NT_MUST nt_status nt_rows_allocate(void **out, size_t n_bytes); /* free() it; large ones on huge pages */
void nt_rows_gather(void *dst, const void *src, const int64_t *index, int64_t n, size_t row_bytes);
void nt_rows_copy(void *dst, const char *const *from, int64_t n, size_t row_bytes); /* row i from from[i] */

/* The file(s) in words for the run's log: "datasets/digits.h5:/train, 1437 samples 1x8x8 uint8, 10 classes".
 */
void nt_dataset_describe(const nt_dataset *ds, char *text, size_t cap);

extern const nt_dataset_ops nt_dataset_hdf5, nt_dataset_synthetic;

#endif
