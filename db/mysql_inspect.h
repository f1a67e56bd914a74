/*
 * mysql_inspect - one host of a mysql: map, asked on a connection of its own: lookups as the daemon
 * makes them, and what the server says of the query, the columns it compares and the user. Reads
 * only. No threads, no pool. The thread that uses it has called mysql_client_thread_init.
 */
#ifndef DB_MYSQL_INSPECT_H
#define DB_MYSQL_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "db/mysql_client.h"
#include "db/mysql_judge.h"

struct mysql_inspect;

/* The table and the host outlive it. NULL, the trouble and a fault otherwise. */
struct mysql_inspect *mysql_inspect_open(const struct mysql_table *table,
                                         const struct mysql_host *host,
                                         const struct mysql_timeouts *timeouts,
                                         struct mysql_trouble *trouble, struct fault *fault);
void mysql_inspect_close(struct mysql_inspect *inspect); /* NULL is fine */

/* For a watchdog's shutdown(2). */
int mysql_inspect_socket(const struct mysql_inspect *inspect);

/* Whether the daemon would make a query for this key; where it would not, the map says ABSENT. */
bool mysql_inspect_applies(const struct mysql_inspect *inspect, const char *key);

/* One lookup; *us is how long the query took. */
void mysql_inspect_ask(struct mysql_inspect *inspect, const char *key, int64_t *us,
                       struct mysql_trouble *trouble, struct finding *finding);

/* What only the server knows. Each returns false and a fault where it would not say: that is no
 * finding. After a failure of the connection only closing is left. */
bool mysql_inspect_plan(struct mysql_inspect *inspect, const struct judge *judge, const char *key,
                        struct fault *fault);
bool mysql_inspect_grants(struct mysql_inspect *inspect, const struct judge *judge,
                          struct fault *fault);
/* *findings: how many columns it found fault with. */
bool mysql_inspect_collations(struct mysql_inspect *inspect, const struct judge *judge,
                              const struct mysql_statement *statement, unsigned *findings,
                              struct fault *fault);
bool mysql_inspect_is_encrypted(struct mysql_inspect *inspect, bool *encrypted,
                                struct fault *fault);

#endif
