/* static:value and static:{value with spaces}, as in Postfix: every key is FOUND. */
#include "db/directory.h"

#include <stdlib.h>
#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void *static_open(const char *table, const struct map_context *context, struct fault *fault)
{
    (void)context;
    size_t length = strlen(table);
    if (table[0] == '{') {
        if (table[length - 1] != '}') {
            fault_set(fault, "there is something after the closing brace");
            return NULL;
        }
        for (table++, length -= 2; length > 0 && is_blank(*table); table++)
            length--;
        while (length > 0 && is_blank(table[length - 1]))
            length--;
    }
    /* Postfix takes an empty result for a mistake, and answers every lookup with an error. */
    if (length == 0) {
        fault_set(fault, "write the value after the colon, as in static:OK");
        return NULL;
    }
    char *value = strndup(table, length);
    if (!value)
        fault_set(fault, "out of memory");
    return value;
}

static void static_lookup(void *map, const char *key, struct deadline deadline, struct trace *trace,
                          struct finding *finding)
{
    (void)key, (void)deadline, (void)trace;
    finding_set_found(finding, map);
}

const struct map_type map_static = {"static", false, static_open, static_lookup, free};
