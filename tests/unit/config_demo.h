/* A section with an option of every type, and what the tests of the configuration share. */
#ifndef NT_TESTS_CONFIG_DEMO_H
#define NT_TESTS_CONFIG_DEMO_H

#include "core/config.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct demo {
    int64_t count;
    double rate, gain;
    bool flag;
    const char *name, *label;
    int kind;
    int64_t kernel[2], padding[2];
    nt_names files;
    nt_floats mean;
    nt_ints milestones;
    nt_interval every;
    double log_every;
} demo;

static const char *const kinds[] = {"sgd", "adam", "adamw", NULL};

static const nt_option demo_options[] = {
    {"count", NT_OPTION_INT, offsetof(demo, count), "3", .min = 1, .max = 100, .help = "how many"},
    {"rate", NT_OPTION_FLOAT, offsetof(demo, rate), "0.1", .min = NT_ABOVE_ZERO, .help = "how fast"},
    {"gain", NT_OPTION_FLOAT, offsetof(demo, gain), "auto", .max = NT_BELOW_ONE, .flags = NT_OPTION_AUTO,
     .help = "how much"},
    {"flag", NT_OPTION_BOOL, offsetof(demo, flag), "yes", .help = "whether"},
    {"name", NT_OPTION_STRING, offsetof(demo, name), .help = "what"},
    {"label", NT_OPTION_STRING, offsetof(demo, label), "none", .help = "never empty"},
    {"kind", NT_OPTION_ENUM, offsetof(demo, kind), "adam", .choices = kinds, .help = "which"},
    {"kernel", NT_OPTION_PAIR, offsetof(demo, kernel), "3", .min = 1, .help = "how big"},
    {"padding", NT_OPTION_PAIR, offsetof(demo, padding), "same", .max = INFINITY, .flags = NT_OPTION_SAME,
     .help = "around it"},
    {"files", NT_OPTION_NAMES, offsetof(demo, files), .help = "where"},
    {"mean", NT_OPTION_FLOATS, offsetof(demo, mean), "0.5, 0.25", .min = -1, .max = 1, .help = "per channel"},
    {"milestones", NT_OPTION_INTS, offsetof(demo, milestones), .min = 1, .help = "when"},
    {"every", NT_OPTION_INTERVAL, offsetof(demo, every), "1 epoch", .help = "how often"},
    {"log_every", NT_OPTION_FLOAT, offsetof(demo, log_every), "10", .flags = NT_OPTION_FREE,
     .help = "seconds"},
};

static int check_calls;

static nt_status check_demo(const nt_config *config, const void *values)
{
    const demo *d = values;
    check_calls++;
    if (d->count == 77) return nt_config_fail(config, "demo", "count", "%d is refused", 77);
    return NT_OK;
}

static const nt_section demo_section = {
    .name = "demo",
    .help = "a section with everything",
    .size = sizeof(demo),
    .options = demo_options,
    .n_options = NT_N_ELEMS(demo_options),
    .check = check_demo,
};

typedef struct input {
    const char *file, *model;
} input;

static const nt_option input_options[] = {
    {"file", NT_OPTION_STRING, offsetof(input, file), .flags = NT_OPTION_REQUIRED, .help = "what to read"},
    {"model", NT_OPTION_STRING, offsetof(input, model), .flags = NT_OPTION_INCLUDE, .help = "layers"},
};

static const nt_section input_section = {
    .name = "input", .size = sizeof(input), .options = input_options, .n_options = NT_N_ELEMS(input_options)};

static const nt_section *const demo_only[] = {&demo_section, NULL};
static const nt_section *const both[] = {&demo_section, &input_section, NULL};

static const char *last_message(void)
{
    return nt_error_last()->message;
}

/* Parses text that must be good, with up to a few overrides (NULL-terminated; may be NULL). */
static nt_config *good(const char *text, const char *const *overrides, const nt_section *const *sections)
{
    nt_config *config = NULL;
    int n = 0;
    while (overrides && overrides[n])
        n++;
    if (nt_config_parse(&config, "c.ini", text, strlen(text), overrides, n, sections) != NT_OK)
        fail_msg("%s", last_message());
    return config;
}

static void refuse(const char *text, const char *override, const nt_section *const *sections,
                   const char *message)
{
    nt_config *config = NULL;
    nt_status status =
        nt_config_parse(&config, "c.ini", text, strlen(text), &override, override != NULL, sections);
    if (status != NT_ERR_CONFIG) fail_msg("status %d, not '%s'", (int)status, message);
    assert_null(config);
    if (strncmp(last_message(), message, strlen(message)) != 0)
        fail_msg("'%s', not '%s'", last_message(), message);
}

/* The resolved text; the caller frees. */
static char *resolved(const nt_config *config)
{
    char *text = NULL;
    assert_int_equal(nt_config_text(config, &text), NT_OK);
    return text;
}

#endif
