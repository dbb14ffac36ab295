/* For the emulator's own tests: runs this very program again as a child, with settings of its own in the
 * environment, and says how it ended and what it said on stderr. */
#ifndef NT_EMU_TESTS_CHILD_H
#define NT_EMU_TESTS_CHILD_H

#include <cuda_runtime.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h>
}
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif
#ifndef UNDER_ASAN
#define UNDER_ASAN 0
#endif

/* In a test. */
#define OK(call)           assert_int_equal((call), cudaSuccess)
#define FAILS(error, call) assert_int_equal((call), (error))

/* In a child: ends it with BROKEN if the call fails, or the condition does not hold. */
enum { BROKEN = 4 };
#define MUST(call)                                                                                           \
    do {                                                                                                     \
        const cudaError_t error_ = (call);                                                                   \
        if (error_ != cudaSuccess) {                                                                         \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorName(error_));         \
            exit(BROKEN);                                                                                    \
        }                                                                                                    \
    } while (0)
#define HOLDS(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                          \
            exit(BROKEN);                                                                                    \
        }                                                                                                    \
    } while (0)

struct Outcome {
    int status; /* of wait() */
    std::string words;
    int code() const
    {
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    bool says(const char *text) const
    {
        return words.find(text) != std::string::npos;
    }
};

struct Setting {
    const char *name, *value;
};

/* Runs `program NAME ARG` with the settings. */
static inline Outcome run_child(const char *name, const char *arg, std::initializer_list<Setting> settings)
{
    int ends[2];
    char path[4096] = "";
    assert_true(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        for (const Setting &s : settings)
            setenv(s.name, s.value, 1);
        execl(path, path, name, arg, (char *)nullptr);
        _exit(127);
    }
    close(ends[1]);
    Outcome outcome;
    char piece[4096];
    for (ssize_t n; (n = read(ends[0], piece, sizeof piece)) > 0;)
        outcome.words.append(piece, (size_t)n);
    close(ends[0]);
    assert_int_equal(waitpid(child, &outcome.status, 0), child);
    return outcome;
}

#endif
