/* One RCPT TO from the client's words to the reply. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "milter/check.h"
#include "shared/digest.h"

static struct snapshot node;

static void node_is(const char *const *overrides)
{
    struct fault fault = {{0}};
    size_t count = 0;
    while (overrides[count])
        count++;
    node.settings = settings_load(NULL, overrides, count, &fault);
    assert_string_equal(fault.text, "");
    node.resolver = resolver_open(node.settings, false, &fault);
    assert_string_equal(fault.text, "");
}

#define NODE(...)                                                                                  \
    node_is((const char *const[]){"recipient_maps=inline:{alice@example.com=1, @catch.example=1}", \
                                  __VA_ARGS__, NULL})

static int tear_down(void **state)
{
    (void)state;
    resolver_close(node.resolver);
    settings_free(node.settings);
    guard_close(node.guard);
    node = (struct snapshot){0};
    return 0;
}

static struct check_result check(const char *argument, const char *resolved)
{
    struct check_request request = {
        .argument = argument, .resolved = resolved, .client_address = "192.0.2.1"};
    struct check_result result;
    check_recipient(&node, &request, NULL, NULL, &result);
    return result;
}

/* "pass" or the code, and the row. */
static void expect(const char *argument, const char *resolved, const char *code, const char *row)
{
    struct check_result result = check(argument, resolved);
    assert_string_equal(result.reply.pass ? "pass" : result.reply.code, code);
    assert_string_equal(result.verdict.row->name, row);
}

static void known_passes_and_unknown_is_deferred_on_a_primary(void **state)
{
    (void)state;
    NODE("role=primary");
    expect("<alice@example.com>", "alice@example.com", "pass", "known");
    expect("<bob@example.com>", "bob@example.com", "450", "unknown on a primary");
}

static void unknown_is_bounced_on_the_fallback_on_a_query_made_now(void **state)
{
    (void)state;
    NODE("role=fallback");
    for (int i = 0; i < 2; i++) { /* the second time the cache holds the absence */
        struct check_result result = check("<bob@example.com>", "bob@example.com");
        assert_string_equal(result.reply.code, "550");
        assert_string_equal(result.reply.enhanced, "5.1.1");
        assert_true(result.outcome.asked_now);
        assert_int_equal(result.outcome.tier, TIER_DIRECTORY);
    }
}

static void without_a_macro_the_argument_counts(void **state)
{
    (void)state;
    NODE("role=primary");
    expect("<alice@example.com>", NULL, "pass", "known");
    expect("<bob@example.com>", NULL, "450", "unknown on a primary");
}

static void what_postfix_resolved_counts_where_the_argument_is_no_mailbox(void **state)
{
    (void)state;
    NODE("role=primary");
    expect("\"Alice\" <alice@example.com>", "alice@example.com", "pass", "known");
    expect("<alice>", "alice@example.com", "pass", "known");
    expect("<<bob@example.com>>", "bob@example.com", "450", "unknown on a primary");
}

static void a_macro_left_over_from_another_recipient_never_passes_and_never_bounces(void **state)
{
    (void)state;
    NODE("role=fallback");
    expect("<bob@example.com>", "alice@example.com", "451", "held");
    expect("<\xe5\x88\xab\xe4\xba\xba@catch.example>", "\xe7\x94\xa8\xe6\x88\xb7@catch.example",
           "451", "held");
    assert_int_equal(check("<bob@example.com>", "alice@example.com").verdict.interlock,
                     INTERLOCK_TWO_ADDRESSES);
    tear_down(NULL);
    NODE("role=primary");
    expect("<bob@example.com>", "alice@example.com", "451", "unavailable on a primary");
}

static void spellings_of_one_mailbox_are_not_two_addresses(void **state)
{
    (void)state;
    NODE("role=primary");
    expect("<\"alice\"@EXAMPLE.com>", "alice@example.com", "pass", "known");
    expect("<@relay.example:alice@example.com>", "alice@example.com", "pass", "known");
    expect("<\xc3\x9c@catch.example>", "\xc3\xbc@catch.example", "pass", "known");
}

/* Postfix folds the case of all Unicode in {rcpt_addr}: strasse for straße, a final sigma too. */
static void a_recipient_that_folding_changes_is_looked_up_as_it_is_written(void **state)
{
    (void)state;
#define STRASSE                                                                                    \
    "stra\xc3\x9f"                                                                                 \
    "e@example.com"
    NODE("role=fallback", "recipient_maps=inline:{" STRASSE "=1, j\xc3\xbcrgen@example.com=1}");
    expect("<" STRASSE ">", "strasse@example.com", "pass", "known");
    expect("<" STRASSE ">", NULL, "pass", "known");
    expect("<J\xc3\x9cRGEN@example.com>", "j\xc3\xbcrgen@example.com", "pass", "known");
    expect("<STRASSE@example.com>", "strasse@example.com", "550", "unknown on the fallback");
    expect("<wei\xc3\x9f@example.com>", "weiss@example.com", "550", "unknown on the fallback");
}

static void under_two_keys_trouble_with_either_is_no_absence(void **state)
{
    (void)state;
    NODE("role=fallback", "recipient_maps=inline:{x@example.com=1}",
         "access_maps=inline:{{strasse@example.com=no action}}");
    expect("<" STRASSE ">", "strasse@example.com", "451", "held");
    tear_down(NULL);
    NODE("role=fallback", "recipient_maps=inline:{x@example.com=1}",
         "access_maps=inline:{{" STRASSE "=no action}}");
    expect("<" STRASSE ">", "strasse@example.com", "451", "held");
}

static void a_domain_may_be_ours_under_the_folded_key_only(void **state)
{
    (void)state;
    NODE("role=fallback", "recipient_maps=inline:{a@m\xc3\xbcller.example=1}",
         "domain_maps=inline:{m\xc3\xbcller.example=1}");
    expect("<a@M\xc3\x9cLLER.example>", "a@m\xc3\xbcller.example", "pass", "known");
    expect("<b@M\xc3\x9cLLER.example>", "b@m\xc3\xbcller.example", "550",
           "unknown on the fallback");
}

static void bare_postmaster_always_passes(void **state)
{
    (void)state;
    NODE("role=fallback", "access_maps=fail:x");
    expect("<postmaster>", "postmaster@nowhere.example", "pass", "postmaster");
    expect("<PostMaster>", NULL, "pass", "postmaster");
    expect("<postmaster@example.com>", NULL, "550", "unavailable on the fallback");
}

static void what_cannot_be_parsed_never_passes(void **state)
{
    (void)state;
    NODE("role=primary");
    expect("<a..b@example.com>", NULL, "450", "malformed");
    expect("", NULL, "450", "malformed");
    expect("<>", NULL, "450", "malformed");
    expect("<alice@catch.example\r\n>", NULL, "450", "malformed");
    expect("<alice@example.com>", "alice@@example..com", "450", "malformed");
    tear_down(NULL);
    NODE("role=fallback");
    expect("<a..b@example.com>", NULL, "550", "malformed");
}

static void exempt_clients_are_not_checked(void **state)
{
    (void)state;
    struct check_request request = {
        .argument = "<bob@example.com>", .client_address = "192.0.2.1", .authenticated = true};
    struct check_result result;
    NODE("role=fallback", "exempt_networks=198.51.100.0/24");
    check_recipient(&node, &request, NULL, NULL, &result);
    assert_string_equal(result.verdict.row->name, "exempt");
    request.authenticated = false;
    check_recipient(&node, &request, NULL, NULL, &result);
    assert_string_equal(result.reply.code, "550");
    request.client_address = "198.51.100.9";
    check_recipient(&node, &request, NULL, NULL, &result);
    assert_string_equal(result.verdict.row->name, "exempt");
}

static void authentication_can_be_made_to_count_for_nothing(void **state)
{
    (void)state;
    struct check_request request = {.argument = "<bob@example.com>", .authenticated = true};
    struct check_result result;
    NODE("role=primary", "exempt_authenticated=no");
    check_recipient(&node, &request, NULL, NULL, &result);
    assert_string_equal(result.reply.code, "450");
}

static void the_role_is_the_domains(void **state)
{
    (void)state;
    NODE("role=fallback", "role_maps=inline:{example.com=primary}");
    expect("<bob@example.com>", NULL, "450", "unknown on a primary");
    expect("<bob@elsewhere.example>", NULL, "550", "unknown on the fallback");
}

static void an_unavailable_role_defers(void **state)
{
    (void)state;
    NODE("role=fallback", "role_maps=fail:x");
    expect("<bob@example.com>", NULL, "450", "unknown on a primary");
}

static void a_reject_in_access_maps_stands_on_a_query_made_now(void **state)
{
    (void)state;
    NODE("role=primary", "access_maps=inline:{{shut@example.com=REJECT gone}}");
    for (int i = 0; i < 2; i++) {
        struct check_result result = check("<shut@example.com>", NULL);
        assert_string_equal(result.reply.code, "554");
        assert_string_equal(result.reply.text, "gone");
        assert_true(result.outcome.asked_now);
    }
}

static void a_trace_tells_the_whole_way(void **state)
{
    (void)state;
    NODE("role=fallback");
    struct check_request request = {.argument = "<bob+x@example.com>"};
    struct check_result result;
    struct trace *trace = malloc(sizeof *trace);
    trace_start(trace);
    check_recipient(&node, &request, NULL, trace, &result);
    assert_non_null(strstr(trace->bytes, "bob+x@example.com"));
    assert_non_null(strstr(trace->bytes, "process cache: no answer"));
    assert_non_null(strstr(trace->bytes, "@example.com"));
    assert_non_null(strstr(trace->bytes, "verdict: unknown on the fallback"));
    assert_non_null(strstr(trace->bytes, "reply: 550 5.1.1 "));
    free(trace);
}

static int set_up(void **state)
{
    (void)state;
    return digest_init() ? 0 : -1;
}

int main(void)
{
#define CLAIM(test) cmocka_unit_test_teardown(test, tear_down)
    const struct CMUnitTest tests[] = {
        CLAIM(known_passes_and_unknown_is_deferred_on_a_primary),
        CLAIM(unknown_is_bounced_on_the_fallback_on_a_query_made_now),
        CLAIM(without_a_macro_the_argument_counts),
        CLAIM(what_postfix_resolved_counts_where_the_argument_is_no_mailbox),
        CLAIM(a_macro_left_over_from_another_recipient_never_passes_and_never_bounces),
        CLAIM(spellings_of_one_mailbox_are_not_two_addresses),
        CLAIM(bare_postmaster_always_passes),
        CLAIM(a_recipient_that_folding_changes_is_looked_up_as_it_is_written),
        CLAIM(under_two_keys_trouble_with_either_is_no_absence),
        CLAIM(a_domain_may_be_ours_under_the_folded_key_only),
        CLAIM(what_cannot_be_parsed_never_passes),
        CLAIM(exempt_clients_are_not_checked),
        CLAIM(authentication_can_be_made_to_count_for_nothing),
        CLAIM(the_role_is_the_domains),
        CLAIM(an_unavailable_role_defers),
        CLAIM(a_reject_in_access_maps_stands_on_a_query_made_now),
        CLAIM(a_trace_tells_the_whole_way),
    };
    return cmocka_run_group_tests_name("check", tests, set_up, NULL);
}
