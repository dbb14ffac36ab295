/* The file that predictions go into: HDF5, or CSV where its name ends in .csv. Whole or absent. */
#ifndef NT_LAUNCHER_PREDICTIONS_H
#define NT_LAUNCHER_PREDICTIONS_H

#include "launcher/evaluate.h"

#include <stdint.h>

typedef struct nt_predictions nt_predictions;

/* What is known beforehand. Strings and names are borrowed and outlive the file. */
typedef struct nt_predictions_form {
    int64_t n_samples, n_outputs; /* N, K */
    nt_output_layout layout;
    nt_shape shape;           /* of a sample's outputs where they have several positions, in HDF5 */
    bool classes;             /* also which one is the largest */
    const char *const *names; /* (n_names) of the classes, or NULL */
    int64_t n_names;
    const char *value_name; /* what the outputs are: "probability", "output" */
    const char *checkpoint; /* that they were made with */
    const char *input;      /* file that they are of, which is not written over; or NULL */
} nt_predictions_form;

/* Creates a temporary file beside `path`. NT_ERR_CREATE if there is something already, unless force;
 * NT_ERR_USAGE for several positions a sample in CSV. */
NT_MUST nt_status nt_predictions_open(nt_predictions **out, const char *path, bool force,
                                      const nt_predictions_form *form);

/* The next n samples: row (n, K), class_ (n, positions). */
NT_MUST nt_status nt_predictions_put(nt_predictions *predictions, int64_t n, const float *row,
                                     const int32_t *class_);

/* Makes the file durable and gives it its name; frees in every case. */
NT_MUST nt_status nt_predictions_finish(nt_predictions *predictions);

/* Throws it away (after a failure); NULL is fine. */
void nt_predictions_discard(nt_predictions *predictions);

#endif
