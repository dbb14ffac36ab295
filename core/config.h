/* The configuration: strict INI text plus `section.key=value` overrides, parsed through tables of options.
 *
 * Each room describes its section once, as a struct and a table of nt_option that says where in the struct a
 * key goes (offsetof), its type, default, range and help. That table drives parsing, `nntrain help config`,
 * the printed run configuration and its hash. A key that is in no table is an error with file, line and the
 * nearest valid name. Fixed sections ([run], [data], ...) appear at most once; [layer NAME] sections are
 * groups, kept in order, and are parsed against the table of their layer type by the model builder. Layers
 * one a line ([layers]) and blocks of them ([block NAME], core/config_expand.c) are groups by the time
 * anybody asks. */
#ifndef NT_CORE_CONFIG_H
#define NT_CORE_CONFIG_H

#include "core/status.h"

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum nt_option_type {
    NT_OPTION_INT,      /* int64_t */
    NT_OPTION_FLOAT,    /* double; finite */
    NT_OPTION_BOOL,     /* bool; yes|no|true|false|on|off|1|0 */
    NT_OPTION_STRING,   /* const char *; NULL when unset and the default is NULL */
    NT_OPTION_ENUM,     /* int: index into `choices` */
    NT_OPTION_PAIR,     /* int64_t[2]: "3" (both) or "3, 5" (height, width) */
    NT_OPTION_NAMES,    /* nt_names: comma separated */
    NT_OPTION_FLOATS,   /* nt_floats: comma separated */
    NT_OPTION_INTS,     /* nt_ints: comma separated */
    NT_OPTION_INTERVAL, /* nt_interval: "1 epoch", "500 steps", "10 minutes", "never" */
} nt_option_type;

typedef struct nt_names {
    int n;
    const char **name;
} nt_names;

typedef struct nt_floats {
    int n;
    double *value;
} nt_floats;

typedef struct nt_ints {
    int n;
    int64_t *value;
} nt_ints;

typedef enum nt_interval_unit { NT_NEVER, NT_STEPS, NT_EPOCHS, NT_MINUTES } nt_interval_unit;

typedef struct nt_interval {
    nt_interval_unit unit;
    double count; /* > 0 unless NT_NEVER */
} nt_interval;

/* Flags of an option. */
enum {
    NT_OPTION_REQUIRED = 1, /* no default: must be given */
    NT_OPTION_FREE = 2,     /* may change between save and resume; not part of the config hash */
    NT_OPTION_SAME = 4,     /* NT_OPTION_PAIR only: the word `same` is allowed and stored as {-1, -1} */
    NT_OPTION_AUTO = 8,     /* NT_OPTION_FLOAT only: the word `auto` is allowed and stored as NaN */
    NT_OPTION_INCLUDE = 16, /* NT_OPTION_STRING only: names an INI file of [layer NAME] groups, which are
                               taken as if they stood in the config; it must have none of its own then. A
                               relative path is looked up in the working directory, in the config file's
                               folder, in the installed share/nntrain and its launcher/models, in the source
                               tree that the program was built in and its launcher/models */
    NT_OPTION_ARGUMENTS =
        32, /* NT_OPTION_STRING only: NAME=VALUE words for the `params` that [layers] declares */
};

/* `min` of a number that has to be greater than 0, `max` of one that has to be less than 1. */
#define NT_ABOVE_ZERO DBL_MIN
#define NT_BELOW_ONE  (1.0 - DBL_EPSILON / 2)

typedef struct nt_option {
    const char *key;
    nt_option_type type;
    size_t offset;              /* in the section's struct */
    const char *def;            /* default, as text in the config syntax; NULL: zero / unset */
    double min, max;            /* inclusive range for numbers and each list element; both 0: no limit; max
                                   below min (so 0 after a positive min) or INFINITY: no upper limit */
    const char *const *choices; /* NULL-terminated words of an NT_OPTION_ENUM */
    unsigned flags;
    const char *help; /* one line */
} nt_option;

typedef struct nt_config nt_config; /* owns all strings and structs it hands out */

/* Tables must outlive the configs made with them. */
typedef struct nt_section {
    const char *name; /* "optimizer"; for layer types the type's name */
    const char *help; /* one line */
    size_t size;      /* bytes of the struct */
    const nt_option *options;
    int n_options;
    /* Called on the parsed struct of a fixed section, after all sections are parsed, for what ranges cannot
     * say; fails through nt_config_fail. Optional. */
    nt_status (*check)(const nt_config *config, const void *values);
    /* The number that `auto` stands for in an NT_OPTION_FLOAT, which may depend on the other values; NaN:
     * none. A config that says that number is no other than one that says auto. Optional. */
    double (*auto_value)(const void *values, const char *key);
} nt_section;

#define NT_N_ELEMS(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* One [layer NAME] group as written. */
typedef struct nt_config_group {
    const char *name; /* NAME: [A-Za-z0-9_.-]{1,64}, unique */
    int line;         /* of the header */
    int index;        /* order of appearance */
} nt_config_group;

/* Reads and checks `path` and the overrides ("section.key=value", also "layer.NAME.key=value"; the last one
 * of a key wins) against `sections` (NULL-terminated list). `path` may be NULL: defaults and overrides only.
 * Errors: NT_ERR_NO_INPUT, NT_ERR_CONFIG with "file:line:col: ...". */
NT_MUST nt_status nt_config_load(nt_config **out, const char *path, const char *const *overrides,
                                 int n_overrides, const nt_section *const *sections);

/* The same from text in memory (n_bytes, may hold anything); `origin` stands for the file in messages. */
NT_MUST nt_status nt_config_parse(nt_config **out, const char *origin, const char *text, size_t n_bytes,
                                  const char *const *overrides, int n_overrides,
                                  const nt_section *const *sections);

void nt_config_destroy(nt_config *config);

/* The parsed struct of a fixed section, defaults filled in; owned by config; never NULL for a listed section.
 */
const void *nt_config_section(const nt_config *config, const nt_section *section);

/* Whether the user (file or override) gave this key of a fixed section. */
bool nt_config_given(const nt_config *config, const char *section, const char *key);

/* Whether the key has a value other than its default: a resolved configuration gives every key. */
bool nt_config_changed(const nt_config *config, const char *section, const char *key);

/* Fails with NT_ERR_CONFIG, the position of section.key in the user's file, and the printf-style message. For
 * checks that need more than the table knows. */
NT_MUST nt_status nt_config_fail(const nt_config *config, const char *section, const char *key,
                                 const char *format, ...) NT_PRINTF(4);

/* For an error of this thread from where no config is known: if its message begins with "section.key" of a
 * fixed section, puts the key's position in front, as nt_config_fail does. Returns `status`. */
nt_status nt_config_place_error(const nt_config *config, nt_status status);

/* [layer NAME] groups in order. */
int nt_config_n_groups(const nt_config *config);
const nt_config_group *nt_config_get_group(const nt_config *config, int index);

/* Raw value of a key of a group, or NULL. Owned by config. */
const char *nt_config_group_value(const nt_config *config, const nt_config_group *group, const char *key);

/* Parses a group against two tables into two structs: `common` (keys every layer has: type, input,
 * activation, ...) and `section` (the layer type's). Unknown keys are errors; zero-fills and sets defaults
 * first. Strings and lists are owned by config. */
NT_MUST nt_status nt_config_parse_group(nt_config *config, const nt_config_group *group,
                                        const nt_section *common, void *common_out, const nt_section *section,
                                        void *out);

/* As nt_config_fail, for a key of a group (key may be NULL: the header's line). */
NT_MUST nt_status nt_config_fail_group(const nt_config *config, const nt_config_group *group, const char *key,
                                       const char *format, ...) NT_PRINTF(4);

/* Fills *out with the defaults of a section (for tests and for layers made by code). String defaults point
 * into the table, lists live as long as the process. */
NT_MUST nt_status nt_section_defaults(const nt_section *section, void *out);

/* The whole resolved configuration as INI text that parses back to itself: every section, every key, groups
 * as written. An NT_OPTION_INCLUDE key is empty in it, for the groups it stood for follow. malloc'ed; the
 * caller frees. */
NT_MUST nt_status nt_config_text(const nt_config *config, char **out);

/* Hash over the canonical text of all options that are not NT_OPTION_FREE: equal on all ranks, and between
 * save and resume. It does not depend on comments, order of sections and keys, forms of numbers, or which
 * defaults were written out in fixed sections. XXH3-64; 0 if memory ran out. */
uint64_t nt_config_hash(const nt_config *config);

/* Lists the differences in non-free (fatal) and free keys between two configs, "section.key: 'a' -> 'b';
 * ...", into `text`; returns the number of fatal ones. */
int nt_config_diff(const nt_config *before, const nt_config *after, char *text, size_t n_bytes);

/* Prints a section's table for `nntrain help config`, or one key of it. */
void nt_section_print_help(const nt_section *section, FILE *out);
void nt_option_print_help(const nt_option *option, FILE *out);

#endif
