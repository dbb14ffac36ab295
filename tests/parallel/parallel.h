/* A test that runs on several ranks at once.
 *
 * cmocka is not used here: it would leave a failing test by a jump and let all other ranks wait in a
 * collective until the time is up. A failed check says where and ends the whole job at once instead. */
#ifndef NT_TESTS_PARALLEL_H
#define NT_TESTS_PARALLEL_H

#include "dist/comm.h"

typedef struct parallel_test {
    const char *name;
    void (*run)(nt_comm *comm);
} parallel_test;

/* Creates the communicator, runs the tests in order on all ranks, says so on rank 0; what main returns. */
int parallel_main(const parallel_test *tests, int n_tests);

/* Prints and ends the job. */
_Noreturn void parallel_fail(nt_comm *comm, const char *file, int line, const char *format, ...) NT_PRINTF(4);

#define EXPECT(comm, cond, ...)                                                                              \
    do {                                                                                                     \
        if (!(cond)) parallel_fail((comm), __FILE__, __LINE__, __VA_ARGS__);                                 \
    } while (0)

/* The call must succeed. */
#define EXPECT_OK(comm, expr)                                                                                \
    do {                                                                                                     \
        nt_status expect_status_ = (expr);                                                                   \
        EXPECT((comm), expect_status_ == NT_OK, "%s: status %d: %s", #expr, (int)expect_status_,             \
               nt_error_last()->message);                                                                    \
    } while (0)

#endif
