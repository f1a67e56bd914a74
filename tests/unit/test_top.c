#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "milter/top_view.h"
#include "shared/text.h"

static const char stats[] =
    "# HELP rcpt_milter_waiting_recipients recipients deferred\n"
    "# TYPE rcpt_milter_waiting_recipients gauge\n"
    "rcpt_milter_waiting_recipients 12\n"
    "rcpt_milter_oldest_waiting_seconds 11520\n"
    "rcpt_milter_escalate_after_seconds 14400\n"
    "rcpt_milter_bounces_total 40\n"
    "rcpt_milter_false_bounces_total 0\n"
    "rcpt_milter_recipients_total 1000\n"
    "rcpt_milter_replies_total{class=\"pass\"} 900\n"
    "rcpt_milter_replies_total{class=\"4xx\"} 60\n"
    "rcpt_milter_replies_total{class=\"5xx\"} 40\n"
    "rcpt_milter_lookups_total{answer=\"known\",tier=\"directory\",role=\"primary\"} 100\n"
    "rcpt_milter_lookups_total{answer=\"absent\",tier=\"directory\",role=\"fallback\"} 100\n"
    "rcpt_milter_lookups_total{answer=\"known\",tier=\"memcached\",role=\"primary\"} 800\n"
    "rcpt_milter_lookups_total{answer=\"known\",tier=\"memcached-stale\",role=\"primary\"} 0\n"
    "rcpt_milter_lookup_seconds_bucket{le=\"5e-06\"} 980\n"
    "rcpt_milter_lookup_seconds_bucket{le=\"1e-05\"} 980\n"
    "rcpt_milter_lookup_seconds_bucket{le=\"0.001\"} 1000\n"
    "rcpt_milter_lookup_seconds_bucket{le=\"+Inf\"} 1000\n";

static const char status[] = "rcpt-milter 0.1.0, pid 453, running for 3 s\n"
                             "configuration: /etc/rcpt-milter/rcpt-milter.conf, read 3 s ago\n"
                             "role: primary\n"
                             "recipients: checked\n"
                             "bounces: yes\n"
                             "mysql unix:/x resting for 3 s: error 2002\n"
                             "process cache: 3 of 100000 entries\n"
                             "memcached inet:127.0.0.1:11211 up\n"
                             "known-good store: 2 recipients\n"
                             "ledger: 12 waiting, the first for 2 s; 0 bounced\n";

static struct top_screen lay_out(const struct top_input *input, unsigned columns, unsigned rows)
{
    struct top_screen screen;
    memset(&screen, 'x', sizeof screen);
    top_layout(input, columns, rows, &screen);
    return screen;
}

static struct top_screen usual(const char *now, const char *before)
{
    struct top_input input = {
        .stats = now, .before = before, .seconds = 10, .status = status, .trouble = ""};
    return lay_out(&input, 80, 24);
}

static const struct top_line *find(const struct top_screen *screen, const char *words)
{
    for (size_t i = 0; i < screen->count; i++)
        if (strstr(screen->lines[i].text, words))
            return &screen->lines[i];
    return NULL;
}

static void assert_shown(const struct top_screen *screen, const char *words)
{
    if (!find(screen, words))
        fail_msg("not shown: %s", words);
}

static void assert_fits(const struct top_screen *screen, unsigned columns, unsigned rows)
{
    assert_true(screen->count <= rows && screen->count <= TOP_LINES_MAX);
    for (size_t i = 0; i < screen->count; i++) {
        const char *text = screen->lines[i].text;
        assert_non_null(memchr(text, '\0', sizeof screen->lines[i].text));
        assert_true(strlen(text) < columns);
        for (size_t at = 0, size; text[at]; at += size)
            assert_true(text_is_printable(text + at, strlen(text + at), &size));
    }
}

/* A copy with one line changed; to be freed. */
static char *with(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    assert_non_null(at);
    char *copy = malloc(strlen(text) + strlen(to) + 1);
    assert_non_null(copy);
    sprintf(copy, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return copy;
}

static void the_first_two_lines_are_who_waits_and_who_bounced(void **state)
{
    (void)state;
    struct top_screen screen = usual(stats, NULL);
    assert_string_equal(screen.lines[0].text,
                        "waiting      12   the first for 3h12m   (a primary bounces after 4h00m)");
    assert_string_equal(screen.lines[1].text, "bounced      40   4 per second, possibly false: 0");
    assert_false(screen.lines[0].alarm || screen.lines[1].alarm);
}

static void a_false_bounce_is_an_alarm(void **state)
{
    (void)state;
    char *wrong = with(stats, "false_bounces_total 0", "false_bounces_total 1");
    struct top_screen screen = usual(wrong, NULL);
    free(wrong);
    assert_true(screen.lines[1].alarm);
    assert_shown(&screen, "possibly false: 1");
}

static void who_waits_too_long_is_an_alarm(void **state)
{
    (void)state;
    char *late = with(stats, "waiting_seconds 11520", "waiting_seconds 21601");
    struct top_screen screen = usual(late, NULL);
    free(late);
    assert_true(screen.lines[0].alarm);
}

static void where_nobody_escalates_nobody_waits_too_long(void **state)
{
    (void)state;
    char *never = with(stats, "escalate_after_seconds 14400", "escalate_after_seconds 0");
    struct top_screen screen = usual(never, NULL);
    free(never);
    assert_false(screen.lines[0].alarm);
    assert_shown(&screen, "never bounces");
}

static void of_status_it_shows_what_matters_here(void **state)
{
    (void)state;
    struct top_screen screen = usual(stats, NULL);
    assert_shown(&screen, "role: primary");
    assert_shown(&screen, "bounces: yes");
    assert_shown(&screen, "memcached inet:127.0.0.1:11211 up");
    assert_shown(&screen, "known-good store: 2");
    assert_null(find(&screen, "configuration:"));
    assert_null(find(&screen, "ledger:"));
    assert_true(find(&screen, "resting for")->alarm);
    assert_false(find(&screen, " up")->alarm);
}

static void rates_are_of_the_time_between(void **state)
{
    (void)state;
    char *before = with(stats, "recipients_total 1000", "recipients_total 500");
    struct top_screen screen = usual(stats, before);
    free(before);
    assert_shown(&screen, "per second     50 recipients");
    assert_shown(&screen, "(now)");
    assert_shown(&screen, "     0 pass");
}

static void without_a_time_before_rates_are_since_the_start(void **state)
{
    (void)state;
    struct top_screen screen = usual(stats, NULL);
    assert_shown(&screen, "per second    100 recipients");
    assert_shown(&screen, "(since the start)");
    assert_shown(&screen, "    90 pass");
    assert_shown(&screen, "    80 memcached");
    assert_shown(&screen, "    20 directory");
    assert_shown(&screen, "     0 stale");
}

static void a_counter_that_was_reset_counts_from_zero(void **state)
{
    (void)state;
    char *before = with(stats, "recipients_total 1000", "recipients_total 90000");
    struct top_screen screen = usual(stats, before);
    free(before);
    assert_shown(&screen, "per second    100 recipients");
}

static void latencies_come_from_the_buckets(void **state)
{
    (void)state;
    struct top_screen screen = usual(stats, NULL);
    const struct top_line *lookup = find(&screen, "a lookup");
    assert_non_null(lookup);
    assert_non_null(strstr(lookup->text, "3 us"));
    assert_shown(&screen, "SQL                 -          -");
}

static void trouble_is_told_and_what_was_there_stays(void **state)
{
    (void)state;
    struct top_input input = {
        .stats = stats, .seconds = 1, .status = status, .trouble = "NOTHING NEW: gone"};
    struct top_screen screen = lay_out(&input, 80, 24);
    assert_true(find(&screen, "NOTHING NEW: gone")->alarm);
    assert_shown(&screen, "waiting      12");
}

static void it_fits_whatever_the_size(void **state)
{
    (void)state;
    struct top_input input = {.stats = stats, .seconds = 2, .status = status, .trouble = "x"};
    for (unsigned columns = 1; columns <= 200; columns++) {
        struct top_screen screen = lay_out(&input, columns, 24);
        assert_fits(&screen, columns < 80 ? columns : 80, 24);
    }
    for (unsigned rows = 1; rows <= 60; rows++) {
        struct top_screen screen = lay_out(&input, 80, rows);
        assert_fits(&screen, 80, rows);
        assert_int_equal(strncmp(screen.lines[0].text, "waiting", 7), 0);
        if (rows >= 2)
            assert_int_equal(strncmp(screen.lines[1].text, "bounced", 7), 0);
    }
    struct top_screen unknown = lay_out(&input, 0, 0);
    assert_fits(&unknown, 80, 24);
}

static void a_long_status_leaves_room_for_the_rates(void **state)
{
    (void)state;
    char many[8192] = "role: primary\n";
    for (int i = 0; i < 100; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "mysql inet:10.0.0.%d:3306 up\n",
                 i);
    struct top_input input = {.stats = stats, .seconds = 1, .status = many, .trouble = ""};
    struct top_screen screen = lay_out(&input, 80, 24);
    assert_fits(&screen, 80, 24);
    assert_shown(&screen, "more: rcptctl status");
    assert_shown(&screen, "per second");
    assert_shown(&screen, "memcached  ");
}

static void huge_numbers_fit(void **state)
{
    (void)state;
    static const char *const numbers[] = {"1e300",    "inf", "nan", "-5", "18446744073709551615",
                                          "99999999", "x"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char text[4096] = "";
        static const char *const names[] = {"waiting_recipients",
                                            "oldest_waiting_seconds",
                                            "escalate_after_seconds",
                                            "bounces_total",
                                            "false_bounces_total",
                                            "recipients_total",
                                            "lookups_shed_total",
                                            "replies_total{class=\"pass\"}",
                                            "replies_total{class=\"4xx\"}",
                                            "lookups_total{tier=\"directory\"}",
                                            "lookup_seconds_bucket{le=\"5e-06\"}",
                                            "lookup_seconds_bucket{le=\"+Inf\"}"};
        for (size_t j = 0; j < sizeof names / sizeof names[0]; j++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "rcpt_milter_%s %s\n",
                     names[j], numbers[i]);
        for (unsigned columns = 1; columns <= 80; columns += 7) {
            struct top_input input = {.stats = text,
                                      .before = i % 2 ? stats : NULL,
                                      .seconds = 1e-9,
                                      .status = "",
                                      .trouble = ""};
            struct top_screen screen = lay_out(&input, columns, 24);
            assert_fits(&screen, columns, 24);
        }
    }
}

static void hostile_text_does_nothing_to_the_terminal(void **state)
{
    (void)state;
    static const char hostile[] = "mysql \x1b[2J\x1b]0;gone\x07 \xc2\x9b resting for\r 3 s\n"
                                  "\xff\xfe\xe2\x80\xae\n\x1b\n"
                                  "role: \xf0\x9f\x92\xa9\xf0\x9f\x92\xa9\xf0\x9f\x92\xa9\xf0\x9f"
                                  "\x92\xa9\xf0\x9f\x92\xa9\xf0\x9f\x92\xa9\xf0\x9f\x92\xa9\n";
    for (unsigned columns = 1; columns <= 80; columns++) {
        struct top_input input = {
            .stats = hostile, .before = hostile, .status = hostile, .trouble = hostile};
        struct top_screen screen = lay_out(&input, columns, 24);
        assert_fits(&screen, columns, 24);
    }
}

static void what_is_missing_counts_as_nothing(void **state)
{
    (void)state;
    struct top_input input = {.stats = "", .before = "", .status = "", .trouble = ""};
    struct top_screen screen = lay_out(&input, 80, 24);
    assert_fits(&screen, 80, 24);
    assert_shown(&screen, "waiting       0");
    assert_shown(&screen, "per second      0 recipients");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_two_lines_are_who_waits_and_who_bounced),
        cmocka_unit_test(a_false_bounce_is_an_alarm),
        cmocka_unit_test(who_waits_too_long_is_an_alarm),
        cmocka_unit_test(where_nobody_escalates_nobody_waits_too_long),
        cmocka_unit_test(of_status_it_shows_what_matters_here),
        cmocka_unit_test(rates_are_of_the_time_between),
        cmocka_unit_test(without_a_time_before_rates_are_since_the_start),
        cmocka_unit_test(a_counter_that_was_reset_counts_from_zero),
        cmocka_unit_test(latencies_come_from_the_buckets),
        cmocka_unit_test(trouble_is_told_and_what_was_there_stays),
        cmocka_unit_test(it_fits_whatever_the_size),
        cmocka_unit_test(a_long_status_leaves_room_for_the_rates),
        cmocka_unit_test(huge_numbers_fit),
        cmocka_unit_test(hostile_text_does_nothing_to_the_terminal),
        cmocka_unit_test(what_is_missing_counts_as_nothing),
    };
    return cmocka_run_group_tests_name("top", tests, NULL, NULL);
}
