/* Writing files: all of it or an error. Opening files that somebody else has put there. */
#ifndef NT_CORE_FILE_H
#define NT_CORE_FILE_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>

/* Opens a regular file for reading; a FIFO or device neither holds us up nor is read without end.
 * NT_ERR_NO_INPUT. */
NT_MUST nt_status nt_file_open_regular(const char *path, int *fd);

/* Writes all n_bytes, however many calls that takes. False with errno set if that cannot be done; part of it
 * may be written then. */
bool nt_file_write(int fd, const void *bytes, size_t n_bytes);

/* Writes a file's contents to fd; `path` for messages. */
typedef nt_status (*nt_file_writer)(void *arg, int fd, const char *path);

/* Whether a file may be put in the place of `path`: not in that of a folder, a FIFO or a device, which root
 * could replace; of a file only with `force`; never of `input` (NULL: none), which would be read and lost.
 * NT_ERR_CREATE. */
NT_MUST nt_status nt_file_check_output(const char *path, const char *input, bool force);

/* Puts a file in the place of `path`, with what `writer` writes: whole and on the disk, or not at all.
 * NT_ERR_CREATE, NT_ERR_IO, or what the writer fails with. */
NT_MUST nt_status nt_file_replace(const char *path, nt_file_writer writer, void *arg);

#endif
