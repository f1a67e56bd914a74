/* Servers that die, hang, come back and dribble. Run as:
 * tests/with-mariadb build/plain/tests/unit/test_mysql_outage */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/dribbler.h"
#include "tests/unit/mysql_own.h"

/* Servers that fail. */

static void a_dead_server_is_not_waited_for(void **state)
{
    (void)state;
    char log[4096], path[256];
    struct scratch_log capture = scratch_log_begin();
    struct asking asking = start_on(scratch_path(path, "no.sock"), "x", RECIPIENT_QUERY);
    struct finding first = ask(&asking, "alice@example.test", 5000);
    int64_t begun = clock_mono_ms();
    unsigned resting = 0;
    while (clock_mono_ms() - begun < 2500) { /* over several probes */
        struct finding finding = ask(&asking, "alice@example.test", 5000);
        resting += strstr(finding.why.text, "is resting after: error 2002") != NULL;
        assert_int_equal(finding.answer, UNAVAILABLE);
        assert_false(finding.late);
        test_pause();
    }
    stop(&asking);
    scratch_log_end(&capture, log, sizeof log);
    assert_int_equal(first.answer, UNAVAILABLE);
    assert_non_null(strstr(first.why.text, "error 2002"));
    assert_in_range(resting, 50, 1000); /* at once, each of them */
    assert_int_equal(scratch_count(log, "error 2002"), 1);
}

static void a_second_host_answers_for_a_dead_one(void **state)
{
    (void)state;
    char log[4096], path[256], lines[1024];
    struct scratch_log capture = scratch_log_begin();
    snprintf(lines, sizeof lines, "hosts = unix:%s unix:%s\n%s", scratch_path(path, "no.sock"),
             test_socket(), RECIPIENT_QUERY);
    struct asking asking = start(lines);
    for (int i = 0; i < 20; i++)
        assert_answer(&asking, "alice@example.test", FOUND);
    stop(&asking);
    scratch_log_end(&capture, log, sizeof log);
    assert_in_range(scratch_count(log, "error 2002"), 0, 1);
}

static void a_restart_between_two_lookups_is_not_noticed(void **state)
{
    (void)state;
    settings.mysql_connections = 2;
    struct asking asking = start_own(RECIPIENT_QUERY);
    for (int i = 0; i < 8; i++)
        assert_answer(&asking, "alice@example.test", FOUND);
    own_server_kill(&own);
    own_server_start(&own);
    for (int i = 0; i < 8; i++)
        assert_answer(&asking, "alice@example.test", FOUND);
    stop(&asking);
}

static void a_server_that_comes_back_is_used_again_within_five_seconds(void **state)
{
    (void)state;
    char log[8192];
    struct asking asking = start_own(RECIPIENT_QUERY);
    assert_answer(&asking, "alice@example.test", FOUND);
    struct scratch_log capture = scratch_log_begin();
    own_server_kill(&own);
    wait_for_answer(&asking, "alice@example.test", UNAVAILABLE, 1000);
    int64_t begun = clock_mono_ms();
    while (clock_mono_ms() - begun < 4500) { /* until the rests are at their longest */
        assert_int_equal(ask(&asking, "alice@example.test", 1000).answer, UNAVAILABLE);
        test_pause();
    }
    own_server_start(&own);
    wait_for_answer(&asking, "alice@example.test", FOUND, 5000);
    assert_answer(&asking, "alice@example.test", FOUND);
    stop(&asking);
    scratch_log_end(&capture, log, sizeof log);
    assert_int_equal(scratch_count(log, "no lookup goes there until"), 1);
    assert_int_equal(scratch_count(log, "answers again after"), 1);
}

static void a_hanging_server_costs_one_timeout_and_then_nothing(void **state)
{
    (void)state;
    struct asking asking = start_own(RECIPIENT_QUERY);
    assert_answer(&asking, "alice@example.test", FOUND);
    hang_own_server();

    int64_t begun = clock_mono_ms();
    struct finding finding = ask(&asking, "alice@example.test", 300);
    assert_in_range(clock_mono_ms() - begun, 300, 300 + SLACK_MS);
    assert_true(finding.late);

    begun = clock_mono_ms();
    finding = ask(&asking, "bob@example.test", 10000);
    assert_in_range(clock_mono_ms() - begun, 500, 2500 + SLACK_MS);
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_false(finding.late);

    wait_for_answer(&asking, "alice@example.test", UNAVAILABLE, 3000);
    begun = clock_mono_ms();
    for (int i = 0; i < 10; i++)
        assert_int_equal(ask(&asking, "alice@example.test", 5000).answer, UNAVAILABLE);
    assert_in_range(clock_mono_ms() - begun, 0, SLACK_MS);

    kill(own.pid, SIGCONT);
    wait_for_answer(&asking, "alice@example.test", FOUND, 7000); /* a probe may just have begun */
    stop(&asking);
}

static void dropping_a_pool_of_a_hanging_server_is_bounded(void **state)
{
    (void)state;
    struct asking asking = start_own(RECIPIENT_QUERY);
    assert_answer(&asking, "alice@example.test", FOUND);
    hang_own_server();
    assert_true(ask(&asking, "alice@example.test", 100).late);
    int64_t begun = clock_mono_ms();
    stop(&asking);
    assert_in_range(clock_mono_ms() - begun, 0, 3000 + SLACK_MS);
    kill(own.pid, SIGCONT);
}

static void a_dribbling_answer_is_cut_off_by_the_watchdog(void **state)
{
    (void)state;
    static struct dribbler dribbler;
    test_socket();
    dribbler_start(&dribbler, "dribble1.sock", false);
    settings.mysql_connections = 1;
    struct asking asking = start_on(dribbler.sock, "pool_test", RECIPIENT_QUERY);
    assert_answer(&asking, "alice@example.test", FOUND);

    dribbler.dribbles = true;
    int64_t begun = clock_mono_ms();
    struct finding finding = ask(&asking, "alice@example.test", 300);
    assert_in_range(clock_mono_ms() - begun, 300, 300 + SLACK_MS);
    assert_true(finding.late);
    finding = ask(&asking, "alice@example.test", 10000); /* the same query, and how it ends */
    assert_in_range(clock_mono_ms() - begun, 0, 1500 + SLACK_MS);
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_non_null(strstr(finding.why.text, "no answer within 1 s"));

    dribbler.dribbles = false; /* the one thread there is works again */
    wait_for_answer(&asking, "alice@example.test", FOUND, 7000);
    stop(&asking);
    dribbler_stop(&dribbler);
    assert_in_range(dribbler.broken_off, 1, 64);
}

static void a_dribbling_greeting_holds_no_caller_and_no_place(void **state)
{
    (void)state;
    static struct dribbler dribbler;
    char log[4096];
    test_socket();
    struct scratch_log capture = scratch_log_begin();
    dribbler_start(&dribbler, "dribble2.sock", true);
    settings.mysql_connections = 1;
    struct asking asking = start_on(dribbler.sock, "pool_test", RECIPIENT_QUERY);

    int64_t begun = clock_mono_ms();
    struct finding finding = ask(&asking, "alice@example.test", 300);
    int64_t left = clock_mono_ms() - begun;
    struct finding same = ask(&asking, "alice@example.test", 10000);
    int64_t answered = clock_mono_ms() - begun;
    /* The greeting alone would take ten seconds. The place has another thread before that. */
    dribbler.dribbles = false;
    int64_t back = wait_for_answer(&asking, "alice@example.test", FOUND, 7000);
    dribbler.dribbles = true;
    begun = clock_mono_ms();
    stop(&asking);
    int64_t stopped = clock_mono_ms() - begun;
    dribbler_stop(&dribbler);
    scratch_log_end(&capture, log, sizeof log);

    assert_true(finding.late);
    assert_in_range(left, 300, 300 + SLACK_MS);
    assert_int_equal(same.answer, UNAVAILABLE);
    assert_false(same.late);
    assert_in_range(answered, 0, 2000 + SLACK_MS);
    assert_in_range(back, 0, 7000);
    assert_in_range(stopped, 0, 3000 + SLACK_MS);
    assert_int_equal(scratch_count(log, "no connection within 1 s"), 1);
}

static void a_dribbling_host_does_not_take_the_threads_of_a_good_one(void **state)
{
    (void)state;
    static struct dribbler dribbler;
    char lines[1024];
    dribbler_start(&dribbler, "dribble4.sock", true);
    settings.mysql_connections = 1;
    snprintf(lines, sizeof lines, "hosts = unix:%s unix:%s\n%s", dribbler.sock, test_socket(),
             RECIPIENT_QUERY);
    struct asking asking = start(lines);
    int64_t begun = clock_mono_ms();
    while (!strstr(ask(&asking, "alice@example.test", 5000).why.text, "no connection within")) {
        /* The order of hosts is random, and a good connection is kept: a new pool tries again. */
        if (clock_mono_ms() - begun > 20000)
            fail_msg("the dribbling host was never tried");
        stop(&asking);
        asking = start(lines);
    }
    begun = clock_mono_ms();
    while (clock_mono_ms() - begun < 5000) { /* while it is probed, and each probe hangs */
        int64_t asked = clock_mono_ms();
        assert_answer(&asking, "alice@example.test", FOUND);
        assert_in_range(clock_mono_ms() - asked, 0, 2000 + SLACK_MS);
        test_pause();
    }
    stop(&asking);
    dribbler_stop(&dribbler);
}

static void a_server_that_dribbles_for_ever_leaves_a_bounded_number_of_threads(void **state)
{
    (void)state;
    static struct dribbler dribbler;
    test_socket();
    dribbler_start(&dribbler, "dribble3.sock", true);
    settings.mysql_connections = 1;
    struct asking asking = start_on(dribbler.sock, "pool_test", RECIPIENT_QUERY);
    int64_t begun = clock_mono_ms();
    assert_int_equal(ask(&asking, "alice@example.test", 10000).answer, UNAVAILABLE);
    while (clock_mono_ms() - begun < 6000) { /* first connection and two probes have hung */
        int64_t asked = clock_mono_ms();
        assert_int_equal(ask(&asking, "alice@example.test", 5000).answer, UNAVAILABLE);
        assert_in_range(clock_mono_ms() - asked, 0, SLACK_MS);
        test_pause();
    }
    begun = clock_mono_ms();
    stop(&asking);
    assert_in_range(clock_mono_ms() - begun, 0, 2000 + SLACK_MS);
    dribbler_stop(&dribbler); /* what was left behind comes back now, and frees the pool */
}

/* The frame. */

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_dead_server_is_not_waited_for),
        TEST(a_second_host_answers_for_a_dead_one),
        TEST(a_restart_between_two_lookups_is_not_noticed),
        TEST(a_server_that_comes_back_is_used_again_within_five_seconds),
        TEST(a_hanging_server_costs_one_timeout_and_then_nothing),
        TEST(dropping_a_pool_of_a_hanging_server_is_bounded),
        TEST(a_dribbling_answer_is_cut_off_by_the_watchdog),
        TEST(a_dribbling_greeting_holds_no_caller_and_no_place),
        TEST(a_dribbling_host_does_not_take_the_threads_of_a_good_one),
        TEST(a_server_that_dribbles_for_ever_leaves_a_bounded_number_of_threads),
    };
    scratch_make();
    int failed = cmocka_run_group_tests_name("mysql_outage", tests, prepare_servers, kill_own_server);
    scratch_remove();
    return failed;
}
