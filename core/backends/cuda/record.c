/* Recordings: the work of a step as one CUDA graph, launched by one call.
 *
 * The first time, work is simply given: libraries set themselves up on first use, which cannot be recorded.
 * The second time it is captured, instantiated and launched, and from then on replayed without the host
 * giving it again. Work keeps the priority of the stream it was captured in, not that of the stream the graph
 * is launched into: collectives must not queue behind the blocks of backward, or there is nothing to overlap.
 * It can be replayed because all that changes from step to step lies in device memory at fixed addresses
 * (stage.c).
 *
 * What cannot be captured (a communicator that waits, a debugger in between) is no error: it is said once,
 * and everything runs kernel by kernel from then on. */
#include "core/backends/cuda/runtime.h"
#include "core/log.h"

#include <stdlib.h>

typedef struct nt_cuda_recording {
    struct nt_cuda_recording *next;
    uint64_t key;
    cudaGraphExec_t exec; /* NULL until captured */
} nt_cuda_recording;

static nt_cuda_recording *find(const nt_cuda *cuda, uint64_t key)
{
    nt_cuda_recording *r = cuda->recordings;
    while (r && r->key != key)
        r = r->next;
    return r;
}

static nt_status remember(nt_cuda *cuda, uint64_t key)
{
    nt_cuda_recording *r = calloc(1, sizeof *r);
    NT_CHECK_ALLOC(r, sizeof *r);
    r->key = key;
    r->next = cuda->recordings;
    cuda->recordings = r;
    return NT_OK;
}

void nt_cuda_forget_recordings(nt_backend *backend)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    while (cuda->recordings) {
        nt_cuda_recording *r = cuda->recordings;
        cuda->recordings = r->next;
        if (r->exec) (void)cudaGraphExecDestroy(r->exec);
        free(r);
    }
}

/* What fn gives, as a graph. The capture is ended whatever happens, or the stream would be lost. */
static nt_status capture(nt_backend *backend, cudaGraph_t *graph, nt_status (*fn)(void *arg), void *arg)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    nt_error first;
    NT_CUDA_TRY(backend, "cudaStreamBeginCapture",
                cudaStreamBeginCapture(cuda->compute, cudaStreamCaptureModeThreadLocal));
    nt_status status = fn(arg);
    if (status != NT_OK) nt_error_take(&first);
    int code = cudaStreamEndCapture(cuda->compute, graph);
    if (status != NT_OK) return nt_error_raise(&first);
    NT_CUDA_TRY(backend, "cudaStreamEndCapture", code);
    return NT_OK;
}

static nt_status record(nt_backend *backend, nt_cuda_recording *r, nt_status (*fn)(void *arg), void *arg)
{
    cudaGraph_t graph = NULL;
    nt_status status = capture(backend, &graph, fn, arg);
    if (status == NT_OK)
        status = nt_cuda_check(backend,
                               cudaGraphInstantiate(&r->exec, graph, cudaGraphInstantiateFlagUseNodePriority),
                               "cudaGraphInstantiate");
    if (graph) (void)cudaGraphDestroy(graph);
    if (status != NT_OK) {
        r->exec = NULL;
        (void)cudaGetLastError(); /* an error of capturing is over with it */
    }
    return status;
}

/* An illegal access of an earlier kernel makes every later call fail, recording among them: what comes next
 * says so. */
static bool device_lives(nt_cuda *cuda)
{
    int code = cudaStreamQuery(cuda->compute);
    return code == cudaSuccess || code == cudaErrorNotReady;
}

/* Records on all ranks or on none: r->exec afterwards says which. */
static nt_status record_together(nt_backend *backend, nt_cuda_recording *r, nt_status (*fn)(void *arg),
                                 void *arg)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    nt_status status = record(backend, r, fn, arg);
    bool captured = status == NT_OK;
    if (!captured && device_lives(cuda))
        nt_info("the step is not recorded as a CUDA graph but runs kernel by kernel: %s",
                nt_error_last()->message);
    nt_error_clear();
    if (backend->agree) NT_TRY(backend->agree(backend->poll_arg, &captured));
    if (captured) return NT_OK;
    NT_CHECK(
        !backend->options.graph_or_fail, NT_ERR_UNAVAILABLE,
        "run.cuda_graph = yes, but the step cannot be recorded on every rank; auto runs it kernel by kernel "
        "where that is so");
    cuda->graphs_off = true;
    nt_cuda_forget_recordings(backend);
    return NT_OK;
}

nt_status nt_cuda_record(nt_backend *backend, uint64_t key, nt_status (*fn)(void *arg), void *arg, bool *ran)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    *ran = true;
    if (!backend->options.graph || cuda->debug_sync || cuda->graphs_off) return fn(arg);
    nt_cuda_recording *r = find(cuda, key);
    if (!r) {
        NT_TRY(remember(cuda, key));
        return fn(arg);
    }
    *ran = !r->exec;
    if (!r->exec) NT_TRY(record_together(backend, r, fn, arg));
    if (cuda->graphs_off) return fn(arg);
    NT_CUDA_TRY(backend, "recorded step", cudaGraphLaunch(r->exec, cuda->compute));
    return NT_OK;
}
