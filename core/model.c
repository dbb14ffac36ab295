/* Building the graph from [layer ...] groups.
 *
 * Each group becomes one node, followed by the nodes of `batchnorm = yes` and `activation = ...`; a name
 * stands for the last of them. Shapes are inferred as nodes are added, so every mistake is reported at the
 * line of the layer where it shows. */
#include "core/model.h"

#include "core/layers/activation.h"
#include "core/layers/batchnorm.h"
#include "core/layers/head.h"
#include "core/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const nt_section nt_model_section = {
    .name = "model",
    .help = "where the layers are, if not in this file",
    .size = sizeof(nt_model_options),
    .options =
        (const nt_option[]){
            {"file", NT_OPTION_STRING, offsetof(nt_model_options, file), .flags = NT_OPTION_INCLUDE,
             .help =
                 "INI file with the layers: one of launcher/models, as resnet50.ini, or your own, relative "
                 "to the working directory or to this file; default: the layers are in this file"},
            {"params", NT_OPTION_STRING, offsetof(nt_model_options, params), .flags = NT_OPTION_ARGUMENTS,
             .help = "other values for the parameters that the file declares in its line `params = ...`, as "
                     "depth=4 width=128"},
            {"init", NT_OPTION_STRING, offsetof(nt_model_options, init),
             .help =
                 "safetensors file with the weights to begin with, under PyTorch's names; default: random"},
            {"init_partial", NT_OPTION_BOOL, offsetof(nt_model_options, init_partial), .def = "no",
             .help = "take from init what fits by name and shape (another head); no: all must fit"},
            {"frozen", NT_OPTION_NAMES, offsetof(nt_model_options, frozen),
             .help = "layers that are not trained: names, or what names begin with up to a dot (layer1)"},
            {"trained", NT_OPTION_NAMES, offsetof(nt_model_options, trained),
             .help = "layers that are trained, named likewise; all others are frozen"},
        },
    .n_options = 6,
};

/* Keys that every layer has. */
typedef struct common_options {
    const char *type;
    nt_names input;
    int activation;
    double activation_alpha, activation_beta;
    bool batchnorm;
    double batchnorm_eps, batchnorm_momentum;
    double lr_factor, decay_factor;
    bool frozen;
} common_options;

static const nt_option common_table[] = {
    {"type", NT_OPTION_STRING, offsetof(common_options, type), .flags = NT_OPTION_REQUIRED,
     .help = "what kind of layer (nntrain help layers)"},
    {"input", NT_OPTION_NAMES, offsetof(common_options, input),
     .help = "names of the layers it reads, or `input`; default: the layer before"},
    {"activation", NT_OPTION_ENUM, offsetof(common_options, activation), .def = "none",
     .choices = nt_activation_words, .help = "function applied to the output"},
    {"activation_alpha", NT_OPTION_FLOAT, offsetof(common_options, activation_alpha),
     .help = "leaky_relu: slope below zero (0.01); elu: scale (1)"},
    {"activation_beta", NT_OPTION_FLOAT, offsetof(common_options, activation_beta),
     .help = "logistic: slope (1)"},
    {"batchnorm", NT_OPTION_BOOL, offsetof(common_options, batchnorm), .def = "no",
     .help = "linear, conv2d: batch normalisation before the activation"},
    {"batchnorm_eps", NT_OPTION_FLOAT, offsetof(common_options, batchnorm_eps), .def = "1e-5", .min = 0,
     .max = 1, .help = "added to the variance"},
    {"batchnorm_momentum", NT_OPTION_FLOAT, offsetof(common_options, batchnorm_momentum), .def = "0.1",
     .min = 0, .max = 1, .help = "weight of the new batch in the running statistics"},
    {"lr_factor", NT_OPTION_FLOAT, offsetof(common_options, lr_factor), .def = "1", .max = INFINITY,
     .help = "factor on the learning rate of its parameters"},
    {"decay_factor", NT_OPTION_FLOAT, offsetof(common_options, decay_factor), .def = "1", .max = INFINITY,
     .help = "factor on the weight decay of its parameters"},
    {"frozen", NT_OPTION_BOOL, offsetof(common_options, frozen), .def = "no",
     .help = "its parameters are not trained; running statistics of a batchnorm move all the same"},
};

const nt_section nt_layer_section = {.name = "layer",
                                     .help = "keys of every layer",
                                     .size = sizeof(common_options),
                                     .options = common_table,
                                     .n_options = NT_N_ELEMS(common_table)};

/* The builder's state. */
typedef struct builder {
    nt_model *model;
    nt_config *config;
    const nt_config_group *group; /* being built; NULL for the input and the loss */
    int cap;
    int *last_of_group; /* (n_groups) last node of each group built so far */
    int previous;       /* default input */
    int n_heads;
    int head[NT_MAX_HEADS]; /* their nodes */
} builder;

nt_shape nt_sample_target_shape(const nt_sample_spec *spec)
{
    if (spec->target == NT_TARGET_VALUE) return nt_shape_of(1, spec->n_values);
    return spec->n_labels > 0 ? nt_shape_of(1, spec->n_labels) : (nt_shape){0};
}

/* --- nodes --- */

static nt_status reserve_node(builder *b)
{
    nt_model *model = b->model;
    if (model->n_layers < b->cap) return NT_OK;
    int cap = b->cap ? 2 * b->cap : 32;
    nt_layer *grown = realloc(model->layer, (size_t)cap * sizeof *grown);
    NT_CHECK_ALLOC(grown, (size_t)cap * sizeof *grown);
    model->layer = grown;
    b->cap = cap;
    return NT_OK;
}

/* A new last node; the model owns it from here on. */
static nt_status new_node(builder *b, const char *name, const char *suffix, const nt_layer_ops *ops,
                          int n_inputs, nt_layer **out)
{
    NT_TRY(reserve_node(b));
    nt_layer *layer = &b->model->layer[b->model->n_layers++];
    *layer = (nt_layer){.ops = ops,
                        .kind = ops->section.name,
                        .n_inputs = n_inputs,
                        .group = b->group ? b->group->index : -1,
                        .lr_factor = 1,
                        .decay_factor = 1};
    snprintf(layer->name, sizeof layer->name, "%s%s", name, suffix);
    layer->options = calloc(1, ops->section.size + 1);
    layer->input = calloc((size_t)n_inputs + 1, sizeof *layer->input);
    layer->in = calloc((size_t)n_inputs + 1, sizeof *layer->in);
    NT_CHECK_ALLOC(layer->options && layer->input && layer->in, ops->section.size);
    *out = layer;
    return NT_OK;
}

/* Fails at the group's line, or at [loss], with the present error's words. */
static nt_status fail_here(const builder *b, const char *key)
{
    nt_error error;
    nt_error_take(&error);
    if (!b->group && b->model->n_layers <= 1) return nt_error_raise(&error);
    if (!b->group) return nt_config_fail(b->config, "loss", "type", "%s", error.message);
    return nt_config_fail_group(b->config, b->group, key, "%s", error.message);
}

/* Integers go into layers that take them, and nothing else does. */
static nt_status check_tokens(const builder *b, const nt_layer *layer)
{
    const char *type = layer->ops->section.name;
    bool tokens = b->model->spec.x_dtype == NT_I32;
    for (int k = 0; k < layer->n_inputs; k++) {
        bool is_data = layer->input[k] == 0;
        NT_CHECK(!layer->ops->takes_tokens || is_data, NT_ERR_CONFIG,
                 "%s reads integer tokens, so its input is `input`, the data, and not a layer", type);
        NT_CHECK(!layer->ops->takes_tokens || tokens, NT_ERR_CONFIG,
                 "%s needs data of integer tokens (int32), but the samples are %s", type,
                 nt_dtype_name(b->model->spec.x_dtype));
        NT_CHECK(layer->ops->takes_tokens || !is_data || !tokens, NT_ERR_CONFIG,
                 "%s cannot read the data, which are integer tokens (int32): put an embedding layer first",
                 type);
    }
    return NT_OK;
}

static nt_status infer_node(const builder *b, nt_layer *layer)
{
    for (int k = 0; k < layer->n_inputs; k++)
        if (layer->input[k] >= 0) layer->in[k] = b->model->layer[layer->input[k]].out;
    nt_status status = check_tokens(b, layer);
    if (status == NT_OK) status = nt_layer_infer(layer);
    if (status == NT_OK) return NT_OK;
    (void)nt_error_prefix(status, "layer %s (%s): ", layer->name, layer->ops->section.name);
    return fail_here(b, NULL);
}

static nt_status add_input(builder *b)
{
    nt_layer *layer;
    const nt_layer_ops *ops = nt_layer_find("input");
    NT_BUG_UNLESS(ops, "there is no layer type 'input'");
    NT_TRY(new_node(b, "input", "", ops, 0, &layer));
    memcpy(layer->options, &b->model->spec.input, sizeof b->model->spec.input);
    layer->out = b->model->spec.x;
    NT_TRY(nt_shape_check(layer->out, "sample"));
    return NT_OK;
}

/* A node of one input after the group's main node. */
static nt_status add_follower(builder *b, const char *type, const char *suffix, nt_layer **out)
{
    const nt_layer_ops *ops = nt_layer_find(type);
    NT_BUG_UNLESS(ops, "there is no layer type '%s'", type);
    int before = b->model->n_layers - 1;
    NT_TRY(new_node(b, b->group->name, suffix, ops, 1, out));
    NT_TRY(nt_section_defaults(&ops->section, (*out)->options));
    (*out)->input[0] = before;
    return NT_OK;
}

static nt_status add_batchnorm(builder *b, const common_options *common)
{
    nt_layer *layer;
    NT_TRY(add_follower(b, "batchnorm", ".bn", &layer));
    nt_batchnorm_options *options = layer->options;
    options->eps = common->batchnorm_eps;
    options->momentum = common->batchnorm_momentum;
    NT_TRY(infer_node(b, layer));
    return NT_OK;
}

static nt_status add_activation(builder *b, const common_options *common)
{
    nt_layer *layer;
    NT_TRY(add_follower(b, "activation", ".act", &layer));
    nt_activation_options *options = layer->options;
    options->function = (nt_activation)common->activation;
    if (common->activation_alpha != 0) options->alpha = common->activation_alpha;
    if (common->activation_beta != 0) options->beta = common->activation_beta;
    NT_TRY(infer_node(b, layer));
    return NT_OK;
}

/* --- groups --- */

/* Node that a name in `input =` means, or -1. */
static int find_input(const builder *b, const char *name)
{
    if (strcmp(name, "input") == 0) return 0;
    for (int g = 0; g < b->group->index; g++)
        if (strcmp(nt_config_get_group(b->config, g)->name, name) == 0) return b->last_of_group[g];
    return -1;
}

static nt_status unknown_input(const builder *b, const char *name)
{
    const char **names = calloc((size_t)b->group->index + 2, sizeof *names);
    NT_CHECK_ALLOC(names, (size_t)b->group->index * sizeof *names);
    for (int g = 0; g < b->group->index; g++)
        names[g] = nt_config_get_group(b->config, g)->name;
    names[b->group->index] = "input";
    const char *nearest = nt_text_nearest(name, names);
    free(names);
    return nt_config_fail_group(
        b->config, b->group, "input", "layer %s: there is no layer '%s' before it%s%s%s", b->group->name,
        name, nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
}

static bool is_head(const nt_layer *layer)
{
    return layer->ops == nt_layer_find("head");
}

static nt_status connect(const builder *b, nt_layer *layer, const common_options *common)
{
    if (common->input.n == 0) layer->input[0] = b->previous;
    for (int k = 0; k < common->input.n; k++) {
        const char *name = common->input.name[k];
        layer->input[k] = find_input(b, name);
        if (layer->input[k] < 0) return unknown_input(b, name);
        if (is_head(&b->model->layer[layer->input[k]]))
            return nt_config_fail_group(b->config, b->group, "input",
                                        "layer %s: '%s' is a head, where a branch ends; read what it reads",
                                        b->group->name, name);
    }
    return NT_OK;
}

static nt_status note_head(builder *b, const nt_layer *layer)
{
    if (b->n_heads == NT_MAX_HEADS)
        return nt_config_fail_group(b->config, b->group, NULL, "more than %d heads", NT_MAX_HEADS);
    b->head[b->n_heads++] = (int)(layer - b->model->layer);
    return NT_OK;
}

static nt_status check_batchnorm(const builder *b, const nt_layer_ops *ops, const common_options *common)
{
    if (!common->batchnorm || ops->takes_batchnorm) return NT_OK;
    return nt_config_fail_group(b->config, b->group, "batchnorm",
                                "layer %s (%s) does not take batchnorm; add a layer of type batchnorm",
                                b->group->name, ops->section.name);
}

static nt_status find_type(const builder *b, const nt_layer_ops **out)
{
    const char *type = nt_config_group_value(b->config, b->group, "type");
    if (!type)
        return nt_config_fail_group(b->config, b->group, NULL, "layer %s has no `type`", b->group->name);
    *out = strcmp(type, "input") == 0 ? NULL : nt_layer_find(type);
    if (*out) return NT_OK;
    const char *nearest = nt_text_nearest(type, nt_layer_types());
    return nt_config_fail_group(b->config, b->group, "type", "layer %s: there is no layer type '%s'%s%s%s",
                                b->group->name, type, nearest ? "; did you mean '" : "",
                                nearest ? nearest : "", nearest ? "'?" : " (see nntrain help layers)");
}

/* The node whose weight a name in `weight =` means, or -1. */
static int find_weight(const builder *b, const char *name)
{
    int i = nt_model_find(b->model, name);
    return i >= 0 && b->model->layer[i].n_params > 0 &&
                   strcmp(b->model->layer[i].param[0].name, "weight") == 0
               ? i
               : -1;
}

/* `weight = NAME`: the first parameter is that of a layer before. */
static nt_status share_weight(const builder *b, nt_layer *layer)
{
    char ours[NT_SHAPE_TEXT_BYTES], theirs[NT_SHAPE_TEXT_BYTES];
    const char *name = layer->weight_of;
    if (!name || !*name) return NT_OK;
    int from = find_weight(b, name);
    if (from < 0 || &b->model->layer[from] == layer)
        return nt_config_fail_group(b->config, b->group, "weight",
                                    "layer %s: weight = %.64s: no layer before this one has that name and a "
                                    "weight",
                                    layer->name, name);
    const nt_param *theirs_param = &b->model->layer[from].param[0];
    if (!nt_shape_equal(theirs_param->shape, layer->param[0].shape))
        return nt_config_fail_group(b->config, b->group, "weight",
                                    "layer %s: weight = %s: that weight is %s, this layer's must be %s",
                                    layer->name, name, nt_shape_text(theirs_param->shape, theirs),
                                    nt_shape_text(layer->param[0].shape, ours));
    layer->param[0].owner = theirs_param->owner ? theirs_param->owner : from;
    return NT_OK;
}

/* --- what is trained, and how fast --- */

/* Whether the names have `name`, or something that it begins with up to a dot. */
static bool names_have(const nt_names *names, const char *name)
{
    for (int i = 0; i < names->n; i++) {
        size_t n = strlen(names->name[i]);
        if (strncmp(name, names->name[i], n) == 0 && (name[n] == '\0' || name[n] == '.')) return true;
    }
    return false;
}

/* A layer's own `frozen` goes before the lists of [model]. */
static bool is_frozen(const builder *b, const common_options *common)
{
    const nt_model_options *model = nt_config_section(b->config, &nt_model_section);
    const char *name = b->group->name;
    if (nt_config_group_value(b->config, b->group, "frozen")) return common->frozen;
    return names_have(&model->frozen, name) || (model->trained.n > 0 && !names_have(&model->trained, name));
}

/* The group's nodes are those from `first` on. */
static void set_factors(builder *b, const common_options *common, int first)
{
    for (int i = first; i < b->model->n_layers; i++) {
        nt_layer *layer = &b->model->layer[i];
        layer->lr_factor = common->lr_factor;
        layer->decay_factor = common->decay_factor;
        layer->frozen = is_frozen(b, common);
    }
}

/* Every name of a list of [model] has to mean something. */
static nt_status check_names(const builder *b, const char *key, const nt_names *names)
{
    int n_groups = nt_config_n_groups(b->config);
    const char **all = calloc((size_t)n_groups + 1, sizeof *all);
    NT_CHECK_ALLOC(all, (size_t)n_groups * sizeof *all);
    const char *unknown = NULL, *nearest = NULL;
    for (int g = 0; g < n_groups; g++)
        all[g] = nt_config_get_group(b->config, g)->name;
    for (int i = 0; i < names->n && !unknown; i++) {
        const nt_names one = {1, &names->name[i]};
        bool found = false;
        for (int g = 0; g < n_groups; g++)
            found = found || names_have(&one, all[g]);
        if (!found) unknown = names->name[i];
    }
    if (unknown) nearest = nt_text_nearest(unknown, all);
    free(all);
    if (!unknown) return NT_OK;
    return nt_config_fail(b->config, "model", key,
                          "model.%s: there is no layer '%s', and none whose name begins with '%s.'%s%s%s",
                          key, unknown, unknown, nearest ? "; did you mean '" : "", nearest ? nearest : "",
                          nearest ? "'?" : "");
}

static nt_status check_frozen(const builder *b)
{
    const nt_model_options *options = nt_config_section(b->config, &nt_model_section);
    int n_trained = 0, frozen = -1;
    NT_TRY(check_names(b, "frozen", &options->frozen));
    NT_TRY(check_names(b, "trained", &options->trained));
    for (int i = 0; i < b->model->n_layers; i++) {
        const nt_layer *layer = &b->model->layer[i];
        if (layer->n_params > 0 && layer->frozen) frozen = layer->group;
        n_trained += layer->n_params > 0 && !layer->frozen;
    }
    if (n_trained > 0 || frozen < 0) return NT_OK;
    return nt_config_fail_group(b->config, nt_config_get_group(b->config, frozen), "frozen",
                                "every layer with parameters is frozen: there is nothing to train");
}

static nt_status add_group(builder *b)
{
    const nt_layer_ops *ops = NULL;
    common_options common = {0};
    nt_layer *layer;
    if (strcmp(b->group->name, "input") == 0)
        return nt_config_fail_group(b->config, b->group, NULL,
                                    "a layer cannot be called 'input': that is the data");
    NT_TRY(find_type(b, &ops));
    const char *inputs = nt_config_group_value(b->config, b->group, "input");
    int cap_inputs = 1;
    for (const char *c = inputs; c && *c; c++)
        cap_inputs += *c == ',';
    const int first = b->model->n_layers;
    NT_TRY(new_node(b, b->group->name, "", ops, cap_inputs, &layer));
    NT_TRY(nt_config_parse_group(b->config, b->group, &nt_layer_section, &common, &ops->section,
                                 layer->options));
    layer->n_inputs = common.input.n ? common.input.n : 1;
    layer->has_batchnorm = common.batchnorm;
    NT_TRY(check_batchnorm(b, ops, &common));
    NT_TRY(connect(b, layer, &common));
    NT_TRY(infer_node(b, layer));
    NT_TRY(share_weight(b, layer));
    if (common.batchnorm) NT_TRY(add_batchnorm(b, &common));
    if (common.activation != NT_ACT_NONE) NT_TRY(add_activation(b, &common));
    set_factors(b, &common, first);
    int last = b->last_of_group[b->group->index] = b->model->n_layers - 1;
    if (is_head(&b->model->layer[last])) return note_head(b, &b->model->layer[last]);
    b->previous = last;
    return NT_OK;
}

/* --- loss and checks --- */

/* The loss of a name; `auto` goes by the target. */
static nt_status find_loss(const builder *b, const char *type, const nt_layer_ops **out)
{
    if (strcmp(type, "auto") == 0) type = b->model->spec.target == NT_TARGET_CLASS ? "cross_entropy" : "mse";
    *out = nt_loss_find(type);
    const char *nearest = *out ? NULL : nt_text_nearest(type, nt_loss_types());
    NT_CHECK(*out, NT_ERR_CONFIG, "there is no loss '%s'%s%s%s", type, nearest ? "; did you mean '" : "",
             nearest ? nearest : "", nearest ? "'?" : " (see nntrain help layers)");
    return NT_OK;
}

/* All keys of [loss] that were given must be among the loss's own. */
static nt_status check_loss_options(const builder *b, const nt_layer_ops *ops)
{
    for (int i = 0; i < nt_loss_section.n_options; i++) {
        const char *key = nt_loss_section.options[i].key;
        if (strcmp(key, "type") == 0 || !nt_config_changed(b->config, "loss", key)) continue;
        bool is_own = false;
        for (int k = 0; k < ops->section.n_options; k++)
            is_own = is_own || strcmp(ops->section.options[k].key, key) == 0;
        if (!is_own)
            return nt_config_fail(b->config, "loss", key, "loss %s has no %s (nntrain help %s)",
                                  ops->section.name, key, ops->section.name);
    }
    return NT_OK;
}

/* Mixed labels are probabilities of the data's classes, which only cross_entropy takes in their place. */
static nt_status check_soft(const builder *b, int x, const nt_layer_ops *ops)
{
    const nt_sample_spec *spec = &b->model->spec;
    const nt_layer *output = &b->model->layer[x];
    if (!spec->soft_targets) return NT_OK;
    const char *key = nt_config_changed(b->config, "augment", "mixup") ? "mixup" : "cutmix";
    if (ops->outputs != NT_OUTPUTS_LOGITS)
        return nt_config_fail(b->config, "augment", key,
                              "augment.%s mixes class labels, which needs loss cross_entropy, not %s", key,
                              ops->section.name);
    long long n_outputs = (long long)nt_shape_elems(output->out), n_classes = (long long)spec->n_classes;
    if (n_outputs != n_classes)
        return nt_config_fail(b->config, "augment", key,
                              "augment.%s needs as many outputs as there are classes, but layer %s has %lld "
                              "outputs and the data have %lld classes: set data.classes = %lld",
                              key, output->name, n_outputs, n_classes, n_outputs);
    return NT_OK;
}

/* A loss node of the output of node `x`. */
static nt_status add_loss_of(builder *b, int x, const char *name, const char *suffix, const nt_layer_ops *ops)
{
    nt_layer *layer;
    NT_TRY(new_node(b, name, suffix, ops, 2, &layer));
    memcpy(layer->options, nt_config_section(b->config, &nt_loss_section), ops->section.size);
    layer->has_labels = b->model->spec.target == NT_TARGET_CLASS;
    layer->has_soft = b->model->spec.soft_targets;
    NT_TRY(check_soft(b, x, ops));
    layer->input[0] = x;
    layer->input[1] = NT_NODE_TARGET;
    layer->in[1] = nt_sample_target_shape(&b->model->spec);
    NT_TRY(infer_node(b, layer));
    return NT_OK;
}

/* The losses of the heads and the sum of all. */
static nt_status add_heads(builder *b, const nt_layer_ops *ops)
{
    nt_model *model = b->model;
    nt_layer *total;
    int first = model->n_layers;
    nt_total_loss_options weights = {.weight = {1}};
    for (int i = 0; i < b->n_heads; i++) {
        const nt_head_options *o = model->layer[b->head[i]].options;
        b->group = nt_config_get_group(b->config, model->layer[b->head[i]].group);
        weights.weight[1 + i] = o->loss_weight;
        const nt_layer_ops *own = ops;
        if (strcmp(o->loss, "auto") != 0 && find_loss(b, o->loss, &own) != NT_OK) return fail_here(b, "loss");
        NT_TRY(add_loss_of(b, b->head[i], b->group->name, ".loss", own));
    }
    b->group = NULL;
    NT_TRY(new_node(b, "total", "", nt_layer_find("total_loss"), 1 + b->n_heads, &total));
    memcpy(total->options, &weights, sizeof weights);
    for (int k = 0; k <= b->n_heads; k++)
        total->input[k] = k == 0 ? model->loss : first + k - 1;
    NT_TRY(infer_node(b, total));
    for (int i = first; i < model->n_layers; i++)
        model->layer[i].training_only = true;
    return NT_OK;
}

static nt_status add_losses(builder *b)
{
    const nt_loss_options *loss = nt_config_section(b->config, &nt_loss_section);
    const nt_layer_ops *ops;
    b->group = NULL;
    if (find_loss(b, loss->type, &ops) != NT_OK) return fail_here(b, NULL);
    NT_TRY(check_loss_options(b, ops));
    b->model->loss = b->model->n_layers;
    NT_TRY(add_loss_of(b, b->model->output, "loss", "", ops));
    b->model->has_loss = true;
    if (b->n_heads > 0) NT_TRY(add_heads(b, ops));
    return NT_OK;
}

/* A label that does not count may lie outside of the model's classes; then each is checked when it comes. */
static nt_status check_classes(const builder *b, int node)
{
    const nt_layer *output = &b->model->layer[node];
    const nt_loss_options *loss = nt_config_section(b->config, &nt_loss_section);
    int64_t classes = b->model->spec.n_classes;
    char shape[NT_SHAPE_TEXT_BYTES];
    int dim = loss->class_dim == NT_CLASS_DIM_LAST ? output->out.n_dims - 1 : 0;
    if (b->model->spec.target != NT_TARGET_CLASS || output->out.dim[dim] >= classes) return NT_OK;
    if (!isnan(loss->ignore_index)) return NT_OK;
    if (b->model->spec.n_labels > 0)
        return nt_config_fail_group(b->config, nt_config_get_group(b->config, output->group), NULL,
                                    "layer %s has %lld outputs at a position but the data have %lld classes: "
                                    "its output is %s, of which "
                                    "loss.class_dim = %s takes the %s dimension for the classes",
                                    output->name, (long long)output->out.dim[dim], (long long)classes,
                                    nt_shape_text(output->out, shape),
                                    loss->class_dim == NT_CLASS_DIM_LAST ? "last" : "first",
                                    loss->class_dim == NT_CLASS_DIM_LAST ? "last" : "first");
    return nt_config_fail_group(b->config, nt_config_get_group(b->config, output->group), NULL,
                                "layer %s has %lld outputs but the data have %lld classes: "
                                "give the last layer `units = %lld`",
                                output->name, (long long)output->out.dim[dim], (long long)classes,
                                (long long)classes);
}

/* Marks what neither the output nor any head needs as an error, and what only heads need. */
static nt_status check_all_used(builder *b)
{
    nt_model *model = b->model;
    bool *used = calloc(2 * (size_t)model->n_layers, sizeof *used), *shown = used + model->n_layers;
    NT_CHECK_ALLOC(used, 2 * (size_t)model->n_layers);
    used[model->output] = shown[model->output] = true;
    for (int i = 0; i < b->n_heads; i++)
        used[b->head[i]] = true;
    int unused = -1;
    for (int i = model->n_layers - 1; i >= 0; i--) {
        nt_layer *layer = &model->layer[i];
        for (int k = 0; k < layer->n_inputs; k++) {
            used[layer->input[k]] = used[layer->input[k]] || used[i];
            shown[layer->input[k]] = shown[layer->input[k]] || shown[i];
        }
        layer->training_only = !shown[i];
        if (!used[i] && layer->group >= 0 && unused < 0) unused = i;
    }
    free(used);
    if (unused < 0) return NT_OK;
    return nt_config_fail_group(b->config, nt_config_get_group(b->config, model->layer[unused].group), NULL,
                                "the output of layer %s is not used by any layer", model->layer[unused].name);
}

/* The last layer that no other reads and that is no head; 0 if there is none. */
static int find_output(const builder *b)
{
    const nt_model *model = b->model;
    for (int i = model->n_layers - 1; i > 0; i--) {
        bool is_read = is_head(&model->layer[i]);
        for (int c = i + 1; c < model->n_layers; c++)
            for (int k = 0; k < model->layer[c].n_inputs; k++)
                is_read = is_read || model->layer[c].input[k] == i;
        if (!is_read) return i;
    }
    return 0;
}

static nt_status check_outputs(builder *b)
{
    b->model->output = find_output(b);
    NT_CHECK(b->model->output > 0, NT_ERR_CONFIG, "every layer leads to a head: the model has no output");
    NT_TRY(check_all_used(b));
    NT_TRY(check_classes(b, b->model->output));
    for (int i = 0; i < b->n_heads; i++)
        NT_TRY(check_classes(b, b->head[i]));
    return NT_OK;
}

static nt_status build(builder *b)
{
    int n_groups = nt_config_n_groups(b->config);
    NT_CHECK(n_groups > 0, NT_ERR_CONFIG,
             "there are no layers: write [layer NAME] sections, or `file = ...` in [model]");
    b->last_of_group = calloc((size_t)n_groups, sizeof *b->last_of_group);
    NT_CHECK_ALLOC(b->last_of_group, (size_t)n_groups * sizeof *b->last_of_group);
    NT_TRY(add_input(b));
    for (int g = 0; g < n_groups; g++) {
        b->group = nt_config_get_group(b->config, g);
        NT_TRY(add_group(b));
    }
    b->model->loss = -1;
    NT_TRY(check_outputs(b));
    NT_TRY(check_frozen(b));
    if (b->model->spec.target != NT_TARGET_NONE) NT_TRY(add_losses(b));
    return NT_OK;
}

nt_status nt_model_create(nt_model **out, nt_config *config, const nt_sample_spec *spec)
{
    nt_model *model = calloc(1, sizeof *model);
    NT_CHECK_ALLOC(model, sizeof *model);
    model->spec = *spec;
    builder b = {.model = model, .config = config};
    nt_status status = build(&b);
    free(b.last_of_group);
    if (status != NT_OK) {
        nt_model_destroy(model);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    *out = model;
    return NT_OK;
}

void nt_model_destroy(nt_model *model)
{
    if (!model) return;
    for (int i = 0; i < model->n_layers; i++) {
        free(model->layer[i].options);
        free(model->layer[i].input);
        free(model->layer[i].in);
    }
    free(model->layer);
    free(model);
}

/* --- looking in --- */

/* The plain operation has weights of 1 only, and nothing to divide by but the samples. */
bool nt_model_weighs(const nt_model *model)
{
    if (!model->has_loss) return false;
    const nt_layer *loss = &model->layer[model->loss];
    const nt_loss_options *o = loss->options;
    return o->mean_over == NT_MEAN_OVER_WEIGHTS && strcmp(loss->kind, "cross_entropy_full") == 0;
}

double nt_model_target_weight(const nt_model *model, const void *target, int64_t n)
{
    if (!nt_model_weighs(model)) return (double)n;
    const nt_layer *loss = &model->layer[model->loss];
    const nt_loss_options *o = loss->options;
    const nt_shape out = loss->in[0];
    const int32_t *label = target;
    int64_t n_classes = out.dim[o->class_dim == NT_CLASS_DIM_LAST ? out.n_dims - 1 : 0];
    int64_t n_labels = nt_shape_elems(out) / n_classes;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += nt_labels_weight(o, label + i * n_labels, n_labels, n_classes);
    return sum;
}

nt_outputs nt_model_outputs(const nt_model *model)
{
    return model->has_loss ? model->layer[model->loss].ops->outputs : NT_OUTPUTS_UNKNOWN;
}

int64_t nt_model_answers(const nt_model *model)
{
    const nt_layer *loss = model->has_loss ? &model->layer[model->loss] : NULL;
    return loss && loss->ops->answers ? loss->ops->answers(loss) : 0;
}

int64_t nt_model_count_answers(const nt_model *model, const void *target, int64_t n)
{
    const int64_t each = nt_model_answers(model);
    if (each == 0 || !nt_loss_has_labels(&model->layer[model->loss])) return n * each;
    const nt_loss_options *o = model->layer[model->loss].options;
    const int32_t *label = target;
    int64_t ignored = 0;
    for (int64_t i = 0; !isnan(o->ignore_index) && i < n * each; i++)
        ignored += nt_label_is_ignored(o, label[i]);
    return n * each - ignored;
}

static int64_t layer_params(const nt_layer *layer)
{
    int64_t n = 0;
    for (int p = 0; p < layer->n_params; p++)
        if (layer->param[p].role != NT_PARAM_STAT && !layer->param[p].owner)
            n += nt_shape_elems(layer->param[p].shape);
    return n;
}

int64_t nt_model_n_params(const nt_model *model)
{
    int64_t n = 0;
    for (int i = 0; i < model->n_layers; i++)
        n += layer_params(&model->layer[i]);
    return n;
}

int64_t nt_model_flops(const nt_model *model)
{
    int64_t n = 0;
    for (int i = 0; i < model->n_layers; i++)
        n += nt_layer_flops(&model->layer[i]);
    return n;
}

bool nt_model_shares(const nt_model *model, int layer)
{
    const nt_layer *it = &model->layer[layer];
    bool shares = false;
    for (int p = 0; p < it->n_params; p++)
        shares = shares || it->param[p].owner;
    for (int i = layer + 1; i < model->n_layers; i++)
        for (int p = 0; p < model->layer[i].n_params; p++)
            shares = shares || model->layer[i].param[p].owner == layer;
    return shares;
}

int nt_model_find(const nt_model *model, const char *name)
{
    for (int i = 0; i < model->n_layers; i++)
        if (strcmp(model->layer[i].name, name) == 0) return i;
    return -1;
}

void nt_model_print(const nt_model *model, FILE *out)
{
    char shape[NT_SHAPE_TEXT_BYTES];
    fprintf(out, "%-24s %-16s %-16s %12s %14s\n", "layer", "type", "output", "parameters", "FLOPs/sample");
    for (int i = 0; i < model->n_layers; i++) {
        const nt_layer *layer = &model->layer[i];
        fprintf(out, "%-24s %-16s %-16s %12lld %14lld\n", layer->name, layer->ops->section.name,
                nt_shape_text(layer->out, shape), (long long)layer_params(layer),
                (long long)nt_layer_flops(layer));
    }
    fprintf(out, "%-24s %-16s %-16s %12lld %14lld\n", "total", "", "", (long long)nt_model_n_params(model),
            (long long)nt_model_flops(model));
    int64_t n_frozen = 0;
    for (int i = 0; i < model->n_layers; i++)
        n_frozen += model->layer[i].frozen ? layer_params(&model->layer[i]) : 0;
    if (n_frozen > 0)
        fprintf(out, "%-24s %-16s %-16s %12lld\n", "of them frozen", "", "", (long long)n_frozen);
}

/* What a node is filled with: parameters stand out, losses and the input, too. */
static const char *dot_colour(const nt_layer *layer)
{
    if (layer->n_inputs == 0) return "#d9ead3";
    if (layer->ops->is_loss) return "#f4cccc";
    return layer_params(layer) > 0 ? "#cfe2f3" : "#ffffff";
}

static void dot_node(const nt_model *model, int index, FILE *out)
{
    const nt_layer *layer = &model->layer[index];
    const long long n_params = (long long)layer_params(layer);
    char shape[NT_SHAPE_TEXT_BYTES];
    fprintf(out, "  n%d [label=\"%s\\n%s\\n%s", index, layer->name, layer->ops->section.name,
            nt_shape_text(layer->out, shape));
    if (n_params > 0) fprintf(out, "\\n%lld parameters", n_params);
    fprintf(out, "\", fillcolor=\"%s\"%s];\n", dot_colour(layer),
            index == model->output ? ", penwidth=2" : "");
}

void nt_model_dot(const nt_model *model, FILE *out)
{
    fprintf(out, "digraph model {\n"
                 "  node [shape=box, style=\"filled,rounded\", fontname=\"sans-serif\", fontsize=10];\n"
                 "  edge [arrowsize=0.6];\n");
    for (int i = 0; i < model->n_layers; i++)
        dot_node(model, i, out);
    for (int i = 0; i < model->n_layers; i++)
        for (int k = 0; k < model->layer[i].n_inputs; k++)
            if (model->layer[i].input[k] != NT_NODE_TARGET)
                fprintf(out, "  n%d -> n%d;\n", model->layer[i].input[k], i);
    fprintf(out, "}\n");
}
