/* Servers that take no more connections, and outages that a connection does not end. Run as:
 * tests/with-mariadb build/plain/tests/unit/test_mysql_limits */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "tests/unit/mysql_own.h"

#define AS_POOL_USER "user = pool_user\npassword = unused-s3cret\n"

static void run_one(const char *sql)
{
    const char *const statements[] = {sql, NULL};
    run_sql(test_socket(), "pool_test", statements);
}

static void limit_connections(unsigned most)
{
    char sql[100];
    snprintf(sql, sizeof sql, "ALTER USER pool_user@localhost WITH MAX_USER_CONNECTIONS %u", most);
    run_one(sql);
}

static void collect_line(void *context, const char *text)
{
    strcat(context, text);
    strcat(context, "\n");
}

static bool report_says(const char *what)
{
    char report[8192] = "";
    mysql_pool_report(collect_line, report);
    return strstr(report, what) != NULL;
}

/* Callers that ask until they are told to stop. */
enum { CALLERS = 6 };
struct callers {
    const struct asking *asking;
    const char *key;
    pthread_t threads[CALLERS];
    _Atomic bool stop;
    _Atomic unsigned answers[3]; /* of each enum answer */
    _Atomic unsigned slow;       /* over 2 s and the slack */
};

static void *caller_main(void *argument)
{
    struct callers *callers = argument;
    while (!callers->stop) {
        int64_t begun = clock_mono_ms();
        callers->answers[ask(callers->asking, callers->key, 5000).answer]++;
        callers->slow += clock_mono_ms() - begun > 2000 + SLACK_MS;
        test_pause();
    }
    return NULL;
}

static void callers_start(struct callers *callers, const struct asking *asking, const char *key)
{
    *callers = (struct callers){.asking = asking, .key = key};
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&callers->threads[i], NULL, caller_main, callers), 0);
}

static void callers_stop(struct callers *callers)
{
    callers->stop = true;
    for (int i = 0; i < CALLERS; i++)
        pthread_join(callers->threads[i], NULL);
}

/* Different keys, so that there is a job for each worker. */
static void *sleeper_main(void *argument)
{
    static _Atomic unsigned number;
    struct callers *callers = argument;
    while (!callers->stop) {
        char key[32];
        snprintf(key, sizeof key, "key%u", number++);
        callers->answers[ask(callers->asking, key, 5000).answer]++;
    }
    return NULL;
}

#define wait_until(condition, ms)                                                                  \
    do {                                                                                           \
        struct deadline wait_limit = deadline_in_ms(ms);                                           \
        while (!(condition)) {                                                                     \
            if (deadline_passed(wait_limit))                                                       \
                fail_msg("not within %d ms: %s", (int)(ms), #condition);                           \
            test_pause();                                                                          \
        }                                                                                          \
    } while (0)

/* ---- too many connections ---- */

static void lookups_go_on_over_the_connections_there_are(void **state)
{
    (void)state;
    char log[8192];
    limit_connections(1);
    struct asking asking = start(AS_POOL_USER "query = SELECT SLEEP(0.02), '%s'\n");
    assert_answer(&asking, "first", FOUND);
    struct scratch_log capture = scratch_log_begin();
    struct callers callers = {.asking = &asking};
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&callers.threads[i], NULL, sleeper_main, &callers), 0);
    wait_until(report_says("up, 1 connection; no more for 2 s: error 1226"), 8000);
    unsigned before = callers.answers[FOUND];
    wait_until(callers.answers[FOUND] > before + 20, 5000);
    limit_connections(0);
    wait_until(!report_says("no more for") && report_says("up, 4 connections"), 5000);
    callers_stop(&callers);
    stop(&asking);
    scratch_log_end(&capture, log, sizeof log);
    assert_int_equal(callers.answers[UNAVAILABLE], 0);
    assert_int_equal(callers.answers[ABSENT], 0);
    assert_int_equal(scratch_count(log, "going on with 1 connection\n"), 1);
    assert_int_equal(scratch_count(log, "takes new connections again after"), 1);
    assert_int_equal(scratch_count(log, "\n"), 2);
}

static void a_refusing_server_is_not_dialled_for_every_lookup(void **state)
{
    (void)state;
    limit_connections(1);
    struct asking asking = start(AS_POOL_USER "query = SELECT SLEEP(0.01), '%s'\n");
    assert_answer(&asking, "first", FOUND);
    uint64_t failures = counter_get(COUNT_mysql_failures);
    struct callers callers = {.asking = &asking};
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&callers.threads[i], NULL, sleeper_main, &callers), 0);
    wait_until(report_says("no more for 4 s"), 8000);
    callers_stop(&callers);
    stop(&asking);
    limit_connections(0);
    /* The three others once, perhaps, and then after 0.5, 1, 2 and 4 s. */
    assert_in_range(since(COUNT_mysql_failures, failures), 3, 3 + 4);
    assert_int_equal(callers.answers[UNAVAILABLE], 0);
}

static void the_last_connection_may_be_replaced_at_once(void **state)
{
    (void)state;
    limit_connections(1);
    struct asking asking = start(AS_POOL_USER "query = SELECT SLEEP(0.02), '%s'\n");
    struct session other = session_open(test_socket(), "mysql");
    assert_answer(&asking, "first", FOUND);
    struct callers callers = {.asking = &asking};
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&callers.threads[i], NULL, sleeper_main, &callers), 0);
    wait_until(report_says("no more for"), 5000);
    callers_stop(&callers);
    session_run(&other, "KILL USER pool_user@localhost");
    wait_until(strcmp(session_run(&other, "SELECT COUNT(*) FROM information_schema.processlist "
                                          "WHERE user = 'pool_user'")
                          .value,
                      "0") == 0,
               5000);
    assert_answer(&asking, "next", FOUND);
    session_close(&other);
    stop(&asking);
    limit_connections(0);
}

static void without_any_connection_a_refusal_rests_the_host_and_is_not_absence(void **state)
{
    (void)state;
    char log[8192];
    limit_connections(1);
    /* Whoever has the one connection there may be. */
    struct mysql_table *table =
        test_table(test_socket(), "pool_test", AS_POOL_USER "query = SELECT '%s'\n");
    struct mysql_trouble trouble;
    struct mysql_client *greedy = mysql_client_connect(&table->source, &table->source.hosts[0],
                                                       &test_timeouts, &trouble, &fault);
    assert_non_null(greedy);
    struct scratch_log capture = scratch_log_begin();
    struct asking asking = start(AS_POOL_USER "query = SELECT NULL, '%s'\n");
    struct finding finding = ask(&asking, "alice@example.test", 5000);
    bool rests = report_says("resting for 0 s: error 1226");
    mysql_client_close(greedy);
    wait_for_answer(&asking, "alice@example.test", FOUND, 5000);
    stop(&asking);
    scratch_log_end(&capture, log, sizeof log);
    limit_connections(0);
    mysql_table_free(table);
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_non_null(strstr(finding.why.text, "error 1226"));
    assert_true(rests);
    assert_int_equal(scratch_count(log, "no lookup goes there"), 1);
    assert_int_equal(scratch_count(log, "answers again after"), 1);
}

static void a_job_that_is_left_to_another_is_dropped_when_nobody_waits(void **state)
{
    (void)state;
    settings.mysql_connections = 2;
    limit_connections(1);
    struct asking asking = start(AS_POOL_USER "query = SELECT SLEEP(0.8), '%s'\n");
    assert_answer(&asking, "first", FOUND);
    uint64_t queries = counter_get(COUNT_mysql_queries);
    ask(&asking, "busy", 50);
    for (int i = 0; i < 3; i++) {
        struct finding finding = ask(&asking, "waits for it", 50);
        assert_int_equal(finding.answer, UNAVAILABLE);
        assert_true(finding.late);
    }
    assert_answer(&asking, "last", FOUND);
    assert_int_equal(since(COUNT_mysql_queries, queries), 2);
    stop(&asking);
    limit_connections(0);
}

/* ---- on trial ---- */

static void a_locked_table_is_one_outage(void **state)
{
    (void)state;
    char log[8192];
    static struct callers callers;
    struct session other = session_open(test_socket(), "pool_test");
    struct asking asking = start(RECIPIENT_QUERY);
    assert_answer(&asking, "alice@example.test", FOUND);
    struct scratch_log capture = scratch_log_begin();
    session_run(&other, "LOCK TABLES recipients WRITE");
    int64_t begun = clock_mono_ms();
    callers_start(&callers, &asking, "alice@example.test");
    unsigned trials = 0;
    bool was_on_trial = false;
    while (clock_mono_ms() - begun < 8000) {
        bool on_trial = report_says("on trial for");
        trials += on_trial && !was_on_trial;
        was_on_trial = on_trial;
        test_pause();
    }
    session_run(&other, "UNLOCK TABLES");
    wait_until(report_says("up, "), 5000);
    assert_answer(&asking, "alice@example.test", FOUND);
    callers_stop(&callers);
    stop(&asking);
    scratch_log_end(&capture, log, sizeof log);
    session_close(&other);
    assert_int_equal(callers.answers[ABSENT], 0);
    assert_in_range(trials, 2, 4); /* the rests double: 0.5, 1, 2, 4 s, and 1 s for each query */
    assert_int_equal(scratch_count(log, "no lookup goes there"), 1);
    assert_int_equal(scratch_count(log, "answers again after"), 1);
    double s = 0;
    assert_int_equal(sscanf(strstr(log, "answers again after"), "answers again after %lf", &s), 1);
    assert_in_range((int)(s * 1000), 6000, 13000);
}

static void a_server_that_says_no_has_answered(void **state)
{
    (void)state;
    char log[8192];
    struct asking asking = start_own(RECIPIENT_QUERY);
    struct asking broken = start_on(own.sock, "pool_test", "query = SELECT x FROM nowhere\n");
    assert_ptr_equal(asking.pool, broken.pool);
    assert_answer(&asking, "alice@example.test", FOUND);
    struct scratch_log capture = scratch_log_begin();
    own_server_kill(&own);
    wait_for_answer(&asking, "alice@example.test", UNAVAILABLE, 2000);
    own_server_start(&own);
    wait_until(report_says("on trial for 1 s"), 8000); /* nobody has asked */
    struct finding finding = ask(&broken, "alice@example.test", 5000);
    bool up = report_says("up, ");
    stop(&asking);
    stop(&broken);
    scratch_log_end(&capture, log, sizeof log);
    assert_non_null(strstr(finding.why.text, "error 1146"));
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_true(up);
    assert_int_equal(scratch_count(log, "answers again after"), 1);
}

static void a_host_on_trial_takes_few_lookups_from_one_that_is_up(void **state)
{
    (void)state;
    char log[8192], lines[1024];
    static struct callers callers;
    if (own.pid == 0)
        own_server_start(&own);
    snprintf(lines, sizeof lines, "hosts = unix:%s unix:%s\n%s", own.sock, test_socket(),
             RECIPIENT_QUERY);
    struct session other = session_open(own.sock, "pool_test");
    session_run(&other, "LOCK TABLES recipients WRITE");
    struct scratch_log capture = scratch_log_begin();
    struct asking asking = start(lines);
    int64_t begun = clock_mono_ms();
    while (!report_says("resting for")) { /* the order of hosts is random */
        if (clock_mono_ms() - begun > 20000)
            fail_msg("the locked host was never tried");
        stop(&asking);
        asking = start(lines);
        assert_answer(&asking, "alice@example.test", FOUND);
    }
    callers_start(&callers, &asking, "alice@example.test");
    wait_until(report_says("on trial for"), 8000);
    wait_until(!report_says("on trial for"), 8000); /* it has had its lookup */
    session_run(&other, "UNLOCK TABLES");
    wait_until(!report_says("resting for") && !report_says("on trial for"), 5000);
    callers_stop(&callers);
    stop(&asking);
    scratch_log_end(&capture, log, sizeof log);
    session_close(&other);
    assert_int_equal(callers.answers[UNAVAILABLE], 0);
    assert_int_equal(callers.answers[ABSENT], 0);
    assert_int_equal(callers.slow, 0);
    assert_int_equal(scratch_count(log, "answers again after"), 1);
}

/* ---- our own limits, and rights ---- */

/* Every descriptor this process may have; the first is given back. */
static int take_all_descriptors(int taken[], int most)
{
    int count = 0;
    while (count < most && (taken[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        count++;
    return count;
}

static void without_a_descriptor_of_ours_nobody_is_blamed(void **state)
{
    (void)state;
    enum { MOST = 256 };
    int taken[MOST];
    struct rlimit before, few = {MOST, MOST};
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few.rlim_max = before.rlim_max;
    struct asking asking = start(AS_POOL_USER "query = SELECT '%s'\n");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    int count = take_all_descriptors(taken, MOST);
    struct finding finding = ask(&asking, "somebody", 5000), again = ask(&asking, "other", 5000);
    bool rests = report_says("resting");
    while (count > 0)
        close(taken[--count]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_true(finding.late && again.late);
    assert_non_null(strstr(finding.why.text, "error 2001"));
    assert_false(rests);
    assert_answer(&asking, "somebody", FOUND);
    stop(&asking);
}

/* The session keeps the rights of its beginning; it must not be kept because it is busy. */
static void a_right_that_is_given_back_is_seen_by_a_busy_pool(void **state)
{
    (void)state;
    run_one("CREATE TABLE IF NOT EXISTS secrets (a VARCHAR(9))");
    run_one("INSERT INTO secrets VALUES ('x')");
    run_one("REVOKE ALL ON pool_test.* FROM pool_user@localhost");
    run_one("GRANT EXECUTE ON pool_test.* TO pool_user@localhost");
    struct asking asking = start(AS_POOL_USER "query = SELECT '%s' FROM secrets\n");
    struct callers callers;
    callers_start(&callers, &asking, "somebody");
    wait_until(callers.answers[UNAVAILABLE] > 20, 5000);
    run_one("GRANT ALL ON pool_test.* TO pool_user@localhost");
    wait_until(callers.answers[FOUND] > 20, 5000);
    callers_stop(&callers);
    assert_int_equal(callers.answers[ABSENT], 0);
    stop(&asking);
}

/* The frame. */

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lookups_go_on_over_the_connections_there_are),
        TEST(a_refusing_server_is_not_dialled_for_every_lookup),
        TEST(the_last_connection_may_be_replaced_at_once),
        TEST(without_any_connection_a_refusal_rests_the_host_and_is_not_absence),
        TEST(a_job_that_is_left_to_another_is_dropped_when_nobody_waits),
        TEST(a_locked_table_is_one_outage),
        TEST(a_server_that_says_no_has_answered),
        TEST(a_host_on_trial_takes_few_lookups_from_one_that_is_up),
        TEST(without_a_descriptor_of_ours_nobody_is_blamed),
        TEST(a_right_that_is_given_back_is_seen_by_a_busy_pool),
    };
    scratch_make();
    int failed = cmocka_run_group_tests_name("mysql_limits", tests, prepare_servers, kill_own_server);
    scratch_remove();
    return failed;
}
