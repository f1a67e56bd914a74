/* How far a server is behind, and what its "nothing there" is worth. Run as:
 * tests/with-mariadb build/plain/tests/unit/test_mysql_lag */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/mysql_asking.h"

#define AS_POOL_USER "user = pool_user\npassword = unused-s3cret\n"

/* As map_mysql opens a table. */
static struct asking start_with_lag(const char *lines, int64_t most_s)
{
    settings.max_replica_lag_s = most_s;
    struct asking asking = {.table = test_table(test_socket(), "pool_test", lines)};
    asking.table->max_replica_lag_s = most_s;
    asking.pool = mysql_pool_take(asking.table, &settings, &fault);
    assert_non_null(asking.pool);
    return asking;
}

static struct finding ask_once(const char *lines, const char *key, int64_t most_s)
{
    struct asking asking = start_with_lag(lines, most_s);
    struct finding finding = ask(&asking, key, 5000);
    stop(&asking);
    return finding;
}

static void collect_line(void *context, const char *text)
{
    strcat(context, text);
    strcat(context, "\n");
}

static void absence_is_lagging_unless_the_lag_is_known_and_small(void **state)
{
    (void)state;
    static const struct {
        const char *lag_query;
        const char *why; /* NULL: close enough */
    } cases[] = {
        {"SELECT 0", NULL},
        {"SELECT 30", NULL},
        {"SELECT 29.999999", NULL},
        {"SELECT 30.000", NULL},
        {"SELECT -30", NULL},
        {"SELECT 7, 'the rest', NULL UNION ALL SELECT 5000, '', NULL", NULL},
        {"CALL lag_of(4)", NULL},
        {"SELECT 31", "is 31 s behind, more than max_replica_lag"},
        {"SELECT 30.000001", "is 31 s behind, more"},
        {"SELECT 4e3", "is 4000 s behind"}, /* a DOUBLE, written without exponent */
        {"SELECT -31", "two clocks differ"},
        {"SELECT NULL", "may be behind: lag_query gave NULL"},
        {"SELECT NULL UNION ALL SELECT 0", "may be behind: lag_query gave NULL"},
        {"SELECT 0 FROM DUAL WHERE FALSE", "may be behind: lag_query gave no row"},
        {"CALL pr_without_result()", "may be behind: lag_query gave no row"},
        {"SELECT ''", "is no number"},
        {"SELECT '-'", "is no number"},
        {"SELECT '0 s'", "is no number"},
        {"SELECT '0.0.0'", "is no number"},
        {"SELECT '.5'", "is no number"},
        {"SELECT 1e300", "is no number"},
        {"SELECT '99999999999999999999'", "is no number"},
        {"SELECT ts FROM nowhere", "may be behind: error 1146"},
        {"SELEC 0", "may be behind: error 1064"},
        {"SELECT SLEEP(30) FROM recipients", "may be behind: "}, /* error 1969 */
        {"SELECT 0 UNION ALL SELECT (SELECT address FROM recipients)", "may be behind: error 1242"},
        {"KILL CONNECTION_ID()", "may be behind: error 1927"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char lines[512];
        snprintf(lines, sizeof lines, "%slag_query = %s\n", RECIPIENT_QUERY, cases[i].lag_query);
        struct finding finding = ask_once(lines, "nobody@example.test", 30);
        if (finding.answer != ABSENT || finding.lagging != (cases[i].why != NULL) ||
            !strstr(finding.why.text, cases[i].why ? cases[i].why : ""))
            fail_msg("%s: %s, %d, %s", cases[i].lag_query, answer_name(finding.answer),
                     finding.lagging, finding.why.text);
        if (cases[i].why)
            assert_non_null(strstr(finding.why.text, test_socket()));
        else
            assert_string_equal(finding.why.text, "");
        finding = ask_once(lines, "alice@example.test", 30);
        assert_int_equal(finding.answer, FOUND); /* whatever the lag */
        assert_false(finding.lagging);
    }
}

static void without_max_replica_lag_nobody_asks(void **state)
{
    (void)state;
    uint64_t failures = counter_get(COUNT_mysql_failures);
    struct finding finding =
        ask_once(RECIPIENT_QUERY "lag_query = SELECT 5000\n", "nobody@example.test", 0);
    assert_int_equal(finding.answer, ABSENT);
    assert_false(finding.lagging);
    assert_int_equal(since(COUNT_mysql_failures, failures), 0);
}

static void a_server_that_is_no_replica_is_never_behind(void **state)
{
    (void)state;
    struct finding finding = ask_once(RECIPIENT_QUERY, "nobody@example.test", 1);
    assert_int_equal(finding.answer, ABSENT);
    assert_false(finding.lagging);
}

static void without_the_right_to_see_the_status_nobody_knows_and_it_is_logged_once(void **state)
{
    (void)state;
    static const char *const grant[] = {"GRANT REPLICA MONITOR ON *.* TO pool_user@localhost",
                                        NULL};
    static const char *const revoke[] = {"REVOKE REPLICA MONITOR ON *.* FROM pool_user@localhost",
                                         NULL};
    char log[8192], report[8192] = "", later[8192] = "";
    struct scratch_log capture = scratch_log_begin();
    settings.mysql_connections = 1; /* a right comes with the next connection */
    struct asking asking = start_with_lag(AS_POOL_USER RECIPIENT_QUERY, 30);
    struct finding finding;
    for (int i = 0; i < 3; i++)
        finding = ask(&asking, "nobody@example.test", 5000);
    mysql_pool_report(collect_line, report);
    run_sql(test_socket(), "pool_test", grant);
    struct session other = session_open(test_socket(), "mysql");
    session_run(&other, "KILL USER pool_user@localhost");
    session_close(&other);
    struct finding granted = ask(&asking, "nobody@example.test", 5000);
    mysql_pool_report(collect_line, later);
    stop(&asking);
    run_sql(test_socket(), "pool_test", revoke);
    scratch_log_end(&capture, log, sizeof log);
    assert_int_equal(finding.answer, ABSENT);
    assert_true(finding.lagging);
    assert_non_null(strstr(finding.why.text, "may be behind: error 1227"));
    assert_non_null(strstr(report, "up, 1 connection; may be behind: error 1227"));
    assert_int_equal(granted.answer, ABSENT);
    assert_false(granted.lagging);
    assert_null(strstr(later, "may be behind"));
    assert_int_equal(scratch_count(log, "error 1227"), 1);
    assert_int_equal(scratch_count(log, "nobody gets a 5xx on its word"), 1);
    assert_int_equal(scratch_count(log, "is within max_replica_lag again"), 1);
}

/* The row arrives between the statement and the question for the lag, which is then 0. */
static void a_server_that_catches_up_meanwhile_is_asked_again(void **state)
{
    (void)state;
    static const char *const clear[] = {"DELETE FROM recipients WHERE address LIKE 'late%'", NULL};
    struct finding finding =
        ask_once(RECIPIENT_QUERY "lag_query = CALL catch_up()\n", "late@example.test", 30);
    run_sql(test_socket(), "pool_test", clear);
    assert_int_equal(finding.answer, FOUND);
    assert_false(finding.lagging);
}

static void a_statement_that_fails_the_second_time_is_not_absence(void **state)
{
    (void)state;
    static const char *const restore[] = {"CREATE OR REPLACE TABLE short_lived (a INT)", NULL};
    run_sql(test_socket(), "pool_test", restore);
    struct finding finding = ask_once("query = SELECT a FROM short_lived WHERE a = '%s'\n"
                                      "lag_query = CALL drop_it()\n",
                                      "nobody@example.test", 30);
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_non_null(strstr(finding.why.text, "error 1146"));
}

static void trouble_with_the_lag_rests_no_host(void **state)
{
    (void)state;
    struct asking asking =
        start_with_lag(RECIPIENT_QUERY "lag_query = SELECT SLEEP(30) FROM recipients\n", 30);
    for (int i = 0; i < 2; i++) {
        struct finding finding = ask(&asking, "nobody@example.test", 5000);
        assert_int_equal(finding.answer, ABSENT);
        assert_true(finding.lagging);
        assert_answer(&asking, "alice@example.test", FOUND);
    }
    stop(&asking);
}

static void a_late_word_on_the_lag_is_late_for_the_caller(void **state)
{
    (void)state;
    struct asking asking =
        start_with_lag(RECIPIENT_QUERY "lag_query = SELECT SLEEP(0.6) + 0\n", 30);
    struct finding finding = ask(&asking, "nobody@example.test", 200);
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_true(finding.late);
    stop(&asking);
}

static void tables_with_different_lag_queries_share_no_pool(void **state)
{
    (void)state;
    struct asking a = start_with_lag(RECIPIENT_QUERY, 30);
    struct asking b = start_with_lag(RECIPIENT_QUERY "lag_query = SELECT 0\n", 30);
    struct asking c = start_with_lag("query = SELECT '%s'\n", 30);
    assert_ptr_not_equal(a.pool, b.pool);
    assert_ptr_equal(a.pool, c.pool);
    stop(&a);
    stop(&b);
    stop(&c);
}

/* A reload changes the limit while the pool goes on: each table has its own. */
static void two_limits_share_a_pool_and_each_is_kept(void **state)
{
    (void)state;
    char report[8192] = "";
    struct asking strict = start_with_lag(RECIPIENT_QUERY "lag_query = SELECT 20\n", 10);
    struct asking mild = start_with_lag(RECIPIENT_QUERY "lag_query = SELECT 20\n", 30);
    assert_ptr_equal(strict.pool, mild.pool);
    assert_false(ask(&mild, "nobody@example.test", 5000).lagging);
    assert_true(ask(&strict, "nobody@example.test", 5000).lagging);
    struct asking off = start_with_lag(RECIPIENT_QUERY "lag_query = SELECT 20\n", 0);
    assert_ptr_equal(off.pool, mild.pool);
    mysql_pool_report(collect_line, report);
    assert_null(strstr(report, "behind")); /* nobody will ask again */
    stop(&strict);
    stop(&mild);
    stop(&off);
}

static void the_map_takes_the_limit_from_the_settings(void **state)
{
    (void)state;
    char path[256], text[1024];
    struct map_context context = {.settings = &settings};
    settings.max_replica_lag_s = 10;
    snprintf(text, sizeof text,
             "hosts = unix:%s\nuser = root\ndbname = pool_test\noption_group =\n%s"
             "lag_query = SELECT 11\n",
             test_socket(), RECIPIENT_QUERY);
    void *map = map_mysql.open(scratch_file(path, "lag.cf", text), &context, &fault);
    assert_non_null(map);
    struct finding finding = {.answer = UNAVAILABLE};
    map_mysql.lookup(map, "nobody@example.test", deadline_in_ms(5000), NULL, &finding);
    map_mysql.close(map);
    assert_int_equal(finding.answer, ABSENT);
    assert_true(finding.lagging);
}

static int prepare(void **state)
{
    (void)state;
    static const char *const routines[] = {
        "CREATE PROCEDURE lag_of(s INT) SELECT s",
        "CREATE PROCEDURE pr_without_result() BEGIN DECLARE n INT; SET n = 1; END",
        "CREATE PROCEDURE catch_up() BEGIN INSERT IGNORE INTO recipients VALUES "
        "('late@example.test'); SELECT 0; END",
        "CREATE PROCEDURE drop_it() BEGIN DROP TABLE short_lived; SELECT 0; END", NULL};
    if (!mysql_client_library_init(&fault))
        return -1;
    if (getenv("MYSQL_TEST_SOCKET")) {
        run_sql(test_socket(), "mysql", directory);
        run_sql(test_socket(), "pool_test", routines);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(absence_is_lagging_unless_the_lag_is_known_and_small),
        TEST(without_max_replica_lag_nobody_asks),
        TEST(a_server_that_is_no_replica_is_never_behind),
        TEST(without_the_right_to_see_the_status_nobody_knows_and_it_is_logged_once),
        TEST(a_server_that_catches_up_meanwhile_is_asked_again),
        TEST(a_statement_that_fails_the_second_time_is_not_absence),
        TEST(trouble_with_the_lag_rests_no_host),
        TEST(a_late_word_on_the_lag_is_late_for_the_caller),
        TEST(tables_with_different_lag_queries_share_no_pool),
        TEST(two_limits_share_a_pool_and_each_is_kept),
        TEST(the_map_takes_the_limit_from_the_settings),
    };
    scratch_make();
    int failed = cmocka_run_group_tests_name("mysql_lag", tests, prepare, NULL);
    scratch_remove();
    return failed;
}
