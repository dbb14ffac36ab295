/* Versions of the libraries in use, as text. HDF5: nt_h5_version; MPI: nt_comm_version. */
#ifndef NT_CORE_VERSION_H
#define NT_CORE_VERSION_H

const char *nt_onednn_version(void); /* "2.6.0" */
const char *nt_zlib_version(void);
const char *nt_xxhash_version(void);
const char *nt_cuda_version(void); /* "13.0, driver 12.4", "13.0, no driver" or "not built in" */

#endif
