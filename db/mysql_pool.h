/*
 * mysql_pool - a few threads that own the connections to one directory, and the queue before them.
 *
 * Tables with the same source (servers, user, database, connection options) share one pool, over a
 * reload too, while mysql_connections and the timeouts stay the same. A pool has mysql_connections
 * threads; each owns one connection, opens it when there is work, and closes it after 60 s without
 * any, as Postfix does: a firewall or the server would else drop it unseen, and a new one costs
 * less than a millisecond. A watchdog thread ends a call that outlives mysql_query_timeout by
 * shutting its socket down, because the library's own timeouts start again with every read.
 *
 * Lookups wait in the queue as one job per (table, key), however many callers ask. A caller waits
 * for its job until its deadline and then leaves; a job nobody waits for and nobody has begun is
 * dropped.
 *
 * Servers: those over unix sockets are tried first, each group in random order, as mysql_table(5)
 * says. Each has its breaker; while all are resting a lookup fails at once, and the threads probe
 * them out of the callers' way. A host whose probe has connected is on trial: it is used, but its
 * outage is over (and a line logged) only when it has answered a lookup. A host that takes no more
 * connections (1040, 1203, 1226) while we have some does not rest: the lookups go to those, and the
 * threads without one try again after 0.5 s, 1 s ... 4 s.
 *
 * Classes of errors (numbers in mysql_client.c):
 *   server     the transport, the server or time: the host rests, the connection is closed; the
 *              job goes to another host if there is one. A connection that was used before and is
 *              gone (the server was restarted) is replaced once before the host is blamed
 *   statement  the session lost something: once again on a new connection
 *   key        the bytes of this key: UNAVAILABLE for this key, nothing else happens
 *   setup      missing table, column or right: UNAVAILABLE, logged once per change; a refused
 *              log-in rests the host
 *
 * Replicas: with max_replica_lag a statement that found nothing is followed by asking how far the
 * server is behind, and then by the same statement once more, as the server may have caught up in
 * between. The finding is `lagging` unless the server was close enough. Trouble with the lag rests
 * no host: it still finds those who exist.
 */
#ifndef DB_MYSQL_POOL_H
#define DB_MYSQL_POOL_H

#include "db/directory.h"
#include "db/mysql_table.h"
#include "db/servers.h"

struct mysql_pool;

/* Finds or makes the pool for this table. NULL and a fault when threads cannot be had. Connects to
 * nobody yet. Each take is ended by one drop; the last one stops the threads. It shuts the sockets
 * of queries under way down, and leaves behind what does not come back from the client library
 * within the longer of the two timeouts and a second: such a thread frees the pool when it does. */
struct mysql_pool *mysql_pool_take(const struct mysql_table *table, const struct settings *settings,
                                   struct fault *fault);
void mysql_pool_drop(struct mysql_pool *pool);

/* Any thread. The key is one query_applies to. The table outlives the call and every job that
 * still refers to it (mysql_pool_forget). */
void mysql_pool_lookup(struct mysql_pool *pool, const struct mysql_table *table, const char *key,
                       struct deadline deadline, struct trace *trace, struct finding *finding);

/* Before a table is freed: returns when no job refers to it any more (a query under way ends at
 * the latest with mysql_query_timeout). */
void mysql_pool_forget(struct mysql_pool *pool, const struct mysql_table *table);

/* One line per server of every pool: "mysql unix:/x up, 3 connections", "mysql unix:/x resting for
 * 12 s: reason" or "mysql unix:/x on trial for 3 s, ...: reason"; then what else is not as it
 * should be, as "; no more for 4 s: error 1040: ..." or "; is 45 s behind, ..."; and one per table
 * that cannot work: "mysql unix:/x: /x.cf: error 1146: ...".
 */
void mysql_pool_report(void (*line)(void *context, const char *text), void *context);

/* The same for metrics: adds the servers and queries of every pool. */
void mysql_pool_servers(struct servers *servers);

#endif
