#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "db/access.h"

/* "pass", "none", "bad", or "CODE X.Y.Z text". */
static void check(const char *value, const char *expected)
{
    struct reply_setting reply;
    struct fault fault = {.text = ""};
    char said[1024] = "none";
    memset(&reply, 0x55, sizeof reply);
    switch (access_parse(value, &reply, &fault)) {
    case ACCESS_BAD:
        snprintf(said, sizeof said, "bad%s", fault.text[0] ? "" : " without a reason");
        break;
    case ACCESS_NONE:
        break;
    case ACCESS_REPLY:
        if (reply.pass)
            strcpy(said, "pass");
        else
            snprintf(said, sizeof said, "%s %s %s", reply.code, reply.enhanced, reply.text);
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

static void dunno_is_as_if_there_were_no_entry(void **state)
{
    (void)state;
    check("DUNNO", "none");
    check("dunno ", "none");
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

static void error_is_what_transport_maps_say(void **state)
{
    (void)state;
    check("error:no mail here", "550 5.0.0 no mail here");
    check("error:5.1.2 no mail here", "550 5.1.2 no mail here");
    check("ERROR: 5.1.2  no mail here", "550 5.1.2 no mail here");
    check("error:4.2.1 not today", "450 4.2.1 not today");
    check("error:", "550 5.0.0 Access denied");
}

static void a_code_and_an_enhanced_code_of_two_classes_are_no_action(void **state)
{
    (void)state;
    check("550 4.1.1 x", "bad");
    check("450 5.1.1 x", "bad");
    check("REJECT 4.7.1 x", "bad");
    check("DEFER 5.7.1 x", "bad");
    check("error:2.1.1 x", "bad");
}

static void everything_else_is_no_action(void **state)
{
    (void)state;
    const char *const values[] = {
        "",
        " ",
        "DISCARD",
        "HOLD x",
        "OKAY",
        "250 fine",
        "355 x",
        "599 x",
        "4500 x",
        "45 x",
        "REJECTED",
        "permit",
        "smtp:[x]",
        "errors:x",
        "REJECT\x01x",
        "550 a\xff",
        "550 a\nb",
        "averyveryverylongword x",
        "DEFER_IF_REJECT x",
        "error",
        "PREPEND X: y",
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
        cmocka_unit_test(dunno_is_as_if_there_were_no_entry),
        cmocka_unit_test(reject_and_defer_have_postfixs_codes),
        cmocka_unit_test(a_code_may_stand_with_or_without_an_enhanced_one),
        cmocka_unit_test(error_is_what_transport_maps_say),
        cmocka_unit_test(a_code_and_an_enhanced_code_of_two_classes_are_no_action),
        cmocka_unit_test(everything_else_is_no_action),
        cmocka_unit_test(a_dollar_in_the_text_is_a_dollar),
        cmocka_unit_test(a_text_that_is_too_long_is_no_action),
    };
    return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
