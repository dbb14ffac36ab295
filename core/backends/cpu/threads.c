/* Threads: how many a piece of work is worth, and loops shared among them.
 *
 * All or one. A parallel region costs about a microsecond while the threads of the last one still wait for
 * the next, and a whole time slice where another process has taken one of their cores; so small work stays on
 * the calling thread. Something between one and all was the alternative: libgomp ends the threads that a
 * smaller team leaves out, and a larger one has to start them again, at 20 to 50 microseconds each. One
 * thread is different: that is no team, and the others go on waiting.
 *
 * oneDNN shares the OpenMP runtime. It looks at omp_get_max_threads() when a primitive descriptor is made,
 * and at every run; so nt_cpu_use_threads is called in front of both. */
#include "core/backends/cpu/cpu.h"

#include <omp.h>

int nt_cpu_threads(const nt_cpu *cpu, int64_t work)
{
    return work >= cpu->worth_threads ? cpu->threads : 1;
}

int nt_cpu_use_threads(int threads)
{
    const int before = omp_get_max_threads();
    if (threads != before) omp_set_num_threads(threads);
    return before;
}

void nt_cpu_each(const nt_cpu *cpu, int64_t n, int64_t work, nt_cpu_item_fn fn, void *arg)
{
    const int threads = nt_cpu_threads(cpu, work);
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t i = 0; i < n; i++)
        fn(arg, i);
}

typedef struct ranges {
    nt_cpu_range_fn fn;
    void *arg;
    int64_t n, share;
} ranges;

static void run_range(void *arg, int64_t i)
{
    const ranges *r = arg;
    const int64_t begin = i * r->share, left = r->n - begin;
    if (left > 0) r->fn(r->arg, begin, begin + (left < r->share ? left : r->share));
}

void nt_cpu_parallel(const nt_cpu *cpu, int64_t n, nt_cpu_range_fn fn, void *arg)
{
    enum { GRAIN = 64 };
    const int64_t threads = nt_cpu_threads(cpu, n), share = (n / threads + GRAIN) / GRAIN * GRAIN;
    ranges r = {fn, arg, n, share};
    nt_cpu_each(cpu, threads, n, run_range, &r);
}
