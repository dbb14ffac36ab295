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

typedef struct nt_backend_options {
    int threads; /* per rank, >= 1 */
    int device;  /* local index of the device; ignored by host backends */
} nt_backend_options;

#define NT_SUM_BLOCK 16384 /* elements that sum_squares may add up among themselves first */

typedef struct nt_backend_ops {
    const char *name;
    nt_dtype real;    /* type of activations and parameters: NT_F32, or NT_F64 for ref64 */
    bool host_memory; /* host code may touch its memory */
    NT_MUST nt_status (*create)(nt_backend *backend, const nt_backend_options *options);
    void (*destroy)(nt_backend *backend);
    /* Memory of the device, aligned to 64 bytes at least, zero-filled. */
    NT_MUST nt_status (*alloc)(nt_backend *backend, void **out, size_t n_bytes);
    void (*free)(nt_backend *backend, void *ptr, size_t n_bytes);
    NT_MUST nt_status (*upload)(nt_backend *backend, void *dst, const void *host, size_t n_bytes);
    NT_MUST nt_status (*download)(nt_backend *backend, void *host, const void *src, size_t n_bytes);
    NT_MUST nt_status (*zero)(nt_backend *backend, void *dst, size_t n_bytes);
    /* Makes a host batch available as t->data (host backends: points there; devices: copies, ordered before
     * the next op). */
    NT_MUST nt_status (*stage)(nt_backend *backend, nt_tensor *t, const void *host);
    /* Canonical row-major form, backend's real type, on the host. layout of t is not NULL. Optional for
     * plain-only backends. */
    NT_MUST nt_status (*to_plain)(nt_backend *backend, void *host, const nt_tensor *t);
    NT_MUST nt_status (*from_plain)(nt_backend *backend, nt_tensor *t, const void *host);
    /* Implementation of a kind, or NULL. */
    const nt_op_impl *(*find_op)(const nt_backend *backend, const char *kind);
    /* Whether an op of this kind can apply that activation itself. Optional: false. */
    bool (*fuses)(const nt_backend *backend, const char *kind, const void *options,
                  const nt_activation_options *activation, bool training);
    /* dst = a + b over n elements of the real type; dst may be a or b. */
    NT_MUST nt_status (*sum)(nt_backend *backend, void *dst, const void *a, const void *b, int64_t n);
    /* Adds the squares of n elements to *host in double, in an order that neither threads nor cuts of the
     * range at multiples of NT_SUM_BLOCK change; not finite if any element is not. Result valid after sync.
     */
    NT_MUST nt_status (*sum_squares)(nt_backend *backend, double *host, const void *x, int64_t n);
    /* One optimizer step over a flat range of n elements, in one pass: see core/optim.h. */
    NT_MUST nt_status (*update)(nt_backend *backend, const nt_update *u, void *p, const void *g, void *s1,
                                void *s2, int64_t n);
    /* Waits for all work given so far. Optional for synchronous backends. */
    NT_MUST nt_status (*sync)(nt_backend *backend);
} nt_backend_ops;

struct nt_backend {
    const nt_backend_ops *ops;
    nt_backend_options options;
    void *state;
    /* Devices, set by create(): what they are called, and what tells one from every other (a UUID). */
    char device_name[96], device_id[64];
    /* Called again and again while the host waits for the device, by every wait of the backend; a failure
     * ends the wait and is what the waiting call returns. Set by whoever has work on the device that can fail
     * or hang without the device knowing (dist/comm_nccl.c); NULL: nobody. */
    nt_status (*poll)(void *arg);
    /* Whether all ranks have captured what nt_backend_record has just been given for the second time:
     * *captured goes in and comes out. Whether a collective is part of a graph must be the same on all ranks;
     * NULL: there is none. */
    nt_status (*agree)(void *arg, bool *captured);
    void *poll_arg; /* of both */
};

/* name: "ref", "ref64", "cpu", "cuda" or "auto" (cuda if built and a device is there, else cpu).
 * NT_ERR_CONFIG for an unknown name (says the nearest), NT_ERR_UNAVAILABLE if the device cannot be had. */
NT_MUST nt_status nt_backend_create(nt_backend **out, const char *name, const nt_backend_options *options);
void nt_backend_destroy(nt_backend *backend);
const char *const *nt_backend_names(void);

NT_MUST nt_status nt_backend_alloc(nt_backend *b, void **out, size_t n_bytes);
void nt_backend_free(nt_backend *b, void *ptr, size_t n_bytes);
NT_MUST nt_status nt_backend_upload(nt_backend *b, void *dst, const void *host, size_t n_bytes);
NT_MUST nt_status nt_backend_download(nt_backend *b, void *host, const void *src, size_t n_bytes);
NT_MUST nt_status nt_backend_zero(nt_backend *b, void *dst, size_t n_bytes);
NT_MUST nt_status nt_backend_stage(nt_backend *b, nt_tensor *t, const void *host);
/* Tensor to/from canonical row-major host memory of the real type (also for plain tensors). */
NT_MUST nt_status nt_backend_to_plain(nt_backend *b, void *host, const nt_tensor *t);
NT_MUST nt_status nt_backend_from_plain(nt_backend *b, nt_tensor *t, const void *host);
bool nt_backend_fuses(const nt_backend *b, const char *kind, const void *options,
                      const nt_activation_options *a, bool training);
NT_MUST nt_status nt_backend_sum(nt_backend *b, void *dst, const void *x, const void *y, int64_t n);
/* Adds to *host. */
NT_MUST nt_status nt_backend_sum_squares(nt_backend *b, double *host, const void *x, int64_t n);
NT_MUST nt_status nt_backend_update(nt_backend *b, const nt_update *u, void *p, const void *g, void *s1,
                                    void *s2, int64_t n);
NT_MUST nt_status nt_backend_sync(nt_backend *b);

/* Creates op->impl for `kind` on op->backend (its own, or ref's behind reorders) and calls create(). */
NT_MUST nt_status nt_op_create(nt_op *op, const char *kind);
void nt_op_destroy(nt_op *op);
NT_MUST nt_status nt_op_bind(nt_op *op);
NT_MUST nt_status nt_op_forward(nt_op *op, const nt_pass *pass);
NT_MUST nt_status nt_op_backward(nt_op *op, const nt_pass *pass);

/* The tables, one per backend. */
extern const nt_backend_ops nt_backend_ref, nt_backend_ref64, nt_backend_cpu, nt_backend_cuda;

#endif
