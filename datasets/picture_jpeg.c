/* JPEG through libjpeg-turbo's TurboJPEG, whose errors are values: the one file that includes turbojpeg.h.
 *
 * Decoding stops at the first warning ("premature end", "corrupt data"): what comes after it is grey. Slow
 * and exact transforms and smooth chroma, as Pillow has them, so that pixels are the same. */
#include "datasets/picture.h"

#include <turbojpeg.h>

#include <stdlib.h>
#include <string.h>

#define FLAGS (TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS)

/* CMYK to RGB. */
static void convert_cmyk(uint8_t *rgb, const uint8_t *cmyk, int64_t n, bool inverted)
{
    for (int64_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++) {
            uint32_t ink = cmyk[4 * i + c], black = cmyk[4 * i + 3];
            uint32_t a = inverted ? ink : 255 - ink, b = inverted ? black : 255 - black;
            rgb[3 * i + c] = (uint8_t)((a * b + 127) / 255);
        }
}

static nt_status decode_cmyk(tjhandle handle, uint8_t *pixel, const nt_picture_info *info, const char *path,
                             const uint8_t *bytes, size_t n_bytes)
{
    const int64_t n = info->height * info->width;
    uint8_t *cmyk = malloc((size_t)(4 * n));
    NT_CHECK_ALLOC(cmyk, 4 * n);
    int failed =
        tjDecompress2(handle, bytes, n_bytes, cmyk, (int)info->width, 0, (int)info->height, TJPF_CMYK, FLAGS);
    if (!failed) convert_cmyk(pixel, cmyk, n, info->adobe);
    free(cmyk);
    NT_CHECK(!failed, NT_ERR_DATA, "'%s' is damaged: %s", path, tjGetErrorStr2(handle));
    return NT_OK;
}

static nt_status decode(tjhandle handle, uint8_t *pixel, const nt_picture_info *info, const char *path,
                        const uint8_t *bytes, size_t n_bytes)
{
    int width, height, sampling, colours;
    int failed = tjDecompressHeader3(handle, bytes, n_bytes, &width, &height, &sampling, &colours);
    NT_CHECK(!failed, NT_ERR_DATA, "'%s' is damaged: %s", path, tjGetErrorStr2(handle));
    NT_CHECK(width == info->width && height == info->height &&
                 (colours == TJCS_GRAY) == (info->channels == 1),
             NT_ERR_DATA, "'%s' is damaged: its headers disagree", path);
    if (colours == TJCS_CMYK || colours == TJCS_YCCK)
        return decode_cmyk(handle, pixel, info, path, bytes, n_bytes);
    int format = info->channels == 1 ? TJPF_GRAY : TJPF_RGB;
    failed = tjDecompress2(handle, bytes, n_bytes, pixel, width, 0, height, format, FLAGS);
    NT_CHECK(!failed, NT_ERR_DATA, "'%s' is damaged: %s", path, tjGetErrorStr2(handle));
    return NT_OK;
}

nt_status nt_picture_decode_jpeg(uint8_t *pixel, const nt_picture_info *info, const char *path,
                                 const uint8_t *bytes, size_t n_bytes)
{
    tjhandle handle = tjInitDecompress();
    NT_CHECK(handle, NT_ERR_UNAVAILABLE, "out of memory for '%s'", path);
    nt_status status = decode(handle, pixel, info, path, bytes, n_bytes);
    tjDestroy(handle);
    return status;
}
