/* getopt_long does the flags; what it leaves is sorted into words and overrides in one pass. Its own messages
 * are off: ours go the way of all errors, so that under mpirun they are said once. */
#include "launcher/args.h"

#include "core/text.h"
#include "launcher/options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FLAGS 32 /* bits of nt_args.given */

/* `section.key=`: letters, digits, '_', '-' and '.', at least one '.', then '='. */
static bool is_override(const char *word)
{
    size_t n = strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    return word[n] == '=' && memchr(word, '.', n) != NULL && word[0] != '.';
}

/* What was meant by a word that is not understood: `epochs=3`, `--epochs` or `run.epochs`, which want to be
 * run.epochs=3. Empty if that cannot be said. */
static const char *hint(const char *word, const nt_syntax *syntax, char text[256])
{
    const char *key = word + strspn(word, "-");
    const int n = (int)strcspn(key, "=");
    const char *value = key[n] == '=' && key[n + 1] ? key + n + 1 : "VALUE";
    text[0] = '\0';
    for (int i = 0; syntax->overrides && nt_all_sections[i]; i++) {
        const nt_section *section = nt_all_sections[i];
        const size_t n_name = strlen(section->name);
        for (int j = 0; j < section->n_options; j++) {
            const char *own = section->options[j].key;
            const bool whole = strncmp(key, section->name, n_name) == 0 && key[n_name] == '.';
            const char *given = whole ? key + n_name + 1 : key;
            if (strncmp(given, own, strlen(own)) != 0 || given + strlen(own) != key + n) continue;
            snprintf(text, 256, ": did you mean %s.%s=%.100s?", section->name, own, value);
            return text;
        }
    }
    return text;
}

static nt_status take_flag(const nt_flag *flag, const char *text)
{
    if (flag->type == NT_FLAG_BOOL) *(bool *)flag->value = true;
    NT_CHECK(flag->type == NT_FLAG_BOOL || *text, NT_ERR_USAGE, "--%s is empty", flag->name);
    if (flag->type == NT_FLAG_STRING) *(const char **)flag->value = text;
    if (flag->type == NT_FLAG_INT)
        NT_CHECK(nt_text_to_int(text, flag->value) && *(int64_t *)flag->value >= 0, NT_ERR_USAGE,
                 "--%s wants a whole number from 0 up, got '%s'", flag->name, text);
    return NT_OK;
}

static nt_status take_flags(nt_args *args, int argc, char **argv, const nt_syntax *syntax)
{
    const nt_flag *flags = syntax->flags;
    const int n_flags = syntax->n_flags;
    struct option table[MAX_FLAGS + 1] = {0};
    NT_BUG_UNLESS(n_flags <= MAX_FLAGS, "%d flags, at most %d", n_flags, MAX_FLAGS);
    for (int i = 0; i < n_flags; i++)
        table[i] = (struct option){
            flags[i].name, flags[i].type == NT_FLAG_BOOL ? no_argument : required_argument, NULL, i + 1};
    optind = 0; /* getopt starts afresh */
    opterr = 0; /* the message is ours */
    int found;
    while ((found = getopt_long(argc, argv, ":", table, NULL)) != -1) {
        const char *word = argv[optind - 1];
        char text[256];
        NT_CHECK(found != ':', NT_ERR_USAGE, "'%s' wants a value; usage: %s", word, syntax->usage);
        NT_CHECK(found != '?', NT_ERR_USAGE, "there is no option '%s' here%s; usage: %s", word,
                 hint(word, syntax, text), syntax->usage);
        NT_TRY(take_flag(&flags[found - 1], optarg));
        args->given |= 1u << (found - 1);
    }
    return NT_OK;
}

nt_status nt_args_parse(nt_args *args, int argc, char **argv, const nt_syntax *syntax)
{
    const char *usage = syntax->usage;
    char text[256];
    *args = (nt_args){0};
    NT_TRY(take_flags(args, argc, argv, syntax));
    size_t n_bytes = (size_t)(argc - optind + 1) * sizeof *args->word;
    args->word = malloc(n_bytes);
    args->override = malloc(n_bytes);
    NT_CHECK_ALLOC(args->word && args->override, n_bytes);
    for (int i = optind; i < argc; i++) {
        if (syntax->overrides && args->n_words > 0 && is_override(argv[i]))
            args->override[args->n_overrides++] = argv[i];
        else
            args->word[args->n_words++] = argv[i];
    }
    NT_CHECK(args->n_words >= syntax->min_words, NT_ERR_USAGE, "something is missing; usage: %s", usage);
    for (int i = 1; i < args->n_words && args->n_words > syntax->max_words; i++)
        NT_CHECK(!*hint(args->word[i], syntax, text), NT_ERR_USAGE,
                 "'%s' is not understood here%s; usage: %s", args->word[i], text, usage);
    NT_CHECK(args->n_words <= syntax->max_words, NT_ERR_USAGE, "'%s' is not understood here; usage: %s",
             args->word[syntax->max_words], usage);
    for (int i = 0; i < args->n_words; i++)
        NT_CHECK(*args->word[i], NT_ERR_USAGE, "an argument is empty; usage: %s", usage);
    return NT_OK;
}

void nt_args_free(nt_args *args)
{
    free(args->word);
    free(args->override);
    *args = (nt_args){0};
}
