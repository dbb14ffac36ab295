/* The cuda backend of a build without CUDA: its name is known, and asking for it says in one line why it
 * cannot be had. The alternative, leaving it out of the list by an #ifdef, would make `device = cuda` look
 * like a misspelt name. */
#include "core/backend.h"
#include "core/version.h"

static nt_status none_create(nt_backend *backend, const nt_backend_options *options)
{
    (void)backend, (void)options;
    NT_FAIL(
        NT_ERR_UNAVAILABLE,
        "this nntrain was built without CUDA; use device = cpu, or auto (or build with -DNNTRAIN_CUDA=ON)");
}

const nt_backend_ops nt_backend_cuda = {
    .name = "cuda",
    .real = NT_F32,
    .host_memory = false,
    .create = none_create,
};

const char *nt_cuda_version(void)
{
    return "not built in";
}
