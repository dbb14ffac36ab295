/* Ranges for Nsight Systems in the domain "nntrain": one for every step, within it one for every phase (data,
 * forward, backward, allreduce[k], update, checkpoint) and h2d around batches on their way to the device.
 * NVTX is a header; without a profiler a range costs a few nanoseconds. Phases come by the hook of
 * core/phase.h, so that nobody who starts one has to know of this file. */
#include "core/backends/cuda/runtime.h"
#include "core/phase.h"

#include <nvtx3/nvToolsExt.h>

#include <stdio.h>
#include <string.h>

/* Of the main thread, like the phases. */
static struct {
    nvtxDomainHandle_t domain;
    int64_t step;
    int reductions; /* of this step so far */
    bool in_step, in_phase;
} trace;

void nt_cuda_range_begin(const char *name)
{
    if (!trace.domain) return;
    nvtxEventAttributes_t attributes = {.version = NVTX_VERSION,
                                        .size = NVTX_EVENT_ATTRIB_STRUCT_SIZE,
                                        .messageType = NVTX_MESSAGE_TYPE_ASCII,
                                        .message.ascii = name};
    (void)nvtxDomainRangePushEx(trace.domain, &attributes);
}

void nt_cuda_range_end(void)
{
    if (trace.domain) (void)nvtxDomainRangePop(trace.domain);
}

static void end_range(bool *open)
{
    if (*open) nt_cuda_range_end();
    *open = false;
}

static void on_phase(const nt_phase *here)
{
    char name[64];
    end_range(&trace.in_phase);
    if (here->step != trace.step) {
        end_range(&trace.in_step);
        trace.step = here->step;
        trace.reductions = 0;
        snprintf(name, sizeof name, "step %lld", (long long)here->step);
        nt_cuda_range_begin(name);
        trace.in_step = true;
        return; /* its first phase comes by itself */
    }
    if (strcmp(here->name, "all-reduce") == 0)
        snprintf(name, sizeof name, "allreduce[%d]", trace.reductions++);
    else
        snprintf(name, sizeof name, "%s", here->name);
    nt_cuda_range_begin(name);
    trace.in_phase = true;
}

void nt_cuda_trace_phases(bool on)
{
    if (on && !trace.domain) {
        trace.domain = nvtxDomainCreateA("nntrain");
        trace.step = -1;
    }
    nt_phase_set_hook(on ? on_phase : NULL);
    if (on) return;
    end_range(&trace.in_phase);
    end_range(&trace.in_step);
}
