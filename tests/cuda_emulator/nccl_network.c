/* The emulated NCCL's only word about networks: the interface that NCCL_SOCKET_IFNAME names must exist, in
 * the documented syntax: names begin with one of a list; "^list": with none of it; "=list": exactly one of
 * it. */
#include "tests/cuda_emulator/nccl_parts.h"

#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#define VERSION_OF_USAGE 21900 /* the error's kind has changed with time */

static bool listed(const char *name, const char *list, bool exactly)
{
    while (*list) {
        size_t n = strcspn(list, ",");
        if (n > 0 && strncmp(name, list, n) == 0 && (!exactly || name[n] == 0)) return true;
        list += n;
        if (*list) list++;
    }
    return false;
}

static bool any_interface(const char *wanted)
{
    bool without = wanted[0] == '^', found = false;
    bool exactly = wanted[without] == '=';
    struct if_nameindex *all = if_nameindex();
    for (const struct if_nameindex *i = all; i && i->if_name; i++)
        found = found || listed(i->if_name, wanted + without + exactly, exactly) != without;
    if (all) if_freenameindex(all);
    return found;
}

ncclResult_t nccl_check_network(void)
{
    const char *wanted = getenv("NCCL_SOCKET_IFNAME");
    int version = 0;
    if (!wanted || !wanted[0] || any_interface(wanted)) return ncclSuccess;
    (void)ncclGetVersion(&version);
    return nccl_fail(version >= VERSION_OF_USAGE ? ncclInvalidUsage : ncclInternalError,
                     "Bootstrap: no socket interface found (NCCL_SOCKET_IFNAME=%s)", wanted);
}
