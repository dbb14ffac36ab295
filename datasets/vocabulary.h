/* A list of tokens, and cutting a text into them. */
#ifndef NT_DATASETS_VOCABULARY_H
#define NT_DATASETS_VOCABULARY_H

#include "core/status.h"

#include <stdint.h>

typedef struct nt_vocabulary nt_vocabulary;

/* Reads a file of one token a line; its id is the number of the line, from 0. \n, \t, \r, \\ and \xNN stand
 * for bytes. `<unk>`, if there, is what a byte becomes at which no token begins. NT_ERR_DATA with file and
 * line: an empty or repeated token, a bad escape. */
NT_MUST nt_status nt_vocabulary_read(nt_vocabulary **out, const char *path);
void nt_vocabulary_free(nt_vocabulary *vocabulary);

int nt_vocabulary_size(const nt_vocabulary *vocabulary);
const char *const *nt_vocabulary_lines(const nt_vocabulary *vocabulary); /* as they are written */

/* The id of the longest token at text (n >= 1 bytes) in *id and its length; 0 if there is none, not even
 * <unk>. */
size_t nt_vocabulary_match(const nt_vocabulary *vocabulary, const uint8_t *text, size_t n, int32_t *id);

#endif
