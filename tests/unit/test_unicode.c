#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_makes_no_difference),
        cmocka_unit_test(composition_makes_no_difference),
        cmocka_unit_test(other_letters_do),
        cmocka_unit_test(what_is_no_utf8_equals_only_itself),
    };
    return cmocka_run_group_tests_name("unicode", tests, NULL, NULL);
}
