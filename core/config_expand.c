/* Layers one a line, and blocks: repetition in a model file, written once.
 *
 *   [block bottleneck]
 *   params = width out stride=1 project=no
 *   conv1 = conv2d filters=$width kernel=1 bias=no          ; NAME = TYPE key=value ...
 *   bn1 = batchnorm activation=relu
 *   ...
 *   down = conv2d if=$project input=in filters=$out kernel=1 stride=$stride
 *   sum = add input=bn3,down activation=relu
 *   [layers]
 *   layer1.0 = bottleneck width=64 out=256 project=yes
 *   layer1 = bottleneck repeat=1..2 width=64 out=256        ; layer1.1 and layer1.2, one after the other
 *
 * A layer whose type is a block becomes the block's layers, named "layer1.0.conv1" and so on, each with its
 * input written out; the block's own name stands for its last layer. lr_factor, decay_factor and frozen of a
 * use go to all layers of the block that do not say otherwise. Inside, a name means a layer of the same
 * block, `in` what the block was given. `if=no` leaves a layer out: whoever names it gets its (first) input.
 * [layers] may have parameters, too, in a line `params = depth=12 width=768`; the config that takes the file
 * gives them other values in an NT_OPTION_ARGUMENTS key, `[model] params = depth=4`.
 * What comes out are ordinary [layer NAME] groups, so that nobody else needs to know of blocks; each key
 * remembers its line in the block and the line that used it. */
#include "core/config_private.h"

#include "core/text.h"

#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH   8
#define MAX_REPEATS 1000
#define MAX_WORDS   64
#define MAX_USES    20000 /* of layers and blocks, those left out counted too */

/* What a name that is no layer (a block, a layer left out) stands for. */
typedef struct alias {
    const char *name, *target; /* target: NULL before the first layer, else names joined by ", " */
    struct alias *next;
} alias;

typedef struct expander {
    nt_config *config;
    alias *aliases;
    int n_uses;
} expander;

/* Keys of layers that a use of a block hands on. */
enum { N_SETTINGS = 3 };
static const char *const setting_names[N_SETTINGS] = {"lr_factor", "decay_factor", "frozen"};

/* Where layers are being written: at the top, or inside one use of a block. */
typedef struct scope {
    const nt_template *block; /* NULL at the top */
    const char *prefix;       /* "layer1.0"; NULL at the top */
    const char *in;           /* the block's input; NULL: the data */
    const char *previous;     /* what the next layer reads by default; NULL: `in` */
    nt_word *argument;        /* (n_arguments) every parameter */
    int n_arguments, depth;
    const nt_word *setting[N_SETTINGS]; /* of the use, or of one around it; NULL: not given */
} scope;

/* A layer before expansion: its name, and its keys with `type` among them. */
typedef struct raw_layer {
    const char *name;
    nt_place place;
    nt_word *word;
    int n_words;
} raw_layer;

static const nt_word *find_word(const nt_word *words, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (words[i].name && strcmp(words[i].name, name) == 0) return &words[i];
    return NULL;
}

static nt_status pool_format(nt_config *config, const char **out, const char *format, const char *a,
                             const char *b)
{
    char text[NT_INI_MAX_VALUE_BYTES + 1];
    int n = snprintf(text, sizeof text, format, a, b);
    NT_CHECK(n >= 0 && (size_t)n < sizeof text, NT_ERR_CONFIG, "'%.60s...' gets too long", text);
    *out = nt_pool_text(&config->pool, text, (size_t)n);
    NT_CHECK_ALLOC(*out, (size_t)n);
    return NT_OK;
}

/* --- lines --- */

/* Characters, not bytes, from a to b. */
static int columns(const char *a, const char *b)
{
    int n = 0;
    for (; a < b; a++)
        n += ((unsigned char)*a & 0xc0) != 0x80;
    return n;
}

/* A word "key=value" in place; false if it has no '=' or no key. */
static bool cut_word(char *text, nt_word *out)
{
    char *equals = strchr(text, '=');
    out->value = text;
    if (!equals || equals == text) return false;
    *equals = '\0';
    out->name = text;
    out->value = equals + 1;
    out->value_place.column += (int)(out->value - text);
    return true;
}

nt_status nt_config_cut_line(nt_config *config, const nt_entry *line, nt_word **out, int *n)
{
    char where[NT_PLACE_TEXT_BYTES];
    char *text = nt_pool_text(&config->pool, line->value, strlen(line->value)), *next = text;
    nt_word *words = nt_pool_alloc(&config->pool, MAX_WORDS * sizeof *words);
    NT_CHECK_ALLOC(text && words, MAX_WORDS * sizeof *words);
    *n = 0;
    while (*(next += strspn(next, " \t"))) {
        size_t length = strcspn(next, " \t");
        nt_word *word = &words[*n];
        NT_CHECK(*n < MAX_WORDS, NT_ERR_CONFIG, "%s: more than %d words",
                 nt_place_text(&line->value_place, where), MAX_WORDS);
        word->place = line->value_place;
        word->place.column += columns(line->value, line->value + (next - text));
        word->value_place = word->place;
        bool more = next[length] != '\0';
        next[length] = '\0';
        (void)cut_word(next, word);
        next += length + more;
        (*n)++;
    }
    *out = words;
    return NT_OK;
}

/* The words of "TYPE key=value ..." as keys, TYPE as `type`. */
static nt_status cut_layer(nt_config *config, const nt_entry *line, raw_layer *out)
{
    char where[NT_PLACE_TEXT_BYTES];
    *out = (raw_layer){.name = line->key, .place = line->key_place};
    NT_TRY(nt_config_cut_line(config, line, &out->word, &out->n_words));
    NT_CHECK(out->n_words > 0 && !out->word[0].name, NT_ERR_CONFIG,
             "%s: expected NAME = TYPE key=value ..., as in conv1 = conv2d filters=64 kernel=3",
             nt_place_text(&line->value_place, where));
    out->word[0].name = "type";
    for (int i = 1; i < out->n_words; i++) {
        const nt_word *w = &out->word[i];
        NT_CHECK(w->name, NT_ERR_CONFIG, "%s: '%.40s' is not key=value (lists have no blanks here: 1,7)",
                 nt_place_text(&w->place, where), w->value);
        NT_CHECK(!find_word(out->word, i, w->name), NT_ERR_CONFIG, "%s: key '%s' again in the same line",
                 nt_place_text(&w->place, where), w->name);
    }
    return NT_OK;
}

/* A group with that name, which must be new. */
static nt_status add_group(nt_config *config, const raw_layer *layer, const char *name, nt_block **out)
{
    char where[NT_PLACE_TEXT_BYTES], first[NT_PLACE_TEXT_BYTES];
    nt_place_text(&layer->place, where);
    const nt_block *before = nt_config_find_group(config, name);
    if (before)
        NT_FAIL(NT_ERR_CONFIG, "%s: layer %s again; the first is at %s", where, name,
                nt_place_text(&before->place, first));
    NT_CHECK(nt_text_is_name(name), NT_ERR_CONFIG,
             "%s: '%.80s' is no name of a layer: 1 to 64 of A-Z a-z 0-9 . _ -", where, name);
    NT_TRY(nt_config_add_group(config, out, name, layer->place));
    return NT_OK;
}

/* `params = ...` of [layers]. */
static nt_status take_params(nt_config *config, const nt_entry *line)
{
    char where[NT_PLACE_TEXT_BYTES], first[NT_PLACE_TEXT_BYTES];
    nt_place_text(&line->key_place, where);
    if (config->params)
        NT_FAIL(NT_ERR_CONFIG, "%s: params again; the first are at %s", where,
                nt_place_text(&config->params->key_place, first));
    nt_entry *kept = nt_pool_alloc(&config->pool, sizeof *kept);
    NT_CHECK_ALLOC(kept, sizeof *kept);
    *kept = *line;
    config->params = kept;
    return NT_OK;
}

nt_status nt_config_take_line(nt_config *config, const nt_entry *line)
{
    raw_layer layer;
    nt_block *group;
    if (strcmp(line->key, "params") == 0) return take_params(config, line);
    NT_TRY(cut_layer(config, line, &layer));
    NT_TRY(add_group(config, &layer, layer.name, &group));
    for (int i = 0; i < layer.n_words; i++) {
        const nt_word *w = &layer.word[i];
        NT_TRY(nt_block_add(config, group, (nt_entry){w->name, w->value, w->place, w->value_place}));
    }
    return NT_OK;
}

/* --- names --- */

static const nt_template *find_template(const nt_config *config, const char *name)
{
    for (const nt_template *t = config->templates; t; t = t->next)
        if (strcmp(t->block.group.name, name) == 0) return t;
    return NULL;
}

static nt_status add_alias(expander *e, const char *name, const char *target)
{
    alias *a = nt_pool_alloc(&e->config->pool, sizeof *a);
    NT_CHECK_ALLOC(a, sizeof *a);
    *a = (alias){name, target, e->aliases};
    e->aliases = a;
    return NT_OK;
}

static nt_status full_name(expander *e, const scope *s, const char *name, const char **out)
{
    *out = name;
    if (s->prefix) NT_TRY(pool_format(e->config, out, "%s.%s", s->prefix, name));
    return NT_OK;
}

/* The layer that a name means here. */
static nt_status resolve_one(expander *e, const scope *s, const nt_word *at, const char *name,
                             const char **out)
{
    char where[NT_PLACE_TEXT_BYTES];
    const char *full;
    if (s->block && strcmp(name, "in") == 0) {
        *out = s->in ? s->in : "input";
        return NT_OK;
    }
    NT_TRY(full_name(e, s, name, &full));
    *out = full;
    for (const alias *a = e->aliases; a; a = a->next)
        if (strcmp(a->name, full) == 0) {
            *out = a->target ? a->target : "input";
            return NT_OK;
        }
    if (!s->block || nt_config_find_group(e->config, full))
        return NT_OK; /* the model builder knows the rest */
    NT_FAIL(NT_ERR_CONFIG,
            "%s: there is no layer '%s' before it in block %s; what comes from outside is called `in`",
            nt_place_text(&at->value_place, where), name, s->block->block.group.name);
}

/* "a, b" with every name resolved. */
static nt_status resolve(expander *e, const scope *s, const nt_word *input, const char **out)
{
    char text[NT_INI_MAX_VALUE_BYTES + 1];
    snprintf(text, sizeof text, "%s", input->value);
    *out = NULL;
    for (char *next = text, *save; (next = strtok_r(next, ", \t", &save)); next = NULL) {
        const char *one = NULL;
        NT_TRY(resolve_one(e, s, input, next, &one));
        NT_TRY(*out ? pool_format(e->config, out, "%s, %s", *out, one)
                    : pool_format(e->config, out, "%s%s", one, "")); /* `one` may lie in `text` */
    }
    return NT_OK;
}

/* --- parameters --- */

static nt_status fail_unknown_param(const scope *s, const nt_word *at, const char *name)
{
    char where[NT_PLACE_TEXT_BYTES];
    const char *names[MAX_WORDS + 1] = {NULL};
    for (int i = 0; i < s->n_arguments; i++)
        names[i] = s->argument[i].name;
    const char *near = nt_text_nearest(name, names);
    NT_FAIL(NT_ERR_CONFIG, "%s: %s%s %s parameter '%.40s'%s%s%s", nt_place_text(&at->place, where),
            s->block ? "block " : "[layers]", s->block ? s->block->block.group.name : "",
            s->n_arguments > 0 || s->block ? "has no" : "declares no params, so it has no", name,
            near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* A value with every $name replaced. */
static nt_status substitute(expander *e, const scope *s, nt_word *word)
{
    char text[NT_INI_MAX_VALUE_BYTES + 1], name[NT_INI_MAX_KEY_BYTES + 1];
    size_t used = 0;
    if ((!s->block && !e->config->params) || !strchr(word->value, '$')) return NT_OK;
    for (const char *c = word->value; *c && used < sizeof text;) {
        if (*c != '$') {
            text[used++] = *c++;
            continue;
        }
        size_t n = strspn(++c, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
        snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), c);
        c += n;
        const nt_word *argument = find_word(s->argument, s->n_arguments, name);
        if (!argument) return fail_unknown_param(s, word, name);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s", argument->value);
    }
    NT_CHECK(used < sizeof text, NT_ERR_CONFIG, "'%.60s...' gets too long", word->value);
    word->value = nt_pool_text(&e->config->pool, text, used);
    NT_CHECK_ALLOC(word->value, used);
    return NT_OK;
}

static bool is_own_key(const char *key)
{
    static const char *const own[] = {"type", "input", "repeat", "if"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(key, own[i]) == 0) return true;
    for (int i = 0; i < N_SETTINGS; i++)
        if (strcmp(key, setting_names[i]) == 0) return true;
    return false;
}

/* Parameters of the scope's block, with the values that a use gives them. */
static nt_status take_arguments(expander *e, scope *s, const raw_layer *use)
{
    char where[NT_PLACE_TEXT_BYTES];
    const char *lacking = NULL;
    const nt_entry *params = nt_block_find(&s->block->block, "params");
    if (params) NT_TRY(nt_config_cut_line(e->config, params, &s->argument, &s->n_arguments));
    for (int i = 0; i < s->n_arguments; i++) {
        nt_word *a = &s->argument[i];
        bool has_default = a->name != NULL;
        if (!has_default) a->name = a->value;
        const nt_word *given = find_word(use->word, use->n_words, a->name);
        if (!given && !has_default && !lacking) lacking = a->name;
        if (given) a->value = given->value;
    }
    for (int i = 0; i < use->n_words; i++) /* first, for it may be the one that is lacking, misspelt */
        if (!is_own_key(use->word[i].name) && !find_word(s->argument, s->n_arguments, use->word[i].name))
            return fail_unknown_param(s, &use->word[i], use->word[i].name);
    NT_CHECK(!lacking, NT_ERR_CONFIG, "%s: block %s needs a value for its parameter '%s'",
             nt_place_text(&use->place, where), s->block->block.group.name, lacking);
    return NT_OK;
}

/* The NT_OPTION_ARGUMENTS key of a section if it says something: a resolved config has it with nothing, too.
 */
static const nt_entry *find_argument_entry(const nt_config *config, int section)
{
    const nt_section *of = config->sections[section];
    for (int j = 0; j < of->n_options; j++) {
        if (!(of->options[j].flags & NT_OPTION_ARGUMENTS)) continue;
        const nt_entry *entry = nt_block_find(&config->fixed[section], of->options[j].key);
        if (entry && *entry->value) return entry;
    }
    return NULL;
}

/* The words of the NT_OPTION_ARGUMENTS key of the config, if it has one. */
static nt_status find_arguments(const expander *e, nt_word **out, int *n)
{
    const nt_config *config = e->config;
    *n = 0;
    for (int i = 0; i < config->n_sections; i++) {
        const nt_entry *entry = find_argument_entry(config, i);
        if (entry) NT_TRY(nt_config_cut_line(e->config, entry, out, n));
    }
    return NT_OK;
}

/* Parameters of [layers], with the values that the config gives them. */
static nt_status take_model_arguments(expander *e, scope *top)
{
    char where[NT_PLACE_TEXT_BYTES];
    nt_word *given = NULL;
    int n_given;
    NT_TRY(find_arguments(e, &given, &n_given));
    if (e->config->params)
        NT_TRY(nt_config_cut_line(e->config, e->config->params, &top->argument, &top->n_arguments));
    for (int i = 0; i < n_given; i++)
        NT_CHECK(given[i].name, NT_ERR_CONFIG, "%s: '%.40s' is not NAME=VALUE",
                 nt_place_text(&given[i].place, where), given[i].value);
    for (int i = 0; i < top->n_arguments; i++) {
        nt_word *a = &top->argument[i];
        bool has_default = a->name != NULL;
        if (!has_default) a->name = a->value;
        const nt_word *word = find_word(given, n_given, a->name);
        NT_CHECK(word || has_default, NT_ERR_CONFIG, "%s: the model's parameter '%s' needs a value",
                 nt_place_text(&e->config->params->key_place, where), a->name);
        if (word) a->value = word->value;
    }
    for (int i = 0; i < n_given; i++)
        if (!find_word(top->argument, top->n_arguments, given[i].name))
            return fail_unknown_param(top, &given[i], given[i].name);
    return NT_OK;
}

/* --- layers --- */

static nt_status emit(expander *e, scope *s, const raw_layer *layer);

/* The lines of a block, for one use of it; *out becomes its last layer. */
static nt_status emit_block(expander *e, const scope *outer, const raw_layer *use, const nt_template *block,
                            const char *name, const char *in, const char **out)
{
    char where[NT_PLACE_TEXT_BYTES];
    nt_place *used_at = nt_pool_alloc(&e->config->pool, sizeof *used_at);
    NT_CHECK_ALLOC(used_at, sizeof *used_at);
    *used_at = use->place;
    scope s = {.block = block, .prefix = name, .in = in, .depth = outer->depth + 1};
    for (int i = 0; i < N_SETTINGS; i++) {
        s.setting[i] = find_word(use->word, use->n_words, setting_names[i]);
        if (!s.setting[i]) s.setting[i] = outer->setting[i];
    }
    NT_CHECK(s.depth <= MAX_DEPTH, NT_ERR_CONFIG, "%s: blocks within blocks, more than %d deep",
             nt_place_text(&use->place, where), MAX_DEPTH);
    NT_TRY(take_arguments(e, &s, use));
    for (int i = 0; i < block->block.n_entries; i++) {
        raw_layer layer;
        nt_entry line = block->block.entry[i];
        if (strcmp(line.key, "params") == 0) continue;
        line.key_place.used_at = line.value_place.used_at = used_at;
        NT_TRY(cut_layer(e->config, &line, &layer));
        NT_TRY(emit(e, &s, &layer));
    }
    *out = s.previous ? s.previous : in;
    return NT_OK;
}

/* The settings of the block that the layer does not have itself. */
static nt_status add_settings(expander *e, const scope *s, const raw_layer *layer, nt_block *group)
{
    for (int i = 0; i < N_SETTINGS; i++) {
        const nt_word *w = s->setting[i];
        if (!w || find_word(layer->word, layer->n_words, w->name)) continue;
        NT_TRY(nt_block_add(e->config, group, (nt_entry){w->name, w->value, w->place, w->value_place}));
    }
    return NT_OK;
}

/* An ordinary layer under its full name. */
static nt_status emit_plain(expander *e, const scope *s, const raw_layer *layer, const char *name,
                            const char *in, bool say_input)
{
    nt_block *group;
    NT_TRY(add_group(e->config, layer, name, &group));
    for (int i = 0; i < layer->n_words; i++) {
        const nt_word *w = &layer->word[i];
        if (strcmp(w->name, "repeat") == 0 || strcmp(w->name, "if") == 0) continue;
        nt_entry entry = {w->name, w->value, w->place, w->value_place};
        if (strcmp(w->name, "input") == 0) entry.value = in ? in : "input";
        NT_TRY(nt_block_add(e->config, group, entry));
    }
    NT_TRY(add_settings(e, s, layer, group));
    if (!say_input || find_word(layer->word, layer->n_words, "input")) return NT_OK;
    NT_TRY(
        nt_block_add(e->config, group, (nt_entry){"input", in ? in : "input", layer->place, layer->place}));
    return NT_OK;
}

/* One layer or one use of a block; *out is what its name stands for afterwards. */
static nt_status emit_once(expander *e, const scope *s, const raw_layer *layer, const char *name,
                           const char *in, bool say_input, const char **out)
{
    const nt_word *type = find_word(layer->word, layer->n_words, "type");
    const nt_template *block = type ? find_template(e->config, type->value) : NULL;
    char where[NT_PLACE_TEXT_BYTES];
    NT_CHECK(e->n_uses++ < MAX_USES, NT_ERR_CONFIG, "%s: more than %d layers and blocks",
             nt_place_text(&layer->place, where), MAX_USES);
    *out = name;
    if (!block) return emit_plain(e, s, layer, name, in, say_input);
    NT_TRY(emit_block(e, s, layer, block, name, in, out));
    NT_TRY(add_alias(e, name, *out));
    return NT_OK;
}

/* `repeat`: "3" is 0..2, "1..2" as it says; without it *last stays -1. */
static nt_status read_repeat(const raw_layer *layer, int64_t *first, int64_t *last)
{
    char where[NT_PLACE_TEXT_BYTES], text[48];
    const nt_word *repeat = find_word(layer->word, layer->n_words, "repeat");
    *first = 0;
    *last = -1;
    if (!repeat) return NT_OK;
    snprintf(text, sizeof text, "%s", repeat->value);
    char *dots = strstr(text, "..");
    if (dots) *dots = '\0';
    bool ok =
        dots ? nt_text_to_int(text, first) && nt_text_to_int(dots + 2, last) : nt_text_to_int(text, last);
    ok = ok && *last > -1;
    if (ok && !dots) (*last)--;
    NT_CHECK(ok && *first >= 0 && *last >= *first && *last - *first < MAX_REPEATS && *last < 1000000,
             NT_ERR_CONFIG, "%s: repeat = %.40s: expected a count from 1 to %d, or FIRST..LAST",
             nt_place_text(&repeat->value_place, where), repeat->value, MAX_REPEATS);
    return NT_OK;
}

/* `if`: whether the layer is wanted. */
static nt_status read_if(const raw_layer *layer, bool *wanted)
{
    char where[NT_PLACE_TEXT_BYTES];
    const nt_word *condition = find_word(layer->word, layer->n_words, "if");
    *wanted = !condition || strcmp(condition->value, "yes") == 0;
    NT_CHECK(*wanted || strcmp(condition->value, "no") == 0, NT_ERR_CONFIG,
             "%s: if = %.40s: expected yes or no", nt_place_text(&condition->value_place, where),
             condition->value);
    return NT_OK;
}

static nt_status emit_repeated(expander *e, scope *s, const raw_layer *layer, const char *name,
                               const char *in, int64_t first, int64_t last)
{
    const nt_word *given = find_word(layer->word, layer->n_words, "input");
    const char *out = in;
    for (int64_t i = first; i <= last; i++) {
        char number[24];
        const char *one = NULL;
        snprintf(number, sizeof number, "%lld", (long long)i);
        NT_TRY(pool_format(e->config, &one, "%s.%s", name, number));
        NT_TRY(emit_once(e, s, layer, one, out, given || i > first || s->block, &out));
    }
    NT_TRY(add_alias(e, name, out));
    s->previous = out;
    return NT_OK;
}

/* Cuts "a, b" to "a". */
static nt_status first_name(nt_config *config, const char **names)
{
    size_t n = strcspn(*names, ",");
    *names = nt_pool_text(&config->pool, *names, n);
    NT_CHECK_ALLOC(*names, n);
    return NT_OK;
}

static nt_status emit(expander *e, scope *s, const raw_layer *layer)
{
    const char *name, *in = s->previous ? s->previous : s->in, *out;
    bool wanted;
    int64_t first, last;
    for (int i = 0; i < layer->n_words; i++)
        NT_TRY(substitute(e, s, &layer->word[i]));
    const nt_word *input = find_word(layer->word, layer->n_words, "input");
    NT_TRY(full_name(e, s, layer->name, &name));
    if (input) NT_TRY(resolve(e, s, input, &in));
    NT_TRY(read_if(layer, &wanted));
    NT_TRY(read_repeat(layer, &first, &last));
    if (!wanted) {
        if (in) NT_TRY(first_name(e->config, &in));
        NT_TRY(add_alias(e, name, in));
        s->previous = in;
        return NT_OK;
    }
    if (last >= 0) return emit_repeated(e, s, layer, name, in, first, last);
    NT_TRY(emit_once(e, s, layer, name, in, s->previous || s->block, &out));
    s->previous = out;
    return NT_OK;
}

/* A group as taken down, as a layer to be expanded. */
static nt_status raw_of_group(nt_config *config, const nt_block *group, raw_layer *out)
{
    *out = (raw_layer){.name = group->group.name, .place = group->place, .n_words = group->n_entries};
    out->word = nt_pool_alloc(&config->pool, ((size_t)group->n_entries + 1) * sizeof *out->word);
    NT_CHECK_ALLOC(out->word, (size_t)group->n_entries * sizeof *out->word);
    for (int i = 0; i < group->n_entries; i++) {
        const nt_entry *entry = &group->entry[i];
        out->word[i] = (nt_word){entry->key, entry->value, entry->key_place, entry->value_place};
    }
    return NT_OK;
}

static bool needs_expanding(const nt_config *config)
{
    bool needs = config->templates || config->params;
    for (int i = 0; i < config->n_sections; i++)
        needs = needs || find_argument_entry(config, i);
    for (int i = 0; i < config->n_groups; i++)
        needs = needs || nt_block_find(config->groups[i], "repeat") || nt_block_find(config->groups[i], "if");
    return needs;
}

nt_status nt_config_expand(nt_config *config)
{
    expander e = {.config = config};
    scope top = {.block = NULL};
    nt_block **written = config->groups;
    int n = config->n_groups;
    if (!needs_expanding(config)) return NT_OK;
    NT_TRY(take_model_arguments(&e, &top));
    config->groups = NULL;
    config->n_groups = config->groups_capacity = 0;
    for (int i = 0; i < n; i++) {
        raw_layer layer;
        NT_TRY(raw_of_group(config, written[i], &layer));
        NT_TRY(emit(&e, &top, &layer));
    }
    return NT_OK;
}
