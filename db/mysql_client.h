/*
 * mysql_client - one connection, blocking, owned by one thread. The one home of the MySQL headers;
 * works with libmariadb and with Oracle's libmysqlclient (their differences are in mysql_compat.h).
 *
 * Faults and findings say "error NUMBER: text" without the host: whoever chose the host adds it.
 * They never hold the password.
 */
#ifndef DB_MYSQL_CLIENT_H
#define DB_MYSQL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "db/directory.h"
#include "db/mysql_table.h"

struct mysql_client;

/* Before any thread (mysql_pool_take does it too, once); and around the life of each thread that
 * uses a client. */
bool mysql_client_library_init(struct fault *fault);
void mysql_client_thread_init(void);
void mysql_client_thread_end(void);

enum mysql_error_class {
    MYSQL_NO_ERROR = 0,
    MYSQL_ERROR_SERVER,    /* rest the host, close the connection */
    MYSQL_ERROR_STATEMENT, /* the session lost something: once again on a new connection */
    MYSQL_ERROR_KEY,       /* concerns this key only */
    MYSQL_ERROR_SETUP,     /* password, table, column, right: somebody must mend it */
};

struct mysql_trouble {
    enum mysql_error_class class;
    unsigned number;      /* the library's or the server's; 0: found by us */
    bool connection_lost; /* mysql_error_means_lost */
};

/* Any error number we do not know is MYSQL_ERROR_SETUP when a query raised it: it says nothing
 * about other keys or the host. */
enum mysql_error_class mysql_error_classify(unsigned error_number);

/* The connection is gone: what a server that restarted looks like on an old one. */
bool mysql_error_means_lost(unsigned error_number);

/* It is this process that has no descriptor or memory left: nothing is wrong with the server. */
bool mysql_error_is_ours(unsigned error_number);

/* A right or a password: a session keeps those of its beginning, so only a new one sees a change.
 */
bool mysql_error_is_of_rights(unsigned error_number);

/* Of a failed connect: the server is well, and has as many connections as it takes. */
bool mysql_error_refuses_connections(unsigned error_number);

/* Whole seconds, at least 1. `query_s` is also the session's lock_wait_timeout and
 * max_statement_time (max_execution_time on MySQL); the library waits a second longer for a read,
 * so that it is the server that says what took so long. */
struct mysql_timeouts {
    unsigned connect_s, query_s;
};

/* The session is ready for lookups: the server has answered two statements. NULL, the trouble
 * and a fault otherwise. Each step (connect, greeting, ...) takes at most connect_s if the
 * server is silent; name resolution, and a server that dribbles, can take longer. */
struct mysql_client *mysql_client_connect(const struct mysql_source *source,
                                          const struct mysql_host *host,
                                          const struct mysql_timeouts *timeouts,
                                          struct mysql_trouble *trouble, struct fault *fault);
void mysql_client_close(struct mysql_client *client); /* NULL is fine */

/* The socket, for the watchdog's shutdown(2); -1 where there is none. */
int mysql_client_socket(const struct mysql_client *client);

/* mysql_real_escape_string with the connection's charset; the context is the client. */
size_t mysql_client_escape(void *client, char *to, const char *bytes, size_t length);

/*
 * Runs one statement and reads all of all its result sets to their end (CALL leaves several). FOUND
 * when any row has a column that is neither NULL nor empty; the values go through the table's
 * result_format and expansion_limit. *rows: how many came. UNAVAILABLE with trouble and reason
 * otherwise; a result that broke off half-way is never ABSENT.
 */
void mysql_client_query(struct mysql_client *client, const struct mysql_table *table,
                        const char *key, const char *sql, size_t length, unsigned long *rows,
                        struct mysql_trouble *trouble, struct finding *finding);

/*
 * How many seconds the server is behind its primary, by lag_query (the first column of the first
 * row) or, where that is NULL, by its replica status: 0 where it is no replica, the most where it
 * has several primaries. Negative where lag_query compares two clocks that differ. False and a
 * fault when that cannot be known (replication stopped, NULL, no number, no right); the trouble
 * then tells whether the connection is still good.
 */
bool mysql_client_lag(struct mysql_client *client, const char *lag_query, int64_t *lag_s,
                      struct mysql_trouble *trouble, struct fault *fault);

/* Runs one statement without a limit of time and hands on the first column of each row as it comes;
 * NULL and empty ones are left out. `each` returns false when it wants no more; the client is then
 * good for nothing but closing. False and a fault when the statement failed, also half-way. */
bool mysql_client_list(struct mysql_client *client, const char *sql,
                       bool (*each)(void *context, const char *recipient, size_t length),
                       void *context, struct fault *fault);

#endif
