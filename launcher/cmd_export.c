/* nntrain export: a trained model for other programs. The output's suffix says what: .safetensors, weights
 * and running statistics under the names of PyTorch's state dicts; .onnx, the graph with them, for inference.
 * Rank 0 writes; the file is whole or absent. */
#include "launcher/command.h"
#include "launcher/resume.h"

#include "core/file.h"
#include "core/log.h"
#include "core/onnx.h"
#include "core/phase.h"
#include "core/weights.h"

#include <stdio.h>
#include <string.h>

#define USAGE                                                                                                \
    "nntrain export cfg.ini out.safetensors|out.onnx [section.key=value ...] [--checkpoint file.h5] "        \
    "[--force]"

/* A format: how files of it end, and what writes one. */
typedef struct format {
    const char *suffix;
    nt_status (*write)(nt_net *net, const char *path);
} format;

static const format formats[] = {{".safetensors", nt_weights_save}, {".onnx", nt_onnx_save}};

static nt_status find_format(const char *path, const format **out)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < NT_N_ELEMS(formats); i++) {
        size_t end = strlen(formats[i].suffix);
        *out = &formats[i];
        if (n > end && strcmp(path + n - end, formats[i].suffix) == 0) return NT_OK;
    }
    NT_FAIL(NT_ERR_USAGE, "'%s': the output must end in .safetensors or .onnx", path);
}

static nt_status write_output(const nt_session *s, const format *to, const char *path, const nt_resume *used)
{
    if (!nt_session_is_root(s)) return NT_OK;
    nt_phase_enter("export");
    if (s->features)
        nt_warn(
            "the features (data.features, data.one_hot) are no part of the exported model: its input are the "
            "columns that they make");
    NT_TRY(to->write(s->net, path));
    printf("%s: %lld parameters of %s (%s)\n", path, (long long)nt_model_n_params(s->model), used->path,
           used->weights ? "raw" : nt_weights_names[s->average->weights]);
    return NT_OK;
}

static nt_status export(nt_session *s, const char *checkpoint, bool force, nt_resume *used)
{
    const format *to = NULL;
    const char *path = s->args.word[1];
    NT_TRY(nt_session_agree(s, find_format(path, &to)));
    NT_TRY(nt_session_agree(s, nt_session_is_root(s) ? nt_file_check_output(path, NULL, force) : NT_OK));
    NT_TRY(nt_session_configure(s));
    NT_TRY(nt_session_open_for_eval(s, true, checkpoint)); /* the data say what a sample looks like */
    NT_TRY(nt_session_open_model(s));
    NT_TRY(nt_session_open_backend_or_cpu(s));
    NT_TRY(nt_resume_find_for_use(s, checkpoint, used));
    NT_TRY(nt_session_build(s, false, used->tuning_text));
    NT_TRY(nt_resume_load(s, used, NULL));
    NT_TRY(nt_session_agree(s, write_output(s, to, path, used)));
    return NT_OK;
}

static nt_status export_run(nt_session *session, int argc, char **argv)
{
    const char *checkpoint = NULL;
    bool force = false;
    const nt_flag flags[] = {
        {"checkpoint", NT_FLAG_STRING, &checkpoint, "default: the newest of the run folder"},
        {"force", NT_FLAG_BOOL, &force, "replace the output"}};
    nt_resume used = {0};
    const nt_syntax syntax = {USAGE, 2, 2, true, flags, NT_N_ELEMS(flags)};
    NT_TRY(nt_session_begin(session, argc, argv, &syntax));
    nt_status status = export(session, checkpoint, force, &used);
    nt_resume_free(&used);
    NT_TRY(status);
    return NT_OK;
}

const nt_command nt_cmd_export = {
    .name = "export",
    .usage = USAGE,
    .help = "a trained model for other programs: safetensors, ONNX",
    .run = export_run,
};
