/*
 * directory - the contract of every map: what an answer is, and who may say ABSENT.
 *
 * The evidence rule: a miss in a cache is not an absence; a failure is not an absence. Only a
 * lookup that was carried out to its end may say ABSENT. So UNAVAILABLE is zero: what nobody set
 * is "we do not know".
 */
#ifndef DB_DIRECTORY_H
#define DB_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>

#include "config/settings.h"
#include "shared/clock.h"
#include "shared/fault.h"
#include "shared/trace.h"

enum answer { UNAVAILABLE = 0, FOUND, ABSENT };

const char *answer_name(enum answer answer); /* "UNAVAILABLE", "FOUND", "ABSENT" */

enum { FINDING_VALUE_MAX = 1024 }; /* bytes of a map's value, with the NUL */

/* What one map said about one key. Start from a zero struct. */
struct finding {
    enum answer answer;
    /* UNAVAILABLE because the deadline passed, or for want of a descriptor or memory of ours: not
     * because of trouble with the directory. */
    bool late;
    /* UNAVAILABLE because of the key itself: the table cannot be compared with such a text, for
     * want of its letters in the columns' character set, and answers for others. */
    bool unfit;
    char value[FINDING_VALUE_MAX]; /* FOUND: the first value, cut to fit; else "" */
    struct fault why;              /* UNAVAILABLE, or lagging: the reason */
    bool lagging; /* ABSENT, but the server may be behind its primary: max_replica_lag */
};

void finding_set_found(struct finding *finding, const char *value); /* value may be NULL */
void finding_set_absent(struct finding *finding);

/* What a map may use while it is opened. Borrowed for the call only. */
struct map_context {
    const struct settings *settings;
    bool offline; /* -t: read and check files, start nothing, connect to nothing */
};

/*
 * A map type is one file with one const struct, registered in db/maps.c.
 *
 * open    `table` is what stands after "type:". Returns the map, or NULL and a fault
 *         ("path:line: what"). Does not wait for any server. The map keeps nothing of the context.
 * lookup  any number of threads at once. `key` is folded, at most ADDRESS_KEY_MAX bytes, may hold
 *         any byte but NUL. Fills the finding, which is zero before; must return by the deadline.
 *         Writes what it did to the trace, if there is one.
 * close   no lookup is under way any more.
 */
struct map_type {
    const char *name;
    bool waits; /* lookup may wait for a server: it then needs a lookup slot */
    void *(*open)(const char *table, const struct map_context *context, struct fault *fault);
    void (*lookup)(void *map, const char *key, struct deadline deadline, struct trace *trace,
                   struct finding *finding);
    void (*close)(void *map);
};

extern const struct map_type map_mysql;    /* db/map_mysql.c: mysql:/path.cf */
extern const struct map_type map_sqlite;   /* db/map_sqlite.c: sqlite:/path.cf */
extern const struct map_type map_texthash; /* db/map_texthash.c: texthash:/path */
extern const struct map_type map_static;   /* db/map_static.c: static:value */
extern const struct map_type map_inline; /* db/map_inline.c: inline:{key=value, {key=some value}} */
extern const struct map_type map_fail;   /* db/map_fail.c: fail:text */

#endif
