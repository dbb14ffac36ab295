/* Threads of the cpu backend: which work is shared, that shares cover everything once, and that oneDNN runs
 * with the number a primitive was described for. */
#include "core/backends/cpu/cpu.h"

#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static nt_backend *backend;
static nt_cpu *cpu;

static void begin(int threads)
{
    const nt_backend_options options = {.threads = threads};
    assert_int_equal(nt_backend_create(&backend, "cpu", &options), NT_OK);
    cpu = backend->state;
}

typedef struct seen {
    unsigned char *times; /* (n) */
    int64_t n, calls;
    int team;
} seen;

static void count_range(void *arg, int64_t from, int64_t to)
{
    seen *s = arg;
    if (from % 64 != 0 || from >= to || to > s->n || (to % 64 != 0 && to != s->n)) s->calls += 1000;
    for (int64_t i = from; i < to; i++)
        s->times[i]++;
#pragma omp atomic
    s->calls++;
#pragma omp atomic write
    s->team = omp_get_num_threads();
}

static void count_item(void *arg, int64_t i)
{
    count_range(arg, i * 64, i * 64 + 64);
}

/* Each element once, in stretches that begin at multiples of 64; no more stretches than threads. */
static void ranges_cover(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 63, 64, 65, 128, 191, 192, 193, 1000, 32767, 32768, 100000};
    for (int threads = 1; threads <= 4; threads++) {
        begin(threads);
        for (int worth = 0; worth < 2; worth++)
            for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
                seen s = {.times = calloc(1, (size_t)sizes[i]), .n = sizes[i]};
                cpu->worth_threads = worth ? NT_CPU_WORTH_THREADS : 0;
                nt_cpu_parallel(cpu, s.n, count_range, &s);
                for (int64_t j = 0; j < s.n; j++)
                    assert_int_equal(s.times[j], 1);
                assert_in_range(s.calls, 1, threads);
                if (worth && s.n < NT_CPU_WORTH_THREADS) assert_int_equal(s.calls, 1);
                free(s.times);
            }
        nt_backend_destroy(backend);
    }
}

/* Small work stays on one thread, large work is shared by all; nothing in between, which would end threads.
 */
static void all_or_one(void **state)
{
    (void)state;
    begin(3);
    assert_int_equal(nt_cpu_threads(cpu, NT_CPU_WORTH_THREADS - 1), 1);
    assert_int_equal(nt_cpu_threads(cpu, NT_CPU_WORTH_THREADS), 3);
    assert_int_equal(nt_cpu_threads(cpu, (int64_t)1 << 40), 3);
    for (int large = 0; large < 2; large++) {
        seen s = {.times = calloc(1, 640), .n = 640};
        nt_cpu_each(cpu, 10, large ? NT_CPU_WORTH_THREADS : 640, count_item, &s);
        assert_int_equal(s.calls, 10);
        assert_int_equal(s.team, large ? 3 : 1);
        for (int i = 0; i < 640; i++)
            assert_int_equal(s.times[i], 1);
        free(s.times);
    }
    nt_backend_destroy(backend);
}

/* A reorder of `n` channels of 8x8 runs with the threads that it is worth, whatever ran before. */
static void run_reorder(int64_t n, int wanted)
{
    nt_md plain, blocked;
    nt_cpu_prim prim = {0};
    const int64_t dims[] = {1, n, 8, 8};
    float *x = aligned_alloc(64, (size_t)n * 256), *y = aligned_alloc(64, (size_t)n * 256);
    assert_true(x && y);
    memset(x, 0, (size_t)n * 256);
    assert_int_equal(nt_cpu_md(cpu, &plain, 4, dims, dnnl_nchw), NT_OK);
    assert_int_equal(nt_cpu_md(cpu, &blocked, 4, dims, dnnl_nChw16c), NT_OK);
    (void)nt_cpu_use_threads(2);
    assert_int_equal(nt_cpu_reorder_create(cpu, &prim, plain, blocked, false), NT_OK);
    assert_int_equal(omp_get_max_threads(), 2); /* as before */
    assert_int_equal(prim.threads, wanted);
    assert_int_equal(nt_cpu_prim_bind(&prim, DNNL_ARG_FROM, x), NT_OK);
    assert_int_equal(nt_cpu_prim_bind(&prim, DNNL_ARG_TO, y), NT_OK);
    assert_int_equal(prim.scratch_bytes, 0);
    assert_int_equal(nt_cpu_prim_run(cpu, &prim), NT_OK);
    assert_int_equal(omp_get_max_threads(), wanted);
    nt_cpu_prim_free(&prim);
    free(x);
    free(y);
}

static void primitives_keep_their_number(void **state)
{
    (void)state;
    begin(3);
    run_reorder(16, 1);
    run_reorder(1024, 3);
    run_reorder(16, 1);
    nt_backend_destroy(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_cover),
        cmocka_unit_test(all_or_one),
        cmocka_unit_test(primitives_keep_their_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
