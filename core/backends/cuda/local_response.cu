/* local_response_norm: with d_c = k + alpha / size * sum of x^2 around channel c, y_c = x_c d_c^-beta and
 *   dx_i = dy_i d_i^-beta - 2 alpha beta / size * x_i * sum over c near i of dy_c x_c d_c^(-beta - 1).
 *
 * A thread takes an element; its neighbours in memory are other positions, so channels S apart are read in
 * pieces. Training keeps d, so that backward needs no window of windows. `size` loads an element, of which
 * all but one come from caches; backward takes a power for each, and these bound it. */
#include "core/backends/cuda/device.cuh"

/* Forward's constants, by value. */
struct response {
    float factor, beta, k; /* factor: alpha / size */
    int before, behind;    /* channels that d sees */
};

/* Where the column of element i begins, and which channel of it i is. */
struct spot {
    int64_t column, c;
};

static inline __device__ spot spot_of(int64_t i, nt_divisor s, nt_divisor channels)
{
    const int64_t plane = nt_quotient(i, s);
    const int64_t c = plane - nt_quotient(plane, channels) * channels.d;
    return {i - c * s.d, c};
}

template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    forward(T *y, float *saved, const T *x, response o, nt_divisor s, nt_divisor channels, int64_t n)
{
    for (int64_t i = nt_thread(); i < n; i += nt_threads()) {
        const spot at = spot_of(i, s, channels);
        const int64_t first = at.c > o.before ? at.c - o.before : 0;
        const int64_t last = at.c + o.behind < channels.d ? at.c + o.behind : channels.d - 1;
        float sum = 0;
        for (int64_t c = first; c <= last; c++) {
            const float v = nt_to_float(x[at.column + c * s.d]);
            sum += v * v;
        }
        const float d = o.k + o.factor * sum;
        if (saved) saved[i] = d;
        nt_put(&y[i], nt_to_float(x[i]) * powf(d, -o.beta));
    }
}

/* The channels that have i near them lie the other way round: `behind` before it and `before` behind. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    backward(T *dx, const T *dy, const T *x, const float *saved, response o, nt_divisor s,
             nt_divisor channels, int64_t n)
{
    for (int64_t i = nt_thread(); i < n; i += nt_threads()) {
        const spot at = spot_of(i, s, channels);
        const int64_t first = at.c > o.behind ? at.c - o.behind : 0;
        const int64_t last = at.c + o.before < channels.d ? at.c + o.before : channels.d - 1;
        float sum = 0;
        for (int64_t c = first; c <= last; c++) {
            const int64_t e = at.column + c * s.d;
            sum += nt_to_float(dy[e]) * nt_to_float(x[e]) * powf(saved[e], -o.beta - 1.0f);
        }
        nt_put(&dx[i], nt_to_float(dy[i]) * powf(saved[i], -o.beta) -
                           2.0f * o.factor * o.beta * nt_to_float(x[i]) * sum);
    }
}

static response response_of(const nt_cuda_response *o)
{
    return {(float)(o->alpha / (double)o->size), (float)o->beta, (float)o->k, (int)(o->size / 2),
            (int)((o->size - 1) / 2)};
}

extern "C" int nt_cuda_response_forward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_response *o,
                                        void *y, float *saved, const void *x, nt_cuda_channels z)
{
    const int64_t n = z.n * z.c * z.s;
    NT_WITH_TYPE(type, NT_LAUNCH(forward<T>, nt_blocks(n), NT_BLOCK, 0, stream, (T *)y, saved, (const T *)x,
                                 response_of(o), nt_divide_by(z.s), nt_divide_by(z.c), n));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_response_backward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_response *o,
                                         void *dx, const void *dy, const void *x, const float *saved,
                                         nt_cuda_channels z)
{
    const int64_t n = z.n * z.c * z.s;
    NT_WITH_TYPE(type,
                 NT_LAUNCH(backward<T>, nt_blocks(n), NT_BLOCK, 0, stream, (T *)dx, (const T *)dy,
                           (const T *)x, saved, response_of(o), nt_divide_by(z.s), nt_divide_by(z.c), n));
    return (int)cudaGetLastError();
}
