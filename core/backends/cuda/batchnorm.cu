/* batchnorm, as core/layers/batchnorm.h defines it, with ReLU on top where it is fused.
 *
 * Three launches forward (sums, a thread per channel that makes constants of them, y) and three backward;
 * where statistics are of all ranks' parts, the launch in the middle is two, with a sum over ranks between
 * them. Statistics are sums of x - pivot, where the pivot is the channel's first value, so that the variance
 * does not cancel where the mean is large; what the mean loses when it is rounded to float is made up for in
 * `shift`. The ReLU's mask is computed again from x with the same fused multiply-add, so y need not be kept.
 *
 * Bytes: forward 2 reads of x and 1 write, backward 2 reads of (x, dy) and 1 write; the second read comes
 * from L2 where the tensor fits there (40 MB on an A100, 50 on an H100). One launch per channel with the
 * values held in shared memory would read once, but only small batches of small images fit. */
#include "core/backends/cuda/channel_sums.cuh"

#include "core/layers/batchnorm.h"

/* z = factor (x - center) + shift; an unused fourth makes it one load. */
struct __align__(16) affine
{
    float center, factor, shift, unused;
};

/* dx = factor (dz - slope (x - center) - mean) */
struct __align__(8) correction
{
    float slope, mean;
};

/* What forward leaves for backward: (C) of each. sums: what the parts of a batch that other devices have are
 * summed with, as core/moments.h has it: (2 C + 1), the last the count of values per channel. */
struct saved {
    affine *constants;
    double *mean, *var, *sums;
};

static saved saved_of(const nt_cuda_norm *norm)
{
    saved s;
    s.constants = (affine *)norm->saved;
    s.mean = (double *)(s.constants + norm->shape.c);
    s.var = s.mean + norm->shape.c;
    s.sums = s.var + norm->shape.c;
    return s;
}

static inline __device__ float normalise(const affine &h, float x)
{
    return fmaf(h.factor, x - h.center, h.shift);
}

static inline __device__ void set_affine(affine *h, double mean, double var, double eps, double weight,
                                         double bias)
{
    const double factor = weight / sqrt(var + eps);
    const float center = (float)mean;
    *h = {center, (float)factor, (float)(bias - (mean - (double)center) * factor), 0.0f};
}

/* --- forward --- */

/* Sums of x - pivot and of its square. 1 read. */
template <typename T> struct moments {
    const T *x;
    int64_t s;
    float pivot;

    __device__ void begin(int64_t c)
    {
        pivot = nt_to_float(x[c * s]);
    }

    template <int W> __device__ void add(int64_t at, float &a, float &b) const
    {
        float v[W];
        nt_load(v, x + at, W, true);
#pragma unroll
        for (int k = 0; k < W; k++) {
            const float d = v[k] - pivot;
            a += d;
            b += d * d;
        }
    }
};

/* A thread per channel: statistics of the batch and constants. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    put_statistics(saved out, const double *partial, nt_sums_plan plan, const T *x, const float *weight,
                   const float *bias, double eps)
{
    const int64_t c = nt_thread();
    if (c >= plan.z.c) return;
    const double count = (double)(plan.z.n * plan.z.s);
    const double shift = nt_channel_total(partial, plan, 0, c) / count;
    const double spread = nt_channel_total(partial, plan, 1, c) / count - shift * shift;
    const double mean = (double)nt_to_float(x[c * plan.z.s]) + shift, var = spread < 0 ? 0 : spread;
    out.mean[c] = mean;
    out.var[c] = var;
    set_affine(&out.constants[c], mean, var, eps, (double)weight[c], (double)bias[c]);
}

/* Statistics of this part of the batch, as sums about the running mean; and constants of those of all parts.
 */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    put_part(saved out, const double *partial, nt_sums_plan plan, const T *x, const float *running_mean)
{
    const int64_t c = nt_thread();
    if (c >= plan.z.c) return;
    const double count = (double)(plan.z.n * plan.z.s);
    const double shift = nt_channel_total(partial, plan, 0, c) / count;
    const double spread = nt_channel_total(partial, plan, 1, c) / count - shift * shift;
    const double mean = (double)nt_to_float(x[c * plan.z.s]) + shift, var = spread < 0 ? 0 : spread;
    const double distance = mean - (double)running_mean[c];
    out.sums[c] = count * distance;
    out.sums[plan.z.c + c] = count * (var + distance * distance);
    if (c == 0) out.sums[2 * plan.z.c] = count;
}

static __global__ void __launch_bounds__(NT_BLOCK)
    join_parts(saved out, const float *weight, const float *bias, const float *running_mean, double eps,
               int64_t n)
{
    const int64_t c = nt_thread();
    if (c >= n) return;
    const double count = out.sums[2 * n], shift = out.sums[c] / count;
    const double spread = out.sums[n + c] / count - shift * shift;
    const double mean = (double)running_mean[c] + shift, var = spread < 0 ? 0 : spread;
    out.mean[c] = mean;
    out.var[c] = var;
    set_affine(&out.constants[c], mean, var, eps, (double)weight[c], (double)bias[c]);
}

/* The same from the running statistics. */
static __global__ void __launch_bounds__(NT_BLOCK)
    put_running(affine *out, const float *weight, const float *bias, const float *mean, const float *var,
                double eps, int64_t n)
{
    const int64_t c = nt_thread();
    if (c < n) set_affine(&out[c], (double)mean[c], (double)var[c], eps, (double)weight[c], (double)bias[c]);
}

/* 1 read, 1 write, and sixteen bytes of constants per pack from a cache. W: 1 unless packs fill rows of S. */
template <typename T, int W>
static __global__ void __launch_bounds__(NT_BLOCK) apply(T *y, const T *x, const affine *constants, bool relu,
                                                         nt_divisor row, nt_divisor channels, int64_t packs)
{
    for (int64_t i = nt_thread(); i < packs; i += nt_threads()) {
        const int64_t plane = nt_quotient(i, row);
        const affine h = constants[plane - nt_quotient(plane, channels) * channels.d];
        float v[W];
        nt_load(v, x + i * W, W, true);
#pragma unroll
        for (int k = 0; k < W; k++) {
            v[k] = normalise(h, v[k]);
            if (relu && v[k] < 0) v[k] = 0;
        }
        nt_store(y + i * W, v, W, true);
    }
}

template <typename T>
static void launch_apply(nt_cuda_stream stream, T *y, const T *x, const affine *constants, bool relu,
                         nt_cuda_channels z)
{
    constexpr int W = nt_lanes<T>::N;
    const int64_t n = z.n * z.c * z.s;
    const nt_divisor channels = nt_divide_by(z.c);
    if (z.s % W == 0 && nt_aligned(x) && nt_aligned(y))
        NT_LAUNCH((apply<T, W>), nt_blocks(n / W), NT_BLOCK, 0, stream, y, x, constants, relu,
                  nt_divide_by(z.s / W), channels, n / W);
    else
        NT_LAUNCH((apply<T, 1>), nt_blocks(n), NT_BLOCK, 0, stream, y, x, constants, relu, nt_divide_by(z.s),
                  channels, n);
}

static unsigned channel_blocks(const nt_cuda_norm *norm)
{
    return (unsigned)nt_ceil_div(norm->shape.c, NT_BLOCK);
}

template <typename T> static void sum_moments(nt_cuda_stream stream, const nt_cuda_norm *norm, const T *x)
{
    const moments<T> f = {x, norm->shape.s, 0.0f};
    nt_launch_sums<T>(stream, (double *)norm->scratch, f, nt_aligned(x), nt_plan_sums(norm->shape));
}

template <typename T> static void forward_part(nt_cuda_stream stream, const nt_cuda_norm *norm, const T *x)
{
    sum_moments(stream, norm, x);
    NT_LAUNCH(put_part<T>, channel_blocks(norm), NT_BLOCK, 0, stream, saved_of(norm),
              (const double *)norm->scratch, nt_plan_sums(norm->shape), x, norm->running_mean);
}

template <typename T>
static void forward_joined(nt_cuda_stream stream, const nt_cuda_norm *norm, T *y, const T *x)
{
    const saved s = saved_of(norm);
    NT_LAUNCH(join_parts, channel_blocks(norm), NT_BLOCK, 0, stream, s, norm->weight, norm->bias,
              norm->running_mean, norm->eps, norm->shape.c);
    launch_apply(stream, y, x, (const affine *)s.constants, norm->relu, norm->shape);
}

template <typename T>
static void forward(nt_cuda_stream stream, const nt_cuda_norm *norm, T *y, const T *x, bool training)
{
    const nt_cuda_channels z = norm->shape;
    const unsigned blocks = channel_blocks(norm);
    affine *constants = training ? saved_of(norm).constants : (affine *)norm->scratch;
    if (training) {
        sum_moments(stream, norm, x);
        NT_LAUNCH(put_statistics<T>, blocks, NT_BLOCK, 0, stream, saved_of(norm),
                  (const double *)norm->scratch, nt_plan_sums(z), x, norm->weight, norm->bias, norm->eps);
    } else {
        NT_LAUNCH(put_running, blocks, NT_BLOCK, 0, stream, constants, norm->weight, norm->bias,
                  norm->running_mean, norm->running_var, norm->eps, z.c);
    }
    launch_apply(stream, y, x, (const affine *)constants, norm->relu, z);
}

/* --- backward --- */

static inline __device__ float masked(const affine &h, bool relu, float dy, float x)
{
    return relu && !(normalise(h, x) > 0) ? 0.0f : dy;
}

/* Sums of dz and of dz (x - center). 2 reads. */
template <typename T> struct gradient_moments {
    const T *dy, *x;
    const affine *constants;
    bool relu;
    affine h;

    __device__ void begin(int64_t c)
    {
        h = constants[c];
    }

    template <int W> __device__ void add(int64_t at, float &a, float &b) const
    {
        float g[W], v[W];
        nt_load(g, dy + at, W, true);
        nt_load(v, x + at, W, true);
#pragma unroll
        for (int k = 0; k < W; k++) {
            const float dz = masked(h, relu, g[k], v[k]);
            a += dz;
            b += dz * (v[k] - h.center);
        }
    }
};

struct gradients {
    float *weight, *bias, *mean, *var; /* (C) */
};

/* Sums of dz and of dz xhat over this part's channel c into the four gradient slots. */
static inline __device__ void put_slots(const gradients &out, int64_t c, const saved &batch, double sum_dz,
                                        double sum_dz_xhat, const float *running_mean,
                                        const nt_cuda_pass *pass, bool accumulate)
{
    const double var = batch.var[c], shift = batch.mean[c] - (double)running_mean[c];
    nt_put_gradient(&out.weight[c], sum_dz_xhat, accumulate);
    nt_put_gradient(&out.bias[c], sum_dz, accumulate);
    nt_put_gradient(&out.mean[c], pass->share * shift, accumulate);
    nt_put_gradient(&out.var[c], pass->share * (var + shift * shift), accumulate);
}

/* What the float `center` lacks of the mean. */
static inline __device__ double center_error(const saved &batch, int64_t c)
{
    return batch.mean[c] - (double)batch.constants[c].center;
}

static inline __device__ correction correct(const saved &batch, int64_t c, double eps, double sum_dz,
                                            double sum_dz_xhat, double count)
{
    const double slope = sum_dz_xhat / count / sqrt(batch.var[c] + eps);
    return {(float)slope, (float)(sum_dz / count - slope * center_error(batch, c))};
}

static inline __device__ double xhat_sum(const double *partial, const nt_sums_plan &plan, const saved &batch,
                                         int64_t c, double eps, double sum_dz)
{
    const double about_center = nt_channel_total(partial, plan, 1, c);
    return (about_center - center_error(batch, c) * sum_dz) / sqrt(batch.var[c] + eps);
}

/* A thread per channel: the four gradient slots, and the constants of dx. */
static __global__ void __launch_bounds__(NT_BLOCK)
    put_gradients(gradients out, correction *corrections, const double *partial, nt_sums_plan plan,
                  saved batch, const float *running_mean, double eps, const nt_cuda_pass *pass,
                  bool accumulate)
{
    const int64_t c = nt_thread();
    if (c >= plan.z.c) return;
    const double sum_dz = nt_channel_total(partial, plan, 0, c);
    const double sum_dz_xhat = xhat_sum(partial, plan, batch, c, eps, sum_dz);
    corrections[c] = correct(batch, c, eps, sum_dz, sum_dz_xhat, (double)(plan.z.n * plan.z.s));
    put_slots(out, c, batch, sum_dz, sum_dz_xhat, running_mean, pass, accumulate);
}

/* The same in two, before and after this part's sums have become those of all parts. */
static __global__ void __launch_bounds__(NT_BLOCK)
    put_part_gradients(gradients out, const double *partial, nt_sums_plan plan, saved batch,
                       const float *running_mean, double eps, const nt_cuda_pass *pass, bool accumulate)
{
    const int64_t c = nt_thread();
    if (c >= plan.z.c) return;
    const double sum_dz = nt_channel_total(partial, plan, 0, c);
    const double sum_dz_xhat = xhat_sum(partial, plan, batch, c, eps, sum_dz);
    batch.sums[c] = sum_dz;
    batch.sums[plan.z.c + c] = sum_dz_xhat;
    put_slots(out, c, batch, sum_dz, sum_dz_xhat, running_mean, pass, accumulate);
}

static __global__ void __launch_bounds__(NT_BLOCK)
    put_corrections(correction *corrections, saved batch, double eps, int64_t n)
{
    const int64_t c = nt_thread();
    if (c < n) corrections[c] = correct(batch, c, eps, batch.sums[c], batch.sums[n + c], batch.sums[2 * n]);
}

/* 2 reads, 1 write. */
template <typename T, int W>
static __global__ void __launch_bounds__(NT_BLOCK)
    apply_backward(T *dx, const T *dy, const T *x, const affine *constants, const correction *corrections,
                   bool relu, nt_divisor row, nt_divisor channels, int64_t packs)
{
    for (int64_t i = nt_thread(); i < packs; i += nt_threads()) {
        const int64_t plane = nt_quotient(i, row), c = plane - nt_quotient(plane, channels) * channels.d;
        const affine h = constants[c];
        const correction r = corrections[c];
        float g[W], v[W];
        nt_load(g, dy + i * W, W, true);
        nt_load(v, x + i * W, W, true);
#pragma unroll
        for (int k = 0; k < W; k++) {
            const float dz = masked(h, relu, g[k], v[k]);
            g[k] = h.factor * (dz - r.mean - r.slope * (v[k] - h.center));
        }
        nt_store(dx + i * W, g, W, true);
    }
}

template <typename T>
static void launch_apply_backward(nt_cuda_stream stream, T *dx, const T *dy, const T *x,
                                  const affine *constants, const correction *corrections, bool relu,
                                  nt_cuda_channels z)
{
    constexpr int W = nt_lanes<T>::N;
    const int64_t n = z.n * z.c * z.s;
    const nt_divisor channels = nt_divide_by(z.c);
    if (z.s % W == 0 && nt_aligned(x) && nt_aligned(dy) && nt_aligned(dx))
        NT_LAUNCH((apply_backward<T, W>), nt_blocks(n / W), NT_BLOCK, 0, stream, dx, dy, x, constants,
                  corrections, relu, nt_divide_by(z.s / W), channels, n / W);
    else
        NT_LAUNCH((apply_backward<T, 1>), nt_blocks(n), NT_BLOCK, 0, stream, dx, dy, x, constants,
                  corrections, relu, nt_divide_by(z.s), channels, n);
}

/* scratch: corrections (C), then partial sums */
static correction *corrections_of(const nt_cuda_norm *norm)
{
    return (correction *)norm->scratch;
}

static double *partial_of(const nt_cuda_norm *norm)
{
    return (double *)(corrections_of(norm) + norm->shape.c);
}

template <typename T>
static void sum_gradient_moments(nt_cuda_stream stream, const nt_cuda_norm *norm, const T *dy, const T *x)
{
    const gradient_moments<T> f = {dy, x, saved_of(norm).constants, norm->relu, {0, 0, 0, 0}};
    nt_launch_sums<T>(stream, partial_of(norm), f, nt_aligned(x) && nt_aligned(dy),
                      nt_plan_sums(norm->shape));
}

template <typename T>
static void write_dx(nt_cuda_stream stream, const nt_cuda_norm *norm, T *dx, const T *dy, const T *x)
{
    launch_apply_backward(stream, dx, dy, x, (const affine *)saved_of(norm).constants,
                          (const correction *)corrections_of(norm), norm->relu, norm->shape);
}

template <typename T>
static void backward(nt_cuda_stream stream, const nt_cuda_norm *norm, T *dx, const T *dy, const T *x,
                     const gradients &out, const nt_cuda_pass *pass, bool accumulate)
{
    sum_gradient_moments(stream, norm, dy, x);
    NT_LAUNCH(put_gradients, channel_blocks(norm), NT_BLOCK, 0, stream, out, corrections_of(norm),
              (const double *)partial_of(norm), nt_plan_sums(norm->shape), saved_of(norm), norm->running_mean,
              norm->eps, pass, accumulate);
    if (dx) write_dx(stream, norm, dx, dy, x);
}

template <typename T>
static void backward_part(nt_cuda_stream stream, const nt_cuda_norm *norm, const T *dy, const T *x,
                          const gradients &out, const nt_cuda_pass *pass, bool accumulate)
{
    sum_gradient_moments(stream, norm, dy, x);
    NT_LAUNCH(put_part_gradients, channel_blocks(norm), NT_BLOCK, 0, stream, out,
              (const double *)partial_of(norm), nt_plan_sums(norm->shape), saved_of(norm), norm->running_mean,
              norm->eps, pass, accumulate);
}

template <typename T>
static void backward_joined(nt_cuda_stream stream, const nt_cuda_norm *norm, T *dx, const T *dy, const T *x)
{
    NT_LAUNCH(put_corrections, channel_blocks(norm), NT_BLOCK, 0, stream, corrections_of(norm),
              saved_of(norm), norm->eps, norm->shape.c);
    write_dx(stream, norm, dx, dy, x);
}

extern "C" size_t nt_cuda_norm_saved_bytes(nt_cuda_channels z)
{
    return (size_t)z.c * (sizeof(affine) + 4 * sizeof(double)) + sizeof(double);
}

/* Backward's corrections and partial sums; forward's are the same, and inference keeps constants here. */
extern "C" size_t nt_cuda_norm_scratch_bytes(nt_cuda_channels z)
{
    return (size_t)z.c * sizeof(affine) + nt_partial_bytes(nt_plan_sums(z));
}

extern "C" int nt_cuda_norm_forward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_norm *norm, void *y,
                                    const void *x, bool training)
{
    NT_WITH_TYPE(type, forward(stream, norm, (T *)y, (const T *)x, training));
    return (int)cudaGetLastError();
}

extern "C" double *nt_cuda_norm_sums(const nt_cuda_norm *norm)
{
    return saved_of(norm).sums;
}

extern "C" int nt_cuda_norm_forward_part(nt_cuda_stream stream, nt_dtype type, const nt_cuda_norm *norm,
                                         const void *x)
{
    NT_WITH_TYPE(type, forward_part(stream, norm, (const T *)x));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_norm_forward_joined(nt_cuda_stream stream, nt_dtype type, const nt_cuda_norm *norm,
                                           void *y, const void *x)
{
    NT_WITH_TYPE(type, forward_joined(stream, norm, (T *)y, (const T *)x));
    return (int)cudaGetLastError();
}

static gradients gradients_of(float *const *dparam)
{
    return {dparam[NT_BN_WEIGHT], dparam[NT_BN_BIAS], dparam[NT_BN_MEAN], dparam[NT_BN_VAR]};
}

extern "C" int nt_cuda_norm_backward_part(nt_cuda_stream stream, nt_dtype type, const nt_cuda_norm *norm,
                                          const void *dy, const void *x, float *const *dparam,
                                          const nt_cuda_pass *pass, bool accumulate)
{
    NT_WITH_TYPE(type, backward_part(stream, norm, (const T *)dy, (const T *)x, gradients_of(dparam), pass,
                                     accumulate));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_norm_backward_joined(nt_cuda_stream stream, nt_dtype type, const nt_cuda_norm *norm,
                                            void *dx, const void *dy, const void *x)
{
    NT_WITH_TYPE(type, backward_joined(stream, norm, (T *)dx, (const T *)dy, (const T *)x));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_norm_backward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_norm *norm, void *dx,
                                     const void *dy, const void *x, float *const *dparam,
                                     const nt_cuda_pass *pass, bool accumulate)
{
    NT_WITH_TYPE(type, backward(stream, norm, (T *)dx, (const T *)dy, (const T *)x, gradients_of(dparam),
                                pass, accumulate));
    return (int)cudaGetLastError();
}
