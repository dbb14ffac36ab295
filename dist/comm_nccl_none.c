/* nccl in a build without it: a table that says so. nt_comm_attach then takes `staged`. */
#include "dist/comm.h"

static const char *none_missing(void)
{
    return "this nntrain was built without NCCL";
}

const nt_gradient_ops nt_comm_nccl = {.name = "nccl", .missing = none_missing};
