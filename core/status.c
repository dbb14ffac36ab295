/* The error of a thread: one static buffer per thread, so that reporting needs no memory.
 * Control characters of messages are escaped here, once, because names from files and hosts end up in them
 * and must not reach a terminal raw. */
#include "core/status.h"

#include "core/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local nt_error this_error;

static void append_trail(const char *file, int line, const char *func)
{
    size_t used = strlen(this_error.trail);
    snprintf(this_error.trail + used, sizeof this_error.trail - used, "  at %s:%d %s\n", file, line, func);
}

nt_status nt_error_set(nt_status status, const char *file, int line, const char *func, const char *format,
                       ...)
{
    char raw[NT_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    this_error.status = status;
    this_error.trail[0] = '\0';
    nt_text_escape(this_error.message, sizeof this_error.message, raw);
    append_trail(file, line, func);
    return status;
}

nt_status nt_error_trail(nt_status status, const char *file, int line, const char *func)
{
    append_trail(file, line, func);
    return status;
}

nt_status nt_error_prefix(nt_status status, const char *format, ...)
{
    char raw[NT_ERROR_MESSAGE_BYTES], old[NT_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    memcpy(old, this_error.message, sizeof old);
    nt_text_escape(this_error.message, sizeof this_error.message, raw);
    size_t used = strlen(this_error.message);
    snprintf(this_error.message + used, sizeof this_error.message - used, "%s", old);
    return status;
}

const nt_error *nt_error_last(void)
{
    return &this_error;
}

void nt_error_take(nt_error *out)
{
    *out = this_error;
    nt_error_clear();
}

nt_status nt_error_raise(const nt_error *error)
{
    this_error = *error;
    return error->status;
}

void nt_error_clear(void)
{
    this_error.status = NT_OK;
    this_error.message[0] = this_error.trail[0] = '\0';
}
