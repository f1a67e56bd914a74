/* Two names of one domain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shared/idn.h"

struct row {
    const char *claim;
    const char *domain; /* ASCII letters in lower case */
    const char *key;
    const char *other; /* NULL: none */
};

static const struct row rows[] = {
    {"a_plain_domain_has_one_form", "example.test", "example.test", NULL},
    {"a_prefix_inside_a_label_is_no_a_label", "ax--n.foo-xn--bar.test", "ax--n.foo-xn--bar.test",
     NULL},
    {"a_u_label_and_an_a_label_are_one_key", "m\303\274nchen.test", "xn--mnchen-3ya.test",
     "m\303\274nchen.test"},
    {"an_a_label_is_its_own_key", "xn--mnchen-3ya.test", "xn--mnchen-3ya.test",
     "m\303\274nchen.test"},
    {"capitals_are_folded", "m\303\234nchen.test", "xn--mnchen-3ya.test", "m\303\274nchen.test"},
    {"pieces_are_composed", "mu\314\210nchen.test", "xn--mnchen-3ya.test", "m\303\274nchen.test"},
    {"every_label_counts", "a.m\303\274nchen.xn--mnchen-3ya", "a.xn--mnchen-3ya.xn--mnchen-3ya",
     "a.m\303\274nchen.m\303\274nchen"},
    {"chinese_is_one_key", "\347\224\250\346\210\267.test", "xn--zouo53b.test",
     "\347\224\250\346\210\267.test"},
    {"cyrillic_capitals_are_folded", "\320\237\320\201\320\242\320\240.test", "xn--o1acf3d.test",
     "\320\277\321\221\321\202\321\200.test"},
    {"right_to_left_is_one_key", "\327\220\327\221.test", "xn--4dbc.test", "\327\220\327\221.test"},
    {"sharp_s_is_a_letter", "stra\303\237e.test", "xn--strae-oqa.test", "stra\303\237e.test"},
    {"capital_sharp_s_is_that_letter", "stra\341\272\236e.test", "xn--strae-oqa.test",
     "stra\303\237e.test"},
    {"the_dotless_i_is_a_letter", "\304\261.test", "xn--cfa.test", "\304\261.test"},
    {"an_underscore_does_no_harm", "_m\303\274nchen.test", "xn--_mnchen-o2a.test",
     "_m\303\274nchen.test"},
    /* They stay as they are. */
    {"an_emoji_has_one_form", "\360\237\230\200.test", "\360\237\230\200.test", NULL},
    {"nor_has_its_punycode_another", "xn--e28h.test", "xn--e28h.test", NULL},
    {"a_fullwidth_letter_is_no_ascii_letter", "\357\275\201.test", "\357\275\201.test", NULL},
    {"the_kelvin_sign_is_no_k", "\342\204\252.test", "\342\204\252.test", NULL},
    {"the_kelvin_sign_beside_another_letter_is_no_k", "\342\204\252\303\274.test",
     "\342\204\252\303\274.test", NULL},
    {"a_soft_hyphen_is_not_nothing", "m\302\255a.test", "m\302\255a.test", NULL},
    {"an_ideographic_full_stop_is_no_dot", "a\343\200\202test", "a\343\200\202test", NULL},
    {"an_a_label_of_nothing_stays", "xn--.test", "xn--.test", NULL},
    {"an_a_label_of_ascii_stays", "xn--abc-.test", "xn--abc-.test", NULL},
    {"an_a_label_that_overflows_stays", "xn--999999999.test", "xn--999999999.test", NULL},
    {"an_a_label_of_a_control_stays", "xn--a.test", "xn--a.test", NULL},
    {"an_a_label_of_a_capital_stays", "xn--mnchen-psa.test", "xn--mnchen-psa.test", NULL},
    {"an_a_label_of_pieces_stays", "xn--munchen-gie.test", "xn--munchen-gie.test", NULL},
    {"an_a_label_that_another_one_is_spelled_like_stays", "xn--a-ecp.test", "xn--a-ecp.test", NULL},
    {"a_bad_label_does_not_spoil_the_next", "xn--999999999.m\303\274nchen.test",
     "xn--999999999.xn--mnchen-3ya.test", "xn--999999999.m\303\274nchen.test"},
    {"what_is_no_utf8_stays", "m\374nchen.test", "m\374nchen.test", NULL},
    {"an_empty_label_stays", "m\303\274nchen..test.", "xn--mnchen-3ya..test.",
     "m\303\274nchen..test."},
    {"a_literal_stays", "[ipv6:2001:db8::1]", "[ipv6:2001:db8::1]", NULL},
};
enum { ROWS = sizeof rows / sizeof *rows };

static void check_row(void **state)
{
    const struct row *row = *state;
    char domain[256], again[256], other[256];
    snprintf(domain, sizeof domain, "%s", row->domain);
    idn_to_key(domain);
    assert_string_equal(domain, row->key);
    snprintf(again, sizeof again, "%s", domain);
    idn_to_key(again);
    assert_string_equal(again, domain);
    if (!row->other) {
        assert_false(idn_other_form(domain, other, sizeof other));
        return;
    }
    assert_true(idn_other_form(domain, other, sizeof other));
    assert_string_equal(other, row->other);
    idn_to_key(other);
    assert_string_equal(other, row->key);
}

static void the_other_form_of_an_address_is_its_domains(void **state)
{
    (void)state;
    char other[256];
    assert_true(idn_other_form("xn--mnchen-3ya@xn--mnchen-3ya.test", other, sizeof other));
    assert_string_equal(other, "xn--mnchen-3ya@m\303\274nchen.test");
    assert_true(idn_other_form("\"a@b c\"@xn--mnchen-3ya.test", other, sizeof other));
    assert_string_equal(other, "\"a@b c\"@m\303\274nchen.test");
    assert_true(idn_other_form("@xn--mnchen-3ya.test", other, sizeof other));
    assert_string_equal(other, "@m\303\274nchen.test");
    assert_false(idn_other_form("m\303\274ller@example.test", other, sizeof other));
    assert_false(idn_other_form("xn--mnchen-3ya@example.test", other, sizeof other));
}

static void what_does_not_fit_is_not_cut(void **state)
{
    (void)state;
    char domain[256] = "", before[256], other[16];
    for (int i = 0; i < 80; i++)
        strcat(domain, "\303\251.");
    strcat(domain, "test");
    strcpy(before, domain);
    idn_to_key(domain);
    assert_string_equal(domain, before);
    assert_false(idn_other_form(domain, other, sizeof other));
    domain[0] = '\0';
    for (int i = 0; i < 60; i++)
        strcat(domain, "\303\211."); /* capitals */
    strcat(domain, "xn--9ca.test");
    assert_false(idn_other_form(domain, before, sizeof before));
    assert_true(idn_other_form("a@xn--9ca.test", other, sizeof other));
    assert_false(idn_other_form("aaaaaaaaaa@xn--9ca.test", other, sizeof other));
}

int main(void)
{
    static struct CMUnitTest tests[ROWS + 2];
    for (size_t i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){rows[i].claim, check_row, NULL, NULL, (void *)&rows[i]};
    tests[ROWS] = (struct CMUnitTest)cmocka_unit_test(the_other_form_of_an_address_is_its_domains);
    tests[ROWS + 1] = (struct CMUnitTest)cmocka_unit_test(what_does_not_fit_is_not_cut);
    return cmocka_run_group_tests_name("idn", tests, NULL, NULL);
}
