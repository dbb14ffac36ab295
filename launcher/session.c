/* The stages of a session. Each does its work, whatever comes of it, and then agrees: that is what makes an
 * error on one rank an error of the job, said once. */
#include "launcher/session.h"

#include "core/fault.h"
#include "core/log.h"
#include "core/phase.h"
#include "datasets/features.h"
#include "dist/topology.h"
#include "launcher/featurise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

nt_status nt_session_agree(nt_session *session, nt_status mine)
{
    if (mine != NT_OK && session->config) mine = nt_config_place_error(session->config, mine);
    nt_phase_wait("agreement");
    nt_status status = nt_comm_agree(session->comm, mine);
    if (status != NT_OK) session->agreed = true;
    nt_phase_enter("set-up");
    return status;
}

nt_status nt_session_begin(nt_session *session, int argc, char **argv, const nt_syntax *syntax)
{
    NT_TRY(nt_comm_create(&session->comm));
    nt_log_set_rank(session->comm->rank, session->comm->size);
    nt_fault_set_rank(session->comm->rank);
    nt_fault_point("run.init");
    return nt_session_agree(session, nt_args_parse(&session->args, argc, argv, syntax));
}

/* --- config --- */

static nt_status load_config(nt_session *session)
{
    const char *path = session->config_path = session->args.word[0];
    NT_TRY(nt_config_load(&session->config, path, session->args.override, session->args.n_overrides,
                          nt_all_sections));
    NT_TRY(nt_config_text(session->config, &session->config_text));
    session->run = nt_config_section(session->config, &nt_run_section);
    session->data = nt_config_section(session->config, &nt_data_section);
    session->optim = nt_config_section(session->config, &nt_optim_section);
    session->average = nt_config_section(session->config, &nt_average_section);
    session->checkpoint = nt_config_section(session->config, &nt_checkpoint_section);
    NT_TRY(nt_run_name(session->config, path, session->name, sizeof session->name));
    NT_TRY(nt_run_output(session->config, path, session->output, sizeof session->output));
    return NT_OK;
}

nt_status nt_session_configure(nt_session *session)
{
    NT_TRY(nt_session_agree(session, load_config(session)));
    nt_status status =
        nt_comm_same(session->comm, session->config_text, strlen(session->config_text), "the configuration");
    session->agreed = status == NT_ERR_CONFIG;
    NT_TRY(status);
    NT_TRY(nt_watchdog_start(session->run->watchdog_s, session->exits.bark));
    return NT_OK;
}

/* --- data --- */

static nt_status open_parts(nt_session *session, bool valid)
{
    uint64_t seed = (uint64_t)session->run->seed;
    NT_TRY(nt_dataset_open(&session->train, session->data, NT_SPLIT_TRAIN, seed));
    if (valid) NT_TRY(nt_dataset_open(&session->valid, session->data, NT_SPLIT_VALID, seed));
    if (session->valid) NT_TRY(nt_dataset_conform(session->valid, &session->train->spec));
    return NT_OK;
}

/* The parts that a command wants, and what is made of their samples. */
static nt_status open_and_prepare(nt_session *session, bool valid, const char *checkpoint, bool for_use)
{
    NT_TRY(nt_session_agree(session, open_parts(session, valid)));
    NT_TRY(nt_session_featurise(session, checkpoint, for_use));
    return nt_session_agree(session, nt_augment_create(&session->augment, session->config,
                                                       &session->train->spec, (uint64_t)session->run->seed));
}

static int64_t n_pieces(const nt_session *session)
{
    return session->run->accumulate > 0 ? session->run->accumulate : 1;
}

static nt_status make_train_feed(nt_session *session)
{
    const nt_data_options *data = session->data;
    nt_feed_options options = {.batch = data->batch,
                               .shuffle = data->shuffle,
                               .drop_last = data->drop_last,
                               .seed = (uint64_t)session->run->seed,
                               .n_pieces = n_pieces(session),
                               .joint = session->run->sync_batchnorm,
                               .depth = (int)data->prefetch,
                               .augment = session->augment,
                               .training = true};
    NT_TRY(nt_feed_create(&session->train_feed, session->train, session->comm, &options));
    return NT_OK;
}

static nt_status make_eval_feed(nt_session *session, nt_dataset *dataset)
{
    const nt_data_options *data = session->data;
    nt_feed_options options = {.batch = data->eval_batch > 0 ? data->eval_batch : data->batch,
                               .n_pieces = n_pieces(session),
                               .depth = (int)data->prefetch,
                               .augment = session->augment};
    NT_TRY(nt_feed_create(&session->valid_feed, dataset, session->comm, &options));
    return NT_OK;
}

/* What tells one set of data from another: its form, and the samples at its ends and in the middle. */
typedef struct fingerprint {
    int64_t n_samples, n_classes, n_labels, n_values, x[8], x_dtype, target;
    uint64_t rows[3];
} fingerprint;

static nt_status hash_row(nt_dataset *ds, int64_t row, uint64_t *hash)
{
    const size_t x_bytes = nt_dataset_x_bytes(ds), target_bytes = nt_dataset_target_bytes(ds);
    const size_t target_at = (x_bytes + 7) / 8 * 8; /* aligned: samples of bytes may end anywhere */
    char *values = calloc(1, target_at + target_bytes + 1);
    NT_CHECK_ALLOC(values, target_at + target_bytes);
    nt_status status = nt_dataset_read(ds, &row, 1, values, target_bytes > 0 ? values + target_at : NULL);
    *hash = XXH3_64bits(values, target_at + target_bytes);
    free(values);
    NT_TRY(status);
    return NT_OK;
}

static nt_status take_fingerprint(nt_dataset *ds, fingerprint *f)
{
    const nt_sample_spec *spec = &ds->spec;
    const int64_t last = ds->n_samples - 1, row[3] = {0, last / 2, last};
    *f = (fingerprint){.n_samples = ds->n_samples,
                       .n_classes = spec->n_classes,
                       .n_labels = spec->n_labels,
                       .n_values = spec->n_values,
                       .x_dtype = spec->x_dtype,
                       .target = spec->target};
    for (int i = 0; i < spec->x.n_dims && i < 8; i++)
        f->x[i] = spec->x.dim[i];
    for (int i = 0; i < 3; i++)
        NT_TRY(hash_row(ds, row[i], &f->rows[i]));
    return NT_OK;
}

/* Every rank opens the files by itself, and a host may see others: a stale cache, another mount. */
static nt_status check_same_data(nt_session *session, nt_dataset *ds, const char *what)
{
    fingerprint mine = {0}; /* of a part that this rank does not find; another may */
    if (session->comm->size == 1) return NT_OK;
    NT_TRY(nt_session_agree(session, ds ? take_fingerprint(ds, &mine) : NT_OK));
    nt_status status = nt_comm_same(session->comm, &mine, sizeof mine, what);
    session->agreed = status == NT_ERR_CONFIG;
    return status;
}

static nt_status check_all_see_the_same(nt_session *session)
{
    NT_TRY(check_same_data(session, session->train, "the training data (data.file)"));
    NT_TRY(check_same_data(session, session->valid, "the validation data (data.file, data.valid_file)"));
    return NT_OK;
}

/* The root mean square of the target values of samples all over the set. */
static nt_status measure_targets(nt_dataset *ds, double *size)
{
    enum { LOOKED_AT = 64 };
    const int64_t n = ds->n_samples < LOOKED_AT ? ds->n_samples : LOOKED_AT;
    const size_t x_bytes = nt_dataset_x_bytes(ds), target_at = (x_bytes + 7) / 8 * 8;
    const size_t n_bytes = target_at + nt_dataset_target_bytes(ds);
    double squares = 0;
    char *values = malloc(n_bytes);
    NT_CHECK_ALLOC(values, n_bytes);
    const float *target = (const float *)(values + target_at);
    nt_status status = NT_OK;
    for (int64_t i = 0; i < n && status == NT_OK; i++) {
        const int64_t row = i * (ds->n_samples / n);
        status = nt_dataset_read(ds, &row, 1, values, values + target_at);
        for (int64_t k = 0; status == NT_OK && k < ds->spec.n_values; k++)
            squares += (double)target[k] * (double)target[k];
    }
    free(values);
    *size = sqrt(squares / (double)(n * ds->spec.n_values));
    NT_TRY(status);
    return NT_OK;
}

/* Losses of values are as large as the values, and a net begins near 0: with targets of a hundred thousand,
 * as prices are, nothing seems to happen. */
static nt_status hint_at_large_targets(nt_dataset *train)
{
    enum { LARGE = 100 };
    double size = 0;
    if (train->spec.target != NT_TARGET_VALUE) return NT_OK;
    NT_TRY(measure_targets(train, &size));
    if (size > LARGE)
        nt_warn("the target values are about %.2g in size, and a net learns best what is about 1: scale them "
                "before they are imported",
                size);
    return NT_OK;
}

nt_status nt_session_hint_at_data(nt_session *session)
{
    return nt_session_agree(session,
                            nt_session_is_root(session) ? hint_at_large_targets(session->train) : NT_OK);
}

nt_status nt_session_open_data(nt_session *session, bool valid)
{
    nt_phase_enter("data");
    nt_fault_point("run.data_open");
    NT_TRY(open_and_prepare(session, valid, NULL, false));
    nt_status status = make_train_feed(session);
    if (status == NT_OK && session->valid) status = make_eval_feed(session, session->valid);
    NT_TRY(nt_session_agree(session, status));
    NT_TRY(check_all_see_the_same(session));
    return NT_OK;
}

nt_status nt_session_open_for_eval(nt_session *session, bool valid, const char *checkpoint)
{
    nt_phase_enter("data");
    NT_TRY(open_and_prepare(session, valid, checkpoint, true));
    nt_status status = make_eval_feed(session, session->valid ? session->valid : session->train);
    NT_TRY(nt_session_agree(session, status));
    NT_TRY(check_all_see_the_same(session));
    return NT_OK;
}

/* --- model and backend --- */

nt_status nt_session_open_model(nt_session *session)
{
    NT_BUG_UNLESS(session->train, "a model was asked for before the data were opened");
    return nt_session_agree(
        session, nt_model_create(&session->model, session->config, nt_augment_spec(session->augment)));
}

static nt_status make_backend(nt_session *session, const char *device)
{
    const nt_run_options *run = session->run;
    nt_backend_options options = {.threads = nt_topology_threads(session->comm, (int)run->threads),
                                  .device = session->comm->local_rank,
                                  .precision = (nt_precision)run->precision,
                                  .graph = run->cuda_graph != NT_CUDA_GRAPH_NO,
                                  .graph_or_fail = run->cuda_graph == NT_CUDA_GRAPH_YES,
                                  .debug_sync = run->debug_sync};
    if (run->pin) NT_TRY(nt_topology_pin(session->comm, options.threads));
    NT_TRY(nt_backend_create(&session->backend, device, &options));
    return NT_OK;
}

/* The gradient plane for the backend, which must be of one kind on all ranks: `auto` looks at each host. */
static nt_status attach(nt_session *session)
{
    const char *name = session->backend->ops->name;
    session->comm->bf16_wire = session->run->wire == NT_WIRE_BF16;
    session->comm->checks = session->run->debug_sync;
    session->comm->patience_s = session->run->watchdog_s;
    nt_phase_wait("start of the collectives");
    nt_status status =
        nt_comm_same(session->comm, name, strlen(name), "the device that run.device = auto found");
    if (status == NT_OK) status = nt_comm_attach(session->comm, session->backend);
    session->agreed = status != NT_OK && !session->comm->unreachable;
    nt_phase_enter("set-up");
    NT_TRY(status);
    return NT_OK;
}

nt_status nt_session_open_backend(nt_session *session)
{
    NT_TRY(nt_session_agree(session, make_backend(session, nt_run_devices[session->run->device])));
    NT_TRY(attach(session));
    return NT_OK;
}

nt_status nt_session_open_backend_or_cpu(nt_session *session)
{
    if (nt_session_open_backend(session) == NT_OK) return NT_OK;
    if (nt_session_is_root(session)) nt_warn("%s; planning for the cpu backend", nt_error_last()->message);
    nt_error_clear();
    session->agreed = false;
    nt_backend_destroy(session->backend);
    session->backend = NULL;
    NT_TRY(nt_session_agree(session, make_backend(session, "cpu")));
    NT_TRY(attach(session));
    return NT_OK;
}

/* --- the net --- */

static nt_status make_net(nt_session *session, bool for_training, bool may_time, const char *tuning_text)
{
    NT_TRY(nt_tuning_create(&session->tuning, may_time));
    if (tuning_text) NT_TRY(nt_tuning_parse(session->tuning, tuning_text));
    const int n_ranks = session->planned_ranks > 0 ? session->planned_ranks : session->comm->size;
    nt_net_options options = {.seed = (uint64_t)session->run->seed,
                              .n_shards = session->run->zero > 0 && for_training ? n_ranks : 1,
                              .tuning = session->tuning,
                              .optim = for_training ? session->optim : NULL,
                              .average = for_training ? session->average : NULL};
    NT_TRY(nt_net_create(&session->net, session->model, session->backend, &options));
    if (for_training) NT_TRY(nt_feed_want(session->train_feed, session->net, NT_MODE_TRAIN));
    if (session->valid_feed) NT_TRY(nt_feed_want(session->valid_feed, session->net, NT_MODE_EVAL));
    NT_TRY(nt_net_build(session->net));
    return NT_OK;
}

/* Rank 0's choices to everyone, as malloc'ed text. */
static nt_status share_tuning(nt_session *session, char **text)
{
    int64_t n_bytes = 0;
    if (session->comm->rank == 0) {
        NT_TRY(nt_tuning_text(session->tuning, text));
        n_bytes = (int64_t)strlen(*text) + 1;
    }
    NT_TRY(nt_comm_host_broadcast(session->comm, &n_bytes, sizeof n_bytes, 0));
    if (session->comm->rank != 0) *text = malloc((size_t)n_bytes);
    NT_CHECK_ALLOC(*text, n_bytes);
    NT_TRY(nt_comm_host_broadcast(session->comm, *text, (size_t)n_bytes, 0));
    return NT_OK;
}

/* What a rank's flat arenas look like: equal on all ranks, or the gradients of different weights would be
 * added. */
static nt_status check_same_slots(nt_session *session)
{
    int n = nt_net_n_slots(session->net);
    int64_t *place = calloc((size_t)n + 1, 3 * sizeof *place);
    NT_CHECK_ALLOC(place, (size_t)n * 3 * sizeof *place);
    for (int i = 0; i < n; i++) {
        const nt_slot *slot = nt_net_get_slot(session->net, i);
        memcpy(&place[3 * i], (int64_t[]){slot->offset, slot->n_elems, (int64_t)slot->tensor.n_bytes},
               3 * sizeof *place);
    }
    nt_status status = nt_comm_same(session->comm, place, (size_t)n * 3 * sizeof *place,
                                    "the layout of parameters (are the hosts' processors of one kind?)");
    free(place);
    session->agreed = status == NT_ERR_CONFIG;
    return status;
}

nt_status nt_session_build(nt_session *session, bool for_training, const char *tuning_text)
{
    char *shared = NULL;
    bool first = session->comm->rank == 0;
    nt_phase_enter("compile");
    nt_status mine = first ? make_net(session, for_training, session->run->autotune, tuning_text) : NT_OK;
    NT_TRY(nt_session_agree(session, mine));
    NT_TRY(share_tuning(session, &shared));
    nt_phase_enter("compile");
    mine = first ? NT_OK : make_net(session, for_training, false, shared);
    free(shared);
    NT_TRY(nt_session_agree(session, mine));
    NT_TRY(check_same_slots(session));
    return NT_OK;
}

void nt_session_end(nt_session *session)
{
    nt_feed_destroy(session->train_feed);
    nt_feed_destroy(session->valid_feed);
    if (session->comm)
        nt_comm_detach(session->comm); /* first: freeing memory waits for collectives under way */
    nt_net_destroy(session->net);
    if (session->tuning) nt_tuning_destroy(session->tuning);
    nt_backend_destroy(session->backend);
    if (session->model) nt_model_destroy(session->model);
    nt_augment_destroy(session->augment);
    if (session->train) nt_dataset_close(session->train);
    if (session->valid) nt_dataset_close(session->valid);
    free(session->config_text);
    nt_features_destroy(session->features);
    free(session->features_text);
    free(session->newest);
    if (session->config) nt_config_destroy(session->config);
    nt_watchdog_stop();
    nt_args_free(&session->args);
    if (session->comm) nt_comm_destroy(session->comm);
    *session = (nt_session){0};
}
