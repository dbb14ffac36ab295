/* Which device is this rank's, and what to say where there is none.
 *
 * A rank takes the device with its number among the ranks of its host, modulo the devices that it sees: under
 * mpirun all ranks see all devices, under srun --gpus-per-task=1 each sees its own as number 0. Whether two
 * ranks then share one is found by comparing UUIDs across ranks (dist), because a rank alone cannot know.
 *
 * No driver and no device are one thing (`device = auto` takes the CPU), everything else is another: a driver
 * that is too old, or a device that does not answer, is a mistake that somebody wants to know of. */
#include "core/backends/cuda/runtime.h"
#include "core/version.h"

#include <stdio.h>
#include <stdlib.h>

/* "12.4" of 12040. */
static void version_text(char text[16], int version)
{
    snprintf(text, 16, "%d.%d", version / 1000, version % 1000 / 10);
}

const char *nt_cuda_version(void)
{
    static char text[64];
    char built[16], runs[16];
    int driver = 0;
    version_text(built, CUDART_VERSION);
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
        snprintf(text, sizeof text, "%s, no driver", built);
    else {
        version_text(runs, driver);
        snprintf(text, sizeof text, "%s, driver %s", built, runs);
    }
    return text;
}

/* The number of devices, or why there is none at all (*why; NT_OK then, too). */
static nt_status count_devices(int *count, const char **why)
{
    static char text[256];
    int driver = 0;
    *count = 0;
    *why = NULL;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
        *why = "there is no NVIDIA driver on this machine";
        return NT_OK;
    }
    cudaError_t code = cudaGetDeviceCount(count);
    if (code == cudaSuccess && *count > 0) return NT_OK;
    (void)cudaGetLastError();
    if (code == cudaErrorInsufficientDriver) {
        char has[16], needs[16];
        version_text(has, driver);
        version_text(needs, CUDART_VERSION);
        NT_FAIL(NT_ERR_UNAVAILABLE,
                "the NVIDIA driver is too old: it runs CUDA %s, and this nntrain was built with CUDA %s; "
                "update the driver, or set device = cpu",
                has, needs);
    }
    NT_CHECK(code == cudaErrorNoDevice || code == cudaSuccess, NT_ERR_UNAVAILABLE,
             "the CUDA devices cannot be counted: %s (%s)", cudaGetErrorString(code), cudaGetErrorName(code));
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    snprintf(text, sizeof text, "the NVIDIA driver shows no device%s%.128s%s",
             visible ? ": CUDA_VISIBLE_DEVICES is '" : "", visible ? visible : "", visible ? "'" : "");
    *why = text;
    return NT_OK;
}

bool nt_cuda_present(const char **why)
{
    int count;
    if (count_devices(&count, why) == NT_OK) return count > 0;
    nt_error_clear(); /* create() finds it again and says it */
    return true;
}

static void describe(nt_backend *backend, const struct cudaDeviceProp *prop)
{
    const unsigned char *id = (const unsigned char *)prop->uuid.bytes;
    snprintf(backend->device_name, sizeof backend->device_name, "%.90s", prop->name);
    int used = snprintf(backend->device_id, sizeof backend->device_id, "GPU");
    for (int i = 0; i < 16; i++) {
        bool dash = i == 0 || i == 4 || i == 6 || i == 8 || i == 10;
        used += snprintf(backend->device_id + used, sizeof backend->device_id - (size_t)used, "%s%02x",
                         dash ? "-" : "", id[i]);
    }
}

nt_status nt_cuda_choose_device(nt_backend *backend)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    struct cudaDeviceProp prop;
    const char *why;
    int count;
    NT_TRY(count_devices(&count, &why));
    NT_CHECK(!why, NT_ERR_UNAVAILABLE, "%s; use device = cpu, or auto", why);
    cuda->device = backend->options.device % count;
    NT_CUDA_TRY(backend, "cudaGetDeviceProperties", cudaGetDeviceProperties(&prop, cuda->device));
    describe(backend, &prop);
    cuda->sm_count = prop.multiProcessorCount;
    NT_CHECK(cuda->precision != NT_PRECISION_BF16 || prop.major >= 8, NT_ERR_UNAVAILABLE,
             "%s has no bfloat16 (compute capability %d.%d; 8.0 is needed): set run.precision = fp32",
             backend->device_name, prop.major, prop.minor);
    NT_CUDA_TRY(backend, "cudaSetDevice", cudaSetDevice(cuda->device));
    return NT_OK;
}
