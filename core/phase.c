/* The one place of core/phase.h. Plain relaxed atomics: the watchdog looks every second or so, and a name
 * that is one phase older than its step harms nobody. */
#include "core/phase.h"

#include <stdatomic.h>
#include <stddef.h>

static struct {
    _Atomic(const char *) name;
    atomic_bool waits;
    _Atomic int64_t step;
    _Atomic uint64_t ticks;
    void (*hook)(const nt_phase *here); /* of the main thread */
} here = {.name = "start", .step = -1};

static void call_hook(void)
{
    nt_phase phase = nt_phase_get();
    here.hook(&phase);
}

static void phase_set(const char *name, bool waits)
{
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
