/*
 * mysql_table - reads a mysql_table(5) file, unchanged, and expands its query for one key. Pure but
 * for reading the files; knows no MySQL library, so escaping is the caller's function.
 *
 * Parameters: hosts user password dbname query result_format domain expansion_limit option_file
 * option_group charset tls_key_file tls_cert_file tls_CAfile tls_CApath tls_ciphers
 * tls_verify_cert require_result_set idle_interval retry_interval (the last two are ours to choose,
 * so they are read and not used), and the legacy table select_field where_field
 * additional_conditions. `list_query` and `lag_query` are ours, and Postfix ignores them. A
 * parameter we do not know is a warning with file:line (the file may be meant for a newer Postfix).
 *
 * The structs are read-only once read: any thread.
 */
#ifndef DB_MYSQL_TABLE_H
#define DB_MYSQL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
    char *path;
    struct mysql_source source;
    char *query;         /* legacy form: put together as Postfix does */
    char *result_format; /* "%s" */
    char **domains;      /* `domain`, folded, "!name" excludes; NULL: no restriction */
    size_t domain_count;
    unsigned expansion_limit; /* 0: none */
    bool require_result_set;
    char *list_query; /* NULL: none. Run as it is: nothing in it is expanded */

    /* Not of the file: max_replica_lag, set by whoever opens the map, before anybody asks. A reload
     * opens its own tables, so a pool that two configurations share serves each by its own. */
    int64_t max_replica_lag_s; /* 0: whoever answers is believed */

    /* What the query and result_format together ask of a key, and result_format of a value. As in
     * Postfix, a %U in result_format suppresses the query of a key without a local part. */
    bool needs_key_user, needs_key_domain, needs_value_user, needs_value_domain;
    unsigned needs_labels;
};

/* NULL and a fault "path:line: what". Warnings are logged. The caller owns it. */
struct mysql_table *mysql_table_read(const char *path, struct fault *fault);
void mysql_table_free(struct mysql_table *table); /* NULL is fine */

/* False: the table cannot hold this key, and no query is made (mysql_table(5): "the query is
 * suppressed and returns no results"): an empty key; a key without the local part, the domain or
 * as many domain labels as the templates use; `domain` set and the key's domain not in it (keys
 * without '@', and "@domain", too). */
bool mysql_table_applies(const struct mysql_table *table, const char *key);

enum mysql_expansion {
    EXPANSION_OK = 1,
    EXPANSION_SUPPRESSED, /* not mysql_table_applies: ABSENT without a query */
    EXPANSION_TOO_LONG,   /* the result does not fit, or cannot be escaped */
};

/* Writes the escaped form of bytes[length] to `to`, which has room for 2 * length + 1; returns its
 * length, or more than 2 * length when it cannot. */
typedef size_t mysql_escape(void *context, char *to, const char *bytes, size_t length);

/*
 * mysql_table(5), "query": %s the key; %u its local part, or the whole key where it has no '@'; %d
 * its domain; %S %U %D the same (they differ in result_format only); %1..%9 the domain's labels,
 * the last being %1; %% a percent sign.
 */
enum mysql_expansion mysql_table_expand(const struct mysql_table *table, const char *key,
                                        mysql_escape *escape, void *context, char *sql,
                                        size_t size);

/* result_format for one value, appended to *result with a comma as Postfix joins them, cut to fit:
 * %s %u %d the value and its parts, %S %U %D %1..%9 the key's. False, and nothing is appended,
 * where the value is NULL, empty, or lacks a part the format uses. */
bool mysql_table_format(const struct mysql_table *table, const char *key, const char *value,
                        char *result, size_t size);

#endif
