/* mysql:/path.cf - a mysql_table(5) file, asked through the pool of its directory. */
#include "db/directory.h"

#include <stdlib.h>

#include "db/mysql_pool.h"
#include "db/mysql_table.h"

struct mysql_map {
    struct mysql_table *table;
    struct mysql_pool *pool; /* NULL: offline */
};

static void mysql_map_close(void *opaque)
{
    struct mysql_map *map = opaque;
    if (map->pool) {
        mysql_pool_forget(map->pool, map->table);
        mysql_pool_drop(map->pool);
    }
    mysql_table_free(map->table);
    free(map);
}

static void *mysql_map_open(const char *path, const struct map_context *context,
                            struct fault *fault)
{
    /* Postfix takes a name without a slash as a prefix of main.cf parameters; we have no main.cf.
     */
    if (path[0] != '/' && path[0] != '.') {
        fault_set(fault, "%s: name a mysql_table(5) file by its path", path);
        return NULL;
    }
    struct mysql_map *map = calloc(1, sizeof *map);
    if (!map) {
        fault_set(fault, "%s: out of memory", path);
        return NULL;
    }
    map->table = mysql_table_read(path, fault);
    if (map->table)
        map->table->max_replica_lag_s = context->settings->max_replica_lag_s;
    if (map->table && !context->offline)
        map->pool = mysql_pool_take(map->table, context->settings, fault);
    if (map->table && (map->pool || context->offline))
        return map;
    mysql_map_close(map);
    return NULL;
}

static void mysql_map_lookup(void *opaque, const char *key, struct deadline deadline,
                             struct trace *trace, struct finding *finding)
{
    struct mysql_map *map = opaque;
    if (!query_applies(&map->table->query, key)) {
        trace_add(trace, "mysql %s: not asked, its query is not for keys like this",
                  map->table->query.path);
        finding_set_absent(finding);
    } else if (!map->pool) {
        fault_set(&finding->why, "mysql %s: offline", map->table->query.path);
    } else {
        mysql_pool_lookup(map->pool, map->table, key, deadline, trace, finding);
    }
}

const struct map_type map_mysql = {
    .name = "mysql",
    .waits = true,
    .open = mysql_map_open,
    .lookup = mysql_map_lookup,
    .close = mysql_map_close,
};
