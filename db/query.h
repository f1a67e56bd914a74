/*
 * query - what mysql_table(5) and sqlite_table(5) have in common: the query of a map file, the keys
 * it is for, its expansion for one key, and what becomes of the values it gives. Pure but for
 * reading the files; knows no SQL library, so escaping is the caller's function.
 *
 * Parameters: query result_format domain expansion_limit, and where there is no query the legacy
 * table select_field where_field additional_conditions. The others are the backend's own.
 *
 * A struct query is read-only once read: any thread.
 */
#ifndef DB_QUERY_H
#define DB_QUERY_H

#include <stdbool.h>
#include <stddef.h>

#include "config/conf.h"
#include "db/directory.h"
#include "shared/fault.h"

/* How a server reads SQL: where a string ends in it, and what is a comment. */
enum query_sql { SQL_OF_MYSQL = 1, SQL_OF_SQLITE };

/* A kind of map files. */
struct query_dialect {
    const char *page; /* "mysql_table(5)": for messages */
    enum query_sql sql;
    /* Its own parameters, beside those above, one by one; NULL after the last. */
    const char *(*parameter)(size_t i);
    /* An expansion outside quotes ('%s' is inside) is an error rather than a warning. */
    bool quoted_only;
};

struct query {
    char *path;          /* of the map file */
    char *statement;     /* legacy form: put together as Postfix does */
    char *result_format; /* "%s" */
    char **domains; /* `domain`, as idn_to_key has it; "!name" excludes; NULL: no restriction */
    size_t domain_count;
    unsigned expansion_limit; /* 0: none */

    /* What the statement and result_format together ask of a key, and result_format of a value. As
     * in Postfix, a %U in result_format suppresses the query of a key without a local part. */
    bool needs_key_user, needs_key_domain, needs_value_user, needs_value_domain;
    unsigned needs_labels;
};

/* False and a fault "path:line: what". A parameter nobody knows is a warning with file:line, as the
 * file may be meant for a newer Postfix. query_release ends it, also after a failure. */
bool query_read(struct query *query, const struct conf *conf, const struct query_dialect *dialect,
                struct fault *fault);
void query_release(struct query *query); /* one that is all zero is fine */

/* `domain` alone; for query_read. A list that turns out empty (an empty file) is still a
 * restriction: nothing is in it. */
bool query_read_domains(struct query *query, const struct conf *conf, struct fault *fault);

/* For a backend's own parameters. */
bool query_fault_at(const struct conf *conf, const struct conf_entry *entry, struct fault *fault,
                    const char *what);                                     /* false */
bool query_copy_string(char **to, const char *value, struct fault *fault); /* "out of memory" */

/* False: the map cannot hold this key, and no query is made (mysql_table(5): "the query is
 * suppressed and returns no results"): an empty key; a key without the local part, the domain or
 * as many domain labels as the templates use; `domain` set and the key's domain not in it (keys
 * without '@', and "@domain", too). */
bool query_applies(const struct query *query, const char *key);

enum query_expansion {
    EXPANSION_OK = 1,
    EXPANSION_SUPPRESSED, /* not query_applies: ABSENT without a query */
    EXPANSION_TOO_LONG,   /* the result does not fit, or cannot be escaped */
};

/* Writes the escaped form of bytes[length] to `to`, which has room for 2 * length + 1; returns its
 * length, or more than 2 * length when it cannot. The statement as it is so far ends at `to`. */
typedef size_t query_escape(void *context, char *to, const char *bytes, size_t length);

/*
 * mysql_table(5), "query": %s the key; %u its local part, or the whole key where it has no '@'; %d
 * its domain; %S %U %D the same (they differ in result_format only); %1..%9 the domain's labels,
 * the last being %1; %% a percent sign.
 */
enum query_expansion query_expand(const struct query *query, const char *key, query_escape *escape,
                                  void *context, char *sql, size_t size);

/* result_format for one value, appended to *result with a comma as Postfix joins them, cut to fit:
 * %s %u %d the value and its parts, %S %U %D %1..%9 the key's. False, and nothing is appended,
 * where the value is NULL, empty, or lacks a part the format uses. */
bool query_format(const struct query *query, const char *key, const char *value, char *result,
                  size_t size);

/* What one lookup has given so far. Start with the query and the key. */
struct query_values {
    const struct query *query;
    const char *key;
    unsigned long count;
    char joined[FINDING_VALUE_MAX]; /* as Postfix joins them; "" for none */
};
void query_values_add(struct query_values *values, const char *value); /* NULL is fine */
/* Of a result that is complete. FOUND or ABSENT; or false and `why`: beyond expansion_limit. */
bool query_values_judge(const struct query_values *values, struct finding *finding);

/* What sql[0..length) ends in the middle of: 0 for nothing; ' or " or ` or ] for the quotes that
 * are still open ( ] is that of SQLite's [name]); * or - for a comment. */
char query_quote_at(enum query_sql dialect, const char *sql, size_t length);

#endif
