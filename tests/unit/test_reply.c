/* Replies on the wire: names put in, nothing a client sends gets through unescaped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "milter/reply.h"
#include "shared/text.h"

static struct reply render(const char *text, const char *recipient)
{
    struct reply_setting setting = {.code = "550", .enhanced = "5.1.1"};
    struct reply reply;
    strcpy(setting.text, text);
    reply_render(&setting, recipient, "example.com", ROLE_FALLBACK, &reply);
    return reply;
}

static void expect(const char *text, const char *recipient, const char *wanted)
{
    struct reply reply = render(text, recipient);
    assert_false(reply.pass);
    assert_string_equal(reply.code, "550");
    assert_string_equal(reply.enhanced, "5.1.1");
    assert_string_equal(reply.text, wanted);
}

static void names_are_put_in(void **state)
{
    (void)state;
    expect("<$recipient> at $domain, $role", "u@x", "<u@x> at example.com, fallback");
    expect("<${recipient}>s", "u@x", "<u@x>s");
}

static void what_is_no_name_stays(void **state)
{
    (void)state;
    expect("$recipients $ ${recipient $5 $$", "u@x", "$recipients $ ${recipient $5 $");
    expect("$$recipient", "u@x", "$recipient");
}

static void names_inside_a_recipient_are_not_put_in(void **state)
{
    (void)state;
    expect("<$recipient>", "$domain$role%s@x", "<$domain$role%s@x>");
}

static void control_characters_cannot_start_a_second_line(void **state)
{
    (void)state;
    expect("<$recipient>", "a\r\n250 ok\t\x7f@x", "<a??250 ok??@x>");
}

static void utf8_stays_and_what_is_not_becomes_a_question_mark(void **state)
{
    (void)state;
    expect("$recipient", "d\xc3\xb6rte@x", "d\xc3\xb6rte@x");
    expect("$recipient", "a\xff\xc3@x", "a??@x");
    expect("$recipient", "c1\xc2\x85@x", "c1?@x");
}

static void a_long_recipient_is_cut_on_a_whole_character(void **state)
{
    (void)state;
    char recipient[2001];
    for (size_t i = 0; i < 2000; i += 2)
        memcpy(recipient + i, "\xc3\xb6", 2);
    recipient[2000] = '\0';
    struct reply reply = render("x$recipient tail", recipient);
    size_t length = strlen(reply.text);
    assert_true(length <= REPLY_LINE_MAX && length >= REPLY_LINE_MAX - 1);
    assert_true(text_is_utf8(reply.text, length));
}

static void percent_signs_are_doubled_for_libmilter_only(void **state)
{
    (void)state;
    char escaped[64];
    struct reply reply = render("$recipient", "100%s@x");
    assert_string_equal(reply.text, "100%s@x");
    reply_escape_for_libmilter(reply.text, escaped, sizeof escaped);
    assert_string_equal(escaped, "100%%s@x");
}

static void a_reply_full_of_percent_signs_still_fits_libmilter(void **state)
{
    (void)state;
    char recipient[1025], escaped[REPLY_ESCAPED_MAX + 1];
    memset(recipient, '%', 1024);
    recipient[1024] = '\0';
    struct reply reply = render("x$recipient", recipient);
    reply_escape_for_libmilter(reply.text, escaped, sizeof escaped);
    size_t length = strlen(escaped);
    assert_in_range(length, REPLY_ESCAPED_MAX - 2, REPLY_ESCAPED_MAX);
    assert_int_equal(length % 2, 1); /* "x", and whole pairs */
}

static void pass_has_no_text(void **state)
{
    (void)state;
    struct reply_setting pass = {.pass = true};
    struct reply reply;
    reply_render(&pass, "u@x", "x", ROLE_PRIMARY, &reply);
    assert_true(reply.pass);
    assert_string_equal(reply.text, "");
    assert_false(reply_is_5xx(&pass));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_put_in),
        cmocka_unit_test(what_is_no_name_stays),
        cmocka_unit_test(names_inside_a_recipient_are_not_put_in),
        cmocka_unit_test(control_characters_cannot_start_a_second_line),
        cmocka_unit_test(utf8_stays_and_what_is_not_becomes_a_question_mark),
        cmocka_unit_test(a_long_recipient_is_cut_on_a_whole_character),
        cmocka_unit_test(percent_signs_are_doubled_for_libmilter_only),
        cmocka_unit_test(a_reply_full_of_percent_signs_still_fits_libmilter),
        cmocka_unit_test(pass_has_no_text),
    };
    return cmocka_run_group_tests_name("reply", tests, NULL, NULL);
}
