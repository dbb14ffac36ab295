/* The version of oneDNN at run time. */
#include "core/version.h"

#include <dnnl.h>
#include <stdio.h>

const char *nt_onednn_version(void)
{
    static char text[64];
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, sizeof text, "%d.%d.%d", v->major, v->minor, v->patch);
    return text;
}
