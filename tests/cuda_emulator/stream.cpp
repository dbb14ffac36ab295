/* Streams and events: queues served by threads, and marks that order them; see runtime.h.
 *
 * The orders that ThreadSanitizer is told: a call before the operation that it gave; an operation before what
 * waits for its mark. The serving thread itself orders a stream. Nothing else, so that two streams without an
 * event between them race. */
#include "tests/cuda_emulator/entry.h"
#include "tests/cuda_emulator/runtime.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <pthread.h>

namespace emu {

Lock lock;
__thread CUstream_st *serving;
static int n_streams_made;
static auto &events = *new Vector<CUevent_st *>;

/* Runs one operation without the lock. */
static void execute(CUstream_st *stream, Op *op)
{
    order_after(op);
    for (const MarkRef &mark : op->waits)
        order_after(mark.get());
    for (CUstream_st *other : op->after)
        order_after(other);
    if (op->work && stream->device->sticky == cudaSuccess) {
        if (op->work->is_host) close_memory(stream->device);
        op->work->run();
        if (op->work->is_host) open_memory(stream->device);
    }
    for (const MarkRef &mark : op->signals)
        order_before(mark.get());
    order_before(stream);
}

static void set(Mark *mark)
{
    mark->done = true;
    mark->time_ns = clock_ns();
    for (CUstream_st *waiting : mark->queues)
        waiting->work.wake_all();
    mark->queues.clear();
    mark->hosts.wake_all();
}

/* Serves the stream until it is closed and empty. */
static void serve_queue(CUstream_st *stream)
{
    while (!stream->queue.empty() || !stream->closing) {
        if (!ready(stream) || !may_run(stream)) {
            stream->work.wait(lock);
            continue;
        }
        Op *op = stream->queue.front();
        stream->running = true;
        started(stream, op);
        lock.give();
        execute(stream, op);
        lock.take();
        stream->queue.pop_front();
        stream->running = false;
        for (const MarkRef &mark : op->signals)
            set(mark.get());
        finished(op);
        if (--stream->device->n_busy == 0) memory_idle(stream->device);
        lock.give();
        delete op;
        lock.take();
    }
}

static void *serve(void *arg)
{
    CUstream_st *stream = static_cast<CUstream_st *>(arg);
    serving = stream;
    catch_faults_on_this_thread();
    open_memory(stream->device);
    Held held(lock);
    serve_queue(stream);
    auto &all = stream->device->streams;
    all.erase(std::find(all.begin(), all.end(), stream));
    delete stream;
    end_engine();
    forget_faults_on_this_thread();
    return nullptr;
}

CUstream_st *make_stream(Device *device, unsigned flags, int priority)
{
    CUstream_st *stream = new CUstream_st();
    stream->device = device;
    stream->flags = flags;
    stream->priority = priority;
    stream->number = n_streams_made++;
    if (config().seeded) stream->rank = draw();
    device->streams.push_back(stream);
    return stream;
}

void close_stream(CUstream_st *stream)
{
    stream->closing = true;
    if (stream->serving) {
        stream->work.wake_all();
        return;
    }
    auto &all = stream->device->streams;
    all.erase(std::find(all.begin(), all.end(), stream));
    delete stream;
}

static void start_serving(CUstream_st *stream)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attributes, serve, stream) != 0)
        nt_emu_die("cannot start a thread for a stream");
    pthread_attr_destroy(&attributes);
    stream->serving = true;
}

/* A stream of this process, or an error. */
cudaError_t resolve(cudaStream_t handle, CUstream_st **stream)
{
    if (handle == nullptr || handle == cudaStreamLegacy) {
        *stream = current_device()->null_stream;
        return cudaSuccess;
    }
    for (int i = 0; i < n_devices(); i++)
        for (CUstream_st *s : device_at(i)->streams)
            if (s == handle && !s->closing && !s->internal) {
                *stream = s;
                return cudaSuccess;
            }
    nt_emu_complain("%p is no stream (never was, or was destroyed)", (void *)handle);
    return fail(cudaErrorInvalidResourceHandle);
}

MarkRef mark_tail(CUstream_st *stream)
{
    if (stream->queue.empty()) return MarkRef();
    Op *last = stream->queue.back();
    if (stream->running && stream->queue.size() == 1) { /* its signals are being read */
        Op *after = new Op();
        order_before(after);
        stream->queue.push_back(after);
        stream->device->n_busy++;
        last = after;
    }
    if (last->signals.empty()) last->signals.push_back(make_hidden<Mark>());
    return last->signals.front();
}

static void wait_in_queue(CUstream_st *stream, Op *op, const MarkRef &mark)
{
    if (!mark || mark->done) return;
    op->waits.push_back(mark);
    mark->queues.push_back(stream);
}

static void wait_for_all_of(CUstream_st *stream, Op *op, CUstream_st *other)
{
    wait_in_queue(stream, op, mark_tail(other));
    op->after.push_back(other);
}

/* Legacy default stream: it waits for all blocking streams, and they for it. */
static void order_by_null_stream(CUstream_st *stream, Op *op)
{
    Device *device = stream->device;
    if (stream == device->null_stream) {
        for (CUstream_st *other : device->streams)
            if (other->blocking()) wait_for_all_of(stream, op, other);
    } else if (stream->blocking() && device->null_stream->serving) {
        wait_for_all_of(stream, op, device->null_stream);
    }
}

void give(CUstream_st *stream, Op *op)
{
    if (!stream->serving) start_serving(stream);
    order_by_null_stream(stream, op);
    order_before(op);
    stream->queue.push_back(op);
    if (stream->device->n_busy++ == 0) memory_busy(stream->device);
    if (!config().seeded && stream->queue.size() == 1) stream->work.wake_all();
}

cudaError_t submit(CUstream_st *stream, WorkRef work)
{
    if (stream->capture) return capture_node(stream, std::move(work));
    const cudaError_t error = forbid_implicit(stream);
    if (error != cudaSuccess) return error;
    Op *op = new Op();
    op->work = std::move(work);
    give(stream, op);
    nudge();
    return cudaSuccess;
}

void wait_for(const MarkRef &mark)
{
    if (!mark) return;
    while (!mark->done) {
        if (!config().seeded)
            mark->hosts.wait(lock);
        else if (!run_something())
            mark->hosts.wait(lock, 200000); /* something outside is awaited */
    }
    order_after(mark.get());
}

bool poll(const MarkRef &mark)
{
    nudge();
    if (mark && !mark->done) {
        if (config().seeded) run_something(); /* who polls must see progress */
        return false;
    }
    if (mark) order_after(mark.get());
    return true;
}

void wait_for_streams(const Vector<CUstream_st *> &streams)
{
    Vector<MarkRef> marks;
    for (CUstream_st *s : streams)
        marks.push_back(mark_tail(s));
    for (const MarkRef &mark : marks)
        wait_for(mark);
    for (CUstream_st *s : streams) /* perhaps gone by now: only its address counts */
        order_after(s);
}

void drain(Device *device)
{
    wait_for_streams(Vector<CUstream_st *>(device->streams));
}

int count_stream_leaks(bool say)
{
    int n = 0;
    for (int i = 0; i < n_devices(); i++)
        for (CUstream_st *s : device_at(i)->streams) {
            if (s == device_at(i)->null_stream || s->closing || s->internal) continue;
            n++;
            if (say) fprintf(stderr, "cuda emulator: leak: stream %d of device %d\n", s->number, i);
        }
    if (say && !events.empty()) fprintf(stderr, "cuda emulator: leak: %zu event(s)\n", events.size());
    return n + (int)events.size();
}

static cudaError_t find_event(cudaEvent_t event)
{
    if (std::find(events.begin(), events.end(), event) != events.end()) return cudaSuccess;
    nt_emu_complain("%p is no event (never was, or was destroyed)", (void *)event);
    return fail(cudaErrorInvalidResourceHandle);
}

/* Work that calls a function of the host. */
struct HostWork : Work {
    cudaHostFn_t fn;
    void *user_data;
    HostWork(cudaHostFn_t f, void *u) : Work("host function"), fn(f), user_data(u)
    {
        is_host = true;
    }
    void run() override
    {
        fn(user_data);
    }
};

/* Work of the emulated libraries. */
struct LibraryWork : Work {
    emu_work given;
    bool owns = false;
    explicit LibraryWork(const emu_work &w) : Work(w.what), given(w)
    {
        waits_outside = w.waits_outside;
    }
    ~LibraryWork() override
    {
        order_after(this);
        if (owns && given.destroy) given.destroy(given.arg);
    }
    void run() override
    {
        const cudaError_t error = given.run(given.arg);
        if (error != cudaSuccess) serving->device->sticky = error;
        order_before(this);
    }
};

} // namespace emu

using namespace emu;

extern "C" {

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority)
{
    ENTER();
    if (!stream || (flags & ~(unsigned)cudaStreamNonBlocking)) return fail(cudaErrorInvalidValue);
    Held held(lock);
    *stream = make_stream(current_device(), flags, std::clamp(priority, -5, 0));
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    return cudaStreamCreateWithPriority(stream, flags, 0);
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    return cudaStreamCreateWithPriority(stream, cudaStreamDefault, 0);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    ENTER();
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return cudaSuccess;
}

cudaError_t cudaStreamGetPriority(cudaStream_t handle, int *priority)
{
    ENTER();
    Held held(lock);
    CUstream_st *stream = nullptr;
    CHECK(resolve(handle, &stream));
    *priority = stream->priority;
    return cudaSuccess;
}

cudaError_t cudaStreamGetFlags(cudaStream_t handle, unsigned *flags)
{
    ENTER();
    Held held(lock);
    CUstream_st *stream = nullptr;
    CHECK(resolve(handle, &stream));
    *flags = stream->flags;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t handle)
{
    CHECK(enter_lightly());
    Held held(lock);
    CUstream_st *stream = nullptr;
    CHECK(resolve(handle, &stream));
    if (stream == stream->device->null_stream) return fail(cudaErrorInvalidResourceHandle);
    CHECK(forbid_in_capture(stream));
    close_stream(stream);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle)
{
    ENTER();
    Held held(lock);
    CUstream_st *stream = nullptr;
    CHECK(resolve(handle, &stream));
    CHECK(forbid_in_capture(stream));
    CHECK(forbid_implicit(stream));
    Device *device = stream->device;
    Vector<CUstream_st *> awaited = {stream};
    if (stream == device->null_stream) /* waits for the blocking streams too */
        for (CUstream_st *s : device->streams)
            if (s->blocking()) awaited.push_back(s);
    wait_for_streams(awaited);
    return fail(device->sticky);
}

cudaError_t cudaStreamQuery(cudaStream_t handle)
{
    ENTER();
    Held held(lock);
    CUstream_st *stream = nullptr;
    CHECK(resolve(handle, &stream));
    CHECK(forbid_in_capture(stream));
    CHECK(forbid_implicit(stream));
    const bool done = poll(mark_tail(stream));
    if (stream->device->sticky != cudaSuccess) return fail(stream->device->sticky);
    if (done) order_after(stream);
    return done ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaDeviceSynchronize(void)
{
    ENTER();
    Held held(lock);
    CHECK(forbid_in_any_capture(current_device()));
    drain(current_device());
    check_canaries(current_device());
    return fail(current_device()->sticky);
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t fn, void *user_data)
{
    ENTER();
    if (!fn) return fail(cudaErrorInvalidValue);
    Held held(lock);
    CUstream_st *stream = nullptr;
    CHECK(resolve(handle, &stream));
    return fail(submit(stream, make_hidden<HostWork>(fn, user_data)));
}

cudaError_t emu_enqueue(cudaStream_t handle, const emu_work *given)
{
    ENTER();
    auto work = make_hidden<LibraryWork>(*given); /* freed without the lock */
    Held held(lock);
    CUstream_st *stream = nullptr;
    CHECK(resolve(handle, &stream));
    CHECK(fail(submit(stream, work)));
    work->owns = true;
    return cudaSuccess;
}

int emu_stream_device(cudaStream_t handle)
{
    if (enter_lightly() != cudaSuccess) return -1;
    Held held(lock);
    CUstream_st *stream = nullptr;
    return resolve(handle, &stream) == cudaSuccess ? stream->device->index : -1;
}

uint64_t nt_emu_random(void)
{
    if (!config().seeded) return 0;
    Held held(lock);
    return draw();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    ENTER();
    if (!event) return fail(cudaErrorInvalidValue);
    if (flags & cudaEventInterprocess) return fail(cudaErrorNotSupported);
    Held held(lock);
    CUevent_st *e = new CUevent_st();
    e->flags = flags;
    events.push_back(e);
    *event = e;
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    CHECK(enter_lightly());
    Held held(lock);
    CHECK(find_event(event));
    events.erase(std::find(events.begin(), events.end(), event));
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle)
{
    ENTER();
    Held held(lock);
    CHECK(find_event(event));
    CUstream_st *stream = nullptr;
    CHECK(resolve(handle, &stream));
    if (stream->capture) return fail(capture_record(event, stream));
    CHECK(forbid_implicit(stream));
    event->capture_id = 0;
    event->mark = make_hidden<Mark>();
    Op *op = new Op();
    op->signals.push_back(event->mark);
    give(stream, op);
    nudge();
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned flags)
{
    ENTER();
    if (flags) return fail(cudaErrorInvalidValue);
    Held held(lock);
    CHECK(find_event(event));
    CUstream_st *stream = nullptr;
    CHECK(resolve(handle, &stream));
    if (stream->capture || event->capture_id) return fail(capture_wait(stream, event));
    if (!event->mark) return cudaSuccess; /* never recorded: nothing to wait for */
    Op *op = new Op();
    if (event->mark->done)
        op->waits.push_back(event->mark); /* for the order only */
    else
        wait_in_queue(stream, op, event->mark);
    give(stream, op);
    nudge();
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    ENTER();
    Held held(lock);
    CHECK(find_event(event));
    if (event->capture_id) return fail(cudaErrorCapturedEvent);
    CHECK(forbid_unsafe());
    const bool done = poll(event->mark);
    if (current_device()->sticky != cudaSuccess) return fail(current_device()->sticky);
    return done ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    ENTER();
    Held held(lock);
    CHECK(find_event(event));
    if (event->capture_id) return fail(cudaErrorCapturedEvent);
    CHECK(forbid_unsafe());
    wait_for(event->mark);
    return fail(current_device()->sticky);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
    ENTER();
    Held held(lock);
    CHECK(find_event(start));
    CHECK(find_event(end));
    if (!ms) return fail(cudaErrorInvalidValue);
    if ((start->flags | end->flags) & cudaEventDisableTiming || !start->mark || !end->mark)
        return fail(cudaErrorInvalidResourceHandle);
    if (!start->mark->done || !end->mark->done) return fail(cudaErrorNotReady);
    *ms = (float)((double)(end->mark->time_ns - start->mark->time_ns) * 1e-6);
    return cudaSuccess;
}

} // extern "C"
