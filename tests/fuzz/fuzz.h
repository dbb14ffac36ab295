/* What the fuzz targets share: a scratch file that holds the input, and quiet. */
#ifndef NT_TESTS_FUZZ_H
#define NT_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Called by libFuzzer with every input. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Writes the bytes to the file `name` in this process's scratch folder and returns its path, which stays good
 * until the next call with the same name. Ends the process if it cannot. */
const char *fuzz_file(const char *name, const void *bytes, size_t n_bytes);

/* "<scratch folder>/<name>", for outputs. */
const char *fuzz_path(const char *name);

#endif
