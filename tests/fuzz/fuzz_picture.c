/* The decoders of PNG and JPEG: whatever the bytes, a header is refused or a picture of that size comes out,
 * or an error. Pictures beyond a million pixels are left after the header, for the time they would take. */
#include "fuzz.h"

#include "datasets/picture.h"

#include <stdlib.h>

static void decode(const nt_picture_info *info, const uint8_t *bytes, size_t n_bytes, int channels,
                   bool upright)
{
    nt_picture picture = {0};
    if (nt_picture_decode(&picture, info, "fuzz", bytes, n_bytes, channels, upright) != NT_OK) {
        nt_error_clear();
        return;
    }
    if (picture.channels != channels || picture.height * picture.width != info->height * info->width) abort();
    volatile uint8_t last = picture.pixel[picture.height * picture.width * picture.channels - 1];
    (void)last;
    free(picture.pixel);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    nt_picture_info info;
    if (nt_picture_look(&info, "fuzz", bytes, n_bytes) == NT_OK) {
        if (info.height < 1 || info.width < 1 || info.height * info.width > NT_PICTURE_MAX_PIXELS) abort();
        if (info.height * info.width <= 1 << 20) {
            decode(&info, bytes, n_bytes, info.channels, true);
            decode(&info, bytes, n_bytes, 4 - info.channels, false);
        }
    }
    nt_error_clear();
    return 0;
}
