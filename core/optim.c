/* The [optimizer] section, and from options, rate, step and role to the one struct that backends run. */
#include "core/optim.h"

#include "core/schedule.h"

#include <math.h>

static const char *const type_names[] = {"sgd", "adam", "adamw", NULL};
static const char *const schedule_names[] = {"constant",   "step",   "multistep", "exponential",
                                             "polynomial", "cosine", NULL};

#define AT(field) offsetof(nt_optim_options, field)

static const nt_option options_table[] = {
    {"type", NT_OPTION_ENUM, AT(type), "sgd", .choices = type_names, .help = "update rule"},
    {"lr", NT_OPTION_FLOAT, AT(lr), "auto", .min = NT_ABOVE_ZERO, .flags = NT_OPTION_AUTO,
     .help = "learning rate; auto: 0.01 for sgd, 0.001 for adam and adamw"},
    {"momentum", NT_OPTION_FLOAT, AT(momentum), "0", .max = NT_BELOW_ONE, .help = "of sgd"},
    {"nesterov", NT_OPTION_BOOL, AT(nesterov), "no", .help = "Nesterov's form of momentum"},
    {"beta1", NT_OPTION_FLOAT, AT(beta1), "0.9", .max = NT_BELOW_ONE,
     .help = "adam, adamw: decay of the first moment"},
    {"beta2", NT_OPTION_FLOAT, AT(beta2), "0.999", .max = NT_BELOW_ONE,
     .help = "adam, adamw: decay of the second moment"},
    {"eps", NT_OPTION_FLOAT, AT(eps), "1e-8", .min = NT_ABOVE_ZERO,
     .help = "adam, adamw: added to the root of the second moment"},
    {"weight_decay", NT_OPTION_FLOAT, AT(weight_decay), "auto", .max = INFINITY, .flags = NT_OPTION_AUTO,
     .help = "decoupled for adamw; auto: 0.01 for adamw, else 0"},
    {"decay_all", NT_OPTION_BOOL, AT(decay_all), "no",
     .help = "weight decay on biases and normalisation parameters too"},
    {"clip_norm", NT_OPTION_FLOAT, AT(clip_norm), "0", .max = INFINITY,
     .help = "longest norm of the whole gradient; 0: no limit"},
    {"schedule", NT_OPTION_ENUM, AT(schedule), "constant", .choices = schedule_names,
     .help = "how the rate changes over the run"},
    {"warmup", NT_OPTION_INT, AT(warmup), "0", .max = INFINITY, .help = "steps of linear warm-up"},
    {"gamma", NT_OPTION_FLOAT, AT(gamma), "0.1", .min = NT_ABOVE_ZERO,
     .help = "step, multistep, exponential: factor on the rate"},
    {"step_every", NT_OPTION_INTERVAL, AT(step_every), "never",
     .help = "step, exponential: gamma once per this many steps or epochs"},
    {"milestones", NT_OPTION_INTS, AT(milestones), .min = 1,
     .help = "multistep: gamma once after each of these epochs"},
    {"power", NT_OPTION_FLOAT, AT(power), "1", .min = NT_ABOVE_ZERO, .help = "polynomial: exponent"},
    {"min_lr", NT_OPTION_FLOAT, AT(min_lr), "0", .max = INFINITY,
     .help = "polynomial, cosine: rate at the end of the run"},
};

#define FAIL(config, key, ...) return nt_config_fail((config), "optimizer", (key), __VA_ARGS__)

static nt_status check_rule(const nt_config *config, const nt_optim_options *o)
{
    bool sgd = o->type == NT_OPTIM_SGD;
    if (!sgd && o->momentum != 0)
        FAIL(config, "momentum", "optimizer.momentum is for sgd; %s has beta1", type_names[o->type]);
    if (!sgd && o->nesterov) FAIL(config, "nesterov", "optimizer.nesterov is for sgd");
    if (o->nesterov && o->momentum == 0) FAIL(config, "nesterov", "optimizer.nesterov needs a momentum");
    return NT_OK;
}

static nt_status check_schedule(const nt_config *config, const nt_optim_options *o)
{
    const char *name = schedule_names[o->schedule];
    bool periodic = o->schedule == NT_SCHEDULE_STEP || o->schedule == NT_SCHEDULE_EXPONENTIAL;
    if (periodic && (o->step_every.unit == NT_NEVER || o->step_every.unit == NT_MINUTES))
        FAIL(config, "step_every", "schedule = %s needs step_every in steps or epochs, as in '30 epochs'",
             name);
    if (o->schedule == NT_SCHEDULE_MULTISTEP && o->milestones.n == 0)
        FAIL(config, "milestones", "schedule = %s needs milestones, as in '30, 60, 80' (epochs)", name);
    for (int i = 1; i < o->milestones.n; i++)
        if (o->milestones.value[i] <= o->milestones.value[i - 1])
            FAIL(config, "milestones", "optimizer.milestones must ascend, but %lld follows %lld",
                 (long long)o->milestones.value[i], (long long)o->milestones.value[i - 1]);
    if (o->min_lr > nt_optim_lr(o))
        FAIL(config, "min_lr", "optimizer.min_lr = %g is above the rate it should come down from, %g",
             o->min_lr, nt_optim_lr(o));
    return NT_OK;
}

static nt_status check(const nt_config *config, const void *values)
{
    NT_TRY(check_rule(config, values));
    return check_schedule(config, values);
}

const nt_section nt_optim_section = {
    .name = "optimizer",
    .help = "how parameters are updated, and the learning rate",
    .size = sizeof(nt_optim_options),
    .options = options_table,
    .n_options = NT_N_ELEMS(options_table),
    .check = check,
};

const char *nt_optim_name(const nt_optim_options *options)
{
    return type_names[options->type];
}

int nt_optim_n_states(const nt_optim_options *options)
{
    return options->type != NT_OPTIM_SGD ? 2 : options->momentum != 0 ? 1 : 0;
}

const char *nt_optim_state_name(const nt_optim_options *options, int index)
{
    static const char *const adam_names[] = {"exp_avg", "exp_avg_sq"};
    if (index < 0 || index >= nt_optim_n_states(options)) return NULL;
    return options->type == NT_OPTIM_SGD ? "momentum" : adam_names[index];
}

double nt_optim_lr(const nt_optim_options *options)
{
    if (!isnan(options->lr)) return options->lr;
    return options->type == NT_OPTIM_SGD ? 0.01 : 0.001;
}

static double weight_decay_of(const nt_optim_options *options, nt_param_role role)
{
    if (role != NT_PARAM_WEIGHT && !options->decay_all) return 0;
    if (!isnan(options->weight_decay)) return options->weight_decay;
    return options->type == NT_OPTIM_ADAMW ? 0.01 : 0;
}

nt_update nt_optim_prepare(const nt_optim_options *options, double lr, int64_t step, nt_param_role role)
{
    nt_update update = {
        .rule = NT_UPDATE_SGD,
        .lr = lr,
        .weight_decay = weight_decay_of(options, role),
        .grad_scale = 1,
    };
    if (options->type == NT_OPTIM_SGD) {
        update.momentum = options->momentum;
        update.nesterov = options->nesterov;
        return update;
    }
    update.rule = NT_UPDATE_ADAM;
    update.decoupled = options->type == NT_OPTIM_ADAMW;
    update.beta1 = options->beta1;
    update.beta2 = options->beta2;
    update.eps = options->eps;
    update.correction1 = 1 - pow(options->beta1, (double)(step + 1));
    update.correction2 = 1 - pow(options->beta2, (double)(step + 1));
    return update;
}

bool nt_update_fold_scale(nt_update *u)
{
    if (!u->scale) return true;
    u->grad_scale *= *u->scale;
    bool finite = isfinite(*u->scale);
    u->scale = NULL;
    return finite;
}
