/* Small text helpers shared by the readers: strict numbers, nearest names, names that are safe in paths. */
#ifndef NT_CORE_TEXT_H
#define NT_CORE_TEXT_H

#include "core/status.h"

#include <stdint.h>

/* Whole-string decimal integer (optional sign; no blanks, no 0x, no exponent). False if it is anything else
 * or overflows. */
bool nt_text_to_int(const char *text, int64_t *out);

/* Whole-string finite decimal number, as in C without hex, nan or inf; independent of the locale. */
bool nt_text_to_float(const char *text, double *out);

/* The candidate (NULL-terminated list) nearest to `word` by edit distance (Damerau-Levenshtein), or NULL if
 * none is near enough to be what the user meant (distance > max(2, length / 3)). */
const char *nt_text_nearest(const char *word, const char *const *candidates);

/* Whether `name` matches [A-Za-z0-9._-]{1,64} and does not begin with '-' or '.'. */
bool nt_text_is_name(const char *name);

/* Whether n_bytes at text are valid UTF-8 (RFC 3629) without NUL. */
bool nt_text_is_utf8(const char *text, size_t n_bytes);

/* Copies `text` to `out` (cap bytes, always terminated) with control characters and invalid UTF-8 as \xNN. */
void nt_text_escape(char *out, size_t cap, const char *text);

#endif
