/* Which data sets of a file hold the samples and the labels of a split. */
#ifndef NT_DATASETS_HDF5_FIND_H
#define NT_DATASETS_HDF5_FIND_H

#include "core/h5.h"
#include "datasets/dataset.h"

#define NT_HDF5_NAME_BYTES 512

typedef struct nt_hdf5_place {
    char group[NT_HDF5_NAME_BYTES]; /* "/train", "/" */
    char data[NT_HDF5_NAME_BYTES];  /* "/train/data" */
    char label[NT_HDF5_NAME_BYTES]; /* "" without labels: NT_SPLIT_PREDICT only */
} nt_hdf5_place;

/* Looks where the config says, else for the usual names. own_file: the file was named for this split alone,
 * so samples at its root belong to it. *found false: there is no such part and none was named
 * (NT_SPLIT_VALID without own_file). NT_ERR_DATA names file and object, and says what the file holds. */
NT_MUST nt_status nt_hdf5_find(nt_h5 *file, const nt_data_options *options, nt_split split, bool own_file,
                               nt_hdf5_place *place, bool *found);

#endif
