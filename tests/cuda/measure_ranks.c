/* How fast sums over the ranks are: all-reduce in float32 and as bfloat16, reduce-scatter and all-gather, by
 * size; and what is gained by one call rather than buckets. Prints Markdown for the report of
 * scripts/gpu_check.sh. Bus bandwidth as nccl-tests defines it: bytes times 2 (n - 1) / n for an all-reduce,
 * (n - 1) / n for the other two, so that it compares with what the links can do whatever n. */
#include "../parallel/parallel.h"

#include "core/clock.h"

#include <stdio.h>

#ifdef NT_CUDA_EMULATOR
enum { MOST = 1 << 12, TIMES = 1 };
#else
enum { MOST = 1 << 26, TIMES = 20 }; /* floats: 256 MiB */
#endif

static float *buffer;

static void attach(nt_comm *comm)
{
    const nt_backend_options options = {.threads = 1, .device = comm->local_rank};
    nt_backend *backend;
    EXPECT_OK(comm, nt_backend_create(&backend, "cuda", &options));
    EXPECT_OK(comm, nt_comm_attach(comm, backend));
    EXPECT_OK(comm, nt_backend_alloc(backend, (void **)&buffer, MOST * sizeof *buffer));
    if (comm->rank == 0)
        printf("%d ranks, %s, %s\n\n", comm->size, comm->gradient->name, backend->device_name);
}

typedef nt_status (*collective)(nt_comm *comm, int64_t n);

static nt_status all_reduce(nt_comm *comm, int64_t n)
{
    return nt_comm_all_reduce(comm, buffer, n, NT_F32);
}

static nt_status all_reduce_bf16(nt_comm *comm, int64_t n)
{
    comm->bf16_wire = true;
    nt_status status = nt_comm_sum_gradients(comm, buffer, n, NT_F32);
    comm->bf16_wire = false;
    return status;
}

static nt_status reduce_scatter(nt_comm *comm, int64_t n)
{
    return nt_comm_reduce_scatter(comm, buffer, n, NT_F32);
}

static nt_status all_gather(nt_comm *comm, int64_t n)
{
    return nt_comm_all_gather(comm, buffer, n, NT_F32);
}

/* Seconds of one call on the slowest rank. */
static double seconds_of(nt_comm *comm, collective call, int64_t n)
{
    double began = 0;
    for (int i = -3; i < TIMES; i++) {
        if (i == 0) {
            EXPECT_OK(comm, nt_comm_wait(comm));
            EXPECT_OK(comm, nt_backend_sync(comm->backend));
            EXPECT_OK(comm, nt_comm_barrier(comm));
            began = nt_clock_s();
        }
        EXPECT_OK(comm, call(comm, n));
    }
    EXPECT_OK(comm, nt_comm_wait(comm));
    EXPECT_OK(comm, nt_backend_sync(comm->backend));
    double seconds = (nt_clock_s() - began) / TIMES;
    EXPECT_OK(comm, nt_comm_host_reduce(comm, &seconds, 1, NT_REDUCE_MAX));
    return seconds;
}

static void measure(nt_comm *comm)
{
    static const struct {
        const char *name;
        collective call;
        double factor; /* of (n - 1) / n */
    } calls[] = {{"all-reduce", all_reduce, 2},
                 {"all-reduce as bfloat16", all_reduce_bf16, 2},
                 {"reduce-scatter", reduce_scatter, 1},
                 {"all-gather", all_gather, 1}};
    const double part = (double)(comm->size - 1) / comm->size;
    if (comm->rank == 0) printf("| collective | MiB | us | GB/s | bus GB/s |\n|---|---|---|---|---|\n");
    for (int i = 0; i < NT_N_ELEMS(calls); i++)
        for (int64_t n = 1 << 10; n <= MOST; n *= 4) {
            const double seconds = seconds_of(comm, calls[i].call, n), gb = 1e-9 * (double)n * sizeof *buffer;
            if (comm->rank == 0)
                printf("| %s | %g | %.1f | %.2f | %.2f |\n", calls[i].name,
                       (double)n * sizeof *buffer / 0x1p20, 1e6 * seconds, gb / seconds,
                       gb / seconds * part * calls[i].factor);
        }
}

static void detach(nt_comm *comm)
{
    nt_backend *backend = comm->backend;
    nt_backend_free(backend, buffer, MOST * sizeof *buffer);
    nt_comm_detach(comm);
    nt_backend_destroy(backend);
}

int main(void)
{
    static const parallel_test tests[] = {{"attach", attach}, {"measure", measure}, {"detach", detach}};
    return parallel_main(tests, NT_N_ELEMS(tests));
}
