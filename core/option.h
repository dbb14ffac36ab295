/* One row of an option table at work: text to value (option.c) and value to text (option_write.c). Private to
 * core/config*.c. */
#ifndef NT_CORE_OPTION_H
#define NT_CORE_OPTION_H

#include "core/config.h"
#include "core/pool.h"

/* Parses `text` as the option's type, checks it, and puts it in its place of the section's struct `out`.
 * Strings and lists are kept in the pool; with pool NULL strings point to `text`, and lists are not allowed.
 * NT_ERR_CONFIG with a message that goes on from "section.key = value: ". */
NT_MUST nt_status nt_option_set(const nt_option *option, nt_pool *pool, const char *text, void *out);

/* Writes the value in the section's struct `values` as nt_option_set reads it, always in the same form. */
void nt_option_write(const nt_option *option, const void *values, FILE *out);

/* Whether nt_option_write writes nothing: an unset string, an empty list. */
bool nt_option_is_empty(const nt_option *option, const void *values);

#define NT_RANGE_TEXT_BYTES 96
/* "at least 0 and less than 1", empty without limits; returns text. */
const char *nt_option_range_text(const nt_option *option, char text[NT_RANGE_TEXT_BYTES]);

/* Zero-fills `out` and sets all defaults of the section; with pool NULL lists live as long as the process. */
NT_MUST nt_status nt_option_set_defaults(const nt_section *section, nt_pool *pool, void *out);

#endif
