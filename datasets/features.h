/* Features of tabular data: what is made of the columns of a sample before the model sees them.
 *
 * Every column is either a number, which becomes (x - shift) factor, or the name of a class, an integer that
 * becomes as many columns of 0 and 1 as there were different ones to train on (an unknown one: all zeros).
 * What shift, factor and the known integers are is computed from the training part, once, and kept as text in
 * the checkpoint: whoever uses the model uses the same. */
#ifndef NT_DATASETS_FEATURES_H
#define NT_DATASETS_FEATURES_H

#include "datasets/dataset.h"

typedef struct nt_features nt_features;

/* Whether [data] asks for any. */
bool nt_features_wanted(const nt_data_options *options);

/* Of a set: its samples must be vectors of numbers. NT_ERR_CONFIG names the key. */
NT_MUST nt_status nt_features_check(const nt_data_options *options, const nt_sample_spec *spec);

/* Reads the whole set once. standardise: mean 0 and standard deviation 1 (of the population), minmax: 0 to 1,
 * over the training part; a constant column is only shifted. The same data in the same order give the same
 * bits. NT_ERR_DATA names set, sample and column of a class that is no integer. */
NT_MUST nt_status nt_features_fit(nt_features **out, nt_dataset *ds, const nt_data_options *options);

/* As text and back; the text is malloc'ed. NT_ERR_DATA for what no nt_features_text has written. */
NT_MUST nt_status nt_features_text(const nt_features *features, char **text);
NT_MUST nt_status nt_features_parse(nt_features **out, const char *text);
void nt_features_destroy(nt_features *features);

int64_t nt_features_n_in(const nt_features *features);  /* columns stored */
int64_t nt_features_n_out(const nt_features *features); /* columns made of them */

/* n samples (n, n_in) of NT_U8 or NT_F32 to x (n, n_out); *n_unknown counts integers that were not there to
 * train on. */
NT_MUST nt_status nt_features_apply(const nt_features *features, nt_dtype dtype, const void *stored,
                                    int64_t n, float *x, int64_t *n_unknown);

#endif
