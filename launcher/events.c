/* A record: length (8 bytes, little endian), its masked CRC-32C, the message, its masked CRC-32C. */
#include "launcher/events.h"

#include "core/proto.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EVENT_TIME = 1, EVENT_STEP = 2, EVENT_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION = 7 };
enum { SESSION_STATUS = 1, SESSION_START = 1 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2, VALUE_HISTOGRAM = 5 };
enum { HISTO_MIN = 1, HISTO_MAX, HISTO_NUM, HISTO_SUM, HISTO_SQUARES, HISTO_LIMITS, HISTO_COUNTS };

struct nt_events {
    int fd;
    char path[PATH_MAX];
    nt_proto event, summary, value, part, record;
};

/* --- records --- */

/* Bit by bit: a record has a hundred bytes and there are a few a second. */
uint32_t nt_crc32c(const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0); /* the polynomial 0x1edc6f41, reflected */
    }
    return ~crc;
}

/* A CRC over bytes that contain CRCs is a poor check: the format rotates and shifts it. */
static void put_checksum(nt_proto *record, const void *bytes, size_t n)
{
    uint32_t crc = nt_crc32c(bytes, n), masked = (crc >> 15 | crc << 17) + 0xa282ead8u;
    unsigned char little[4] = {(unsigned char)masked, (unsigned char)(masked >> 8),
                               (unsigned char)(masked >> 16), (unsigned char)(masked >> 24)};
    nt_proto_raw(record, little, sizeof little);
}

static void frame(nt_proto *record, const nt_proto *event)
{
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)event->n >> 8 * i);
    nt_proto_clear(record);
    nt_proto_raw(record, length, sizeof length);
    put_checksum(record, length, sizeof length);
    nt_proto_raw(record, event->bytes, event->n);
    put_checksum(record, event->bytes, event->n);
    record->failed |= event->failed;
}

/* Writes events->event as one record, whole or not at all. */
static nt_status put_event(nt_events *e)
{
    frame(&e->record, &e->event);
    NT_TRY(nt_proto_check(&e->record));
    off_t before = lseek(e->fd, 0, SEEK_END);
    ssize_t n;
    do
        n = write(e->fd, e->record.bytes, e->record.n);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)e->record.n) return NT_OK;
    int error = n < 0 ? errno : ENOSPC;
    if (n > 0 && before >= 0 && ftruncate(e->fd, before) != 0) error = errno;
    NT_FAIL(NT_ERR_IO, "cannot write '%s': %s", e->path, strerror(error));
}

static void begin_event(nt_events *e, int64_t step)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    nt_proto_clear(&e->event);
    nt_proto_double(&e->event, EVENT_TIME, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
    nt_proto_int(&e->event, EVENT_STEP, step);
}

/* --- the file --- */

static nt_status write_beginning(nt_events *e, int64_t step)
{
    begin_event(e, 0);
    nt_proto_string(&e->event, EVENT_VERSION, "brain.Event:2");
    NT_TRY(put_event(e));
    nt_proto_clear(&e->part);
    nt_proto_int(&e->part, SESSION_STATUS, SESSION_START);
    begin_event(e, step + 1); /* from here on, what is there already does not count */
    nt_proto_message(&e->event, EVENT_SESSION, &e->part);
    NT_TRY(put_event(e));
    return NT_OK;
}

static nt_status create_file(nt_events *e, const char *dir)
{
    char host[65] = "host";
    (void)gethostname(host, sizeof host - 1);
    if (!host[0] || strchr(host, '/')) strcpy(host, "host");
    NT_CHECK(snprintf(e->path, sizeof e->path, "%s/events.out.tfevents.%010lld.%s.%ld", dir,
                      (long long)time(NULL), host, (long)getpid()) < PATH_MAX,
             NT_ERR_CREATE, "the path of the run folder is too long: '%s'", dir);
    e->fd = open(e->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0666);
    NT_CHECK(e->fd >= 0, NT_ERR_CREATE, "cannot create '%s': %s", e->path, strerror(errno));
    return NT_OK;
}

nt_status nt_events_open(nt_events **out, const char *dir, int64_t step)
{
    *out = NULL;
    nt_events *e = calloc(1, sizeof *e);
    NT_CHECK_ALLOC(e, sizeof *e);
    e->fd = -1;
    nt_status status = create_file(e, dir);
    if (status == NT_OK) status = write_beginning(e, step);
    if (status != NT_OK) {
        nt_events_close(e);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    *out = e;
    return NT_OK;
}

void nt_events_close(nt_events *e)
{
    if (!e) return;
    if (e->fd >= 0) close(e->fd);
    nt_proto *all[] = {&e->event, &e->summary, &e->value, &e->part, &e->record};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        nt_proto_free(all[i]);
    free(e);
}

/* --- values --- */

static nt_status put_summary(nt_events *e, int64_t step)
{
    begin_event(e, step);
    nt_proto_message(&e->event, EVENT_SUMMARY, &e->summary);
    NT_TRY(put_event(e));
    return NT_OK;
}

nt_status nt_events_scalars(nt_events *e, int64_t step, const nt_event_value *values, int n)
{
    nt_proto_clear(&e->summary);
    for (int i = 0; i < n; i++) {
        if (isnan(values[i].value)) continue;
        nt_proto_clear(&e->value);
        nt_proto_string(&e->value, VALUE_TAG, values[i].tag);
        nt_proto_float(&e->value, VALUE_SIMPLE, (float)values[i].value);
        nt_proto_message(&e->summary, SUMMARY_VALUE, &e->value);
    }
    if (e->summary.n == 0) return NT_OK;
    NT_TRY(put_summary(e, step));
    return NT_OK;
}

/* Buckets of equal width between the smallest and the largest value. */
static void fill_histogram(nt_proto *out, const float *values, int64_t n)
{
    enum { BUCKETS = 30 };
    double least = INFINITY, most = -INFINITY, sum = 0, squares = 0;
    int64_t finite = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = values[i];
        if (!isfinite(v)) continue;
        finite++;
        least = v < least ? v : least;
        most = v > most ? v : most;
        sum += v;
        squares += v * v;
    }
    if (finite == 0) least = most = 0;
    double limit[BUCKETS], count[BUCKETS] = {0}, width = (most - least) / BUCKETS;
    for (int i = 0; i < BUCKETS; i++)
        limit[i] = i == BUCKETS - 1 || width == 0 ? most : least + width * (i + 1);
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(values[i])) continue;
        int b = width > 0 ? (int)((values[i] - least) / width) : 0;
        count[b < BUCKETS ? b : BUCKETS - 1]++;
    }
    int used = width > 0 ? BUCKETS : 1;
    nt_proto_clear(out);
    nt_proto_double(out, HISTO_MIN, least);
    nt_proto_double(out, HISTO_MAX, most);
    nt_proto_double(out, HISTO_NUM, (double)finite);
    nt_proto_double(out, HISTO_SUM, sum);
    nt_proto_double(out, HISTO_SQUARES, squares);
    nt_proto_doubles(out, HISTO_LIMITS, limit, (size_t)used);
    nt_proto_doubles(out, HISTO_COUNTS, count, (size_t)used);
}

nt_status nt_events_histogram(nt_events *e, int64_t step, const char *tag, const float *values, int64_t n)
{
    NT_BUG_UNLESS(n >= 1, "a histogram of %lld values", (long long)n);
    fill_histogram(&e->part, values, n);
    nt_proto_clear(&e->value);
    nt_proto_string(&e->value, VALUE_TAG, tag);
    nt_proto_message(&e->value, VALUE_HISTOGRAM, &e->part);
    nt_proto_clear(&e->summary);
    nt_proto_message(&e->summary, SUMMARY_VALUE, &e->value);
    NT_TRY(put_summary(e, step));
    return NT_OK;
}
