/* Errors as values, with a trail.
 *
 * A library function that can fail returns an nt_status: NT_OK, or the exit code that the process should end
 * with if nobody can help (DESIGN.md section 5). The words belong to the thread: NT_CHECK and NT_BUG start a
 * message, NT_TRY adds one line of trail per level on the way up, and only launcher/main.c prints it and ends
 * the process. A thread hands its error to another by nt_error_take and nt_error_raise. errno-style globals
 * without words were the alternative: they cannot say which file, which line, which tensor. */
#ifndef NT_CORE_STATUS_H
#define NT_CORE_STATUS_H

#include <stdbool.h>
#include <stddef.h>

#define NT_MUST      __attribute__((warn_unused_result))
#define NT_PRINTF(f) __attribute__((format(printf, f, (f) + 1)))

/* The values are the exit codes of the program; they order severity for the agreement over ranks. */
typedef enum nt_status {
    NT_OK = 0,
    NT_ERR_USAGE = 2,        /* wrong command line */
    NT_ERR_DATA = 65,        /* input data are bad */
    NT_ERR_NO_INPUT = 66,    /* input does not exist or cannot be read */
    NT_ERR_UNAVAILABLE = 69, /* device, MPI or memory unavailable */
    NT_ERR_BUG = 70,         /* our own fault */
    NT_ERR_CREATE = 73,      /* output cannot be created */
    NT_ERR_IO = 74,          /* read or write failed */
    NT_STOPPED = 75,         /* stopped by a signal after a good checkpoint */
    NT_ERR_CONFIG = 78,      /* config is wrong */
    NT_ERR_NAN = 80,         /* NaN policy says stop */
    NT_ERR_DIVERGED = 81,    /* replicas differ */
    NT_ERR_WATCHDOG = 82,    /* no progress */
    NT_ERR_CHECKPOINT = 83,  /* checkpoint corrupt and none usable */
} nt_status;

#define NT_ERROR_MESSAGE_BYTES 2048
#define NT_ERROR_TRAIL_BYTES   2048

/* An error at rest: what one thread or one rank has to say. Plain bytes, may be sent over MPI. */
typedef struct nt_error {
    nt_status status;
    char message[NT_ERROR_MESSAGE_BYTES]; /* one sentence for the user, control characters escaped */
    char trail[NT_ERROR_TRAIL_BYTES];     /* "file:line function" per level, innermost first */
} nt_error;

/* Starts an error of this thread and returns `status`. Use the macros below. */
nt_status nt_error_set(nt_status status, const char *file, int line, const char *func, const char *format,
                       ...) NT_PRINTF(5);

/* Adds one level to the trail of this thread's error; returns `status`. */
nt_status nt_error_trail(nt_status status, const char *file, int line, const char *func);

/* Puts words in front of this thread's message ("layer conv1: ..."); returns `status`. */
nt_status nt_error_prefix(nt_status status, const char *format, ...) NT_PRINTF(2);

/* This thread's error (status NT_OK if there is none). Valid until the next error of this thread. */
const nt_error *nt_error_last(void);

/* Moves this thread's error to *out and clears it. */
void nt_error_take(nt_error *out);

/* Makes *error this thread's error; returns its status. */
nt_status nt_error_raise(const nt_error *error);

/* Forgets this thread's error (after it was dealt with). */
void nt_error_clear(void);

/* Calls `expr`, an nt_status of ours; on failure adds to the trail and returns it. */
#define NT_TRY(expr)                                                                                         \
    do {                                                                                                     \
        nt_status nt_s_ = (expr);                                                                            \
        if (__builtin_expect(nt_s_ != NT_OK, 0)) return nt_error_trail(nt_s_, __FILE__, __LINE__, __func__); \
    } while (0)

/* As NT_TRY, but goes to a clean-up label with the status in `var`. */
#define NT_TRY_GOTO(var, label, expr)                                                                        \
    do {                                                                                                     \
        if (((var) = (expr)) != NT_OK) {                                                                     \
            (void)nt_error_trail((var), __FILE__, __LINE__, __func__);                                       \
            goto label;                                                                                      \
        }                                                                                                    \
    } while (0)

/* Fails with `status` and a message (printf style): the fault is the user's or the environment's. */
#define NT_FAIL(status, ...) return nt_error_set((status), __FILE__, __LINE__, __func__, __VA_ARGS__)

/* Unless `cond`, fails with `status` and a message: the user's or the environment's fault. */
#define NT_CHECK(cond, status, ...)                                                                          \
    do {                                                                                                     \
        if (__builtin_expect(!(cond), 0)) NT_FAIL((status), __VA_ARGS__);                                    \
    } while (0)

/* Unless `cond`, our own bug (NT_ERR_BUG). Always compiled in. Say both values in the message. */
#define NT_BUG_UNLESS(cond, ...) NT_CHECK((cond), NT_ERR_BUG, __VA_ARGS__)

/* Fails with NT_ERR_UNAVAILABLE if an allocation gave NULL. */
#define NT_CHECK_ALLOC(ptr, n_bytes)                                                                         \
    NT_CHECK((ptr), NT_ERR_UNAVAILABLE, "out of memory: could not get %zu bytes", (size_t)(n_bytes))

#endif
