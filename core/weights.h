/* Weights from and for other programs: a net's parameters and running statistics as a safetensors file, under
 * the names and in the shapes of PyTorch's state dicts (conv2d (K, C / groups, R, S), linear (K, F)). A
 * weight that two layers have in common is written under both names, as a state dict has it, and may be read
 * under either; under both, it must be the same. */
#ifndef NT_CORE_WEIGHTS_H
#define NT_CORE_WEIGHTS_H

#include "core/net.h"

/* Fills the net from a file. Strict (partial false): every parameter must be in the file with its shape, and
 * the file may hold nothing else but batchnorm's num_batches_tracked; NT_ERR_CONFIG lists what is wrong.
 * Partial: what is there with the right name and shape is taken, one nt_info line lists what was not; taking
 * nothing at all is an error. The net is untouched unless all is well. NT_ERR_DATA: the file is damaged, or
 * holds NaN or Inf. */
NT_MUST nt_status nt_weights_load(nt_net *net, const char *path, bool partial);

/* Writes all parameters and running statistics, whole or not at all. NT_ERR_CREATE, NT_ERR_IO. */
NT_MUST nt_status nt_weights_save(nt_net *net, const char *path);

#endif
