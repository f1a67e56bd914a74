/*
 * mysql_pool - a few threads that own the connections to one directory, and the queue before them.
 *
 * Tables with the same servers, user, database and connection options share one pool, over a
 * reload too. A pool has mysql_connections threads; each owns one connection, opens it when there
 * is work, and sets the session's lock_wait_timeout and max_statement_time (max_execution_time on
 * MySQL). A watchdog thread ends a call that outlives mysql_query_timeout by shutting its socket
 * down, because the library's own timeouts start again with every read.
 *
 * Lookups wait in the queue as one job per (table, key), however many callers ask. A caller waits
 * for its job until its deadline and then leaves; a job nobody waits for and nobody has begun is
 * dropped.
 *
 * Servers: those over unix sockets are tried first, each group in random order, as mysql_table(5)
 * says. Each has its breaker; while all are resting a lookup fails at once, and the threads probe
 * them out of the callers' way.
 *
 * Classes of errors (numbers in mysql_pool.c):
 *   server     the transport, the server or time: the host rests, the connection is closed
 *   statement  the session lost something: once again on a new connection
 *   key        the bytes of this key: UNAVAILABLE for this key, nothing else happens
 *   setup      wrong password, missing table or right: UNAVAILABLE, logged once per change; a
 * refused log-in rests the host
 */
#ifndef DB_MYSQL_POOL_H
#define DB_MYSQL_POOL_H

#include "db/directory.h"
#include "db/mysql_table.h"

struct mysql_pool;

/* Finds or makes the pool for this table. NULL and a fault when threads cannot be had. Each take
 * is ended by one drop; the last one stops the threads, waiting for a query under way at most
 * mysql_query_timeout. */
struct mysql_pool *mysql_pool_take(const struct mysql_table *table, const struct settings *settings,
                                   struct fault *fault);
void mysql_pool_drop(struct mysql_pool *pool);

/* Any thread. The table outlives the call and every job that still refers to it
 * (mysql_pool_forget). */
void mysql_pool_lookup(struct mysql_pool *pool, const struct mysql_table *table, const char *key,
                       struct deadline deadline, struct trace *trace, struct finding *finding);

/* Before a table is freed: returns when no job refers to it any more. */
void mysql_pool_forget(struct mysql_pool *pool, const struct mysql_table *table);

/* One line per server of every pool: "mysql unix:/x up, 3 connections" or "... resting for 12 s:
 * reason". */
void mysql_pool_report(void (*line)(void *context, const char *text), void *context);

#endif
