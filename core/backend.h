/* A backend: memory, order of work, and one implementation per operation.
 *
 * Instances are created by name from the list in core/backend.c. `ref` (plain loops, float or double) is the
 * oracle and the template; a backend whose find_op returns NULL for a kind gets ref's, in plain layout,
 * through reorders (core/backend.c), if its memory is host memory. Callers use the nt_backend_* functions,
 * never ops->. */
#ifndef NT_CORE_BACKEND_H
#define NT_CORE_BACKEND_H

#include "core/op.h"
#include "core/optim.h"
#include "core/stretch.h"

/* What is computed with. TF32: matrix products round their inputs to 10 bits where the device does that
 * faster. BF16: activations, their gradients and the weights that products read have 8 bits; sums, batchnorm
 * statistics, losses, master weights and the optimizer stay float32. */
typedef enum nt_precision { NT_PRECISION_FP32, NT_PRECISION_TF32, NT_PRECISION_BF16 } nt_precision;

typedef struct nt_backend_options {
    int threads; /* per rank, >= 1 */
    int device;  /* local index of the device; ignored by host backends */
    nt_precision precision;
    bool graph;         /* record what nt_backend_record is given, where the device can replay it */
    bool graph_or_fail; /* and where it cannot, fail */
    bool debug_sync;    /* wait for every launch and name the one that failed */
} nt_backend_options;

/* Sums of one step and the verdict on it, in backend memory: what a step computes without the host. */
typedef struct nt_report {
    double loss, loss_squared, correct; /* over this rank's samples; correct: right answers */
    double sum_squares; /* of the reduced gradient; NaN: it, or what is judged with it, is not finite */
    double scale;       /* factor on the gradient; NaN: no update */
} nt_report;

#define NT_SUM_BLOCK  16384 /* elements that sum_squares may add up among themselves first */
#define NT_POST_SLOTS 2     /* reports on their way to the host at a time */
#define NT_POST_BYTES 256

typedef struct nt_backend_ops {
    const char *name;
    nt_dtype real; /* type of parameters, their gradients, optimizer state and all values that the host sees:
                      NT_F32, or NT_F64 for ref64 */
    bool host_memory; /* host code may touch its memory; false: it is a device, see nt_backend_is_device */
    NT_MUST nt_status (*create)(nt_backend *backend, const nt_backend_options *options);
    void (*destroy)(nt_backend *backend);
    /* Whether there is a device at all; if not, *why says what is missing. Optional: `auto` never takes it.
     */
    bool (*present)(const char **why);
    /* Memory of the device, aligned to 64 bytes at least, zero-filled. */
    NT_MUST nt_status (*alloc)(nt_backend *backend, void **out, size_t n_bytes);
    void (*free)(nt_backend *backend, void *ptr, size_t n_bytes);
    /* Memory that stage() fills, one tensor of a batch of up to n samples; freed like any other. Optional for
     * host memory, where stage() points to the batch. */
    NT_MUST nt_status (*alloc_input)(nt_backend *backend, void **out, size_t n_bytes, int64_t n);
    /* How much memory the device has, and how much of it nobody uses. Optional. */
    NT_MUST nt_status (*memory)(nt_backend *backend, size_t *free_bytes, size_t *total_bytes);
    NT_MUST nt_status (*upload)(nt_backend *backend, void *dst, const void *host, size_t n_bytes);
    NT_MUST nt_status (*download)(nt_backend *backend, void *host, const void *src, size_t n_bytes);
    NT_MUST nt_status (*zero)(nt_backend *backend, void *dst, size_t n_bytes);
    /* Makes a host batch available as t->data (host backends: points there; devices: copies to t->data, which
     * alloc_input gave, ordered before the next op). The batch's memory is free again at once, but that of
     * alloc_host only after unstage(). */
    NT_MUST nt_status (*stage)(nt_backend *backend, nt_tensor *t, const void *host);
    /* Memory of the host from which the device copies by itself, aligned to 64 bytes at least: for batches.
     * Optional: ordinary memory, and nothing to wait for. */
    NT_MUST nt_status (*alloc_host)(nt_backend *backend, void **out, size_t n_bytes);
    void (*free_host)(nt_backend *backend, void *ptr);
    /* Waits until all that was staged has been read. */
    NT_MUST nt_status (*unstage)(nt_backend *backend);
    /* What ops read of the pass besides their arguments, for n samples: ordered before the next op. Optional
     * for backends whose ops read *pass itself. */
    NT_MUST nt_status (*begin_pass)(nt_backend *backend, const nt_pass *pass, int64_t n);
    /* Canonical row-major form, backend's real type, on the host. t has a layout, or is of type NT_BF16.
     * Optional for backends without either. */
    NT_MUST nt_status (*to_plain)(nt_backend *backend, void *host, const nt_tensor *t);
    NT_MUST nt_status (*from_plain)(nt_backend *backend, nt_tensor *t, const void *host);
    /* Implementation of a kind, or NULL. */
    const nt_op_impl *(*find_op)(const nt_backend *backend, const char *kind);
    /* Whether an op of this kind can apply that activation itself. Optional: false. */
    bool (*fuses)(const nt_backend *backend, const char *kind, const void *options,
                  const nt_activation_options *activation, bool training);
    /* dst = a + b over n elements of the activation type; dst may be a or b. */
    NT_MUST nt_status (*sum)(nt_backend *backend, void *dst, const void *a, const void *b, int64_t n);
    /* Adds the squares of n elements of the real type to *total, backend memory, in an order that neither
     * threads nor cuts of the range at multiples of NT_SUM_BLOCK change; not finite if any element is not. */
    NT_MUST nt_status (*sum_squares)(nt_backend *backend, double *total, const void *x, int64_t n);
    /* The same for n ranges of x: adds the squares of range i to totals[ranges[i].other], each of which
     * occurs once. Optional: one after the other. */
    NT_MUST nt_status (*sum_squares_of)(nt_backend *backend, double *totals, const void *x,
                                        const nt_stretch *ranges, int n);
    /* Adds a loss's y, (n, 2) of the real type, to *report, backend memory: the sums of n losses, of their
     * squares, and of the right answers. Optional for host memory. */
    NT_MUST nt_status (*add_losses)(nt_backend *backend, nt_report *report, const void *y, int64_t n);
    /* Sets report->sum_squares to the sum of squares[0, n), or NaN if any of squares[n, n + n_others) is not
     * finite; report->scale to 1, to clip / norm if clip > 0 and the norm is greater, or to NaN if
     * sum_squares is not finite. Then zeroes squares. All backend memory. Optional for host memory. */
    NT_MUST nt_status (*judge)(nt_backend *backend, nt_report *report, double *squares, int n, int n_others,
                               double clip);
    /* For n tensors, pairs (n, 2) being the sums of squares of w and g: leaves coefficient |w| / (scale |g| +
     * decay[i] |w|) in pairs[2 i], or 1 where w or g is zero. scale NULL: 1. decay (n), scale: backend
     * memory, all double. Optional for host memory. */
    NT_MUST nt_status (*ratios)(nt_backend *backend, double *pairs, const double *decay, const double *scale,
                                double coefficient, int n);
    /* One optimizer step over a flat range of n elements, in one pass: see core/optim.h. */
    NT_MUST nt_status (*update)(nt_backend *backend, const nt_update *u, void *p, const void *g, void *s1,
                                void *s2, int64_t n);
    /* The same for n ranges of the arrays, u->s3 included. `other`: of NT_UPDATE_STAT where the range begins
     * in s1 and s2; else, if u->ratio is given, the range's ratio is u->ratio[other]. Optional: one after the
     * other. */
    NT_MUST nt_status (*update_of)(nt_backend *backend, const nt_update *u, void *p, const void *g, void *s1,
                                   void *s2, const nt_stretch *ranges, int n);
    /* Starts a copy of backend memory to a host slot, after the work given so far and before what is given
     * later. Optional for host memory. */
    NT_MUST nt_status (*post)(nt_backend *backend, const void *src, size_t n_bytes, int slot);
    /* Waits for the last post to that slot, and for nothing given later, and copies it out. Optional for host
     * memory. */
    NT_MUST nt_status (*collect)(nt_backend *backend, int slot, void *host, size_t n_bytes);
    /* See nt_backend_forget. Optional. */
    void (*forget)(nt_backend *backend);
    /* See nt_backend_record. Optional. */
    NT_MUST nt_status (*record)(nt_backend *backend, uint64_t key, nt_status (*fn)(void *arg), void *arg,
                                bool *ran);
    /* Waits for all work given so far. Optional for synchronous backends. */
    NT_MUST nt_status (*sync)(nt_backend *backend);
} nt_backend_ops;

struct nt_backend {
    const nt_backend_ops *ops;
    nt_backend_options options;
    nt_dtype activation; /* type of activations and their gradients: ops->real unless create() says otherwise;
                            a loss's y is always of the real type */
    void *state;
    /* Devices, set by create(): what they are called, and what tells one from every other (a UUID). */
    char device_name[96], device_id[64];
    /* Called again and again while the host waits for the device, by every wait of the backend, with the
     * seconds that it has waited; a failure ends the wait and is what the waiting call returns. Set by
     * whoever has work on the device that can fail or hang without the device knowing (dist/comm_nccl.c);
     * NULL: nobody. */
    nt_status (*poll)(void *arg, double waited_s);
    /* Whether all ranks have captured what nt_backend_record has just been given for the second time:
     * *captured goes in and comes out. Whether a collective is part of a graph must be the same on all ranks;
     * NULL: there is none. */
    nt_status (*agree)(void *arg, bool *captured);
    void *poll_arg;                            /* of both */
    char posted[NT_POST_SLOTS][NT_POST_BYTES]; /* of host memory */
};

/* name: "ref", "ref64", "cpu", "cuda" or "auto" (cuda if built and a device is there, else cpu; a device that
 * is there but does not work is an error all the same).
 * NT_ERR_CONFIG for an unknown name (says the nearest), NT_ERR_UNAVAILABLE if the device cannot be had. */
NT_MUST nt_status nt_backend_create(nt_backend **out, const char *name, const nt_backend_options *options);
void nt_backend_destroy(nt_backend *backend);
const char *const *nt_backend_names(void);

NT_MUST nt_status nt_backend_alloc(nt_backend *b, void **out, size_t n_bytes);
void nt_backend_free(nt_backend *b, void *ptr, size_t n_bytes);
/* Whether it works beside the host and in memory of its own. Then results are fetched a step late rather than
 * waited for, losses are added where they are, and calls take many ranges at once, as each is a launch. */
static inline bool nt_backend_is_device(const nt_backend *b)
{
    return !b->ops->host_memory;
}

/* NULL where stage() needs none. */
NT_MUST nt_status nt_backend_alloc_input(nt_backend *b, void **out, size_t n_bytes, int64_t n);
/* Both 0 if nobody knows. */
NT_MUST nt_status nt_backend_memory(nt_backend *b, size_t *free_bytes, size_t *total_bytes);
NT_MUST nt_status nt_backend_upload(nt_backend *b, void *dst, const void *host, size_t n_bytes);
NT_MUST nt_status nt_backend_download(nt_backend *b, void *host, const void *src, size_t n_bytes);
NT_MUST nt_status nt_backend_zero(nt_backend *b, void *dst, size_t n_bytes);
NT_MUST nt_status nt_backend_stage(nt_backend *b, nt_tensor *t, const void *host);
/* Memory of the host for batches, which stage() need not copy first: it may be written again, or given back
 * to be used for another batch, after nt_backend_unstage. b NULL: ordinary memory. By one thread, whichever
 * fills it. */
NT_MUST nt_status nt_backend_alloc_host(nt_backend *b, void **out, size_t n_bytes);
void nt_backend_free_host(nt_backend *b, void *ptr);
NT_MUST nt_status nt_backend_unstage(nt_backend *b);
/* Tensor to/from canonical row-major host memory of the real type (also for plain tensors). */
NT_MUST nt_status nt_backend_to_plain(nt_backend *b, void *host, const nt_tensor *t);
NT_MUST nt_status nt_backend_from_plain(nt_backend *b, nt_tensor *t, const void *host);
bool nt_backend_fuses(const nt_backend *b, const char *kind, const void *options,
                      const nt_activation_options *a, bool training);
NT_MUST nt_status nt_backend_sum(nt_backend *b, void *dst, const void *x, const void *y, int64_t n);
/* Adds to *total. */
NT_MUST nt_status nt_backend_sum_squares(nt_backend *b, double *total, const void *x, int64_t n);
NT_MUST nt_status nt_backend_sum_squares_of(nt_backend *b, double *totals, const void *x,
                                            const nt_stretch *ranges, int n);
NT_MUST nt_status nt_backend_add_losses(nt_backend *b, nt_report *report, const void *y, int64_t n);
NT_MUST nt_status nt_backend_judge(nt_backend *b, nt_report *report, double *squares, int n, int n_others,
                                   double clip);
NT_MUST nt_status nt_backend_ratios(nt_backend *b, double *pairs, const double *decay, const double *scale,
                                    double coefficient, int n);
NT_MUST nt_status nt_backend_update(nt_backend *b, const nt_update *u, void *p, const void *g, void *s1,
                                    void *s2, int64_t n);
NT_MUST nt_status nt_backend_update_of(nt_backend *b, const nt_update *u, void *p, const void *g, void *s1,
                                       void *s2, const nt_stretch *ranges, int n);
NT_MUST nt_status nt_backend_sync(nt_backend *b);
NT_MUST nt_status nt_backend_begin_pass(nt_backend *b, const nt_pass *pass, int64_t n);
/* Reading back without stopping: at most NT_POST_BYTES, and a slot again only once it is collected. */
NT_MUST nt_status nt_backend_post(nt_backend *b, const void *src, size_t n_bytes, int slot);
NT_MUST nt_status nt_backend_collect(nt_backend *b, int slot, void *host, size_t n_bytes);
/* Gives the backend the work that fn(arg) gives it: by calling fn (*ran true), or, where a device has
 * recorded it under this key, by replaying that. Two calls with the same key must give the same work: only
 * what lies in backend memory may differ. */
NT_MUST nt_status nt_backend_record(nt_backend *b, uint64_t key, nt_status (*fn)(void *arg), void *arg,
                                    bool *ran);

/* Drops all recordings: before the net, the communicator or the memory that they refer to goes. NCCL waits
 * for ever for a graph that holds its calls. */
void nt_backend_forget(nt_backend *b);

/* Creates op->impl for `kind` on op->backend (its own, or ref's behind reorders) and calls create(). */
NT_MUST nt_status nt_op_create(nt_op *op, const char *kind);
void nt_op_destroy(nt_op *op);
NT_MUST nt_status nt_op_bind(nt_op *op);
NT_MUST nt_status nt_op_forward(nt_op *op, const nt_pass *pass);
NT_MUST nt_status nt_op_backward(nt_op *op, const nt_pass *pass);

/* The tables, one per backend. */
extern const nt_backend_ops nt_backend_ref, nt_backend_ref64, nt_backend_cpu, nt_backend_cuda;

#endif
