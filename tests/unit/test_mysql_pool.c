/* Run as: tests/with-mariadb build/plain/tests/unit/test_mysql_pool */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "shared/address.h"
#include "tests/unit/mysql_asking.h"

/* Answers. */

static void a_recipient_is_found_or_absent(void **state)
{
    (void)state;
    struct asking asking = start(RECIPIENT_QUERY);
    struct finding finding = ask(&asking, "alice@example.test", 5000);
    assert_int_equal(finding.answer, FOUND);
    assert_string_equal(finding.value, "alice@example.test");
    assert_string_equal(finding.why.text, "");
    assert_answer(&asking, "nobody@example.test", ABSENT);
    assert_answer(&asking, "@catch.test", FOUND);
    stop(&asking);
}

static void hostile_keys_are_only_data(void **state)
{
    (void)state;
    static char long_key[1000 + 14], longest[ADDRESS_KEY_MAX];
    memset(long_key, 'x', 1000);
    strcpy(long_key + 1000, "@example.test");
    memset(longest, '\'', sizeof longest - 1);
    const char *const absent[] = {"' OR '1'='1",
                                  "\\' OR 1=1 -- ",
                                  "'; DROP TABLE recipients; -- ",
                                  "%",
                                  "%s%s%d%n@example.test",
                                  "\"@example.test",
                                  "\\",
                                  "'",
                                  "a\nb@example.test",
                                  "\x01\x1a\x7f@example.test",
                                  long_key,
                                  longest};
    const char *const found[] = {"o'brien@example.test",      "back\\slash@example.test",
                                 "100%s@example.test",        "\"a b\"@example.test",
                                 "alic\xc3\xa9@example.test", EMOJI};
    struct asking asking = start(RECIPIENT_QUERY);
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        assert_answer(&asking, absent[i], ABSENT);
    for (size_t i = 0; i < sizeof found / sizeof *found; i++)
        assert_answer(&asking, found[i], FOUND);
    stop(&asking);
}

static void two_keys_that_a_collation_confuses_stay_two(void **state)
{
    (void)state;
    struct asking asking = start(RECIPIENT_QUERY);
    assert_answer(&asking, "strasse@example.test", FOUND);
    assert_answer(&asking,
                  "stra\xc3\x9f"
                  "e@example.test",
                  ABSENT);
    assert_answer(&asking, "alice\xcc\x81@example.test", ABSENT); /* a combining accent */
    stop(&asking);
}

static void an_emoji_troubles_no_one_but_itself(void **state)
{
    (void)state;
    static const char *const tables[] = {
        "query = SELECT address FROM old_latin1 WHERE address = '%s'\n",
        "query = SELECT address FROM old_utf8mb3 WHERE address = '%s'\n",
    };
    for (size_t i = 0; i < 2; i++) {
        char log[4096];
        struct scratch_log capture = scratch_log_begin();
        struct asking asking = start(tables[i]);
        uint64_t key_errors = counter_get(COUNT_mysql_key_errors);
        uint64_t failures = counter_get(COUNT_mysql_failures);
        uint64_t connects = counter_get(COUNT_mysql_connects);
        struct finding before = ask(&asking, "alice@example.test", 5000);
        struct finding emoji = ask(&asking, EMOJI, 5000);
        int64_t begun = clock_mono_ms();
        struct finding after = ask(&asking, "bob@example.test", 5000);
        int64_t took = clock_mono_ms() - begun;
        stop(&asking);
        scratch_log_end(&capture, log, sizeof log);
        assert_int_equal(before.answer, FOUND);
        assert_int_equal(emoji.answer, UNAVAILABLE);
        assert_non_null(strstr(emoji.why.text, "error 1267"));
        assert_false(emoji.late);
        assert_int_equal(after.answer, FOUND);
        assert_in_range(took, 0, SLACK_MS);
        assert_int_equal(since(COUNT_mysql_key_errors, key_errors), 1);
        assert_int_equal(since(COUNT_mysql_failures, failures), 0);
        assert_in_range(since(COUNT_mysql_connects, connects), 1, 3); /* one per worker at most */
        assert_string_equal(log, "");
    }
}

static void functions_and_procedures_need_no_derived_table(void **state)
{
    (void)state;
    static const char *const forms[] = {"query = SELECT fn('%s')\n", "query = CALL pr('%s')\n"};
    settings.mysql_connections = 1; /* so that each lookup follows the one before */
    for (size_t i = 0; i < 2; i++) {
        struct asking asking = start(forms[i]);
        for (int round = 0; round < 3; round++) {
            assert_answer(&asking, "alice@example.test", FOUND);
            assert_answer(&asking, "nobody@example.test", ABSENT);
        }
        stop(&asking);
    }
}

static void a_broken_query_is_not_absence_and_is_logged_once(void **state)
{
    (void)state;
    static const struct {
        const char *query, *error;
    } broken[] = {
        {"query = SELECT a FROM comes_later WHERE a = '%s'\n", "error 1146"},
        {"query = SELECT nothing FROM recipients WHERE address = '%s'\n", "error 1054"},
        {"query = SELEC '%s'\n", "error 1064"},
    };
    for (size_t i = 0; i < 3; i++) {
        char log[4096];
        struct scratch_log capture = scratch_log_begin();
        struct asking asking = start(broken[i].query);
        struct finding finding;
        for (int round = 0; round < 3; round++)
            finding = ask(&asking, "alice@example.test", 5000);
        stop(&asking);
        scratch_log_end(&capture, log, sizeof log);
        assert_int_equal(finding.answer, UNAVAILABLE);
        assert_non_null(strstr(finding.why.text, broken[i].error));
        assert_non_null(strstr(finding.why.text, ".cf"));
        assert_int_equal(scratch_count(log, broken[i].error), 1);
    }
}

static void a_mended_table_is_logged_once(void **state)
{
    (void)state;
    static const char *const mend[] = {"CREATE TABLE comes_later (a VARCHAR(100))", NULL};
    static const char *const undo[] = {"DROP TABLE comes_later", NULL};
    char log[4096];
    struct scratch_log capture = scratch_log_begin();
    struct asking asking = start("query = SELECT a FROM comes_later WHERE a = '%s'\n");
    struct finding broken = ask(&asking, "alice@example.test", 5000);
    run_sql(test_socket(), "pool_test", mend);
    struct finding mended = ask(&asking, "alice@example.test", 5000);
    ask(&asking, "alice@example.test", 5000);
    run_sql(test_socket(), "pool_test", undo);
    stop(&asking);
    scratch_log_end(&capture, log, sizeof log);
    assert_int_equal(broken.answer, UNAVAILABLE);
    assert_int_equal(mended.answer, ABSENT);
    assert_int_equal(scratch_count(log, "answers again"), 1);
}

static void a_refused_log_in_never_shows_the_password(void **state)
{
    (void)state;
    char log[4096];
    static struct trace trace;
    struct scratch_log capture = scratch_log_begin();
    struct asking asking = start("password = wr0ng-s3cret\n" RECIPIENT_QUERY);
    struct finding finding = {.answer = UNAVAILABLE};
    trace_start(&trace);
    mysql_pool_lookup(asking.pool, asking.table, "alice@example.test", deadline_in_ms(5000), &trace,
                      &finding);
    struct finding resting = ask(&asking, "bob@example.test", 5000);
    stop(&asking);
    scratch_log_end(&capture, log, sizeof log);
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_non_null(strstr(finding.why.text, "error 1045"));
    assert_non_null(strstr(resting.why.text, "is resting after: error 1045"));
    assert_int_equal(scratch_count(log, "error 1045"), 1);
    assert_non_null(strstr(trace.bytes, "error 1045"));
    assert_null(strstr(finding.why.text, "s3cret"));
    assert_null(strstr(trace.bytes, "s3cret"));
    assert_null(strstr(log, "s3cret"));
}

static void the_trace_tells_host_statement_rows_and_time(void **state)
{
    (void)state;
    static struct trace trace;
    struct asking asking = start("password = unused-s3cret\nuser = pool_user\n"
                                 "query = SELECT address FROM old_latin1 WHERE address = '%s'\n");
    struct finding finding = {.answer = UNAVAILABLE};
    trace_start(&trace);
    mysql_pool_lookup(asking.pool, asking.table, "alice@example.test", deadline_in_ms(5000), &trace,
                      &finding);
    assert_int_equal(finding.answer, FOUND);
    assert_non_null(strstr(trace.bytes, test_socket()));
    assert_non_null(strstr(trace.bytes, "WHERE address = 'alice@example.test'"));
    assert_non_null(strstr(trace.bytes, ": 1 row, "));
    assert_non_null(strstr(trace.bytes, " ms\n"));
    trace_start(&trace);
    finding = (struct finding){.answer = UNAVAILABLE};
    mysql_pool_lookup(asking.pool, asking.table, EMOJI, deadline_in_ms(5000), &trace, &finding);
    assert_non_null(strstr(trace.bytes, "error 1267"));
    assert_null(strstr(trace.bytes, "s3cret"));
    stop(&asking);
}

/* Sharing. */

enum { CROWD = 100 };
static pthread_barrier_t crowd_start;
static _Atomic unsigned crowd_found;

static void *crowd_main(void *argument)
{
    pthread_barrier_wait(&crowd_start);
    if (ask(argument, "alice@example.test", 10000).answer == FOUND)
        crowd_found++;
    return NULL;
}

static void a_crowd_that_asks_for_one_key_costs_one_query(void **state)
{
    (void)state;
    pthread_t crowd[CROWD];
    struct asking asking = start("query = SELECT address FROM recipients WHERE address = '%s' AND "
                                 "SLEEP(0.5) = 0\n");
    uint64_t queries = counter_get(COUNT_mysql_queries);
    uint64_t joined = counter_get(COUNT_mysql_joined);
    crowd_found = 0;
    pthread_barrier_init(&crowd_start, NULL, CROWD);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(pthread_create(&crowd[i], NULL, crowd_main, &asking), 0);
    for (int i = 0; i < CROWD; i++)
        pthread_join(crowd[i], NULL);
    pthread_barrier_destroy(&crowd_start);
    assert_int_equal(crowd_found, CROWD);
    assert_int_equal(since(COUNT_mysql_queries, queries), 1);
    assert_int_equal(since(COUNT_mysql_joined, joined), CROWD - 1);
    stop(&asking);
}

static void *mixed_main(void *argument)
{
    const struct asking *asking = argument;
    for (int i = 0; i < 60; i++) {
        const char *key = i % 3 == 0 ? "alice@example.test" : i % 3 == 1 ? "@catch.test" : "none";
        if (ask(asking, key, 10000).answer == (i % 3 == 2 ? ABSENT : FOUND))
            crowd_found++;
    }
    return NULL;
}

static void many_threads_get_their_own_answers(void **state)
{
    (void)state;
    pthread_t crowd[16];
    struct asking asking = start(RECIPIENT_QUERY);
    crowd_found = 0;
    for (int i = 0; i < 16; i++)
        assert_int_equal(pthread_create(&crowd[i], NULL, mixed_main, &asking), 0);
    for (int i = 0; i < 16; i++)
        pthread_join(crowd[i], NULL);
    assert_int_equal(crowd_found, 16 * 60);
    stop(&asking);
}

static void tables_of_one_directory_share_a_pool(void **state)
{
    (void)state;
    struct asking a = start(RECIPIENT_QUERY), b = start("query = SELECT '%s'\n");
    struct asking c = start("charset = latin1\n" RECIPIENT_QUERY);
    assert_ptr_equal(a.pool, b.pool);
    assert_ptr_not_equal(a.pool, c.pool);
    assert_answer(&a, "nobody@example.test", ABSENT);
    assert_answer(&b, "nobody@example.test", FOUND); /* one key, two tables: two jobs */
    stop(&a);
    assert_answer(&b, "x", FOUND);
    settings.mysql_connections = 3;
    struct asking d = start(RECIPIENT_QUERY); /* other settings, after a reload */
    assert_ptr_not_equal(d.pool, b.pool);
    stop(&b);
    stop(&c);
    stop(&d);
}

/* Time. */

static void a_caller_leaves_at_its_deadline(void **state)
{
    (void)state;
    struct asking asking = start("query = SELECT SLEEP(0.8), '%s'\n");
    int64_t begun = clock_mono_ms();
    struct finding finding = ask(&asking, "k", 200);
    assert_in_range(clock_mono_ms() - begun, 200, 200 + SLACK_MS / 2);
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_true(finding.late);
    assert_non_null(strstr(finding.why.text, "deadline"));
    assert_int_equal(ask(&asking, "k", 3000).answer, FOUND); /* joins the query under way */
    finding = ask(&asking, "other", 0);
    assert_true(finding.late);
    stop(&asking);
}

static void a_job_nobody_waits_for_is_not_begun(void **state)
{
    (void)state;
    settings.mysql_connections = 1;
    struct asking asking = start("query = SELECT SLEEP(0.8), '%s'\n");
    uint64_t queries = counter_get(COUNT_mysql_queries);
    ask(&asking, "first", 100); /* it goes on without us */
    for (int i = 0; i < 3; i++)
        assert_true(ask(&asking, "waits behind it", 50).late);
    assert_int_equal(ask(&asking, "last", 5000).answer, FOUND);
    assert_int_equal(since(COUNT_mysql_queries, queries), 2);
    stop(&asking);
}

static void a_locked_table_costs_a_bounded_time(void **state)
{
    (void)state;
    struct session other = session_open(test_socket(), "pool_test");
    struct asking asking = start(RECIPIENT_QUERY);
    session_run(&other, "LOCK TABLES recipients WRITE");
    int64_t begun = clock_mono_ms();
    struct finding finding = ask(&asking, "alice@example.test", 10000);
    assert_in_range(clock_mono_ms() - begun, 0, 1500 + SLACK_MS);
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_false(finding.late);
    session_run(&other, "UNLOCK TABLES");
    wait_for_answer(&asking, "alice@example.test", FOUND, 5000);
    stop(&asking);
    session_close(&other);
}

/* The map. */

static void the_map_reads_checks_and_asks(void **state)
{
    (void)state;
    char path[256], text[1024], bad[256];
    struct map_context context = {.settings = &settings};
    snprintf(text, sizeof text,
             "hosts = unix:%s\nuser = root\ndbname = pool_test\noption_group =\n"
             "query = SELECT address FROM recipients WHERE address = '%%u@%%d'\n",
             test_socket());
    void *map = map_mysql.open(scratch_file(path, "map.cf", text), &context, &fault);
    assert_non_null(map);
    struct finding finding = {.answer = UNAVAILABLE};
    map_mysql.lookup(map, "alice@example.test", deadline_in_ms(5000), NULL, &finding);
    assert_int_equal(finding.answer, FOUND);
    uint64_t queries = counter_get(COUNT_mysql_queries);
    finding = (struct finding){.answer = UNAVAILABLE};
    map_mysql.lookup(map, "@example.test", deadline_in_ms(5000), NULL, &finding);
    assert_int_equal(finding.answer, ABSENT); /* suppressed */
    assert_int_equal(since(COUNT_mysql_queries, queries), 0);
    map_mysql.close(map);

    assert_null(map_mysql.open(scratch_path(bad, "missing.cf"), &context, &fault));
    assert_non_null(strstr(fault.text, "missing.cf"));
    assert_null(map_mysql.open("prefix", &context, &fault));
}

static void offline_the_map_is_checked_and_nobody_is_asked(void **state)
{
    (void)state;
    char path[256];
    struct map_context context = {.settings = &settings, .offline = true};
    scratch_file(path, "off.cf", "hosts = unix:/nobody\n" RECIPIENT_QUERY);
    uint64_t connects = counter_get(COUNT_mysql_connects);
    void *map = map_mysql.open(path, &context, &fault);
    assert_non_null(map);
    struct finding finding = {.answer = UNAVAILABLE};
    map_mysql.lookup(map, "alice@example.test", deadline_in_ms(5000), NULL, &finding);
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_int_equal(since(COUNT_mysql_connects, connects), 0);
    map_mysql.close(map);
}

static void collect_line(void *context, const char *text)
{
    strcat(context, text);
    strcat(context, "\n");
}

static void the_report_names_every_server_and_broken_table(void **state)
{
    (void)state;
    char path[256], report[4096] = "", lines[512], wanted[600];
    snprintf(lines, sizeof lines, "hosts = unix:%s\n%s", scratch_path(path, "no.sock"),
             RECIPIENT_QUERY);
    settings.mysql_connections = 1;
    struct asking good = start(RECIPIENT_QUERY), dead = start(lines);
    struct asking broken = start("query = SELECT x FROM no_such_table\n");
    assert_answer(&good, "alice@example.test", FOUND);
    assert_answer(&dead, "alice@example.test", UNAVAILABLE);
    assert_answer(&broken, "alice@example.test", UNAVAILABLE);
    mysql_pool_report(collect_line, report);
    stop(&good);
    stop(&dead);
    stop(&broken);
    snprintf(wanted, sizeof wanted, "mysql unix:%s up, 1 connection\n", test_socket());
    assert_non_null(strstr(report, wanted));
    snprintf(wanted, sizeof wanted, "mysql unix:%s resting for 0 s: error 2002", path);
    assert_non_null(strstr(report, wanted));
    assert_non_null(strstr(report, "error 1146"));
    report[0] = '\0';
    mysql_pool_report(collect_line, report);
    assert_string_equal(report, ""); /* and no pool was left */
}

static void the_sample_schema_answers_its_sample_queries(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "INSERT INTO domains (domain) VALUES ('ex.test'), ('ca.test')",
        "INSERT INTO domains VALUES ('off.test', FALSE)",
        "INSERT INTO alias_domains (alias, target) VALUES ('al.test', 'ex.test'), "
        "('ac.test', 'ca.test')",
        "INSERT INTO recipients (address) VALUES ('alice@ex.test'), ('@ca.test')",
        "INSERT INTO recipients VALUES ('gone@ex.test', NULL, FALSE)",
        "INSERT INTO access VALUES ('spam@ex.test', 'REJECT no more')",
        NULL};
    static const struct {
        const char *file, *key;
        enum answer answer;
        const char *value;
    } cases[] = {
        {"recipients", "alice@ex.test", FOUND, "alice@ex.test"},
        {"recipients", "alice@al.test", FOUND, "alice@ex.test"},
        {"recipients", "bob@al.test", ABSENT, ""},
        {"recipients", "gone@ex.test", ABSENT, ""},
        {"recipients", "@ca.test", FOUND, "@ca.test"},
        {"recipients", "@ac.test", FOUND, "@ca.test"},
        {"recipients", "@al.test", ABSENT, ""},
        {"recipients", EMOJI, ABSENT, ""},
        {"domains", "ex.test", FOUND, "ex.test"},
        {"domains", "al.test", FOUND, "al.test"},
        {"domains", "off.test", ABSENT, ""},
        {"access", "spam@ex.test", FOUND, "REJECT no more"},
        {"access", "alice@ex.test", ABSENT, ""},
    };
    char command[512];
    static const char *const create[] = {
        "CREATE DATABASE sample CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", NULL};
    run_sql(test_socket(), "mysql", create);
    struct session session = session_open(test_socket(), "sample");
    load_sql(&session, "db/schema.sql");
    session_close(&session);
    run_sql(test_socket(), "sample", rows);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[256];
        snprintf(command, sizeof command,
                 "sed -e 's|^hosts.*|hosts = unix:%s|' -e 's|^user.*|user = root|' "
                 "-e 's|^password.*|option_group =|' -e 's|^dbname.*|dbname = sample|' "
                 "config/examples/mysql-%s.cf > %s",
                 test_socket(), cases[i].file, scratch_path(path, "sample.cf"));
        assert_int_equal(system(command), 0);
        struct map_context context = {.settings = &settings};
        void *map = map_mysql.open(path, &context, &fault);
        assert_non_null(map);
        struct finding finding = {.answer = UNAVAILABLE};
        map_mysql.lookup(map, cases[i].key, deadline_in_ms(5000), NULL, &finding);
        if (finding.answer != cases[i].answer)
            fail_msg("%s %s: %s", cases[i].file, cases[i].key, finding.why.text);
        assert_string_equal(finding.value, cases[i].value);
        map_mysql.close(map);
    }
}

/* The frame. */

static int prepare(void **state)
{
    (void)state;
    if (!mysql_client_library_init(&fault))
        return -1;
    if (getenv("MYSQL_TEST_SOCKET"))
        run_sql(test_socket(), "mysql", directory);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_recipient_is_found_or_absent),
        TEST(hostile_keys_are_only_data),
        TEST(two_keys_that_a_collation_confuses_stay_two),
        TEST(an_emoji_troubles_no_one_but_itself),
        TEST(functions_and_procedures_need_no_derived_table),
        TEST(a_broken_query_is_not_absence_and_is_logged_once),
        TEST(a_mended_table_is_logged_once),
        TEST(a_refused_log_in_never_shows_the_password),
        TEST(the_trace_tells_host_statement_rows_and_time),
        TEST(a_crowd_that_asks_for_one_key_costs_one_query),
        TEST(many_threads_get_their_own_answers),
        TEST(tables_of_one_directory_share_a_pool),
        TEST(a_caller_leaves_at_its_deadline),
        TEST(a_job_nobody_waits_for_is_not_begun),
        TEST(a_locked_table_costs_a_bounded_time),
        TEST(the_map_reads_checks_and_asks),
        TEST(offline_the_map_is_checked_and_nobody_is_asked),
        TEST(the_report_names_every_server_and_broken_table),
        TEST(the_sample_schema_answers_its_sample_queries),
    };
    scratch_make();
    int failed = cmocka_run_group_tests_name("mysql_pool", tests, prepare, NULL);
    scratch_remove();
    return failed;
}
