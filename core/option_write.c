/* Values and tables in words: the counterpart of core/option.c. A value has one form only, whatever the user
 * wrote, so that equal configurations have equal texts and equal hashes. */
#include "core/option.h"

#include "core/text.h"

#include <math.h>

static void write_float(double value, FILE *out)
{
    char text[NT_FLOAT_TEXT_BYTES];
    fputs(isnan(value) ? "auto" : nt_text_from_float(value, text), out);
}

static void write_pair(const nt_option *option, const int64_t pair[2], FILE *out)
{
    if ((option->flags & NT_OPTION_SAME) && pair[0] == -1 && pair[1] == -1)
        fputs("same", out);
    else if (pair[0] == pair[1])
        fprintf(out, "%lld", (long long)pair[0]);
    else
        fprintf(out, "%lld, %lld", (long long)pair[0], (long long)pair[1]);
}

static void write_names(const nt_names *list, FILE *out)
{
    for (int i = 0; i < list->n; i++)
        fprintf(out, "%s%s", i ? ", " : "", list->name[i]);
}

static void write_floats(const nt_floats *list, FILE *out)
{
    for (int i = 0; i < list->n; i++) {
        if (i) fputs(", ", out);
        write_float(list->value[i], out);
    }
}

static void write_ints(const nt_ints *list, FILE *out)
{
    for (int i = 0; i < list->n; i++)
        fprintf(out, "%s%lld", i ? ", " : "", (long long)list->value[i]);
}

static void write_interval(const nt_interval *interval, FILE *out)
{
    static const char *const words[] = {
        [NT_NEVER] = "never", [NT_STEPS] = "step", [NT_EPOCHS] = "epoch", [NT_MINUTES] = "minute"};
    if (interval->unit != NT_NEVER) {
        write_float(interval->count, out);
        fputc(' ', out);
    }
    fprintf(out, "%s%s", words[interval->unit],
            interval->unit != NT_NEVER && interval->count != 1 ? "s" : "");
}

void nt_option_write(const nt_option *option, const void *values, FILE *out)
{
    const void *at = (const char *)values + option->offset;
    switch (option->type) {
    case NT_OPTION_INT:
        fprintf(out, "%lld", (long long)*(const int64_t *)at);
        break;
    case NT_OPTION_FLOAT:
        write_float(*(const double *)at, out);
        break;
    case NT_OPTION_BOOL:
        fputs(*(const bool *)at ? "yes" : "no", out);
        break;
    case NT_OPTION_STRING:
        if (*(const char *const *)at) fputs(*(const char *const *)at, out);
        break;
    case NT_OPTION_ENUM:
        fputs(option->choices[*(const int *)at], out);
        break;
    case NT_OPTION_PAIR:
        write_pair(option, at, out);
        break;
    case NT_OPTION_NAMES:
        write_names(at, out);
        break;
    case NT_OPTION_FLOATS:
        write_floats(at, out);
        break;
    case NT_OPTION_INTS:
        write_ints(at, out);
        break;
    case NT_OPTION_INTERVAL:
        write_interval(at, out);
        break;
    }
}

bool nt_option_is_empty(const nt_option *option, const void *values)
{
    const void *at = (const char *)values + option->offset;
    switch (option->type) {
    case NT_OPTION_STRING:
        return *(const char *const *)at == NULL;
    case NT_OPTION_NAMES:
        return ((const nt_names *)at)->n == 0;
    case NT_OPTION_FLOATS:
        return ((const nt_floats *)at)->n == 0;
    case NT_OPTION_INTS:
        return ((const nt_ints *)at)->n == 0;
    default:
        return false;
    }
}

static void write_choices(const nt_option *option, FILE *out)
{
    for (int i = 0; option->choices[i]; i++)
        fprintf(out, "%s%s", i ? " | " : "", option->choices[i]);
}

static void write_type(const nt_option *option, FILE *out)
{
    static const char *const words[] = {
        [NT_OPTION_INT] = "whole number",
        [NT_OPTION_FLOAT] = "number",
        [NT_OPTION_BOOL] = "yes | no",
        [NT_OPTION_STRING] = "text",
        [NT_OPTION_PAIR] = "whole number or two: 3 or 3, 5",
        [NT_OPTION_NAMES] = "names: a, b",
        [NT_OPTION_FLOATS] = "numbers: 0.1, 0.2",
        [NT_OPTION_INTS] = "whole numbers: 1, 2",
        [NT_OPTION_INTERVAL] = "N steps | N epochs | N minutes | never",
    };
    if (option->type == NT_OPTION_ENUM)
        write_choices(option, out);
    else
        fputs(words[option->type], out);
    if (option->flags & NT_OPTION_SAME) fputs(" | same", out);
    if (option->flags & NT_OPTION_AUTO) fputs(" | auto", out);
}

void nt_option_print_help(const nt_option *option, FILE *out)
{
    char range[NT_RANGE_TEXT_BYTES];
    bool required = option->flags & NT_OPTION_REQUIRED;
    fprintf(out, "  %s%s%s\n      %s (", option->key, option->def && *option->def ? " = " : "",
            option->def ? option->def : "", option->help ? option->help : "");
    write_type(option, out);
    nt_option_range_text(option, range);
    fprintf(out, "%s%s%s%s)\n", *range ? "; " : "", range, required ? "; required" : "",
            option->flags & NT_OPTION_FREE ? "; may change on resume" : "");
}

void nt_section_print_help(const nt_section *section, FILE *out)
{
    fprintf(out, "[%s]  %s\n", section->name, section->help ? section->help : "");
    for (int i = 0; i < section->n_options; i++)
        nt_option_print_help(&section->options[i], out);
}
