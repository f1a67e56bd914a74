#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <unistr.h>

#include "shared/unicode.h"

static void case_makes_no_difference(void **state)
{
    (void)state;
    assert_true(unicode_same_folded("JOS\xc3\x89@x", "jos\xc3\xa9@x"));
    assert_true(unicode_same_folded("\xce\xa9@x", "\xcf\x89@x"));
    assert_true(unicode_same_folded("stra\xc3\x9f"
                                    "e@x",
                                    "strasse@x")); /* Postfix folds so */
}

static void composition_makes_no_difference(void **state)
{
    (void)state;
    assert_true(unicode_same_folded("jos\xc3\xa9@x", "jose\xcc\x81@x"));
}

static void other_letters_do(void **state)
{
    (void)state;
    assert_false(unicode_same_folded("\xe7\x94\xa8\xe6\x88\xb7@x", "\xe5\x88\xab\xe4\xba\xba@x"));
    assert_false(unicode_same_folded("j\xc3\xbcrgen@x", "jrgen@x"));
    assert_false(unicode_same_folded("jos\xc3\xa9@x", "jose@x"));
    assert_false(unicode_same_folded("a@x", "a@y"));
}

static void what_is_no_utf8_equals_only_itself(void **state)
{
    (void)state;
    assert_true(unicode_same_folded("a\xff@x", "a\xff@x"));
    assert_false(unicode_same_folded("a\xff@x", "A\xff@x"));
}

static void lower(const char *text, const char *expected)
{
    char to[64];
    assert_true(unicode_lower(text, to, sizeof to));
    assert_string_equal(to, expected);
}

static void lower_case_is_composed_and_takes_no_letter_for_another(void **state)
{
    (void)state;
    lower("JOSE\xcc\x81", "jos\xc3\xa9");
    lower("JOS\xc3\x89", "jos\xc3\xa9");
    lower("stra\xc3\x9f", "stra\xc3\x9f");
    lower("\xce\xb3\xcf\x82", "\xce\xb3\xcf\x82");
    lower("\xce\x93\xce\xa3", "\xce\xb3\xcf\x82"); /* a capital sigma at the end is a final one */
    lower("\xc4\xb1", "\xc4\xb1");                 /* dotless i */
    lower("\xef\xbc\xa1", "\xef\xbd\x81");         /* fullwidth stays fullwidth */
}

static void what_cannot_be_folded_says_so(void **state)
{
    (void)state;
    char to[4];
    assert_false(unicode_lower("\xc3", to, sizeof to));
    assert_false(unicode_lower("a\xff", to, sizeof to));
    assert_true(unicode_lower("\xc3\x89"
                              "A",
                              to, sizeof to));
    assert_false(unicode_lower("\xc3\x89"
                               "AB",
                               to, sizeof to)); /* no room for the NUL */
    assert_false(unicode_lower("\xc3\x89"
                               "ABCDEFGHIJ",
                               to, sizeof to));
}

/* All of Unicode: the three that are ASCII in disguise are refused, nothing else becomes ASCII, and
 * what is folded and composed stays that. */
static void no_character_becomes_an_ascii_one(void **state)
{
    (void)state;
    int refused = 0;
    for (ucs4_t c = 0x80; c < 0x110000; c++) {
        char text[16] = "", to[64], again[64];
        if (c >= 0xd800 && c < 0xe000)
            continue;
        text[u8_uctomb((uint8_t *)text, c, sizeof text - 1)] = '\0';
        if (!unicode_lower(text, to, sizeof to)) {
            assert_true(c == 0x212a || c == 0x37e || c == 0x1fef);
            refused++;
            continue;
        }
        if (unicode_is_ascii(to))
            fail_msg("U+%04X becomes %s", (unsigned)c, to);
        assert_true(unicode_lower(to, again, sizeof again));
        if (strcmp(again, to) != 0)
            fail_msg("U+%04X changes twice", (unsigned)c);
    }
    assert_int_equal(refused, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_makes_no_difference),
        cmocka_unit_test(composition_makes_no_difference),
        cmocka_unit_test(other_letters_do),
        cmocka_unit_test(what_is_no_utf8_equals_only_itself),
        cmocka_unit_test(lower_case_is_composed_and_takes_no_letter_for_another),
        cmocka_unit_test(what_cannot_be_folded_says_so),
        cmocka_unit_test(no_character_becomes_an_ascii_one),
    };
    return cmocka_run_group_tests_name("unicode", tests, NULL, NULL);
}
