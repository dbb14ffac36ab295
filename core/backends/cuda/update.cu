/* The update rules of core/optim.h: one launch for up to NT_TABLE_RANGES ranges that share their constants.
 *
 * Bound by memory, four values a thread. Bytes per parameter: sgd 12, with momentum 20, adam 28; of the rest
 * 8 an array that is read and written, 4 one that is only one of both. Constants
 * were rounded by the host from double (1 - beta2 in float would be off by 1e-5). The factor on the gradient
 * comes from device memory, where nt_cuda_judge left it; where it is not finite nothing is written. */
#include "core/backends/cuda/ranges.cuh"

constexpr int W = 4;
constexpr int PER_BLOCK = 4 * W * NT_BLOCK;

/* Whether this update happens; *factor: what g is multiplied by. */
static inline __device__ bool begin(const nt_cuda_update &u, float *factor)
{
    const double scale = u.scale ? *u.scale : 1;
    *factor = (float)(u.grad_scale * scale);
    return scale - scale == 0;
}

static __global__ void __launch_bounds__(NT_BLOCK)
    sgd(nt_cuda_update u, nt_table t, float *p, const float *g, float *velocity, bool aligned)
{
    float factor;
    if (!begin(u, &factor)) return;
    const nt_task s = nt_own_task(t, PER_BLOCK);
    const bool vector = aligned && s.begin % W == 0;
    for (int64_t i = s.begin + (int64_t)threadIdx.x * W; i < s.end; i += NT_BLOCK * W) {
        float w[W], step[W], v[W] = {0};
        nt_load(w, p + i, s.end - i, vector);
        nt_load(step, g + i, s.end - i, vector);
        if (velocity) nt_load(v, velocity + i, s.end - i, vector);
#pragma unroll
        for (int k = 0; k < W; k++) {
            step[k] = factor * step[k] + u.weight_decay * w[k];
            v[k] = u.momentum * v[k] + step[k];
            if (velocity) step[k] = u.nesterov ? step[k] + u.momentum * v[k] : v[k];
            w[k] -= u.lr * step[k];
        }
        if (velocity) nt_store(velocity + i, v, s.end - i, vector);
        nt_store(p + i, w, s.end - i, vector);
    }
}

/* Kingma & Ba 2015, algorithm 1; decoupled decay: Loshchilov & Hutter 2019, algorithm 2. */
static __global__ void __launch_bounds__(NT_BLOCK)
    adam(nt_cuda_update u, nt_table t, float *p, const float *g, float *first, float *second, bool aligned)
{
    float factor;
    if (!begin(u, &factor)) return;
    const nt_task s = nt_own_task(t, PER_BLOCK);
    const bool vector = aligned && s.begin % W == 0;
    for (int64_t i = s.begin + (int64_t)threadIdx.x * W; i < s.end; i += NT_BLOCK * W) {
        float w[W], grad[W], m[W], v[W];
        nt_load(w, p + i, s.end - i, vector);
        nt_load(grad, g + i, s.end - i, vector);
        nt_load(m, first + i, s.end - i, vector);
        nt_load(v, second + i, s.end - i, vector);
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
        nt_store(first + i, m, s.end - i, vector);
        nt_store(second + i, v, s.end - i, vector);
        nt_store(p + i, w, s.end - i, vector);
    }
}

/* --- the rules that have no kernel of their own above: one element each; names as in core/optim.h --- */

/* What a rule works on: s1, s2, s3 are 0 where the rule has none. */
struct element {
    float p, g, s1, s2, s3;
};

struct rmsprop {
    static inline __device__ void run(const nt_cuda_update &u, float lr, element &e)
    {
        const float grad = e.g + u.weight_decay * e.p;
        e.s1 = u.beta2 * e.s1 + u.one_minus_beta2 * grad * grad;
        float variance = e.s1;
        if (u.centered) {
            e.s2 = u.beta2 * e.s2 + u.one_minus_beta2 * grad;
            variance = e.s1 - e.s2 * e.s2;
            variance = variance < 0 ? 0 : variance; /* rounding */
        }
        e.s3 = u.momentum * e.s3 + grad / (sqrtf(variance) + u.eps);
        e.p -= lr * e.s3;
    }
};

struct adagrad {
    static inline __device__ void run(const nt_cuda_update &u, float lr, element &e)
    {
        const float grad = e.g + u.weight_decay * e.p;
        e.s1 += grad * grad;
        e.p -= lr * (grad / (sqrtf(e.s1) + u.eps));
    }
};

struct lion {
    static inline __device__ void run(const nt_cuda_update &u, float lr, element &e)
    {
        const float c = u.beta1 * e.s1 + u.one_minus_beta1 * e.g;
        e.s1 = u.beta2 * e.s1 + u.one_minus_beta2 * e.g;
        e.p -= lr * ((c > 0 ? 1.f : c < 0 ? -1.f : c) + u.weight_decay * e.p);
    }
};

struct lars {
    static inline __device__ void run(const nt_cuda_update &u, float lr, element &e)
    {
        e.s1 = u.momentum * e.s1 + lr * (e.g + u.weight_decay * e.p);
        e.p -= e.s1;
    }
};

/* s3: the direction; p stays */
struct lamb {
    static inline __device__ void run(const nt_cuda_update &u, float, element &e)
    {
        e.s1 = u.beta1 * e.s1 + u.one_minus_beta1 * e.g;
        e.s2 = u.beta2 * e.s2 + u.one_minus_beta2 * e.g * e.g;
        e.s3 = (e.s1 * u.inv_correction1) / (sqrtf(e.s2 * u.inv_correction2) + u.eps) + u.weight_decay * e.p;
    }
};

/* The three below are not multiplied by the factor: see `scaled`. */
struct step {
    static inline __device__ void run(const nt_cuda_update &, float lr, element &e)
    {
        e.p -= lr * e.g;
    }
};

struct limit {
    static inline __device__ void run(const nt_cuda_update &u, float, element &e)
    {
        e.p = e.g > u.limit ? u.limit : e.g < -u.limit ? -u.limit : e.g;
    }
};

struct average {
    static inline __device__ void run(const nt_cuda_update &, float weight, element &e)
    {
        e.p = weight == 1 ? e.g : e.p + weight * (e.g - e.p);
    }
};

/* s1, s2, s3 may be NULL; s3 or p may be g. */
template <typename Rule>
static __global__ void __launch_bounds__(NT_BLOCK)
    elementwise(nt_cuda_update u, nt_table t, bool scaled, float *p, const float *g, float *s1, float *s2,
                float *s3, bool aligned)
{
    float factor;
    if (!begin(u, &factor)) return;
    if (!scaled) factor = 1;
    const nt_task s = nt_own_task(t, PER_BLOCK);
    const float lr = u.ratio ? (float)((double)u.lr * u.ratio[t.range[s.range].other]) : u.lr;
    const bool vector = aligned && s.begin % W == 0;
    for (int64_t i = s.begin + (int64_t)threadIdx.x * W; i < s.end; i += NT_BLOCK * W) {
        float w[W], grad[W], a[W] = {0}, b[W] = {0}, c[W] = {0};
        nt_load(w, p + i, s.end - i, vector);
        nt_load(grad, g + i, s.end - i, vector);
        if (s1) nt_load(a, s1 + i, s.end - i, vector);
        if (s2) nt_load(b, s2 + i, s.end - i, vector);
        if (s3) nt_load(c, s3 + i, s.end - i, vector);
#pragma unroll
        for (int k = 0; k < W; k++) {
            element e = {w[k], factor * grad[k], a[k], b[k], c[k]};
            Rule::run(u, lr, e);
            w[k] = e.p, a[k] = e.s1, b[k] = e.s2, c[k] = e.s3;
        }
        if (s1) nt_store(s1 + i, a, s.end - i, vector);
        if (s2) nt_store(s2 + i, b, s.end - i, vector);
        if (s3) nt_store(s3 + i, c, s.end - i, vector);
        nt_store(p + i, w, s.end - i, vector);
    }
}

template <typename Rule>
static int launch(nt_cuda_stream stream, const nt_cuda_update *u, bool scaled, float *p, const float *g,
                  float *s1, float *s2, float *s3, const nt_stretch *ranges, int n)
{
    const bool aligned = nt_aligned(p) && nt_aligned(g) && nt_aligned(s1) && nt_aligned(s2) && nt_aligned(s3);
    nt_launch_ranges(ranges, n, PER_BLOCK, INT32_MAX, [=](const nt_table &t, unsigned blocks) {
        NT_LAUNCH(elementwise<Rule>, blocks, NT_BLOCK, 0, stream, *u, t, scaled, p, g, s1, s2, s3, aligned);
    });
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_update_rmsprop(nt_cuda_stream stream, const nt_cuda_update *u, float *p,
                                      const float *g, float *square, float *mean, float *buffer,
                                      const nt_stretch *ranges, int n)
{
    return launch<rmsprop>(stream, u, true, p, g, square, mean, buffer, ranges, n);
}

extern "C" int nt_cuda_update_adagrad(nt_cuda_stream stream, const nt_cuda_update *u, float *p,
                                      const float *g, float *sum, const nt_stretch *ranges, int n)
{
    return launch<adagrad>(stream, u, true, p, g, sum, NULL, NULL, ranges, n);
}

extern "C" int nt_cuda_update_lion(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                                   float *first, const nt_stretch *ranges, int n)
{
    return launch<lion>(stream, u, true, p, g, first, NULL, NULL, ranges, n);
}

extern "C" int nt_cuda_update_lars(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                                   float *velocity, const nt_stretch *ranges, int n)
{
    return launch<lars>(stream, u, true, p, g, velocity, NULL, NULL, ranges, n);
}

extern "C" int nt_cuda_update_lamb(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                                   float *first, float *second, float *direction, const nt_stretch *ranges,
                                   int n)
{
    return launch<lamb>(stream, u, true, p, g, first, second, direction, ranges, n);
}

extern "C" int nt_cuda_update_step(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                                   const nt_stretch *ranges, int n)
{
    return launch<step>(stream, u, false, p, g, NULL, NULL, NULL, ranges, n);
}

extern "C" int nt_cuda_update_limit(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                                    const nt_stretch *ranges, int n)
{
    return launch<limit>(stream, u, false, p, g, NULL, NULL, NULL, ranges, n);
}

extern "C" int nt_cuda_update_average(nt_cuda_stream stream, const nt_cuda_update *u, float *p,
                                      const float *g, const nt_stretch *ranges, int n)
{
    return launch<average>(stream, u, false, p, g, NULL, NULL, NULL, ranges, n);
}

/* Running statistics; a thread per channel, there are few. In double, because b - a^2 cancels. */
static __global__ void __launch_bounds__(NT_BLOCK)
    stat(nt_cuda_update u, nt_table t, float *mean, const float *a, float *var, const float *b)
{
    float factor;
    if (!begin(u, &factor)) return;
    const nt_task s = nt_own_task(t, NT_BLOCK);
    const int64_t i = s.begin + threadIdx.x, k = i - t.range[s.range].begin + t.range[s.range].other;
    if (i >= s.end) return;
    const double shift = (double)a[i];
    const double batch_var = ((double)b[k] - shift * shift) * (double)u.inv_correction1;
    mean[i] = (float)((double)mean[i] + (double)u.momentum * shift);
    var[k] = (float)((double)var[k] + (double)u.momentum * (batch_var - (double)var[k]));
}

extern "C" int nt_cuda_update_sgd(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                                  float *velocity, const nt_stretch *ranges, int n)
{
    const bool aligned = nt_aligned(p) && nt_aligned(g) && nt_aligned(velocity);
    nt_launch_ranges(ranges, n, PER_BLOCK, INT32_MAX, [=](const nt_table &t, unsigned blocks) {
        NT_LAUNCH(sgd, blocks, NT_BLOCK, 0, stream, *u, t, p, g, velocity, aligned);
    });
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_update_adam(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                                   float *first, float *second, const nt_stretch *ranges, int n)
{
    const bool aligned = nt_aligned(p) && nt_aligned(g) && nt_aligned(first) && nt_aligned(second);
    nt_launch_ranges(ranges, n, PER_BLOCK, INT32_MAX, [=](const nt_table &t, unsigned blocks) {
        NT_LAUNCH(adam, blocks, NT_BLOCK, 0, stream, *u, t, p, g, first, second, aligned);
    });
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_update_stat(nt_cuda_stream stream, const nt_cuda_update *u, float *mean,
                                   const float *a, float *var, const float *b, const nt_stretch *ranges,
                                   int n)
{
    nt_launch_ranges(ranges, n, NT_BLOCK, INT32_MAX, [=](const nt_table &t, unsigned blocks) {
        NT_LAUNCH(stat, blocks, NT_BLOCK, 0, stream, *u, t, mean, a, var, b);
    });
    return (int)cudaGetLastError();
}
