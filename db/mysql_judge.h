/*
 * mysql_judge - what is wrong with a map's query, its plan, its columns and its user, as sentences
 * for an operator. Pure: whoever asked the server hands the rows in (db/mysql_inspect.h).
 */
#ifndef DB_MYSQL_JUDGE_H
#define DB_MYSQL_JUDGE_H

#include <stdbool.h>
#include <stddef.h>

#include "db/mysql_client.h"
#include "db/mysql_plan.h"
#include "db/mysql_statement.h"

/* Where findings go. `parameter` is the one of the map's file to look at, or NULL. */
struct judge {
    void (*say)(void *context, const char *parameter, const char *sentence);
    void *context;
};

/* SELECT *, and a query that says the same whatever the key is. */
void judge_statement(const struct judge *judge, const struct mysql_statement *statement);

/* Tables that are read from one end to the other. What counts is that no index fits, not what the
 * optimizer did: a small table it reads whole in any case. */
void judge_plan(const struct judge *judge, const struct mysql_plan *plan);

/* One row of SHOW GRANTS. `may_ask_lag`: max_replica_lag needs rights of its own. */
void judge_grant(const struct judge *judge, const char *row, size_t length, bool may_ask_lag);

/* What a collation takes for the same. */
struct folding {
    bool accents;  /* e = é */
    bool sharp_s;  /* ss = ß */
    bool width;    /* e = ｅ */
    bool trailing; /* 'a' = 'a ' */
};

/* From the server's "1,0,0,1", in that order; false where it is not that. */
bool folding_read(const char *text, size_t length, struct folding *folding);

/* Case is not told: Postfix folds it too. Trailing spaces are told where the local part is compared
 * alone, as `"alice "@example.com` is another mailbox; what ends with a domain never ends in a
 * space. True when something was said. */
bool judge_collation(const struct judge *judge, const struct statement_compared *compared,
                     const char *collation, const struct folding *folding);

/* A connection or a query that failed: what it means and what to do. `why` is the library's
 * sentence, with the host. */
void judge_trouble(const struct judge *judge, const struct mysql_trouble *trouble, const char *why);

/* No network is between us and it. */
bool judge_is_local(const struct mysql_host *host);

#endif
