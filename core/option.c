/* Values of options. Each type has a reader here and a writer below, and what the writer writes the reader
 * reads back to the same bits; that is what makes the printed configuration trustworthy. */
#include "core/option.h"

#include "core/ini.h"
#include "core/text.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

static bool has_lower(const nt_option *option)
{
    return !(option->min == 0 && option->max == 0) && isfinite(option->min);
}

static bool has_upper(const nt_option *option)
{
    return !(option->min == 0 && option->max == 0) && option->max >= option->min && isfinite(option->max);
}

const char *nt_option_range_text(const nt_option *option, char text[NT_RANGE_TEXT_BYTES])
{
    char number[NT_FLOAT_TEXT_BYTES];
    int n = 0;
    text[0] = '\0';
    if (has_lower(option) && option->min == NT_ABOVE_ZERO)
        n = snprintf(text, NT_RANGE_TEXT_BYTES, "greater than 0");
    else if (has_lower(option))
        n = snprintf(text, NT_RANGE_TEXT_BYTES, "at least %s", nt_text_from_float(option->min, number));
    if (!has_upper(option)) return text;
    bool below_one = option->max == NT_BELOW_ONE;
    snprintf(text + n, (size_t)(NT_RANGE_TEXT_BYTES - n), "%s%s%s", n ? " and " : "",
             below_one ? "less than 1" : "at most ",
             below_one ? "" : nt_text_from_float(option->max, number));
    return text;
}

static nt_status check_range(const nt_option *option, double value)
{
    char range[NT_RANGE_TEXT_BYTES];
    bool low = has_lower(option) && value < option->min, high = has_upper(option) && value > option->max;
    NT_CHECK(!low && !high, NT_ERR_CONFIG, "must be %s", nt_option_range_text(option, range));
    return NT_OK;
}

static nt_status read_int(const nt_option *option, const char *text, int64_t *out)
{
    double as_float;
    if (!nt_text_to_int(text, out)) {
        const char *digits = text + (*text == '+' || *text == '-');
        bool too_big = *digits && strspn(digits, "0123456789") == strlen(digits);
        bool number = nt_text_to_float(text, &as_float);
        NT_FAIL(NT_ERR_CONFIG, "must be a whole number%s",
                too_big  ? " that fits in 64 bits"
                : number ? ", written out in digits"
                         : "");
    }
    return check_range(option, (double)*out);
}

static nt_status read_float(const nt_option *option, const char *text, double *out)
{
    if ((option->flags & NT_OPTION_AUTO) && strcmp(text, "auto") == 0) {
        *out = NAN;
        return NT_OK;
    }
    NT_CHECK(nt_text_to_float(text, out), NT_ERR_CONFIG,
             "must be a finite decimal number such as 0.1 or 1e-3%s",
             option->flags & NT_OPTION_AUTO ? ", or auto" : "");
    return check_range(option, *out);
}

static nt_status read_bool(const char *text, bool *out)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(text, words[i]) == 0) {
            *out = i % 2 != 0;
            return NT_OK;
        }
    NT_FAIL(NT_ERR_CONFIG, "must be yes or no");
}

/* "a, b, c" of a NULL-terminated list, cut to fit. */
static const char *join_words(const char *const *words, char *text, size_t cap)
{
    size_t used = 0;
    text[0] = '\0';
    for (; *words && used < cap; words++)
        used += (size_t)snprintf(text + used, cap - used, "%s%s", used ? ", " : "", *words);
    return text;
}

static nt_status read_enum(const nt_option *option, const char *text, int *out)
{
    char all[1024];
    for (int i = 0; option->choices[i]; i++)
        if (strcmp(text, option->choices[i]) == 0) {
            *out = i;
            return NT_OK;
        }
    const char *near = nt_text_nearest(text, option->choices);
    join_words(option->choices, all, sizeof all);
    if (near) NT_FAIL(NT_ERR_CONFIG, "must be one of %s; did you mean '%s'?", all, near);
    NT_FAIL(NT_ERR_CONFIG, "must be one of %s", all);
}

/* Takes the next element of a comma-separated list out of *rest (which is cut up), without the white space
 * around it; NULL when there are no more. */
static char *next_element(char **rest)
{
    char *element = *rest;
    if (!element) return NULL;
    char *comma = strchr(element, ',');
    *rest = comma ? comma + 1 : NULL;
    if (comma) *comma = '\0';
    element += strspn(element, " \t");
    size_t n = strlen(element);
    while (n > 0 && (element[n - 1] == ' ' || element[n - 1] == '\t'))
        n--;
    element[n] = '\0';
    return element;
}

static nt_status read_pair(const nt_option *option, const char *text, int64_t out[2])
{
    bool may_be_same = option->flags & NT_OPTION_SAME;
    if (may_be_same && strcmp(text, "same") == 0) {
        out[0] = out[1] = -1;
        return NT_OK;
    }
    char copy[128], *rest = copy, *element;
    int n = 0;
    bool fits = strlen(text) < sizeof copy;
    snprintf(copy, sizeof copy, "%s", fits ? text : "");
    for (; fits && n < 3 && (element = next_element(&rest)); n++)
        if (n < 2) NT_TRY(read_int(option, element, &out[n]));
    NT_CHECK(n == 1 || n == 2, NT_ERR_CONFIG, "must be one whole number, or two as in '3, 5'%s",
             may_be_same ? ", or same" : "");
    if (n == 1) out[1] = out[0];
    return NT_OK;
}

/* Element i of a list in its array. */
static nt_status read_element(const nt_option *option, char *text, void *array, int i)
{
    NT_CHECK(*text, NT_ERR_CONFIG, "has an empty element in its list");
    switch (option->type) {
    case NT_OPTION_FLOATS:
        return read_float(option, text, (double *)array + i);
    case NT_OPTION_INTS:
        return read_int(option, text, (int64_t *)array + i);
    default: /* in the resolved text a blank stands before it, which would make it a comment */
        NT_CHECK(*text != '#' && *text != ';', NT_ERR_CONFIG, "has an element that begins with '%c'", *text);
        ((const char **)array)[i] = text;
        return NT_OK;
    }
}

/* Lists are limited so that what nt_option_write makes of them still fits on a line: numbers take at most 26
 * characters each with their comma, names as many as they have and two. */
#define MAX_NUMBERS (NT_INI_MAX_VALUE_BYTES / 26)

static nt_status check_names(const char *const *name, int n)
{
    size_t n_bytes = 0;
    for (int i = 0; i < n; i++)
        n_bytes += strlen(name[i]) + 2;
    NT_CHECK(n_bytes <= NT_INI_MAX_VALUE_BYTES, NT_ERR_CONFIG, "is too long a list (%zu bytes, at most %d)",
             n_bytes, NT_INI_MAX_VALUE_BYTES);
    return NT_OK;
}

/* The elements of every kind of list are 8 bytes each. */
static nt_status read_elements(const nt_option *option, nt_pool *pool, const char *text, int *n, void **array)
{
    _Static_assert(sizeof(double) == 8 && sizeof(int64_t) == 8 && sizeof(char *) <= 8, "elements of 8 bytes");
    *n = 0;
    *array = NULL;
    if (!*text) return NT_OK;
    NT_BUG_UNLESS(pool, "a list needs memory");
    size_t n_elems = 1;
    for (const char *p = text; *p; p++)
        n_elems += *p == ',';
    NT_CHECK(option->type == NT_OPTION_NAMES || n_elems <= MAX_NUMBERS, NT_ERR_CONFIG,
             "is too long a list (%zu numbers, at most %d)", n_elems, MAX_NUMBERS);
    char *copy = nt_pool_text(pool, text, strlen(text)), *element;
    void *elements = nt_pool_alloc(pool, 8 * n_elems);
    NT_CHECK_ALLOC(copy && elements, 8 * n_elems);
    for (char *rest = copy; (element = next_element(&rest)); ++*n)
        NT_TRY(read_element(option, element, elements, *n));
    *array = elements;
    return option->type == NT_OPTION_NAMES ? check_names(elements, *n) : NT_OK;
}

static nt_status read_list(const nt_option *option, nt_pool *pool, const char *text, void *at)
{
    int n;
    void *array;
    NT_TRY(read_elements(option, pool, text, &n, &array));
    if (option->type == NT_OPTION_NAMES)
        *(nt_names *)at = (nt_names){n, array};
    else if (option->type == NT_OPTION_FLOATS)
        *(nt_floats *)at = (nt_floats){n, array};
    else
        *(nt_ints *)at = (nt_ints){n, array};
    return NT_OK;
}

static nt_status read_string(nt_pool *pool, const char *text, const char **out)
{
    *out = NULL;
    if (!*text) return NT_OK;
    *out = pool ? nt_pool_text(pool, text, strlen(text)) : text;
    NT_CHECK_ALLOC(*out, strlen(text) + 1);
    return NT_OK;
}

static const char *const unit_words[][2] = {
    [NT_STEPS] = {"step", "steps"}, [NT_EPOCHS] = {"epoch", "epochs"}, [NT_MINUTES] = {"minute", "minutes"}};

static nt_status read_interval(const char *text, nt_interval *out)
{
    *out = (nt_interval){.unit = NT_NEVER};
    if (strcmp(text, "never") == 0) return NT_OK;
    char number[64];
    size_t n = strcspn(text, " \t");
    const char *word = text + n + strspn(text + n, " \t");
    snprintf(number, sizeof number, "%.*s", n < sizeof number ? (int)n : 0, text);
    for (nt_interval_unit unit = NT_STEPS; unit <= NT_MINUTES; unit++)
        if (strcmp(word, unit_words[unit][0]) == 0 || strcmp(word, unit_words[unit][1]) == 0)
            out->unit = unit;
    NT_CHECK(out->unit != NT_NEVER && nt_text_to_float(number, &out->count), NT_ERR_CONFIG,
             "must be a number of steps, epochs or minutes, as in '1 epoch' or '500 steps', or never");
    NT_CHECK(out->count > 0, NT_ERR_CONFIG, "must be greater than 0, or never");
    NT_CHECK(out->unit != NT_STEPS || (out->count == trunc(out->count) && out->count < 9e15), NT_ERR_CONFIG,
             "must be a whole number of steps");
    return NT_OK;
}

static bool is_list(const nt_option *option)
{
    return option->type == NT_OPTION_NAMES || option->type == NT_OPTION_FLOATS ||
           option->type == NT_OPTION_INTS;
}

nt_status nt_option_set(const nt_option *option, nt_pool *pool, const char *text, void *out)
{
    void *at = (char *)out + option->offset;
    bool required = option->flags & NT_OPTION_REQUIRED;
    bool may_be_unset = option->type == NT_OPTION_STRING && !option->def;
    if (!*text && (required || !(may_be_unset || is_list(option))))
        NT_FAIL(NT_ERR_CONFIG, "must have a value");
    switch (option->type) {
    case NT_OPTION_INT:
        return read_int(option, text, at);
    case NT_OPTION_FLOAT:
        return read_float(option, text, at);
    case NT_OPTION_BOOL:
        return read_bool(text, at);
    case NT_OPTION_STRING:
        return read_string(pool, text, at);
    case NT_OPTION_ENUM:
        return read_enum(option, text, at);
    case NT_OPTION_PAIR:
        return read_pair(option, text, at);
    case NT_OPTION_NAMES:
    case NT_OPTION_FLOATS:
    case NT_OPTION_INTS:
        return read_list(option, pool, text, at);
    case NT_OPTION_INTERVAL:
        return read_interval(text, at);
    }
    NT_FAIL(NT_ERR_BUG, "option %s has the unknown type %d", option->key, (int)option->type);
}

/* Lists are the one kind of default that needs memory. Outside a config it is made once per option, kept for
 * the life of the process, and shared by all who ask. */
typedef struct kept_list {
    struct kept_list *next;
    const nt_option *option;
    union {
        nt_names names;
        nt_floats floats;
        nt_ints ints;
    } value;
} kept_list;

static nt_status find_kept_list(const nt_option *option, const kept_list **out)
{
    static nt_pool pool;
    static kept_list *first;
    for (*out = first; *out; *out = (*out)->next)
        if ((*out)->option == option) return NT_OK;
    kept_list *made = nt_pool_alloc(&pool, sizeof *made);
    NT_CHECK_ALLOC(made, sizeof *made);
    NT_TRY(read_list(option, &pool, option->def, &made->value));
    made->option = option;
    made->next = first;
    *out = first = made;
    return NT_OK;
}

static nt_status set_kept_default(const nt_option *option, void *out)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    void *at = (char *)out + option->offset;
    const kept_list *kept;
    pthread_mutex_lock(&lock);
    nt_status status = find_kept_list(option, &kept);
    pthread_mutex_unlock(&lock);
    NT_TRY(status);
    if (option->type == NT_OPTION_NAMES)
        *(nt_names *)at = kept->value.names;
    else if (option->type == NT_OPTION_FLOATS)
        *(nt_floats *)at = kept->value.floats;
    else
        *(nt_ints *)at = kept->value.ints;
    return NT_OK;
}

nt_status nt_option_set_defaults(const nt_section *section, nt_pool *pool, void *out)
{
    memset(out, 0, section->size);
    for (int i = 0; i < section->n_options; i++) {
        const nt_option *option = &section->options[i];
        if (!option->def) continue;
        nt_status status = !pool && is_list(option) ? set_kept_default(option, out)
                                                    : nt_option_set(option, pool, option->def, out);
        if (status != NT_OK) return nt_error_prefix(status, "default of %s.%s: ", section->name, option->key);
    }
    return NT_OK;
}

nt_status nt_section_defaults(const nt_section *section, void *out)
{
    return nt_option_set_defaults(section, NULL, out);
}
