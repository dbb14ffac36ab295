/* A summary is a list of lines with a way to say them, so that log and terminal show the same. */
#include "launcher/summary.h"

#include <stdarg.h>
#include <stdio.h>

typedef void (*line_fn)(const char *text);

static void NT_PRINTF(2) say(line_fn line, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    line(text);
}

/* "12.3 MiB" */
static const char *size_text(char text[32], double n_bytes)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int i = 0;
    for (; n_bytes >= 1024 && i < 4; i++)
        n_bytes /= 1024;
    snprintf(text, 32, i == 0 ? "%.0f %s" : "%.1f %s", n_bytes, unit[i]);
    return text;
}

/* "1.2 M" */
static const char *count_text(char text[32], double count)
{
    static const char *const unit[] = {"", " k", " M", " G", " T"};
    int i = 0;
    for (; count >= 1000 && i < 4; i++)
        count /= 1000;
    snprintf(text, 32, i == 0 ? "%.0f%s" : "%.2f%s", count, unit[i]);
    return text;
}

static void say_data(const nt_session *s, line_fn line)
{
    char text[512];
    nt_dataset_describe(s->train, text, sizeof text);
    say(line, "train: %s", text);
    if (s->valid) nt_dataset_describe(s->valid, text, sizeof text);
    say(line, "valid: %s", s->valid ? text : "none");
    nt_augment_describe(s->augment, text, sizeof text);
    if (*text) say(line, "augment: %s", text);
}

static void say_memory(const nt_session *s, line_fn line)
{
    char planned[32], naive[32], params[32], grads[32], state[32], scratch[32];
    nt_net_memory memory = nt_net_get_memory(s->net);
    char shards[128] = "", whole[32], saved[32];
    int n = nt_net_n_shards(s->net);
    if (n > 1)
        snprintf(shards, sizeof shards, " (1 of %d shards of %s: %s saved)", n,
                 size_text(whole, (double)memory.state_whole),
                 size_text(saved, (double)(memory.state_whole - memory.state)));
    say(line,
        "memory a rank: activations %s (%s without reuse), parameters %s, gradients %s, optimizer %s%s, "
        "scratch %s",
        size_text(planned, (double)memory.activations), size_text(naive, (double)memory.activations_naive),
        size_text(params, (double)memory.params), size_text(grads, (double)memory.grads),
        size_text(state, (double)memory.state), shards, size_text(scratch, (double)memory.scratch));
}

static void say_buckets(const nt_session *s, const nt_buckets *buckets, line_fn line)
{
    double least = 1e30, most = 0;
    char a[32], b[32];
    int n = nt_buckets_count(buckets);
    size_t real_bytes = nt_dtype_bytes(s->backend->ops->real);
    for (int i = 0; i < n; i++) {
        int64_t begin, end;
        nt_buckets_range(buckets, i, &begin, &end);
        double n_bytes = (double)(end - begin) * (double)real_bytes;
        if (n_bytes < least) least = n_bytes;
        if (n_bytes > most) most = n_bytes;
    }
    if (n > 0) say(line, "gradient buckets: %d of %s to %s", n, size_text(a, least), size_text(b, most));
}

void nt_summary(const nt_session *s, const nt_buckets *buckets, line_fn line)
{
    char params[32], flops[32];
    const int64_t batches = s->train_feed ? nt_feed_batches(s->train_feed) : 0;
    say(line, "nntrain %s: run %s in %s, configuration %016llx", NNTRAIN_VERSION, s->name, s->output,
        (unsigned long long)nt_config_hash(s->config));
    say(line, "%d %s of %d on %s: backend %s, %d %s each, seed %lld", s->comm->size,
        s->comm->size == 1 ? "rank" : "ranks", s->comm->local_size, s->comm->host, s->backend->ops->name,
        s->backend->options.threads, s->backend->options.threads == 1 ? "thread" : "threads",
        (long long)s->run->seed);
    say_data(s, line);
    say(line, "batches: %lld of %lld samples an epoch", (long long)batches, (long long)s->data->batch);
    say(line, "model: %d nodes, %s parameters, %s operations forward a sample", s->model->n_layers,
        count_text(params, (double)nt_model_n_params(s->model)),
        count_text(flops, (double)nt_model_flops(s->model)));
    say_memory(s, line);
    if (buckets) say_buckets(s, buckets, line);
}
