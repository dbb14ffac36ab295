/* The update rules of core/optim.h over a flat range: one launch a range, whatever lies in it.
 *
 * Bound by memory, four values a thread. Bytes per parameter: sgd 12, with momentum 20, adam 28. Constants
 * were rounded by the host from double (1 - beta2 in float would be off by 1e-5). The factor on the gradient
 * comes from device memory, where nt_cuda_judge left it; where it is not finite nothing is written. */
#include "core/backends/cuda/device.cuh"

constexpr int W = 4;

/* Whether this update happens; *factor: what g is multiplied by. */
static inline __device__ bool begin(const nt_cuda_update &u, float *factor)
{
    const double scale = u.scale ? *u.scale : 1;
    *factor = (float)(u.grad_scale * scale);
    return scale - scale == 0;
}

static __global__ void __launch_bounds__(NT_BLOCK)
    sgd(nt_cuda_update u, float *p, const float *g, float *velocity, int64_t n, bool vector)
{
    float factor;
    if (!begin(u, &factor)) return;
    for (int64_t i = nt_thread() * W; i < n; i += nt_threads() * W) {
        float w[W], step[W], v[W] = {0};
        nt_load(w, p + i, n - i, vector);
        nt_load(step, g + i, n - i, vector);
        if (velocity) nt_load(v, velocity + i, n - i, vector);
#pragma unroll
        for (int k = 0; k < W; k++) {
            step[k] = factor * step[k] + u.weight_decay * w[k];
            v[k] = u.momentum * v[k] + step[k];
            if (velocity) step[k] = u.nesterov ? step[k] + u.momentum * v[k] : v[k];
            w[k] -= u.lr * step[k];
        }
        if (velocity) nt_store(velocity + i, v, n - i, vector);
        nt_store(p + i, w, n - i, vector);
    }
}

/* Kingma & Ba 2015, algorithm 1; decoupled decay: Loshchilov & Hutter 2019, algorithm 2. */
static __global__ void __launch_bounds__(NT_BLOCK)
    adam(nt_cuda_update u, float *p, const float *g, float *first, float *second, int64_t n, bool vector)
{
    float factor;
    if (!begin(u, &factor)) return;
    for (int64_t i = nt_thread() * W; i < n; i += nt_threads() * W) {
        float w[W], grad[W], m[W], v[W];
        nt_load(w, p + i, n - i, vector);
        nt_load(grad, g + i, n - i, vector);
        nt_load(m, first + i, n - i, vector);
        nt_load(v, second + i, n - i, vector);
#pragma unroll
        for (int k = 0; k < W; k++) {
            grad[k] *= factor;
            if (u.decoupled)
                w[k] -= u.lr * u.weight_decay * w[k];
            else
                grad[k] += u.weight_decay * w[k];
            m[k] = u.beta1 * m[k] + u.one_minus_beta1 * grad[k];
            v[k] = u.beta2 * v[k] + u.one_minus_beta2 * grad[k] * grad[k];
            w[k] -= u.lr * (m[k] * u.inv_correction1) / (sqrtf(v[k] * u.inv_correction2) + u.eps);
        }
        nt_store(first + i, m, n - i, vector);
        nt_store(second + i, v, n - i, vector);
        nt_store(p + i, w, n - i, vector);
    }
}

/* Running statistics; a thread per channel, there are few. In double, because b - a^2 cancels. */
static __global__ void __launch_bounds__(NT_BLOCK)
    stat(nt_cuda_update u, float *mean, const float *a, float *var, const float *b, int64_t n)
{
    float factor;
    if (!begin(u, &factor)) return;
    for (int64_t i = nt_thread(); i < n; i += nt_threads()) {
        const double shift = (double)a[i];
        const double batch_var = ((double)b[i] - shift * shift) * (double)u.inv_correction1;
        mean[i] = (float)((double)mean[i] + (double)u.momentum * shift);
        var[i] = (float)((double)var[i] + (double)u.momentum * (batch_var - (double)var[i]));
    }
}

extern "C" int nt_cuda_update_sgd(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                                  float *velocity, int64_t n)
{
    const bool vector = nt_aligned(p) && nt_aligned(g) && nt_aligned(velocity);
    NT_LAUNCH(sgd, nt_blocks(n / W + 1), NT_BLOCK, 0, stream, *u, p, g, velocity, n, vector);
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_update_adam(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                                   float *first, float *second, int64_t n)
{
    const bool vector = nt_aligned(p) && nt_aligned(g) && nt_aligned(first) && nt_aligned(second);
    NT_LAUNCH(adam, nt_blocks(n / W + 1), NT_BLOCK, 0, stream, *u, p, g, first, second, n, vector);
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_update_stat(nt_cuda_stream stream, const nt_cuda_update *u, float *mean,
                                   const float *a, float *var, const float *b, int64_t n)
{
    NT_LAUNCH(stat, nt_blocks(n), NT_BLOCK, 0, stream, *u, mean, a, var, b, n);
    return (int)cudaGetLastError();
}
