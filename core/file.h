/* Writing files: all of it or an error. */
#ifndef NT_CORE_FILE_H
#define NT_CORE_FILE_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>

/* Writes all n_bytes, however many calls that takes. False with errno set if that cannot be done; part of it
 * may be written then. */
bool nt_file_write(int fd, const void *bytes, size_t n_bytes);

/* Writes a file's contents to fd; `path` for messages. */
typedef nt_status (*nt_file_writer)(void *arg, int fd, const char *path);

/* Puts a file in the place of `path`, with what `writer` writes: whole and on the disk, or not at all.
 * NT_ERR_CREATE, NT_ERR_IO, or what the writer fails with. */
NT_MUST nt_status nt_file_replace(const char *path, nt_file_writer writer, void *arg);

#endif
