/* Blocks: the keys under a header as text with their places, and the words for what is not among them. */
#include "core/config_private.h"

#include "core/ini.h"
#include "core/text.h"

#include <stdlib.h>
#include <string.h>

#define MAX_GROUPS  10000
#define MAX_ENTRIES 256

const char *nt_place_text(const nt_place *place, char text[NT_PLACE_TEXT_BYTES])
{
    char origin[256];
    size_t used = 0;
    text[0] = '\0';
    for (const nt_place *p = place; p && used < NT_PLACE_TEXT_BYTES; p = p->used_at) {
        nt_text_escape(origin, sizeof origin, p->origin);
        const char *before = p == place ? "" : p == place->used_at ? " (used at " : ", used at ";
        used += (size_t)snprintf(text + used, NT_PLACE_TEXT_BYTES - used, "%s%s", before, origin);
        if (p->line > 0 && used < NT_PLACE_TEXT_BYTES)
            used += (size_t)snprintf(text + used, NT_PLACE_TEXT_BYTES - used, ":%d:%d", p->line, p->column);
    }
    if (place->used_at && used + 1 < NT_PLACE_TEXT_BYTES) strcpy(text + used, ")");
    return text;
}

const char *nt_excerpt(const char *word, char text[NT_EXCERPT_BYTES])
{
    nt_text_escape(text, NT_EXCERPT_BYTES, word);
    return text;
}

const char *nt_block_text(const nt_block *block, char text[NT_BLOCK_TEXT_BYTES])
{
    bool is_group = block->group.name != NULL;
    snprintf(text, NT_BLOCK_TEXT_BYTES, "%s%s%s", block->section, is_group ? "." : "",
             is_group ? block->group.name : "");
    return text;
}

/* "a, b, c" of n words, cut to fit. */
static const char *join(const char *const *words, int n, char *text, size_t cap)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < n && used < cap; i++)
        used += (size_t)snprintf(text + used, cap - used, "%s%s", i ? ", " : "", words[i]);
    return text;
}

nt_entry *nt_block_find(const nt_block *block, const char *key)
{
    for (int i = 0; i < block->n_entries; i++)
        if (strcmp(block->entry[i].key, key) == 0) return &block->entry[i];
    return NULL;
}

nt_block *nt_config_find_fixed(const nt_config *config, const char *section)
{
    for (int i = 0; i < config->n_sections; i++)
        if (strcmp(config->sections[i]->name, section) == 0) return &config->fixed[i];
    return NULL;
}

nt_block *nt_config_find_group(const nt_config *config, const char *name)
{
    for (int i = 0; i < config->n_groups; i++)
        if (strcmp(config->groups[i]->group.name, name) == 0) return config->groups[i];
    return NULL;
}

const nt_option *nt_section_find(const nt_section *section, const char *key)
{
    for (int i = 0; i < section->n_options; i++)
        if (strcmp(section->options[i].key, key) == 0) return &section->options[i];
    return NULL;
}

/* Room for one more in a pool-owned array; the old array stays in the pool. */
static void *grown_array(nt_pool *pool, const void *array, int n, int *capacity, size_t elem_bytes)
{
    int wanted = *capacity ? 2 * *capacity : 8;
    void *grown = nt_pool_alloc(pool, (size_t)wanted * elem_bytes);
    if (!grown) return NULL;
    if (n) memcpy(grown, array, (size_t)n * elem_bytes);
    *capacity = wanted;
    return grown;
}

nt_status nt_block_add(nt_config *config, nt_block *block, nt_entry entry)
{
    char where[NT_PLACE_TEXT_BYTES], name[NT_BLOCK_TEXT_BYTES];
    NT_CHECK(block->n_entries < MAX_ENTRIES, NT_ERR_CONFIG, "%s: more than %d keys in %s",
             nt_place_text(&entry.key_place, where), MAX_ENTRIES, nt_block_text(block, name));
    /* Entries can come from the words of a line, which the lexer saw as one value. */
    char excerpt[NT_EXCERPT_BYTES];
    NT_CHECK(
        nt_ini_is_key(entry.key), NT_ERR_CONFIG,
        "%s: '%s' is no key: it begins with a letter, a digit or '_' and goes on with these, '.' and '-'",
        nt_place_text(&entry.key_place, where), nt_excerpt(entry.key, excerpt));
    NT_CHECK(nt_ini_is_value(entry.value), NT_ERR_CONFIG, "%s: '%s' cannot be a value in a file",
             nt_place_text(&entry.value_place, where), nt_excerpt(entry.value, excerpt));
    if (block->n_entries == block->capacity) {
        nt_entry *grown = grown_array(&config->pool, block->entry, block->n_entries, &block->capacity,
                                      sizeof *block->entry);
        NT_CHECK_ALLOC(grown, sizeof *grown);
        block->entry = grown;
    }
    block->entry[block->n_entries++] = entry;
    return NT_OK;
}

nt_status nt_config_add_group(nt_config *config, nt_block **out, const char *name, nt_place place)
{
    char where[NT_PLACE_TEXT_BYTES];
    NT_CHECK(config->n_groups < MAX_GROUPS, NT_ERR_CONFIG, "%s: more than %d layers",
             nt_place_text(&place, where), MAX_GROUPS);
    if (config->n_groups == config->groups_capacity) {
        nt_block **grown = grown_array(&config->pool, config->groups, config->n_groups,
                                       &config->groups_capacity, sizeof(nt_block *));
        NT_CHECK_ALLOC(grown, sizeof *grown);
        config->groups = grown;
    }
    nt_block *block = nt_pool_alloc(&config->pool, sizeof *block);
    NT_CHECK_ALLOC(block, sizeof *block);
    *block = (nt_block){
        .group = {name, place.line, config->n_groups}, .section = NT_GROUP_SECTION, .place = place};
    config->groups[config->n_groups++] = *out = block;
    return NT_OK;
}

nt_status nt_config_fail_unknown_section(const nt_config *config, const nt_place *place, const char *word)
{
    char where[NT_PLACE_TEXT_BYTES], shown[NT_EXCERPT_BYTES], all[1024];
    int n = config->n_sections + 1;
    const char **names = calloc((size_t)n + 1, sizeof *names);
    NT_CHECK_ALLOC(names, (size_t)n);
    for (int i = 0; i < config->n_sections; i++)
        names[i] = config->sections[i]->name;
    names[n - 1] = NT_GROUP_SECTION;
    const char *near = nt_text_nearest(word, names);
    join(names, n, all, sizeof all);
    free(names);
    nt_place_text(place, where);
    nt_excerpt(word, shown);
    if (near) NT_FAIL(NT_ERR_CONFIG, "%s: unknown section '%s'; did you mean '%s'?", where, shown, near);
    NT_FAIL(NT_ERR_CONFIG, "%s: unknown section '%s'; there are: %s", where, shown, all);
}

/* Name of a fixed section other than the block's own that has the key, or NULL. */
static const char *other_section_with(const nt_config *config, const nt_block *block, const char *key)
{
    for (int i = 0; i < config->n_sections; i++)
        if (&config->fixed[i] != block && nt_section_find(config->sections[i], key))
            return config->sections[i]->name;
    return NULL;
}

nt_status nt_config_fail_unknown_key(const nt_config *config, const nt_block *block, const nt_entry *entry,
                                     const nt_section *const *tables, int n_tables)
{
    char where[NT_PLACE_TEXT_BYTES], shown[NT_EXCERPT_BYTES], name[NT_BLOCK_TEXT_BYTES], all[1024];
    int n = 0, at = 0;
    for (int i = 0; i < n_tables; i++)
        n += tables[i]->n_options;
    const char **keys = calloc((size_t)n + 1, sizeof *keys);
    NT_CHECK_ALLOC(keys, (size_t)n);
    for (int i = 0; i < n_tables; i++)
        for (int j = 0; j < tables[i]->n_options; j++)
            keys[at++] = tables[i]->options[j].key;
    const char *near = nt_text_nearest(entry->key, keys);
    join(keys, n, all, sizeof all);
    free(keys);
    const char *home = block->group.name ? NULL : other_section_with(config, block, entry->key);
    nt_place_text(&entry->key_place, where);
    nt_block_text(block, name);
    nt_excerpt(entry->key, shown);
    if (home)
        NT_FAIL(NT_ERR_CONFIG, "%s: unknown key '%s' in %s; it belongs to [%s]", where, shown, name, home);
    if (near)
        NT_FAIL(NT_ERR_CONFIG, "%s: unknown key '%s' in %s; did you mean '%s'?", where, shown, name, near);
    NT_FAIL(NT_ERR_CONFIG, "%s: unknown key '%s' in %s; there are: %s", where, shown, name, all);
}

nt_status nt_config_fail_unknown_group(const nt_config *config, const nt_place *place, const char *word)
{
    char where[NT_PLACE_TEXT_BYTES], shown[NT_EXCERPT_BYTES];
    const char **names = calloc((size_t)config->n_groups + 1, sizeof *names);
    NT_CHECK_ALLOC(names, (size_t)config->n_groups);
    for (int i = 0; i < config->n_groups; i++)
        names[i] = config->groups[i]->group.name;
    const char *near = nt_text_nearest(word, names);
    free(names);
    nt_place_text(place, where);
    nt_excerpt(word, shown);
    if (near) NT_FAIL(NT_ERR_CONFIG, "%s: there is no [layer %s]; did you mean '%s'?", where, shown, near);
    NT_FAIL(NT_ERR_CONFIG, "%s: there is no [layer %s]", where, shown);
}
