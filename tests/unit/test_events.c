/* Event files, read back byte by byte by a reader of its own: framing, checksums, fields.
 * tests/e2e/weights.sh style oracles (TensorBoard itself) are in tests/e2e/tensorboard.sh. */
#include "launcher/events.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], file_path[512];

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/nt_events_XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return unlink(file_path) == 0 && rmdir(dir) == 0 ? 0 : -1;
}

/* The one file in dir. */
static size_t slurp(unsigned char *bytes, size_t cap)
{
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.') snprintf(file_path, sizeof file_path, "%s/%s", dir, e->d_name);
    closedir(d);
    assert_non_null(strstr(file_path, "events.out.tfevents."));
    FILE *file = fopen(file_path, "rb");
    size_t n = fread(bytes, 1, cap, file);
    fclose(file);
    return n;
}

static uint64_t number(const unsigned char *at, int n)
{
    uint64_t value = 0;
    for (int i = n - 1; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

static uint32_t unmasked(uint32_t masked)
{
    uint32_t rotated = masked - 0xa282ead8u;
    return rotated >> 17 | rotated << 15;
}

/* Checks the record at *at and moves behind it; returns the event and its length. */
static const unsigned char *next_record(const unsigned char **at, uint64_t *n)
{
    const unsigned char *r = *at;
    *n = number(r, 8);
    assert_int_equal(unmasked((uint32_t)number(r + 8, 4)), nt_crc32c(r, 8));
    assert_int_equal(unmasked((uint32_t)number(r + 12 + *n, 4)), nt_crc32c(r + 12, *n));
    *at = r + 16 + *n;
    return r + 12;
}

static void known_checksums(void **state)
{
    (void)state;
    unsigned char zeros[32] = {0}, ones[32];
    memset(ones, 0xff, sizeof ones);
    assert_int_equal(nt_crc32c("123456789", 9), 0xe3069283u); /* the catalogue's check value */
    assert_int_equal(nt_crc32c(zeros, 32), 0x8a9136aau);      /* RFC 3720, B.4 */
    assert_int_equal(nt_crc32c(ones, 32), 0x62a8ab43u);
}

static void records(void **state)
{
    (void)state;
    nt_events *events;
    assert_int_equal(nt_events_open(&events, dir, 7), NT_OK);
    const nt_event_value values[] = {{"train/loss", 0.5}, {"train/accuracy", (double)NAN}};
    assert_int_equal(nt_events_scalars(events, 8, values, 2), NT_OK);
    assert_int_equal(nt_events_scalars(events, 8, values + 1, 1), NT_OK); /* nothing to say: no record */
    const float weights[] = {-1, 0, 0.5f, 1};
    assert_int_equal(nt_events_histogram(events, 9, "fc.weight", weights, 4), NT_OK);
    assert_int_equal(nt_events_histogram(events, 9, "constant", (float[]){2, 2}, 2), NT_OK);
    const float broken[] = {1, NAN, INFINITY, -INFINITY, 3};
    assert_int_equal(nt_events_histogram(events, 9, "broken", broken, 5), NT_OK);
    assert_int_equal(nt_events_histogram(events, 9, "nothing", broken + 1, 3), NT_OK);
    nt_events_close(events);

    unsigned char bytes[8192];
    size_t size = slurp(bytes, sizeof bytes);
    const unsigned char *at = bytes, *event;
    uint64_t n;
    event = next_record(&at, &n); /* time (9 bytes), step 0 (2 bytes), version */
    assert_memory_equal(event + 9,
                        "\x10\x00\x1a\x0d"
                        "brain.Event:2",
                        17);
    event = next_record(&at, &n);
    assert_memory_equal(event + 9, "\x10\x08\x3a\x02\x08\x01", 6); /* step 8, session_log { status: START } */
    event = next_record(&at, &n);
    assert_memory_equal(event + 9,
                        "\x10\x08\x2a\x13\x0a\x11\x0a\x0a"
                        "train/loss"
                        "\x15\x00\x00\x00\x3f",
                        23);
    assert_int_equal(n, 9 + 23);
    event = next_record(&at, &n);
    assert_non_null(memmem(event, n, "fc.weight", 9));
    event = next_record(&at, &n);
    assert_non_null(memmem(event, n, "constant", 8));
    event = next_record(&at, &n); /* min 1, max 3, num 2 */
    assert_non_null(memmem(event, n,
                           "\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x11\x00\x00\x00\x00\x00\x00\x08\x40"
                           "\x19\x00\x00\x00\x00\x00\x00\x00\x40",
                           27));
    event = next_record(&at, &n);
    assert_non_null(memmem(event, n, "nothing", 7));
    assert_ptr_equal(at, bytes + size);
}

static void bad_folder(void **state)
{
    (void)state;
    nt_events *events;
    assert_int_equal(nt_events_open(&events, "/nonexistent/folder", 0), NT_ERR_CREATE);
    assert_null(events);
    nt_error_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_checksums),
        cmocka_unit_test(records),
        cmocka_unit_test(bad_folder),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
