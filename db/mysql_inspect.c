#include "db/mysql_inspect.h"

#include <stdlib.h>
#include <string.h>

#include "shared/clock.h"
#include "shared/text.h"

enum {
    SQL_MAX = 65536,
    ANSWER_MAX = 65536, /* of EXPLAIN: a page for each table */
};

struct mysql_inspect {
    const struct mysql_table *table;
    struct mysql_client *client;
    char sql[SQL_MAX];
    char answer[ANSWER_MAX];
    struct text answered; /* in `answer` */
};

struct mysql_inspect *mysql_inspect_open(const struct mysql_table *table,
                                         const struct mysql_host *host,
                                         const struct mysql_timeouts *timeouts,
                                         struct mysql_trouble *trouble, struct fault *fault)
{
    struct mysql_inspect *inspect = malloc(sizeof *inspect);
    *trouble = (struct mysql_trouble){0};
    if (!inspect) {
        fault_set(fault, "out of memory");
        return NULL;
    }
    inspect->table = table;
    inspect->client = mysql_client_connect(&table->source, host, timeouts, trouble, fault);
    if (inspect->client)
        return inspect;
    free(inspect);
    return NULL;
}

void mysql_inspect_close(struct mysql_inspect *inspect)
{
    if (inspect)
        mysql_client_close(inspect->client);
    free(inspect);
}

int mysql_inspect_socket(const struct mysql_inspect *inspect)
{
    return mysql_client_socket(inspect->client);
}

bool mysql_inspect_applies(const struct mysql_inspect *inspect, const char *key)
{
    return query_applies(&inspect->table->query, key);
}

static bool expand(struct mysql_inspect *inspect, const char *key, char *sql, size_t size,
                   struct fault *fault)
{
    if (query_expand(&inspect->table->query, key, mysql_client_escape, inspect->client, sql, size) ==
        EXPANSION_OK)
        return true;
    fault_set(fault, "the query for %s is too long, or cannot be made", key);
    return false;
}

void mysql_inspect_ask(struct mysql_inspect *inspect, const char *key, int64_t *us,
                       struct mysql_trouble *trouble, struct finding *finding)
{
    unsigned long rows;
    *us = 0;
    *trouble = (struct mysql_trouble){0};
    *finding = (struct finding){.answer = UNAVAILABLE};
    if (!mysql_inspect_applies(inspect, key)) {
        finding_set_absent(finding);
        return;
    }
    if (!expand(inspect, key, inspect->sql, sizeof inspect->sql, &finding->why)) {
        trouble->class = MYSQL_ERROR_KEY;
        return;
    }
    int64_t began_us = clock_mono_us();
    mysql_client_query(inspect->client, inspect->table, key, inspect->sql, strlen(inspect->sql),
                       &rows, trouble, finding);
    *us = clock_mono_us() - began_us;
}

/* ---- what only the server knows ---- */

static bool keep_row(void *context, const char *bytes, size_t length)
{
    struct mysql_inspect *inspect = context;
    text_add_bytes(&inspect->answered, bytes, length);
    text_add_char(&inspect->answered, '\n');
    return true;
}

/* The first column of each row, a line each. */
static bool read_rows(struct mysql_inspect *inspect, const char *sql, struct fault *fault)
{
    inspect->answered = text_on(inspect->answer, sizeof inspect->answer);
    if (!mysql_client_list(inspect->client, sql, keep_row, inspect, fault))
        return false;
    if (!inspect->answered.overflow)
        return true;
    fault_set(fault, "its answer is too long to be read");
    return false;
}

/* MySQL 9 has a second form of the document, which does not tell of indexes that were not used. */
static bool ask_for_first_form(struct mysql_inspect *inspect, struct fault *fault)
{
    if (!read_rows(inspect, "SELECT VERSION()", fault))
        return false;
    struct fault no_rows = {""}; /* of a SET; and older servers have the one form only */
    if (!strstr(inspect->answer, "MariaDB"))
        (void)read_rows(inspect, "SET SESSION explain_json_format_version = 1", &no_rows);
    return true;
}

bool mysql_inspect_plan(struct mysql_inspect *inspect, const struct judge *judge, const char *key,
                        struct fault *fault)
{
    static const char explain[] = "EXPLAIN FORMAT=JSON ";
    struct mysql_plan plan;
    char *query = inspect->sql + strlen(explain);
    memcpy(inspect->sql, explain, strlen(explain));
    if (!ask_for_first_form(inspect, fault) ||
        !expand(inspect, key, query, sizeof inspect->sql - strlen(explain), fault) ||
        !read_rows(inspect, inspect->sql, fault))
        return false;
    if (!mysql_plan_read(inspect->answer, inspect->answered.length, &plan)) {
        fault_set(fault, "its EXPLAIN FORMAT=JSON is not to be understood");
        return false;
    }
    judge_plan(judge, &plan);
    return true;
}

bool mysql_inspect_grants(struct mysql_inspect *inspect, const struct judge *judge,
                          struct fault *fault)
{
    if (!read_rows(inspect, "SHOW GRANTS", fault))
        return false;
    for (char *row = inspect->answer, *end; (end = strchr(row, '\n')); row = end + 1)
        judge_grant(judge, row, (size_t)(end - row), inspect->table->max_replica_lag_s > 0);
    return true;
}

static void add_quoted(struct mysql_inspect *inspect, struct text *sql, const char *name)
{
    char escaped[2 * STATEMENT_NAME_MAX + 1];
    size_t length = mysql_client_escape(inspect->client, escaped, name, strlen(name));
    text_add_char(sql, '\'');
    text_add_bytes(sql, escaped, length <= 2 * strlen(name) ? length : 0);
    text_add_char(sql, '\'');
}

/* The column's own: "utf8mb4_bin", or "" where there is no such column, or it holds bytes. */
static bool read_collation(struct mysql_inspect *inspect, const struct statement_compared *compared,
                           char collation[STATEMENT_NAME_MAX], struct fault *fault)
{
    char statement[4 * STATEMENT_NAME_MAX * 2];
    struct text sql = text_on(statement, sizeof statement);
    struct text to = text_on(collation, STATEMENT_NAME_MAX);
    text_add(&sql, "SELECT COLLATION_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ");
    if (compared->schema[0])
        add_quoted(inspect, &sql, compared->schema);
    else
        text_add(&sql, "DATABASE()");
    text_add(&sql, " AND TABLE_NAME = ");
    add_quoted(inspect, &sql, compared->table);
    text_add(&sql, " AND COLUMN_NAME = ");
    add_quoted(inspect, &sql, compared->column);
    text_add(&sql, " AND COLLATION_NAME IS NOT NULL");
    if (!read_rows(inspect, statement, fault))
        return false;
    text_add_bytes(&to, inspect->answer, strcspn(inspect->answer, "\n"));
    return true;
}

/* Names of collations begin with that of their character set. */
static bool read_folding(struct mysql_inspect *inspect, const char *collation,
                         struct folding *folding, struct fault *fault)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    /* In UTF-8, so that the connection's character set does not matter. */
    static const char *const pairs[][2] = {
        {"0xC3A9", "'e'"}, {"0xC39F", "'ss'"}, {"0xEFBD85", "'e'"}, {"'a '", "'a'"}};
    char statement[4096];
    struct text sql = text_on(statement, sizeof statement);
    int set = (int)strcspn(collation, "_");
    if (collation[strspn(collation, letters)] != '\0') {
        fault_set(fault, "a collation of a strange name");
        return false;
    }
    text_add(&sql, "SELECT CONCAT_WS(','");
    for (size_t i = 0; i < 4; i++)
        text_addf(&sql,
                  ", CONVERT(_utf8mb4 %s USING %.*s) COLLATE %s = CONVERT(_utf8mb4 %s USING %.*s)",
                  pairs[i][0], set, collation, collation, pairs[i][1], set, collation);
    text_add(&sql, ")");
    if (!read_rows(inspect, statement, fault))
        return false;
    if (folding_read(inspect->answer, strcspn(inspect->answer, "\n"), folding))
        return true;
    fault_set(fault, "what %s takes for the same is not to be learnt", collation);
    return false;
}

/* A comparison with a collation of its own settles the matter, whatever stands beside it. */
static bool is_settled(const struct mysql_statement *statement, size_t which)
{
    const struct statement_compared *compared = &statement->compared[which];
    for (size_t i = 0; i < statement->compared_count; i++) {
        const struct statement_compared *other = &statement->compared[i];
        bool same = strcmp(other->schema, compared->schema) == 0 &&
                    strcmp(other->table, compared->table) == 0 &&
                    strcmp(other->column, compared->column) == 0;
        if (same && i != which && other->collation[0] != '\0' && compared->collation[0] == '\0')
            return true;
        if (same && i < which && strcmp(other->collation, compared->collation) == 0 &&
            other->padded >= compared->padded)
            return true; /* looked at already */
    }
    return false;
}

bool mysql_inspect_collations(struct mysql_inspect *inspect, const struct judge *judge,
                              const struct mysql_statement *statement, unsigned *findings,
                              struct fault *fault)
{
    *findings = 0;
    for (size_t i = 0; i < statement->compared_count; i++) {
        const struct statement_compared *compared = &statement->compared[i];
        char collation[STATEMENT_NAME_MAX];
        struct folding folding;
        if (is_settled(statement, i))
            continue;
        strcpy(collation, compared->collation);
        if (collation[0] == '\0' && !read_collation(inspect, compared, collation, fault))
            return false;
        if (collation[0] == '\0' || strcmp(collation, "binary") == 0)
            continue;
        if (!read_folding(inspect, collation, &folding, fault))
            return false;
        *findings += judge_collation(judge, compared, collation, &folding);
    }
    return true;
}

bool mysql_inspect_is_encrypted(struct mysql_inspect *inspect, bool *encrypted, struct fault *fault)
{
    /* Where MariaDB has it, and where MySQL has it. */
    static const char *const statements[] = {
        "SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = "
        "'Ssl_cipher'",
        "SELECT VARIABLE_VALUE FROM performance_schema.session_status WHERE VARIABLE_NAME = "
        "'Ssl_cipher'"};
    bool known =
        read_rows(inspect, statements[0], fault) || read_rows(inspect, statements[1], fault);
    *encrypted = known && inspect->answered.length > 0;
    return known;
}
