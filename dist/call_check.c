/* A rank that makes one collective call less than the others leaves everybody waiting, or, worse, has its
 * next call answered by their last one, and the numbers are wrong. In debug mode every call is therefore
 * preceded by one of always the same form, a reduction of two numbers on the control plane: those meet
 * whatever comes after them, and carry a hash of it. */
#include "dist/call_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

typedef struct call {
    int64_t number;
    char text[96];
} call;

/* The words of the lowest rank whose call is not rank 0's; the same on all ranks. */
static nt_status blame(nt_comm *comm, const call *mine)
{
    call first = *mine, other = *mine;
    char host[sizeof comm->host];
    NT_TRY(comm->ops->host_broadcast(comm, &first, sizeof first, 0));
    double differs = memcmp(mine, &first, sizeof first) ? comm->rank : comm->size;
    NT_TRY(comm->ops->host_reduce(comm, &differs, 1, NT_REDUCE_MIN));
    int rank = (int)differs;
    memcpy(host, comm->host, sizeof host);
    NT_TRY(comm->ops->host_broadcast(comm, &other, sizeof other, rank));
    NT_TRY(comm->ops->host_broadcast(comm, host, sizeof host, rank));
    nt_comm_let_speak(comm, comm->rank > 0);
    NT_FAIL(NT_ERR_BUG,
            "the ranks' collective calls differ: rank 0 makes %s, its call number %lld, and rank %d on "
            "%s makes %s, its call number %lld",
            first.text, (long long)first.number, rank, host, other.text, (long long)other.number);
}

nt_status nt_call_check(nt_comm *comm, const char *format, ...)
{
    if (!comm->checks) return NT_OK;
    call mine;
    va_list args;
    memset(&mine, 0, sizeof mine); /* all of it is hashed and compared */
    mine.number = ++comm->n_calls;
    va_start(args, format);
    vsnprintf(mine.text, sizeof mine.text, format, args);
    va_end(args);
    double hash = (double)(XXH3_64bits(&mine, sizeof mine) >> 12), both[2] = {hash, -hash};
    NT_TRY(comm->ops->host_reduce(comm, both, 2, NT_REDUCE_MIN));
    if (both[0] != -both[1]) NT_TRY(blame(comm, &mine));
    return NT_OK;
}
