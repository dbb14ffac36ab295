/* Results on their way to the host: numbers that are read a step late, so that nobody waits, and the class
 * labels that kernels found to be bad.
 *
 * A post copies into pinned memory and records an event; collecting waits for that event only. The labels'
 * report travels with every post and every sync, because a kernel has no other way to say that the data are
 * wrong; it is eight bytes. */
#include "core/backends/cuda/runtime.h"

#include <stdlib.h>
#include <string.h>

/* Pinned memory. */
typedef struct letter {
    char bytes[NT_POST_BYTES];
    int data_error[2];
} letter;

typedef struct nt_cuda_posts {
    letter *slot[NT_POST_SLOTS + 1]; /* the last one is nt_cuda_sync's */
    nt_cuda_event done[NT_POST_SLOTS];
} nt_cuda_posts;

typedef struct nt_cuda_labels {
    struct nt_cuda_labels *next;
    uint32_t id;
    int64_t n_classes;
    char layer[NT_NAME_BYTES];
} nt_cuda_labels;

nt_status nt_cuda_open_posts(nt_backend *backend)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    nt_cuda_posts *posts = cuda->posts = calloc(1, sizeof *posts);
    NT_CHECK_ALLOC(posts, sizeof *posts);
    for (int i = 0; i <= NT_POST_SLOTS; i++)
        NT_TRY(nt_cuda_malloc_host(backend, (void **)&posts->slot[i], sizeof(letter)));
    for (int i = 0; i < NT_POST_SLOTS; i++)
        NT_TRY(nt_cuda_make_event(backend, &posts->done[i]));
    return NT_OK;
}

void nt_cuda_close_posts(nt_backend *backend)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    nt_cuda_posts *posts = cuda->posts;
    for (int i = 0; posts && i <= NT_POST_SLOTS; i++)
        if (posts->slot[i]) (void)cudaFreeHost(posts->slot[i]);
    for (int i = 0; posts && i < NT_POST_SLOTS; i++)
        if (posts->done[i]) (void)cudaEventDestroy(posts->done[i]);
    free(posts);
    cuda->posts = NULL;
    while (cuda->labels) {
        nt_cuda_labels *first = cuda->labels;
        cuda->labels = first->next;
        free(first);
    }
}

nt_status nt_cuda_watch_labels(const nt_op *op, int64_t n_classes)
{
    nt_cuda *cuda = nt_cuda_of(op);
    nt_cuda_labels *labels = cuda->labels;
    while (labels && labels->id != op->id)
        labels = labels->next;
    if (!labels) {
        labels = calloc(1, sizeof *labels);
        NT_CHECK_ALLOC(labels, sizeof *labels);
        labels->id = op->id;
        labels->next = cuda->labels;
        cuda->labels = labels;
    }
    labels->n_classes = n_classes;
    snprintf(labels->layer, sizeof labels->layer, "%s", op->name ? op->name : "loss");
    return NT_OK;
}

/* Puts a copy of the labels' report behind the work given so far. */
static nt_status post_data_error(nt_backend *backend, letter *it)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    NT_CUDA_TRY(backend, "copy from the device",
                cudaMemcpyAsync(it->data_error, cuda->data_error, sizeof it->data_error,
                                cudaMemcpyDeviceToHost, cuda->compute));
    return NT_OK;
}

/* What is wrong, in the words of ref. */
static nt_status fail_data(const nt_cuda_labels *labels, nt_cuda_bad kind, int value)
{
    const char *layer = labels ? labels->layer : "loss";
    const long long last = labels ? (long long)labels->n_classes - 1 : -1LL;
    float number;
    memcpy(&number, &value, sizeof number);
    switch (kind) {
    case NT_CUDA_BAD_LABEL:
        NT_FAIL(NT_ERR_DATA,
                "layer %s: class label %d is not in 0..%lld, the classes the model has outputs for", layer,
                value, last);
    case NT_CUDA_BAD_TOKEN:
        NT_FAIL(NT_ERR_DATA, "layer %s: token %d is not in 0..%lld, the vocabulary that num_embeddings says",
                layer, value, last);
    case NT_CUDA_BAD_PROBABILITY:
        NT_FAIL(NT_ERR_DATA, "layer %s: target %g is not a probability; for values use mse", layer,
                (double)number);
    case NT_CUDA_BAD_SUM:
        NT_FAIL(NT_ERR_DATA,
                "layer %s: the target's probabilities sum to %g, not 1; for independent ones use bce, for "
                "values mse",
                layer, (double)number);
    }
    NT_BUG_UNLESS(false, "layer %s: data error of kind %d", layer, (int)kind);
}

static nt_status check_data_error(nt_backend *backend, const letter *it)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    if (it->data_error[0] == 0) return NT_OK;
    const uint32_t code = (uint32_t)it->data_error[0] - 1;
    const nt_cuda_labels *labels = cuda->labels;
    while (labels && labels->id != (code & 0xffffff))
        labels = labels->next;
    NT_CUDA_TRY(backend, "cudaMemset", cudaMemsetAsync(cuda->data_error, 0, 2 * sizeof(int), cuda->compute));
    NT_TRY(fail_data(labels, (nt_cuda_bad)(code >> 24), it->data_error[1]));
    return NT_OK;
}

nt_status nt_cuda_post(nt_backend *backend, const void *src, size_t n_bytes, int slot)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    letter *it = cuda->posts->slot[slot];
    NT_CUDA_TRY(backend, "copy from the device",
                cudaMemcpyAsync(it->bytes, src, n_bytes, cudaMemcpyDeviceToHost, cuda->compute));
    NT_TRY(post_data_error(backend, it));
    NT_CUDA_TRY(backend, "cudaEventRecord", cudaEventRecord(cuda->posts->done[slot], cuda->compute));
    return NT_OK;
}

nt_status nt_cuda_collect(nt_backend *backend, int slot, void *host, size_t n_bytes)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    const letter *it = cuda->posts->slot[slot];
    NT_TRY(nt_cuda_wait_event(backend, cuda->posts->done[slot], "the step"));
    NT_TRY(check_data_error(backend, it));
    memcpy(host, it->bytes, n_bytes);
    return NT_OK;
}

nt_status nt_cuda_sync(nt_backend *backend)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    letter *it = cuda->posts->slot[NT_POST_SLOTS];
    NT_TRY(post_data_error(backend, it));
    NT_TRY(nt_cuda_wait_stream(backend, cuda->compute, "the device"));
    NT_TRY(check_data_error(backend, it));
    return NT_OK;
}
