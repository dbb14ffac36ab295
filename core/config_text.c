/* A configuration in words: the resolved text, the hash over it, and what differs between two.
 *
 * Fixed sections are written from their parsed values. Groups stay as the user wrote them, because their
 * tables are known to the model builder only; for the hash and for differences their keys are sorted and
 * their numbers brought into one form. */
#include "core/config_private.h"

#include "core/option.h"
#include "core/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* An element of a group's value in its one form. */
static void write_canonical_word(const char *word, FILE *out)
{
    int64_t whole;
    double number;
    char text[NT_FLOAT_TEXT_BYTES];
    if (nt_text_to_int(word, &whole))
        fprintf(out, "%lld", (long long)whole);
    else
        fputs(nt_text_to_float(word, &number) ? nt_text_from_float(number, text) : word, out);
}

/* A group's value with one form of numbers and of the white space around commas. */
static void write_canonical_value(const char *value, FILE *out)
{
    char copy[NT_INI_MAX_LINE_BYTES + 1], *rest = copy; /* a value is part of a line */
    snprintf(copy, sizeof copy, "%s", value);
    while (rest) {
        char *element = rest + strspn(rest, " \t"), *comma = strchr(element, ',');
        rest = comma ? comma + 1 : NULL;
        if (comma) *comma = '\0';
        size_t n = strlen(element);
        while (n > 0 && (element[n - 1] == ' ' || element[n - 1] == '\t'))
            element[--n] = '\0';
        write_canonical_word(element, out);
        if (rest) fputs(", ", out);
    }
}

/* The entry of a block whose key comes next after `key` in the alphabet (NULL: the first), or NULL. */
static const nt_entry *next_by_key(const nt_block *block, const char *key)
{
    const nt_entry *next = NULL;
    for (int i = 0; i < block->n_entries; i++) {
        const nt_entry *entry = &block->entry[i];
        if (key && strcmp(entry->key, key) <= 0) continue;
        if (!next || strcmp(entry->key, next->key) < 0) next = entry;
    }
    return next;
}

static void write_resolved(const nt_config *config, FILE *out)
{
    for (int i = 0; i < config->n_sections; i++) {
        const nt_section *section = config->sections[i];
        fprintf(out, "%s[%s]\n", i ? "\n" : "", section->name);
        for (int j = 0; j < section->n_options; j++) {
            const nt_option *option = &section->options[j];
            bool included = option->flags & NT_OPTION_WRITTEN_OUT;
            bool empty = included || nt_option_is_empty(option, config->values[i]);
            fprintf(out, "%s =%s", option->key, empty ? "" : " ");
            if (!empty) nt_option_write(option, config->values[i], out);
            fputc('\n', out);
        }
    }
    for (int i = 0; i < config->n_groups; i++) {
        const nt_block *block = config->groups[i];
        fprintf(out, "\n[%s %s]\n", block->section, block->group.name);
        for (int j = 0; j < block->n_entries; j++)
            fprintf(out, "%s =%s%s\n", block->entry[j].key, *block->entry[j].value ? " " : "",
                    block->entry[j].value);
    }
}

/* Whether a change of the option makes it another run. The groups stand for an included file. */
static bool is_hashed(const nt_option *option)
{
    return !(option->flags & (NT_OPTION_FREE | NT_OPTION_WRITTEN_OUT));
}

/* The text that is hashed. */
static void write_canonical(const nt_config *config, FILE *out)
{
    for (int i = 0; i < config->n_sections; i++) {
        const nt_section *section = config->sections[i];
        fprintf(out, "[%s]\n", section->name);
        for (int j = 0; j < section->n_options; j++) {
            if (!is_hashed(&section->options[j])) continue;
            fprintf(out, "%s = ", section->options[j].key);
            nt_option_write(&section->options[j], config->values[i], out);
            fputc('\n', out);
        }
    }
    for (int i = 0; i < config->n_groups; i++) {
        const nt_block *block = config->groups[i];
        fprintf(out, "[%s %s]\n", block->section, block->group.name);
        for (const nt_entry *e = next_by_key(block, NULL); e; e = next_by_key(block, e->key)) {
            fprintf(out, "%s = ", e->key);
            write_canonical_value(e->value, out);
            fputc('\n', out);
        }
    }
}

/* What `write` writes, in memory; malloc'ed. */
static nt_status text_of(const nt_config *config, void (*write)(const nt_config *, FILE *), char **out,
                         size_t *n_bytes)
{
    char *text = NULL;
    FILE *stream = open_memstream(&text, n_bytes);
    NT_CHECK_ALLOC(stream, 1);
    write(config, stream);
    bool failed = ferror(stream);
    failed |= fclose(stream) != 0;
    if (failed) free(text);
    NT_CHECK_ALLOC(failed ? NULL : text, *n_bytes);
    *out = text;
    return NT_OK;
}

nt_status nt_config_text(const nt_config *config, char **out)
{
    size_t n_bytes = 0;
    return text_of(config, write_resolved, out, &n_bytes);
}

uint64_t nt_config_hash(const nt_config *config)
{
    char *text = NULL;
    size_t n_bytes = 0;
    if (text_of(config, write_canonical, &text, &n_bytes) != NT_OK) {
        nt_error_clear();
        return 0;
    }
    uint64_t hash = XXH3_64bits(text, n_bytes);
    free(text);
    return hash;
}

/* Differences found so far. */
typedef struct diff {
    char *text;
    size_t cap, used;
    int n_fatal;
} diff;

/* One difference; NULL for a key that is not there. One that does not fit whole is left out. */
static void report(diff *d, const char *where, const char *before, const char *after, bool fatal)
{
    char line[NT_BLOCK_TEXT_BYTES + 2 * NT_EXCERPT_BYTES + 128], a[NT_EXCERPT_BYTES], b[NT_EXCERPT_BYTES];
    const char *qa = before ? "'" : "", *qb = after ? "'" : "";
    d->n_fatal += fatal;
    int n = snprintf(line, sizeof line, "%s%s: %s%s%s -> %s%s%s", d->used ? "; " : "", where, qa,
                     nt_excerpt(before ? before : "nothing", a), qa, qb,
                     nt_excerpt(after ? after : "nothing", b), qb);
    if (n < 0 || (size_t)n >= sizeof line || d->used + (size_t)n >= d->cap) return;
    memcpy(d->text + d->used, line, (size_t)n + 1);
    d->used += (size_t)n;
}

/* The value in its one form into text (NT_INI_MAX_LINE_BYTES); `values` of a fixed section, or `value` of a
 * group. Memory for the stream is the one thing that can fail; the text says so then. */
static const char *value_text(const nt_option *option, const void *values, const char *value, char *text)
{
    FILE *stream = fmemopen(text, NT_INI_MAX_LINE_BYTES, "w");
    if (!stream) return "out of memory";
    if (option)
        nt_option_write(option, values, stream);
    else
        write_canonical_value(value, stream);
    fputc('\0', stream);
    fclose(stream);
    return text;
}

bool nt_config_changed(const nt_config *config, const char *section, const char *key)
{
    char given[NT_INI_MAX_LINE_BYTES], usual[NT_INI_MAX_LINE_BYTES];
    const nt_block *block = nt_config_find_fixed(config, section);
    const nt_section *table = block ? config->sections[block - config->fixed] : NULL;
    const nt_option *option = table ? nt_section_find(table, key) : NULL;
    if (!option || !nt_block_find(block, key)) return false;
    void *defaults = calloc(1, table->size + 1);
    if (!defaults || nt_section_defaults(table, defaults) != NT_OK) {
        nt_error_clear();
        free(defaults);
        return true;
    }
    const char *a = value_text(option, config->values[block - config->fixed], NULL, given);
    bool changed = strcmp(a, value_text(option, defaults, NULL, usual)) != 0;
    free(defaults);
    return changed;
}

static double number_of(const nt_section *section, const nt_option *option, const void *values)
{
    double number;
    memcpy(&number, (const char *)values + option->offset, sizeof number);
    return isnan(number) ? section->auto_value(values, option->key) : number;
}

/* Whether both come to the same number, one of them by `auto`: also that of an older version, which had a
 * number for its default. */
static bool same_by_auto(const nt_section *section, const nt_option *option, const void *before,
                         const void *after)
{
    return section->auto_value && option->type == NT_OPTION_FLOAT && (option->flags & NT_OPTION_AUTO) &&
           number_of(section, option, before) == number_of(section, option, after);
}

static void diff_fixed(const nt_section *section, const void *before, const void *after, diff *d)
{
    char a[NT_INI_MAX_LINE_BYTES], b[NT_INI_MAX_LINE_BYTES], where[NT_BLOCK_TEXT_BYTES];
    for (int i = 0; i < section->n_options; i++) {
        const nt_option *option = &section->options[i];
        if (option->flags & NT_OPTION_WRITTEN_OUT) continue;
        const char *x = value_text(option, before, NULL, a), *y = value_text(option, after, NULL, b);
        snprintf(where, sizeof where, "%s.%s", section->name, option->key);
        if (strcmp(x, y) != 0 && !same_by_auto(section, option, before, after))
            report(d, where, x, y, is_hashed(option));
    }
}

/* A key of a group; either entry may be NULL. */
static void diff_entry(const char *group, const nt_entry *before, const nt_entry *after, diff *d)
{
    char a[NT_INI_MAX_LINE_BYTES], b[NT_INI_MAX_LINE_BYTES], where[2 * NT_BLOCK_TEXT_BYTES];
    const char *x = before ? value_text(NULL, NULL, before->value, a) : NULL;
    const char *y = after ? value_text(NULL, NULL, after->value, b) : NULL;
    snprintf(where, sizeof where, "layer.%s.%s", group, before ? before->key : after->key);
    if (!x || !y || strcmp(x, y) != 0) report(d, where, x, y, true);
}

static void diff_group(const nt_block *before, const nt_block *after, diff *d)
{
    for (int i = 0; i < before->n_entries; i++)
        diff_entry(before->group.name, &before->entry[i], nt_block_find(after, before->entry[i].key), d);
    for (int i = 0; i < after->n_entries; i++)
        if (!nt_block_find(before, after->entry[i].key))
            diff_entry(after->group.name, NULL, &after->entry[i], d);
}

/* Layers that are in one config only, or in another place. */
static void diff_group_lists(const nt_config *before, const nt_config *after, diff *d)
{
    char where[NT_BLOCK_TEXT_BYTES], a[32], b[32];
    for (int i = 0; i < before->n_groups; i++) {
        const nt_block *x = before->groups[i], *y = nt_config_find_group(after, x->group.name);
        nt_block_text(x, where);
        snprintf(a, sizeof a, "layer %d", i + 1);
        if (y) snprintf(b, sizeof b, "layer %d", y->group.index + 1);
        if (!y || y->group.index != i) report(d, where, a, y ? b : NULL, true);
        if (y) diff_group(x, y, d);
    }
    for (int i = 0; i < after->n_groups; i++) {
        const nt_block *y = after->groups[i];
        snprintf(b, sizeof b, "layer %d", i + 1);
        if (!nt_config_find_group(before, y->group.name)) report(d, nt_block_text(y, where), NULL, b, true);
    }
}

int nt_config_diff(const nt_config *before, const nt_config *after, char *text, size_t n_bytes)
{
    diff d = {.text = text, .cap = n_bytes};
    if (n_bytes) text[0] = '\0';
    for (int i = 0; i < after->n_sections; i++) {
        const void *values = nt_config_section(before, after->sections[i]);
        if (values) diff_fixed(after->sections[i], values, after->values[i], &d);
    }
    diff_group_lists(before, after, &d);
    return d.n_fatal;
}
