/* The table of [run]. All keys that do not change what is computed are free to change between save and
 * resume. */
#include "launcher/options.h"

#include "core/average.h"
#include "core/checkpoint.h"
#include "core/model.h"
#include "core/optim.h"
#include "core/text.h"
#include "datasets/augment.h"
#include "datasets/dataset.h"

#include <string.h>

const char *const nt_run_devices[] = {"auto", "ref", "cpu", "cuda", NULL};
static const char *const nan_policies[] = {"abort", "skip", NULL};
static const char *const metrics[] = {"loss", "accuracy", NULL};        /* nt_metric */
static const char *const precisions[] = {"fp32", "tf32", "bf16", NULL}; /* nt_precision */
static const char *const wires[] = {"fp32", "bf16", NULL};              /* nt_wire */
static const char *const cuda_graphs[] = {"auto", "yes", "no", NULL};   /* nt_cuda_graph */

#define AT(field) offsetof(nt_run_options, field)

static const nt_option run_table[] = {
    {"name", NT_OPTION_STRING, AT(name), .flags = NT_OPTION_FREE,
     .help = "name of the run, letters, digits, '.', '_', '-'; default: the config file's name"},
    {"output", NT_OPTION_STRING, AT(output), .flags = NT_OPTION_FREE,
     .help = "run folder for logs, metrics and checkpoints; default: runs/<name>"},
    {"seed", NT_OPTION_INT, AT(seed), .def = "1", .min = 0, .max = 9007199254740992.0,
     .help = "of initial weights, order of samples, masks"},
    {"epochs", NT_OPTION_INT, AT(epochs), .def = "10", .min = 0, .max = 1e9, .flags = NT_OPTION_FREE,
     .help = "passes over the training part"},
    {"steps", NT_OPTION_INT, AT(steps), .def = "0", .min = 0, .max = 1e15, .flags = NT_OPTION_FREE,
     .help = "optimizer steps in all, instead of epochs; 0: by epochs"},
    {"device", NT_OPTION_ENUM, AT(device), .def = "auto", .choices = nt_run_devices, .flags = NT_OPTION_FREE,
     .help = "where to compute; auto: cuda if there is a device, else cpu; ref: plain loops, slow"},
    {"threads", NT_OPTION_INT, AT(threads), .def = "0", .min = 0, .max = 1024, .flags = NT_OPTION_FREE,
     .help = "threads of each rank; 0: cores / ranks on this host"},
    {"autotune", NT_OPTION_BOOL, AT(autotune), .def = "yes", .flags = NT_OPTION_FREE,
     .help = "choose algorithms by a short timing at start-up; rank 0's choice, kept in checkpoints"},
    /* not free: batchnorm normalises each piece by itself */
    {"accumulate", NT_OPTION_INT, AT(accumulate), .def = "0", .min = 0, .max = 65536,
     .help = "compute each rank's part of a batch in so many pieces, to save memory; 0: one"},
    {"sync_batchnorm", NT_OPTION_BOOL, AT(sync_batchnorm), .def = "no",
     .help = "batchnorm normalises with the statistics of all ranks' parts together, as one rank with the "
             "whole batch would; two small collectives a layer and step"},
    {"zero", NT_OPTION_INT, AT(zero), .def = "0", .min = 0, .max = 1, .flags = NT_OPTION_FREE,
     .help =
         "1: each rank keeps and updates its part of the optimizer's state only (ZeRO stage 1), which saves "
         "memory; checkpoints are the same files"},
    {"bucket_mb", NT_OPTION_FLOAT, AT(bucket_mb), .def = "4", .min = NT_ABOVE_ZERO, .max = 4096,
     .flags = NT_OPTION_FREE, .help = "megabytes of gradient reduced at a time"},
    {"nan_policy", NT_OPTION_ENUM, AT(nan_policy), .def = "abort", .choices = nan_policies,
     .flags = NT_OPTION_FREE, .help = "NaN or Inf in loss or gradient: stop with code 80, or skip the step"},
    {"log_every", NT_OPTION_INT, AT(log_every), .def = "50", .min = 1, .max = 1e9, .flags = NT_OPTION_FREE,
     .help = "steps between lines in log and metrics"},
    {"validate", NT_OPTION_INTERVAL, AT(validate), .def = "1 epoch", .flags = NT_OPTION_FREE,
     .help = "how often the valid part is evaluated; also at the end"},
    {"metric", NT_OPTION_ENUM, AT(metric), .def = "loss", .choices = metrics,
     .help = "what an evaluation of the valid part is judged by: the best checkpoint, stop_after, schedule = "
             "plateau; accuracy as its complement, the error, of which less is better"},
    {"stop_after", NT_OPTION_INT, AT(stop_after), .def = "0", .min = 0, .max = 1e9, .flags = NT_OPTION_FREE,
     .help = "evaluations in a row without a better metric after which the run ends early; 0: never"},
    {"stop_delta", NT_OPTION_FLOAT, AT(stop_delta), .def = "0", .min = 0, .max = 1e30,
     .flags = NT_OPTION_FREE, .help = "a better metric is better by more than this, for stop_after"},
    {"watchdog", NT_OPTION_FLOAT, AT(watchdog_s), .def = "600", .min = 0, .max = 1e7, .flags = NT_OPTION_FREE,
     .help = "seconds without progress after which the job is ended with code 82; 0: never"},
    {"check_replicas", NT_OPTION_INT, AT(check_replicas), .def = "100", .min = 0, .max = 1e9,
     .flags = NT_OPTION_FREE, .help = "steps between comparisons of all ranks' weights; 0: never"},
    {"tensorboard", NT_OPTION_BOOL, AT(tensorboard), .def = "no", .flags = NT_OPTION_FREE,
     .help = "write the metrics as TensorBoard event files too, into the run folder"},
    {"histograms", NT_OPTION_INTERVAL, AT(histograms), .def = "never", .flags = NT_OPTION_FREE,
     .help = "between histograms of all weights in the event files, e.g. 1 epoch; needs tensorboard = yes"},
    {"pin", NT_OPTION_BOOL, AT(pin), .def = "yes", .flags = NT_OPTION_FREE,
     .help = "keep each rank on its own cores"},
    {"precision", NT_OPTION_ENUM, AT(precision), .def = "fp32", .choices = precisions,
     .help = "tf32: matrix products with 10-bit inputs, where the device has them; bf16: activations, their "
             "gradients and the weights in products have 8 bits, sums and master weights stay float32 (it "
             "has the range of float32: there is no fp16, and no loss scaling)"},
    {"wire", NT_OPTION_ENUM, AT(wire), .def = "fp32", .choices = wires,
     .help = "how gradients travel between ranks; bf16: half the bytes, sums rounded to 8 bits"},
    {"cuda_graph", NT_OPTION_ENUM, AT(cuda_graph), .def = "auto", .choices = cuda_graphs,
     .flags = NT_OPTION_FREE,
     .help = "replay a step as one CUDA graph; auto: where all of it can be recorded; yes: or fail"},
    {"debug_sync", NT_OPTION_BOOL, AT(debug_sync), .def = "no", .flags = NT_OPTION_FREE,
     .help = "wait for each kernel of a device, so that the one that fails is named, and compare the ranks' "
             "collective calls; slow"},
};

static nt_status check(const nt_config *config, const void *values)
{
    const nt_run_options *o = values;
    if (o->cuda_graph == NT_CUDA_GRAPH_YES && o->debug_sync)
        return nt_config_fail(
            config, "run", "cuda_graph",
            "run.cuda_graph = yes and run.debug_sync = yes exclude each other: a graph is one "
            "launch");
    if (o->zero > 0 && o->wire == NT_WIRE_BF16)
        return nt_config_fail(config, "run", "zero",
                              "run.zero = 1 and run.wire = bf16 exclude each other: sums of parts travel as "
                              "float32");
    return NT_OK;
}

const nt_section nt_run_section = {.name = "run",
                                   .help = "the run: output, length, device",
                                   .size = sizeof(nt_run_options),
                                   .options = run_table,
                                   .n_options = NT_N_ELEMS(run_table),
                                   .check = check};

const nt_section *const nt_all_sections[] = {&nt_run_section,     &nt_data_section,       &nt_augment_section,
                                             &nt_model_section,   &nt_loss_section,       &nt_optim_section,
                                             &nt_average_section, &nt_checkpoint_section, NULL};

nt_status nt_run_name(const nt_config *config, const char *config_path, char *name, size_t cap)
{
    const nt_run_options *run = nt_config_section(config, &nt_run_section);
    if (run->name && !nt_text_is_name(run->name))
        return nt_config_fail(
            config, "run", "name",
            "'%s' is not a name: 1 to 64 of A-Z a-z 0-9 . _ - and not beginning with . or -", run->name);
    const char *slash = config_path ? strrchr(config_path, '/') : NULL;
    const char *base = run->name ? run->name : slash ? slash + 1 : config_path ? config_path : "run";
    size_t n = strlen(base);
    if (!run->name && n > 4 && strcmp(base + n - 4, ".ini") == 0) n -= 4;
    if (n > 64) n = 64;
    NT_BUG_UNLESS(cap > 64, "a name needs 65 bytes, got %zu", cap);
    memcpy(name, base, n);
    name[n] = '\0';
    for (char *c = name; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *c)) *c = '_';
    if (n == 0 || *name == '-' || *name == '.') *name = '_';
    if (n == 0) name[1] = '\0';
    return NT_OK;
}

nt_status nt_run_output(const nt_config *config, const char *config_path, char *path, size_t cap)
{
    const nt_run_options *run = nt_config_section(config, &nt_run_section);
    char name[80];
    NT_TRY(nt_run_name(config, config_path, name, sizeof name));
    int n = run->output ? snprintf(path, cap, "%s", run->output) : snprintf(path, cap, "runs/%s", name);
    NT_CHECK(n > 0, NT_ERR_CONFIG, "run.output is empty: it names the run folder");
    NT_CHECK((size_t)n < cap, NT_ERR_CONFIG, "run.output is too long: %d bytes, at most %zu", n, cap - 1);
    return NT_OK;
}
