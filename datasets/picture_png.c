/* PNG through libpng: the one file that includes png.h in this room.
 *
 * libpng leaves by longjmp when something is wrong; everything it has is in a struct that the frame above
 * owns, so that nothing is lost on the way out. What it only warns of (a damaged chunk that holds no pixels)
 * is no error. Its own limits are set, too: text chunks of gigabytes are cut off. */
#include "datasets/picture.h"

#include <png.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CHUNK_BYTES ((png_alloc_size_t)64 << 20) /* compressed text, profiles */

typedef struct reader {
    const uint8_t *bytes;
    size_t left;
    png_structp png;
    png_infop info;
    uint8_t **row; /* (height), into the picture */
    char words[200];
} reader;

static void on_error(png_structp png, png_const_charp words)
{
    reader *r = png_get_error_ptr(png);
    snprintf(r->words, sizeof r->words, "%s", words);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp words)
{
    (void)png;
    (void)words;
}

static void on_read(png_structp png, png_bytep dst, size_t n)
{
    reader *r = png_get_io_ptr(png);
    if (n > r->left) png_error(png, "the file ends too soon");
    memcpy(dst, r->bytes, n);
    r->bytes += n;
    r->left -= n;
}

/* 8 bits of grey or RGB, whatever the file holds. */
static void ask_for_bytes(reader *r)
{
    png_set_expand(r->png);
    png_set_scale_16(r->png);
    png_set_strip_alpha(r->png);
    png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
}

/* False with words after a longjmp. */
static bool read_png(reader *r, uint8_t *pixel, const nt_picture_info *info)
{
    if (setjmp(png_jmpbuf(r->png))) return false;
    png_set_read_fn(r->png, r, on_read);
    png_set_user_limits(r->png, NT_PICTURE_MAX_SIDE, NT_PICTURE_MAX_SIDE);
    png_set_chunk_malloc_max(r->png, MAX_CHUNK_BYTES);
    png_set_crc_action(r->png, PNG_CRC_ERROR_QUIT, PNG_CRC_WARN_DISCARD);
    png_read_info(r->png, r->info);
    ask_for_bytes(r);
    const size_t row_bytes = (size_t)(info->width * info->channels);
    if ((int64_t)png_get_image_height(r->png, r->info) != info->height ||
        png_get_rowbytes(r->png, r->info) != row_bytes)
        png_error(r->png, "its chunks disagree");
    for (int64_t y = 0; y < info->height; y++)
        r->row[y] = pixel + (size_t)y * row_bytes;
    png_read_image(r->png, r->row);
    png_read_end(r->png, NULL);
    return true;
}

nt_status nt_picture_decode_png(uint8_t *pixel, const nt_picture_info *info, const char *path,
                                const uint8_t *bytes, size_t n_bytes)
{
    reader r = {.bytes = bytes, .left = n_bytes};
    r.row = calloc((size_t)info->height, sizeof *r.row);
    r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, on_error, on_warning);
    r.info = r.png ? png_create_info_struct(r.png) : NULL;
    bool ready = r.row && r.info, ok = ready && read_png(&r, pixel, info);
    png_destroy_read_struct(&r.png, &r.info, NULL);
    free(r.row);
    NT_CHECK(ready, NT_ERR_UNAVAILABLE, "out of memory for '%s'", path);
    NT_CHECK(ok, NT_ERR_DATA, "'%s' is damaged: %s", path, r.words);
    return NT_OK;
}
