#include "shared/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shared/text.h"

static void fault_store(struct fault *fault, const char *raw)
{
    struct text text = text_on(fault->text, sizeof fault->text);
    text_add_printable(&text, raw, strlen(raw));
}

void fault_set(struct fault *fault, const char *format, ...)
{
    if (!fault)
        return;
    char raw[FAULT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    fault_store(fault, raw);
}

void fault_within(struct fault *fault, const char *format, ...)
{
    if (!fault)
        return;
    char context[FAULT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);

    char raw[2 * FAULT_MAX + 2];
    snprintf(raw, sizeof raw, "%s: %s", context, fault->text);
    fault_store(fault, raw);
}

void fault_clear(struct fault *fault)
{
    if (fault)
        fault->text[0] = '\0';
}
