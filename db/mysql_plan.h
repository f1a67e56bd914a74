/*
 * mysql_plan - what EXPLAIN FORMAT=JSON says of a statement, as a list of the tables it reads.
 * MariaDB and MySQL spell a few members differently; both are read. Pure, any thread.
 */
#ifndef DB_MYSQL_PLAN_H
#define DB_MYSQL_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PLAN_NAME_MAX = 260, PLAN_ROWS_MAX = 32 };

struct plan_row {
    char table[PLAN_NAME_MAX]; /* its name in the statement: the alias, where it has one */
    char access[24];           /* access_type: const, ref, range, index, ALL, ... */
    bool possible_keys;        /* some index fits the condition, whether it is used or not */
    uint64_t rows;             /* how many the optimizer expects to read */
};

struct mysql_plan {
    size_t count;
    struct plan_row rows[PLAN_ROWS_MAX];
};

/* The tables of all its parts (joins, unions, subqueries), but not those the server makes on the
 * way (derived tables, the result of a union). False when it is no such document. */
bool mysql_plan_read(const char *json, size_t length, struct mysql_plan *plan);

#endif
