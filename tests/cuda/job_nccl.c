/* Collectives between devices: one rank, one device, over NCCL, and over the host for those who have no NCCL.
 * Built against the emulator (nccl_np1 to nccl_np8) and against the real libraries (gpu_job_nccl).
 *
 * All values are small integers, so every order of summation, and bfloat16 too where sums stay below 256,
 * gives the same numbers and comparisons are exact. What a host test cannot see is order: a collective must
 * come after the device's work that makes its input and before the work that uses its result, without the
 * host waiting in between. So the inputs are made on the device, and used there. */
#include "../parallel/parallel.h"

#include "dist/devices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t sizes[] = {1, 2, 3, 5, 1023, 65537, 524288, 524289};

#define N_SIZES (int)(sizeof sizes / sizeof sizes[0])
#define MOST    524289

/* Device memory of n floats, and a row of as many on the host. */
static struct {
    float *device, *other, *host;
} room;

static double element(int rank, int64_t i)
{
    return (double)(i % 13 + rank);
}

static double total(int size, int64_t i)
{
    return (double)(i % 13) * size + size * (size - 1) / 2.0;
}

static void *make_floats(nt_comm *comm)
{
    void *memory;
    EXPECT_OK(comm, nt_backend_alloc(comm->backend, &memory, MOST * sizeof(float)));
    return memory;
}

static void test_attach(nt_comm *comm)
{
    nt_backend_options options = {.threads = 1, .device = comm->local_rank};
    nt_backend *backend;
    EXPECT_OK(comm, nt_backend_create(&backend, "cuda", &options));
    EXPECT_OK(comm, nt_comm_attach(comm, backend));
    const char *expected = comm->size == 1 ? "self" : nt_comm_nccl.missing() ? "staged" : "nccl";
    EXPECT(comm, strcmp(comm->gradient->name, expected) == 0, "the plane is %s", comm->gradient->name);
    const char *nvls = getenv("NCCL_NVLS_ENABLE"); /* adds in another order every time */
    EXPECT(comm, strcmp(expected, "nccl") != 0 || (nvls && strcmp(nvls, "0") == 0), "NCCL_NVLS_ENABLE is %s",
           nvls ? nvls : "not set");
    EXPECT(comm, backend->device_id[0] && backend->device_name[0], "device '%s', '%s'", backend->device_name,
           backend->device_id);
    room.device = make_floats(comm);
    room.other = make_floats(comm);
    room.host = malloc(MOST * sizeof(float));
    EXPECT(comm, room.host, "out of memory");
}

/* n elements of this rank, half of each in `device`, so that the device has to add them up first. */
static void put(nt_comm *comm, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        room.host[i] = (float)element(comm->rank, i) / 2;
    EXPECT_OK(comm, nt_backend_upload(comm->backend, room.other, room.host, (size_t)n * sizeof(float)));
    EXPECT_OK(comm, nt_backend_sum(comm->backend, room.device, room.other, room.other, n));
}

/* Twice what lies there, so that the device has to use it. */
static void check(nt_comm *comm, int64_t n, int64_t begin, int64_t end, const char *what)
{
    EXPECT_OK(comm, nt_backend_sum(comm->backend, room.other, room.device, room.device, n));
    EXPECT_OK(comm, nt_backend_download(comm->backend, room.host, room.other, (size_t)n * sizeof(float)));
    for (int64_t i = begin; i < end; i++)
        EXPECT(comm, (double)room.host[i] == 2 * total(comm->size, i),
               "%s, element %lld of %lld is %g, not %g", what, (long long)i, (long long)n,
               (double)room.host[i] / 2, total(comm->size, i));
}

static void test_all_reduce(nt_comm *comm)
{
    for (int k = 0; k < N_SIZES; k++) {
        put(comm, sizes[k]);
        EXPECT_OK(comm, nt_comm_all_reduce(comm, room.device, sizes[k], NT_F32));
        EXPECT_OK(comm, nt_comm_wait(comm));
        check(comm, sizes[k], 0, sizes[k], "all-reduce");
    }
}

/* Many before one wait, as buckets are. */
static void test_all_reduce_in_pieces(nt_comm *comm)
{
    int64_t n = 65537, piece = 9973;
    put(comm, n);
    for (int64_t at = 0; at < n; at += piece)
        EXPECT_OK(comm, nt_comm_all_reduce(comm, room.device + at, n - at < piece ? n - at : piece, NT_F32));
    EXPECT_OK(comm, nt_comm_wait(comm));
    check(comm, n, 0, n, "pieces");
}

static void test_scatter_gather(nt_comm *comm)
{
    for (int k = 0; k < N_SIZES; k++) {
        int64_t begin, end;
        nt_comm_part(sizes[k], comm->rank, comm->size, &begin, &end);
        put(comm, sizes[k]);
        EXPECT_OK(comm, nt_comm_reduce_scatter(comm, room.device, sizes[k], NT_F32));
        EXPECT_OK(comm, nt_comm_wait(comm));
        check(comm, sizes[k], begin, end, "reduce-scatter");
        EXPECT_OK(comm, nt_comm_all_gather(comm, room.device, sizes[k], NT_F32));
        EXPECT_OK(comm, nt_comm_wait(comm));
        check(comm, sizes[k], 0, sizes[k], "all-gather");
    }
}

static void test_broadcast(nt_comm *comm)
{
    int64_t n = 10007;
    for (int root = 0; root < comm->size; root++) {
        put(comm, n);
        EXPECT_OK(comm, nt_comm_broadcast(comm, room.device, (size_t)n * sizeof(float), root));
        EXPECT_OK(comm, nt_comm_wait(comm));
        EXPECT_OK(comm,
                  nt_backend_download(comm->backend, room.host, room.device, (size_t)n * sizeof(float)));
        for (int64_t i = 0; i < n; i++)
            EXPECT(comm, (double)room.host[i] == element(root, i), "root %d, element %lld is %g", root,
                   (long long)i, (double)room.host[i]);
    }
}

/* Small integers have no more than 8 bits; what has more is rounded before it is sent, and comes out that
 * way. */
static void test_bf16_wire(nt_comm *comm)
{
    int64_t n = 1000;
    if (comm->size == 1) return;
    comm->bf16_wire = true;
    for (int k = 0; k < N_SIZES; k++) {
        put(comm, sizes[k]);
        EXPECT_OK(comm, nt_comm_sum_gradients(comm, room.device, sizes[k], NT_F32));
        EXPECT_OK(comm, nt_comm_wait(comm));
        check(comm, sizes[k], 0, sizes[k], "bfloat16");
    }
    for (int64_t i = 0; i < n; i++)
        room.host[i] = 1 + 0x1p-9f;
    EXPECT_OK(comm, nt_backend_upload(comm->backend, room.device, room.host, (size_t)n * sizeof(float)));
    EXPECT_OK(comm, nt_comm_sum_gradients(comm, room.device, n - 1, NT_F32));
    EXPECT_OK(comm, nt_comm_wait(comm));
    EXPECT_OK(comm, nt_backend_download(comm->backend, room.host, room.device, (size_t)n * sizeof(float)));
    for (int64_t i = 0; i < n; i++) {
        float expected = i < n - 1 ? (float)comm->size : 1 + 0x1p-9f;
        EXPECT(comm, room.host[i] == expected, "element %lld is %a", (long long)i, (double)room.host[i]);
    }
    comm->bf16_wire = false;
}

/* The other plane for devices, whatever this build has. */
static void test_staged(nt_comm *comm)
{
    nt_backend *backend = comm->backend;
    if (comm->size == 1) return;
    nt_comm_detach(comm);
    comm->backend = backend;
    comm->gradient = &nt_comm_staged;
    EXPECT_OK(comm, nt_comm_staged.create(comm));
    test_all_reduce(comm);
    test_scatter_gather(comm);
    test_broadcast(comm);
    test_bf16_wire(comm);
    EXPECT_OK(comm, nt_comm_attach(comm, backend)); /* and a second time over NCCL */
    test_all_reduce(comm);
}

static void test_detach(nt_comm *comm)
{
    nt_backend *backend = comm->backend;
    nt_backend_free(backend, room.device, MOST * sizeof(float));
    nt_backend_free(backend, room.other, MOST * sizeof(float));
    free(room.host);
    nt_comm_detach(comm);
    EXPECT(comm, !backend->poll && !backend->agree, "something is left");
    nt_backend_destroy(backend);
}

int main(void)
{
    static const parallel_test tests[] = {
        {"attach", test_attach},
        {"all_reduce", test_all_reduce},
        {"all_reduce_in_pieces", test_all_reduce_in_pieces},
        {"scatter_gather", test_scatter_gather},
        {"broadcast", test_broadcast},
        {"bf16_wire", test_bf16_wire},
        {"staged", test_staged},
        {"detach", test_detach},
    };
    return parallel_main(tests, (int)(sizeof tests / sizeof tests[0]));
}
