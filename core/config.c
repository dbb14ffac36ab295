/* Reading a configuration. First all of it is taken down as text with its places: the file, then overrides
 * on top, each into the block ([section] or [layer NAME]) it belongs to. Then every fixed section is parsed
 * through its table. Groups stay text until the model builder asks, for only it knows the layer types. */
#include "core/config_private.h"

#include "core/option.h"
#include "core/text.h"

#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static nt_status open_group(nt_config *config, nt_block **out, const nt_ini_item *item, nt_place place)
{
    char where[NT_PLACE_TEXT_BYTES], first[NT_PLACE_TEXT_BYTES];
    nt_place_text(&place, where);
    NT_CHECK(item->name, NT_ERR_CONFIG, "%s: a layer needs a name, as in [layer conv1]", where);
    const nt_block *before = nt_config_find_group(config, item->name);
    if (before)
        NT_FAIL(NT_ERR_CONFIG, "%s: [layer %s] again; the first is at %s", where, item->name,
                nt_place_text(&before->place, first));
    return nt_config_add_group(config, out, item->name, place);
}

/* [block NAME] */
static nt_status open_template(nt_config *config, nt_block **out, const nt_ini_item *item, nt_place place)
{
    char where[NT_PLACE_TEXT_BYTES], first[NT_PLACE_TEXT_BYTES];
    nt_place_text(&place, where);
    NT_CHECK(item->name, NT_ERR_CONFIG, "%s: a block needs a name, as in [block residual]", where);
    for (const nt_template *t = config->templates; t; t = t->next)
        if (strcmp(t->block.group.name, item->name) == 0)
            NT_FAIL(NT_ERR_CONFIG, "%s: [block %s] again; the first is at %s", where, item->name,
                    nt_place_text(&t->block.place, first));
    nt_template *t = nt_pool_alloc(&config->pool, sizeof *t);
    NT_CHECK_ALLOC(t, sizeof *t);
    t->block = (nt_block){.group = {.name = item->name}, .section = NT_TEMPLATE_SECTION, .place = place};
    t->next = config->templates;
    config->templates = t;
    *out = &t->block;
    return NT_OK;
}

static nt_status open_block(nt_config *config, nt_block **out, const nt_ini_item *item, nt_place place)
{
    char where[NT_PLACE_TEXT_BYTES], first[NT_PLACE_TEXT_BYTES], shown[NT_EXCERPT_BYTES];
    if (strcmp(item->section, NT_GROUP_SECTION) == 0) return open_group(config, out, item, place);
    if (strcmp(item->section, NT_TEMPLATE_SECTION) == 0) return open_template(config, out, item, place);
    if (strcmp(item->section, NT_LINES_SECTION) == 0 && !item->name) {
        *out = NULL; /* its lines become groups at once */
        return NT_OK;
    }
    nt_block *block = nt_config_find_fixed(config, item->section);
    if (!block) return nt_config_fail_unknown_section(config, &place, item->section);
    nt_place_text(&place, where);
    if (item->name)
        NT_FAIL(NT_ERR_CONFIG, "%s: [%s] takes no name; '%s' is too much", where, item->section,
                nt_excerpt(item->name, shown));
    if (block->place.origin)
        NT_FAIL(NT_ERR_CONFIG, "%s: [%s] again; the first is at %s", where, item->section,
                nt_place_text(&block->place, first));
    block->place = place;
    *out = block;
    return NT_OK;
}

/* The table of a fixed section's block. */
static const nt_section *table_of(const nt_config *config, const nt_block *block)
{
    return config->sections[block - config->fixed];
}

/* A key of the file: in the table, if its section has one, and not there yet. */
static nt_status take_key(nt_config *config, nt_block *block, nt_entry entry)
{
    char where[NT_PLACE_TEXT_BYTES], first[NT_PLACE_TEXT_BYTES], name[NT_BLOCK_TEXT_BYTES];
    const nt_section *table = block->group.name ? NULL : table_of(config, block);
    if (table && !nt_section_find(table, entry.key))
        return nt_config_fail_unknown_key(config, block, &entry, &table, 1);
    const nt_entry *before = nt_block_find(block, entry.key);
    if (before)
        NT_FAIL(NT_ERR_CONFIG, "%s: key '%s' again in %s; the first is at %s",
                nt_place_text(&entry.key_place, where), entry.key, nt_block_text(block, name),
                nt_place_text(&before->key_place, first));
    return nt_block_add(config, block, entry);
}

static bool holds_layers(const char *section)
{
    return strcmp(section, NT_GROUP_SECTION) == 0 || strcmp(section, NT_LINES_SECTION) == 0 ||
           strcmp(section, NT_TEMPLATE_SECTION) == 0;
}

/* Takes down a text; `only_groups` if it may hold nothing but layers. */
static nt_status take_text(nt_config *config, const char *origin, const char *text, size_t n_bytes,
                           bool only_groups)
{
    char where[NT_PLACE_TEXT_BYTES];
    nt_block *block = NULL;
    nt_ini ini;
    NT_TRY(nt_ini_parse(&ini, &config->pool, origin, text, n_bytes));
    for (int i = 0; i < ini.n_items; i++) {
        const nt_ini_item *item = &ini.item[i];
        nt_place place = {origin, item->line, item->column};
        if (item->key) {
            nt_place value_place = {origin, item->line, item->value_column};
            nt_entry entry = {item->key, item->value, place, value_place};
            NT_TRY(block ? take_key(config, block, entry) : nt_config_take_line(config, &entry));
            continue;
        }
        NT_CHECK(!only_groups || holds_layers(item->section), NT_ERR_CONFIG,
                 "%s: a model file has only [layers], [layer NAME] and [block NAME] sections, not [%s]",
                 nt_place_text(&place, where), item->section);
        NT_TRY(open_block(config, &block, item, place));
    }
    return NT_OK;
}

/* An override cut into its three parts. */
typedef struct override {
    char *section, *key, *value; /* section: "optimizer", or NAME of a layer */
    bool is_group;
} override;

static const nt_place command_line = {.origin = "command line"};

/* Whether the lexer would take it as a key. */
static bool is_key(const char *key)
{
    size_t n = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return n > 0 && n <= NT_INI_MAX_KEY_BYTES && key[n] == '\0';
}

/* Cuts a copy of "section.key=value" or "layer.NAME.key=value"; NAME may hold dots. False if it has another
 * form. */
static bool cut_override(char *text, override *out)
{
    const char *prefix = NT_GROUP_SECTION ".";
    char *equals = strchr(text, '=');
    if (!equals) return false;
    *equals = '\0';
    out->value = equals + 1;
    out->is_group = strncmp(text, prefix, strlen(prefix)) == 0;
    out->section = text + (out->is_group ? strlen(prefix) : 0);
    char *dot = strrchr(out->section, '.');
    if (!dot) return false;
    *dot = '\0';
    out->key = dot + 1;
    return *out->section && is_key(out->key);
}

static nt_status read_override(nt_config *config, const char *text, override *out)
{
    char shown[NT_EXCERPT_BYTES];
    char *copy = nt_pool_text(&config->pool, text, strlen(text));
    NT_CHECK_ALLOC(copy, strlen(text));
    nt_excerpt(text, shown);
    NT_CHECK(cut_override(copy, out), NT_ERR_CONFIG,
             "command line: '%s': expected section.key=value or layer.NAME.key=value", shown);
    NT_CHECK(nt_ini_is_value(out->value), NT_ERR_CONFIG,
             "command line: '%s': a value is one line of UTF-8 text without white space at its ends and "
             "without what begins a comment",
             shown);
    return NT_OK;
}

/* Puts overrides on top of what the file said; the last one of a key wins. */
static nt_status take_overrides(nt_config *config, const char *const *overrides, int n_overrides, bool groups)
{
    for (int i = 0; i < n_overrides; i++) {
        override o = {0};
        NT_TRY(read_override(config, overrides[i], &o));
        if (o.is_group != groups) continue;
        nt_block *block =
            groups ? nt_config_find_group(config, o.section) : nt_config_find_fixed(config, o.section);
        if (!block)
            return groups ? nt_config_fail_unknown_group(config, &command_line, o.section)
                          : nt_config_fail_unknown_section(config, &command_line, o.section);
        nt_entry entry = {o.key, o.value, command_line, command_line}, *before = nt_block_find(block, o.key);
        if (before)
            *before = entry;
        else
            NT_TRY(take_key(config, block, entry));
    }
    return NT_OK;
}

static nt_status take_file(nt_config *config, const char *path, bool only_groups)
{
    char *text = NULL;
    size_t n_bytes = 0;
    const char *origin = nt_pool_text(&config->pool, path, strlen(path));
    NT_CHECK_ALLOC(origin, strlen(path));
    NT_TRY(nt_ini_read_file(path, &text, &n_bytes));
    nt_status status = take_text(config, origin, text, n_bytes, only_groups);
    free(text);
    return status;
}

/* The folder above that of the program: the source tree, or where it is installed, also if that was moved. */
static void above_program(char folder[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", folder, PATH_MAX - 1);
    folder[n > 0 ? n : 0] = '\0';
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(folder, '/');
        if (slash) *slash = '\0';
    }
}

/* Whether a file is in a folder that holds shipped models; a bare name is that of one. */
static bool is_shipped(const char *folder, const char *below, const char *path, char found[PATH_MAX])
{
    if (snprintf(found, PATH_MAX, "%s%s/%s", folder, below, path) < PATH_MAX && access(found, F_OK) == 0)
        return true;
    return snprintf(found, PATH_MAX, "%s%s/launcher/models/%s", folder, below, path) < PATH_MAX &&
           access(found, F_OK) == 0;
}

/* Looks for a relative path in the working directory, in the config file's folder, where the program is
 * installed and in the source tree, in this order. Whatever is there is taken, so that the reader can say
 * what is wrong with it. */
static nt_status find_include(nt_config *config, const char *path, const char **out)
{
    char beside[PATH_MAX], shipped[PATH_MAX], above[PATH_MAX];
    const char *slash = strrchr(config->origin, '/'), *found = path;
    int n_folder = slash ? (int)(slash - config->origin) + 1 : 0;
    bool fits = snprintf(beside, PATH_MAX, "%.*s%s", n_folder, config->origin, path) < PATH_MAX;
    if (*path != '/' && fits && access(path, F_OK) != 0) {
        above_program(above);
        bool is_installed = is_shipped(NNTRAIN_DATA_DIR, "", path, shipped) ||
                            is_shipped(above, "/share/nntrain", path, shipped) ||
                            is_shipped(above, "", path, shipped);
        found = access(beside, F_OK) == 0 ? beside : is_installed ? shipped : NULL;
        NT_CHECK(found, NT_ERR_NO_INPUT,
                 "there is no file '%s'; tried '%s'%s%s%s, and the shipped models in '%s/launcher/models'",
                 path, path, n_folder ? ", '" : "", n_folder ? beside : "", n_folder ? "'" : "",
                 NNTRAIN_DATA_DIR);
    }
    *out = nt_pool_text(&config->pool, found, strlen(found));
    NT_CHECK_ALLOC(*out, strlen(found));
    return NT_OK;
}

/* Takes the layers of the file that an NT_OPTION_INCLUDE option names. */
static nt_status include(nt_config *config, const nt_section *section, const nt_option *option)
{
    char where[NT_PLACE_TEXT_BYTES], layers[NT_PLACE_TEXT_BYTES];
    const nt_entry *entry = nt_block_find(nt_config_find_fixed(config, section->name), option->key);
    const char *path = entry ? entry->value : option->def;
    if (!path || !*path) return NT_OK;
    nt_place_text(entry ? &entry->value_place : &(nt_place){.origin = config->origin}, where);
    if (config->n_groups > 0)
        NT_FAIL(NT_ERR_CONFIG, "%s: %s.%s names a model, but the first of the config's own layers is at %s",
                where, section->name, option->key, nt_place_text(&config->groups[0]->place, layers));
    const char *found = NULL;
    nt_status status = find_include(config, path, &found);
    if (status == NT_OK) status = take_file(config, found, true);
    if (status == NT_ERR_NO_INPUT)
        return nt_error_prefix(status, "%s: %s.%s: ", where, section->name, option->key);
    return status;
}

static nt_status take_includes(nt_config *config)
{
    for (int i = 0; i < config->n_sections; i++)
        for (int j = 0; j < config->sections[i]->n_options; j++)
            if (config->sections[i]->options[j].flags & NT_OPTION_INCLUDE)
                NT_TRY(include(config, config->sections[i], &config->sections[i]->options[j]));
    return NT_OK;
}

static nt_status fail_missing_key(const nt_config *config, const nt_block *block, const nt_option *option)
{
    char where[NT_PLACE_TEXT_BYTES], name[NT_BLOCK_TEXT_BYTES];
    const nt_place *place = block->place.origin ? &block->place : &(nt_place){.origin = config->origin};
    NT_FAIL(NT_ERR_CONFIG, "%s: %s needs the key '%s' (%s)", nt_place_text(place, where),
            nt_block_text(block, name), option->key, option->help ? option->help : "");
}

/* Parses the keys of a block that are in the table into out, defaults first. */
static nt_status parse_block(nt_config *config, const nt_block *block, const nt_section *table, void *out)
{
    char where[NT_PLACE_TEXT_BYTES], name[NT_BLOCK_TEXT_BYTES], shown[NT_EXCERPT_BYTES];
    NT_TRY(nt_option_set_defaults(table, &config->pool, out));
    for (int i = 0; i < table->n_options; i++) {
        const nt_option *option = &table->options[i];
        const nt_entry *entry = nt_block_find(block, option->key);
        if (!entry && (option->flags & NT_OPTION_REQUIRED)) return fail_missing_key(config, block, option);
        if (!entry) continue;
        nt_status status = nt_option_set(option, &config->pool, entry->value, out);
        if (status != NT_OK)
            return nt_error_prefix(status, "%s: %s.%s = %s: ", nt_place_text(&entry->value_place, where),
                                   nt_block_text(block, name), option->key, nt_excerpt(entry->value, shown));
    }
    return NT_OK;
}

static nt_status parse_fixed(nt_config *config)
{
    for (int i = 0; i < config->n_sections; i++) {
        config->values[i] = nt_pool_alloc(&config->pool, config->sections[i]->size);
        NT_CHECK_ALLOC(config->values[i], config->sections[i]->size);
        NT_TRY(parse_block(config, &config->fixed[i], config->sections[i], config->values[i]));
    }
    for (int i = 0; i < config->n_sections; i++)
        if (config->sections[i]->check) NT_TRY(config->sections[i]->check(config, config->values[i]));
    return NT_OK;
}

/* An empty config over the sections. */
static nt_status config_create(nt_config **out, const char *origin, const nt_section *const *sections)
{
    nt_config *config = calloc(1, sizeof *config);
    *out = config;
    NT_CHECK_ALLOC(config, sizeof *config);
    config->sections = sections;
    while (sections[config->n_sections])
        config->n_sections++;
    size_t n = (size_t)config->n_sections;
    config->origin = nt_pool_text(&config->pool, origin, strlen(origin));
    config->fixed = nt_pool_alloc(&config->pool, n * sizeof *config->fixed);
    config->values = nt_pool_alloc(&config->pool, n * sizeof *config->values);
    NT_CHECK_ALLOC(config->origin && config->fixed && config->values, n);
    for (size_t i = 0; i < n; i++)
        config->fixed[i].section = sections[i]->name;
    return NT_OK;
}

/* What is the same whatever the text came from. */
static nt_status finish(nt_config *config, const char *const *overrides, int n_overrides)
{
    NT_TRY(take_overrides(config, overrides, n_overrides, false));
    NT_TRY(take_includes(config));
    NT_TRY(nt_config_expand(config));
    NT_TRY(take_overrides(config, overrides, n_overrides, true));
    return parse_fixed(config);
}

nt_status nt_config_parse(nt_config **out, const char *origin, const char *text, size_t n_bytes,
                          const char *const *overrides, int n_overrides, const nt_section *const *sections)
{
    nt_status status;
    NT_TRY_GOTO(status, fail, config_create(out, origin, sections));
    NT_TRY_GOTO(status, fail, take_text(*out, (*out)->origin, text, n_bytes, false));
    NT_TRY_GOTO(status, fail, finish(*out, overrides, n_overrides));
    return NT_OK;
fail:
    nt_config_destroy(*out);
    *out = NULL;
    return status;
}

nt_status nt_config_load(nt_config **out, const char *path, const char *const *overrides, int n_overrides,
                         const nt_section *const *sections)
{
    nt_status status;
    NT_TRY_GOTO(status, fail, config_create(out, path ? path : "defaults", sections));
    if (path) NT_TRY_GOTO(status, fail, take_file(*out, path, false));
    NT_TRY_GOTO(status, fail, finish(*out, overrides, n_overrides));
    return NT_OK;
fail:
    nt_config_destroy(*out);
    *out = NULL;
    return status;
}

void nt_config_destroy(nt_config *config)
{
    if (!config) return;
    nt_pool_free(&config->pool);
    free(config);
}

const void *nt_config_section(const nt_config *config, const nt_section *section)
{
    const nt_block *block = nt_config_find_fixed(config, section->name);
    return block ? config->values[block - config->fixed] : NULL;
}

bool nt_config_given(const nt_config *config, const char *section, const char *key)
{
    const nt_block *block = nt_config_find_fixed(config, section);
    return block && nt_block_find(block, key);
}

int nt_config_n_groups(const nt_config *config)
{
    return config->n_groups;
}

const nt_config_group *nt_config_get_group(const nt_config *config, int index)
{
    return index >= 0 && index < config->n_groups ? &config->groups[index]->group : NULL;
}

const char *nt_config_group_value(const nt_config *config, const nt_config_group *group, const char *key)
{
    const nt_entry *entry = nt_block_find(config->groups[group->index], key);
    return entry ? entry->value : NULL;
}

nt_status nt_config_parse_group(nt_config *config, const nt_config_group *group, const nt_section *common,
                                void *common_out, const nt_section *section, void *out)
{
    const nt_block *block = config->groups[group->index];
    const nt_section *const tables[] = {common, section};
    for (int i = 0; i < block->n_entries; i++) {
        const nt_entry *entry = &block->entry[i];
        if (!nt_section_find(common, entry->key) && !nt_section_find(section, entry->key))
            return nt_config_fail_unknown_key(config, block, entry, tables, 2);
    }
    NT_TRY(parse_block(config, block, common, common_out));
    return parse_block(config, block, section, out);
}

/* The key's value if the user gave it, else the block's header, else the file. */
static nt_place place_of(const nt_config *config, const nt_block *block, const char *key)
{
    nt_place place = block && block->place.origin ? block->place : (nt_place){.origin = config->origin};
    const nt_entry *entry = block && key ? nt_block_find(block, key) : NULL;
    return entry ? entry->value_place : place;
}

static nt_status fail_at(const nt_config *config, const nt_block *block, const char *key, const char *message)
{
    char where[NT_PLACE_TEXT_BYTES];
    nt_place place = place_of(config, block, key);
    NT_FAIL(NT_ERR_CONFIG, "%s: %s", nt_place_text(&place, where), message);
}

nt_status nt_config_place_error(const nt_config *config, nt_status status)
{
    char word[NT_BLOCK_TEXT_BYTES], where[NT_PLACE_TEXT_BYTES];
    const char *message = nt_error_last()->message;
    size_t n = strspn(message, "abcdefghijklmnopqrstuvwxyz0123456789_.");
    if (n == 0 || n >= sizeof word) return status;
    memcpy(word, message, n);
    word[n] = '\0';
    char *dot = strchr(word, '.');
    if (!dot) return status;
    *dot = '\0';
    const nt_block *block = nt_config_find_fixed(config, word);
    if (!block || !nt_section_find(table_of(config, block), dot + 1)) return status;
    nt_place place = place_of(config, block, dot + 1);
    return nt_error_prefix(status, "%s: ", nt_place_text(&place, where));
}

nt_status nt_config_fail(const nt_config *config, const char *section, const char *key, const char *format,
                         ...)
{
    char message[NT_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return fail_at(config, nt_config_find_fixed(config, section), key, message);
}

nt_status nt_config_fail_group(const nt_config *config, const nt_config_group *group, const char *key,
                               const char *format, ...)
{
    char message[NT_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return fail_at(config, config->groups[group->index], key, message);
}
