/* A strict lexer for INI text. It knows the form of a line and nothing of what sections and keys mean.
 *
 *   [section]            ; `#` and `;` begin a comment: at the start of a line, or after white space
 *   [section NAME]
 *   key = value          # the value is literal text to the end of the line, without the white space around
 * it
 *
 * UTF-8 without control characters; a byte-order mark, CRLF and a last line without newline are taken. No
 * quotes, no escapes, no ${}, no continuation lines. Anything else is an error that says file:line:column. */
#ifndef NT_CORE_INI_H
#define NT_CORE_INI_H

#include "core/pool.h"
#include "core/status.h"

#define NT_INI_MAX_FILE_BYTES  (4u << 20)
#define NT_INI_MAX_LINE_BYTES  4096
#define NT_INI_MAX_LINES       100000
#define NT_INI_MAX_KEY_BYTES   64
#define NT_INI_MAX_VALUE_BYTES 4000 /* so that "key = value" fits on a line however it was written */

/* A header or a key line. Columns count characters from 1. */
typedef struct nt_ini_item {
    const char *section; /* header: its word, [A-Za-z0-9_]+; NULL for a key line */
    const char *name;    /* header: NAME (nt_text_is_name), or NULL */
    const char *key;     /* key line: [A-Za-z0-9_][A-Za-z0-9_.-]* */
    const char *value;   /* key line: may be empty */
    int line, column;    /* of section or key */
    int value_column;    /* key line */
} nt_ini_item;

typedef struct nt_ini {
    int n_items;
    nt_ini_item *item; /* in order; the first is a header */
} nt_ini;

/* Lexes n_bytes of text (any bytes); the result lives in the pool. `origin` stands for the file in messages.
 * NT_ERR_CONFIG for what is not as above, has no section, or is beyond a limit. */
NT_MUST nt_status nt_ini_parse(nt_ini *out, nt_pool *pool, const char *origin, const char *text,
                               size_t n_bytes);

/* Reads a whole regular file of at most NT_INI_MAX_FILE_BYTES; malloc'ed. NT_ERR_NO_INPUT if it cannot be
 * read, NT_ERR_CONFIG if it is too big. */
NT_MUST nt_status nt_ini_read_file(const char *path, char **text, size_t *n_bytes);

/* Whether `key` can stand in front of a value. */
bool nt_ini_is_key(const char *key);

/* Whether `value` can stand in a file and be read back as itself: valid UTF-8, no control characters, no
 * white space at its ends, nothing that would begin a comment. */
bool nt_ini_is_value(const char *value);

#endif
