/* cross_entropy_full: cross_entropy with labels or probabilities, class weights, label smoothing, an ignored
 * label, and several positions; core/layers/losses.h has the formulas.
 *
 * Labels and probabilities are one case: what class k asks for is a number q_k, and the loss of a position is
 * -sum over k of q_k l_k with gradient (sum of q) softmax(x)_k - q_k. A warp takes a position where its
 * classes are neighbours, else a thread does and its neighbours take the positions beside it. Positions leave
 * their losses in scratch, and a warp adds those of a sample in order.
 *
 * Bound by memory: forward reads x once, backward once and writes once; further passes over the classes of a
 * position come from caches. */
#include "core/backends/cuda/largest.cuh"

/* What a position left: its loss; 1 right, 0 wrong or ignored. */
struct __align__(16) verdict
{
    double loss;
    int right, unused;
};

/* By value. */
struct loss_plan {
    int64_t n, k, class_step, position_step;
    nt_divisor p;
    const int32_t *label; /* (n, p), or NULL */
    const float *target;  /* as x, or NULL */
    const float *weight;  /* (k), or NULL: all 1 */
    double ignored;       /* NaN: none */
    float keep, spread;   /* 1 - smoothing, smoothing / k */
    bool over_weights;
    int *data_error;
    uint32_t id;
};

/* Position i of all: where it is in x and target, and its label. */
struct position {
    int64_t at;
    int32_t label;
    bool ignored;
};

static inline __device__ position position_of(const loss_plan &o, int64_t i)
{
    const int64_t n = nt_quotient(i, o.p), p = i - n * o.p.d;
    const int32_t label = o.label ? o.label[i] : -1;
    return {n * o.k * o.p.d + p * o.position_step, label, o.label && (double)label == o.ignored};
}

/* What the target asks of class k, weighted and smoothed. */
static inline __device__ float asked(const loss_plan &o, const position &v, int64_t k)
{
    const float t = o.target ? o.target[v.at + k * o.class_step] : v.label == k ? 1.0f : 0.0f;
    return (o.weight ? o.weight[k] : 1.0f) * (o.keep * t + o.spread);
}

/* Whether the target is one; the first thread that sees that it is not writes it down. */
template <int LANES> static inline __device__ bool is_sound(const loss_plan &o, const position &v)
{
    const int lane = (int)threadIdx.x % LANES;
    if (o.label) {
        const bool sound = v.label >= 0 && v.label < o.k;
        if (!sound && lane == 0) nt_report_bad(o.data_error, o.id, NT_CUDA_BAD_LABEL, v.label);
        return sound;
    }
    double sum = 0, bad = 0;
    for (int64_t k = lane; k < o.k; k += LANES) {
        const float t = o.target[v.at + k * o.class_step];
        if (!(t >= 0)) nt_report_bad(o.data_error, o.id, NT_CUDA_BAD_PROBABILITY, __float_as_int(t));
        bad += t >= 0 ? 0 : 1;
        sum += (double)t;
    }
    if (LANES > 1) {
        sum = nt_warp_sum(sum);
        bad = nt_warp_sum(bad);
    }
    const bool one = fabs(sum - 1) < 1e-3;
    if (bad == 0 && !one && lane == 0)
        nt_report_bad(o.data_error, o.id, NT_CUDA_BAD_SUM, __float_as_int((float)sum));
    return bad == 0 && one;
}

template <int LANES, typename T>
static inline __device__ verdict judge(const loss_plan &o, const T *x, const position &v)
{
    const T *own = x + v.at;
    if (v.ignored) return {0, 0, 0};
    if (!is_sound<LANES>(o, v)) return {(double)NAN, 0, 0};
    const nt_largest top = nt_find_largest<LANES>(own, o.k, o.class_step);
    const double log_sum = log(nt_exp_sum<LANES>(own, o.k, o.class_step, top.value));
    const int64_t answer =
        o.label ? v.label : nt_find_largest<LANES>(o.target + v.at, o.k, o.class_step).index;
    double loss = 0;
    for (int64_t k = (int)threadIdx.x % LANES; k < o.k; k += LANES)
        loss += (double)asked(o, v, k) *
                (log_sum + ((double)top.value - (double)nt_to_float(own[k * o.class_step])));
    if (LANES > 1) loss = nt_warp_sum(loss);
    return {loss, top.index == answer, 0};
}

template <int LANES, typename T>
static __global__ void __launch_bounds__(NT_BLOCK) judge_positions(verdict *out, const T *x, loss_plan o)
{
    const int64_t positions = o.n * o.p.d;
    for (int64_t i = nt_thread() / LANES; i < positions; i += nt_threads() / LANES) {
        const verdict v = judge<LANES>(o, x, position_of(o, i));
        if (threadIdx.x % LANES == 0) out[i] = v;
    }
}

/* What the loss of a sample is divided by. */
static inline __device__ double share_of(const loss_plan &o, const nt_cuda_pass *pass)
{
    const bool weighs = o.over_weights && pass->mean_weight > 0;
    return (double)o.p.d * (weighs ? pass->mean_weight : 1);
}

/* y (n, 2), a warp per sample. */
static __global__ void __launch_bounds__(NT_BLOCK)
    add_positions(float *y, const verdict *in, const nt_cuda_pass *pass, loss_plan o)
{
    for (int64_t i = nt_thread() / NT_WARP; i < o.n; i += nt_threads() / NT_WARP) {
        double loss = 0;
        int right = 0;
        for (int64_t p = nt_lane(); p < o.p.d; p += NT_WARP) {
            const verdict v = in[i * o.p.d + p];
            loss += v.loss;
            right += v.right;
        }
        loss = nt_warp_sum(loss);
        right = nt_warp_sum(right);
        if (nt_lane() != 0) continue;
        y[2 * i] = (float)(loss / share_of(o, pass));
        y[2 * i + 1] = (float)right;
    }
}

template <int LANES, typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    backward(T *dx, const T *x, const nt_cuda_pass *pass, loss_plan o)
{
    const int64_t positions = o.n * o.p.d;
    const float scale = (float)(pass->scale / share_of(o, pass));
    for (int64_t i = nt_thread() / LANES; i < positions; i += nt_threads() / LANES) {
        const position v = position_of(o, i);
        const T *own = x + v.at;
        const float top = nt_find_largest<LANES>(own, o.k, o.class_step).value;
        const float inverse = (float)(1 / nt_exp_sum<LANES>(own, o.k, o.class_step, top));
        const bool sound = v.ignored || is_sound<LANES>(o, v);
        double sum = 0;
        for (int64_t k = (int)threadIdx.x % LANES; k < o.k; k += LANES)
            sum += (double)asked(o, v, k);
        if (LANES > 1) sum = nt_warp_sum(sum);
        for (int64_t k = (int)threadIdx.x % LANES; k < o.k; k += LANES) {
            const float p = expf(nt_to_float(own[k * o.class_step]) - top) * inverse;
            const float slope = (float)sum * p - asked(o, v, k);
            nt_put(&dx[v.at + k * o.class_step], v.ignored ? 0.0f : sound ? scale * slope : NAN);
        }
    }
}

/* --- launchers --- */

static loss_plan plan_of(const nt_cuda_positions *o)
{
    loss_plan v;
    v.n = o->n;
    v.k = o->k;
    v.class_step = o->classes_last ? 1 : o->p;
    v.position_step = o->classes_last ? o->k : 1;
    v.p = nt_divide_by(o->p);
    v.label = o->label;
    v.target = o->target;
    v.weight = o->weight;
    v.ignored = o->ignored;
    v.keep = (float)(1 - o->smoothing);
    v.spread = (float)(o->smoothing / (double)o->k);
    v.over_weights = o->over_weights;
    v.data_error = o->data_error;
    v.id = o->id;
    return v;
}

extern "C" size_t nt_cuda_positions_scratch_bytes(const nt_cuda_positions *o)
{
    return (size_t)(o->n * o->p) * sizeof(verdict);
}

extern "C" int nt_cuda_positions_forward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_positions *o,
                                         float *y, const void *x, void *scratch, const nt_cuda_pass *pass)
{
    const loss_plan v = plan_of(o);
    const int64_t positions = o->n * o->p;
    verdict *verdicts = (verdict *)scratch;
    NT_WITH_TYPE(type,
                 if (v.class_step == 1) NT_LAUNCH((judge_positions<NT_WARP, T>), nt_warp_blocks(positions),
                                                  NT_BLOCK, 0, stream, verdicts, (const T *)x, v);
                 else NT_LAUNCH((judge_positions<1, T>), nt_blocks(positions), NT_BLOCK, 0, stream, verdicts,
                                (const T *)x, v));
    NT_LAUNCH(add_positions, nt_warp_blocks(o->n), NT_BLOCK, 0, stream, y, (const verdict *)verdicts, pass,
              v);
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_positions_backward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_positions *o,
                                          void *dx, const void *x, const nt_cuda_pass *pass)
{
    const loss_plan v = plan_of(o);
    const int64_t positions = o->n * o->p;
    NT_WITH_TYPE(type, if (v.class_step == 1) NT_LAUNCH((backward<NT_WARP, T>), nt_warp_blocks(positions),
                                                        NT_BLOCK, 0, stream, (T *)dx, (const T *)x, pass, v);
                 else NT_LAUNCH((backward<1, T>), nt_blocks(positions), NT_BLOCK, 0, stream, (T *)dx,
                                (const T *)x, pass, v));
    return (int)cudaGetLastError();
}
