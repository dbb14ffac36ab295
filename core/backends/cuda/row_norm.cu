/* layer_norm and group_norm: rows of neighbouring elements, each normalised by its own statistics. Element j
 * of row r has weight ((r % groups) m + j) / span.
 *
 * A team takes a row: a warp where rows are short, a block where they are long (a group of maps). It adds x -
 * pivot, the pivot being the row's first value, so that the variance does not cancel where the mean is large;
 * then it comes back for the row, which by now is in a cache, and writes. What backward needs of a row is its
 * mean and 1 / deviation; weights' gradients are sums over channels (channel_sums.cuh). */
#include "core/backends/cuda/channel_sums.cuh"

/* xhat = (x - center) inv_std + error: what the mean lost when it was rounded to float is in `error`. */
struct __align__(16) moments
{
    float center, inv_std, error, unused;
};

static inline __device__ float normalised(const moments &h, float x)
{
    return fmaf(x - h.center, h.inv_std, h.error);
}

/* Which weight goes with an element. */
struct weights {
    const float *weight, *bias; /* NULL: 1 and 0 */
    nt_divisor groups, span;
    int64_t m;
};

static inline __device__ int64_t weight_at(const weights &w, int64_t row, int64_t j)
{
    const int64_t group = row - nt_quotient(row, w.groups) * w.groups.d;
    return nt_quotient(group * w.m + j, w.span);
}

/* Sum over the LANES threads of a team. */
template <int LANES> static inline __device__ double team_sum(double v)
{
    return LANES == NT_WARP ? nt_warp_sum(v) : nt_block_sum(v);
}

/* Bound by memory: 1 read (and one from a cache), 1 write. */
template <typename T, int LANES>
static __global__ void __launch_bounds__(NT_BLOCK)
    forward(T *y, const T *x, moments *saved, weights w, double eps, int64_t rows)
{
    const int lane = (int)threadIdx.x % LANES;
    for (int64_t r = nt_thread() / LANES; r < rows; r += nt_threads() / LANES) {
        const T *from = x + r * w.m;
        const float pivot = nt_to_float(from[0]);
        double sum = 0, squares = 0;
        for (int64_t j = lane; j < w.m; j += LANES) {
            const float d = nt_to_float(from[j]) - pivot;
            sum += (double)d;
            squares += (double)d * (double)d;
        }
        const double shift = team_sum<LANES>(sum) / (double)w.m;
        const double spread = team_sum<LANES>(squares) / (double)w.m - shift * shift;
        const double mean = (double)pivot + shift, inv_std = 1 / sqrt((spread < 0 ? 0 : spread) + eps);
        const float center = (float)mean;
        const moments h = {center, (float)inv_std, (float)(((double)center - mean) * inv_std), 0.0f};
        if (saved && lane == 0) saved[r] = h;
        for (int64_t j = lane; j < w.m; j += LANES) {
            float v = normalised(h, nt_to_float(from[j]));
            if (w.weight) {
                const int64_t at = weight_at(w, r, j);
                v = w.weight[at] * v + w.bias[at];
            }
            nt_put(&y[r * w.m + j], v);
        }
    }
}

/* dx = inv_std (g - mean(g) - xhat mean(g xhat)), g = weight dy; dx may be dy. 2 reads (and two from a
 * cache), 1 write. */
template <typename T, int LANES>
static __global__ void __launch_bounds__(NT_BLOCK)
    backward(T *dx, const T *dy, const T *x, const moments *saved, weights w, int64_t rows)
{
    const int lane = (int)threadIdx.x % LANES;
    for (int64_t r = nt_thread() / LANES; r < rows; r += nt_threads() / LANES) {
        const moments h = saved[r];
        double sum = 0, sum_xhat = 0;
        for (int64_t j = lane; j < w.m; j += LANES) {
            const float g = nt_to_float(dy[r * w.m + j]) * (w.weight ? w.weight[weight_at(w, r, j)] : 1.0f);
            sum += (double)g;
            sum_xhat += (double)g * (double)normalised(h, nt_to_float(x[r * w.m + j]));
        }
        const float mean = (float)(team_sum<LANES>(sum) / (double)w.m);
        const float slope = (float)(team_sum<LANES>(sum_xhat) / (double)w.m);
        for (int64_t j = lane; j < w.m; j += LANES) {
            const float g = nt_to_float(dy[r * w.m + j]) * (w.weight ? w.weight[weight_at(w, r, j)] : 1.0f);
            const float xhat = normalised(h, nt_to_float(x[r * w.m + j]));
            nt_put(&dx[r * w.m + j], h.inv_std * (g - mean - xhat * slope));
        }
    }
}

/* Sums of dy xhat and of dy. 2 reads. */
template <typename T> struct weight_sums {
    const T *dy, *x;
    const moments *saved;
    nt_divisor m;

    __device__ void begin(int64_t)
    {
    }

    template <int W> __device__ void add(int64_t at, float &a, float &b) const
    {
        const moments h = saved[nt_quotient(at, m)]; /* a pack lies in one row */
        float g[W], v[W];
        nt_load(g, dy + at, W, true);
        nt_load(v, x + at, W, true);
#pragma unroll
        for (int k = 0; k < W; k++) {
            a += g[k] * normalised(h, v[k]);
            b += g[k];
        }
    }
};

static __global__ void __launch_bounds__(NT_BLOCK)
    put_weights(float *dweight, float *dbias, const double *partial, nt_sums_plan plan, bool accumulate)
{
    const int64_t c = nt_thread();
    if (c >= plan.z.c) return;
    nt_put_gradient(&dweight[c], nt_channel_total(partial, plan, 0, c), accumulate);
    nt_put_gradient(&dbias[c], nt_channel_total(partial, plan, 1, c), accumulate);
}

/* --- launchers --- */

constexpr int64_t LONG_ROW = 2048; /* for a block: eight values a thread */

static weights weights_of(const nt_cuda_rows *v)
{
    return {v->weight, v->bias, nt_divide_by(v->groups), nt_divide_by(v->span), v->m};
}

/* Where weights are summed, x is (N, C, S): C weights, each for S neighbours. */
static nt_sums_plan plan_of(const nt_cuda_rows *v)
{
    const int64_t c = v->groups * v->m / v->span;
    return nt_plan_sums({v->n * v->m / (c * v->span), c, v->span});
}

extern "C" size_t nt_cuda_rows_saved_bytes(const nt_cuda_rows *v)
{
    return (size_t)v->n * sizeof(moments);
}

extern "C" size_t nt_cuda_rows_scratch_bytes(const nt_cuda_rows *v)
{
    return nt_partial_bytes(plan_of(v));
}

extern "C" int nt_cuda_rows_forward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_rows *v, void *y,
                                    const void *x)
{
    moments *saved = (moments *)v->saved;
    const unsigned blocks = (unsigned)(v->n < NT_MAX_BLOCKS ? v->n : NT_MAX_BLOCKS);
    NT_WITH_TYPE(type, if (v->m < LONG_ROW)
                           NT_LAUNCH((forward<T, NT_WARP>), nt_warp_blocks(v->n), NT_BLOCK, 0, stream, (T *)y,
                                     (const T *)x, saved, weights_of(v), v->eps, v->n);
                 else NT_LAUNCH((forward<T, NT_BLOCK>), blocks, NT_BLOCK, 0, stream, (T *)y, (const T *)x,
                                saved, weights_of(v), v->eps, v->n));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_rows_backward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_rows *v, void *dx,
                                     const void *dy, const void *x)
{
    const moments *saved = (const moments *)v->saved;
    const unsigned blocks = (unsigned)(v->n < NT_MAX_BLOCKS ? v->n : NT_MAX_BLOCKS);
    NT_WITH_TYPE(type, if (v->m < LONG_ROW)
                           NT_LAUNCH((backward<T, NT_WARP>), nt_warp_blocks(v->n), NT_BLOCK, 0, stream,
                                     (T *)dx, (const T *)dy, (const T *)x, saved, weights_of(v), v->n);
                 else NT_LAUNCH((backward<T, NT_BLOCK>), blocks, NT_BLOCK, 0, stream, (T *)dx, (const T *)dy,
                                (const T *)x, saved, weights_of(v), v->n));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_rows_weights(nt_cuda_stream stream, nt_dtype type, const nt_cuda_rows *v,
                                    float *dweight, float *dbias, const void *dy, const void *x,
                                    void *scratch, bool accumulate)
{
    const nt_sums_plan plan = plan_of(v);
    NT_WITH_TYPE(type, const weight_sums<T> f = {(const T *)dy, (const T *)x, (const moments *)v->saved,
                                                 nt_divide_by(v->m)};
                 nt_launch_sums<T>(stream, (double *)scratch, f, nt_aligned(dy) && nt_aligned(x), plan));
    NT_LAUNCH(put_weights, (unsigned)nt_ceil_div(plan.z.c, NT_BLOCK), NT_BLOCK, 0, stream, dweight, dbias,
              (const double *)scratch, plan, accumulate);
    return (int)cudaGetLastError();
}
