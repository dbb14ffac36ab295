/* See isa.h. */
#include "core/backends/cpu/isa.h"

#if defined(__x86_64__)
#include <oneapi/dnnl/dnnl.h>
#include <stdbool.h>

static bool onednn_may_use(dnnl_cpu_isa_t isa)
{
    const unsigned most = (unsigned)dnnl_get_effective_cpu_isa(); /* one bit for each step up */
    return (most & (unsigned)isa) == (unsigned)isa;
}

nt_isa nt_isa_best(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        onednn_may_use(dnnl_cpu_isa_avx512_core))
        return NT_ISA_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && onednn_may_use(dnnl_cpu_isa_avx2))
        return NT_ISA_AVX2;
    return NT_ISA_BASE;
}

#else

nt_isa nt_isa_best(void)
{
    return NT_ISA_BASE;
}

#endif
