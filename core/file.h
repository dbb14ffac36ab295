/* Writing to a file descriptor: all of it or an error. */
#ifndef NT_CORE_FILE_H
#define NT_CORE_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* Writes all n_bytes, however many calls that takes. False with errno set if that cannot be done; part of it
 * may be written then. */
bool nt_file_write(int fd, const void *bytes, size_t n_bytes);

#endif
