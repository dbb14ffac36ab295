/* The [average] section, and its calendar. */
#include "core/average.h"

#include <math.h>

const char *const nt_weights_names[] = {"raw", "ema", "swa", NULL};

#define AT(field) offsetof(nt_average_options, field)

static const nt_option options_table[] = {
    {"ema", NT_OPTION_FLOAT, AT(ema), "0", .max = NT_BELOW_ONE,
     .help = "decay of an exponential moving average of the weights, as 0.999; 0: none is kept"},
    {"ema_every", NT_OPTION_INT, AT(ema_every), "1", .min = 1, .max = INFINITY,
     .help = "steps between additions to it"},
    {"swa_start", NT_OPTION_INTERVAL, AT(swa_start), "never",
     .help = "steps or epochs after which a plain mean of the weights is begun (SWA)"},
    {"swa_every", NT_OPTION_INTERVAL, AT(swa_every), "1 epoch",
     .help = "steps or epochs between additions to it"},
    {"weights", NT_OPTION_ENUM, AT(weights), "raw", .choices = nt_weights_names, .flags = NT_OPTION_FREE,
     .help =
         "which weights eval, predict, report and export use, and which validation is judged by; training "
         "goes on with the raw ones"},
};

static bool is_length(const nt_interval *interval)
{
    return interval->unit == NT_STEPS || interval->unit == NT_EPOCHS;
}

static nt_status check(const nt_config *config, const void *values)
{
    const nt_average_options *o = values;
    if (o->swa_start.unit == NT_MINUTES)
        return nt_config_fail(config, "average", "swa_start",
                              "average.swa_start is in steps or epochs, as in '15 epochs'");
    if (o->swa_start.unit != NT_NEVER && !is_length(&o->swa_every))
        return nt_config_fail(config, "average", "swa_every",
                              "average.swa_every is in steps or epochs, as in '1 epoch'");
    return NT_OK;
}

const nt_section nt_average_section = {
    .name = "average",
    .help = "averages of the weights, beside them",
    .size = sizeof(nt_average_options),
    .options = options_table,
    .n_options = NT_N_ELEMS(options_table),
    .check = check,
};

bool nt_average_kept(const nt_average_options *options, nt_weights which)
{
    if (which == NT_WEIGHTS_EMA) return options->ema > 0;
    return which == NT_WEIGHTS_SWA && options->swa_start.unit != NT_NEVER;
}

/* At least one. */
static int64_t in_steps(const nt_interval *interval, int64_t steps_per_epoch)
{
    double n = interval->count;
    if (interval->unit == NT_EPOCHS) n *= (double)steps_per_epoch;
    return n < 1 ? 1 : (int64_t)llround(n);
}

double nt_average_weight(const nt_average_options *options, nt_weights which, int64_t step,
                         int64_t steps_per_epoch)
{
    if (!nt_average_kept(options, which)) return 0;
    int64_t start = options->ema_every, every = options->ema_every;
    if (which == NT_WEIGHTS_SWA) {
        start = in_steps(&options->swa_start, steps_per_epoch);
        every = in_steps(&options->swa_every, steps_per_epoch);
    }
    if (step < start || (step - start) % every != 0) return 0;
    const int64_t n = (step - start) / every; /* in it so far */
    return n == 0 ? 1 : which == NT_WEIGHTS_EMA ? 1 - options->ema : 1 / (double)(n + 1);
}
