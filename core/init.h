/* Initial parameters: what the options of a layer mean, and the numbers themselves.
 *
 * The values of a parameter are a pure function of (seed, parameter id, element index in canonical row-major
 * order), so they do not depend on backend, layout, ranks or threads. A layer embeds nt_init_options in its
 * options, puts NT_INIT_OPTIONS in its table, and asks nt_init_resolve_* in infer(). */
#ifndef NT_CORE_INIT_H
#define NT_CORE_INIT_H

#include "core/layer.h"

/* Values of nt_init_options.type, in the order of nt_init_choices. */
typedef enum nt_init_choice {
    NT_INIT_CHOICE_AUTO,
    NT_INIT_CHOICE_KAIMING,
    NT_INIT_CHOICE_XAVIER,
    NT_INIT_CHOICE_NORMAL,
    NT_INIT_CHOICE_TRUNC_NORMAL,
    NT_INIT_CHOICE_ZEROS,
    NT_INIT_CHOICE_ONES,
} nt_init_choice;
extern const char *const nt_init_choices[];

/* Rows of an option table for a struct that embeds `nt_init_options init`. */
/* clang-format off */
#define NT_INIT_OPTIONS(struct_type)                                                                         \
    {"init", NT_OPTION_ENUM, offsetof(struct_type, init.type), "auto", .choices = nt_init_choices,           \
     .help = "initial weights; auto: uniform in +-1/sqrt(fan_in), bias too"},                                \
    {"init_gain", NT_OPTION_FLOAT, offsetof(struct_type, init.gain), "auto", .min = NT_ABOVE_ZERO,           \
     .flags = NT_OPTION_AUTO, .help = "gain of kaiming (auto: sqrt 2) and xavier (auto: 1)"},                \
    {"init_std", NT_OPTION_FLOAT, offsetof(struct_type, init.std), "0.01", .max = 1e6,                       \
     .help = "standard deviation of normal and truncated_normal"},                                           \
    {"bias_init", NT_OPTION_FLOAT, offsetof(struct_type, init.bias), "auto", .flags = NT_OPTION_AUTO,        \
     .help = "constant initial bias; auto: as the weights for init = auto, else 0"}
/* clang-format on */

/* How a weight is drawn. fan_in, fan_out >= 1: inputs and outputs of one unit (for a convolution times the
 * kernel's area; fan_in over one group). */
nt_init nt_init_resolve_weight(const nt_init_options *options, int64_t fan_in, int64_t fan_out);

/* How the bias beside a weight with that fan_in is drawn. */
nt_init nt_init_resolve_bias(const nt_init_options *options, int64_t fan_in);

/* Constant `value`: for scales and shifts of normalisations and for running statistics. */
nt_init nt_init_constant(double value);

/* Fills out (n elements, canonical order) as `init` says. param_id < 2^32 tells the parameters of a model
 * apart. NT_ERR_BUG for a fan_in below 1 or a spread that is negative or not finite. */
NT_MUST nt_status nt_init_fill(float *out, int64_t n, const nt_init *init, uint64_t seed, uint32_t param_id);

#endif
