/* See toy.h. */
#include "toy.h"

#include "core/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Smooth everywhere: the differences of rounding between N ranks and one must not meet a kink. */
static const char plain_graph[] =
    "[layer conv]\ntype = conv2d\nfilters = 4\nkernel = 3\npadding = same\nactivation = tanh\n"
    "[layer flat]\ntype = flatten\n"
    "[layer hidden]\ntype = linear\nunits = 16\nactivation = tanh\n"
    "[layer drop]\ntype = dropout\nrate = 0.25\n"
    "[layer out]\ntype = linear\nunits = 3\n";

static const char momentum[] = "type = sgd\nmomentum = 0.9\nweight_decay = 0.001\n";

static const char batchnorm_graph[] =
    "[layer flat]\ntype = flatten\n"
    "[layer hidden]\ntype = linear\nunits = 8\nbatchnorm = yes\nactivation = tanh\n"
    "[layer out]\ntype = linear\nunits = 3\n";

/* A batchnorm of the input, whose dx nobody wants; of 20 channels, which fill no vector; of features. */
static const char norms_graph[] =
    "[layer norm]\ntype = batchnorm\n"
    "[layer conv]\ntype = conv2d\nfilters = 20\nkernel = 3\npadding = same\nbatchnorm = yes\n"
    "activation = relu\n"
    "[layer flat]\ntype = flatten\n"
    "[layer hidden]\ntype = linear\nunits = 8\nbatchnorm = yes\nactivation = tanh\n"
    "[layer out]\ntype = linear\nunits = 3\n";

nt_comm toy_alone(void)
{
    return (nt_comm){
        .ops = &nt_comm_self, .gradient = nt_comm_self.gradient, .size = 1, .local_size = 1, .host = "here"};
}

/* A pattern per class, and noise. */
static void make_data(toy *t)
{
    for (int i = 0; i < TOY_SAMPLES; i++) {
        t->sample[i] = i;
        t->label[i] = (i * 7) % TOY_CLASSES;
        for (int k = 0; k < TOY_ELEMS; k++) {
            nt_philox r = nt_rng_block(3, NT_RNG_TEST, 1, (uint32_t)k, (uint32_t)i, 0);
            t->x[i][k] = (k % TOY_CLASSES == t->label[i]) + nt_rng_uniform(r.v[0]) - 0.5f;
        }
    }
    if (t->options.nan_sample >= 0) t->x[t->options.nan_sample][0] = NAN;
}

static nt_status create_model(toy *t)
{
    static const nt_section *const sections[] = {&nt_model_section, &nt_loss_section, &nt_optim_section,
                                                 NULL};
    const toy_options *o = &t->options;
    const bool plain = !o->sync && !o->batchnorm;
    char text[1024];
    snprintf(text, sizeof text, "%s[loss]\n%s[optimizer]\n%s",
             o->sync        ? norms_graph
             : o->batchnorm ? batchnorm_graph
                            : plain_graph,
             o->loss ? o->loss : "",
             o->optimizer ? o->optimizer
             : plain      ? momentum
                          : "");
    nt_sample_spec spec = {.x_dtype = NT_F32,
                           .x = nt_shape_of(3, (int64_t)1, (int64_t)6, (int64_t)6),
                           .target = NT_TARGET_CLASS,
                           .n_classes = TOY_CLASSES,
                           .input = {.scale = 1}};
    NT_TRY(nt_config_parse(&t->config, "toy", text, strlen(text), NULL, 0, sections));
    NT_TRY(nt_model_create(&t->model, t->config, &spec));
    return NT_OK;
}

static nt_status create_net(toy *t)
{
    nt_backend_options backend_options = {.threads = 1};
    NT_TRY(nt_backend_create(&t->backend, t->options.backend, &backend_options));
    NT_TRY(nt_tuning_create(&t->tuning, false));
    nt_net_options options = {.n_shards = t->options.zero ? t->comm->size : 1,
                              .seed = 11,
                              .tuning = t->tuning,
                              .optim = nt_config_section(t->config, &nt_optim_section)};
    NT_TRY(nt_net_create(&t->net, t->model, t->backend, &options));
    for (int64_t n = 1; n <= TOY_BATCH; n++)
        NT_TRY(nt_net_want(t->net, NT_MODE_TRAIN, n));
    NT_TRY(nt_net_build(t->net));
    return NT_OK;
}

nt_status toy_create(toy *t, nt_comm *comm, const toy_options *options)
{
    *t = (toy){.options = *options, .comm = comm};
    make_data(t);
    NT_TRY(create_model(t));
    NT_TRY(create_net(t));
    NT_TRY(nt_comm_attach(comm, t->backend));
    nt_step_options step_options = {.seed = 11,
                                    .nan_policy = options->nan_policy,
                                    .clip_norm = options->clip_norm,
                                    .sync_batchnorm = options->sync && !options->sync_off};
    NT_TRY(nt_stepper_create(&t->stepper, t->net, comm, options->bucket_mb > 0 ? options->bucket_mb : 1,
                             &step_options));
    return NT_OK;
}

void toy_destroy(toy *t)
{
    nt_stepper_destroy(t->stepper);
    nt_net_destroy(t->net);
    if (t->comm->backend == t->backend) nt_comm_detach(t->comm);
    nt_tuning_destroy(t->tuning);
    nt_backend_destroy(t->backend);
    nt_model_destroy(t->model);
    nt_config_destroy(t->config);
}

int64_t toy_batch(int64_t step, int64_t *first)
{
    *first = step % TOY_BATCHES * TOY_BATCH;
    return *first + TOY_BATCH < TOY_SAMPLES ? TOY_BATCH : TOY_SAMPLES - *first;
}

nt_batch toy_piece(const toy *t, int64_t step, int i)
{
    int64_t first, global_n = toy_batch(step, &first), begin, end, from, to;
    if (t->options.sync && !t->options.sync_off) { /* pieces of the batch, parts of each */
        nt_comm_part(global_n, i, t->options.pieces, &begin, &end);
        nt_comm_part(end - begin, t->comm->rank, t->comm->size, &from, &to);
    } else {
        nt_comm_part(global_n, t->comm->rank, t->comm->size, &begin, &end);
        nt_comm_part(end - begin, i, t->options.pieces, &from, &to);
    }
    from += first + begin, to += first + begin;
    return (nt_batch){.n = to - from,
                      .x = t->x[from],
                      .target = &t->label[from],
                      .sample = &t->sample[from],
                      .epoch = step / TOY_BATCHES};
}

nt_status toy_run(toy *t, int64_t step, nt_step_result *result)
{
    int64_t first, global_n = toy_batch(step, &first);
    nt_batch micro[TOY_BATCH];
    int n_micro = 0;
    for (int i = 0; i < t->options.pieces; i++) {
        nt_batch piece = toy_piece(t, step, i);
        bool joint = t->options.sync && !t->options.sync_off && i < global_n; /* all ranks have this piece */
        if (piece.n > 0 || joint) micro[n_micro++] = piece;
    }
    NT_TRY(nt_stepper_run(t->stepper, micro, n_micro, global_n, t->options.lr > 0 ? t->options.lr : 0.1, step,
                          result));
    return NT_OK;
}

nt_status toy_step(toy *t, int64_t step, nt_step_result *result, double *loss)
{
    int64_t first, global_n = toy_batch(step, &first);
    NT_TRY(toy_run(t, step, result));
    double sum = result->sum.loss;
    NT_TRY(nt_comm_host_reduce(t->comm, &sum, 1, NT_REDUCE_SUM));
    *loss = sum / (double)global_n;
    return NT_OK;
}
