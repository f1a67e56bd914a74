/*
 * mysql_inside - what the files of mysql_client share, and nobody else includes: mysql_client.c,
 * mysql_lag.c.
 */
#ifndef DB_MYSQL_INSIDE_H
#define DB_MYSQL_INSIDE_H

#include "db/mysql_client.h"
#include "db/mysql_compat.h"

struct mysql_client {
    MYSQL mysql;
    unsigned status_form; /* which statement its server understands: see mysql_lag.c */
};

/* What is done with the rows of a statement. */
struct mysql_rows {
    bool (*take)(void *context, MYSQL_RES *result, MYSQL_ROW row); /* false: no more of them */
    void *context;
    bool has_result_set, stopped;
    struct mysql_trouble *trouble; /* set, with the fault, by whatever step failed */
    struct fault *fault;
};

/* Runs one statement, all its result sets to their end; false when that was not reached. */
bool mysql_client_run(struct mysql_client *client, const char *sql, size_t length,
                      struct mysql_rows *rows);

#endif
