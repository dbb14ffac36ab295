/* What both formats share: files, headers, limits, channels, orientation.
 *
 * Headers are read here, byte by byte, and not by the decoders: a size must be known, and refused, before a
 * library is asked to make room for it, and EXIF is nothing that libjpeg-turbo reads. */
#include "datasets/picture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- files --- */

static nt_status read_all(int fd, const char *path, uint8_t *bytes, size_t n_bytes)
{
    for (size_t at = 0; at < n_bytes;) {
        ssize_t got = read(fd, bytes + at, n_bytes - at);
        if (got < 0 && errno == EINTR) continue;
        NT_CHECK(got >= 0, NT_ERR_NO_INPUT, "cannot read '%s': %s", path, strerror(errno));
        NT_CHECK(got > 0, NT_ERR_DATA, "'%s' became shorter while it was read", path);
        at += (size_t)got;
    }
    return NT_OK;
}

nt_status nt_picture_load(const char *path, size_t most, uint8_t **bytes, size_t *n_bytes)
{
    struct stat info;
    *bytes = NULL;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    NT_CHECK(fd >= 0, NT_ERR_NO_INPUT, "cannot open '%s': %s", path, strerror(errno));
    nt_status status = NT_OK;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        status =
            nt_error_set(NT_ERR_NO_INPUT, __FILE__, __LINE__, __func__, "'%s' is not a regular file", path);
    else if (info.st_size > NT_PICTURE_MAX_BYTES)
        status = nt_error_set(NT_ERR_DATA, __FILE__, __LINE__, __func__,
                              "'%s' has %lld bytes, a picture may have %lld", path, (long long)info.st_size,
                              (long long)NT_PICTURE_MAX_BYTES);
    if (status == NT_OK) {
        *n_bytes = (size_t)info.st_size < most ? (size_t)info.st_size : most;
        *bytes = malloc(*n_bytes + 1);
        status = *bytes ? read_all(fd, path, *bytes, *n_bytes)
                        : nt_error_set(NT_ERR_UNAVAILABLE, __FILE__, __LINE__, __func__,
                                       "out of memory for '%s'", path);
    }
    close(fd);
    if (status == NT_OK) return NT_OK;
    free(*bytes);
    *bytes = NULL;
    return nt_error_trail(status, __FILE__, __LINE__, __func__);
}

/* --- headers --- */

static uint32_t big2(const uint8_t *b)
{
    return (uint32_t)b[0] << 8 | b[1];
}

static uint32_t big4(const uint8_t *b)
{
    return big2(b) << 16 | big2(b + 2);
}

static nt_status check_size(const nt_picture_info *info, const char *path)
{
    NT_CHECK(info->height >= 1 && info->width >= 1, NT_ERR_DATA,
             "'%s' is damaged: a picture of %lldx%lld pixels", path, (long long)info->height,
             (long long)info->width);
    NT_CHECK(info->height <= NT_PICTURE_MAX_SIDE && info->width <= NT_PICTURE_MAX_SIDE &&
                 info->height * info->width <= NT_PICTURE_MAX_PIXELS,
             NT_ERR_DATA, "'%s' says that it has %lldx%lld pixels, up to %lld million are taken", path,
             (long long)info->height, (long long)info->width, (long long)(NT_PICTURE_MAX_PIXELS / 1000000));
    return NT_OK;
}

static nt_status look_png(nt_picture_info *info, const char *path, const uint8_t *b, size_t n)
{
    NT_CHECK(n >= 33 && memcmp(b + 8, "\0\0\0\15IHDR", 8) == 0, NT_ERR_DATA,
             "'%s' is damaged: a PNG file without a header", path);
    info->width = big4(b + 16);
    info->height = big4(b + 20);
    info->channels = b[25] == 0 || b[25] == 4 ? 1 : 3; /* colour type: grey, grey with alpha */
    return NT_OK;
}

/* A number of n bytes of a TIFF header, little- or big-endian. */
static uint32_t tiff(const uint8_t *b, int n, bool little)
{
    uint32_t value = 0;
    for (int i = 0; i < n; i++)
        value = value << 8 | b[little ? n - 1 - i : i];
    return value;
}

/* Tag 0x0112 of the first directory; 1 for everything that is not as it should be (EXIF 2.3, 4.6.4). */
static int orientation_of(const uint8_t *b, size_t n)
{
    if (n < 14 || memcmp(b, "Exif\0\0", 6) != 0) return 1;
    b += 6, n -= 6;
    bool little = b[0] == 'I' && b[1] == 'I';
    if (!little && !(b[0] == 'M' && b[1] == 'M')) return 1;
    size_t at = tiff(b + 4, 4, little);
    if (at > n || n - at < 2) return 1;
    uint32_t n_entries = tiff(b + at, 2, little);
    at += 2;
    for (uint32_t i = 0; i < n_entries && n - at >= 12; i++, at += 12) {
        if (tiff(b + at, 2, little) != 0x0112) continue;
        uint32_t value = tiff(b + at + 8, 2, little);
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

/* What a segment of a JPEG file (marker, n bytes at b) says; true for the frame, after which there is nothing
 * to know. */
static bool take_segment(nt_picture_info *info, int marker, const uint8_t *b, size_t n)
{
    if (marker == 0xe1 && info->orientation == 1) info->orientation = orientation_of(b, n);
    if (marker == 0xee && n >= 12 && memcmp(b, "Adobe", 5) == 0) info->adobe = true;
    bool frame = marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
    if (!frame || n < 6) return false;
    info->height = big2(b + 1);
    info->width = big2(b + 3);
    info->channels = b[5] == 1 ? 1 : 3;
    return true;
}

static nt_status look_jpeg(nt_picture_info *info, const char *path, const uint8_t *b, size_t n)
{
    size_t at = 2;
    while (at + 4 <= n && b[at] == 0xff) {
        int marker = b[at + 1];
        if (marker == 0xff) { /* fill byte */
            at++;
            continue;
        }
        if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8)) { /* without a length */
            at += 2;
            continue;
        }
        size_t length = big2(b + at + 2);
        if (marker == 0xd9 || marker == 0xda || length < 2 || length > n - at - 2) break;
        if (take_segment(info, marker, b + at + 4, length - 2)) return NT_OK;
        at += 2 + length;
    }
    NT_FAIL(NT_ERR_DATA, "'%s' is damaged: a JPEG file without a frame header", path);
}

nt_status nt_picture_look(nt_picture_info *info, const char *path, const uint8_t *bytes, size_t n_bytes)
{
    *info = (nt_picture_info){.orientation = 1};
    NT_CHECK(n_bytes > 0, NT_ERR_DATA, "'%s' is empty", path);
    if (n_bytes >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0) {
        info->kind = NT_PICTURE_PNG;
        NT_TRY(look_png(info, path, bytes, n_bytes));
    } else {
        NT_CHECK(n_bytes >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff, NT_ERR_DATA,
                 "'%s' is neither a JPEG nor a PNG file, whatever its name says", path);
        info->kind = NT_PICTURE_JPEG;
        NT_TRY(look_jpeg(info, path, bytes, n_bytes));
    }
    return check_size(info, path);
}

/* --- pixels --- */

/* Into new memory: what is `from` channels becomes `to`, 1 or 3. Weights as Pillow's convert("L"). */
static void convert_channels(uint8_t *dst, const uint8_t *src, int64_t n, int to)
{
    for (int64_t i = 0; i < n; i++)
        if (to == 1)
            dst[i] = (uint8_t)((src[3 * i] * 19595u + src[3 * i + 1] * 38470u + src[3 * i + 2] * 7471u +
                                0x8000u) >>
                               16);
        else
            dst[3 * i] = dst[3 * i + 1] = dst[3 * i + 2] = src[i];
}

/* (h, w, c) as a camera that was held so stored it, to upright: (w, h, c) from orientation 5 on. Pixel (y, x)
 * of the upright picture is that at (y or x, from either end) of the stored one. */
static void turn(uint8_t *dst, const uint8_t *src, int64_t h, int64_t w, int64_t c, int orientation)
{
    const bool swapped = orientation >= 5;
    const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
    const bool from_right = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
    const int64_t new_h = swapped ? w : h, new_w = swapped ? h : w;
    for (int64_t y = 0; y < new_h; y++)
        for (int64_t x = 0; x < new_w; x++) {
            int64_t row = swapped ? x : y, column = swapped ? y : x;
            if (swapped ? from_right : from_bottom) row = h - 1 - row;
            if (swapped ? from_bottom : from_right) column = w - 1 - column;
            memcpy(dst + (y * new_w + x) * c, src + (row * w + column) * c, (size_t)c);
        }
}

/* Replaces out->pixel by one of `channels` channels. */
static nt_status change(nt_picture *out, int channels, int orientation)
{
    const int64_t n = out->height * out->width;
    uint8_t *pixel = malloc((size_t)(n * channels));
    NT_CHECK_ALLOC(pixel, n * channels);
    if (orientation == 1) {
        convert_channels(pixel, out->pixel, n, channels);
    } else {
        turn(pixel, out->pixel, out->height, out->width, channels, orientation);
        int64_t height = out->height;
        if (orientation >= 5) out->height = out->width, out->width = height;
    }
    free(out->pixel);
    out->pixel = pixel;
    out->channels = channels;
    return NT_OK;
}

static nt_status decode(nt_picture *out, const nt_picture_info *info, const char *path, const uint8_t *bytes,
                        size_t n_bytes, int channels, bool upright)
{
    const size_t size = (size_t)(info->height * info->width * info->channels);
    out->pixel = malloc(size);
    NT_CHECK_ALLOC(out->pixel, size);
    if (info->kind == NT_PICTURE_PNG)
        NT_TRY(nt_picture_decode_png(out->pixel, info, path, bytes, n_bytes));
    else
        NT_TRY(nt_picture_decode_jpeg(out->pixel, info, path, bytes, n_bytes));
    if (channels != info->channels) NT_TRY(change(out, channels, 1));
    if (upright && info->orientation != 1) NT_TRY(change(out, channels, info->orientation));
    return NT_OK;
}

nt_status nt_picture_decode(nt_picture *out, const nt_picture_info *info, const char *path,
                            const uint8_t *bytes, size_t n_bytes, int channels, bool upright)
{
    *out = (nt_picture){.height = info->height, .width = info->width, .channels = info->channels};
    nt_status status = decode(out, info, path, bytes, n_bytes, channels, upright);
    if (status == NT_OK) return NT_OK;
    free(out->pixel);
    out->pixel = NULL;
    return nt_error_trail(status, __FILE__, __LINE__, __func__);
}
