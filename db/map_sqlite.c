/*
 * sqlite:/path.cf - a sqlite_table(5) file, unchanged: dbpath, and what db/query.h reads. As in
 * Postfix the first column of each row is the value, and only the first statement is run.
 *
 * A lookup takes an idle connection or opens one, read-only, and gives it back; so each is used by
 * one thread at a time, and there are as many as there are lookups at once. The file is looked at
 * before each use: one that was renamed over it is opened anew, and one that is gone is no answer,
 * though the old connections could still read it. Its disk is taken to be a local one: what is
 * bounded is waiting for a lock and computing, not a read(2).
 *
 * Whatever goes wrong is UNAVAILABLE: no file, no database, no table, a lock somebody holds for
 * longer than PATIENCE_MS. A table that begins to fail is logged, and when it answers again.
 */
#include "db/directory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <sqlite3.h>

#include "db/query.h"
#include "shared/log.h"
#include "shared/text.h"

enum {
    PATIENCE_MS = 2000, /* with the database; a caller may have less */
    NAP_MS = 5,         /* between two looks at a lock */
    STEPS = 1000,       /* of SQLite's machine between two looks at the clock */
    IDLE_MAX = 16,
    SQL_MAX = 65536,
};

struct connection {
    struct connection *next; /* idle: the lock of the map */
    sqlite3 *db;
    dev_t device; /* the file that is open */
    ino_t inode;
    struct deadline limit; /* of the statement under way */
    char sql[SQL_MAX];
};

struct sqlite_map {
    struct query query;
    char *dbpath;
    bool offline;

    pthread_mutex_t lock; /* covers what follows; never held across I/O */
    struct connection *idle;
    unsigned idle_count;
    int64_t failing_since_ms; /* 0: it answers. Each change is logged */
};

/* ---- the map file ---- */

static const char *parameter(size_t i)
{
    return i == 0 ? "dbpath" : NULL;
}

static const struct query_dialect dialect = {
    .page = "sqlite_table(5)", .sql = SQL_OF_SQLITE, .parameter = parameter, .quoted_only = true};

static bool read_dbpath(struct sqlite_map *map, const struct conf *conf, struct fault *fault)
{
    const struct conf_entry *entry = conf_find(conf, "dbpath");
    if (!entry) {
        fault_set(fault, "%s:1: dbpath is not set", conf->path);
        return false;
    }
    if (entry->value[0] != '/')
        return query_fault_at(conf, entry, fault, "write the whole path of the file, from / on");
    return query_copy_string(&map->dbpath, entry->value, fault);
}

static void connection_close(struct connection *connection)
{
    sqlite3_close(connection->db);
    free(connection);
}

static void close_all(struct connection *first)
{
    while (first) {
        struct connection *next = first->next;
        connection_close(first);
        first = next;
    }
}

static void sqlite_map_close(void *opened)
{
    struct sqlite_map *map = opened;
    close_all(map->idle);
    pthread_mutex_destroy(&map->lock);
    query_release(&map->query);
    free(map->dbpath);
    free(map);
}

static void *sqlite_map_open(const char *path, const struct map_context *context,
                             struct fault *fault)
{
    if (path[0] != '/' && path[0] != '.') {
        fault_set(fault, "%s: name a sqlite_table(5) file by its path", path);
        return NULL;
    }
    if (!sqlite3_threadsafe()) {
        fault_set(fault, "%s: this SQLite library was built without threads", path);
        return NULL;
    }
    struct conf *conf = conf_read(path, fault);
    struct sqlite_map *map = conf ? calloc(1, sizeof *map) : NULL;
    if (!map) {
        if (conf)
            fault_set(fault, "%s: out of memory", path);
        conf_free(conf);
        return NULL;
    }
    pthread_mutex_init(&map->lock, NULL);
    map->offline = context->offline;
    bool good = read_dbpath(map, conf, fault) && query_read(&map->query, conf, &dialect, fault);
    conf_free(conf);
    if (good)
        return map;
    sqlite_map_close(map);
    return NULL;
}

/* ---- connections ---- */

static void fault_of(const struct sqlite_map *map, struct fault *fault, const char *what)
{
    fault_set(fault, "sqlite %s: %s: %s", map->dbpath, map->query.path, what);
}

/* The trouble SQLite has; true when it is this process that has no descriptor or memory left. */
static bool fault_of_sqlite(const struct sqlite_map *map, sqlite3 *db, struct fault *fault)
{
    int code = sqlite3_extended_errcode(db), number = sqlite3_system_errno(db);
    fault_set(fault, "sqlite %s: %s: error %d: %s", map->dbpath, map->query.path, code,
              sqlite3_errmsg(db));
    return (code & 0xff) == SQLITE_NOMEM ||
           ((code & 0xff) == SQLITE_CANTOPEN && (number == EMFILE || number == ENFILE));
}

/* Somebody holds a lock. Not sqlite3_busy_timeout: that one starts anew with each lock. */
static int wait_for_lock(void *context, int times)
{
    (void)times;
    struct connection *connection = context;
    if (deadline_passed(connection->limit))
        return 0;
    struct timespec nap = {.tv_nsec = NAP_MS * 1000000L};
    nanosleep(&nap, NULL);
    return 1;
}

static int is_out_of_time(void *context)
{
    const struct connection *connection = context;
    return deadline_passed(connection->limit);
}

static struct connection *connection_open(const struct sqlite_map *map, const struct stat *status,
                                          struct finding *finding)
{
    struct connection *connection = malloc(sizeof *connection);
    if (!connection) {
        fault_of(map, &finding->why, "out of memory");
        finding->late = true;
        return NULL;
    }
    *connection = (struct connection){.device = status->st_dev, .inode = status->st_ino};
    if (sqlite3_open_v2(map->dbpath, &connection->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK) {
        finding->late = fault_of_sqlite(map, connection->db, &finding->why);
        connection_close(connection);
        return NULL;
    }
    sqlite3_extended_result_codes(connection->db, 1);
    sqlite3_busy_handler(connection->db, wait_for_lock, connection);
    sqlite3_progress_handler(connection->db, STEPS, is_out_of_time, connection);
    return connection;
}

/* An idle connection to the file that is there now, or a new one. The file is looked at before it
 * is opened: one that is replaced in between is at worst opened once more. */
static struct connection *connection_take(struct sqlite_map *map, struct finding *finding)
{
    struct stat status;
    if (stat(map->dbpath, &status) != 0) {
        char reason[128];
        fault_of(map, &finding->why, strerror_r(errno, reason, sizeof reason));
        return NULL;
    }
    struct connection *found, *old = NULL;
    pthread_mutex_lock(&map->lock);
    found = map->idle;
    if (found && found->device == status.st_dev && found->inode == status.st_ino) {
        map->idle = found->next;
        map->idle_count--;
    } else {
        old = found;
        found = map->idle = NULL;
        map->idle_count = 0;
    }
    pthread_mutex_unlock(&map->lock);
    close_all(old);
    return found ? found : connection_open(map, &status, finding);
}

static void connection_return(struct sqlite_map *map, struct connection *connection)
{
    pthread_mutex_lock(&map->lock);
    bool keep = map->idle_count < IDLE_MAX;
    if (keep) {
        connection->next = map->idle;
        map->idle = connection;
        map->idle_count++;
    }
    pthread_mutex_unlock(&map->lock);
    if (!keep)
        connection_close(connection);
}

/* ---- one lookup ---- */

/* SQLite knows no escapes: in '...' as in "..." the quote is doubled. Which of them this is, the
 * statement tells; query_read has seen to it that it is one of the two. */
static size_t escape(void *context, char *to, const char *bytes, size_t length)
{
    const char *sql = context;
    char quote = query_quote_at(SQL_OF_SQLITE, sql, (size_t)(to - sql));
    size_t written = 0;
    for (size_t i = 0; i < length; i++) {
        to[written++] = bytes[i];
        if (bytes[i] == quote)
            to[written++] = quote;
    }
    to[written] = '\0';
    return written;
}

/* All rows to the end; false when that was not reached. */
static bool take_rows(sqlite3_stmt *statement, struct query_values *values, unsigned long *rows)
{
    int step;
    for (; (step = sqlite3_step(statement)) == SQLITE_ROW; ++*rows) {
        bool is_null = sqlite3_column_type(statement, 0) == SQLITE_NULL; /* before a conversion */
        const char *value = (const char *)sqlite3_column_text(statement, 0);
        if (!value && !is_null && /* no memory for the text of what is no text? */
            sqlite3_errcode(sqlite3_db_handle(statement)) == SQLITE_NOMEM)
            return false;
        query_values_add(values, value);
    }
    return step == SQLITE_DONE;
}

/* True when the table answered; a key that is beyond expansion_limit is its own trouble. */
static bool run_statement(const struct sqlite_map *map, struct connection *connection,
                          const char *key, unsigned long *rows, struct finding *finding)
{
    struct query_values values = {.query = &map->query, .key = key};
    sqlite3_stmt *statement = NULL;
    bool answered = false;
    if (sqlite3_prepare_v2(connection->db, connection->sql, -1, &statement, NULL) != SQLITE_OK) {
        finding->late = fault_of_sqlite(map, connection->db, &finding->why);
    } else if (sqlite3_column_count(statement) == 0) { /* or it is none: NULL */
        fault_of(map, &finding->why, "the query is no statement that gives rows");
    } else if (!take_rows(statement, &values, rows)) {
        finding->late = fault_of_sqlite(map, connection->db, &finding->why);
        if (sqlite3_errcode(connection->db) == SQLITE_INTERRUPT)
            fault_of(map, &finding->why, "the query takes too long");
    } else {
        answered = true;
        if (!query_values_judge(&values, finding))
            fault_within(&finding->why, "sqlite %s: %s", map->dbpath, map->query.path);
    }
    sqlite3_finalize(statement);
    return answered;
}

static void trace_statement(struct trace *trace, const struct sqlite_map *map,
                            const struct connection *connection, unsigned long rows, int64_t us,
                            const struct finding *finding)
{
    double ms = (double)us / 1000;
    if (finding->answer == UNAVAILABLE)
        trace_add(trace, "sqlite %s: %.2000s: %s (%.1f ms)", map->dbpath, connection->sql,
                  finding->why.text, ms);
    else
        trace_add(trace, "sqlite %s: %.2000s: %lu row%s, %.1f ms", map->dbpath, connection->sql,
                  rows, rows == 1 ? "" : "s", ms);
}

static bool ask(const struct sqlite_map *map, struct connection *connection, const char *key,
                struct trace *trace, struct finding *finding)
{
    unsigned long rows = 0;
    int64_t begun_us = clock_mono_us();
    connection->sql[0] = '\0';
    if (query_expand(&map->query, key, escape, connection->sql, connection->sql,
                     sizeof connection->sql) != EXPANSION_OK) {
        fault_of(map, &finding->why, "the statement for this key is too long");
        return true;
    }
    bool answered = run_statement(map, connection, key, &rows, finding);
    trace_statement(trace, map, connection, rows, clock_mono_us() - begun_us, finding);
    return answered;
}

/* Logs what has changed. */
static void tell(struct sqlite_map *map, bool answered, const struct finding *finding)
{
    pthread_mutex_lock(&map->lock);
    int64_t since_ms = map->failing_since_ms, now_ms = clock_mono_ms();
    bool changed = (since_ms != 0) == answered;
    if (changed)
        map->failing_since_ms = answered ? 0 : now_ms;
    pthread_mutex_unlock(&map->lock);
    if (changed && answered)
        log_info("sqlite %s answers again after %.1f s", map->query.path,
                 (double)(now_ms - since_ms) / 1000);
    else if (changed)
        log_error("%s; lookups in this table fail until that is mended", finding->why.text);
}

static void sqlite_map_lookup(void *opened, const char *key, struct deadline deadline,
                              struct trace *trace, struct finding *finding)
{
    struct sqlite_map *map = opened;
    if (!query_applies(&map->query, key)) {
        trace_add(trace, "sqlite %s: not asked, its query is not for keys like this",
                  map->query.path);
        finding_set_absent(finding);
        return;
    }
    if (map->offline) {
        fault_of(map, &finding->why, "offline");
        return;
    }
    struct connection *connection = connection_take(map, finding);
    bool answered = false;
    if (connection) {
        connection->limit = deadline_sooner(deadline, deadline_in_ms(PATIENCE_MS));
        answered = ask(map, connection, key, trace, finding);
        if (answered)
            connection_return(map, connection);
        else
            connection_close(connection);
    }
    /* Who came with too little time has learned nothing about the table. */
    finding->late |= finding->answer == UNAVAILABLE && deadline_passed(deadline);
    if (!finding->late)
        tell(map, answered, finding);
}

const struct map_type map_sqlite = {
    .name = "sqlite",
    .waits = true,
    .open = sqlite_map_open,
    .lookup = sqlite_map_lookup,
    .close = sqlite_map_close,
};
