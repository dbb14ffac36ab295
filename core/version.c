/* Versions of the libraries at run time; those of oneDNN and CUDA are with their backends, the only rooms
 * that know their headers. */
#include "core/version.h"

#include <stdio.h>
#include <xxhash.h>
#include <zlib.h>

const char *nt_zlib_version(void)
{
    return zlibVersion();
}

const char *nt_xxhash_version(void)
{
    static char text[32];
    unsigned v = XXH_versionNumber();
    snprintf(text, sizeof text, "%u.%u.%u", v / 10000, v / 100 % 100, v % 100);
    return text;
}
