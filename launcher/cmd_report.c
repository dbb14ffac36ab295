/* nntrain report: one HTML file about a run, which opens anywhere.
 *
 * Curves and times come from the run folder's metrics; the rest from an evaluation of a checkpoint with the
 * run's own configuration. Where that cannot be done (the data are elsewhere, there is no checkpoint), the
 * page holds the curves and says why there is no more. */
#include "launcher/command.h"
#include "launcher/examine.h"
#include "launcher/history.h"
#include "launcher/page.h"
#include "launcher/resume.h"

#include "core/fault.h"
#include "core/file.h"
#include "core/log.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define USAGE                                                                                                \
    "nntrain report RUN_FOLDER [section.key=value ...] [--output file.html] [--checkpoint file.h5] "         \
    "[--force]"

typedef struct report {
    nt_session *session;
    const char *output, *checkpoint;
    bool force;
    char folder[PATH_MAX], config[PATH_MAX], path[PATH_MAX]; /* path: of the page */
    char name[NAME_MAX + 1];                                 /* the folder's */
    nt_history history;                                      /* rank 0 */
    nt_resume used;
    nt_loss_sum sum; /* n = 0: nothing was evaluated */
    nt_clusters clusters;
    nt_examination *examination;          /* NULL: none */
    char why_not[NT_ERROR_MESSAGE_BYTES]; /* why nothing was evaluated */
} report;

/* --- what to look at --- */

/* The last part of the run folder's path, wherever it is given from. */
static nt_status find_name(report *r)
{
    char *whole = realpath(r->folder, NULL);
    NT_CHECK(whole, NT_ERR_NO_INPUT, "cannot look into '%s': %s", r->folder, strerror(errno));
    snprintf(r->name, sizeof r->name, "%s", strrchr(whole, '/') + 1);
    free(whole);
    return NT_OK;
}

static nt_status find_paths(report *r)
{
    struct stat info;
    snprintf(r->folder, sizeof r->folder, "%s", r->session->args.word[0]);
    NT_CHECK(stat(r->folder, &info) == 0, NT_ERR_NO_INPUT, "cannot look into '%s': %s", r->folder,
             strerror(errno));
    NT_CHECK(S_ISDIR(info.st_mode), NT_ERR_USAGE,
             "'%s' is not a folder: report wants the folder of a run, such as runs/digits", r->folder);
    NT_TRY(find_name(r));
    int n = snprintf(r->config, sizeof r->config, "%s/config.ini", r->folder);
    int m = r->output ? snprintf(r->path, sizeof r->path, "%s", r->output)
                      : snprintf(r->path, sizeof r->path, "%s/report.html", r->folder);
    NT_CHECK(n < PATH_MAX && m < PATH_MAX, NT_ERR_USAGE, "the path of the run folder is too long");
    NT_CHECK(stat(r->config, &info) == 0, NT_ERR_NO_INPUT,
             "'%s' does not exist: '%s' is not the folder of a run", r->config, r->folder);
    NT_TRY(nt_file_check_output(r->path, r->config, !r->output || r->force));
    return NT_OK;
}

/* --- evaluation --- */

static nt_status examine(report *r)
{
    nt_session *s = r->session;
    nt_evaluator evaluator = {.net = s->net,
                              .comm = s->comm,
                              .feed = s->valid_feed,
                              .seed = (uint64_t)s->run->seed,
                              .clusters = nt_model_answers(s->model) > 1 ? &r->clusters : NULL,
                              .agreed = &s->agreed};
    if (nt_examination_fits(s->model)) {
        NT_TRY(nt_session_agree(
            s, nt_examination_create(&r->examination, s->model, s->valid_feed->dataset->n_samples, s->comm)));
        evaluator.each = nt_examine;
        evaluator.arg = r->examination;
    }
    nt_loss_sum sum;
    NT_TRY(nt_evaluate(&evaluator, &sum));
    if (r->examination) NT_TRY(nt_examination_gather(r->examination, s->comm));
    r->sum = sum;
    return NT_OK;
}

static nt_status evaluate(report *r)
{
    nt_session *s = r->session;
    NT_TRY(nt_session_open_for_eval(s, true, r->checkpoint));
    NT_TRY(nt_session_open_model(s));
    NT_TRY(nt_session_open_backend_or_cpu(s));
    NT_TRY(nt_resume_find_for_use(s, r->checkpoint, &r->used));
    NT_TRY(nt_session_build(s, false, r->used.tuning_text));
    NT_TRY(nt_resume_load(s, &r->used, NULL));
    NT_TRY(examine(r));
    return NT_OK;
}

/* An error that all ranks know of costs that part of the page only. */
static nt_status evaluate_if_possible(report *r)
{
    nt_status status = evaluate(r);
    if (status == NT_OK || !r->session->agreed) return status;
    snprintf(r->why_not, sizeof r->why_not, "%s", nt_error_last()->message);
    if (nt_session_is_root(r->session)) nt_warn("%s; the report has curves only", r->why_not);
    nt_error_clear();
    r->session->agreed = false;
    return NT_OK;
}

/* --- the page --- */

static void put_curves(const report *r, FILE *out, const char *title, int value, const char *const splits[3])
{
    nt_curve curves[3];
    double *x[3] = {NULL}, *y;
    int n = 0;
    for (int i = 0; i < 3 && splits[i]; i++, n++) {
        curves[i] = (nt_curve){.name = splits[i]};
        if (nt_history_curve(&r->history, splits[i], value, &x[i], &y, &curves[i].n) != NT_OK) {
            nt_error_clear(); /* no memory for a chart: the page goes without it */
            continue;
        }
        curves[i].x = x[i];
        curves[i].y = y;
    }
    nt_page_chart(out, title, "step", curves, n);
    for (int i = 0; i < n; i++)
        free(x[i]);
}

static void put_charts(const report *r, FILE *out)
{
    static const char *const all[3] = {"train", "epoch", "valid"}, *const train[3] = {"train"};
    fprintf(out, "<h2>Curves</h2><div class=\"charts\">\n");
    put_curves(r, out, "Loss", NT_HISTORY_LOSS, all);
    put_curves(r, out, "Accuracy", NT_HISTORY_ACCURACY, all);
    put_curves(r, out, "Perplexity", NT_HISTORY_PERPLEXITY, all);
    put_curves(r, out, "Learning rate", NT_HISTORY_LR, train);
    put_curves(r, out, "Norm of the gradient", NT_HISTORY_GRAD_NORM, train);
    put_curves(r, out, "Samples a second", NT_HISTORY_SAMPLES_PER_S, train);
    fprintf(out, "</div>\n");
    if (r->history.n_rows == 0) fprintf(out, "<p class=\"note\">The run has written no metrics yet.</p>\n");
    if (r->history.n_bad_lines > 0)
        fprintf(out, "<p class=\"note\">%lld lines of the metrics could not be read.</p>\n",
                (long long)r->history.n_bad_lines);
}

static void put_row(FILE *out, const char *name, const char *text)
{
    fprintf(out, "<tr><td class=\"t\">%s</td><td class=\"t\">", name);
    nt_page_text(out, text);
    fprintf(out, "</td></tr>\n");
}

/* The last row of a split, or the one of smallest loss; NULL if there is none. */
static const nt_history_row *find_row(const nt_history *history, const char *split, bool best)
{
    const nt_history_row *found = NULL;
    for (int64_t i = 0; i < history->n_rows; i++) {
        const nt_history_row *row = &history->row[i];
        double loss = row->value[NT_HISTORY_LOSS];
        if (strcmp(row->split, split) != 0 || isnan(loss)) continue;
        if (!found || !best || loss < found->value[NT_HISTORY_LOSS]) found = row;
    }
    return found;
}

static void put_loss_row(FILE *out, const char *name, const nt_history_row *row)
{
    char text[128];
    if (!row) return;
    snprintf(text, sizeof text, "%.6g at step %lld (epoch %lld)", row->value[NT_HISTORY_LOSS],
             (long long)row->step, (long long)row->epoch);
    put_row(out, name, text);
}

static void put_summary(const report *r, FILE *out)
{
    const nt_session *s = r->session;
    char text[PATH_MAX + 64];
    fprintf(out, "<h1>");
    nt_page_text(out, r->name);
    fprintf(out, "</h1><p class=\"note\">Training run, reported by nntrain %s</p><table>\n", NNTRAIN_VERSION);
    put_row(out, "Run folder", r->folder);
    put_loss_row(out, "Training loss, last epoch", find_row(&r->history, "epoch", false));
    put_loss_row(out, "Validation loss, last", find_row(&r->history, "valid", false));
    put_loss_row(out, "Validation loss, best", find_row(&r->history, "valid", true));
    if (s->model) {
        snprintf(text, sizeof text, "%lld parameters, %lld operations forward a sample",
                 (long long)nt_model_n_params(s->model), (long long)nt_model_flops(s->model));
        put_row(out, "Model", text);
    }
    if (s->train) {
        nt_dataset_describe(s->train, text, sizeof text);
        put_row(out, "Training data", text);
    }
    fprintf(out, "</table>\n");
}

static const char *class_text(const nt_dataset *dataset, int64_t index, char text[128])
{
    if (dataset->class_names && index < dataset->spec.n_classes)
        snprintf(text, 128, "%s", dataset->class_names[index]);
    else
        snprintf(text, 128, "%lld", (long long)index);
    return text;
}

static void put_class_scores(const nt_confusion *confusion, const nt_dataset *dataset, FILE *out)
{
    char name[128];
    fprintf(out, "<h3>Scores of the classes</h3><table><tr><th class=\"t\">class</th><th>samples</th>"
                 "<th>precision</th><th>recall</th></tr>\n");
    for (int64_t i = 0; i < confusion->n_classes; i++) {
        nt_class_score score = nt_confusion_score(confusion, i);
        fprintf(out, "<tr><td class=\"t\">");
        nt_page_text(out, class_text(dataset, i, name));
        fprintf(out, "</td><td>%lld</td><td>%.4f</td><td>%.4f</td></tr>\n", (long long)score.n,
                score.precision, score.recall);
    }
    fprintf(out, "</table>\n");
}

/* A cell is coloured by its share of its row, right ones blue and wrong ones red. */
static void put_cell(FILE *out, double count, double row_sum, bool right)
{
    double share = row_sum > 0 ? count / row_sum : 0;
    if (count == 0)
        fprintf(out, "<td></td>");
    else
        fprintf(out, "<td style=\"background:rgba(%s,%.3f)\">%.0f</td>", right ? "31,119,180" : "214,39,40",
                right ? 0.6 * share : fmin(0.1 + 2 * share, 0.9), count);
}

static void put_matrix(const nt_confusion *confusion, const nt_dataset *dataset, FILE *out)
{
    const int64_t k = confusion->n_classes;
    char name[128];
    fprintf(out,
            "<h3>Confusion (rows: truth, columns: prediction)</h3><table class=\"matrix\"><tr><td></td>");
    for (int64_t i = 0; i < k; i++) {
        fprintf(out, "<th>");
        nt_page_text(out, class_text(dataset, i, name));
        fprintf(out, "</th>");
    }
    for (int64_t i = 0; i < k; i++) {
        double sum = 0;
        for (int64_t j = 0; j < k; j++)
            sum += confusion->count[i * k + j];
        fprintf(out, "</tr>\n<tr><th class=\"t\">");
        nt_page_text(out, class_text(dataset, i, name));
        fprintf(out, "</th>");
        for (int64_t j = 0; j < k; j++)
            put_cell(out, confusion->count[i * k + j], sum, i == j);
    }
    fprintf(out, "</tr></table>\n");
}

static void put_evaluation(const report *r, FILE *out)
{
    const nt_session *s = r->session;
    const nt_examination *e = r->examination;
    const nt_loss_sum *sum = &r->sum;
    char text[512];
    nt_dataset_describe(s->valid_feed->dataset, text, sizeof text);
    fprintf(out, "<h2>Evaluation</h2><table>\n");
    put_row(out, "Checkpoint", r->used.path);
    put_row(out, "Data", text);
    snprintf(text, sizeof text, "%.6f, standard deviation over samples %.6f", sum->loss / (double)sum->n,
             nt_spread(sum->loss, sum->loss_squared, sum->n));
    put_row(out, "Loss", text);
    nt_accuracy_describe(text, sizeof text, s->model, sum, &r->clusters);
    if (!isnan(nt_accuracy(sum))) put_row(out, "Accuracy", text);
    snprintf(text, sizeof text, "%.4f", nt_perplexity(s->model, sum));
    if (!isnan(nt_perplexity(s->model, sum))) put_row(out, "Perplexity", text);
    fprintf(out, "</table>\n");
    if (!e || !e->confusion.count) return;
    if (e->n_outputs <= 50) put_matrix(&e->confusion, s->valid_feed->dataset, out);
    put_class_scores(&e->confusion, s->valid_feed->dataset, out);
}

/* --- the worst samples --- */

/* Bytes as they are; anything else, and bytes that use little of their range, from smallest to largest. */
static void to_bytes(uint8_t *pixel, const void *x, nt_dtype dtype, int64_t n)
{
    const uint8_t *byte = x;
    const float *value = x;
    float low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        float at = dtype == NT_U8 ? (float)byte[i] : value[i];
        low = fminf(low, at);
        high = fmaxf(high, at);
    }
    if (dtype == NT_U8 && high >= 64) {
        memcpy(pixel, byte, (size_t)n);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        float at = dtype == NT_U8 ? (float)byte[i] : value[i];
        pixel[i] = high > low ? (uint8_t)lrintf((at - low) / (high - low) * 255) : 0;
    }
}

/* The sample as a picture, if it is one: one or three channels, or the first of more. */
static nt_status put_sample(const nt_dataset *dataset, const void *x, FILE *out)
{
    const nt_shape shape = dataset->spec.x;
    if (shape.n_dims != 3 || (dataset->spec.x_dtype != NT_U8 && dataset->spec.x_dtype != NT_F32))
        return NT_OK;
    if (shape.dim[1] > 4096 || shape.dim[2] > 4096) return NT_OK;
    const int channels = shape.dim[0] == 3 ? 3 : 1;
    const int64_t n = channels * shape.dim[1] * shape.dim[2];
    uint8_t *pixel = malloc((size_t)n);
    NT_CHECK_ALLOC(pixel, (size_t)n);
    to_bytes(pixel, x, dataset->spec.x_dtype, n);
    nt_status status = nt_page_picture(out, pixel, channels, (int)shape.dim[1], (int)shape.dim[2]);
    free(pixel);
    NT_TRY(status);
    return NT_OK;
}

static void put_caption(const nt_examination *e, const nt_mistake *m, const nt_dataset *dataset,
                        const void *target, FILE *out)
{
    char name[128];
    fprintf(out, "<figcaption>#%lld: ", (long long)m->sample);
    if (e->classes) {
        nt_page_text(out, class_text(dataset, *(const int32_t *)target, name));
        if (e->softmax) fprintf(out, " (%.2g %%)", 100 * m->true_probability);
        fprintf(out, " taken for ");
        nt_page_text(out, class_text(dataset, (int64_t)m->class_, name));
        if (e->softmax) fprintf(out, " (%.3g %%)", 100 * m->probability);
        fprintf(out, "</figcaption>");
        return;
    }
    int64_t n = e->n_outputs < NT_WORST_VALUES ? e->n_outputs : NT_WORST_VALUES;
    for (int64_t i = 0; i < n; i++)
        fprintf(out, "%s%.3g for %.3g", i ? ", " : "", m->predicted[i], ((const float *)target)[i]);
    fprintf(out, "; error %.3g</figcaption>", m->error);
}

static nt_status read_and_draw(const report *r, const nt_mistake *m, void *x, void *target, FILE *out)
{
    nt_dataset *dataset = r->session->valid_feed->dataset;
    NT_CHECK(nt_fault_point("report.sample") == NT_FAULT_NONE, NT_ERR_DATA, "injected fault: report.sample");
    NT_TRY(nt_dataset_read(dataset, &m->sample, 1, x, target));
    NT_TRY(put_sample(dataset, x, out));
    put_caption(r->examination, m, dataset, target, out);
    return NT_OK;
}

/* A sample that cannot be shown costs its own picture, and the page says why. */
static void put_mistake(const report *r, const nt_mistake *m, void *x, void *target, FILE *out)
{
    fprintf(out, "<figure>");
    if (read_and_draw(r, m, x, target, out) != NT_OK) {
        const char *why = nt_error_last()->message;
        nt_warn("sample %lld is not shown: %s", (long long)m->sample, why);
        fprintf(out, "<figcaption>#%lld is not shown: ", (long long)m->sample);
        nt_page_text(out, why);
        fprintf(out, "</figcaption>");
        nt_error_clear();
    }
    fprintf(out, "</figure>\n");
}

static nt_status put_mistakes(const report *r, FILE *out)
{
    const nt_examination *e = r->examination;
    const nt_dataset *dataset = r->session->valid_feed->dataset;
    const size_t x_bytes = nt_dataset_x_bytes(dataset), target_bytes = nt_dataset_target_bytes(dataset);
    void *x = malloc(x_bytes), *target = malloc(target_bytes);
    const bool allocated = x && target;
    fprintf(out, "<h2>%s</h2><div class=\"pictures\">\n",
            e->classes ? "The worst mistakes" : "The samples furthest off");
    if (e->worst[0].sample < 0) fprintf(out, "<p>None: all samples are right.</p>");
    for (int i = 0; allocated && i < NT_WORST && e->worst[i].sample >= 0; i++)
        put_mistake(r, &e->worst[i], x, target, out);
    fprintf(out, "</div>\n");
    free(x);
    free(target);
    NT_CHECK(allocated, NT_ERR_UNAVAILABLE, "out of memory: could not get %zu bytes", x_bytes + target_bytes);
    return NT_OK;
}

/* Predicted against true first value. */
static nt_status put_scatter(const nt_examination *e, FILE *out)
{
    double *x = malloc(2 * NT_SCATTER * sizeof *x), *y = x + NT_SCATTER;
    NT_CHECK_ALLOC(x, 2 * NT_SCATTER * sizeof *x);
    const int64_t stride = (e->n_samples + NT_SCATTER - 1) / NT_SCATTER;
    int64_t n = 0;
    for (int64_t i = 0; i < (e->n_samples + stride - 1) / stride; i++) {
        x[n] = e->scatter[i][0];
        y[n] = e->scatter[i][1];
        n += isfinite(x[n]) && isfinite(y[n]);
    }
    nt_curve curve = {.name = "samples", .x = x, .y = y, .n = n, .dots = true};
    fprintf(out, "<div class=\"charts\">");
    nt_page_chart(out, "Predicted against true value (the first one)", "true", &curve, 1);
    fprintf(out, "</div>\n");
    free(x);
    return NT_OK;
}

static void put_times(const report *r, FILE *out)
{
    double sum = 0;
    for (int i = 0; i < r->history.n_times; i++)
        sum += r->history.time[i].seconds;
    if (!(sum > 0)) return;
    fprintf(out,
            "<h2>Where the time went</h2><p class=\"note\">Rank 0's main thread, %.1f s in all. On a GPU "
            "it only gives work to the device, and waits where results are read.</p><table>\n",
            sum);
    for (int i = 0; i < r->history.n_times; i++) {
        const nt_history_time *t = &r->history.time[i];
        if (t->seconds < 0.0005 * sum) continue;
        fprintf(out, "<tr><td class=\"t\">");
        nt_page_text(out, t->phase);
        fprintf(out,
                "</td><td>%.2f s</td><td>%.1f %%</td><td class=\"t\"><span class=\"bar\" "
                "style=\"width:%.0fpx\"></span></td></tr>\n",
                t->seconds, 100 * t->seconds / sum, 400 * t->seconds / sum);
    }
    fprintf(out, "</table>\n");
}

static nt_status put_page(const report *r, FILE *out)
{
    nt_page_begin(out, r->name);
    put_summary(r, out);
    put_charts(r, out);
    if (r->sum.n > 0) put_evaluation(r, out);
    if (r->examination && r->examination->scatter && r->sum.n > 0) NT_TRY(put_scatter(r->examination, out));
    if (r->examination && r->sum.n > 0) NT_TRY(put_mistakes(r, out));
    if (*r->why_not) {
        fprintf(out, "<h2>Evaluation</h2><p>Nothing was evaluated: ");
        nt_page_text(out, r->why_not);
        fprintf(out, "</p>\n");
    }
    put_times(r, out);
    fprintf(out, "<h2>Configuration</h2><pre>");
    nt_page_text(out, r->session->config_text);
    fprintf(out, "</pre>\n");
    nt_page_end(out);
    return NT_OK;
}

typedef struct page {
    char *text;
    size_t n_bytes;
} page;

static nt_status write_bytes(void *arg, int fd, const char *path)
{
    const page *p = arg;
    NT_CHECK(nt_file_write(fd, p->text, p->n_bytes), NT_ERR_IO, "cannot write '%s': %s", path,
             strerror(errno));
    return NT_OK;
}

static nt_status write_page(report *r)
{
    page p = {0};
    if (!nt_session_is_root(r->session)) return NT_OK;
    FILE *out = open_memstream(&p.text, &p.n_bytes);
    NT_CHECK_ALLOC(out, sizeof p);
    nt_status status = put_page(r, out);
    bool failed = ferror(out) != 0;
    failed |= fclose(out) != 0;
    if (status == NT_OK && !failed) status = nt_file_replace(r->path, write_bytes, &p);
    free(p.text);
    NT_TRY(status);
    NT_CHECK(!failed, NT_ERR_UNAVAILABLE, "out of memory while the report was put together");
    printf("report in %s\n", r->path);
    return NT_OK;
}

/* --- the command --- */

static nt_status load_history(report *r)
{
    if (!nt_session_is_root(r->session)) return NT_OK;
    return nt_history_load(&r->history, r->folder);
}

static nt_status make_report(report *r)
{
    nt_session *s = r->session;
    NT_TRY(nt_session_agree(s, find_paths(r)));
    s->args.word[0] = r->config;
    NT_TRY(nt_session_configure(s));
    snprintf(s->output, sizeof s->output, "%s", r->folder); /* wherever it was when it was made */
    NT_TRY(nt_session_agree(s, load_history(r)));
    NT_TRY(evaluate_if_possible(r));
    NT_TRY(nt_session_agree(s, write_page(r)));
    return NT_OK;
}

static nt_status report_run(nt_session *session, int argc, char **argv)
{
    report *r = calloc(1, sizeof *r);
    NT_CHECK_ALLOC(r, sizeof *r);
    r->session = session;
    const nt_flag flags[] = {
        {"output", NT_FLAG_STRING, &r->output, "the page; default: report.html in the run folder"},
        {"checkpoint", NT_FLAG_STRING, &r->checkpoint, "default: the newest of the run folder"},
        {"force", NT_FLAG_BOOL, &r->force, "replace the output"}};
    const nt_syntax syntax = {USAGE, 1, 1, true, flags, NT_N_ELEMS(flags)};
    nt_status status = nt_session_begin(session, argc, argv, &syntax);
    if (status == NT_OK) status = make_report(r);
    nt_history_free(&r->history);
    nt_resume_free(&r->used);
    nt_examination_destroy(r->examination);
    free(r);
    NT_TRY(status);
    return NT_OK;
}

const nt_command nt_cmd_report = {
    .name = "report",
    .usage = USAGE,
    .help = "one HTML file about a run: curves, confusion, the worst mistakes, times, configuration",
    .run = report_run,
};
