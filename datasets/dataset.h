/* Datasets: random access to samples, whatever they are stored in.
 *
 * A dataset is a const nt_dataset_ops in a file of its own and a line in the list of datasets/dataset.c. It
 * delivers rows by index; order, batches and threads are the sampler's and the prefetcher's business. */
#ifndef NT_DATASETS_DATASET_H
#define NT_DATASETS_DATASET_H

#include "core/config.h"
#include "core/model.h"

typedef struct nt_data_options { /* [data] */
    nt_names file;               /* HDF5 files, or "synthetic" */
    const char *train, *valid;   /* groups; default: found by name */
    int64_t batch;               /* global */
    int64_t eval_batch;          /* global, 0: batch */
    bool shuffle, drop_last;
    int64_t limit, valid_limit; /* use only the first so many samples; 0: all */
    int64_t resize[2];          /* 0: as stored */
    double scale;               /* factor on stored values; 0: 1/255 for uint8, 1 for float */
    nt_floats mean, std;        /* per channel; empty: attributes of the file, or none */
    bool normalize;    /* compute mean and std from the training part if the file has none; default no */
    int64_t prefetch;  /* batches ahead; default 2 */
    int64_t memory_mb; /* a set up to this size is kept in memory; default 1024 */
    int target;        /* enum auto, class, value */
    int64_t classes;   /* 0: from attribute or labels */
    nt_ints synthetic_shape;   /* synthetic: sample shape, default 1, 28, 28 */
    int64_t synthetic_samples; /* default 4096 */
} nt_data_options;
extern const nt_section nt_data_section;

typedef struct nt_dataset nt_dataset;

typedef enum nt_split { NT_SPLIT_TRAIN, NT_SPLIT_VALID } nt_split;

typedef struct nt_dataset_ops {
    const char *name;
    NT_MUST nt_status (*open)(nt_dataset *ds, const nt_data_options *options, nt_split split, uint64_t seed);
    void (*close)(nt_dataset *ds);
    /* Rows index[0 .. n) into x (n, ...) and target; either may be NULL. Thread-safe for one reader thread.
     * Values are checked: class in range, finite floats (NT_ERR_DATA names file, object and row). */
    NT_MUST nt_status (*read)(nt_dataset *ds, const int64_t *index, int64_t n, void *x, void *target);
} nt_dataset_ops;

struct nt_dataset {
    const nt_dataset_ops *ops;
    nt_sample_spec spec; /* set by open */
    int64_t n_samples;   /* after limit */
    char **class_names;  /* (spec.n_classes) or NULL; owned */
    void *state;
};

/* Opens the split. *out NULL for NT_SPLIT_VALID where the file has no such part and the config names none. */
NT_MUST nt_status nt_dataset_open(nt_dataset **out, const nt_data_options *options, nt_split split,
                                  uint64_t seed);
void nt_dataset_close(nt_dataset *ds);
NT_MUST nt_status nt_dataset_read(nt_dataset *ds, const int64_t *index, int64_t n, void *x, void *target);

/* Opens one HDF5 group for prediction: targets optional. */
NT_MUST nt_status nt_dataset_open_for_predict(nt_dataset **out, const nt_data_options *options,
                                              const char *file, const char *group);

/* Bytes of x and of the target of one sample. */
size_t nt_dataset_x_bytes(const nt_dataset *ds);
size_t nt_dataset_target_bytes(const nt_dataset *ds);

/* The file(s) in words for the run's log: "datasets/digits.h5:/train, 1437 samples 1x8x8 uint8, 10 classes".
 */
void nt_dataset_describe(const nt_dataset *ds, char *text, size_t cap);

extern const nt_dataset_ops nt_dataset_hdf5, nt_dataset_synthetic;

#endif
