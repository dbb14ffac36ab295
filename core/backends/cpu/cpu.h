/* What the files of the cpu backend share: its state, layouts, and oneDNN primitives tied to tensors.
 *
 * A layout is a oneDNN memory descriptor, interned in the backend, so that two tensors have the same layout
 * exactly if the pointers are equal; NULL is plain. A tensor's shape and its descriptor's dimensions may
 * differ in how they are grouped, never in order: flatten leaves a (N, C, H, W) descriptor under a shape (N,
 * F), and grouped weights have five dimensions under a shape of four. */
#ifndef NT_CORE_BACKENDS_CPU_CPU_H
#define NT_CORE_BACKENDS_CPU_CPU_H

#include "core/backend.h"
#include "core/backends/cpu/dnnl_shim.h"
#include "core/backends/cpu/vec.h"

struct nt_layout {
    nt_md md;
    nt_layout *next;
};

typedef struct nt_cpu {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_attr_t attr, attr_sum; /* scratchpad of the user; also dst += */
    const nt_vec_ops *vec;
    int threads;
    int64_t worth_threads; /* work from which on they share it: threads.c; tests lower it */
    unsigned n_allocs;     /* of large blocks so far */
    bool blocks_of_16;     /* vectors are that long: blocks of 16 channels are fast */
    nt_layout *layouts;    /* all descriptors ever made, plain and `any` ones too */
} nt_cpu;

static inline nt_cpu *nt_cpu_of(const nt_op *op)
{
    return op->backend->state;
}

static inline size_t nt_cpu_round(size_t n_bytes)
{
    return (n_bytes + 63) & ~(size_t)63;
}

/* ---- layout.c: descriptors, owned by the backend ---- */

NT_MUST nt_status nt_cpu_md(nt_cpu *cpu, nt_md *out, int n_dims, const int64_t *dims, dnnl_format_tag_t tag);
/* Row-major with the dimensions of another descriptor. */
NT_MUST nt_status nt_cpu_md_plain(nt_cpu *cpu, nt_md *out, nt_md like);
/* The interned equal of a descriptor that belongs to somebody else. */
NT_MUST nt_status nt_cpu_md_keep(nt_cpu *cpu, nt_md *out, nt_md md);
/* The descriptor of a tensor; a plain one gets that of its shape. */
NT_MUST nt_status nt_cpu_md_of(nt_cpu *cpu, nt_md *out, const nt_tensor *t);
/* Gives a tensor the layout of a descriptor (NULL layout if that is plain) and its size. */
NT_MUST nt_status nt_cpu_set_md(nt_cpu *cpu, nt_tensor *t, nt_md md);
/* Gives a tensor the layout of another one of the same number of elements. */
void nt_cpu_copy_layout(nt_tensor *t, const nt_tensor *like);
void nt_cpu_free_layouts(nt_cpu *cpu);
/* Whether md is the format of `tag` (for its own dimensions). */
bool nt_cpu_md_has_tag(nt_md md, dnnl_format_tag_t tag);
/* Reorders at once, with memory of its own: not for steps. */
NT_MUST nt_status nt_cpu_reorder_now(nt_cpu *cpu, nt_md src_md, const void *src, nt_md dst_md, void *dst);
/* What a backend has to offer. */
NT_MUST nt_status nt_cpu_to_plain(nt_backend *backend, void *host, const nt_tensor *t);
NT_MUST nt_status nt_cpu_from_plain(nt_backend *backend, nt_tensor *t, const void *host);

/* Size of the elements of a tensor in its layout, padding included, in elements. */
static inline int64_t nt_cpu_stored(const nt_tensor *t)
{
    return (int64_t)(t->n_bytes / nt_dtype_bytes(t->dtype));
}

/* ---- prim.c: a primitive with its memory objects ---- */

#define NT_CPU_MAX_ARGS 12

typedef struct nt_cpu_prim {
    dnnl_primitive_t primitive;
    int threads; /* it was described for, and runs with */
    int n_args;
    dnnl_exec_arg_t arg[NT_CPU_MAX_ARGS];
    size_t scratch_bytes; /* bind it as DNNL_ARG_SCRATCHPAD */
} nt_cpu_prim;

/* Makes a primitive of pd and destroys pd, also when it fails. */
NT_MUST nt_status nt_cpu_prim_create(nt_cpu *cpu, nt_cpu_prim *prim, dnnl_primitive_desc_t pd);
void nt_cpu_prim_free(nt_cpu_prim *prim);
/* Adds an argument; its memory comes with bind. */
NT_MUST nt_status nt_cpu_prim_add(nt_cpu *cpu, nt_cpu_prim *prim, int arg, nt_md md);
NT_MUST nt_status nt_cpu_prim_bind(nt_cpu_prim *prim, int arg, void *data);
NT_MUST nt_status nt_cpu_prim_run(nt_cpu *cpu, const nt_cpu_prim *prim);
/* A reorder; sum: dst += src instead of dst = src. */
NT_MUST nt_status nt_cpu_reorder_create(nt_cpu *cpu, nt_cpu_prim *prim, nt_md src, nt_md dst, bool sum);

/* The primitive descriptor's descriptor of an argument, interned. */
NT_MUST nt_status nt_cpu_pd_md(nt_cpu *cpu, nt_md *out, nt_const_pd pd, dnnl_query_t what);
size_t nt_cpu_pd_workspace(nt_const_pd pd);

/* ---- task.c: a primitive between tensors that may have other layouts ---- */

#define NT_CPU_MAX_PORTS 8

/* One argument of the task: `tensor` is reordered into scratch before the primitive runs, or out of it
 * afterwards, where its layout is not what the primitive wants. */
typedef struct nt_cpu_port {
    int arg;
    bool is_output;
    const nt_tensor *tensor;
    nt_cpu_prim reorder; /* primitive NULL: none needed */
    nt_cpu_prim add;     /* of an output that can be added to; then the primitive writes to `staged` */
    dnnl_memory_t direct, staged;
    size_t staged_bytes;
} nt_cpu_port;

typedef struct nt_cpu_task {
    nt_cpu_prim prim;
    nt_cpu_port port[NT_CPU_MAX_PORTS];
    int n_ports;
    size_t scratch_bytes; /* of the whole task */
} nt_cpu_task;

/* Makes the primitive of pd and destroys pd, also when it fails. */
NT_MUST nt_status nt_cpu_task_create(nt_cpu *cpu, nt_cpu_task *task, dnnl_primitive_desc_t pd);
void nt_cpu_task_free(nt_cpu_task *task);
/* Declares argument `arg`, wanted as `md`. `like` has the layout (at create() time), `tensor` will have the
 * data at bind() time; they differ for gradients. */
NT_MUST nt_status nt_cpu_task_input(nt_cpu *cpu, nt_cpu_task *task, int arg, nt_md md, const nt_tensor *like,
                                    const nt_tensor *tensor);
NT_MUST nt_status nt_cpu_task_output(nt_cpu *cpu, nt_cpu_task *task, int arg, nt_md md, const nt_tensor *like,
                                     const nt_tensor *tensor, bool accumulates);
NT_MUST nt_status nt_cpu_task_bind(nt_cpu_task *task, void *scratch);
/* accumulate: outputs declared so are added to their tensors. */
NT_MUST nt_status nt_cpu_task_run(nt_cpu *cpu, nt_cpu_task *task, bool accumulate);

/* ---- threads.c ---- */

/* cpu->worth_threads of a new backend. */
#define NT_CPU_WORTH_THREADS ((int64_t)1 << 15)
/* How many threads to share `work` among, all or one; work: elements of an elementwise loop, or as much. */
int nt_cpu_threads(const nt_cpu *cpu, int64_t work);
/* So many floating point operations of a matrix product take as long as one element of an elementwise loop.
 */
#define NT_CPU_FLOPS 16
/* Sets how many threads oneDNN uses, in primitives that are described or run next; returns the number before.
 */
int nt_cpu_use_threads(int threads);

typedef void (*nt_cpu_item_fn)(void *arg, int64_t i);
/* Calls fn for each i in [0, n); all n together are `work`. */
void nt_cpu_each(const nt_cpu *cpu, int64_t n, int64_t work, nt_cpu_item_fn fn, void *arg);
typedef void (*nt_cpu_range_fn)(void *arg, int64_t begin, int64_t end);
/* Calls fn on ranges that cover [0, n), whose borders are multiples of 64. */
void nt_cpu_parallel(const nt_cpu *cpu, int64_t n, nt_cpu_range_fn fn, void *arg);
/* dx = y > 0 ? dy : 0 */
void nt_cpu_relu_backward(const nt_cpu *cpu, float *dx, const float *dy, const float *y, int64_t n);

/* ---- strips.c: a tensor as strips of channels, for the loops of batchnorm and pooling ---- */

/* Strip (image i, group g) holds `rows` rows of `lanes` channels; row r begins at element
 * i * image + g * group + r * pixel. Channels of group g start at g * width. A plain (N, C, H, W) has strips
 * of one channel; `wide` says that its rows are neighbours and may be taken NT_LANES at a time. */
typedef struct nt_cpu_strips {
    int64_t images, groups, rows, channels;
    int64_t image, group, pixel, width;
    bool wide;
    bool padded; /* the last group has lanes that are no channels, in memory too */
} nt_cpu_strips;

/* Of a tensor (N, C, ...); false for a layout that is not known here. */
bool nt_cpu_strips_of(nt_cpu *cpu, const nt_tensor *t, nt_cpu_strips *out);

/* How the loops of vec_norm.h walk through a strip of group g: `full` rows of `lanes` values `stride` apart,
 * then one short row of `rest`, which only wide strips have. */
typedef struct nt_cpu_walk {
    int64_t full, stride;
    int lanes, rest;
} nt_cpu_walk;

nt_cpu_walk nt_cpu_walk_of(const nt_cpu_strips *s, int64_t g);
/* Channels in group g. */
static inline int nt_cpu_lanes(const nt_cpu_strips *s, int64_t g)
{
    int64_t left = s->channels - g * s->width;
    return (int)(left < s->width ? left : s->width);
}

/* ---- the operations ---- */

/* nt_cpu_linear_dnnl is what nt_cpu_linear leaves to oneDNN. */
extern const nt_op_impl nt_cpu_conv2d, nt_cpu_linear, nt_cpu_linear_dnnl, nt_cpu_max_pool, nt_cpu_avg_pool,
    nt_cpu_avg_pool_padded, nt_cpu_global_avg_pool, nt_cpu_batchnorm, nt_cpu_activation, nt_cpu_add,
    nt_cpu_flatten, nt_cpu_input, nt_cpu_dropout, nt_cpu_concat, nt_cpu_cross_entropy,
    nt_cpu_multihead_attention, nt_cpu_layer_norm, nt_cpu_multiply, nt_cpu_adaptive_avg_pool,
    nt_cpu_stochastic_depth, nt_cpu_embedding, nt_cpu_position_embedding, nt_cpu_cross_entropy_full;

#endif
