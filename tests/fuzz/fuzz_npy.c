/* The NPY reader: an array file with labels that are always good, imported. */
#include "fuzz.h"

#include "datasets/import.h"

#include <string.h>

/* Format 1.0: six int64 labels 0 to 5 */
static const char *labels(void)
{
    static const char header[] = "{'descr': '<i8', 'fortran_order': False, 'shape': (6,), }";
    uint8_t file[128 + 48];
    memset(file, ' ', sizeof file);
    memcpy(file, "\x93NUMPY\x01\x00\x76\x00", 10);
    memcpy(file + 10, header, sizeof header - 1);
    file[127] = '\n';
    memset(file + 128, 0, 48);
    for (int i = 0; i < 6; i++)
        file[128 + 8 * i] = (uint8_t)i;
    return fuzz_file("y.npy", file, sizeof file);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    const char *path[] = {fuzz_file("x.npy", bytes, n_bytes), labels()};
    nt_import_args args = {
        .n_inputs = 2, .inputs = path, .out = fuzz_path("out.h5"), .force = true, .test_fraction = -1};
    if (nt_importer_find("npy")->run(&args) != NT_OK) nt_error_clear();
    return 0;
}
