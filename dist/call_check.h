/* Do all ranks make the same collective calls? */
#ifndef NT_DIST_CALL_CHECK_H
#define NT_DIST_CALL_CHECK_H

#include "dist/comm.h"

/* With comm->checks, compares over all ranks what each is about to call, in words ("an all-reduce of 5
 * float32"), and how many calls it has made before: NT_ERR_BUG that names the first rank that differs and
 * both calls. Else nothing. */
NT_MUST nt_status nt_call_check(nt_comm *comm, const char *format, ...) NT_PRINTF(2);

#endif
