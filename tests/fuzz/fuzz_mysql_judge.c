/* The first line is a row of SHOW GRANTS, the second what EXPLAIN FORMAT=JSON said, the rest a
 * query: what rcptctl check reads of a server it need not trust, and of a file. */
#include "tests/fuzz/fuzz.h"

#include "db/mysql_judge.h"

static void hear(void *context, const char *parameter, const char *sentence)
{
    unsigned *said = context;
    assert(parameter[0] != '\0' && sentence[0] != '\0');
    (*said)++;
}

static void check_plan(const struct judge *judge, const char *json)
{
    struct mysql_plan plan;
    bool read = mysql_plan_read(json, strlen(json), &plan);
    assert(plan.count <= PLAN_ROWS_MAX);
    for (size_t i = 0; i < plan.count; i++)
        assert(plan.rows[i].table[0] != '\0' && plan.rows[i].table[0] != '<');
    if (read)
        judge_plan(judge, &plan);
}

static void check_statement(const struct judge *judge, struct input input)
{
    static struct mysql_statement statement;
    char *query = strndup(input.bytes, input.length);
    assert(query && mysql_statement_read(query, &statement));
    assert(statement.compared_count <= STATEMENT_COMPARED_MAX);
    for (size_t i = 0; i < statement.compared_count; i++) {
        const struct statement_compared *compared = &statement.compared[i];
        assert(statement.uses_key);
        assert(strlen(compared->table) < STATEMENT_NAME_MAX);
        assert(strlen(compared->column) < STATEMENT_NAME_MAX);
    }
    judge_statement(judge, &statement);
    free(query);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {(const char *)data, size};
    char *row = input_line(&input), *json = input_line(&input);
    unsigned said = 0;
    const struct judge judge = {.say = hear, .context = &said};
    judge_grant(&judge, row, strlen(row), false);
    assert(said <= 1);
    check_plan(&judge, json);
    check_statement(&judge, input);
    free(row);
    free(json);
    return 0;
}
