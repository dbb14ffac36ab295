/* embedding: rows of a table by token, and the gradient of the table.
 *
 * The gradient of a row is a sum over all positions of its token, and has to be made in a fixed order. So the
 * pairs (token, position), which are all different, are sorted as 64-bit numbers: whatever the algorithm, the
 * result is one. The algorithm is a bitonic sort (Batcher 1968): no counters, no workspace, and all steps
 * within 4096 numbers in shared memory; 32768 tokens take 7 + 6 launches. Then a block adds the rows of each
 * token's stretch. Atomics on the table would need one launch and give other bits every time. */
#include "core/backends/cuda/largest.cuh"

constexpr int SORTED = 4096; /* keys of a block in shared memory: 32 KiB */
/* Rows of blocks that add; each takes every so many-th token. */
constexpr int64_t TOKEN_BLOCKS = 512;

/* y[i] = weight[token[i]]: reads and writes E values a token. Bad tokens are written down and give NaN. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    look_up(T *y, const float *weight, const int32_t *token, int *data_error, uint32_t id, int64_t vocabulary,
            nt_divisor e, int64_t n)
{
    for (int64_t i = nt_thread(); i < n; i += nt_threads()) {
        const int64_t at = nt_quotient(i, e), j = i - at * e.d;
        const int32_t t = token[at];
        const bool sound = t >= 0 && t < vocabulary;
        if (!sound && j == 0) nt_report_bad(data_error, id, NT_CUDA_BAD_TOKEN, t);
        nt_put(&y[i], sound ? weight[t * e.d + j] : NAN);
    }
}

/* --- sorting --- */

/* Keys (token, position); bad tokens and the rest up to the power of two come last. */
static __global__ void __launch_bounds__(NT_BLOCK)
    make_keys(uint64_t *key, const int32_t *token, int64_t vocabulary, int64_t n, int64_t n_keys)
{
    for (int64_t i = nt_thread(); i < n_keys; i += nt_threads()) {
        const bool sound = i < n && token[i] >= 0 && token[i] < vocabulary;
        key[i] = sound ? (uint64_t)(uint32_t)token[i] << 32 | (uint64_t)i : UINT64_MAX;
    }
}

/* Puts a pair that is `distance` apart in the order that its sequence of `length` wants. */
static inline __device__ void exchange(uint64_t &a, uint64_t &b, bool ascending)
{
    if ((a > b) != ascending) return;
    const uint64_t larger = a;
    a = b;
    b = larger;
}

/* All steps of distance below SORTED, for the lengths from `first` to `last`; a block has SORTED keys. */
static __global__ void __launch_bounds__(NT_BLOCK)
    sort_in_blocks(uint64_t *key, int64_t first, int64_t last, int64_t n_keys)
{
    __shared__ uint64_t own[SORTED];
    const int64_t begin = (int64_t)blockIdx.x * SORTED;
    const int count = (int)(n_keys - begin < SORTED ? n_keys - begin : SORTED);
    for (int i = (int)threadIdx.x; i < count; i += NT_BLOCK)
        own[i] = key[begin + i];
    for (int64_t length = first; length <= last; length *= 2)
        for (int distance = (int)(length < SORTED ? length : SORTED) / 2; distance > 0; distance /= 2) {
            __syncthreads();
            for (int i = (int)threadIdx.x; i < count / 2; i += NT_BLOCK) {
                const int a = i / distance * 2 * distance + i % distance;
                exchange(own[a], own[a + distance], ((begin + a) & length) == 0);
            }
        }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < count; i += NT_BLOCK)
        key[begin + i] = own[i];
}

/* One step of a distance of SORTED or more. */
static __global__ void __launch_bounds__(NT_BLOCK)
    sort_far(uint64_t *key, int64_t length, int64_t distance, int64_t n_keys)
{
    for (int64_t i = nt_thread(); i < n_keys / 2; i += nt_threads()) {
        const int64_t a = i / distance * 2 * distance + i % distance;
        uint64_t low = key[a], high = key[a + distance];
        exchange(low, high, (a & length) == 0);
        key[a] = low;
        key[a + distance] = high;
    }
}

static void sort(nt_cuda_stream stream, uint64_t *key, int64_t n_keys)
{
    const unsigned blocks = (unsigned)((n_keys + SORTED - 1) / SORTED);
    const int64_t inside = n_keys < SORTED ? n_keys : SORTED;
    NT_LAUNCH(sort_in_blocks, blocks, NT_BLOCK, 0, stream, key, 2, inside, n_keys);
    for (int64_t length = 2 * SORTED; length <= n_keys; length *= 2) {
        for (int64_t distance = length / 2; distance >= SORTED; distance /= 2)
            NT_LAUNCH(sort_far, nt_blocks(n_keys / 2), NT_BLOCK, 0, stream, key, length, distance, n_keys);
        NT_LAUNCH(sort_in_blocks, blocks, NT_BLOCK, 0, stream, key, length, length, n_keys);
    }
}

/* --- adding --- */

/* stretch[t] = {first, end} among the sorted keys; zeroed before, so that a token that does not occur has
 * none. */
static __global__ void __launch_bounds__(NT_BLOCK)
    find_stretches(int2 *stretch, const uint64_t *key, int64_t n_keys)
{
    for (int64_t i = nt_thread(); i < n_keys; i += nt_threads()) {
        const uint32_t token = (uint32_t)(key[i] >> 32);
        if (key[i] == UINT64_MAX) continue;
        if (i == 0 || (uint32_t)(key[i - 1] >> 32) != token) stretch[token].x = (int)i;
        if (i + 1 == n_keys || (uint32_t)(key[i + 1] >> 32) != token) stretch[token].y = (int)(i + 1);
    }
}

/* Block (32 columns, every gridDim.y-th token): a warp adds every eighth row of the token's stretch, then the
 * warps' sums are added to dweight in order. Tokens that do not occur cost a look at their stretch. Bound by
 * memory: dy once, dweight of the tokens that occur twice. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    add_stretches(float *dweight, const T *dy, const int2 *stretch, const uint64_t *key, int64_t vocabulary,
                  int64_t e)
{
    __shared__ double part[NT_WARPS][NT_WARP];
    const int lane = nt_lane(), warp = (int)threadIdx.x / NT_WARP;
    const int64_t j = (int64_t)blockIdx.x * NT_WARP + lane;
    for (int64_t t = blockIdx.y; t < vocabulary; t += gridDim.y) {
        const int2 s = stretch[t];
        double sum = 0;
        if (s.x == s.y) continue;
        for (int i = s.x + warp; j < e && i < s.y; i += NT_WARPS)
            sum += (double)nt_to_float(dy[(int64_t)(uint32_t)key[i] * e + j]);
        part[warp][lane] = sum;
        __syncthreads();
        if (warp == 0 && j < e) {
            for (int w = 1; w < NT_WARPS; w++)
                sum += part[w][lane];
            nt_put_gradient(&dweight[t * e + j], sum, true);
        }
        __syncthreads();
    }
}

/* --- launchers --- */

extern "C" int nt_cuda_embedding_forward(nt_cuda_stream stream, nt_dtype type, void *y, const float *weight,
                                         const int32_t *token, int *data_error, uint32_t id,
                                         int64_t vocabulary, int64_t e, int64_t n)
{
    NT_WITH_TYPE(type, NT_LAUNCH(look_up<T>, nt_blocks(n * e), NT_BLOCK, 0, stream, (T *)y, weight, token,
                                 data_error, id, vocabulary, nt_divide_by(e), n * e));
    return (int)cudaGetLastError();
}

/* The power of two that the sort wants. */
static int64_t keys_for(int64_t n)
{
    int64_t n_keys = 2;
    while (n_keys < n)
        n_keys *= 2;
    return n_keys;
}

extern "C" size_t nt_cuda_embedding_scratch_bytes(int64_t vocabulary, int64_t n)
{
    return (size_t)keys_for(n) * sizeof(uint64_t) + (size_t)vocabulary * sizeof(int2);
}

extern "C" int nt_cuda_embedding_backward(nt_cuda_stream stream, nt_dtype type, float *dweight,
                                          const void *dy, const int32_t *token, void *scratch,
                                          bool accumulate, int64_t vocabulary, int64_t e, int64_t n)
{
    const int64_t n_keys = keys_for(n);
    uint64_t *key = (uint64_t *)scratch;
    int2 *stretch = (int2 *)(key + n_keys);
    const dim3 grid((unsigned)((e + NT_WARP - 1) / NT_WARP),
                    (unsigned)(vocabulary < TOKEN_BLOCKS ? vocabulary : TOKEN_BLOCKS));
    cudaError_t code =
        cudaMemsetAsync(stretch, 0, (size_t)vocabulary * sizeof *stretch, (cudaStream_t)stream);
    if (code == cudaSuccess && !accumulate)
        code = cudaMemsetAsync(dweight, 0, (size_t)(vocabulary * e) * sizeof *dweight, (cudaStream_t)stream);
    if (code != cudaSuccess) return (int)code;
    NT_LAUNCH(make_keys, nt_blocks(n_keys), NT_BLOCK, 0, stream, key, token, vocabulary, n, n_keys);
    sort(stream, key, n_keys);
    NT_LAUNCH(find_stretches, nt_blocks(n_keys), NT_BLOCK, 0, stream, stretch, (const uint64_t *)key, n_keys);
    NT_WITH_TYPE(type, NT_LAUNCH(add_stretches<T>, grid, NT_BLOCK, 0, stream, dweight, (const T *)dy,
                                 (const int2 *)stretch, (const uint64_t *)key, vocabulary, e));
    return (int)cudaGetLastError();
}
