/* Run as: tests/with-mariadb build/plain/tests/unit/test_mysql_client */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "db/mysql_client.h"
#include "tests/unit/mysql_testing.h"

static struct mysql_trouble trouble;
static unsigned long rows;

static struct mysql_client *connect_to(const struct mysql_table *table)
{
    struct fault fault = {""};
    struct mysql_client *client = mysql_client_connect(&table->source, &table->source.hosts[0],
                                                       &test_timeouts, &trouble, &fault);
    if (!client)
        fail_msg("%s", fault.text);
    return client;
}

static struct finding ask(struct mysql_client *client, const struct mysql_table *table,
                          const char *sql)
{
    struct finding finding = {.answer = UNAVAILABLE};
    mysql_client_query(client, table, "key@example.test", sql, strlen(sql), &rows, &trouble,
                       &finding);
    return finding;
}

/* One statement on a connection of its own. */
static struct finding ask_once(const char *settings, const char *sql)
{
    struct mysql_table *table = test_table(test_socket(), "client_test", settings);
    struct mysql_client *client = connect_to(table);
    struct finding finding = ask(client, table, sql);
    mysql_client_close(client);
    mysql_table_free(table);
    return finding;
}

static void assert_value(const char *sql, const char *value)
{
    struct finding finding = ask_once("query = %s\n", sql);
    assert_string_equal(finding.why.text, "");
    assert_int_equal(finding.answer, value ? FOUND : ABSENT);
    assert_string_equal(finding.value, value ? value : "");
    assert_int_equal(trouble.class, MYSQL_NO_ERROR);
}

static void error_numbers_have_the_class_their_cause_has(void **state)
{
    (void)state;
    static const unsigned server[] = {2002, 2003, 2005, 2006, 2013, 2055, 4031, 1053,
                                      1927, 1040, 1203, 1226, 1205, 1969, 3024, 1317};
    static const unsigned statement[] = {1243, 1615, 2057, 2014, 2027};
    static const unsigned key[] = {1267, 1270, 1300, 3988, 1366, 1406};
    static const unsigned setup[] = {1044, 1045, 1146, 1054, 1142, 1064, 1305, 9999};
    for (size_t i = 0; i < sizeof server / sizeof *server; i++)
        assert_int_equal(mysql_error_classify(server[i]), MYSQL_ERROR_SERVER);
    for (size_t i = 0; i < sizeof statement / sizeof *statement; i++)
        assert_int_equal(mysql_error_classify(statement[i]), MYSQL_ERROR_STATEMENT);
    for (size_t i = 0; i < sizeof key / sizeof *key; i++)
        assert_int_equal(mysql_error_classify(key[i]), MYSQL_ERROR_KEY);
    for (size_t i = 0; i < sizeof setup / sizeof *setup; i++)
        assert_int_equal(mysql_error_classify(setup[i]), MYSQL_ERROR_SETUP);
    assert_int_equal(mysql_error_classify(0), MYSQL_NO_ERROR);
}

static void any_column_of_any_row_that_says_something_is_found(void **state)
{
    (void)state;
    assert_value("SELECT 'yes'", "yes");
    assert_value("SELECT a FROM t WHERE a = 'nobody'", NULL);
    assert_value("SELECT NULL", NULL);
    assert_value("SELECT ''", NULL);
    assert_value("SELECT NULL, '', 'third'", "third");
    assert_value("SELECT '' UNION ALL SELECT NULL UNION ALL SELECT 'x'", "x");
    assert_value("SELECT 'a', 'b' UNION ALL SELECT 'c', NULL", "a,b,c");
    assert_value("SELECT 0", "0");
}

static void a_value_ends_at_its_first_nul(void **state)
{
    (void)state;
    assert_value("SELECT CONCAT('before', CHAR(0), 'after')", "before");
    assert_value("SELECT CHAR(0)", NULL);
}

static void a_stored_function_that_returns_null_is_not_found(void **state)
{
    (void)state;
    assert_value("SELECT fn('alice')", "alice found");
    assert_value("SELECT fn('nobody')", NULL);
}

static void a_procedure_leaves_no_result_behind(void **state)
{
    (void)state;
    struct mysql_table *table = test_table(test_socket(), "client_test", "query = %s\n");
    struct mysql_client *client = connect_to(table);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask(client, table, "CALL one('alice')").answer, FOUND);
        assert_int_equal(ask(client, table, "CALL one('nobody')").answer, ABSENT);
        struct finding finding = ask(client, table, "CALL three()");
        assert_string_equal(finding.value, "1,2,3");
        assert_int_equal(rows, 3);
        assert_string_equal(ask(client, table, "SELECT 'next'").value, "next");
    }
    mysql_client_close(client);
    mysql_table_free(table);
}

static void a_result_that_breaks_off_is_never_absent(void **state)
{
    (void)state;
    static const char *const broken[] = {
        /* the second row is an error, after an empty first one */
        "SELECT (SELECT '' FROM t AS u WHERE u.id >= t.id) FROM t ORDER BY id DESC",
        /* a first result set without anything, then an error instead of the second */
        "CALL breaks()",
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct mysql_table *table = test_table(test_socket(), "client_test", "query = %s\n");
        struct mysql_client *client = connect_to(table);
        struct finding finding = ask(client, table, broken[i]);
        assert_int_equal(finding.answer, UNAVAILABLE);
        assert_int_equal(trouble.class, MYSQL_ERROR_SETUP);
        assert_int_not_equal(trouble.number, 0);
        assert_non_null(strstr(finding.why.text, "error "));
        assert_string_equal(ask(client, table, "SELECT 'next'").value, "next");
        mysql_client_close(client);
        mysql_table_free(table);
    }
}

static void a_statement_without_result_set_is_a_mistake_unless_allowed(void **state)
{
    (void)state;
    struct finding finding = ask_once("query = %s\n", "CALL nothing()");
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_int_equal(trouble.class, MYSQL_ERROR_SETUP);
    assert_non_null(strstr(finding.why.text, "require_result_set"));
    finding = ask_once("query = %s\nrequire_result_set = no\n", "CALL nothing()");
    assert_int_equal(finding.answer, ABSENT);
}

static void more_values_than_expansion_limit_are_no_answer(void **state)
{
    (void)state;
    const char *settings = "query = %s\nexpansion_limit = 2\n";
    assert_int_equal(ask_once(settings, "SELECT 'a', NULL, 'b', ''").answer, FOUND);
    struct finding finding = ask_once(settings, "SELECT 'a', 'b' UNION ALL SELECT 'c', 'd'");
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_int_equal(trouble.class, MYSQL_ERROR_KEY);
    assert_non_null(strstr(finding.why.text, "expansion_limit"));
}

static void result_format_shapes_the_value_and_may_suppress_it(void **state)
{
    (void)state;
    const char *settings = "query = %s\nresult_format = [%u at %d for %U]\n";
    struct finding finding = ask_once(settings, "SELECT 'x@y.z', 'no-domain'");
    assert_string_equal(finding.value, "[x at y.z for key]");
    assert_int_equal(ask_once(settings, "SELECT 'no-domain'").answer, ABSENT);
}

static void only_one_statement_is_run(void **state)
{
    (void)state;
    struct finding finding = ask_once("query = %s\n", "SELECT 'a'; DELETE FROM t");
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_int_equal(trouble.number, 1064);
    assert_value("SELECT COUNT(*) FROM t", "2");
}

static void the_session_is_set_up_for_lookups(void **state)
{
    (void)state;
    const char *sock = test_socket();
    static const char *const hostile[] = {
        "SET GLOBAL autocommit = 0", "SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI'", NULL};
    static const char *const usual[] = {"SET GLOBAL autocommit = 1",
                                        "SET GLOBAL sql_mode = DEFAULT", NULL};
    run_sql(sock, "client_test", hostile);
    assert_value("SELECT @@autocommit, @@lock_wait_timeout, @@max_statement_time", "1,1,1.000000");
    assert_value("SELECT @@character_set_client, @@character_set_results", "utf8mb4,utf8mb4");
    struct mysql_table *table = test_table(sock, "client_test", "query = SELECT '%s', \"%s\"\n");
    struct mysql_client *client = connect_to(table);
    char sql[256];
    run_sql(sock, "client_test", usual);
    assert_int_equal(
        query_expand(&table->query, "o'b\"r\\ien", mysql_client_escape, client, sql, sizeof sql),
        EXPANSION_OK);
    assert_string_equal(sql, "SELECT 'o\\'b\\\"r\\\\ien', \"o\\'b\\\"r\\\\ien\"");
    mysql_client_close(client);
    mysql_table_free(table);
}

static void an_option_file_cannot_change_the_charset(void **state)
{
    (void)state;
    char options[256], settings[512];
    scratch_file(options, "my.cnf", "[client]\ndefault-character-set = latin1\n");
    snprintf(settings, sizeof settings, "query = %%s\noption_file = %s\noption_group = client\n",
             options);
    assert_string_equal(ask_once(settings, "SELECT @@character_set_client").value, "utf8mb4");
}

static void user_and_password_may_come_from_the_option_file(void **state)
{
    (void)state;
    char options[256], settings[512], path[256];
    struct fault fault = {""};
    scratch_file(options, "login.cnf", "[lookup]\nuser = client_user\npassword = s3cret-word\n");
    snprintf(settings, sizeof settings,
             "hosts = unix:%s\nquery = SELECT 1\ndbname = client_test\noption_file = %s\n"
             "option_group = lookup\n",
             test_socket(), options);
    struct mysql_table *table = mysql_table_read(scratch_file(path, "login.cf", settings), &fault);
    struct mysql_client *client = connect_to(table);
    assert_string_equal(ask(client, table, "SELECT USER()").value, "client_user@localhost");
    mysql_client_close(client);
    mysql_table_free(table);
}

static void a_wrong_password_is_refused_without_telling_it(void **state)
{
    (void)state;
    struct fault fault = {""};
    struct mysql_table *table =
        test_table(test_socket(), "client_test",
                   "user = client_user\npassword = not-the-s3cret-word\nquery = %s\n");
    assert_null(mysql_client_connect(&table->source, &table->source.hosts[0], &test_timeouts,
                                     &trouble, &fault));
    assert_int_equal(trouble.number, 1045);
    assert_int_equal(trouble.class, MYSQL_ERROR_SETUP);
    assert_non_null(strstr(fault.text, "Access denied"));
    assert_null(strstr(fault.text, "s3cret-word"));
    mysql_table_free(table);
}

static void tls_is_not_given_up_in_silence(void **state)
{
    (void)state;
    struct fault fault = {""};
    struct mysql_table *table =
        test_table(test_socket(), "client_test", "query = %s\ntls_verify_cert = yes\n");
    /* The test server has no certificate. */
    assert_null(mysql_client_connect(&table->source, &table->source.hosts[0], &test_timeouts,
                                     &trouble, &fault));
    assert_int_equal(trouble.number, 2026);
    assert_int_equal(trouble.class, MYSQL_ERROR_SERVER);
    mysql_table_free(table);
}

static void a_missing_server_is_a_server_error(void **state)
{
    (void)state;
    struct fault fault = {""};
    char path[256];
    struct mysql_table *table = test_table(scratch_path(path, "nobody"), "x", "query = %s\n");
    assert_null(mysql_client_connect(&table->source, &table->source.hosts[0], &test_timeouts,
                                     &trouble, &fault));
    assert_int_equal(trouble.class, MYSQL_ERROR_SERVER);
    assert_int_equal(trouble.number, 2002);
    mysql_table_free(table);
}

static void a_connection_that_is_gone_is_never_absence(void **state)
{
    (void)state;
    struct session other = session_open(test_socket(), "client_test");
    static const char *const sets[] = {"query = %s\n", "query = %s\nrequire_result_set = no\n"};
    for (size_t i = 0; i < 2; i++) {
        char kill_it[FINDING_VALUE_MAX + 8];
        struct mysql_table *table = test_table(test_socket(), "client_test", sets[i]);
        struct mysql_client *client = connect_to(table);
        snprintf(kill_it, sizeof kill_it, "KILL %s",
                 ask(client, table, "SELECT CONNECTION_ID()").value);
        session_run(&other, kill_it);
        struct finding finding = ask(client, table, "SELECT a FROM t WHERE a = 'nobody'");
        assert_int_equal(finding.answer, UNAVAILABLE);
        assert_int_equal(trouble.class, MYSQL_ERROR_SERVER);
        assert_true(trouble.connection_lost);
        mysql_client_close(client);
        mysql_table_free(table);
    }
    session_close(&other);
}

static void a_long_statement_is_ended_by_the_server(void **state)
{
    (void)state;
    int64_t begun = clock_mono_ms();
    struct finding finding = ask_once("query = %s\n", "SELECT COUNT(*) FROM t WHERE SLEEP(30) = 0");
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_int_equal(trouble.number, 1969);
    assert_int_equal(trouble.class, MYSQL_ERROR_SERVER);
    assert_in_range(clock_mono_ms() - begun, 900, 5000);
}

/* Against the five mail systems that were recorded with Postfix: see ../shared/README.md. */

static void load_system(const char *sock, const char *dbname, const char *folder, const char *seed)
{
    char path[256];
    struct session session = session_open(sock, "mysql");
    snprintf(path, sizeof path, "CREATE DATABASE %s", dbname);
    session_run(&session, path);
    snprintf(path, sizeof path, "USE %s", dbname);
    session_run(&session, path);
    session_run(&session, "SET foreign_key_checks = 0");
    snprintf(path, sizeof path, "../shared/schemas/%s/ddl.mariadb.sql", folder);
    load_sql(&session, path);
    snprintf(path, sizeof path, "../shared/schemas/_oracle/seeds/%s.sql", seed);
    load_sql(&session, path);
    session_close(&session);
}

static void every_query_file_answers_as_postfix_did(void **state)
{
    (void)state;
    static const char *const systems[][2] = {/* folder, database and seed */
                                             {"postfixadmin", "postfixadmin"},
                                             {"iredmail", "iredmail"},
                                             {"mailcow", "mailcow"},
                                             {"modoboa", "modoboa"},
                                             {"ispmail-workaround", "ispmail"}};
    const char *sock = test_socket();
    FILE *oracle = fopen("../shared/schemas/_oracle/postmap-q.tsv", "r");
    if (!oracle) {
        print_message("../shared/schemas is not there: skipped\n");
        skip();
    }
    for (size_t i = 0; i < sizeof systems / sizeof systems[0]; i++)
        load_system(sock, systems[i][1], systems[i][0], systems[i][1]);

    char line[8192], open[512] = "";
    struct mysql_table *table = NULL;
    struct mysql_client *client = NULL;
    unsigned asked = 0;
    while (fgets(line, sizeof line, oracle)) {
        char *field[6] = {0}, *rest = line, name[512], path[256];
        line[strcspn(line, "\n")] = '\0';
        for (int i = 0; i < 6; i++)
            field[i] = strsep(&rest, "\t");
        snprintf(name, sizeof name, "../shared/schemas/%s/cf/%s", field[0], field[1]);
        if (strcmp(name, open) != 0) {
            struct fault fault = {""};
            mysql_client_close(client);
            mysql_table_free(table);
            table = mysql_table_read(scratch_fill(path, "o.cf", name, sock, "root", ""), &fault);
            if (!table)
                fail_msg("%s", fault.text);
            client = connect_to(table);
            strcpy(open, name);
        }
        char sql[65536];
        struct finding finding = {.answer = UNAVAILABLE};
        /* postmap folds the key, as our keys are. */
        for (char *c = field[2]; *c; c++)
            if (*c >= 'A' && *c <= 'Z')
                *c += 'a' - 'A';
        if (query_expand(&table->query, field[2], mysql_client_escape, client, sql, sizeof sql) ==
            EXPANSION_OK)
            mysql_client_query(client, table, field[2], sql, strlen(sql), &rows, &trouble,
                               &finding);
        else
            finding_set_absent(&finding);
        bool failed = strstr(field[5], "query failed") != NULL;
        enum answer wanted = failed ? UNAVAILABLE : field[3][0] == '0' ? FOUND : ABSENT;
        if (finding.answer != wanted || strcmp(finding.value, field[4]) != 0)
            fail_msg("%s %s: Postfix said %s \"%s\", we %s \"%s\" (%s)", name, field[2],
                     answer_name(wanted), field[4], answer_name(finding.answer), finding.value,
                     finding.why.text);
        if (failed)
            assert_int_equal(trouble.class, MYSQL_ERROR_KEY);
        asked++;
    }
    mysql_client_close(client);
    mysql_table_free(table);
    fclose(oracle);
    assert_int_equal(asked, 850);
}

static int prepare(void **state)
{
    (void)state;
    struct fault fault;
    static const char *const statements[] = {
        "CREATE DATABASE client_test CHARACTER SET utf8mb4",
        "USE client_test",
        "CREATE TABLE t (id INT, a VARCHAR(20))",
        "INSERT INTO t VALUES (1, 'x'), (2, 'y')",
        "CREATE FUNCTION fn(k VARCHAR(20)) RETURNS VARCHAR(40) DETERMINISTIC "
        "RETURN IF(k = 'alice', 'alice found', NULL)",
        "CREATE PROCEDURE one(k VARCHAR(20)) SELECT k FROM DUAL WHERE k = 'alice'",
        "CREATE PROCEDURE three() BEGIN SELECT 1; SELECT 2; SELECT NULL WHERE FALSE; SELECT 3; END",
        "CREATE PROCEDURE nothing() BEGIN DECLARE n INT; SET n = 1; END",
        "CREATE PROCEDURE breaks() BEGIN SELECT NULL; SELECT a FROM no_such_table; END",
        "CREATE USER client_user@localhost IDENTIFIED BY 's3cret-word'",
        "GRANT SELECT ON client_test.* TO client_user@localhost",
        NULL};
    if (!mysql_client_library_init(&fault))
        return -1;
    if (getenv("MYSQL_TEST_SOCKET"))
        run_sql(test_socket(), "mysql", statements);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_numbers_have_the_class_their_cause_has),
        cmocka_unit_test(any_column_of_any_row_that_says_something_is_found),
        cmocka_unit_test(a_value_ends_at_its_first_nul),
        cmocka_unit_test(a_stored_function_that_returns_null_is_not_found),
        cmocka_unit_test(a_procedure_leaves_no_result_behind),
        cmocka_unit_test(a_result_that_breaks_off_is_never_absent),
        cmocka_unit_test(a_statement_without_result_set_is_a_mistake_unless_allowed),
        cmocka_unit_test(more_values_than_expansion_limit_are_no_answer),
        cmocka_unit_test(result_format_shapes_the_value_and_may_suppress_it),
        cmocka_unit_test(only_one_statement_is_run),
        cmocka_unit_test(the_session_is_set_up_for_lookups),
        cmocka_unit_test(an_option_file_cannot_change_the_charset),
        cmocka_unit_test(user_and_password_may_come_from_the_option_file),
        cmocka_unit_test(a_wrong_password_is_refused_without_telling_it),
        cmocka_unit_test(tls_is_not_given_up_in_silence),
        cmocka_unit_test(a_missing_server_is_a_server_error),
        cmocka_unit_test(a_connection_that_is_gone_is_never_absence),
        cmocka_unit_test(a_long_statement_is_ended_by_the_server),
        cmocka_unit_test(every_query_file_answers_as_postfix_did),
    };
    scratch_make();
    int failed = cmocka_run_group_tests_name("mysql_client", tests, prepare, NULL);
    scratch_remove();
    return failed;
}
