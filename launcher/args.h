/* The words of a command line: flags (getopt_long), overrides, and the rest.
 *
 * A word is an override if it reads `section.key=value` with a plain word, a dot and an equals sign in front
 * of any slash; the first word after the flags is always the config file, whatever it looks like. After `--`
 * nothing is a flag. */
#ifndef NT_LAUNCHER_ARGS_H
#define NT_LAUNCHER_ARGS_H

#include "core/status.h"

#include <stdint.h>
#include <stdio.h>

typedef enum nt_flag_type { NT_FLAG_BOOL, NT_FLAG_INT, NT_FLAG_STRING } nt_flag_type;

typedef struct nt_flag {
    const char *name; /* "json": given as --json */
    nt_flag_type type;
    void *value; /* bool *, int64_t * or const char ** */
    const char *help;
} nt_flag;

typedef struct nt_args {
    const char **word; /* words that are neither flags nor overrides, in order */
    int n_words;
    const char **override;
    int n_overrides;
    uint32_t given; /* bit i: flag i of the syntax was there */
} nt_args;

/* What a command takes. */
typedef struct nt_syntax {
    const char *usage; /* for messages */
    int min_words, max_words;
    bool overrides; /* else `a.b=c` is a word like any other */
    const nt_flag *flags;
    int n_flags;
} nt_syntax;

/* argv[0] is the command's name. Words and overrides point into argv. NT_ERR_USAGE. */
NT_MUST nt_status nt_args_parse(nt_args *args, int argc, char **argv, const nt_syntax *syntax);
void nt_args_free(nt_args *args);

#endif
