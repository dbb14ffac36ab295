/* What the files of the cuda backend share. No vendor header: operations are plain C against kernels.h and
 * the functions below; only files that call the runtime itself include cuda_runtime.h (runtime.h).
 *
 * Device memory is plain row-major NCHW everywhere (layout NULL). All work of a pass goes to the stream
 * `compute`, in order; what kernels have to know about a pass lies in device memory at a fixed address
 * (nt_cuda_pass), so that a recorded step can be replayed with other numbers.
 *
 * To add an operation: a file op_<kind>.c with a const nt_op_impl nt_cuda_<kind>, a line in NT_CUDA_OPS, a
 * test. */
#ifndef NT_CORE_BACKENDS_CUDA_CUDA_H
#define NT_CORE_BACKENDS_CUDA_CUDA_H

#include "core/backend.h"
#include "core/backends/cuda/kernels.h"

typedef void *nt_cuda_event; /* cudaEvent_t without the vendor's header */

typedef struct nt_cuda { /* backend->state */
    nt_cuda_stream compute, comm, copy;
    struct nt_cuda_blas *blas; /* NULL until an operation needs it */
    const nt_cuda_pass *pass;  /* device memory, fixed address */
    const int64_t *sample;     /* device memory, (largest n), fixed address */
    int *data_error;           /* device memory: {1 + op id, label} of the first bad class label, 0: none */
    double *partial;           /* device memory: NT_CUDA_PARTIAL_SUMS, of flat sums */
    size_t piece_bytes;        /* what a convolution may take for the matrices of a piece of the batch */
    int device, sm_count;
    nt_precision precision;
    bool debug_sync;

    /* Private to stage.c, pinned.c, post.c and record.c. */
    struct nt_cuda_lane *lanes, *pass_lane;
    struct nt_cuda_block *blocks;
    int64_t largest_n;
    struct nt_cuda_posts *posts;
    struct nt_cuda_labels *labels;
    struct nt_cuda_recording *recordings;
    bool graphs_off;    /* capturing failed once, and it was said */
    bool unpinned_said; /* that batches are in ordinary memory */
} nt_cuda;

static inline nt_cuda *nt_cuda_of(const nt_op *op)
{
    return op->backend->state;
}

/* The operations, in the order of core/layer.c. */
#define NT_CUDA_OPS(X)                                                                                       \
    X(input)                                                                                                 \
    X(linear)                                                                                                \
    X(conv2d)                                                                                                \
    X(conv_transpose2d)                                                                                      \
    X(max_pool)                                                                                              \
    X(avg_pool)                                                                                              \
    X(avg_pool_padded)                                                                                       \
    X(adaptive_avg_pool)                                                                                     \
    X(global_avg_pool)                                                                                       \
    X(flatten)                                                                                               \
    X(reshape)                                                                                               \
    X(permute)                                                                                               \
    X(slice)                                                                                                 \
    X(dropout)                                                                                               \
    X(stochastic_depth)                                                                                      \
    X(batchnorm)                                                                                             \
    X(layer_norm)                                                                                            \
    X(group_norm)                                                                                            \
    X(local_response_norm)                                                                                   \
    X(add)                                                                                                   \
    X(multiply)                                                                                              \
    X(concat)                                                                                                \
    X(scale)                                                                                                 \
    X(activation)                                                                                            \
    X(prelu)                                                                                                 \
    X(softmax)                                                                                               \
    X(log_softmax)                                                                                           \
    X(embedding)                                                                                             \
    X(position_embedding)                                                                                    \
    X(class_token)                                                                                           \
    X(multihead_attention)                                                                                   \
    X(head)                                                                                                  \
    X(total_loss)                                                                                            \
    X(mse)                                                                                                   \
    X(l1)                                                                                                    \
    X(huber)                                                                                                 \
    X(smooth_l1)                                                                                             \
    X(bce)                                                                                                   \
    X(hinge)                                                                                                 \
    X(kl_divergence)                                                                                         \
    X(cross_entropy)                                                                                         \
    X(cross_entropy_full)

#define NT_CUDA_DECLARE(kind) extern const nt_op_impl nt_cuda_##kind;
NT_CUDA_OPS(NT_CUDA_DECLARE)

/* The status of a launch or call that returned `code` (a cudaError_t; 0 is success); `what` names the kernel
 * or the call. With debug_sync waits for the compute stream first, so that a kernel that fails is named
 * itself and not the next caller. */
NT_MUST nt_status nt_cuda_check(nt_backend *backend, int code, const char *what);

/* The same for a launch of an operation: the message names its layer too. */
NT_MUST nt_status nt_cuda_check_op(const nt_op *op, int code, const char *what);

/* NT_CUDA_TRY(backend, "cast", nt_cuda_cast(...)) */
#define NT_CUDA_TRY(backend, what, call) NT_TRY(nt_cuda_check((backend), (int)(call), (what)))
/* NT_CUDA_RUN(op, "relu forward", nt_cuda_activation(...)) */
#define NT_CUDA_RUN(op, what, call) NT_TRY(nt_cuda_check_op((op), (int)(call), (what)))

/* For create() of an op whose kernels report bad labels or tokens in data_error: remembers its name and
 * number of classes for the message. */
NT_MUST nt_status nt_cuda_watch_labels(const nt_op *op, int64_t n_classes);

#endif
