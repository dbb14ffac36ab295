/* The safetensors reader: a file is refused, or all its tensors can be read within its own bytes. */
#include "fuzz.h"

#include "core/safetensors.h"

#include <stdlib.h>

static void read_all(nt_safetensors *file, size_t n_bytes)
{
    for (int i = 0; i < nt_safetensors_count(file); i++) {
        const nt_safetensor *tensor = nt_safetensors_get(file, i);
        if (nt_safetensors_find(file, tensor->name) != tensor) abort();
        if (tensor->n_elems < 0 || (uint64_t)tensor->n_elems > 8 * n_bytes) abort();
        float *values = malloc(((size_t)tensor->n_elems + 1) * sizeof *values);
        if (!values) abort();
        if (nt_safetensors_read(file, tensor, values) != NT_OK) nt_error_clear();
        free(values);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    nt_safetensors *file = NULL;
    if (nt_safetensors_open(&file, fuzz_file("in.safetensors", bytes, n_bytes)) == NT_OK) {
        read_all(file, n_bytes);
        nt_safetensors_close(file);
    }
    nt_error_clear();
    return 0;
}
