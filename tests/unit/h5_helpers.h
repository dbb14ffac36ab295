/* What tests that write files share: a folder of their own, files as bytes, and what an error has to look
 * like. */
#ifndef NT_TESTS_H5_HELPERS_H
#define NT_TESTS_H5_HELPERS_H

/* cmocka wants these four first */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char test_dir[64];

static inline int make_test_dir(void **state)
{
    (void)state;
    snprintf(test_dir, sizeof test_dir, "/tmp/nt_test_XXXXXX");
    return mkdtemp(test_dir) ? 0 : -1;
}

static inline int remove_test_dir(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf -- '%s'", test_dir);
    return system(command);
}

/* Path of `name` in the test folder; sixteen may be in use at once. */
static inline const char *in_dir(const char *name)
{
    static char paths[16][4200];
    static int next;
    char *path = paths[next++ % 16];
    snprintf(path, sizeof paths[0], "%s/%s", test_dir, name);
    return path;
}

static inline unsigned char *read_whole(const char *path, size_t *n_bytes)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *n_bytes = (size_t)ftell(f);
    rewind(f);
    unsigned char *bytes = malloc(*n_bytes + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *n_bytes, f), *n_bytes);
    fclose(f);
    return bytes;
}

static inline void write_whole(const char *path, const void *bytes, size_t n_bytes)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n_bytes, f), n_bytes);
    assert_int_equal(fclose(f), 0);
}

#define assert_ok(expr)                                                                                      \
    do {                                                                                                     \
        if ((expr) != NT_OK) fail_msg("%s\n%s", nt_error_last()->message, nt_error_last()->trail);           \
    } while (0)

/* `expr` fails with `status` and its message contains every one of the words (NULL-terminated). */
static inline void check_fails(nt_status got, nt_status status, const char *const *words)
{
    const char *message = nt_error_last()->message;
    if (got != status) fail_msg("status %d instead of %d: %s", got, status, got ? message : "no error");
    for (; *words; words++)
        if (!strstr(message, *words)) fail_msg("no '%s' in: %s", *words, message);
    nt_error_clear();
}
#define assert_fails(expr, status, ...)                                                                      \
    check_fails((expr), (status), (const char *const[]){__VA_ARGS__, NULL})

#endif
