#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "db/domain_keys.h"
#include "shared/text.h"

static void check_keys(const char *domain, bool parents_match, const char *expected)
{
    char said[1024];
    struct text text = text_on(said, sizeof said);
    for (const char *key = domain; key; key = domain_next_key(key, parents_match))
        text_addf(&text, "%s%s", text.length > 0 ? " " : "", key);
    assert_string_equal(said, expected);
}

static void parents_follow_in_one_of_two_forms(void **state)
{
    (void)state;
    check_keys("mail.sub.example.com", true,
               "mail.sub.example.com sub.example.com example.com com");
    check_keys("mail.sub.example.com", false,
               "mail.sub.example.com .sub.example.com .example.com .com");
    check_keys("localhost", true, "localhost");
    check_keys("localhost", false, "localhost");
}

static void an_address_literal_has_no_parent(void **state)
{
    (void)state;
    check_keys("[192.0.2.1]", true, "[192.0.2.1]");
    check_keys("[192.0.2.1]", false, "[192.0.2.1]");
    check_keys("[ipv6:2001:db8::192.0.2.1]", false, "[ipv6:2001:db8::192.0.2.1]");
}

static void a_client_cannot_make_a_hundred_keys(void **state)
{
    (void)state;
    check_keys("12.11.10.9.8.7.6.5.4.3.b.a", true,
               "12.11.10.9.8.7.6.5.4.3.b.a 8.7.6.5.4.3.b.a 7.6.5.4.3.b.a 6.5.4.3.b.a 5.4.3.b.a "
               "4.3.b.a 3.b.a b.a a");
    check_keys("10.9.8.7.6.5.4.3.b.a", false,
               "10.9.8.7.6.5.4.3.b.a .8.7.6.5.4.3.b.a .7.6.5.4.3.b.a .6.5.4.3.b.a .5.4.3.b.a "
               ".4.3.b.a .3.b.a .b.a .a");
    check_keys("8.7.6.5.4.3.b.a", true,
               "8.7.6.5.4.3.b.a 7.6.5.4.3.b.a 6.5.4.3.b.a 5.4.3.b.a 4.3.b.a 3.b.a b.a a");
}

static void a_catch_all_key_names_its_domain(void **state)
{
    (void)state;
    assert_string_equal(domain_of_catch_all("@example.com"), "example.com");
    assert_string_equal(domain_of_catch_all("@[192.0.2.1]"), "[192.0.2.1]");
    assert_null(domain_of_catch_all("bob@example.com"));
    assert_null(domain_of_catch_all("@"));
    assert_null(domain_of_catch_all("@bob@example.com")); /* "@bob"@example.com, unquoted */
    assert_null(domain_of_catch_all("\"@bob\"@example.com"));
}

/* expected: the address at the target, "" where the value is no alias. */
static void check_target(const char *address_text, const char *value, const char *expected)
{
    struct address address, target;
    assert_int_equal(address_parse(address_text, strlen(address_text), &address), ADDRESS_OK);
    bool is_alias = domain_alias_target(&address, value, &target);
    if (strcmp(is_alias ? target.key : "", expected) != 0)
        fail_msg("%s with \"%s\" became \"%s\", expected \"%s\"", address_text, value,
                 is_alias ? target.key : "", expected);
}

static void the_local_part_stays_and_the_domain_changes(void **state)
{
    (void)state;
    check_target("bob@alias.example", "@target.example", "bob@target.example");
    check_target("bob@alias.example", " @Target.EXAMPLE ", "bob@target.example");
    check_target("bob+x@alias.example", "@target.example", "bob+x@target.example");
    check_target("\"a b\"@alias.example", "@target.example", "\"a b\"@target.example");
    check_target("\"a@b\"@alias.example", "@target.example", "\"a@b\"@target.example");
    check_target("\"@b\"@alias.example", "@target.example", "\"@b\"@target.example");
    check_target("bob@alias.example", "@sub.alias.example", "bob@sub.alias.example");
    check_target("bob@alias.example", "@[192.0.2.1]", "bob@[192.0.2.1]");
    check_target("bob@[192.0.2.1]", "@target.example", "bob@target.example");
}

static void the_same_target_twice_is_one(void **state)
{
    (void)state;
    check_target("bob@alias.example", "@target.example,@target.example", "bob@target.example");
    check_target("bob@alias.example", "@target.example, @TARGET.example,", "bob@target.example");
}

static void what_says_more_or_something_else_is_a_catch_all(void **state)
{
    (void)state;
    const char *const values[] = {
        "",
        "OK",
        "1",
        "alice@target.example",
        "alice",
        "@",
        "@ target.example",
        "@target.example,alice@target.example",
        "alice@target.example,@target.example",
        "@target.example,@other.example",
        "@target.example @other.example",
        "@target.example,OK",
        "@target.example,1",
        "@alias.example", /* the domain itself: "everybody" */
        "@ALIAS.example,@alias.example",
        "@target..example",
        "@-",
        "@target.example>",
        "@a,@b:bob@target.example",
        "@@target.example",
        "@192.0.2.1",
        "<@target.example>",
        ",",
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        check_target("bob@alias.example", values[i], "");
}

static void a_list_that_may_have_been_cut_is_a_catch_all(void **state)
{
    (void)state;
    char value[1024] = "";
    while (strlen(value) < 900)
        strcat(value, "@target.example,");
    check_target("bob@alias.example", value, "");
    value[160] = '\0';
    check_target("bob@alias.example", value, "bob@target.example");
}

static void a_domain_that_is_too_long_is_no_target(void **state)
{
    (void)state;
    char value[400] = "@", expected[400] = "bob";
    while (strlen(value) < ADDRESS_DOMAIN_MAX - 9)
        strcat(value, "abcd.");
    strcat(value, "example");
    check_target("bob@alias.example", value, strcat(expected, value));
    strcat(value, ".example");
    check_target("bob@alias.example", value, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parents_follow_in_one_of_two_forms),
        cmocka_unit_test(an_address_literal_has_no_parent),
        cmocka_unit_test(a_client_cannot_make_a_hundred_keys),
        cmocka_unit_test(a_catch_all_key_names_its_domain),
        cmocka_unit_test(the_local_part_stays_and_the_domain_changes),
        cmocka_unit_test(the_same_target_twice_is_one),
        cmocka_unit_test(what_says_more_or_something_else_is_a_catch_all),
        cmocka_unit_test(a_list_that_may_have_been_cut_is_a_catch_all),
        cmocka_unit_test(a_domain_that_is_too_long_is_no_target),
    };
    return cmocka_run_group_tests_name("domain_keys", tests, NULL, NULL);
}
