/* reply_setting: what an admin may write as a reply. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "config/reply_setting.h"

static void assert_reply(const char *text, const char *code, const char *enhanced, const char *rest)
{
    struct reply_setting setting;
    struct fault fault = {0};
    if (!reply_setting_parse(text, &setting, &fault))
        fail_msg("%s: %s", text, fault.text);
    assert_false(setting.pass);
    assert_string_equal(setting.code, code);
    assert_string_equal(setting.enhanced, enhanced);
    assert_string_equal(setting.text, rest);
}

static void assert_refused(const char *text, const char *message)
{
    struct reply_setting setting;
    struct fault fault = {0};
    if (reply_setting_parse(text, &setting, &fault))
        fail_msg("was taken: %s", text);
    assert_string_equal(fault.text, message);
    /* Nobody may answer with half of it. */
    assert_false(setting.pass);
    assert_string_equal(setting.code, "");
}

static void code_enhanced_code_and_text_are_taken_apart(void **state)
{
    (void)state;
    assert_reply("450 4.1.1 User unknown", "450", "4.1.1", "User unknown");
    assert_reply("550  5.1.1   a  b", "550", "5.1.1", "a  b");
    assert_reply("559 5.999.999 x", "559", "5.999.999", "x");
}

static void the_text_may_be_empty(void **state)
{
    (void)state;
    assert_reply("450 4.1.1", "450", "4.1.1", "");
    assert_reply("450 4.1.1 ", "450", "4.1.1", "");
}

static void pass_is_a_word_in_any_case_and_stands_alone(void **state)
{
    (void)state;
    static const char *const words[] = {"pass", "PASS", "Pass"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        struct reply_setting setting;
        assert_true(reply_setting_parse(words[i], &setting, NULL));
        assert_true(setting.pass);
        assert_string_equal(setting.code, "");
        assert_string_equal(setting.enhanced, "");
        assert_string_equal(setting.text, "");
    }
    assert_refused("pass now", "nothing may follow \"pass\"");
    assert_refused("passed", "\"passed\" is neither \"pass\" nor a reply code 4xx or 5xx");
}

static void the_names_of_a_reply_and_the_double_dollar_stay_as_written(void **state)
{
    (void)state;
    const char *text = "<$recipient> ${domain}s $role. $$5 100% {x}";
    char reply[80] = "550 5.1.1 ";
    assert_reply(strcat(reply, text), "550", "5.1.1", text);
    assert_reply("550 5.1.1 $recipient$domain", "550", "5.1.1", "$recipient$domain");
}

static void another_name_after_a_dollar_is_refused(void **state)
{
    (void)state;
    static const char suffix[] = " is not $recipient, $domain, $role or $$ (which is a dollar)";
    static const char *const wrong[] = {"$recipent", "$recipients", "${recipient", "$",       "$ x",
                                        "$(role)",   "${}",         "${role?x}",   "$Domain", "$5"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char reply[100] = "550 5.1.1 ", message[200] = "\"";
        strcat(strcat(strcat(message, wrong[i]), "\""), suffix);
        assert_refused(strcat(reply, wrong[i]), message);
    }
}

static void a_code_that_no_reply_to_rcpt_has_is_refused(void **state)
{
    (void)state;
    static const char *const codes[] = {"250", "350", "460", "590", "45", "4500", "45x", "x50", ""};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        char text[40] = "", message[100] = "\"";
        strcat(strcat(text, codes[i]), codes[i][0] ? " 4.1.1 x" : "");
        strcat(strcat(message, codes[i]), "\" is neither \"pass\" nor a reply code 4xx or 5xx");
        assert_refused(text, message);
    }
}

static void a_missing_or_wrong_enhanced_code_is_refused(void **state)
{
    (void)state;
    assert_refused("450",
                   "after 450 there must be an enhanced status code such as 4.1.1, not \"\"");
    assert_refused("550 No such user",
                   "after 550 there must be an enhanced status code such as 5.1.1, not \"No\"");
    assert_refused("450 4.1 x",
                   "after 450 there must be an enhanced status code such as 4.1.1, not \"4.1\"");
}

static void codes_of_two_classes_are_refused(void **state)
{
    (void)state;
    assert_refused("450 5.1.1 x",
                   "the reply code 450 and the enhanced status code 5.1.1 contradict each other");
    assert_refused("550 4.1.1 x",
                   "the reply code 550 and the enhanced status code 4.1.1 contradict each other");
    assert_refused("550 2.1.5 x",
                   "the reply code 550 and the enhanced status code 2.1.5 contradict each other");
}

static void control_characters_and_broken_utf8_are_refused(void **state)
{
    (void)state;
    assert_reply("450 4.1.1 gr\xc3\xbc\xc3\x9f dich \xc2\xa0", "450", "4.1.1",
                 "gr\xc3\xbc\xc3\x9f dich \xc2\xa0");
    assert_refused("450 4.1.1 a\r\nb", "the text holds a control character");
    assert_refused("450 4.1.1 a\tb", "the text holds a control character");
    assert_refused("450 4.1.1 a\x7f", "the text holds a control character");
    assert_refused("450 4.1.1 a\xc2\x85", "the text holds a control character");
    assert_refused("450 4.1.1 a\xff", "the text is not UTF-8");
}

static void a_text_is_taken_up_to_its_largest_size_and_not_beyond(void **state)
{
    (void)state;
    char text[10 + REPLY_TEXT_MAX + 2] = "450 4.1.1 ";
    memset(text + 10, 'x', REPLY_TEXT_MAX);
    assert_reply(text, "450", "4.1.1", text + 10);
    text[10 + REPLY_TEXT_MAX] = 'x';
    assert_refused(text, "the text has 401 bytes, more than 400");
}

static void the_check_of_codes_looks_at_the_given_bytes_only(void **state)
{
    (void)state;
    assert_true(reply_code_is_valid("450x", 3));
    assert_true(reply_code_is_valid("559", 3));
    assert_false(reply_code_is_valid("450", 2));
    assert_false(reply_code_is_valid("4500", 4));
    assert_false(reply_code_is_valid("", 0));
}

static void the_check_of_enhanced_codes_is_rfc_3463(void **state)
{
    (void)state;
    static const char *const good[] = {"4.1.1", "5.0.0", "2.1.5", "5.999.0", "5.10.100"};
    static const char *const bad[] = {"",      "4",      "4.1",    "4.1.",     "4..1",   "4.1.1.1",
                                      "1.1.1", "3.1.1",  "44.1.1", "4.1.1234", "4.01.1", "4.1.01",
                                      "4.1.x", "4.1.1 ", "x.1.1",  "4,1,1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!reply_enhanced_is_valid(good[i], strlen(good[i])))
            fail_msg("was refused: %s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (reply_enhanced_is_valid(bad[i], strlen(bad[i])))
            fail_msg("was taken: %s", bad[i]);
    assert_true(reply_enhanced_is_valid("4.1.12", 5));
    assert_false(reply_enhanced_is_valid("4.1.1", 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_enhanced_code_and_text_are_taken_apart),
        cmocka_unit_test(the_text_may_be_empty),
        cmocka_unit_test(pass_is_a_word_in_any_case_and_stands_alone),
        cmocka_unit_test(the_names_of_a_reply_and_the_double_dollar_stay_as_written),
        cmocka_unit_test(another_name_after_a_dollar_is_refused),
        cmocka_unit_test(a_code_that_no_reply_to_rcpt_has_is_refused),
        cmocka_unit_test(a_missing_or_wrong_enhanced_code_is_refused),
        cmocka_unit_test(codes_of_two_classes_are_refused),
        cmocka_unit_test(control_characters_and_broken_utf8_are_refused),
        cmocka_unit_test(a_text_is_taken_up_to_its_largest_size_and_not_beyond),
        cmocka_unit_test(the_check_of_codes_looks_at_the_given_bytes_only),
        cmocka_unit_test(the_check_of_enhanced_codes_is_rfc_3463),
    };
    return cmocka_run_group_tests_name("reply_setting", tests, NULL, NULL);
}
