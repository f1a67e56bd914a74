#include "shared/trace.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shared/text.h"

void trace_start(struct trace *trace)
{
    trace->length = 0;
    trace->bytes[0] = '\0';
}

void trace_add(struct trace *trace, const char *format, ...)
{
    if (!trace || trace->length + 2 >= sizeof trace->bytes)
        return;
    char raw[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);

    /* One byte is kept back so that the newline always fits. */
    struct text line =
        text_on(trace->bytes + trace->length, sizeof trace->bytes - trace->length - 1);
    text_add_printable(&line, raw, strlen(raw));
    trace->length += line.length;
    trace->bytes[trace->length++] = '\n';
    trace->bytes[trace->length] = '\0';
}
