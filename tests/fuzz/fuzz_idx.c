/* The IDX reader: four files cut from one input (two bytes of length before each of the first three),
 * imported as MNIST is. Plain or gzipped: zlib finds out by itself. */
#include "fuzz.h"

#include "datasets/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static const char *const name[4] = {"train_x", "train_y", "test_x", "test_y"};
    const char *path[4];
    for (int i = 0; i < 4; i++) {
        size_t n = n_bytes;
        if (i < 3 && n_bytes >= 2) {
            n = (size_t)bytes[0] << 8 | bytes[1];
            bytes += 2;
            n_bytes -= 2;
            if (n > n_bytes) n = n_bytes;
        }
        path[i] = fuzz_file(name[i], bytes, n);
        bytes += n;
        n_bytes -= n;
    }
    nt_import_args args = {.n_inputs = 4, .inputs = path, .out = fuzz_path("out.h5"), .force = true};
    if (nt_importer_find("mnist")->run(&args) != NT_OK) nt_error_clear();
    return 0;
}
