/* permute: dimensions in another order. The launcher first reduces the problem: dimensions of size 1 go,
 * neighbours that stay neighbours become one. Then there are two cases. Where the last dimension stays last,
 * runs are copied, in units as wide as sizes and addresses allow. Else tiles of 32 x 32 go through shared
 * memory, so that reads follow the last dimension of x and writes that of y. */
#include "core/backends/cuda/device.cuh"

/* By value: sizes of y, outermost first, and the strides that its indices have in x. */
struct order {
    int n_dims;
    nt_divisor size[NT_MAX_DIMS];
    int64_t stride[NT_MAX_DIMS];
};

/* Element of x for element i of y, whose dimensions are those of `o`. */
static inline __device__ int64_t source_of(const order &o, int64_t i)
{
    int64_t at = 0;
#pragma unroll
    for (int d = NT_MAX_DIMS - 1; d >= 0; d--) {
        if (d >= o.n_dims) continue;
        const int64_t rest = nt_quotient(i, o.size[d]);
        at += (i - rest * o.size[d].d) * o.stride[d];
        i = rest;
    }
    return at;
}

/* Bound by memory: 1 read, 1 write. */
template <typename U>
static __global__ void __launch_bounds__(NT_BLOCK) copy_runs(U *y, const U *x, order o, int64_t n)
{
    for (int64_t i = nt_thread(); i < n; i += nt_threads())
        y[i] = x[source_of(o, i)];
}

constexpr int TILE = 32;

/* A tile of y's last dimension a (rows of the tile) and of the dimension b that is x's last. */
struct tiles {
    int64_t size_a, size_b, stride_a_in_x, stride_b_in_y, tiles_a, tiles_b;
};

/* Bound by memory: 1 read, 1 write, in rows of 32 elements. blockIdx.x: tiles of a x tiles of b x the others,
 * `outer`, whose strides are in `in_x` and `in_y`. The column more than the tile keeps its columns in
 * different banks. */
template <typename U>
static __global__ void __launch_bounds__(NT_BLOCK)
    transpose(U *y, const U *x, tiles t, nt_divisor tiles_a, nt_divisor tiles_b, order in_x, order in_y)
{
    __shared__ U tile[TILE][TILE + 1];
    const int64_t rest = nt_quotient((int64_t)blockIdx.x, tiles_a), outer = nt_quotient(rest, tiles_b);
    const int64_t first_a = ((int64_t)blockIdx.x - rest * tiles_a.d) * TILE;
    const int64_t first_b = (rest - outer * tiles_b.d) * TILE;
    const U *from = x + source_of(in_x, outer);
    U *to = y + source_of(in_y, outer);
    const int lane = nt_lane(), row = (int)threadIdx.x / NT_WARP;
    for (int r = row; r < TILE; r += NT_WARPS)
        if (first_a + r < t.size_a && first_b + lane < t.size_b)
            tile[r][lane] = from[(first_a + r) * t.stride_a_in_x + first_b + lane];
    __syncthreads();
    for (int r = row; r < TILE; r += NT_WARPS)
        if (first_b + r < t.size_b && first_a + lane < t.size_a)
            to[(first_b + r) * t.stride_b_in_y + first_a + lane] = tile[lane][r];
}

/* --- the host's part --- */

struct problem {
    int n_dims;
    int64_t size[NT_MAX_DIMS], stride[NT_MAX_DIMS]; /* of y; in x */
};

static problem reduced(int n_dims, const int64_t *size, const int64_t *stride)
{
    problem p = {0, {0}, {0}};
    for (int d = 0; d < n_dims; d++) {
        if (size[d] == 1) continue;
        const int last = p.n_dims - 1;
        if (last >= 0 && p.stride[last] == stride[d] * size[d]) {
            p.size[last] *= size[d];
            p.stride[last] = stride[d];
        } else {
            p.size[p.n_dims] = size[d];
            p.stride[p.n_dims++] = stride[d];
        }
    }
    if (p.n_dims > 0) return p;
    p.n_dims = 1;
    p.size[0] = p.stride[0] = 1;
    return p;
}

static order order_of(const problem &p)
{
    order o;
    o.n_dims = p.n_dims;
    for (int d = 0; d < NT_MAX_DIMS; d++) {
        o.size[d] = nt_divide_by(d < p.n_dims ? p.size[d] : 1);
        o.stride[d] = d < p.n_dims ? p.stride[d] : 0;
    }
    return o;
}

static int64_t elems_of(const problem &p)
{
    int64_t n = 1;
    for (int d = 0; d < p.n_dims; d++)
        n *= p.size[d];
    return n;
}

/* Everything but dimensions a and b, with strides in x or in y. */
static order others(const problem &p, int b, const int64_t *stride)
{
    problem rest = {0, {0}, {0}};
    for (int d = 0; d < p.n_dims - 1; d++) {
        if (d == b) continue;
        rest.size[rest.n_dims] = p.size[d];
        rest.stride[rest.n_dims++] = stride[d];
    }
    return order_of(rest);
}

template <typename U>
static void launch_transpose(nt_cuda_stream stream, void *y, const void *x, const problem &p, int b)
{
    const int a = p.n_dims - 1;
    int64_t in_y[NT_MAX_DIMS];
    in_y[a] = 1;
    for (int d = a; d > 0; d--)
        in_y[d - 1] = in_y[d] * p.size[d];
    tiles t = {p.size[a], p.size[b], p.stride[a], in_y[b], 0, 0};
    t.tiles_a = (t.size_a + TILE - 1) / TILE;
    t.tiles_b = (t.size_b + TILE - 1) / TILE;
    const int64_t blocks = t.tiles_a * t.tiles_b * (elems_of(p) / (t.size_a * t.size_b));
    NT_LAUNCH(transpose<U>, (unsigned)blocks, NT_BLOCK, 0, stream, (U *)y, (const U *)x, t,
              nt_divide_by(t.tiles_a), nt_divide_by(t.tiles_b), others(p, b, p.stride), others(p, b, in_y));
}

/* The problem in units of `each` elements, of which the last dimension is a multiple. */
static problem in_units(problem p, int64_t each)
{
    p.size[p.n_dims - 1] /= each;
    for (int d = 0; d < p.n_dims - 1; d++)
        p.stride[d] /= each;
    return p;
}

template <typename U>
static void launch_runs(nt_cuda_stream stream, void *y, const void *x, const problem &p, int64_t each)
{
    const problem own = in_units(p, each);
    const int64_t n = elems_of(own);
    NT_LAUNCH(copy_runs<U>, nt_blocks(n), NT_BLOCK, 0, stream, (U *)y, (const U *)x, order_of(own), n);
}

/* Bytes that divide the last dimension, all other strides, and both addresses. */
static uint64_t common_bytes(const void *y, const void *x, const problem &p, int64_t elem_bytes)
{
    uint64_t bits = (uint64_t)(uintptr_t)y | (uint64_t)(uintptr_t)x;
    bits |= (uint64_t)(p.size[p.n_dims - 1] * elem_bytes);
    for (int d = 0; d < p.n_dims - 1; d++)
        bits |= (uint64_t)(p.stride[d] * elem_bytes);
    return bits;
}

extern "C" int nt_cuda_permute_dims(nt_cuda_stream stream, nt_dtype type, void *y, const void *x, int n_dims,
                                    const int64_t *size, const int64_t *stride)
{
    const problem p = reduced(n_dims, size, stride);
    const int64_t elem_bytes = type == NT_BF16 ? 2 : 4;
    if (p.stride[p.n_dims - 1] == 1) {
        const uint64_t bits = common_bytes(y, x, p, elem_bytes);
        if (bits % 16 == 0)
            launch_runs<uint4>(stream, y, x, p, 16 / elem_bytes);
        else if (bits % 4 == 0)
            launch_runs<uint32_t>(stream, y, x, p, 4 / elem_bytes);
        else
            launch_runs<uint16_t>(stream, y, x, p, 1);
        return (int)cudaGetLastError();
    }
    int b = 0;
    while (p.stride[b] != 1)
        b++;
    if (type == NT_BF16)
        launch_transpose<uint16_t>(stream, y, x, p, b);
    else
        launch_transpose<uint32_t>(stream, y, x, p, b);
    return (int)cudaGetLastError();
}
