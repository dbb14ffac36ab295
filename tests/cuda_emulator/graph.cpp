/* Stream capture and graphs.
 *
 * A capture collects work as nodes, each after the nodes at the tail of its stream; an event recorded in it
 * carries a tail to another stream, which joins. What cannot be captured is refused with the documented error
 * and spoils the capture. An instantiated graph is cut into lanes, chains in which each node comes after the
 * one before it; lane 0 runs on the stream of the launch, the others on streams of the graph's own, with
 * marks where lanes meet. So branches without an order really run without one: ThreadSanitizer sees their
 * races, and the seeded scheduler shuffles them. */
#include "tests/cuda_emulator/entry.h"
#include "tests/cuda_emulator/runtime.h"

#include <algorithm>
#include <cstdio>
#include <pthread.h>
#include <typeinfo>

namespace emu {

struct Node {
    WorkRef work;
    Vector<int> after; /* nodes that come first; all of lower index */
};

struct Capture : Hidden {
    unsigned long long id;
    cudaStreamCaptureMode mode;
    CUstream_st *origin;
    pthread_t thread;
    bool spoilt = false;
    Vector<Node> nodes;
    Vector<CUstream_st *> streams; /* that take part, the origin first */
};

static auto &captures = *new Vector<Capture *>; /* that go on */
static unsigned long long n_captures;
static int n_graphs, n_execs;
static __thread cudaStreamCaptureMode thread_mode; /* Global by default */

static cudaError_t spoil(Capture *capture, cudaError_t error)
{
    capture->spoilt = true;
    return fail(error);
}

static void add_to(Vector<int> *set, const Vector<int> &more)
{
    for (int n : more)
        if (std::find(set->begin(), set->end(), n) == set->end()) set->push_back(n);
}

cudaError_t capture_node(CUstream_st *stream, WorkRef work)
{
    Capture *capture = stream->capture;
    if (capture->spoilt) return fail(cudaErrorStreamCaptureInvalidated);
    capture->nodes.push_back(Node{std::move(work), stream->tail});
    stream->tail.assign(1, (int)capture->nodes.size() - 1);
    return cudaSuccess;
}

cudaError_t capture_record(CUevent_st *event, CUstream_st *stream)
{
    if (stream->capture->spoilt) return fail(cudaErrorStreamCaptureInvalidated);
    event->capture_id = stream->capture->id;
    event->nodes = stream->tail;
    event->mark.reset();
    return cudaSuccess;
}

static Capture *capture_of(const CUevent_st *event)
{
    for (Capture *c : captures)
        if (c->id == event->capture_id) return c;
    return nullptr;
}

static cudaError_t wait_for_captured(CUstream_st *stream, CUevent_st *event)
{
    Capture *capture = capture_of(event);
    if (!capture) return fail(cudaErrorCapturedEvent); /* of a capture that has ended */
    if (stream->capture && stream->capture != capture) {
        capture->spoilt = true;
        return spoil(stream->capture, cudaErrorStreamCaptureMerge);
    }
    if (stream == stream->device->null_stream) return spoil(capture, cudaErrorStreamCaptureImplicit);
    if (capture->spoilt) return fail(cudaErrorStreamCaptureInvalidated);
    if (!stream->capture) {
        stream->capture = capture;
        capture->streams.push_back(stream);
    }
    add_to(&stream->tail, event->nodes);
    return cudaSuccess;
}

cudaError_t capture_wait(CUstream_st *stream, CUevent_st *event)
{
    if (event->capture_id) return wait_for_captured(stream, event);
    if (!event->mark) return cudaSuccess; /* never recorded: no dependency */
    return spoil(stream->capture, cudaErrorStreamCaptureIsolation);
}

cudaError_t forbid_in_capture(CUstream_st *stream)
{
    return stream->capture ? spoil(stream->capture, cudaErrorStreamCaptureUnsupported) : cudaSuccess;
}

cudaError_t forbid_in_any_capture(const Device *device)
{
    cudaError_t error = cudaSuccess;
    for (Capture *c : captures)
        if (c->origin->device == device) error = spoil(c, cudaErrorStreamCaptureUnsupported);
    return error;
}

/* The modes of cudaThreadExchangeStreamCaptureMode, as its documentation has them. */
cudaError_t forbid_unsafe()
{
    cudaError_t error = cudaSuccess;
    if (thread_mode == cudaStreamCaptureModeRelaxed) return error;
    for (Capture *c : captures) {
        const bool own = pthread_equal(c->thread, pthread_self()) && c->mode != cudaStreamCaptureModeRelaxed;
        const bool global =
            c->mode == cudaStreamCaptureModeGlobal && thread_mode == cudaStreamCaptureModeGlobal;
        if (own || global) error = spoil(c, cudaErrorStreamCaptureUnsupported);
    }
    return error;
}

cudaError_t forbid_implicit(CUstream_st *stream)
{
    if (stream != stream->device->null_stream) return cudaSuccess;
    for (CUstream_st *s : stream->device->streams)
        if (s->capture && s->blocking()) return spoil(s->capture, cudaErrorStreamCaptureImplicit);
    return cudaSuccess;
}

int count_graph_leaks(bool say)
{
    if (say && n_graphs) fprintf(stderr, "cuda emulator: leak: %d graph(s)\n", n_graphs);
    if (say && n_execs) fprintf(stderr, "cuda emulator: leak: %d instantiated graph(s)\n", n_execs);
    return n_graphs + n_execs;
}

/* Whether all that the other streams did comes before the tail of the origin. */
static bool all_joined(const Capture *capture)
{
    Vector<char> reached(capture->nodes.size(), 0);
    for (int n : capture->origin->tail)
        reached[(size_t)n] = 1;
    for (size_t n = capture->nodes.size(); n-- > 0;)
        if (reached[n])
            for (int before : capture->nodes[n].after)
                reached[(size_t)before] = 1;
    for (const CUstream_st *s : capture->streams)
        for (int n : s->tail)
            if (!reached[(size_t)n]) return false;
    return true;
}

static void end_capture(Capture *capture)
{
    captures.erase(std::find(captures.begin(), captures.end(), capture));
    for (CUstream_st *s : capture->streams) {
        s->capture = nullptr;
        s->tail.clear();
    }
    delete capture;
}

} // namespace emu

using namespace emu;

struct CUgraph_st : Hidden {
    Vector<Node> nodes;
    Device *device;
};

struct CUgraphExec_st : Hidden {
    Vector<Node> nodes;
    Device *device;
    Vector<int> lane;            /* of each node */
    Vector<CUstream_st *> lanes; /* their streams; of lane 0: NULL, the stream of the launch */
    MarkRef end;                 /* of the latest launch */
};

namespace emu {

/* Cuts the graph into chains: each node goes to a lane whose last node comes before it, else opens one. */
static void cut_into_lanes(CUgraphExec_st *exec)
{
    const size_t n = exec->nodes.size();
    Vector<Vector<char>> before(n, Vector<char>(n, 0));
    Vector<int> last;
    for (size_t i = 0; i < n; i++) {
        for (int d : exec->nodes[i].after) {
            before[i][(size_t)d] = 1;
            for (size_t j = 0; j < (size_t)d; j++)
                before[i][j] |= before[(size_t)d][j];
        }
        size_t lane = 0;
        while (lane < last.size() && !before[i][(size_t)last[lane]])
            lane++;
        if (lane == last.size()) last.push_back(0);
        last[lane] = (int)i;
        exec->lane.push_back((int)lane);
    }
    exec->lanes.push_back(nullptr);
    while (exec->lanes.size() < last.size()) {
        exec->lanes.push_back(make_stream(exec->device, cudaStreamNonBlocking, 0));
        exec->lanes.back()->internal = true;
    }
}

/* Gives all nodes to their lanes: after `start`, with marks where lanes meet. */
static void give_nodes(CUgraphExec_st *exec, CUstream_st *stream, const MarkRef &start, Op *end)
{
    const size_t n = exec->nodes.size();
    Vector<Op *> ops(n, nullptr);
    Vector<char> is_last(n, 1);
    for (size_t i = 0; i < n; i++) { /* all marks exist before anything runs */
        ops[i] = new Op();
        ops[i]->work = exec->nodes[i].work;
        if (exec->lane[i] != 0) ops[i]->waits.push_back(start);
        for (int d : exec->nodes[i].after) {
            is_last[(size_t)d] = 0;
            if (exec->lane[(size_t)d] == exec->lane[i]) continue;
            Op *before = ops[(size_t)d];
            if (before->signals.empty()) before->signals.push_back(make_hidden<Mark>());
            ops[i]->waits.push_back(before->signals.front());
        }
    }
    for (size_t i = 0; i < n; i++) {
        CUstream_st *lane = exec->lane[i] == 0 ? stream : exec->lanes[(size_t)exec->lane[i]];
        if (is_last[i] && lane != stream) {
            if (ops[i]->signals.empty()) ops[i]->signals.push_back(make_hidden<Mark>());
            end->waits.push_back(ops[i]->signals.front());
        }
        for (const MarkRef &mark : ops[i]->waits)
            if (!mark->done) mark->queues.push_back(lane);
        give(lane, ops[i]);
    }
}

static cudaError_t launch(CUgraphExec_st *exec, CUstream_st *stream)
{
    if (stream->device != exec->device) return cudaErrorInvalidResourceHandle;
    Op *begin = new Op(), *end = new Op();
    begin->signals.push_back(make_hidden<Mark>());
    const MarkRef start = begin->signals.front();
    if (exec->end) { /* an instantiated graph never runs twice at a time */
        begin->waits.push_back(exec->end);
        if (!exec->end->done) exec->end->queues.push_back(stream);
    }
    exec->end = make_hidden<Mark>();
    end->signals.push_back(exec->end);
    give(stream, begin);
    give_nodes(exec, stream, start, end);
    for (const MarkRef &mark : end->waits)
        if (!mark->done) mark->queues.push_back(stream);
    give(stream, end);
    nudge();
    return cudaSuccess;
}

static bool same_shape(const Vector<Node> &a, const Vector<Node> &b)
{
    if (a.size() != b.size()) return false;
    for (size_t i = 0; i < a.size(); i++)
        if (a[i].after != b[i].after) return false;
    return true;
}

static int find_other_kind(const Vector<Node> &a, const Vector<Node> &b)
{
    for (size_t i = 0; i < a.size(); i++) {
        const Work &x = *a[i].work, &y = *b[i].work;
        if (typeid(x) != typeid(y)) return (int)i;
    }
    return -1;
}

} // namespace emu

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, enum cudaStreamCaptureMode mode)
{
    ENTER();
    if ((unsigned)mode > cudaStreamCaptureModeRelaxed) return fail(cudaErrorInvalidValue);
    Held held(lock);
    CUstream_st *stream = nullptr;
    const cudaError_t error = resolve(handle, &stream);
    if (error != cudaSuccess) return error;
    if (stream == stream->device->null_stream) return fail(cudaErrorStreamCaptureUnsupported);
    if (stream->capture) return fail(cudaErrorIllegalState);
    Capture *capture = new Capture();
    capture->id = ++n_captures;
    capture->mode = mode;
    capture->origin = stream;
    capture->thread = pthread_self();
    capture->streams.push_back(stream);
    captures.push_back(capture);
    stream->capture = capture;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t *graph)
{
    ENTER();
    if (!graph) return fail(cudaErrorInvalidValue);
    *graph = nullptr;
    Held held(lock);
    CUstream_st *stream = nullptr;
    cudaError_t error = resolve(handle, &stream);
    if (error != cudaSuccess) return error;
    Capture *capture = stream->capture;
    if (!capture) return fail(cudaErrorIllegalState);
    if (capture->origin != stream) return spoil(capture, cudaErrorStreamCaptureUnmatched);
    if (capture->mode != cudaStreamCaptureModeRelaxed && !pthread_equal(capture->thread, pthread_self()))
        return fail(cudaErrorStreamCaptureWrongThread);
    error = capture->spoilt        ? cudaErrorStreamCaptureInvalidated
            : !all_joined(capture) ? cudaErrorStreamCaptureUnjoined
                                   : cudaSuccess;
    if (error == cudaSuccess) {
        *graph = new CUgraph_st();
        (*graph)->nodes = std::move(capture->nodes);
        (*graph)->device = stream->device;
        n_graphs++;
    }
    end_capture(capture);
    return fail(error);
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, enum cudaStreamCaptureStatus *status)
{
    ENTER();
    if (!status) return fail(cudaErrorInvalidValue);
    Held held(lock);
    CUstream_st *stream = nullptr;
    cudaError_t error = resolve(handle, &stream);
    if (error == cudaSuccess) error = forbid_implicit(stream);
    if (error != cudaSuccess) return error;
    *status = !stream->capture          ? cudaStreamCaptureStatusNone
              : stream->capture->spoilt ? cudaStreamCaptureStatusInvalidated
                                        : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode)
{
    ENTER();
    if (!mode || (unsigned)*mode > cudaStreamCaptureModeRelaxed) return fail(cudaErrorInvalidValue);
    std::swap(*mode, thread_mode);
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    ENTER();
    if (!exec || !graph || flags & ~(unsigned long long)cudaGraphInstantiateFlagUseNodePriority)
        return fail(cudaErrorInvalidValue);
    Held held(lock);
    CUgraphExec_st *made = new CUgraphExec_st();
    made->nodes = graph->nodes;
    made->device = graph->device;
    cut_into_lanes(made);
    n_execs++;
    *exec = made;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    return cudaGraphInstantiate(exec, graph, flags);
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t)
{
    ENTER();
    return exec ? cudaSuccess : fail(cudaErrorInvalidValue);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t handle)
{
    ENTER();
    if (!exec) return fail(cudaErrorInvalidValue);
    Held held(lock);
    CUstream_st *stream = nullptr;
    cudaError_t error = resolve(handle, &stream);
    if (error == cudaSuccess) error = forbid_implicit(stream);
    if (error != cudaSuccess) return error;
    if (stream->capture) return spoil(stream->capture, cudaErrorNotSupported); /* no child graphs here */
    return fail(launch(exec, stream));
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph, cudaGraphExecUpdateResultInfo *info)
{
    ENTER();
    if (!exec || !graph || !info) return fail(cudaErrorInvalidValue);
    Held held(lock);
    *info = cudaGraphExecUpdateResultInfo();
    if (!same_shape(exec->nodes, graph->nodes)) {
        info->result = cudaGraphExecUpdateErrorTopologyChanged;
        return fail(cudaErrorGraphExecUpdateFailure);
    }
    const int other = find_other_kind(exec->nodes, graph->nodes);
    if (other >= 0) {
        info->result = cudaGraphExecUpdateErrorNodeTypeChanged;
        info->errorNode = (cudaGraphNode_t)(size_t)(other + 1);
        return fail(cudaErrorGraphExecUpdateFailure);
    }
    exec->nodes = graph->nodes;
    return cudaSuccess;
}

/* Handles of nodes are only their numbers: good for counting. */
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *n_nodes)
{
    ENTER();
    if (!graph || !n_nodes) return fail(cudaErrorInvalidValue);
    Held held(lock);
    for (size_t i = 0; nodes && i < *n_nodes; i++)
        nodes[i] = i < graph->nodes.size() ? (cudaGraphNode_t)(i + 1) : nullptr;
    if (!nodes || *n_nodes > graph->nodes.size()) *n_nodes = graph->nodes.size();
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    const cudaError_t error = enter_lightly();
    if (error != cudaSuccess) return error;
    if (!exec) return fail(cudaErrorInvalidValue);
    Held held(lock);
    for (CUstream_st *lane : exec->lanes)
        if (lane) close_stream(lane);
    delete exec;
    n_execs--;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    const cudaError_t error = enter_lightly();
    if (error != cudaSuccess) return error;
    if (!graph) return fail(cudaErrorInvalidValue);
    Held held(lock);
    delete graph;
    n_graphs--;
    return cudaSuccess;
}

} // extern "C"
