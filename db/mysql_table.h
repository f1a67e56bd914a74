/*
 * mysql_table - reads a mysql_table(5) file, unchanged, and expands its query for one key. Pure but
 * for reading the files; knows no MySQL library, so escaping is the caller's function.
 *
 * Parameters: hosts user password dbname query result_format domain expansion_limit option_file
 * option_group charset tls_key_file tls_cert_file tls_CAfile tls_CApath tls_ciphers
 * tls_verify_cert require_result_set idle_interval retry_interval (the last two are ours to choose,
 * so they are read and not used), and the legacy table select_field where_field
 * additional_conditions. `list_query` is ours, and Postfix ignores it. A parameter we do not know
 * is a warning with file:line (the file may be meant for a newer Postfix).
 *
 * The struct is read-only once read: any thread.
 */
#ifndef DB_MYSQL_TABLE_H
#define DB_MYSQL_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/endpoint.h"
#include "shared/fault.h"

enum { MYSQL_HOSTS_MAX = 16 };

struct mysql_host {
    char text[ENDPOINT_TEXT_MAX]; /* as written, for messages: "unix:/run/x.sock", "db1:3307" */
    struct endpoint
        endpoint; /* "localhost" is the client library's default socket: kind ENDPOINT_NONE */
};

struct mysql_table {
    char *path;
    struct mysql_host hosts[MYSQL_HOSTS_MAX]; /* in the order written */
    size_t host_count;
    char *user, *password,
        *dbname; /* NULL where not given: then from option_file, else the library's default */
    char *query; /* legacy form: put together as Postfix does */
    char *result_format; /* "%s" */
    char **domains;      /* `domain`, folded; NULL: no restriction */
    size_t domain_count;
    unsigned expansion_limit; /* 0: none */
    char *option_file, *option_group;
    char *charset; /* "utf8mb4" */
    char *tls_key_file, *tls_cert_file, *tls_ca_file, *tls_ca_path, *tls_ciphers;
    bool tls_verify_cert;
    bool require_result_set;
    char *list_query; /* NULL: none */
};

/* NULL and a fault "path:line: what". Warnings are logged. The caller owns it. */
struct mysql_table *mysql_table_read(const char *path, struct fault *fault);
void mysql_table_free(struct mysql_table *table); /* NULL is fine */

enum mysql_expansion {
    EXPANSION_OK = 1,
    EXPANSION_SUPPRESSED, /* the table does not apply to this key: ABSENT without a query */
    EXPANSION_TOO_LONG,   /* the result does not fit */
};

/* Writes the escaped form of bytes[length] to `to`, which has room for 2 * length + 1; returns its
 * length. */
typedef size_t mysql_escape(void *context, char *to, const char *bytes, size_t length);

/*
 * mysql_table(5), "query": %s the key; %u its local part, or the whole key where it has no '@'; %d
 * its domain; %S %U %D the same of the key (they differ in result_format only); %1..%9 the domain's
 * labels, the last being %1;
 * %% a percent sign. Suppressed: an empty key; a key with an empty local part or domain where the
 * query uses it (%u of "@domain", %d of a key without '@'); a domain with fewer labels than asked;
 * `domain` set and the key's domain not in it (keys without '@' too).
 */
enum mysql_expansion mysql_table_expand(const struct mysql_table *table, const char *key,
                                        mysql_escape *escape, void *context, char *sql,
                                        size_t size);

/* result_format for one value, appended to *result with a comma as Postfix joins them: %s the
 * value, %u %d %1..9 its parts, %S %U %D the key's. False where the format is suppressed for this
 * value. */
bool mysql_table_format(const struct mysql_table *table, const char *key, const char *value,
                        char *result, size_t size);

#endif
