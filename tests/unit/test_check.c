/* One RCPT TO from the client's words to the reply. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "milter/check.h"
#include "shared/digest.h"

static struct snapshot node;
static bool may_be_old; /* {rcpt_addr} */

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
    may_be_old = false;
    return 0;
}

static struct check_result check(const char *argument, const char *resolved)
{
    struct check_request request = {.argument = argument,
                                    .resolved = resolved,
                                    .resolved_may_be_old = may_be_old,
                                    .client_address = "192.0.2.1"};
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
    static const char *const arguments[] = {
        "<bob@example.com>",
        "<alice%example.com@mx.test>",
        "\"Bob\" <bob@example.com>",
        "<bob>",
        "<\xe5\x88\xab\xe4\xba\xba@catch.example>",
    };
    static const char *const old[] = {"alice@example.com", "ghost@example.com", "alice", "a@@b",
                                      "\xe7\x94\xa8\xe6\x88\xb7@catch.example"};
    for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++)
        for (size_t j = 0; j < sizeof old / sizeof *old; j++) {
            NODE("role=fallback");
            may_be_old = true;
            expect(arguments[i], old[j], "451", "held");
            assert_int_equal(check(arguments[i], old[j]).verdict.interlock,
                             INTERLOCK_TWO_ADDRESSES);
            tear_down(NULL);
            NODE("role=primary");
            may_be_old = true;
            expect(arguments[i], old[j], "451", "unavailable on a primary");
            tear_down(NULL);
        }
}

static void a_macro_that_may_be_old_and_fits_the_argument_counts(void **state)
{
    (void)state;
    NODE("role=fallback");
    may_be_old = true;
    expect("<Alice@example.com>", "alice@example.com", "pass", "known");
    expect("<BOB@example.com>", "bob@example.com", "550", "unknown on the fallback");
    expect("<postmaster>", "bob@example.com", "pass", "postmaster");
}

static void a_macro_that_cannot_be_old_is_the_recipient(void **state)
{
    (void)state;
    static const char *const routed[][2] = {
        {"<alice%example.com@mx.test>", "<bob%example.com@mx.test>"},
        {"<example.com!alice@mx.test>", "<example.com!bob@mx.test>"},
        {"<alice%example.com@[127.0.0.1]>", "<bob%example.com@[127.0.0.1]>"},
        {"<\"@a.test:alice\"@example.com>", "<\"@a.test:bob\"@example.com>"},
    };
    NODE("role=fallback");
    for (size_t i = 0; i < sizeof routed / sizeof *routed; i++) {
        expect(routed[i][0], "alice@example.com", "pass", "known");
        expect(routed[i][1], "bob@example.com", "550", "unknown on the fallback");
    }
    assert_string_equal(check(routed[0][0], "alice@example.com").address.key, "alice@example.com");
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

/* However it is written, and whichever form the directory holds: one mailbox, one key. */
static void a_domain_may_be_written_in_either_form_and_stored_in_either(void **state)
{
    (void)state;
#define MUENCHEN "m\xc3\xbcnchen.example"
#define XN_MUENCHEN "xn--mnchen-3ya.example"
    static const char *const stored[] = {MUENCHEN, XN_MUENCHEN};
    static const char *const sent[] = {MUENCHEN, XN_MUENCHEN, "M\xc3\x9cNCHEN.Example",
                                       "mu\xcc\x88nchen.example", "XN--Mnchen-3YA.example"};
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < sizeof sent / sizeof *sent; j++) {
            char recipients[128], domains[128], access[128], roles[128], text[128];
            snprintf(recipients, sizeof recipients, "recipient_maps=inline:{alice@%s=1}",
                     stored[i]);
            snprintf(domains, sizeof domains, "domain_maps=inline:{%s=1}", stored[i]);
            snprintf(access, sizeof access, "access_maps=inline:{shut@%s=REJECT}", stored[i]);
            snprintf(roles, sizeof roles, "role_maps=inline:{%s=fallback}", stored[i]);
            NODE("role=primary", recipients, domains, access, roles);
            snprintf(text, sizeof text, "<alice@%s>", sent[j]);
            expect(text, NULL, "pass", "known");
            assert_string_equal(check(text, NULL).address.key, "alice@" XN_MUENCHEN);
            snprintf(text, sizeof text, "<bob@%s>", sent[j]);
            expect(text, NULL, "550", "unknown on the fallback");
            snprintf(text, sizeof text, "<shut@%s>", sent[j]);
            expect(text, NULL, "554", "override");
            tear_down(NULL);
        }
}

/* Postfix's {rcpt_addr} has the domain's case folded fully, too: strasse for straße. */
static void a_domain_that_folding_changes_is_looked_up_as_it_is_written(void **state)
{
    (void)state;
#define STRASSE_DOMAIN                                                                             \
    "stra\xc3\x9f"                                                                                 \
    "e.example"
    NODE("role=fallback", "recipient_maps=inline:{a@" STRASSE_DOMAIN "=1, b@strasse.example=1}");
    may_be_old = true;
    expect("<a@" STRASSE_DOMAIN ">", "a@strasse.example", "pass", "known");
    expect("<a@xn--strae-oqa.example>", "a@xn--strae-oqa.example", "pass", "known");
    expect("<b@" STRASSE_DOMAIN ">", "b@strasse.example", "pass", "known");
    expect("<a@strasse.example>", "a@strasse.example", "550", "unknown on the fallback");
}

static void a_local_part_is_compared_composed_and_in_lower_case(void **state)
{
    (void)state;
    NODE("role=fallback", "recipient_maps=inline:{jos\xc3\xa9@example.com=1, k@example.com=1, "
                          "alice@example.com=1, ma\xcc\x83o@example.com=1}");
    expect("<jose\xcc\x81@example.com>", "jose\xcc\x81@example.com", "pass", "known");
    expect("<JOSE\xcc\x81@example.com>", NULL, "pass", "known");
    expect("<JOS\xc3\x89@example.com>", NULL, "pass", "known");
    expect("<ma\xcc\x83o@example.com>", NULL, "pass", "known"); /* a row that is not NFC */
    expect("<jose@example.com>", NULL, "550", "unknown on the fallback");
    expect("<\xe2\x84\xaa@example.com>", NULL, "550", "unknown on the fallback");
    expect("<\xef\xbd\x81lice@example.com>", NULL, "550", "unknown on the fallback");
    expect("<al\xc4\xb1"
           "ce@example.com>",
           NULL, "550", "unknown on the fallback");
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
        CLAIM(a_macro_that_may_be_old_and_fits_the_argument_counts),
        CLAIM(a_macro_that_cannot_be_old_is_the_recipient),
        CLAIM(spellings_of_one_mailbox_are_not_two_addresses),
        CLAIM(a_domain_may_be_written_in_either_form_and_stored_in_either),
        CLAIM(a_domain_that_folding_changes_is_looked_up_as_it_is_written),
        CLAIM(a_local_part_is_compared_composed_and_in_lower_case),
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
