/* The first of the largest of some values, as ref finds it: a NaN in front stays, others never win. */
#ifndef NT_CORE_BACKENDS_CUDA_LARGEST_CUH
#define NT_CORE_BACKENDS_CUDA_LARGEST_CUH

#include "core/backends/cuda/device.cuh"

struct nt_largest {
    float value;
    int64_t index;
};

/* Of k values `step` apart, by LANES threads of a warp (32 or 1), which all call it and all get it. What lane
 * 0 has counts, because a NaN compares differently from either side. */
template <int LANES, typename T>
static inline __device__ nt_largest nt_find_largest(const T *x, int64_t k, int64_t step)
{
    const int lane = (int)threadIdx.x % LANES;
    nt_largest best = {lane < k ? nt_to_float(x[lane * step]) : -INFINITY, lane};
    if (lane > 0 && best.value != best.value) best.value = -INFINITY;
    for (int64_t j = lane + LANES; j < k; j += LANES)
        if (nt_to_float(x[j * step]) > best.value) best = {nt_to_float(x[j * step]), j};
    for (int distance = LANES / 2; distance > 0; distance /= 2) {
        const float value = __shfl_down_sync(NT_ALL_LANES, best.value, distance);
        const int64_t index = __shfl_down_sync(NT_ALL_LANES, (long long)best.index, distance);
        if (value > best.value || (value == best.value && index < best.index)) best = {value, index};
    }
    if (LANES > 1) {
        best.value = __shfl_sync(NT_ALL_LANES, best.value, 0);
        best.index = __shfl_sync(NT_ALL_LANES, (long long)best.index, 0);
    }
    return best;
}

/* Sum of exp(x - top) over the same values. */
template <int LANES, typename T>
static inline __device__ double nt_exp_sum(const T *x, int64_t k, int64_t step, float top)
{
    double sum = 0;
    for (int64_t j = (int)threadIdx.x % LANES; j < k; j += LANES)
        sum += (double)expf(nt_to_float(x[j * step]) - top);
    return LANES > 1 ? nt_warp_sum(sum) : sum;
}

/* Whoever finds the first bad number of a pass in the data writes it down: see nt_cuda.data_error. */
static inline __device__ void nt_report_bad(int *data_error, uint32_t id, nt_cuda_bad kind, int value)
{
    if (atomicCAS(&data_error[0], 0, (int)(1 + id + ((uint32_t)kind << 24))) == 0) data_error[1] = value;
}

#endif
