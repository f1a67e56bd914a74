/*
 * mysql_statement - what can be seen of a query's text without asking a server: is the key in it,
 * does it say SELECT *, and which columns it compares with the key. No parser of SQL: it knows
 * words, quotes, parentheses and SELECTs, and where it does not understand something it says
 * nothing of it. Pure, any thread.
 */
#ifndef DB_MYSQL_STATEMENT_H
#define DB_MYSQL_STATEMENT_H

#include <stdbool.h>
#include <stddef.h>

enum { STATEMENT_NAME_MAX = 200, STATEMENT_COMPARED_MAX = 48 };

/* One column that may be compared with the key. A column without a table before its dot is listed
 * for every table of its SELECT: those that do not have it are for the server to leave out. */
struct statement_compared {
    char schema[STATEMENT_NAME_MAX]; /* "": the connection's database */
    char table[STATEMENT_NAME_MAX];  /* its name, not its alias */
    char column[STATEMENT_NAME_MAX];
    char collation[STATEMENT_NAME_MAX]; /* "binary", or as COLLATE says; "": the column's own */
    bool padded; /* by = or IN, with something that ends with the local part: may end in a space */
};

struct mysql_statement {
    bool is_select; /* EXPLAIN can be asked of it; CALL is none */
    bool uses_key;  /* by %s, %u, %d, %1 ... */
    bool takes_all; /* SELECT *, where its columns are the answer */
    size_t compared_count;
    struct statement_compared compared[STATEMENT_COMPARED_MAX];
};

/* `query` is a mysql_table(5) query before expansion. False when memory is short. */
bool mysql_statement_read(const char *query, struct mysql_statement *statement);

#endif
