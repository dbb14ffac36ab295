/* Small text helpers shared by the readers and writers: strict numbers, nearest names, names that are safe in
 * paths, text that is safe on a terminal. None depends on the locale. */
#ifndef NT_CORE_TEXT_H
#define NT_CORE_TEXT_H

#include "core/status.h"

#include <stdint.h>

/* Whole-string decimal integer (optional sign; no blanks, no 0x, no exponent). False if it is anything else
 * or overflows. */
bool nt_text_to_int(const char *text, int64_t *out);

/* Whole-string finite decimal number, as in C without hex, nan or inf. False also for what overflows (1e999)
 * or vanishes (1e-999). */
bool nt_text_to_float(const char *text, double *out);

#define NT_FLOAT_TEXT_BYTES 32
/* The shortest text that nt_text_to_float reads back as `value` (finite); returns text. */
const char *nt_text_from_float(double value, char text[NT_FLOAT_TEXT_BYTES]);

/* The candidate (NULL-terminated list) that other programs call `word`, as linear is called dense; else the
 * one nearest to it by edit distance (Damerau-Levenshtein, neighbouring swaps count once, case is ignored),
 * or NULL if none is near enough to be what the user meant (distance > max(2, length / 3), or nothing in
 * common). */
const char *nt_text_nearest(const char *word, const char *const *candidates);

/* Whether `name` matches [A-Za-z0-9._-]{1,64} and does not begin with '-' or '.'. */
bool nt_text_is_name(const char *name);

/* Whether n_bytes at text are valid UTF-8 (RFC 3629) without NUL. */
bool nt_text_is_utf8(const char *text, size_t n_bytes);

/* Length of the UTF-8 sequence at text, of which n_bytes are there; 0 if there is none. NUL is not one. */
size_t nt_text_utf8_char(const char *text, size_t n_bytes);

/* Copies `text` to `out` (cap bytes, cap >= 1, always terminated) with control characters and invalid UTF-8
 * as \xNN. What does not fit is cut between characters and, if cap allows it, ends in "...". */
void nt_text_escape(char *out, size_t cap, const char *text);

#endif
