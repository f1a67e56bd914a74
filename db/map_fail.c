/* fail:text: every lookup is UNAVAILABLE, and the text is the reason. For drills and tests. */
#include "db/directory.h"

#include <stdlib.h>
#include <string.h>

static void *fail_open(const char *table, const struct map_context *context, struct fault *fault)
{
    (void)context;
    char *reason = strdup(table[0] ? table : "a fail: map fails every lookup");
    if (!reason)
        fault_set(fault, "out of memory");
    return reason;
}

static void fail_lookup(void *map, const char *key, struct deadline deadline, struct trace *trace,
                        struct finding *finding)
{
    (void)key, (void)deadline, (void)trace;
    finding->answer = UNAVAILABLE;
    fault_set(&finding->why, "%s", (const char *)map);
}

const struct map_type map_fail = {"fail", false, fail_open, fail_lookup, free};
