/* A part of a file in the address space, for rows that are read in any order without a call for each.
 *
 * Reading a mapping has two faults that reading a file has not, and both are made errors here: a page beyond
 * the end of a file that became shorter, or one that the disk does not give, is a signal (SIGBUS); and the
 * rest of the last page reads as zeros. */
#ifndef NT_DATASETS_MAPPED_H
#define NT_DATASETS_MAPPED_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nt_mapped {
    int fd;              /* borrowed */
    char *base;          /* NULL: not mapped */
    size_t n_bytes;      /* of the mapping, from the page on in which the part begins */
    const char *part;    /* first byte of the part */
    int64_t end_in_file; /* byte after the part */
} nt_mapped;

/* False where the system cannot map this file: read it another way. */
bool nt_mapped_open(nt_mapped *m, int fd, int64_t offset, int64_t n_bytes);
void nt_mapped_close(nt_mapped *m); /* all zero is fine */

/* Asks for bytes to be read soon, without waiting. Only advice. */
void nt_mapped_want(const nt_mapped *m, const char *from, size_t n_bytes);

/* Whether the file still reaches to the end of the part. */
bool nt_mapped_is_whole(const nt_mapped *m);

/* Copies row i of n from from[i], in a mapping or elsewhere, to dst + i * row_bytes. False if a page of a
 * mapping could not be had; dst holds part of the rows then. */
bool nt_mapped_copy(void *dst, const char *const *from, int64_t n, size_t row_bytes);

/* Waits for the disk in this thread so far: pages that were not in memory when they were touched. */
int64_t nt_mapped_waits(void);

#endif
