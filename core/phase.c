/* The one place of core/phase.h. Plain relaxed atomics: the watchdog looks every second or so, and a name
 * that is one phase older than its step harms nobody. */
#include "core/phase.h"

#include "core/clock.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

static struct {
    _Atomic(const char *) name;
    atomic_bool waits;
    _Atomic int64_t step;
    _Atomic uint64_t ticks;
    void (*hook)(const nt_phase *here); /* of the main thread */
} here = {.name = "start", .step = -1};

/* Of the main thread: what it did since the last nt_phase_take_times, and since when it does what it does. */
static struct {
    nt_phase_time phase[NT_MAX_PHASES];
    int n;
    double since;
} spent;

/* Names are constants, but not every file has the same copy of them. */
static nt_phase_time *time_of(const char *name)
{
    for (int i = 0; i < spent.n; i++)
        if (spent.phase[i].name == name || strcmp(spent.phase[i].name, name) == 0) return &spent.phase[i];
    if (spent.n == NT_MAX_PHASES) return &spent.phase[NT_MAX_PHASES - 1];
    bool last = spent.n == NT_MAX_PHASES - 1;
    spent.phase[spent.n] = (nt_phase_time){.name = last ? NT_PHASE_REST : name};
    return &spent.phase[spent.n++];
}

static void count_time(void)
{
    double now = nt_clock_s();
    if (spent.since > 0)
        time_of(atomic_load_explicit(&here.name, memory_order_relaxed))->seconds += now - spent.since;
    spent.since = now;
}

int nt_phase_take_times(nt_phase_time times[NT_MAX_PHASES])
{
    count_time();
    int n = spent.n;
    memcpy(times, spent.phase, sizeof spent.phase);
    spent.n = 0;
    return n;
}

static void call_hook(void)
{
    nt_phase phase = nt_phase_get();
    here.hook(&phase);
}

static void phase_set(const char *name, bool waits)
{
    count_time();
    atomic_store_explicit(&here.name, name, memory_order_relaxed);
    atomic_store_explicit(&here.waits, waits, memory_order_relaxed);
    nt_phase_tick();
    if (here.hook) call_hook();
}

void nt_phase_set_step(int64_t step)
{
    bool begins = atomic_exchange_explicit(&here.step, step, memory_order_relaxed) != step;
    nt_phase_tick();
    if (begins && here.hook) call_hook();
}

void nt_phase_enter(const char *name)
{
    phase_set(name, false);
}

void nt_phase_wait(const char *name)
{
    phase_set(name, true);
}

void nt_phase_tick(void)
{
    atomic_fetch_add_explicit(&here.ticks, 1, memory_order_relaxed);
}

nt_phase nt_phase_get(void)
{
    return (nt_phase){.name = atomic_load_explicit(&here.name, memory_order_relaxed),
                      .waits = atomic_load_explicit(&here.waits, memory_order_relaxed),
                      .step = atomic_load_explicit(&here.step, memory_order_relaxed),
                      .ticks = atomic_load_explicit(&here.ticks, memory_order_relaxed)};
}

void nt_phase_set_hook(void (*hook)(const nt_phase *phase))
{
    here.hook = hook;
}
