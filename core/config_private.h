/* The inside of a config, shared by core/config.c (reading), core/config_block.c (blocks of keys),
 * core/config_expand.c (the user's [block NAME]s) and core/config_text.c (writing, hash, differences). */
#ifndef NT_CORE_CONFIG_PRIVATE_H
#define NT_CORE_CONFIG_PRIVATE_H

#include "core/config.h"
#include "core/ini.h"
#include "core/pool.h"

#define NT_GROUP_SECTION    "layer"
#define NT_LINES_SECTION    "layers" /* one layer a line: NAME = TYPE key=value ... */
#define NT_TEMPLATE_SECTION "block"  /* the same, with parameters, to be used as a type */

/* Where something was written; line 0: not in a file (the command line). */
typedef struct nt_place {
    const char *origin;
    int line, column;
    const struct nt_place *used_at; /* of a line in a [block NAME]: where the block was used; or NULL */
} nt_place;

/* A key as written, or as overridden. */
typedef struct nt_entry {
    const char *key, *value;
    nt_place key_place, value_place;
} nt_entry;

/* The keys under one header: a fixed section or a [layer NAME] group. */
typedef struct nt_block {
    nt_config_group group; /* name NULL for a fixed section */
    const char *section;   /* "optimizer"; "layer" for groups */
    nt_place place;        /* of the header; origin NULL: there is none */
    int n_entries, capacity;
    nt_entry *entry;
} nt_block;

/* A [block NAME]: its entries are lines, and one `params` among them. */
typedef struct nt_template {
    nt_block block;
    struct nt_template *next;
} nt_template;

struct nt_config {
    nt_pool pool; /* owns everything but this struct */
    const char *origin;
    int n_sections;
    const nt_section *const *sections;
    nt_block *fixed; /* (n_sections) */
    void **values;   /* (n_sections) parsed structs */
    int n_groups, groups_capacity;
    nt_block **groups; /* in order */
    nt_template *templates;
    const nt_entry *params; /* the line `params = ...` of [layers]; NULL: there is none */
};

/* What the groups stand for in a resolved config. */
#define NT_OPTION_WRITTEN_OUT (NT_OPTION_INCLUDE | NT_OPTION_ARGUMENTS)

#define NT_PLACE_TEXT_BYTES 640
/* "cfg.ini:3:7", "cfg.ini:3:7 (used at cfg.ini:20:1)" or "command line"; returns text. */
const char *nt_place_text(const nt_place *place, char text[NT_PLACE_TEXT_BYTES]);

#define NT_EXCERPT_BYTES 64
/* A user's word, cut and escaped for a message; returns text. */
const char *nt_excerpt(const char *word, char text[NT_EXCERPT_BYTES]);

/* "optimizer" or "layer.conv1"; returns text. */
#define NT_BLOCK_TEXT_BYTES 128
const char *nt_block_text(const nt_block *block, char text[NT_BLOCK_TEXT_BYTES]);

/* The entry of that key, or NULL. */
nt_entry *nt_block_find(const nt_block *block, const char *key);

/* Adds an entry. NT_ERR_CONFIG if the block has too many. */
NT_MUST nt_status nt_block_add(nt_config *config, nt_block *block, nt_entry entry);

/* Adds an empty group. NT_ERR_CONFIG if there are too many. */
NT_MUST nt_status nt_config_add_group(nt_config *config, nt_block **out, const char *name, nt_place place);

/* The block of a fixed section or group by name; NULL if there is none. */
nt_block *nt_config_find_fixed(const nt_config *config, const char *section);
nt_block *nt_config_find_group(const nt_config *config, const char *name);

/* A word of a line and where it stands; name NULL for a word that is no key=value. */
typedef struct nt_word {
    const char *name, *value;
    nt_place place, value_place;
} nt_word;

/* Cuts "TYPE key=value ...", the value of `line`, into words; *out lives in the pool. NT_ERR_CONFIG. */
NT_MUST nt_status nt_config_cut_line(nt_config *config, const nt_entry *line, nt_word **out, int *n);

/* Takes a line of [layers] as the group it stands for. */
NT_MUST nt_status nt_config_take_line(nt_config *config, const nt_entry *line);

/* Replaces every group whose type is a [block NAME] by the layers it stands for. Without blocks nothing
 * changes. */
NT_MUST nt_status nt_config_expand(nt_config *config);

/* The option of that key, or NULL. */
const nt_option *nt_section_find(const nt_section *section, const char *key);

/* Fail with NT_ERR_CONFIG for what is not there, with the nearest that is. The key is in none of n tables. */
nt_status nt_config_fail_unknown_section(const nt_config *config, const nt_place *place, const char *word);
nt_status nt_config_fail_unknown_group(const nt_config *config, const nt_place *place, const char *word);
nt_status nt_config_fail_unknown_key(const nt_config *config, const nt_block *block, const nt_entry *entry,
                                     const nt_section *const *tables, int n_tables);

#endif
