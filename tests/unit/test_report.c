/* The one line of a recipient. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <cmocka.h>

#include "milter/report.h"
#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/log.h"

#include "tests/unit/scratch.h"

static struct settings settings;
static struct check_result result;
static struct scratch_log capture;
static char text[LOG_RECORD_MAX];

/* A refusal as a primary gives it. */
static int prepare(void **state)
{
    size_t count;
    (void)state;
    settings = (struct settings){.log_known = true};
    result = (struct check_result){.recipient = "<x@y>",
                                   .asked = true,
                                   .role = ROLE_PRIMARY,
                                   .verdict = {.row = verdict_rows(&count)},
                                   .outcome = {.tier = TIER_DIRECTORY},
                                   .reply = {.code = "450", .enhanced = "4.1.1", .text = "no"}};
    log_open(true, "t", LOG_MAIL);
    log_set_form(LOG_TEXT);
    capture = scratch_log_begin();
    return 0;
}

static const char *reported(const struct check_request *request)
{
    report_recipient(&settings, request, &result);
    scratch_log_end(&capture, text, sizeof text);
    capture = scratch_log_begin();
    return text;
}

static int finish(void **state)
{
    (void)state;
    scratch_log_end(&capture, text, sizeof text);
    return 0;
}

static const struct check_request request = {.argument = "<x@y>",
                                             .client_address = "192.0.2.1",
                                             .client_name = "a.test",
                                             .sender = "s@z",
                                             .queue_id = "4A"};

static void a_refusal_is_shaped_like_postfix_s(void **state)
{
    (void)state;
    result.outcome.verified = clock_wall_s() + 1000; /* a clock that was set back */
    assert_string_equal(reported(&request),
                        "t: 4A: reject: RCPT from a.test[192.0.2.1]: 450 4.1.1 no; from=<s@z> "
                        "to=<x@y> role=primary verdict=\"exempt\" evidence=directory "
                        "age=-1000s\n");
}

static void what_is_not_known_is_left_out(void **state)
{
    (void)state;
    static const struct check_request bare;
    result.asked = false;
    assert_string_equal(reported(&bare),
                        "t: NOQUEUE: reject: RCPT from unknown[unknown]: 450 4.1.1 no; from=<> "
                        "to=<x@y> role=primary verdict=\"exempt\"\n");
}

static void a_pass_is_a_line_with_log_known_only(void **state)
{
    (void)state;
    result.reply = (struct reply){.pass = true};
    assert_string_equal(reported(&request),
                        "t: 4A: pass: RCPT from a.test[192.0.2.1]; from=<s@z> to=<x@y> "
                        "role=primary verdict=\"exempt\" evidence=directory\n");
    settings.log_known = false;
    assert_string_equal(reported(&request), "");
}

static void what_held_and_what_failed_are_sentences(void **state)
{
    (void)state;
    result.verdict.interlock = INTERLOCK_SHED;
    fault_set(&result.outcome.why, "server \"h\" said \"no\"");
    const char *line = reported(&request);
    assert_non_null(strstr(line, " held=\""));
    assert_non_null(strstr(line, " why=\"server 'h' said 'no'\"\n"));
}

static void brackets_are_taken_off_once_and_only_in_pairs(void **state)
{
    (void)state;
    result.recipient = "<<x@y>>";
    assert_non_null(strstr(reported(&request), " to=<\\x3cx@y\\x3e> "));
    result.recipient = "<x@y";
    assert_non_null(strstr(reported(&request), " to=<\\x3cx@y> "));
    result.recipient = "<>";
    assert_non_null(strstr(reported(&request), " to=<> "));
    result.recipient = "";
    assert_non_null(strstr(reported(&request), " to=<> "));
}

static void no_client_is_so_long_that_its_recipient_is_lost(void **state)
{
    (void)state;
    static char endless[20000];
    memset(endless, '\xff', sizeof endless - 1);
    struct check_request hostile = {.argument = endless,
                                    .client_address = endless,
                                    .client_name = endless,
                                    .sender = endless,
                                    .queue_id = endless};
    const char *line = reported(&hostile);
    assert_non_null(strstr(line, "]: 450 4.1.1 no; from=<\\xff"));
    assert_non_null(strstr(line, " to=<x@y> role=primary verdict="));
}

/* The limit is the process's: this one is used up for an hour. Last. */
static void a_flood_is_cut_and_told(void **state)
{
    (void)state;
    settings.log_rate_limit = (struct settings_rate){.count = 5, .window_s = 3600};
    uint64_t before = counter_get(COUNT_log_lines_suppressed);
    for (int i = 0; i < 12; i++)
        report_recipient(&settings, &request, &result);
    memcpy(result.reply.code, "550", 4);
    for (int i = 0; i < 6; i++)
        report_recipient(&settings, &request, &result);
    report_left_out(&settings, false); /* it is not over */
    report_left_out(&settings, true);
    report_left_out(&settings, true);
    scratch_log_read(&capture, text, sizeof text);
    assert_int_equal(scratch_count(text, ": 450 "), 5);
    assert_int_equal(scratch_count(text, ": 550 "), 5);
    assert_int_equal(scratch_count(text, "left out"), 1);
    assert_non_null(strstr(text, "t: warning: 8 lines about recipients were left out in the last 1 "
                                 "s (pass 0, 4xx 7, 5xx 1), see log_rate_limit\n"));
    assert_int_equal(counter_get(COUNT_log_lines_suppressed) - before, 8);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_refusal_is_shaped_like_postfix_s, prepare, finish),
        cmocka_unit_test_setup_teardown(what_is_not_known_is_left_out, prepare, finish),
        cmocka_unit_test_setup_teardown(a_pass_is_a_line_with_log_known_only, prepare, finish),
        cmocka_unit_test_setup_teardown(what_held_and_what_failed_are_sentences, prepare, finish),
        cmocka_unit_test_setup_teardown(brackets_are_taken_off_once_and_only_in_pairs, prepare,
                                        finish),
        cmocka_unit_test_setup_teardown(no_client_is_so_long_that_its_recipient_is_lost, prepare,
                                        finish),
        cmocka_unit_test_setup_teardown(a_flood_is_cut_and_told, prepare, finish),
    };
    scratch_make();
    int failed = cmocka_run_group_tests_name("report", tests, NULL, NULL);
    scratch_remove();
    return failed;
}
