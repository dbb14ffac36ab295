/* Collectives with exactly predictable sums (the way nccl-tests does it): all values are small integers, so
 * every order of summation gives the same float and the comparison is exact. Where rounding is the subject,
 * the oracle is the sum in the order of ranks, and the comparison is of bits. */
#include "parallel.h"

#include "core/log.h"
#include "core/rng.h"
#include "dist/devices.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_F32 ((int64_t)524288) /* elements at which dist/comm_mpi.c splits */
#define GUARD     8                 /* elements behind the buffer that nobody may touch */

static const int64_t sizes[] = {
    0, 1, 2, 3, 5, 1023, 65537, PIECE_F32 / 2, PIECE_F32 - 1, PIECE_F32, PIECE_F32 + 1, 2 * PIECE_F32 + 3};

#define N_SIZES (int)(sizeof sizes / sizeof sizes[0])

static double element(int rank, int64_t i)
{
    return (double)(i % 251 + 3 * rank - 2);
}

static double total(int size, int64_t i)
{
    return (double)(i % 251 - 2) * size + 3.0 * size * (size - 1) / 2;
}

static double get(const void *buffer, nt_dtype dtype, int64_t i)
{
    return dtype == NT_F64 ? ((const double *)buffer)[i] : (double)((const float *)buffer)[i];
}

static void set(void *buffer, nt_dtype dtype, int64_t i, double value)
{
    if (dtype == NT_F64)
        ((double *)buffer)[i] = value;
    else
        ((float *)buffer)[i] = (float)value;
}

/* n elements of this rank, and the guard. */
static void *make_buffer(nt_comm *comm, int64_t n, nt_dtype dtype)
{
    void *buffer = malloc((size_t)(n + GUARD) * nt_dtype_bytes(dtype));
    EXPECT(comm, buffer, "out of memory");
    for (int64_t i = 0; i < n + GUARD; i++)
        set(buffer, dtype, i, i < n ? element(comm->rank, i) : -77);
    return buffer;
}

static void check_guard(nt_comm *comm, const void *buffer, int64_t n, nt_dtype dtype)
{
    for (int64_t i = n; i < n + GUARD; i++)
        EXPECT(comm, get(buffer, dtype, i) == -77, "n %lld: element %lld behind the end was written",
               (long long)n, (long long)(i - n));
}

static void check_sums(nt_comm *comm, const void *buffer, nt_dtype dtype, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i++)
        EXPECT(comm, get(buffer, dtype, i) == total(comm->size, i), "%s element %lld is %g, not %g",
               nt_dtype_name(dtype), (long long)i, get(buffer, dtype, i), total(comm->size, i));
}

static void one_all_reduce(nt_comm *comm, int64_t n, nt_dtype dtype)
{
    void *buffer = make_buffer(comm, n, dtype);
    EXPECT_OK(comm, nt_comm_all_reduce(comm, buffer, n, dtype));
    EXPECT_OK(comm, nt_comm_wait(comm));
    check_sums(comm, buffer, dtype, 0, n);
    check_guard(comm, buffer, n, dtype);
    free(buffer);
}

static void test_all_reduce(nt_comm *comm)
{
    for (int s = 0; s < N_SIZES; s++) {
        one_all_reduce(comm, sizes[s], NT_F32);
        one_all_reduce(comm, sizes[s], NT_F64);
    }
}

/* Number k of this rank for the wire: 0: integers whose sums have 8 bits; 1: 1 + 2^-9, half a step above 1,
 * which goes to the even 1 before it is sent; 2: anything. */
static float wire_element(int rank, int64_t i, int k)
{
    nt_philox r = nt_rng_block(9, NT_RNG_TEST, 2, (uint32_t)rank, (uint32_t)i, 0);
    return k == 0 ? (float)(i % 31 + rank) : k == 1 ? 1 + 0x1p-9f : nt_rng_uniform(r.v[0]) - 0.5f;
}

/* Every number, and every sum of two, is rounded by at most 2^-9 of itself; for `anything` none is larger
 * than the sum of absolute values, and at most size + size - 1 roundings go into one. */
static void one_wire(nt_comm *comm, int64_t n, int k)
{
    float *buffer = malloc((size_t)(n + 1) * sizeof *buffer);
    EXPECT(comm, buffer, "out of memory");
    buffer[n] = -77;
    for (int64_t i = 0; i < n; i++)
        buffer[i] = wire_element(comm->rank, i, k);
    EXPECT_OK(comm, nt_comm_sum_gradients(comm, buffer, n, NT_F32));
    EXPECT_OK(comm, nt_comm_wait(comm));
    for (int64_t i = 0; i < n; i++) {
        double sum = 0, largest = 0;
        for (int rank = 0; rank < comm->size; rank++) {
            sum += k == 1 ? 1 : (double)wire_element(rank, i, k);
            largest += fabs((double)wire_element(rank, i, k));
        }
        double bound = k == 2 ? 2 * comm->size * 0x1p-9 * largest : 0;
        EXPECT(comm, fabs((double)buffer[i] - sum) <= bound,
               "wire %d, element %lld of %lld is %.9g, not %.9g", k, (long long)i, (long long)n,
               (double)buffer[i], sum);
    }
    EXPECT(comm, buffer[n] == -77, "an element behind the end was written");
    EXPECT_OK(comm, nt_comm_same(comm, buffer, (size_t)n * sizeof *buffer, "the sum"));
    free(buffer);
}

/* With one rank nothing travels, and nothing is rounded. */
static void test_bf16_wire(nt_comm *comm)
{
    if (comm->size == 1) return;
    comm->bf16_wire = true;
    for (int s = 0; s < N_SIZES; s++)
        for (int k = 0; k < 3; k++)
            one_wire(comm, sizes[s], k);
    float odd[2] = {comm->rank == 0 ? NAN : 1, comm->rank == 0 ? INFINITY : 1};
    EXPECT_OK(comm, nt_comm_sum_gradients(comm, odd, 2, NT_F32));
    EXPECT(comm, isnan(odd[0]) && isinf(odd[1]), "%g and %g", (double)odd[0], (double)odd[1]);
    one_all_reduce(comm, 1000, NT_F32); /* of what is no gradient: not rounded */
    one_all_reduce(comm, 1000, NT_F64);
    comm->bf16_wire = false;
}

/* The halves of an all-reduce, each checked by itself. */
static void one_scatter_gather(nt_comm *comm, int64_t n, nt_dtype dtype)
{
    int64_t begin, end;
    nt_comm_part(n, comm->rank, comm->size, &begin, &end);
    void *buffer = make_buffer(comm, n, dtype);
    EXPECT_OK(comm, nt_comm_reduce_scatter(comm, buffer, n, dtype));
    EXPECT_OK(comm, nt_comm_wait(comm));
    check_sums(comm, buffer, dtype, begin, end);
    check_guard(comm, buffer, n, dtype);
    for (int64_t i = 0; i < n; i++)
        if (i < begin || i >= end) set(buffer, dtype, i, -1e6);
    EXPECT_OK(comm, nt_comm_all_gather(comm, buffer, n, dtype));
    EXPECT_OK(comm, nt_comm_wait(comm));
    check_sums(comm, buffer, dtype, 0, n);
    check_guard(comm, buffer, n, dtype);
    free(buffer);
}

static void test_scatter_gather(nt_comm *comm)
{
    for (int s = 0; s < N_SIZES; s++) {
        one_scatter_gather(comm, sizes[s], NT_F32);
        one_scatter_gather(comm, sizes[s], NT_F64);
    }
}

static void test_part(nt_comm *comm)
{
    for (int64_t n = 0; n < 40; n++)
        for (int size = 1; size < 9; size++)
            for (int64_t rank = 0, expected = 0; rank < size; rank++) {
                int64_t begin, end;
                nt_comm_part(n, (int)rank, size, &begin, &end);
                EXPECT(comm, begin == expected, "part %lld of %d begins at %lld", (long long)rank, size,
                       (long long)begin);
                EXPECT(comm, end - begin == n / size || end - begin == n / size + 1, "part of %lld elements",
                       (long long)(end - begin));
                EXPECT(comm, rank < size - 1 || end == n, "parts end at %lld of %lld", (long long)end,
                       (long long)n);
                expected = end;
            }
}

static void one_broadcast(nt_comm *comm, size_t n_bytes, int root, bool host)
{
    unsigned char *data = malloc(n_bytes + 1);
    EXPECT(comm, data, "out of memory");
    for (size_t i = 0; i <= n_bytes; i++)
        data[i] = (unsigned char)(i * 7 + (size_t)comm->rank);
    EXPECT_OK(comm, host ? nt_comm_host_broadcast(comm, data, n_bytes, root)
                         : nt_comm_broadcast(comm, data, n_bytes, root));
    for (size_t i = 0; i <= n_bytes; i++) {
        int from = i < n_bytes ? root : comm->rank; /* the byte behind the end stays ours */
        EXPECT(comm, data[i] == (unsigned char)(i * 7 + (size_t)from), "root %d, byte %zu of %zu", root, i,
               n_bytes);
    }
    free(data);
}

static void test_broadcast(nt_comm *comm)
{
    static const size_t lengths[] = {0, 1, 13, 4096, 3000001};
    for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++)
        for (int root = 0; root < comm->size; root++) {
            one_broadcast(comm, lengths[k], root, true);
            one_broadcast(comm, lengths[k], root, false);
        }
}

/* A value whose sum depends on the order: big terms that cancel, small ones that get lost. */
static double awkward(int rank, int i)
{
    nt_philox r = nt_rng_block(5, NT_RNG_TEST, 1, (uint32_t)i, (uint32_t)rank, 0);
    double small = nt_rng_uniform(r.v[0]) - 0.5;
    return i % 3 == 0 ? small : small + (rank % 2 ? -1e16 : 1e16) * nt_rng_uniform(r.v[1]);
}

static void test_host_reduce_sums_in_rank_order(nt_comm *comm)
{
    enum { N = 20011 }; /* more than one message */
    double *values = malloc(N * sizeof *values);
    EXPECT(comm, values, "out of memory");
    for (int i = 0; i < N; i++)
        values[i] = awkward(comm->rank, i);
    EXPECT_OK(comm, nt_comm_host_reduce(comm, values, N, NT_REDUCE_SUM));
    for (int i = 0; i < N; i++) {
        double expected = awkward(0, i);
        for (int rank = 1; rank < comm->size; rank++)
            expected += awkward(rank, i);
        EXPECT(comm, memcmp(&expected, &values[i], sizeof expected) == 0, "value %d is %a, not %a", i,
               values[i], expected);
    }
    free(values);
}

static void test_host_reduce_extremes(nt_comm *comm)
{
    double low[3] = {comm->rank, -comm->rank, 5}, high[3] = {comm->rank, -comm->rank, 5};
    EXPECT_OK(comm, nt_comm_host_reduce(comm, low, 3, NT_REDUCE_MIN));
    EXPECT_OK(comm, nt_comm_host_reduce(comm, high, 3, NT_REDUCE_MAX));
    int last = comm->size - 1;
    EXPECT(comm, low[0] == 0 && low[1] == -last && low[2] == 5, "min %g %g %g", low[0], low[1], low[2]);
    EXPECT(comm, high[0] == last && high[1] == 0 && high[2] == 5, "max %g %g %g", high[0], high[1], high[2]);
    EXPECT_OK(comm, nt_comm_host_reduce(comm, NULL, 0, NT_REDUCE_SUM));
}

/* A NaN on one rank must not get lost in a minimum or maximum, whichever rank has it. */
static void fault_93_extremes_keep_nan(nt_comm *comm)
{
    static const nt_reduce ops[] = {NT_REDUCE_SUM, NT_REDUCE_MIN, NT_REDUCE_MAX};
    for (int op = 0; op < 3; op++)
        for (int bad = 0; bad < comm->size; bad++) {
            double value = comm->rank == bad ? (double)NAN : 1;
            EXPECT_OK(comm, nt_comm_host_reduce(comm, &value, 1, ops[op]));
            EXPECT(comm, isnan(value), "op %d lost the NaN of rank %d: %g", op, bad, value);
        }
}

/* Floats of all magnitudes, reduced again and again: always the same bits, on all ranks. */
static void fault_96_sums_have_the_same_bits(nt_comm *comm)
{
    static const int64_t lengths[] = {3, 1000, 20000, 300000, PIECE_F32 + 77};
    for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
        size_t n_bytes = (size_t)lengths[k] * sizeof(float);
        float *first = malloc(n_bytes), *again = malloc(n_bytes);
        EXPECT(comm, first && again, "out of memory");
        for (int repeat = 0; repeat < 3; repeat++) {
            float *x = repeat == 0 ? first : again;
            for (int64_t i = 0; i < lengths[k]; i++) {
                nt_philox r = nt_rng_block(9, NT_RNG_TEST, 2, (uint32_t)i, (uint32_t)comm->rank, 0);
                x[i] = ldexpf(nt_rng_uniform(r.v[0]) - 0.5f, (int)(r.v[1] % 30));
            }
            EXPECT_OK(comm, nt_comm_all_reduce(comm, x, lengths[k], NT_F32));
            EXPECT_OK(comm, nt_comm_wait(comm));
            EXPECT(comm, memcmp(x, first, n_bytes) == 0, "repeat %d of %lld floats has other bits", repeat,
                   (long long)lengths[k]);
        }
        EXPECT_OK(comm, nt_comm_same(comm, first, n_bytes, "the sum"));
        free(first);
        free(again);
    }
}

/* A backend whose memory is host memory, and which says that it is not: what `staged` needs of a device. */
static nt_backend *make_device(nt_comm *comm, nt_backend_ops *ops)
{
    nt_backend *backend;
    EXPECT_OK(comm, nt_backend_create(&backend, "ref", &(nt_backend_options){.threads = 1}));
    *ops = *backend->ops;
    ops->host_memory = false;
    backend->ops = ops;
    return backend;
}

/* All collectives again, through the host. */
static void test_staged(nt_comm *comm)
{
    nt_backend_ops ops;
    nt_backend *backend = make_device(comm, &ops);
    comm->backend = backend;
    comm->gradient = &nt_comm_staged;
    EXPECT_OK(comm, nt_comm_staged.create(comm));
    test_all_reduce(comm);
    test_scatter_gather(comm);
    test_broadcast(comm);
    fault_96_sums_have_the_same_bits(comm);
    nt_comm_detach(comm);
    nt_backend_destroy(backend);
}

/* Host memory is the communicator's own business; a device needs a plane, unless there is nobody to talk to.
 */
static void test_attach(nt_comm *comm)
{
    nt_backend_ops ops;
    nt_backend *device = make_device(comm, &ops), *host;
    EXPECT_OK(comm, nt_backend_create(&host, "ref", &(nt_backend_options){.threads = 1}));
    EXPECT_OK(comm, nt_comm_attach(comm, host));
    EXPECT(comm, comm->backend == host, "not attached");
    EXPECT(comm, comm->size == 1 || comm->gradient == comm->ops->gradient, "plane %s", comm->gradient->name);
    if (nt_comm_nccl.missing() || comm->size == 1) {
        EXPECT_OK(comm, nt_comm_attach(comm, device));
        const char *expected = comm->size == 1 ? "self" : "staged";
        EXPECT(comm, strcmp(comm->gradient->name, expected) == 0, "plane %s", comm->gradient->name);
    }
    nt_comm_detach(comm);
    EXPECT(comm, !comm->backend && comm->gradient == comm->ops->gradient, "still attached");
    nt_backend_destroy(device);
    nt_backend_destroy(host);
}

/* Device numbers say nothing about devices, ids do; hosts are all the same here. */
static void fault_97_two_ranks_on_one_device(nt_comm *comm)
{
    nt_backend_ops ops;
    comm->backend = make_device(comm, &ops);
    char *id = comm->backend->device_id, *name = comm->backend->device_name;
    EXPECT_OK(comm, nt_devices_check(comm)); /* nobody knows anything */
    strcpy(name, "toy GPU");
    snprintf(id, sizeof comm->backend->device_id, "GPU-%d", comm->rank);
    EXPECT_OK(comm, nt_devices_check(comm));
    for (int bad = 1; bad < comm->size; bad++) { /* the last rank has that of the one in front of `bad` */
        snprintf(id, sizeof comm->backend->device_id, "GPU-%d",
                 comm->rank == comm->size - 1 ? bad - 1 : comm->rank);
        nt_status got = nt_devices_check(comm);
        char words[256];
        snprintf(words, sizeof words, "ranks %d and %d on %s have the same device, toy GPU (GPU-%d), ",
                 bad - 1, comm->size - 1, comm->host, bad - 1);
        EXPECT(comm, got == NT_ERR_UNAVAILABLE, "status %d", (int)got);
        EXPECT(comm, strncmp(nt_error_last()->message, words, strlen(words)) == 0, "message '%s'",
               nt_error_last()->message);
        nt_error_clear();
    }
    nt_backend *device = comm->backend;
    nt_comm_detach(comm);
    nt_backend_destroy(device);
}

/* It works, so it is not refused; rank 0 says it once. */
static void fault_98_devices_of_two_kinds(nt_comm *comm)
{
    nt_backend_ops ops;
    comm->backend = make_device(comm, &ops);
    snprintf(comm->backend->device_name, sizeof comm->backend->device_name, "toy GPU %d", comm->rank / 2);
    int before = nt_log_warnings();
    EXPECT_OK(comm, nt_devices_check(comm));
    int expected = comm->rank == 0 && comm->size > 2;
    EXPECT(comm, nt_log_warnings() - before == expected, "%d warnings", nt_log_warnings() - before);
    nt_backend *device = comm->backend;
    nt_comm_detach(comm);
    nt_backend_destroy(device);
}

/* One rank leaves out an all-reduce; what it calls next, of the other plane or of the same form, meets it. */
static void fault_86_one_call_less(nt_comm *comm)
{
    float x[2] = {1, 1};
    double value = 1;
    int bad = comm->size - 1;
    comm->checks = true;
    comm->grace_s = 0;
    EXPECT_OK(comm, nt_comm_all_reduce(comm, x, 2, NT_F32));
    for (int same = 0; same < 2 && bad > 0; same++) {
        nt_status status = NT_OK;
        if (comm->rank != bad) status = nt_comm_all_reduce(comm, x, 2, NT_F32);
        if (status == NT_OK && same) status = nt_comm_all_reduce(comm, x, 2, NT_F32);
        if (status == NT_OK) status = nt_comm_host_reduce(comm, &value, 1, NT_REDUCE_SUM);
        EXPECT(comm, status == NT_ERR_BUG, "status %d", (int)status);
        char words[160];
        snprintf(words, sizeof words,
                 "and rank %d on %s makes a host reduction of 1 values (sum), its call number ", bad,
                 comm->host);
        EXPECT(comm, strstr(nt_error_last()->message, words), "message '%s'", nt_error_last()->message);
        nt_error_clear();
    }
    comm->checks = false;
}

static nt_status fail_as(nt_status status, const char *words, int rank)
{
    NT_FAIL(status, "%s %d", words, rank);
}

static void expect_message(nt_comm *comm, nt_status got, nt_status expected, const char *message)
{
    EXPECT(comm, got == expected, "status %d, not %d", (int)got, (int)expected);
    EXPECT(comm, nt_error_last()->status == expected, "the error says %d", (int)nt_error_last()->status);
    EXPECT(comm, strcmp(nt_error_last()->message, message) == 0, "message '%s', not '%s'",
           nt_error_last()->message, message);
    nt_error_clear();
}

/* Whose failure it is, as agree puts it. */
static const char *blame(const nt_comm *comm, int rank, const char *words)
{
    static char text[256];
    if (comm->size == 1)
        snprintf(text, sizeof text, "%s", words);
    else /* all test ranks are on this host */
        snprintf(text, sizeof text, "rank %d on %s: %s", rank, comm->host, words);
    return text;
}

static void test_agree_on_success(nt_comm *comm)
{
    EXPECT_OK(comm, nt_comm_agree(comm, NT_OK));
    EXPECT(comm, nt_error_last()->status == NT_OK, "an error was left behind");
}

static void test_agree_on_one_failure(nt_comm *comm)
{
    for (int bad = 0; bad < comm->size; bad++) {
        nt_status mine = comm->rank == bad ? fail_as(NT_ERR_IO, "no space", bad) : NT_OK;
        char words[32];
        snprintf(words, sizeof words, "no space %d", bad);
        expect_message(comm, nt_comm_agree(comm, mine), NT_ERR_IO, blame(comm, bad, words));
    }
}

static void test_agree_lowest_rank_speaks(nt_comm *comm)
{
    int first = comm->size > 1;
    nt_status mine = NT_OK;
    if (comm->rank >= first)
        mine = fail_as(comm->rank == first ? NT_ERR_DATA : NT_ERR_CHECKPOINT, "bad", comm->rank);
    expect_message(comm, nt_comm_agree(comm, mine), NT_ERR_DATA,
                   blame(comm, first, first ? "bad 1" : "bad 0"));
}

static void test_agree_on_common_failure(nt_comm *comm)
{
    nt_status mine = fail_as(NT_ERR_CONFIG, "cfg.ini:3: unknown key", 7);
    expect_message(comm, nt_comm_agree(comm, mine), NT_ERR_CONFIG, "cfg.ini:3: unknown key 7");
}

static void test_agree_without_words(nt_comm *comm)
{
    nt_error_clear();
    nt_status got = nt_comm_agree(comm, comm->rank == comm->size - 1 ? NT_ERR_BUG : NT_OK);
    EXPECT(comm, got == NT_ERR_BUG, "status %d", (int)got);
    EXPECT(comm, strstr(nt_error_last()->message, "status 70"), "message '%s'", nt_error_last()->message);
    nt_error_clear();
}

static void test_same(nt_comm *comm)
{
    char text[] = "lr = 0.1";
    EXPECT_OK(comm, nt_comm_same(comm, text, sizeof text, "the config"));
    EXPECT_OK(comm, nt_comm_same(comm, NULL, 0, "nothing"));
    if (comm->size == 1) return;
    for (int bad = 1; bad < comm->size; bad++) { /* bad and all after it */
        text[7] = comm->rank >= bad ? '2' : '1';
        char words[256];
        snprintf(words, sizeof words,
                 "the config differs between ranks: rank %d on %s does not have what rank 0 has", bad,
                 comm->host);
        expect_message(comm, nt_comm_same(comm, text, sizeof text, "the config"), NT_ERR_CONFIG, words);
    }
    text[7] = '1';
    nt_status got = nt_comm_same(comm, text, comm->rank == 1 ? 3 : 4, "the length");
    EXPECT(comm, got == NT_ERR_CONFIG, "status %d", (int)got);
    nt_error_clear();
}

static void test_identity(nt_comm *comm)
{
    const char *launched = getenv("OMPI_COMM_WORLD_SIZE");
    EXPECT(comm, comm->size == (launched ? atoi(launched) : 1), "size %d", comm->size);
    EXPECT(comm, strcmp(comm->ops->name, nt_comm_launched() ? "mpi" : "self") == 0, "%s", comm->ops->name);
    EXPECT(comm, comm->local_size == comm->size && comm->local_rank == comm->rank, "local %d of %d",
           comm->local_rank, comm->local_size);
    EXPECT(comm, comm->host[0] != '\0', "no host name");
    EXPECT(comm, strlen(nt_comm_version()) > 3 && !strchr(nt_comm_version(), ','), "version '%s'",
           nt_comm_version());
}

static void test_bad_arguments_are_our_bug(nt_comm *comm)
{
    float x = 0;
    EXPECT(comm, nt_comm_all_reduce(comm, &x, -1, NT_F32) == NT_ERR_BUG, "negative n");
    EXPECT(comm, nt_comm_all_reduce(comm, NULL, 1, NT_F32) == NT_ERR_BUG, "NULL");
    EXPECT(comm, nt_comm_all_reduce(comm, &x, 1, NT_U8) == NT_ERR_BUG, "bytes");
    EXPECT(comm, nt_comm_host_broadcast(comm, &x, 1, comm->size) == NT_ERR_BUG, "root");
    nt_error_clear();
}

int main(void)
{
    static const parallel_test tests[] = {
        {"identity", test_identity},
        {"part", test_part},
        {"all_reduce", test_all_reduce},
        {"bf16_wire", test_bf16_wire},
        {"scatter_gather", test_scatter_gather},
        {"broadcast", test_broadcast},
        {"host_reduce_sums_in_rank_order", test_host_reduce_sums_in_rank_order},
        {"host_reduce_extremes", test_host_reduce_extremes},
        {"fault_93_extremes_keep_nan", fault_93_extremes_keep_nan},
        {"fault_96_sums_have_the_same_bits", fault_96_sums_have_the_same_bits},
        {"staged", test_staged},
        {"attach", test_attach},
        {"fault_86_one_call_less", fault_86_one_call_less},
        {"fault_97_two_ranks_on_one_device", fault_97_two_ranks_on_one_device},
        {"fault_98_devices_of_two_kinds", fault_98_devices_of_two_kinds},
        {"agree_on_success", test_agree_on_success},
        {"agree_on_one_failure", test_agree_on_one_failure},
        {"agree_lowest_rank_speaks", test_agree_lowest_rank_speaks},
        {"agree_on_common_failure", test_agree_on_common_failure},
        {"agree_without_words", test_agree_without_words},
        {"same", test_same},
        {"bad_arguments_are_our_bug", test_bad_arguments_are_our_bug},
    };
    return parallel_main(tests, (int)(sizeof tests / sizeof tests[0]));
}
