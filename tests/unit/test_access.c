#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "db/access.h"

/* "pass", "dunno", "bad", "CODE X.Y.Z text", or that with "if unknown, " before it. */
static void check(const char *value, const char *expected)
{
    struct reply_setting reply;
    struct fault fault = {.text = ""};
    char said[1024] = "dunno";
    const char *when = "";
    memset(&reply, 0x55, sizeof reply);
    switch (access_parse(value, &reply, &fault)) {
    case ACCESS_BAD:
        snprintf(said, sizeof said, "bad%s", fault.text[0] ? "" : " without a reason");
        break;
    case ACCESS_DUNNO:
        break;
    case ACCESS_DEFER_IF_REJECT:
        when = "if unknown, ";
        /* fall through */
    case ACCESS_REPLY:
        if (reply.pass)
            strcpy(said, "pass");
        else
            snprintf(said, sizeof said, "%s%s %s %s", when, reply.code, reply.enhanced, reply.text);
    }
    if (strcmp(said, expected) != 0)
        fail_msg("\"%s\" became \"%s\", expected \"%s\"", value, said, expected);
}

static void ok_and_a_bare_number_pass(void **state)
{
    (void)state;
    check("OK", "pass");
    check("ok", "pass");
    check("  OK  whatever ", "pass");
    check("1", "pass");
    check("1700000000", "pass");
    check("550", "pass"); /* access(5): "all-numerical" is OK */
    check("550  ", "pass");
}

static void what_takes_the_mail_whoever_it_is_for_passes(void **state)
{
    (void)state;
    check("permit", "pass");
    check("DISCARD", "pass");
    check("discard  we do not want it", "pass");
    check("discard:550 we do not want it", "pass");
}

static void what_says_nothing_of_the_recipient_is_dunno(void **state)
{
    (void)state;
    const char *const values[] = {
        "DUNNO",
        "dunno ",
        "HOLD",
        "hold this one",
        "FILTER smtp:[127.0.0.1]:10025",
        "REDIRECT other@example.com",
        "BCC archive@example.com",
        "PREPEND X-Seen: y",
        "WARN look at this",
        "INFO",
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        check(values[i], "dunno");
}

static void any_other_transport_is_dunno(void **state)
{
    (void)state;
    const char *const values[] = {
        ":",
        ":[gate.example.com]",
        "smtp:[192.0.2.1]:25",
        "lmtp:unix:/run/lmtp.sock",
        "slow:",
        "uucp:example",
        "discards:whatever",
        "averyveryveryverylongtransport:x",
        "smtp:bar.example, foo.example",
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        check(values[i], "dunno");
}

static void a_slip_or_another_table_is_not_taken_for_a_transport(void **state)
{
    (void)state;
    check("REJECT: go away", "bad");
    check("ok: fine", "bad");
    check("550: gone", "bad");
    check("hash:/etc/postfix/other", "bad");
    check("mysql:/etc/postfix/other.cf", "bad");
}

static void reject_and_defer_have_postfixs_codes(void **state)
{
    (void)state;
    check("REJECT", "554 5.7.1 Access denied");
    check("REJECT  No such list ", "554 5.7.1 No such list");
    check("reject 5.1.1 Nobody", "554 5.1.1 Nobody");
    check("REJECT\t5.1.1", "554 5.1.1 Access denied");
    check("DEFER", "450 4.7.1 Access denied");
    check("Defer later", "450 4.7.1 later");
    check("DEFER 4.2.1 asleep", "450 4.2.1 asleep");
    check("DEFER_IF_PERMIT", "450 4.7.1 Service unavailable");
    check("defer_if_permit 4.2.1 asleep", "450 4.2.1 asleep");
}

static void defer_if_reject_is_for_the_unknown_only(void **state)
{
    (void)state;
    check("DEFER_IF_REJECT", "if unknown, 450 4.7.1 Service unavailable");
    check("defer_if_reject 4.1.1 moving house", "if unknown, 450 4.1.1 moving house");
    check("DEFER_IF_REJECT a\x01", "bad");
}

static void a_code_may_stand_with_or_without_an_enhanced_one(void **state)
{
    (void)state;
    check("550 No such user", "550 5.7.1 No such user");
    check("550 5.1.1 No such user", "550 5.1.1 No such user");
    check("550 5.1.1", "550 5.1.1 Access denied");
    check("421 4.3.2 Closing", "421 4.3.2 Closing");
    check("450 come back", "450 4.7.1 come back");
    check("550 5.1 No such user", "550 5.7.1 5.1 No such user");
}

/* What smtpd(8) 3.7 answers to RCPT, but for the case of the word and the texts that begin with a
 * reply code, which it sends as they are. */
static void error_is_what_transport_maps_say(void **state)
{
    (void)state;
    check("error:no mail here", "550 5.1.1 no mail here");
    check("error:5.1.2 no mail here", "550 5.1.2 no mail here");
    check("ERROR: 5.1.2  no mail here", "550 5.1.2 no mail here");
    check("error:", "550 5.1.1 Address is undeliverable");
    check("error:5.1.2", "550 5.1.2 Address is undeliverable");
    check("error:2.1.1 huh", "550 5.1.1 huh");
    check("error:550 gone", "550 5.1.1 gone");
    check("error:554 5.7.1 gone", "554 5.7.1 gone");
    check("error:450 4.2.1 not today", "450 4.2.1 not today");
    check("error:451 not today", "451 4.1.1 not today");
    check("error:5 people lived here", "550 5.1.1 5 people lived here");
    check("error:averyveryveryverylongfirstword x", "550 5.1.1 averyveryveryverylongfirstword x");
}

static void retry_is_too(void **state)
{
    (void)state;
    check("retry:not today", "450 4.1.1 not today");
    check("retry:4.2.1 not today", "450 4.2.1 not today");
    check("retry:", "450 4.1.1 Address is undeliverable");
    check("retry:5.1.1 no", "450 4.1.1 no");
}

static void an_error_with_a_4_is_for_later(void **state)
{
    (void)state;
    check("error:4.2.1 not today", "450 4.2.1 not today"); /* Postfix: 550 5.2.1 */
}

/* Measured with smtpd(8) 3.7. */
static void the_class_of_the_enhanced_code_becomes_that_of_the_code(void **state)
{
    (void)state;
    check("550 4.1.1 x", "550 5.1.1 x");
    check("450 5.1.1 x", "450 4.1.1 x");
    check("REJECT 4.7.1 x", "554 5.7.1 x");
    check("DEFER 5.7.1 x", "450 4.7.1 x");
    check("REJECT 2.1.1 x", "554 5.1.1 x");
}

static void everything_else_is_no_action(void **state)
{
    (void)state;
    const char *const values[] = {
        "",
        " ",
        "HOLDING x",
        "OKAY",
        "250 fine",
        "355 x",
        "599 x",
        "4500 x",
        "45 x",
        "REJECTED",
        "permit_mynetworks",
        "permit, reject",
        "reject_unverified_recipient",
        "check_recipient_access hash:/etc/postfix/other",
        "greylisted",
        "4.2.1 x",
        "REJECT\x01x",
        "550 a\xff",
        "550 a\nb",
        "averyveryverylongword x",
        "DEFER_IF_REJECTED x",
        "error",
        "error:a\x01",
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        check(values[i], "bad");
}

static void a_dollar_in_the_text_is_a_dollar(void **state)
{
    (void)state;
    check("REJECT pay $5 to $recipient", "554 5.7.1 pay $$5 to $$recipient");
}

static void a_text_that_is_too_long_is_no_action(void **state)
{
    (void)state;
    char value[1200] = "REJECT ";
    memset(value + 7, 'x', REPLY_TEXT_MAX);
    struct reply_setting reply;
    struct fault fault;
    assert_int_equal(access_parse(value, &reply, &fault), ACCESS_REPLY);
    assert_int_equal(strlen(reply.text), REPLY_TEXT_MAX);
    strcat(value, "x");
    check(value, "bad");
    memset(value + 7, 'x', 1100);
    check(value, "bad");
    memset(value + 7, '$', REPLY_TEXT_MAX / 2);
    value[7 + REPLY_TEXT_MAX / 2] = '\0';
    assert_int_equal(access_parse(value, &reply, &fault), ACCESS_REPLY);
    strcat(value, "$");
    check(value, "bad");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ok_and_a_bare_number_pass),
        cmocka_unit_test(what_takes_the_mail_whoever_it_is_for_passes),
        cmocka_unit_test(what_says_nothing_of_the_recipient_is_dunno),
        cmocka_unit_test(any_other_transport_is_dunno),
        cmocka_unit_test(a_slip_or_another_table_is_not_taken_for_a_transport),
        cmocka_unit_test(reject_and_defer_have_postfixs_codes),
        cmocka_unit_test(defer_if_reject_is_for_the_unknown_only),
        cmocka_unit_test(a_code_may_stand_with_or_without_an_enhanced_one),
        cmocka_unit_test(error_is_what_transport_maps_say),
        cmocka_unit_test(retry_is_too),
        cmocka_unit_test(an_error_with_a_4_is_for_later),
        cmocka_unit_test(the_class_of_the_enhanced_code_becomes_that_of_the_code),
        cmocka_unit_test(everything_else_is_no_action),
        cmocka_unit_test(a_dollar_in_the_text_is_a_dollar),
        cmocka_unit_test(a_text_that_is_too_long_is_no_action),
    };
    return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
