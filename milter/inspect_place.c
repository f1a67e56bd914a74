#include "milter/inspect_place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "db/memcache.h"
#include "shared/clock.h"
#include "shared/digest.h"
#include "shared/log.h"
#include "shared/trace.h"

/* ---- texthash ---- */

/* postmap(1): what is neither empty nor a comment is an entry, or goes on with one. */
static bool has_entries(const char *path)
{
    char *line = NULL;
    size_t size = 0;
    bool has = false;
    FILE *file = fopen(path, "r");
    while (file && !has && getline(&line, &size, file) >= 0) {
        char first = line[strspn(line, " \t\r\n")];
        has = first != '\0' && first != '#';
    }
    free(line);
    if (file)
        fclose(file);
    return has || !file;
}

void inspect_texthash(struct inspect_report *report, const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return; /* whoever opens it says why */
    if (status.st_mode & S_IWOTH)
        inspect_find(report, NULL,
                     "%s: every user of this host may write it, and so decide who exists: chmod "
                     "o-w %s",
                     path, path);
    if (S_ISREG(status.st_mode) && !has_entries(path))
        inspect_find(report, NULL,
                     "%s: it has no entry, so nobody in it exists; was it exported to a full disk?",
                     path);
}

/* ---- memcached ---- */

enum { LOOK_MS = 20, READY_MS = 3000, EXPIRES_S = 10 };

static void keep_line(void *context, const char *line)
{
    struct fault *fault = context;
    fault_set(fault, "%s", line);
}

/* NULL: it does what is asked of it. Else what it did not do; *reached: it is there, at least. */
static const char *try_server(struct memcache *memcache, int64_t timeout_ms, bool *reached,
                              struct trace *trace)
{
    const struct digest key = digest_random();
    const struct deadline deadline = deadline_in_ms(4 * timeout_ms);
    unsigned char found[sizeof key.bytes];
    size_t length;
    struct fault fault = {""};
    bool stored = memcache_put(memcache, MEMCACHE_OUTCOME, &key, deadline, key.bytes,
                               sizeof key.bytes, EXPIRES_S);
    trace_start(trace);
    enum memcache_result result = memcache_get(memcache, MEMCACHE_OUTCOME, &key, deadline, trace,
                                               found, sizeof found, &length);
    *reached = result != MEMCACHE_FAILED;
    if (!stored)
        return "a set";
    (void)memcache_remove(memcache, MEMCACHE_OUTCOME, &key, deadline, &fault);
    bool same =
        result == MEMCACHE_HIT && length == sizeof found && memcmp(found, key.bytes, length) == 0;
    return same ? NULL : "a get of what was just set";
}

/* Its name is looked up aside, and it rests until that was done; nor is a first connection that
 * fails the last word. */
static const char *try_until_ready(struct memcache *memcache, int64_t timeout_ms, bool *reached,
                                   struct fault *why)
{
    enum { TRIES = 3 };
    const struct deadline ready = deadline_in_ms(READY_MS);
    struct trace trace;
    const char *failed = NULL;
    for (unsigned tries = 0; tries < TRIES && !deadline_passed(ready);) {
        failed = try_server(memcache, timeout_ms, reached, &trace);
        if (!failed)
            return NULL;
        memcache_report(memcache, keep_line, why);
        tries += strstr(why->text, "not asked yet") == NULL;
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
    }
    /* The report says why it rests; where it does not rest yet, the trace says what happened. */
    if (!*reached && !strstr(why->text, " down ") && trace.length > 0)
        fault_set(why, "%.*s", (int)strcspn(trace.bytes, "\n"), trace.bytes);
    return failed;
}

static void inspect_server(struct inspect_report *report, const struct settings *settings)
{
    struct fault why = {""};
    bool reached = false;
    inspect_begin(report, "memcache_servers", settings->memcache_servers, NULL);
    struct memcache *memcache = memcache_open(settings, &why);
    const char *failed =
        memcache ? try_until_ready(memcache, settings->memcache_timeout_ms, &reached, &why) : NULL;
    if (!memcache) {
        report->misconfigured = true;
        inspect_find(report, NULL, "%s", why.text);
    } else if (failed && reached) {
        inspect_find(report, NULL,
                     "it answers, and fails %s: is its memory full (-M), or is it another program?",
                     failed);
    } else if (failed) {
        report->unasked = true;
        inspect_find(report, NULL,
                     "it cannot be asked, so that each node asks the directory for itself: %s",
                     why.text);
    }
    memcache_close(memcache);
    inspect_end(report, "");
}

void inspect_memcached(struct inspect_report *report)
{
    static const char separators[] = ", \t\r\n";
    const char *at = report->settings->memcache_servers;
    log_set_level(LEVEL_ERROR); /* what the tier would log of its servers is told here */
    for (at += strspn(at, separators); *at; at += strspn(at, separators)) {
        size_t length = strcspn(at, separators);
        struct settings alone = *report->settings;
        alone.memcache_servers = strndup(at, length);
        if (alone.memcache_servers)
            inspect_server(report, &alone);
        free(alone.memcache_servers);
        at += length;
    }
}
