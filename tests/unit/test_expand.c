/* expand: $name in a value, held against what postconf -x of Postfix 3.7 prints where we do the
 * same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "config/expand.h"

static const struct parameter {
    const char *name, *value;
} parameters[] = {
    {"set", "a.b"},
    {"empty", ""},
    {"chain", "<$set>"},
    {"empty_chain", "$empty"},
    {"dollar", "5$$"},
    {"self", "$self"},
    {"circle1", "$circle2"},
    {"circle2", "x${circle1}"},
    {"broken", "${set"},
    {"reply", "$recipient $role $set $$"},
    {"by_role", "$role $$"},
    {"role", "primary"},
    {"double1", "$double2$double2"},
    {"double2", "$double3$double3"},
    {"double3", "$double4$double4"},
    {"double4", "$double5$double5"},
    {"double5", "$double6$double6"},
    {"double6", "$double7$double7"},
    {"double7", "$double8$double8"},
    {"double8", "$double9$double9"},
    {"double9", "$double10$double10"},
    {"double10", "$double11$double11"},
    {"double11", "$double12$double12"},
    {"double12", "$double13$double13"},
    {"double13", "$double14$double14"},
    {"double14", ""},
};

static const char *lookup(void *context, const char *name, bool *is_reply, struct fault *fault)
{
    (void)context;
    *is_reply = strcmp(name, "reply") == 0;
    for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++)
        if (strcmp(parameters[i].name, name) == 0)
            return parameters[i].value;
    fault_set(fault, "no $%s", name);
    return NULL;
}

static void assert_expands_in(bool in_reply, const char *raw, const char *wanted)
{
    char buffer[256];
    struct text out = text_on(buffer, sizeof buffer);
    struct fault fault = {0};
    if (!expand_value("it", raw, in_reply, lookup, NULL, &out, &fault))
        fail_msg("%s: %s", raw, fault.text);
    if (strcmp(buffer, wanted) != 0)
        fail_msg("%s became %s, not %s", raw, buffer, wanted);
}

static void assert_expands(const char *raw, const char *wanted)
{
    assert_expands_in(false, raw, wanted);
}

static void assert_refused_in(bool in_reply, const char *raw, const char *message)
{
    char buffer[256];
    struct text out = text_on(buffer, sizeof buffer);
    struct fault fault = {0};
    if (expand_value("it", raw, in_reply, lookup, NULL, &out, &fault))
        fail_msg("%s became %s", raw, buffer);
    assert_string_equal(fault.text, message);
}

static void assert_refused(const char *raw, const char *message)
{
    assert_refused_in(false, raw, message);
}

static void text_without_a_dollar_stays(void **state)
{
    (void)state;
    assert_expands("", "");
    assert_expands("a {b} (c) d? e: #", "a {b} (c) d? e: #");
}

static void a_name_in_each_of_its_three_forms_gives_its_value(void **state)
{
    (void)state;
    assert_expands("$set", "a.b");
    assert_expands("${set}", "a.b");
    assert_expands("$(set)", "a.b");
    assert_expands("${ set }", "a.b");
    assert_expands("x$set/y", "xa.b/y");
    assert_expands("$set.$set", "a.b.a.b");
    assert_expands("${set}x", "a.bx");
    assert_expands("$empty-$set", "-a.b");
}

static void a_value_is_expanded_in_turn(void **state)
{
    (void)state;
    assert_expands("$chain", "<a.b>");
    assert_expands("${empty_chain}.", ".");
}

static void two_dollars_are_one(void **state)
{
    (void)state;
    assert_expands("$$set", "$set");
    assert_expands("$$$set", "$a.b");
    assert_expands("$dollar", "5$");
}

static void a_condition_chooses_by_whether_the_value_is_empty(void **state)
{
    (void)state;
    assert_expands("${set?yes}", "yes");
    assert_expands("${empty?yes}", "");
    assert_expands("${set:no}", "");
    assert_expands("${empty:no}", "no");
    assert_expands("${set?{yes}:{no}}", "yes");
    assert_expands("${empty?{yes}:{no}}", "no");
    assert_expands("${empty?{yes}:no way}", "no way");
    assert_expands("$(empty?{yes}:{no})", "no");
    assert_expands("${set?}|", "|");
    assert_expands("${set?{}}|", "|");
}

static void emptiness_is_judged_after_expansion(void **state)
{
    (void)state;
    assert_expands("${empty_chain?yes}", "");
    assert_expands("${empty_chain:no}", "no");
}

static void white_space_around_braced_texts_does_not_count(void **state)
{
    (void)state;
    assert_expands("${set? {x} : {y} }", "x");
    assert_expands("${empty ? {x} : { y } }", " y ");
    assert_expands("${set?  x }|", "  x |");
}

static void a_text_without_braces_goes_to_the_end(void **state)
{
    (void)state;
    assert_expands("${set?x y:z}", "x y:z");
    assert_expands("${set??x}", "?x");
    assert_expands("${set?a{b}c}", "a{b}c");
    assert_expands("${set?a}b}", "ab}");
}

static void the_chosen_text_is_expanded_and_the_other_is_not(void **state)
{
    (void)state;
    assert_expands("${set?<$set>}", "<a.b>");
    assert_expands("${set?{${empty?{a}:{$set}}}:{c}}", "a.b");
    assert_expands("${empty?{$nosuch}:{x}}", "x");
    assert_expands("${set:$nosuch}", "");
}

static void an_unknown_name_is_an_error(void **state)
{
    (void)state;
    assert_refused("$nosuch", "no $nosuch");
    assert_refused("${nosuch?x}", "no $nosuch");
    assert_refused("$setx", "no $setx");
    assert_refused("$recipient", "no $recipient");
}

static void what_postfix_calls_malformed_is_an_error(void **state)
{
    (void)state;
    assert_refused("a $ b", "no name after the dollar (write $$ for a dollar) in: \"$ b\"");
    assert_refused("x$", "no name after the dollar (write $$ for a dollar) in: \"$\"");
    assert_refused("${set", "the closing bracket is missing in: \"${set\"");
    assert_refused("$(set}", "the closing bracket is missing in: \"$(set}\"");
    assert_refused("${set?{x}y}", "expected ':' after {text} in: \"?{x}y\"");
    assert_refused("${empty:{x} y}", "something follows {text} in: \":{x} y\"");
    assert_refused("${set:{x}:{y}}", "something follows {text} in: \":{x}:{y}\"");
    assert_refused("$(set?{x)", "braces do not match: \"{x\"");
    assert_refused("${}", "not a parameter's name: \"\"");
    assert_refused("${a-b}", "not a parameter's name: \"a-b\"");
}

static void a_comparison_is_refused_rather_than_misread(void **state)
{
    (void)state;
    assert_refused("${{a} == {b} ? {c} : {d}}",
                   "comparisons are not supported here: \"{a} == {b} ? {c} : {d}\"");
}

static void a_circle_is_an_error_that_names_its_way(void **state)
{
    (void)state;
    assert_refused("$self", "$self: runs in a circle: \"self\"");
    assert_refused("$circle1", "$circle1: $circle2: runs in a circle: \"circle1\"");
    assert_refused("${it?x}", "runs in a circle: \"it\"");
}

static void a_fault_in_another_value_names_that_value(void **state)
{
    (void)state;
    assert_refused("$broken", "$broken: the closing bracket is missing in: \"${set\"");
}

static void what_grows_without_end_is_stopped(void **state)
{
    (void)state;
    char buffer[8], deep[1000] = "";
    struct text out = text_on(buffer, sizeof buffer);
    struct fault fault = {0};
    assert_false(expand_value("it", "$set$set$set", false, lookup, NULL, &out, &fault));
    assert_string_equal(fault.text, "$set: becomes longer than 7 bytes when its $names are put in");

    assert_expands("$double5", "");
    out = text_on(buffer, sizeof buffer);
    assert_false(expand_value("it", "$double1", false, lookup, NULL, &out, &fault));
    assert_non_null(strstr(fault.text, "nested too deeply"));

    for (int i = 0; i < 110; i++)
        strcat(deep, "${set?");
    for (int i = 0; i < 110; i++)
        strcat(deep, "}");
    out = text_on(buffer, sizeof buffer);
    assert_false(expand_value("it", deep, false, lookup, NULL, &out, &fault));
    assert_non_null(strstr(fault.text, "nested too deeply"));
}

static void in_a_reply_its_own_names_and_the_double_dollar_stay(void **state)
{
    (void)state;
    static const char *const same[] = {"<$recipient> ${domain} $role", "$$5", "$$recipient",
                                       "${role}x", "$role"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        assert_expands_in(true, same[i], same[i]);
    assert_expands_in(true, "$(recipient) ${ domain }", "${recipient} ${domain}");
    assert_expands_in(true, "$set: $recipient", "a.b: $recipient");
    assert_expands_in(true, "$dollar", "5$$");
}

static void in_a_reply_what_is_put_behind_a_name_does_not_grow_it(void **state)
{
    (void)state;
    assert_expands_in(true, "$recipient$set", "${recipient}a.b");
    assert_expands_in(true, "${set?$recipient}x", "${recipient}x");
    assert_expands_in(true, "${set?$role}x", "${role}x");
}

static void in_a_reply_role_stays_where_a_reply_names_it_and_nowhere_else(void **state)
{
    (void)state;
    assert_expands_in(true, "<$reply>", "<$recipient $role a.b $$>");
    assert_expands_in(true, "<$by_role>", "<primary $$>");
    assert_refused("$reply", "$reply: no $recipient");
}

static void in_a_reply_its_own_names_cannot_be_tested(void **state)
{
    (void)state;
    assert_refused_in(true, "${role?x}",
                      "known only when there is a recipient, so it cannot be tested: \"role\"");
    assert_refused_in(true, "$nosuch", "no $nosuch");
    assert_expands("$role ${role?x}", "primary x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_without_a_dollar_stays),
        cmocka_unit_test(a_name_in_each_of_its_three_forms_gives_its_value),
        cmocka_unit_test(a_value_is_expanded_in_turn),
        cmocka_unit_test(two_dollars_are_one),
        cmocka_unit_test(a_condition_chooses_by_whether_the_value_is_empty),
        cmocka_unit_test(emptiness_is_judged_after_expansion),
        cmocka_unit_test(white_space_around_braced_texts_does_not_count),
        cmocka_unit_test(a_text_without_braces_goes_to_the_end),
        cmocka_unit_test(the_chosen_text_is_expanded_and_the_other_is_not),
        cmocka_unit_test(an_unknown_name_is_an_error),
        cmocka_unit_test(what_postfix_calls_malformed_is_an_error),
        cmocka_unit_test(a_comparison_is_refused_rather_than_misread),
        cmocka_unit_test(a_circle_is_an_error_that_names_its_way),
        cmocka_unit_test(a_fault_in_another_value_names_that_value),
        cmocka_unit_test(what_grows_without_end_is_stopped),
        cmocka_unit_test(in_a_reply_its_own_names_and_the_double_dollar_stay),
        cmocka_unit_test(in_a_reply_what_is_put_behind_a_name_does_not_grow_it),
        cmocka_unit_test(in_a_reply_role_stays_where_a_reply_names_it_and_nowhere_else),
        cmocka_unit_test(in_a_reply_its_own_names_cannot_be_tested),
    };
    return cmocka_run_group_tests_name("expand", tests, NULL, NULL);
}
