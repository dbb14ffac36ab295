/* Direct or Winograd: which is faster depends on the shape and the machine, so it is measured, once per shape
 * and pass, and kept in op->tuning under a name made of the shape without N. Layers of the same shape, other
 * batch sizes and evaluation take the choice over. */
#include "core/backends/cpu/op_conv2d.h"

#include "core/layers/conv2d.h"
#include "core/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The algorithms: tile of Winograd, 0 for direct; and their names in the tuning table. */
static const int tiles[] = {0, 6, 8};
static const char *const words[] = {"direct", "winograd6", "winograd8"};
enum { N_CHOICES = sizeof tiles / sizeof tiles[0] };

static const char *const pass_names[NT_CONV_PASSES] = {"fwd", "bwd_data", "bwd_weights"};

/* Whether x, y and the weights have these formats. */
static bool has_formats(const nt_op *op, const dnnl_format_tag_t tags[3])
{
    const nt_layout *layouts[3] = {op->x[0].layout, op->y.layout, op->param[0].layout};
    for (int i = 0; i < 3; i++)
        if (!layouts[i] || !nt_cpu_md_has_tag(layouts[i]->md, tags[i])) return false;
    return true;
}

bool nt_conv_can_winograd(const nt_op *op, nt_conv *c)
{
    const nt_conv2d_options *o = op->options;
    const int64_t *x = op->x[0].shape.dim;
    if (o->groups != 1 || o->kernel[0] != o->kernel[1]) return false;
    for (int a = 0; a < 2; a++)
        if (o->stride[a] != 1 || o->dilation[a] != 1 || o->pad_begin[a] != o->pad_end[a]) return false;
    c->winograd = (nt_winograd_shape){.n = x[0],
                                      .c = x[1],
                                      .h = x[2],
                                      .w = x[3],
                                      .k = o->filters,
                                      .kernel = o->kernel[0],
                                      .pad_h = o->pad_begin[0],
                                      .pad_w = o->pad_begin[1],
                                      .tile = 6};
    static const dnnl_format_tag_t blocks_of_16[3] = {dnnl_nChw16c, dnnl_nChw16c, dnnl_OIhw16i16o};
    static const dnnl_format_tag_t blocks_of_8[3] = {dnnl_nChw8c, dnnl_nChw8c, dnnl_OIhw8i8o};
    c->winograd.blocks_of_8 = has_formats(op, blocks_of_8);
    if (!c->winograd.blocks_of_8 && !has_formats(op, blocks_of_16)) return false;
    return nt_winograd_supported(&c->winograd);
}

static size_t scratch_of(const nt_conv *c, nt_conv_pass pass, int tile)
{
    static const nt_winograd_pass passes[NT_CONV_PASSES] = {NT_WINOGRAD_FORWARD, NT_WINOGRAD_BACKWARD_DATA,
                                                            NT_WINOGRAD_BACKWARD_WEIGHTS};
    if (tile == 0) return c->task[pass].scratch_bytes;
    nt_winograd_shape s = c->winograd;
    s.tile = tile;
    return nt_winograd_scratch_bytes(&s, passes[pass], c->threads);
}

size_t nt_conv_scratch(const nt_conv *c, nt_conv_pass pass)
{
    return scratch_of(c, pass, c->tile[pass]);
}

nt_status nt_conv_run(nt_op *op, nt_conv *c, nt_conv_pass pass, bool accumulate)
{
    nt_cpu *cpu = nt_cpu_of(op);
    if (c->tile[pass] == 0) return nt_cpu_task_run(cpu, &c->task[pass], accumulate);
    nt_winograd_shape s = c->winograd;
    s.tile = c->tile[pass];
    const bool bias = c->desc.bias != NULL;
    if (pass == NT_CONV_FORWARD)
        nt_winograd_forward(&s, op->y.data, op->x[0].data, op->param[0].data, bias ? op->param[1].data : NULL,
                            false, op->scratch, c->threads);
    else if (pass == NT_CONV_DATA)
        nt_winograd_backward_data(&s, op->dx[0].data, op->dy.data, op->param[0].data, op->scratch,
                                  c->threads);
    else
        nt_winograd_backward_weights(&s, op->dparam[0].data, bias ? op->dparam[1].data : NULL, op->x[0].data,
                                     op->dy.data, accumulate, op->scratch, c->threads);
    return NT_OK;
}

/* ---- what is known ---- */

static void tuning_name(const nt_op *op, char name[NT_NAME_BYTES])
{
    const nt_conv2d_options *o = op->options;
    const int64_t *x = op->x[0].shape.dim;
    snprintf(name, NT_NAME_BYTES, "conv2d/%lldx%lldx%lld-%lld/%lldx%lld/p%lld,%lld", (long long)x[1],
             (long long)x[2], (long long)x[3], (long long)o->filters, (long long)o->kernel[0],
             (long long)o->kernel[1], (long long)o->pad_begin[0], (long long)o->pad_begin[1]);
}

/* Index of the choice, or -1. The text is "pass=word pass=word". */
static int recall(const nt_op *op, nt_conv_pass pass)
{
    char name[NT_NAME_BYTES];
    tuning_name(op, name);
    const char *text = nt_tuning_get(op->tuning, name);
    while (text) {
        size_t key = strcspn(text, "="), length = strcspn(text, " ");
        if (key == strlen(pass_names[pass]) && strncmp(text, pass_names[pass], key) == 0)
            for (int i = 0; i < N_CHOICES; i++)
                if (length == key + 1 + strlen(words[i]) &&
                    strncmp(text + key + 1, words[i], strlen(words[i])) == 0)
                    return i;
        text = text[length] ? text + length + 1 : NULL;
    }
    return -1;
}

static nt_status remember(nt_op *op, nt_conv_pass pass, int choice)
{
    char name[NT_NAME_BYTES], text[256];
    tuning_name(op, name);
    const char *known = nt_tuning_get(op->tuning, name);
    snprintf(text, sizeof text, "%s%s%s=%s", known ? known : "", known ? " " : "", pass_names[pass],
             words[choice]);
    return nt_tuning_set(op->tuning, name, text);
}

/* ---- timing ---- */

/* The tensors of the op with their sizes, for moments when it has no memory yet. */
static int list_tensors(nt_op *op, nt_tensor *list[8], size_t n_bytes[8])
{
    nt_tensor *const tensors[] = {&op->x[0], &op->dx[0], &op->y, &op->dy};
    int n = 0;
    for (; n < 4; n++) {
        list[n] = tensors[n];
        n_bytes[n] = n < 2 ? op->x[0].n_bytes : op->y.n_bytes;
    }
    for (int i = 0; i < 2 * op->n_params; i++, n++) {
        list[n] = i % 2 ? &op->dparam[i / 2] : &op->param[i / 2];
        n_bytes[n] = op->param[i / 2].n_bytes;
    }
    return n;
}

/* Gives all tensors memory of one block (NULL: takes it away) and returns its size. Small numbers, not zeros:
 * zeros may be faster than what will come. */
static size_t lend_memory(nt_op *op, char *block)
{
    nt_tensor *list[8];
    size_t n_bytes[8], used = 0;
    int n = list_tensors(op, list, n_bytes);
    for (int i = 0; i < n; i++) {
        list[i]->data = block ? block + used : NULL;
        used += nt_cpu_round(n_bytes[i]);
    }
    for (size_t i = 0; block && i < used / sizeof(float); i++)
        ((float *)block)[i] = (float)((i * 2654435761u >> 20) % 64) / 64;
    return used;
}

/* One thread is timed by what it ran, which other processes disturb less. */
static double now_s(const nt_conv *c)
{
    struct timespec t;
    clock_gettime(c->threads > 1 ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Shortest time of each algorithm in a few rounds by turns, so that a disturbance meets all. The first round
 * warms up; what is hopeless in it is not run again. */
static nt_status time_choices(nt_op *op, nt_conv *c, nt_conv_pass pass, double best_s[N_CHOICES])
{
    enum { ROUNDS = 4 };
    double least_s = 1e30;
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < N_CHOICES; i++) {
            if (round > 0 && best_s[i] > 2 * least_s) continue;
            c->tile[pass] = tiles[i];
            double start_s = now_s(c);
            NT_TRY(nt_conv_run(op, c, pass, false));
            double took_s = now_s(c) - start_s;
            if (round == 0 || took_s < best_s[i]) best_s[i] = took_s;
            if (took_s < least_s) least_s = took_s;
        }
    return NT_OK;
}

static nt_status measure(nt_op *op, nt_conv *c, nt_conv_pass pass, double best_s[N_CHOICES])
{
    size_t tensors = lend_memory(op, NULL), scratch = 0;
    for (int i = 0; i < N_CHOICES; i++)
        if (scratch_of(c, pass, tiles[i]) > scratch) scratch = scratch_of(c, pass, tiles[i]);
    char *block = aligned_alloc(64, tensors + nt_cpu_round(scratch));
    NT_CHECK_ALLOC(block, tensors + scratch);
    (void)lend_memory(op, block);
    op->scratch = block + tensors;
    nt_status status;
    NT_TRY_GOTO(status, done, nt_cpu_task_bind(&c->task[pass], op->scratch));
    NT_TRY_GOTO(status, done, time_choices(op, c, pass, best_s));
done:
    op->scratch = NULL;
    (void)lend_memory(op, NULL);
    free(block);
    return status;
}

nt_status nt_conv_choose(nt_op *op, nt_conv *c, nt_conv_pass pass)
{
    int choice = recall(op, pass);
    if (choice < 0 && nt_tuning_may_time(op->tuning)) {
        double best_s[N_CHOICES] = {0};
        NT_TRY(measure(op, c, pass, best_s));
        choice = 0;
        for (int i = 1; i < N_CHOICES; i++)
            if (best_s[i] < best_s[choice]) choice = i;
        nt_debug("layer %s: %s takes %.3f ms direct, %.3f and %.3f ms by Winograd with tiles 6 and 8",
                 op->name, pass_names[pass], 1e3 * best_s[0], 1e3 * best_s[1], 1e3 * best_s[2]);
        NT_TRY(remember(op, pass, choice));
    }
    c->tile[pass] = choice < 0 ? 0 : tiles[choice];
    return NT_OK;
}
