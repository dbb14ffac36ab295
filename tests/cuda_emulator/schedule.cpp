/* The seeded scheduler: with NT_EMU_SEED, chance decides which stream goes next, and how late.
 *
 * Without a seed each stream runs as soon as it can. With one, operations run one at a time, and none before
 * the host waits for something or chance lets a burst go at one of the host's calls; then streams are drawn
 * by a seeded generator. So work lags behind the host as far as the rules allow, streams overtake each other,
 * and one host thread sees the same order at each run of a seed. A pump thread lets bursts go while the host
 * is busy elsewhere, so nothing waits for ever. Random sleeps would be the simple way: slow, and never the
 * same twice. */
#include "tests/cuda_emulator/runtime.h"

#include <pthread.h>

namespace emu {

static struct {
    uint64_t state;
    bool busy;        /* an operation that was granted runs (or is about to) */
    uint64_t n_calls; /* of the host */
    uint64_t haste;   /* one call of the host in so many lets a burst go; changes now and then */
    bool pumping;
    Cond changed; /* busy ended */
    Cond work;    /* there may be some again; for the pump */
} sched;

/* Vigna's splitmix64: http://prng.di.unimi.it/splitmix64.c (public domain algorithm). */
uint64_t draw()
{
    if (sched.state == 0) sched.state = config().seed * 0x9E3779B97F4A7C15u + 1;
    uint64_t z = (sched.state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

bool ready(const CUstream_st *stream)
{
    if (stream->queue.empty() || stream->running) return false;
    for (const MarkRef &mark : stream->queue.front()->waits)
        if (!mark->done) return false;
    return true;
}

bool may_run(CUstream_st *stream)
{
    return !config().seeded || stream->granted;
}

void let_others_run()
{
    if (!config().seeded) return;
    sched.busy = false;
    sched.changed.wake_all();
}

/* Work whose end may depend on something outside; nobody waits for it here. */
static bool is_free_running(const Op *op)
{
    return op->work && (op->work->waits_outside || op->work->is_host);
}

void started(CUstream_st *stream, const Op *op)
{
    stream->granted = false;
    if (is_free_running(op)) let_others_run();
}

void finished(const Op *op)
{
    if (!is_free_running(op)) let_others_run();
}

/* Of the ready streams the one with the highest rank, which chance gave it and now and then changes: so one
 * stream runs far ahead of another as often as the other way round (Burckhardt et al. 2010, "A randomized
 * scheduler with probabilistic guarantees of finding bugs"). */
static CUstream_st *choose()
{
    CUstream_st *best = nullptr;
    for (int i = 0; i < n_devices(); i++)
        for (CUstream_st *s : device_at(i)->streams)
            if (ready(s) && !s->granted && (!best || s->rank > best->rank)) best = s;
    if (best && draw() % 8 == 0) best->rank = draw();
    return best;
}

bool run_something()
{
    if (!sched.busy) {
        CUstream_st *stream = choose();
        if (!stream) return false;
        stream->granted = true;
        sched.busy = true;
        stream->work.wake_all();
    }
    while (sched.busy)
        sched.changed.wait(lock);
    return true;
}

static void burst()
{
    for (uint64_t n = 1 + draw() % 8; n > 0; n--)
        if (!run_something()) return;
}

constexpr int64_t PATIENCE_NS = 10000000, HURRY_NS = 500000;

static bool idle()
{
    for (int i = 0; i < n_devices(); i++)
        if (device_at(i)->n_busy) return false;
    return true;
}

/* Where the host does something else for a while: bursts until it calls again. */
static void *pump(void *)
{
    Held held(lock);
    for (;;) {
        const uint64_t seen = sched.n_calls;
        sched.changed.wait(lock, PATIENCE_NS);
        while (sched.n_calls == seen && !idle()) {
            if (!sched.busy) burst();
            sched.changed.wait(lock, HURRY_NS);
        }
        while (idle())
            sched.work.wait(lock);
    }
    return nullptr;
}

void nudge()
{
    if (!config().seeded || serving) return;
    if (!sched.pumping) {
        pthread_t thread;
        sched.pumping = pthread_create(&thread, nullptr, pump, nullptr) == 0;
        if (sched.pumping) pthread_detach(thread);
    }
    sched.n_calls++;
    sched.work.wake_all();
    if (sched.haste == 0 || draw() % 64 == 0) sched.haste = (uint64_t)1 << (1 + draw() % 6);
    if (draw() % sched.haste == 0) burst();
}

} // namespace emu
