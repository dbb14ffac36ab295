/* The [optimizer] section, and from options, rate, step and role to the one struct that backends run. */
#include "core/optim.h"

#include "core/schedule.h"

#include <math.h>
#include <string.h>

static const char *const type_names[] = {"sgd",  "adam", "adamw", "rmsprop", "adagrad",
                                         "lion", "lars", "lamb",  NULL};
static const char *const schedule_names[] = {"constant",   "step",    "multistep", "exponential",
                                             "polynomial", "cosine",  "one_cycle", "sgdr",
                                             "wsd",        "plateau", NULL};

/* What the types differ in. Defaults as published, PyTorch's where it has any, except that sgd has a rate. */
static const struct rule {
    nt_update_rule rule;
    double lr, weight_decay, beta2, eps;
    bool has_momentum, has_ratio;
} rules[] = {
    [NT_OPTIM_SGD] = {NT_UPDATE_SGD, 0.01, 0, 0.999, 1e-8, .has_momentum = true},
    [NT_OPTIM_ADAM] = {NT_UPDATE_ADAM, 0.001, 0, 0.999, 1e-8},
    [NT_OPTIM_ADAMW] = {NT_UPDATE_ADAM, 0.001, 0.01, 0.999, 1e-8},
    [NT_OPTIM_RMSPROP] = {NT_UPDATE_RMSPROP, 0.01, 0, 0.999, 1e-8, .has_momentum = true},
    [NT_OPTIM_ADAGRAD] = {NT_UPDATE_ADAGRAD, 0.01, 0, 0.999, 1e-10},
    [NT_OPTIM_LION] = {NT_UPDATE_LION, 0.0001, 0, 0.99, 1e-8},
    [NT_OPTIM_LARS] = {NT_UPDATE_LARS, 1, 0, 0.999, 1e-8, .has_momentum = true, .has_ratio = true},
    [NT_OPTIM_LAMB] = {NT_UPDATE_LAMB, 0.001, 0.01, 0.999, 1e-6, .has_ratio = true},
};

#define AT(field) offsetof(nt_optim_options, field)

static const nt_option options_table[] = {
    {"type", NT_OPTION_ENUM, AT(type), "sgd", .choices = type_names, .help = "update rule"},
    {"lr", NT_OPTION_FLOAT, AT(lr), "auto", .min = NT_ABOVE_ZERO, .flags = NT_OPTION_AUTO,
     .help =
         "learning rate; auto: 0.01 for sgd, rmsprop and adagrad, 0.001 for adam, adamw and lamb, 0.0001 for "
         "lion, 1 for lars"},
    {"momentum", NT_OPTION_FLOAT, AT(momentum), "0", .max = NT_BELOW_ONE, .help = "of sgd, rmsprop, lars"},
    {"nesterov", NT_OPTION_BOOL, AT(nesterov), "no", .help = "sgd: Nesterov's form of momentum"},
    {"beta1", NT_OPTION_FLOAT, AT(beta1), "0.9", .max = NT_BELOW_ONE,
     .help = "adam, adamw, lamb: decay of the first moment; lion: of the momentum that a step is taken with"},
    {"beta2", NT_OPTION_FLOAT, AT(beta2), "auto", .max = NT_BELOW_ONE, .flags = NT_OPTION_AUTO,
     .help = "adam, adamw, lamb: decay of the second moment; lion: of the momentum; auto: 0.999, lion 0.99"},
    {"alpha", NT_OPTION_FLOAT, AT(alpha), "0.99", .max = NT_BELOW_ONE,
     .help = "rmsprop: decay of the mean of squares"},
    {"centered", NT_OPTION_BOOL, AT(centered), "no",
     .help = "rmsprop: divide by the standard deviation of the gradient, not by the root of its square"},
    {"eps", NT_OPTION_FLOAT, AT(eps), "auto", .min = NT_ABOVE_ZERO, .flags = NT_OPTION_AUTO,
     .help = "adam, adamw, lamb, rmsprop, adagrad: added to the root; auto: 1e-8, lamb 1e-6, adagrad 1e-10"},
    {"trust", NT_OPTION_FLOAT, AT(trust), "0.001", .min = NT_ABOVE_ZERO,
     .help = "lars: a step's part of a tensor's norm at rate 1"},
    {"weight_decay", NT_OPTION_FLOAT, AT(weight_decay), "auto", .max = INFINITY, .flags = NT_OPTION_AUTO,
     .help = "decoupled for adamw, lion and lamb; auto: 0.01 for adamw and lamb, else 0"},
    {"decay_all", NT_OPTION_BOOL, AT(decay_all), "no",
     .help = "weight decay on biases and normalisation parameters too"},
    {"clip_norm", NT_OPTION_FLOAT, AT(clip_norm), "0", .max = INFINITY,
     .help = "longest norm of the whole gradient; 0: no limit"},
    {"clip_value", NT_OPTION_FLOAT, AT(clip_value), "0", .max = INFINITY,
     .help = "largest absolute value of a gradient's element; 0: no limit"},
    {"schedule", NT_OPTION_ENUM, AT(schedule), "constant", .choices = schedule_names,
     .help = "how the rate changes over the run"},
    {"warmup", NT_OPTION_INT, AT(warmup), "0", .max = INFINITY, .help = "steps of linear warm-up"},
    {"gamma", NT_OPTION_FLOAT, AT(gamma), "0.1", .min = NT_ABOVE_ZERO,
     .help = "step, multistep, exponential, plateau: factor on the rate"},
    {"step_every", NT_OPTION_INTERVAL, AT(step_every), "never",
     .help = "step, exponential: gamma once per this many steps or epochs"},
    {"milestones", NT_OPTION_INTS, AT(milestones), .min = 1,
     .help = "multistep: gamma once after each of these epochs"},
    {"power", NT_OPTION_FLOAT, AT(power), "1", .min = NT_ABOVE_ZERO,
     .help = "polynomial, wsd: exponent of the way down"},
    {"min_lr", NT_OPTION_FLOAT, AT(min_lr), "0", .max = INFINITY,
     .help = "polynomial, cosine, wsd: rate at the end of the run; sgdr: of a period; plateau: the least"},
    {"pct_start", NT_OPTION_FLOAT, AT(pct_start), "0.3", .min = NT_ABOVE_ZERO, .max = 1,
     .help = "one_cycle: part of the run in which the rate rises"},
    {"div_factor", NT_OPTION_FLOAT, AT(div_factor), "25", .min = 1,
     .help = "one_cycle: it begins at lr divided by this"},
    {"final_div_factor", NT_OPTION_FLOAT, AT(final_div_factor), "10000", .min = 1,
     .help = "one_cycle: it ends at the rate it began with divided by this"},
    {"restart_every", NT_OPTION_INTERVAL, AT(restart_every), "never",
     .help = "sgdr: steps or epochs of the first period"},
    {"restart_mult", NT_OPTION_INT, AT(restart_mult), "1", .min = 1, .max = 1e6,
     .help = "sgdr: how many times longer each period is than the one before"},
    {"decay_for", NT_OPTION_INTERVAL, AT(decay_for), "never",
     .help = "wsd: last steps or epochs of the run, in which the rate goes down"},
    {"patience", NT_OPTION_INT, AT(patience), "10", .max = INFINITY,
     .help = "plateau: evaluations in a row without a better metric (run.metric) that are borne with"},
    {"threshold", NT_OPTION_FLOAT, AT(threshold), "1e-4", .max = NT_BELOW_ONE,
     .help = "plateau: part by which a better metric is better"},
    {"cooldown", NT_OPTION_INT, AT(cooldown), "0", .max = INFINITY,
     .help = "plateau: evaluations after a reduction that do not count"},
    {"lr_per", NT_OPTION_FLOAT, AT(lr_per), "0", .max = INFINITY,
     .help =
         "global batch that lr and min_lr are meant for: lr is multiplied by data.batch / lr_per; 0: as it "
         "is"},
};

#define FAIL(config, key, ...) return nt_config_fail((config), "optimizer", (key), __VA_ARGS__)

static nt_status check_rule(const nt_config *config, const nt_optim_options *o)
{
    const char *name = type_names[o->type];
    if (!rules[o->type].has_momentum && o->momentum != 0)
        FAIL(config, "momentum", "optimizer.momentum is for sgd, rmsprop and lars; %s has %s", name,
             o->type == NT_OPTIM_ADAGRAD ? "none" : "beta1");
    if (o->type != NT_OPTIM_SGD && o->nesterov) FAIL(config, "nesterov", "optimizer.nesterov is for sgd");
    if (o->nesterov && o->momentum == 0) FAIL(config, "nesterov", "optimizer.nesterov needs a momentum");
    if (o->type != NT_OPTIM_RMSPROP && o->centered)
        FAIL(config, "centered", "optimizer.centered is for rmsprop, not for %s", name);
    if (o->clip_value > 0 && o->clip_norm > 0)
        FAIL(config, "clip_value",
             "optimizer.clip_value and optimizer.clip_norm exclude each other: take one of them");
    return NT_OK;
}

static bool is_length(const nt_interval *interval)
{
    return interval->unit == NT_STEPS || interval->unit == NT_EPOCHS;
}

static nt_status check_schedule(const nt_config *config, const nt_optim_options *o)
{
    const char *name = schedule_names[o->schedule];
    bool periodic = o->schedule == NT_SCHEDULE_STEP || o->schedule == NT_SCHEDULE_EXPONENTIAL;
    if (periodic && !is_length(&o->step_every))
        FAIL(config, "step_every", "schedule = %s needs step_every in steps or epochs, as in '30 epochs'",
             name);
    if (o->schedule == NT_SCHEDULE_MULTISTEP && o->milestones.n == 0)
        FAIL(config, "milestones", "schedule = %s needs milestones, as in '30, 60, 80' (epochs)", name);
    for (int i = 1; i < o->milestones.n; i++)
        if (o->milestones.value[i] <= o->milestones.value[i - 1])
            FAIL(config, "milestones", "optimizer.milestones must ascend, but %lld follows %lld",
                 (long long)o->milestones.value[i], (long long)o->milestones.value[i - 1]);
    if (o->schedule == NT_SCHEDULE_SGDR && !is_length(&o->restart_every))
        FAIL(config, "restart_every",
             "schedule = %s needs restart_every in steps or epochs, as in '10 epochs'", name);
    if (o->schedule == NT_SCHEDULE_WSD && !is_length(&o->decay_for))
        FAIL(config, "decay_for", "schedule = %s needs decay_for in steps or epochs, as in '10 epochs'",
             name);
    if (o->schedule == NT_SCHEDULE_PLATEAU && o->gamma >= 1)
        FAIL(config, "gamma", "schedule = %s needs a gamma below 1, the factor that it reduces the rate by",
             name);
    if (o->schedule == NT_SCHEDULE_ONE_CYCLE && o->warmup > 0)
        FAIL(config, "warmup", "schedule = %s has its own warm-up: see pct_start and div_factor", name);
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

static double auto_value(const void *values, const char *key)
{
    const struct rule *rule = &rules[((const nt_optim_options *)values)->type];
    if (strcmp(key, "lr") == 0) return rule->lr;
    if (strcmp(key, "beta2") == 0) return rule->beta2;
    if (strcmp(key, "eps") == 0) return rule->eps;
    return strcmp(key, "weight_decay") == 0 ? rule->weight_decay : (double)NAN;
}

const nt_section nt_optim_section = {
    .name = "optimizer",
    .help = "how parameters are updated, and the learning rate",
    .size = sizeof(nt_optim_options),
    .options = options_table,
    .n_options = NT_N_ELEMS(options_table),
    .check = check,
    .auto_value = auto_value,
};

const char *nt_optim_name(const nt_optim_options *options)
{
    return type_names[options->type];
}

int nt_optim_n_states(const nt_optim_options *options)
{
    int n_momentum = options->momentum != 0;
    switch ((nt_optim_type)options->type) {
    case NT_OPTIM_SGD:
        return n_momentum;
    case NT_OPTIM_RMSPROP:
        return 1 + options->centered + n_momentum;
    case NT_OPTIM_ADAGRAD:
    case NT_OPTIM_LION:
    case NT_OPTIM_LARS:
        return 1;
    case NT_OPTIM_ADAM:
    case NT_OPTIM_ADAMW:
    case NT_OPTIM_LAMB:
        break;
    }
    return 2;
}

const char *nt_optim_state_name(const nt_optim_options *options, int index)
{
    static const char *const names[][NT_MAX_STATES] = {
        [NT_OPTIM_SGD] = {"momentum"},
        [NT_OPTIM_ADAM] = {"exp_avg", "exp_avg_sq"},
        [NT_OPTIM_ADAMW] = {"exp_avg", "exp_avg_sq"},
        [NT_OPTIM_RMSPROP] = {"square_avg", "grad_avg", "momentum"},
        [NT_OPTIM_ADAGRAD] = {"sum"},
        [NT_OPTIM_LION] = {"exp_avg"},
        [NT_OPTIM_LARS] = {"momentum"},
        [NT_OPTIM_LAMB] = {"exp_avg", "exp_avg_sq"},
    };
    if (index < 0 || index >= nt_optim_n_states(options)) return NULL;
    if (options->type == NT_OPTIM_RMSPROP && index == 1 && !options->centered) index = 2;
    return names[options->type][index];
}

double nt_optim_lr(const nt_optim_options *options)
{
    return isnan(options->lr) ? rules[options->type].lr : options->lr;
}

double nt_optim_lr_of_batch(const nt_optim_options *options, int64_t batch)
{
    double lr = nt_optim_lr(options);
    return options->lr_per > 0 ? lr * (double)batch / options->lr_per : lr;
}

static double weight_decay_of(const nt_optim_options *options, nt_param_role role)
{
    if (role != NT_PARAM_WEIGHT && !options->decay_all) return 0;
    return isnan(options->weight_decay) ? rules[options->type].weight_decay : options->weight_decay;
}

nt_update nt_optim_prepare(const nt_optim_options *options, double lr, int64_t step, nt_param_role role)
{
    const struct rule *rule = &rules[options->type];
    const double beta2 = options->type == NT_OPTIM_RMSPROP ? options->alpha
                         : isnan(options->beta2)           ? rule->beta2
                                                           : options->beta2;
    return (nt_update){
        .rule = rule->rule,
        .lr = lr,
        .weight_decay = weight_decay_of(options, role),
        .grad_scale = 1,
        .momentum = options->momentum,
        .nesterov = options->nesterov,
        .decoupled = options->type == NT_OPTIM_ADAMW,
        .centered = options->centered,
        .beta1 = options->beta1,
        .beta2 = beta2,
        .eps = isnan(options->eps) ? rule->eps : options->eps,
        .correction1 = 1 - pow(options->beta1, (double)(step + 1)),
        .correction2 = 1 - pow(beta2, (double)(step + 1)),
    };
}

bool nt_optim_has_ratio(const nt_optim_options *options, nt_param_role role)
{
    return rules[options->type].has_ratio && role == NT_PARAM_WEIGHT;
}

nt_ratio nt_optim_ratio(const nt_optim_options *options)
{
    bool lars = options->type == NT_OPTIM_LARS;
    return (nt_ratio){.coefficient = lars ? options->trust : 1, .scales = lars, .decays = lars};
}

bool nt_update_fold_scale(nt_update *u)
{
    if (u->ratio) u->lr *= *u->ratio;
    u->ratio = NULL;
    if (!u->scale) return true;
    u->grad_scale *= *u->scale;
    bool finite = isfinite(*u->scale);
    u->scale = NULL;
    return finite;
}
