/* Pictures from files: JPEG and PNG to 8-bit grey or RGB.
 *
 * The files come from strangers. What a header says is looked at before anything of that size is allocated,
 * and everything the decoders complain about is an error: half a picture is no picture. What becomes of
 * unusual ones: a palette becomes colours; 1, 2, 4 and 16 bits become 8 (16 bits are scaled, not cut); alpha
 * is dropped and the colours beneath stay, as Pillow and torchvision do; CMYK becomes RGB by
 * (1 - c) (1 - k), inverted first where the file says that Adobe made it; colour profiles and gamma are not
 * looked at. */
#ifndef NT_DATASETS_PICTURE_H
#define NT_DATASETS_PICTURE_H

#include "core/status.h"

#include <stdint.h>

#define NT_PICTURE_MAX_SIDE   65535
#define NT_PICTURE_MAX_PIXELS ((int64_t)1 << 26)
#define NT_PICTURE_MAX_BYTES  ((int64_t)256 << 20) /* of a file */

typedef enum nt_picture_kind { NT_PICTURE_JPEG, NT_PICTURE_PNG } nt_picture_kind;

/* What a header says. */
typedef struct nt_picture_info {
    int kind;              /* nt_picture_kind, by the first bytes and not by the name */
    int64_t height, width; /* as stored */
    int channels;          /* 1: grey, 3: all others */
    int orientation;       /* EXIF: 1 (upright) to 8 */
    bool adobe;            /* JPEG */
} nt_picture_info;

typedef struct nt_picture {
    int64_t height, width, channels;
    uint8_t *pixel; /* (H, W, C), owned: free() it */
} nt_picture;

/* A file in memory, malloc'ed, or its first `most` bytes. Regular files only. NT_ERR_NO_INPUT, NT_ERR_DATA. */
NT_MUST nt_status nt_picture_load(const char *path, size_t most, uint8_t **bytes, size_t *n_bytes);

/* Reads and checks the header. NT_ERR_DATA names the file. */
NT_MUST nt_status nt_picture_look(nt_picture_info *info, const char *path, const uint8_t *bytes,
                                  size_t n_bytes);

/* Decodes what nt_picture_look has seen, to 1 or 3 channels: colours become grey by Pillow's weights.
 * upright: turned and mirrored as the orientation says. */
NT_MUST nt_status nt_picture_decode(nt_picture *out, const nt_picture_info *info, const char *path,
                                    const uint8_t *bytes, size_t n_bytes, int channels, bool upright);

/* The decoders, to the channels of the file: pixel (height, width, info->channels) is there. */
NT_MUST nt_status nt_picture_decode_png(uint8_t *pixel, const nt_picture_info *info, const char *path,
                                        const uint8_t *bytes, size_t n_bytes);
NT_MUST nt_status nt_picture_decode_jpeg(uint8_t *pixel, const nt_picture_info *info, const char *path,
                                         const uint8_t *bytes, size_t n_bytes);

#endif
