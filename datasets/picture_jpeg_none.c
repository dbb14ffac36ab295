/* In the place of picture_jpeg.c where libjpeg-turbo was not there to build with. */
#include "datasets/picture.h"

nt_status nt_picture_decode_jpeg(uint8_t *pixel, const nt_picture_info *info, const char *path,
                                 const uint8_t *bytes, size_t n_bytes)
{
    (void)pixel, (void)info, (void)bytes, (void)n_bytes;
    NT_FAIL(NT_ERR_UNAVAILABLE,
            "'%s' is a JPEG file, which this nntrain cannot read: it was built without libjpeg-turbo "
            "(libturbojpeg0-dev; then configure and build again)",
            path);
}
