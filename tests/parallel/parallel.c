/* See parallel.h. */
#include "parallel.h"

#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void parallel_fail(nt_comm *comm, const char *file, int line, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "rank %d of %d: %s:%d: %s\n", comm->rank, comm->size, file, line, text);
    fflush(stderr);
    nt_comm_abort(comm, EXIT_FAILURE);
    exit(EXIT_FAILURE);
}

int parallel_main(const parallel_test *tests, int n_tests)
{
    nt_comm *comm;
    nt_status status = nt_comm_create(&comm);
    if (status != NT_OK) {
        fprintf(stderr, "%s\n%s", nt_error_last()->message, nt_error_last()->trail);
        return status;
    }
    nt_log_set_rank(comm->rank, comm->size);
    for (int i = 0; i < n_tests; i++) {
        tests[i].run(comm);
        EXPECT_OK(comm, nt_comm_barrier(comm));
        if (comm->rank == 0) printf("ok %s (%d ranks)\n", tests[i].name, comm->size);
        fflush(stdout);
    }
    nt_comm_destroy(comm);
    return 0;
}
