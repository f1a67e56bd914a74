/* The request parser, the form of labels, and the tally: what of the metrics is pure. The rest is
 * in tests/e2e/test_metrics.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "db/servers.h"
#include "milter/metrics_request.h"
#include "milter/stats.h"
#include "milter/tally.h"
#include "shared/text.h"

static struct metrics_request ask(const char *request)
{
    return metrics_request_read(request, strlen(request));
}

static void assert_status(const char *request, unsigned status)
{
    if (ask(request).status != status)
        fail_msg("%u, not %u: %s", ask(request).status, status, request);
}

static void get_and_head_of_metrics_are_answered(void **state)
{
    (void)state;
    assert_status("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200);
    assert_status("GET /metrics HTTP/1.0\r\n\r\n", 200);
    assert_status("GET /metrics HTTP/1.1\n\n", 200);
    assert_status("GET /metrics?name[]=x HTTP/1.1\r\n\r\n", 200);
    assert_false(ask("GET /metrics HTTP/1.1\r\n\r\n").head);
    assert_status("HEAD /metrics HTTP/1.1\r\n\r\n", 200);
    assert_true(ask("HEAD /metrics HTTP/1.1\r\n\r\n").head);
    assert_true(ask("HEAD / HTTP/1.1\r\n\r\n").head);
}

static void other_paths_are_not_found(void **state)
{
    (void)state;
    assert_status("GET / HTTP/1.1\r\n\r\n", 404);
    assert_status("GET /metricsx HTTP/1.1\r\n\r\n", 404);
    assert_status("GET /metrics/ HTTP/1.1\r\n\r\n", 404);
    assert_status("GET //metrics HTTP/1.1\r\n\r\n", 404);
    assert_status("POST /x HTTP/1.1\r\n\r\n", 404);
}

static void other_methods_are_not_allowed(void **state)
{
    (void)state;
    assert_status("POST /metrics HTTP/1.1\r\n\r\n", 405);
    assert_status("OPTIONS /metrics HTTP/1.1\r\n\r\n", 405);
    assert_status("GETX /metrics HTTP/1.1\r\n\r\n", 405);
}

static void what_is_no_http_is_a_bad_request(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "\r\n",
        "GET\r\n",
        "GET /metrics\r\n",
        "get /metrics HTTP/1.1\r\n",
        " GET /metrics HTTP/1.1\r\n",
        "GET  /metrics HTTP/1.1\r\n",
        "GET /metrics  HTTP/1.1\r\n",
        "GET /metrics HTTP/1.1 \r\n",
        "GET /metrics http/1.1\r\n",
        "GET /met\trics HTTP/1.1\r\n",
        "GET /met\x7frics HTTP/1.1\r\n",
        "GET /metrics HTTP/1.1x\r\n",
        "\x16\x03\x01\x02\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        assert_status(lines[i], 400);
    assert_int_equal(metrics_request_read("G\0T", 3).status, 400);
    assert_status("GET /metrics HTTP/2.0\r\n\r\n", 505);
}

static void an_unfinished_request_goes_on(void **state)
{
    (void)state;
    static const char whole[] = "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
    for (size_t length = 0; length < strlen(whole); length++)
        assert_int_equal(metrics_request_read(whole, length).status, 0);
    assert_int_equal(metrics_request_read(whole, strlen(whole)).status, 200);
}

static void more_than_there_is_room_for_is_too_large(void **state)
{
    (void)state;
    static char bytes[METRICS_REQUEST_MAX];
    static const char line[] = "GET /metrics HTTP/1.1\r\n";
    memset(bytes, 'x', sizeof bytes);
    assert_int_equal(metrics_request_read(bytes, sizeof bytes - 1).status, 0);
    assert_int_equal(metrics_request_read(bytes, sizeof bytes).status, 431);
    memcpy(bytes, line, strlen(line));
    assert_int_equal(metrics_request_read(bytes, sizeof bytes - 1).status, 0);
    assert_int_equal(metrics_request_read(bytes, sizeof bytes).status, 431);
    memcpy(bytes + sizeof bytes - 4, "\r\n\r\n", 4);
    assert_int_equal(metrics_request_read(bytes, sizeof bytes).status, 200);
}

static void every_status_has_its_own_words(void **state)
{
    (void)state;
    static const unsigned statuses[] = {200, 400, 404, 405, 431, 503, 505};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(metrics_status_text(statuses[i]),
                                    metrics_status_text(statuses[j]));
}

static void a_label_cannot_end_its_own_quotes(void **state)
{
    (void)state;
    char bytes[64];
    struct text text = text_on(bytes, sizeof bytes);
    stats_add_label_value(&text, "unix:/a\"b\\c\nd");
    assert_string_equal(bytes, "unix:/a\\\"b\\\\c\\nd");
}

/* ---- tally ---- */

static void a_recipient_is_tallied_once_where_it_belongs(void **state)
{
    (void)state;
    struct check_result result = {.asked = true, .role = ROLE_FALLBACK};
    result.outcome.standing = STANDING_ABSENT;
    result.outcome.tier = TIER_DIRECTORY;
    memcpy(result.reply.code, "550", 4);
    tally_reset();
    tally_recipient(&result);
    assert_int_equal(tally_lookups(STANDING_ABSENT, TIER_DIRECTORY, ROLE_FALLBACK), 1);
    assert_int_equal(tally_lookups(STANDING_ABSENT, TIER_DIRECTORY, ROLE_PRIMARY), 0);
    assert_int_equal(tally_replies(550), 1);
    assert_int_equal(tally_replies(551), 0);
    tally_reset();
    assert_int_equal(tally_lookups(STANDING_ABSENT, TIER_DIRECTORY, ROLE_FALLBACK), 0);
    assert_int_equal(tally_replies(550), 0);
}

static void who_was_not_looked_up_is_no_lookup(void **state)
{
    (void)state;
    struct check_result result = {.asked = false, .reply = {.pass = true}};
    tally_reset();
    tally_recipient(&result);
    assert_int_equal(tally_lookups(STANDING_UNAVAILABLE, TIER_NONE, ROLE_PRIMARY), 0);
}

static void a_code_out_of_range_is_none(void **state)
{
    (void)state;
    struct check_result result = {.asked = true};
    memcpy(result.reply.code, "999", 4);
    tally_reset();
    tally_recipient(&result);
    assert_int_equal(tally_replies(999), 0);
    assert_int_equal(tally_replies(0), 0);
    assert_int_equal(tally_replies(399), 0);
    assert_int_equal(tally_replies(600), 0);
}

static void old_evidence_speaks_for_nobody_but_the_known(void **state)
{
    (void)state;
    for (int standing = 0; standing < TALLY_STANDINGS; standing++) {
        bool known = standing == STANDING_KNOWN;
        assert_true(tally_is_possible((enum standing)standing, TIER_STALE) == known);
        assert_true(tally_is_possible((enum standing)standing, TIER_KNOWN_GOOD) == known);
    }
}

/* ---- servers ---- */

static void a_server_of_two_pools_is_told_once_as_the_worse(void **state)
{
    (void)state;
    static struct servers servers;
    struct server_state one = {.tier = SERVER_DIRECTORY, .name = "unix:/x", .up = true};
    struct server_state again = {.tier = SERVER_DIRECTORY, .name = "unix:/x", .breaker_open = true};
    struct server_state cache = {.tier = SERVER_MEMCACHED, .name = "unix:/x", .up = true};
    one.connections = again.connections = 2;
    memset(&servers, 0, sizeof servers);
    servers_add(&servers, &one);
    servers_add(&servers, &again);
    servers_add(&servers, &cache);
    assert_int_equal(servers.count, 2);
    assert_false(servers.list[0].up);
    assert_true(servers.list[0].breaker_open);
    assert_int_equal(servers.list[0].connections, 4);
    assert_true(servers.list[1].up);
}

static void more_servers_than_fit_are_left_out(void **state)
{
    (void)state;
    static struct servers servers;
    struct server_state server = {.tier = SERVER_MEMCACHED};
    memset(&servers, 0, sizeof servers);
    for (unsigned i = 0; i < SERVERS_LIST_MAX + 5; i++) {
        struct text name = text_on(server.name, sizeof server.name);
        text_addf(&name, "inet:10.0.0.%u:1", i);
        servers_add(&servers, &server);
    }
    assert_int_equal(servers.count, SERVERS_LIST_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(get_and_head_of_metrics_are_answered),
        cmocka_unit_test(other_paths_are_not_found),
        cmocka_unit_test(other_methods_are_not_allowed),
        cmocka_unit_test(what_is_no_http_is_a_bad_request),
        cmocka_unit_test(an_unfinished_request_goes_on),
        cmocka_unit_test(more_than_there_is_room_for_is_too_large),
        cmocka_unit_test(every_status_has_its_own_words),
        cmocka_unit_test(a_label_cannot_end_its_own_quotes),
        cmocka_unit_test(a_recipient_is_tallied_once_where_it_belongs),
        cmocka_unit_test(who_was_not_looked_up_is_no_lookup),
        cmocka_unit_test(a_code_out_of_range_is_none),
        cmocka_unit_test(old_evidence_speaks_for_nobody_but_the_known),
        cmocka_unit_test(a_server_of_two_pools_is_told_once_as_the_worse),
        cmocka_unit_test(more_servers_than_fit_are_left_out),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
