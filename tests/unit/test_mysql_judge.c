/* What rcptctl check says of queries, plans, grants and collations; pure. The plans of MariaDB are
 * recorded from 10.11; those of MySQL follow its manual, "EXPLAIN Output Format". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "db/mysql_judge.h"

/* ---- what was said ---- */

struct heard {
    unsigned count;
    char parameter[64], all[4096];
};

static void hear(void *context, const char *parameter, const char *sentence)
{
    struct heard *heard = context;
    size_t used = strlen(heard->all);
    heard->count++;
    snprintf(heard->parameter, sizeof heard->parameter, "%s", parameter);
    snprintf(heard->all + used, sizeof heard->all - used, "%s\n", sentence);
}

static struct judge judge_to(struct heard *heard)
{
    *heard = (struct heard){0};
    return (struct judge){.say = hear, .context = heard};
}

static void assert_said(const struct heard *heard, const char *part)
{
    if (!strstr(heard->all, part))
        fail_msg("\"%s\" is not in: %s", part, heard->all);
}

/* ---- plans ---- */

#define TABLE(rest)                                                                                \
    "{\"query_block\": {\"select_id\": 1, \"nested_loop\": [{\"table\": {" rest "}}]}}"

static const char mariadb_scan[] =
    TABLE("\"table_name\": \"noidx\", \"access_type\": \"ALL\", \"rows\": 2, \"filtered\": 100,"
          "\"attached_condition\": \"noidx.address = 'alice@example.test \\\" }'\"");
static const char mariadb_point[] = TABLE(
    "\"table_name\": \"recipients\", \"access_type\": \"const\", \"possible_keys\": [\"PRIMARY\"],"
    "\"key\": \"PRIMARY\", \"key_length\": \"1282\", \"used_key_parts\": [\"address\"],"
    "\"ref\": [\"const\"], \"rows\": 1, \"filtered\": 100");
static const char mariadb_index_scan[] =
    TABLE("\"table_name\": \"recipients\", \"access_type\": \"index\", \"key\": \"PRIMARY\","
          "\"rows\": 8, \"attached_condition\": \"lcase(recipients.address) = 'b'\","
          "\"using_index\": true");
static const char small_table[] =
    TABLE("\"table_name\": \"domain\", \"access_type\": \"ALL\", \"possible_keys\": [\"PRIMARY\"],"
          "\"rows\": 3");
static const char large_table[] =
    TABLE("\"table_name\": \"domain\", \"access_type\": \"ALL\", \"possible_keys\": [\"PRIMARY\"],"
          "\"rows\": 500000");
static const char nobody[] = "{\"query_block\": {\"select_id\": 1, \"table\": {\"message\":"
                             " \"Impossible WHERE noticed after reading const tables\"}}}";
static const char mariadb_derived[] =
    "{\"query_block\": {\"select_id\": 1, \"nested_loop\": [{\"table\": {"
    " \"table_name\": \"<derived2>\", \"access_type\": \"ALL\", \"rows\": 3, \"materialized\": {"
    " \"query_block\": {\"union_result\": {\"table_name\": \"<union2,3>\","
    " \"access_type\": \"ALL\", \"query_specifications\": [{\"query_block\": {\"select_id\": 2,"
    " \"nested_loop\": [{\"table\": {\"table_name\": \"noidx\", \"access_type\": \"ALL\","
    " \"rows\": 2}}]}}, {\"query_block\": {\"select_id\": 3, \"operation\": \"UNION\","
    " \"table\": {\"message\": \"no matching row in const table\"}}}]}}}}}]}}";
static const char mysql_derived[] =
    "{\"query_block\": {\"select_id\": 1, \"cost_info\": {\"query_cost\": \"0.35\"}, \"table\": {"
    " \"table_name\": \"x\", \"access_type\": \"ALL\", \"rows_examined_per_scan\": 3,"
    " \"materialized_from_subquery\": {\"using_temporary_table\": true, \"query_block\": {"
    " \"select_id\": 2, \"table\": {\"table_name\": \"recipients\", \"access_type\": \"ref\","
    " \"possible_keys\": [\"PRIMARY\"], \"key\": \"PRIMARY\"}}}}}}";
static const char mysql_scan[] =
    "{\n  \"query_block\": {\n    \"select_id\": 1,\n    \"table\": {\n      \"table_name\": "
    "\"r\",\n"
    "      \"access_type\": \"ALL\",\n      \"rows_examined_per_scan\": 41,\n"
    "      \"rows_produced_per_join\": 1\n    }\n  }\n}\n";

static void judge_document(const char *json, struct heard *heard)
{
    struct mysql_plan plan;
    struct judge judge = judge_to(heard);
    assert_true(mysql_plan_read(json, strlen(json), &plan));
    judge_plan(&judge, &plan);
}

static void assert_one_scan(const char *json, const char *what)
{
    struct heard heard;
    judge_document(json, &heard);
    assert_int_equal(heard.count, 1);
    assert_said(&heard, "no usable index");
    assert_said(&heard, what);
    assert_string_equal(heard.parameter, "query");
}

static void assert_no_scan(const char *json)
{
    struct heard heard;
    judge_document(json, &heard);
    assert_string_equal(heard.all, "");
}

static void a_table_without_an_index_is_told(void **state)
{
    (void)state;
    assert_one_scan(mariadb_scan, "all of noidx (about 2 rows now)");
    assert_one_scan(mysql_scan, "all of r (about 41 rows now)");
}

static void an_index_read_from_end_to_end_is_no_use(void **state)
{
    (void)state;
    assert_one_scan(mariadb_index_scan, "all of recipients");
}

static void a_point_lookup_is_well(void **state)
{
    (void)state;
    assert_no_scan(mariadb_point);
    assert_no_scan(nobody);
}

static void a_small_table_read_whole_is_well_where_an_index_fits(void **state)
{
    (void)state;
    assert_no_scan(small_table);
    assert_one_scan(large_table, "500000 rows");
}

static void derived_tables_are_judged_by_what_they_are_made_of(void **state)
{
    (void)state;
    assert_one_scan(mariadb_derived, "all of noidx");
    assert_no_scan(mysql_derived);
}

static void what_is_no_plan_is_not_understood(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",          "[",
                                        "{",         "{\"a\"",
                                        "{\"a\": }", "{\"a\": 1",
                                        "EXPLAIN",   "{\"a\": [1, {\"b\": \"c}]}",
                                        "{} {}",     "-> Table scan on r"};
    struct mysql_plan plan;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(mysql_plan_read(wrong[i], strlen(wrong[i]), &plan));
    char deep[5000];
    memset(deep, '[', sizeof deep);
    memcpy(deep, "{\"a\":", 5);
    assert_false(mysql_plan_read(deep, sizeof deep, &plan));
}

/* ---- the text of a query ---- */

static struct mysql_statement statement;

static void read_statement(const char *query)
{
    assert_true(mysql_statement_read(query, &statement));
}

/* "table.column[:collation][!]", separated by blanks; '!': padded. */
static void assert_compares(const char *query, const char *expected)
{
    char all[2048] = "";
    read_statement(query);
    for (size_t i = 0; i < statement.compared_count; i++) {
        const struct statement_compared *compared = &statement.compared[i];
        size_t used = strlen(all);
        snprintf(all + used, sizeof all - used, "%s%s%s%s.%s%s%s%s", i ? " " : "", compared->schema,
                 compared->schema[0] ? "." : "", compared->table, compared->column,
                 compared->collation[0] ? ":" : "", compared->collation,
                 compared->padded ? "!" : "");
    }
    if (strcmp(all, expected) != 0)
        fail_msg("%s\n  compares %s\n  not      %s", query, all, expected);
}

static void columns_beside_the_key_are_found(void **state)
{
    (void)state;
    assert_compares("SELECT a FROM t WHERE b = '%s'", "t.b");
    assert_compares("select a from t where '%s' = `b`;", "t.b");
    assert_compares("SELECT a FROM mail.t AS x WHERE x.b LIKE '%s' AND active = '1'", "mail.t.b");
    assert_compares("SELECT a FROM t WHERE b IN ('x', '%s') OR c NOT IN ('%d')", "t.b t.c");
    assert_compares("SELECT 1 FROM t WHERE LOWER(b)=LOWER('%s')", "t.b");
    assert_compares("SELECT 1 FROM t # '%s' = c\n WHERE b='it''s %s' /* d='%s' */ -- e = '%s'",
                    "t.b");
    assert_compares("SELECT 1 FROM t WHERE b = \"%s\" AND c = '100%%s'", "t.b");
    assert_compares("CALL find('%s')", "");
    assert_compares("SELECT find('%s')", "");
}

static void a_key_within_a_function_is_compared_as_a_whole(void **state)
{
    (void)state;
    assert_compares("SELECT r.address FROM alias_domains a JOIN recipients r ON r.address = "
                    "CONCAT(LEFT('%s', CHAR_LENGTH('%s') - CHAR_LENGTH('%d')), a.target) "
                    "WHERE a.alias = '%d' AND a.active",
                    "recipients.address recipients.address recipients.address alias_domains.alias");
    assert_compares(
        "SELECT f.g FROM f,d WHERE f.a=CONCAT('%u', '@', d.t) AND '%u' NOT LIKE '%%+%%'", "f.a");
}

static void a_column_belongs_to_the_tables_of_its_select(void **state)
{
    (void)state;
    assert_compares("(SELECT a FROM t WHERE a='%s' LIMIT 1) UNION (SELECT b FROM u, v w WHERE "
                    "u.b='%s' AND w.c = u.c)",
                    "t.a u.b");
    assert_compares("SELECT a FROM t, u WHERE b = '%s'", "t.b u.b");
    assert_compares("SELECT CASE WHEN '%d' IN (SELECT d.domain FROM d WHERE x='%d') THEN '%s' ELSE "
                    "(SELECT goto FROM alias WHERE address='%s') END",
                    "d.domain d.x alias.address");
    assert_compares("SELECT z.a FROM (SELECT a FROM t WHERE k='%s') z WHERE z.a <> ''", "t.k");
}

static void a_collation_of_its_own_is_told(void **state)
{
    (void)state;
    assert_compares("SELECT 1 FROM t WHERE b COLLATE utf8mb4_bin = '%s'", "t.b:utf8mb4_bin");
    assert_compares("SELECT 1 FROM t WHERE b = '%s' COLLATE utf8mb4_bin", "t.b:utf8mb4_bin");
    assert_compares("SELECT 1 FROM t WHERE b = '%s' AND BINARY b = '%s'", "t.b t.b:binary");
    assert_compares("SELECT 1 FROM t WHERE CAST(b AS BINARY) = '%s'", "t.b:binary");
    assert_compares(
        "SELECT 1 FROM t WHERE CONVERT(LOWER(b) USING utf8mb4) COLLATE utf8mb4_bin = '%s'",
        "t.b:utf8mb4_bin");
}

static void a_local_part_alone_may_end_in_a_space(void **state)
{
    (void)state;
    assert_compares("SELECT 1 FROM t WHERE local = '%u' AND domain = '%d'", "t.local! t.domain");
    assert_compares("SELECT 1 FROM t WHERE local LIKE '%u'", "t.local");
    assert_compares("SELECT 1 FROM t WHERE address = '%u@%d'", "t.address");
}

static void broken_text_is_read_to_its_end_and_no_further(void **state)
{
    (void)state;
    static const char *const broken[] = {"",
                                         "'",
                                         "SELECT '",
                                         "((((",
                                         "))))",
                                         "SELECT 1 FROM",
                                         "= '%s'",
                                         "'%s' =",
                                         "IN('%s'",
                                         "a.'%s'",
                                         "'%s' COLLATE",
                                         "'%s' IN",
                                         "'%s' NOT",
                                         "FROM t WHERE ( = '%s'",
                                         "\\",
                                         "`",
                                         "SELECT a FROM t WHERE a = ('%s'",
                                         "NOT '%s'",
                                         "BINARY '%s' = BINARY",
                                         "'%",
                                         "'%s' IN (SELECT"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        read_statement(broken[i]);
    char many[4000] = "";
    for (int i = 0; i < 200; i++)
        strcat(many, "(SELECT a='%s'");
    read_statement(many);
    assert_true(statement.compared_count <= STATEMENT_COMPARED_MAX);
}

static void heard_of(const char *query, struct heard *heard)
{
    struct judge judge = judge_to(heard);
    read_statement(query);
    judge_statement(&judge, &statement);
}

static void a_star_that_is_the_answer_is_told(void **state)
{
    (void)state;
    static const char *const stars[] = {
        "SELECT * FROM t WHERE a='%s'", "select t.* from t where a='%s'",
        "(SELECT 1 FROM u WHERE b='%s') UNION (SELECT DISTINCT * FROM t)",
        "SELECT x.* FROM (SELECT a FROM t WHERE a='%s') x"};
    static const char *const none[] = {"SELECT COUNT(*) FROM t WHERE a='%s'",
                                       "SELECT 2 * a FROM t WHERE a='%s'",
                                       "SELECT 1 FROM t WHERE a='%s' AND EXISTS (SELECT * FROM u)",
                                       "SELECT '*' FROM t WHERE a='%s'"};
    struct heard heard;
    for (size_t i = 0; i < sizeof stars / sizeof *stars; i++) {
        heard_of(stars[i], &heard);
        assert_int_equal(heard.count, 1);
        assert_said(&heard, "SELECT *");
    }
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        heard_of(none[i], &heard);
        assert_string_equal(heard.all, "");
    }
}

static void a_query_without_the_key_is_told(void **state)
{
    (void)state;
    struct heard heard;
    heard_of("SELECT a FROM t WHERE a LIKE '%%s'", &heard);
    assert_int_equal(heard.count, 1);
    assert_said(&heard, "no %s, %u or %d");
    heard_of("SELECT a FROM t WHERE a = '%2'", &heard);
    assert_int_equal(heard.count, 0);
}

static void only_a_query_is_explained(void **state)
{
    (void)state;
    read_statement("((SELECT 1 FROM t WHERE a='%s') UNION (SELECT 2))");
    assert_true(statement.is_select);
    read_statement(" with x as (select 1) select * from x");
    assert_true(statement.is_select);
    read_statement("CALL find('%s')");
    assert_false(statement.is_select);
}

/* ---- grants ---- */

static void grant(const char *row, bool may_ask_lag, struct heard *heard)
{
    struct judge judge = judge_to(heard);
    judge_grant(&judge, row, strlen(row), may_ask_lag);
}

static void rights_to_read_are_well(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "GRANT USAGE ON *.* TO `c`@`localhost` IDENTIFIED BY PASSWORD '*56ED3E'",
        "GRANT SELECT, EXECUTE ON `mail`.* TO `c`@`localhost`",
        "GRANT SELECT (`address`, `INSERT, ON x`), SHOW VIEW ON `mail`.`t` TO `c`@`%`",
        "GRANT EXECUTE ON PROCEDURE `mail`.`find` TO `c`@`%`",
        "GRANT `reader` TO `c`@`%`",
        "SET DEFAULT ROLE `reader` FOR `c`@`%`",
        "",
    };
    struct heard heard;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        grant(rows[i], false, &heard);
        assert_string_equal(heard.all, "");
    }
}

static void more_than_reading_is_told_with_the_revoke(void **state)
{
    (void)state;
    struct heard heard;
    grant("GRANT SELECT (`a`), INSERT, DELETE ON `mail`.`t` TO `c`@`localhost`", false, &heard);
    assert_int_equal(heard.count, 1);
    assert_said(&heard, "REVOKE INSERT, DELETE ON `mail`.`t` FROM `c`@`localhost`;");
    grant("GRANT ALL PRIVILEGES ON *.* TO `c`@`%` WITH GRANT OPTION", false, &heard);
    assert_said(&heard, "everything on *.*, and");
    assert_said(&heard, "REVOKE ALL PRIVILEGES, GRANT OPTION FROM `c`@`%`; and GRANT SELECT");
    grant("GRANT SELECT ON `mail`.* TO `c`@`%` WITH GRANT OPTION", false, &heard);
    assert_said(&heard, "REVOKE GRANT OPTION ON `mail`.* FROM `c`@`%`;");
    assert_string_equal(heard.parameter, "user");
}

static void a_hash_of_the_password_goes_nowhere(void **state)
{
    (void)state;
    struct heard heard;
    grant("GRANT FILE ON *.* TO `c`@`localhost` IDENTIFIED BY PASSWORD '*56ED3E'", false, &heard);
    assert_int_equal(heard.count, 1);
    assert_null(strstr(heard.all, "56ED3E"));
}

static void who_asks_for_the_lag_may(void **state)
{
    (void)state;
    struct heard heard;
    grant("GRANT REPLICATION CLIENT, SLAVE MONITOR ON *.* TO `c`@`%`", true, &heard);
    assert_int_equal(heard.count, 0);
    grant("GRANT REPLICATION CLIENT, SLAVE MONITOR ON *.* TO `c`@`%`", false, &heard);
    assert_int_equal(heard.count, 1);
}

/* ---- collations ---- */

static bool collation(const char *name, const char *answer, bool padded, struct heard *heard)
{
    struct judge judge = judge_to(heard);
    struct folding folding;
    struct statement_compared compared = {.table = "t", .column = "a", .padded = padded};
    assert_true(folding_read(answer, strlen(answer), &folding));
    return judge_collation(&judge, &compared, name, &folding);
}

static void a_collation_that_folds_accents_is_told(void **state)
{
    (void)state;
    struct heard heard;
    assert_true(collation("utf8mb4_general_ci", "1,0,0,1", false, &heard));
    assert_said(&heard, "AND LOWER(a) COLLATE utf8mb4_bin = '%s'");
    assert_true(collation("utf8mb3_unicode_ci", "1,1,1,1", false, &heard));
    assert_int_equal(heard.count, 1);
    assert_said(&heard, "AND CONVERT(LOWER(a) USING utf8mb4) COLLATE utf8mb4_bin = '%s'");
    assert_true(collation("utf8mb4_0900_as_ci", "0,1,1,0", false, &heard));
    assert_said(&heard, "for ss");
}

static void trailing_spaces_are_told_where_there_can_be_some(void **state)
{
    (void)state;
    struct heard heard;
    assert_false(collation("utf8mb4_bin", "0,0,0,1", false, &heard));
    assert_false(collation("utf8mb4_0900_bin", "0,0,0,0", true, &heard));
    assert_int_equal(heard.count, 0);
    assert_true(collation("utf8mb4_bin", "0,0,0,1", true, &heard));
    assert_said(&heard, "trailing spaces");
}

static void a_strange_answer_is_not_taken_for_one(void **state)
{
    (void)state;
    static const char *const strange[] = {"",        "1",         "0,0,0",  "0,0,0,2",
                                          "0 0 0 0", "0,0,0,0,0", "0,,0,00"};
    struct folding folding;
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++)
        assert_false(folding_read(strange[i], strlen(strange[i]), &folding));
}

/* ---- failures ---- */

static void each_failure_names_the_line_to_change(void **state)
{
    (void)state;
    static const struct {
        unsigned number;
        const char *parameter, *words;
    } rows[] = {
        {1045, "password", "does not let this user in"},
        {1044, "dbname", "no way into this database"},
        {1049, "dbname", "no way into this database"},
        {1142, "query", "GRANT SELECT"},
        {1143, "query", "GRANT SELECT"},
        {1370, "query", "GRANT EXECUTE"},
        {1146, "query", "no such table"},
        {1054, "query", "no such table or column"},
        {1064, "query", "no SQL"},
        {2002, "hosts", "cannot be asked"},
        {1969, "hosts", "cannot be asked"},
        {1267, "query", "never \"unknown\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct heard heard;
        struct judge judge = judge_to(&heard);
        struct mysql_trouble trouble = {.class = mysql_error_classify(rows[i].number),
                                        .number = rows[i].number};
        judge_trouble(&judge, &trouble, "db1: error");
        assert_int_equal(heard.count, 1);
        assert_string_equal(heard.parameter, rows[i].parameter);
        assert_said(&heard, rows[i].words);
        assert_said(&heard, "db1: error");
    }
}

static void a_host_is_local_only_where_no_network_is_between(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        bool local;
    } rows[] = {{"127.0.0.1", true},  {"127.8.9.1", true}, {"LOCALHOST", true},   {"::1", true},
                {"192.0.2.1", false}, {"db1", false},      {"2001:db8::1", false}};
    struct mysql_host host = {.endpoint = {.kind = ENDPOINT_NONE}};
    assert_true(judge_is_local(&host));
    host.endpoint.kind = ENDPOINT_UNIX;
    assert_true(judge_is_local(&host));
    host.endpoint.kind = ENDPOINT_INET;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        strcpy(host.endpoint.host, rows[i].host);
        assert_int_equal(judge_is_local(&host), rows[i].local);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_without_an_index_is_told),
        cmocka_unit_test(an_index_read_from_end_to_end_is_no_use),
        cmocka_unit_test(a_point_lookup_is_well),
        cmocka_unit_test(a_small_table_read_whole_is_well_where_an_index_fits),
        cmocka_unit_test(derived_tables_are_judged_by_what_they_are_made_of),
        cmocka_unit_test(what_is_no_plan_is_not_understood),
        cmocka_unit_test(columns_beside_the_key_are_found),
        cmocka_unit_test(a_key_within_a_function_is_compared_as_a_whole),
        cmocka_unit_test(a_column_belongs_to_the_tables_of_its_select),
        cmocka_unit_test(a_collation_of_its_own_is_told),
        cmocka_unit_test(a_local_part_alone_may_end_in_a_space),
        cmocka_unit_test(broken_text_is_read_to_its_end_and_no_further),
        cmocka_unit_test(a_star_that_is_the_answer_is_told),
        cmocka_unit_test(a_query_without_the_key_is_told),
        cmocka_unit_test(only_a_query_is_explained),
        cmocka_unit_test(rights_to_read_are_well),
        cmocka_unit_test(more_than_reading_is_told_with_the_revoke),
        cmocka_unit_test(a_hash_of_the_password_goes_nowhere),
        cmocka_unit_test(who_asks_for_the_lag_may),
        cmocka_unit_test(a_collation_that_folds_accents_is_told),
        cmocka_unit_test(trailing_spaces_are_told_where_there_can_be_some),
        cmocka_unit_test(a_strange_answer_is_not_taken_for_one),
        cmocka_unit_test(each_failure_names_the_line_to_change),
        cmocka_unit_test(a_host_is_local_only_where_no_network_is_between),
    };
    return cmocka_run_group_tests_name("mysql_judge", tests, NULL, NULL);
}
