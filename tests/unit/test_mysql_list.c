/* Every recipient of a directory. Run as: tests/with-mariadb build/plain/tests/unit/test_mysql_list
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "db/mysql_list.h"
#include "tests/unit/mysql_testing.h"

static struct own_server own;
static struct fault fault;

struct seen {
    unsigned count;
    size_t bytes;
    unsigned enough;  /* 0: never */
    bool kill_server; /* after the first row */
    long most_kb;     /* resident, beyond that at the first row */
    long first_kb;
    char text[1024]; /* "address\n" for each, while there is room */
};

static long resident_kb(void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld %ld", &pages, &resident) != 2)
        abort();
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static bool each(void *context, const char *recipient, size_t length)
{
    struct seen *seen = context;
    size_t used = strlen(seen->text);
    seen->count++;
    seen->bytes += length;
    if (used + length + 2 < sizeof seen->text)
        snprintf(seen->text + used, sizeof seen->text - used, "%.*s\n", (int)length, recipient);
    if (seen->kill_server)
        own_server_kill(&own);
    if (seen->count == 1)
        seen->first_kb = resident_kb();
    if (seen->count % 10000 == 0 && resident_kb() - seen->first_kb > seen->most_kb)
        seen->most_kb = resident_kb() - seen->first_kb;
    return seen->count != seen->enough;
}

static char *list_file(char path[256], const char *sock, const char *lines)
{
    char text[2048];
    snprintf(text, sizeof text,
             "hosts = unix:%s\nuser = root\noption_group =\ndbname = list_test\n"
             "query = SELECT '%%s'\n%s",
             sock, lines);
    return scratch_file(path, "list.cf", text);
}

static bool list(const char *lines, struct seen *seen)
{
    char path[256];
    fault_clear(&fault);
    return mysql_list(list_file(path, test_socket(), lines), each, seen, &fault);
}

static void each_row_s_first_column_is_handed_on_as_it_is(void **state)
{
    (void)state;
    struct seen seen = {0};
    bool complete =
        list("list_query = SELECT 'Alice@Example.test', 1 UNION ALL SELECT NULL, 2 UNION "
             "ALL SELECT '', 3 UNION ALL SELECT '@catch.test', 4 UNION ALL "
             "SELECT '100%s%%d@example.test', 5\n",
             &seen);
    assert_string_equal(fault.text, "");
    assert_true(complete);
    assert_string_equal(seen.text, "Alice@Example.test\n@catch.test\n100%s%%d@example.test\n");
}

static void a_procedure_may_give_the_list(void **state)
{
    (void)state;
    struct seen seen = {0};
    assert_true(list("list_query = CALL two_lists()\n", &seen));
    assert_string_equal(seen.text, "a@x.test\nb@x.test\n");
}

static void an_empty_list_is_complete(void **state)
{
    (void)state;
    struct seen seen = {0};
    assert_true(list("list_query = SELECT 1 FROM DUAL WHERE FALSE\n", &seen));
    assert_int_equal(seen.count, 0);
}

static void who_wants_no_more_gets_no_more_at_once(void **state)
{
    (void)state;
    struct seen seen = {.enough = 3};
    int64_t begun = clock_mono_ms();
    assert_true(list("list_query = SELECT REPEAT('x', 300) FROM seq_1_to_1000000000\n", &seen));
    assert_int_equal(seen.count, 3);
    assert_in_range(clock_mono_ms() - begun, 0, 30000);
}

static void what_cannot_be_listed_is_a_fault_that_says_where(void **state)
{
    (void)state;
    static const struct {
        const char *lines, *fault;
    } cases[] = {
        {"", "it has no list_query"},
        {"list_query =\n", "it has no list_query"},
        {"list_query = SELECT a FROM nowhere\n", "error 1146"},
        {"list_query = CALL nothing()\n", "gave no result set"},
        {"user = nobody_here\nlist_query = SELECT 1\n", "error 1045"},
        {"password = s3cret-word\nlist_query = SELECT 1\n", "error 1045"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct seen seen = {0};
        assert_false(list(cases[i].lines, &seen));
        if (!strstr(fault.text, cases[i].fault) || !strstr(fault.text, "list.cf: "))
            fail_msg("%s: \"%s\"", cases[i].lines, fault.text);
        assert_null(strstr(fault.text, "s3cret"));
        assert_int_equal(seen.count, 0);
        if (i >= 2)
            assert_non_null(strstr(fault.text, test_socket()));
    }
    assert_false(mysql_list("/nowhere/x.cf", each, NULL, &fault));
    assert_non_null(strstr(fault.text, "/nowhere/x.cf"));
}

static void an_error_after_some_rows_is_a_fault(void **state)
{
    (void)state;
    struct seen seen = {0};
    /* The row for 5 is an error: its subquery gives two. */
    assert_false(list("list_query = SELECT (SELECT s.seq FROM seq_1_to_6 s WHERE s.seq = t.seq OR "
                      "(t.seq = 5 AND s.seq = 6)) FROM seq_1_to_5 t\n",
                      &seen));
    assert_non_null(strstr(fault.text, "error 1242"));
    assert_in_range(seen.count, 1, 4);
    memset(&seen, 0, sizeof seen);
    assert_false(list("list_query = CALL breaks()\n", &seen));
    assert_non_null(strstr(fault.text, "error 1146"));
    assert_int_equal(seen.count, 1);
}

static void a_second_host_lists_for_a_dead_one(void **state)
{
    (void)state;
    char lines[512], path[256];
    struct seen seen = {0};
    snprintf(lines, sizeof lines, "hosts = unix:%s unix:%s\nlist_query = SELECT 'a'\n",
             scratch_path(path, "no.sock"), test_socket());
    for (int i = 0; i < 10; i++) /* their order is random */
        assert_true(list(lines, &seen));
    assert_int_equal(seen.count, 10);
    snprintf(lines, sizeof lines, "hosts = unix:%s\nlist_query = SELECT 'a'\n", path);
    assert_false(list(lines, &seen));
    assert_non_null(strstr(fault.text, "error 2002"));
    assert_non_null(strstr(fault.text, path));
}

/* 30 MB in all; both ends hold one row and a network buffer. */
static void a_hundred_thousand_rows_take_no_memory(void **state)
{
    (void)state;
    struct seen seen = {0};
    bool complete =
        list("list_query = SELECT CONCAT(REPEAT('x', 300), seq) FROM seq_1_to_100000\n", &seen);
    assert_string_equal(fault.text, "");
    assert_true(complete);
    assert_int_equal(seen.count, 100000);
    assert_in_range(seen.bytes, 30100000, 30600000);
    assert_in_range(seen.most_kb, 0, 4096);
}

/* The session's limits are for lookups; a table of millions takes longer. */
static void a_list_may_take_its_time(void **state)
{
    (void)state;
    static const char *const limit[] = {"SET GLOBAL max_statement_time = 1", NULL};
    static const char *const usual[] = {"SET GLOBAL max_statement_time = 0", NULL};
    struct seen seen = {0};
    run_sql(test_socket(), "mysql", limit);
    bool complete = list("list_query = SELECT SLEEP(0.8), seq FROM seq_1_to_3\n", &seen);
    run_sql(test_socket(), "mysql", usual);
    assert_string_equal(fault.text, "");
    assert_true(complete);
    assert_int_equal(seen.count, 3);
}

static void a_server_that_is_killed_half_way_is_a_fault(void **state)
{
    (void)state;
    char path[256];
    struct seen seen = {.kill_server = true};
    own_server_create(&own, "own");
    own_server_start(&own);
    list_file(path, own.sock,
              "dbname = mysql\n"
              "list_query = SELECT CONCAT(REPEAT('x', 300), seq) FROM seq_1_to_1000000\n");
    assert_false(mysql_list(path, each, &seen, &fault));
    assert_non_null(strstr(fault.text, "error 2013"));
    assert_non_null(strstr(fault.text, own.sock));
    assert_in_range(seen.count, 1, 999999);
}

static void the_example_lists_whom_its_query_finds(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "INSERT INTO domains (domain) VALUES ('ex.test'), ('ca.test')",
        "INSERT INTO alias_domains (alias, target) VALUES ('al.test', 'ex.test'), "
        "('ac.test', 'ca.test')",
        "INSERT INTO alias_domains VALUES ('off.test', 'ex.test', FALSE)",
        "INSERT INTO recipients (address) VALUES ('alice@ex.test'), ('@ca.test'), "
        "('\"a@b\"@ex.test')",
        "INSERT INTO recipients VALUES ('gone@ex.test', NULL, FALSE)",
        NULL};
    static const char *const create[] = {
        "CREATE DATABASE sample CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", NULL};
    static const char *const listed[] = {"alice@ex.test\n", "@ca.test\n", "\"a@b\"@ex.test\n",
                                         "alice@al.test\n", "@ac.test\n", "\"a@b\"@al.test\n"};
    char command[512], path[256];
    struct seen seen = {0};
    run_sql(test_socket(), "mysql", create);
    struct session session = session_open(test_socket(), "sample");
    load_sql(&session, "db/schema.sql");
    session_close(&session);
    run_sql(test_socket(), "sample", rows);
    snprintf(command, sizeof command,
             "sed -e 's|^hosts.*|hosts = unix:%s|' -e 's|^user.*|user = root|' "
             "-e 's|^password.*|option_group =|' -e 's|^dbname.*|dbname = sample|' "
             "config/examples/mysql-recipients.cf > %s",
             test_socket(), scratch_path(path, "sample.cf"));
    assert_int_equal(system(command), 0);
    fault_clear(&fault);
    bool complete = mysql_list(path, each, &seen, &fault);
    assert_string_equal(fault.text, "");
    assert_true(complete);
    assert_int_equal(seen.count, sizeof listed / sizeof listed[0]);
    for (size_t i = 0; i < sizeof listed / sizeof listed[0]; i++)
        if (!strstr(seen.text, listed[i]))
            fail_msg("%s is not listed", listed[i]);
}

static int prepare(void **state)
{
    (void)state;
    static const char *const statements[] = {
        "CREATE DATABASE list_test CHARACTER SET utf8mb4",
        "USE list_test",
        "CREATE PROCEDURE nothing() BEGIN DECLARE n INT; SET n = 1; END",
        "CREATE PROCEDURE two_lists() BEGIN SELECT 'a@x.test'; SELECT 'b@x.test'; END",
        "CREATE PROCEDURE breaks() BEGIN SELECT 'a'; SELECT a FROM no_such_table; END",
        NULL};
    if (!mysql_client_library_init(&fault))
        return -1;
    if (getenv("MYSQL_TEST_SOCKET"))
        run_sql(test_socket(), "mysql", statements);
    return 0;
}

static int clean_up(void **state)
{
    (void)state;
    own_server_kill(&own);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row_s_first_column_is_handed_on_as_it_is),
        cmocka_unit_test(a_procedure_may_give_the_list),
        cmocka_unit_test(an_empty_list_is_complete),
        cmocka_unit_test(who_wants_no_more_gets_no_more_at_once),
        cmocka_unit_test(what_cannot_be_listed_is_a_fault_that_says_where),
        cmocka_unit_test(an_error_after_some_rows_is_a_fault),
        cmocka_unit_test(a_second_host_lists_for_a_dead_one),
        cmocka_unit_test(a_hundred_thousand_rows_take_no_memory),
        cmocka_unit_test(a_list_may_take_its_time),
        cmocka_unit_test(a_server_that_is_killed_half_way_is_a_fault),
        cmocka_unit_test(the_example_lists_whom_its_query_finds),
    };
    scratch_make();
    int failed = cmocka_run_group_tests_name("mysql_list", tests, prepare, clean_up);
    scratch_remove();
    return failed;
}
