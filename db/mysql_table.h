/*
 * mysql_table - reads a mysql_table(5) file, unchanged.
 *
 * Parameters: those of db/query.h, and hosts user password dbname option_file option_group charset
 * tls_key_file tls_cert_file tls_CAfile tls_CApath tls_ciphers tls_verify_cert require_result_set
 * idle_interval retry_interval (the last two are ours to choose, so they are read and not used).
 * `list_query` and `lag_query` are ours, and Postfix ignores them.
 *
 * The structs are read-only once read: any thread.
 */
#ifndef DB_MYSQL_TABLE_H
#define DB_MYSQL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/query.h"
#include "shared/endpoint.h"
#include "shared/fault.h"

enum { MYSQL_HOSTS_MAX = 16 };

struct mysql_host {
    char text[ENDPOINT_TEXT_MAX]; /* as written, for messages: "unix:/run/x.sock", "db1:3307" */
    /* ENDPOINT_NONE is "localhost": the client library's default socket. Port 0: the library's. */
    struct endpoint endpoint;
};

/* Where the tables are and how to get in. Tables whose sources are equal share a pool. */
struct mysql_source {
    struct mysql_host hosts[MYSQL_HOSTS_MAX]; /* in the order written */
    size_t host_count;
    char *user, *password; /* NULL where not given: then from option_file, */
    char *dbname;          /* else the library's default */
    char *option_file;     /* NULL: the library's own */
    char *option_group;    /* "client"; NULL where the file says `option_group =`: none is read */
    char *charset;         /* "utf8mb4" */
    char *tls_key_file, *tls_cert_file, *tls_ca_file, *tls_ca_path, *tls_ciphers; /* or NULL */
    bool tls_verify_cert;
    char *lag_query; /* or NULL: how far a server of these is behind; see mysql_client_lag */
};

/* False when memory is short; *to is then empty. mysql_source_release ends a copy. */
bool mysql_source_copy(struct mysql_source *to, const struct mysql_source *from);
void mysql_source_release(struct mysql_source *source);
bool mysql_source_equal(const struct mysql_source *a, const struct mysql_source *b);

/* The order in which to try the hosts: those over unix sockets first, each kind in random order, as
 * mysql_table(5) says. The number of them. *seed is rand_r's. */
size_t mysql_source_order(const struct mysql_source *source, unsigned *seed,
                          unsigned order[MYSQL_HOSTS_MAX]);

/* The strings of a source, for mysql_table.c: where each is, and what it is called in the file. */
struct mysql_source_string {
    const char *name;
    const char *default_value; /* NULL: none */
    size_t offset;
};
const struct mysql_source_string *mysql_source_strings(size_t *count);
char **mysql_source_string(const struct mysql_source *source, size_t i);

struct mysql_table {
    struct query query;
    struct mysql_source source;
    bool require_result_set;
    char *list_query; /* NULL: none. Run as it is: nothing in it is expanded */

    /* Not of the file: max_replica_lag, set by whoever opens the map, before anybody asks. A reload
     * opens its own tables, so a pool that two configurations share serves each by its own. */
    int64_t max_replica_lag_s; /* 0: whoever answers is believed */
};

/* NULL and a fault "path:line: what". Warnings are logged. The caller owns it. */
struct mysql_table *mysql_table_read(const char *path, struct fault *fault);
void mysql_table_free(struct mysql_table *table); /* NULL is fine */

#endif
