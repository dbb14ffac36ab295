/* A net from the text of a config, for tests that take steps with it. */
#ifndef NT_TESTS_UNIT_NET_JOB_H
#define NT_TESTS_UNIT_NET_JOB_H

#include "core/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

typedef struct job {
    nt_config *config;
    nt_model *model;
    nt_backend *backend;
    nt_tuning *tuning;
    nt_net *net;
} job;

#define MUST(expr)                                                                                           \
    do {                                                                                                     \
        if ((expr) != NT_OK) fail_msg("%s", nt_error_last()->message);                                       \
    } while (0)

/* Config and model alone. */
static inline nt_status job_make_model_of(job *j, const char *text, const nt_sample_spec *spec)
{
    static const nt_section *const sections[] = {&nt_model_section, &nt_loss_section, &nt_optim_section,
                                                 NULL};
    *j = (job){0};
    NT_TRY(nt_config_parse(&j->config, "c.ini", text, strlen(text), NULL, 0, sections));
    NT_TRY(nt_model_create(&j->model, j->config, spec));
    return NT_OK;
}

/* The same for float samples of shape x and n_classes. */
static inline nt_status job_make_model(job *j, const char *text, nt_shape x, int64_t n_classes)
{
    const nt_sample_spec spec = {
        .x_dtype = NT_F32, .x = x, .target = NT_TARGET_CLASS, .n_classes = n_classes, .input = {.scale = 1}};
    NT_TRY(job_make_model_of(j, text, &spec));
    return NT_OK;
}

/* The net of a job that has its model, ready to train with batches of n and to be evaluated on them. */
static inline void job_build(job *j, const char *backend, int64_t n)
{
    const nt_backend_options options = {.threads = 1};
    MUST(nt_backend_create(&j->backend, backend, &options));
    MUST(nt_tuning_create(&j->tuning, false));
    const nt_net_options net_options = {
        .seed = 3, .tuning = j->tuning, .optim = nt_config_section(j->config, &nt_optim_section)};
    MUST(nt_net_create(&j->net, j->model, j->backend, &net_options));
    MUST(nt_net_want(j->net, NT_MODE_TRAIN, n));
    MUST(nt_net_want(j->net, NT_MODE_EVAL, n));
    MUST(nt_net_build(j->net));
}

static inline void job_close(job *j)
{
    nt_net_destroy(j->net);
    if (j->tuning) nt_tuning_destroy(j->tuning);
    nt_backend_destroy(j->backend);
    nt_model_destroy(j->model);
    if (j->config) nt_config_destroy(j->config);
}

#endif
