/* Whom the canary asks about, and when a recipient fares worse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "milter/canary.h"
#include "milter/check.h"
#include "shared/digest.h"

static struct outcome outcome_of(enum standing standing)
{
    return (struct outcome){.standing = standing, .asked_now = standing != STANDING_UNAVAILABLE};
}

static bool is_worse(enum standing next, enum standing old, bool confirmed)
{
    struct outcome a = outcome_of(next), b = outcome_of(old);
    return canary_is_worse(&a, &b, confirmed);
}

static void who_is_lost_fares_worse(void **state)
{
    (void)state;
    assert_true(is_worse(STANDING_ABSENT, STANDING_KNOWN, true));
    assert_true(is_worse(STANDING_FOREIGN, STANDING_KNOWN, true));
    assert_true(is_worse(STANDING_ABSENT, STANDING_KNOWN, false));
    assert_true(is_worse(STANDING_OVERRIDE, STANDING_KNOWN, false)); /* its reply is none to pass */
    assert_true(is_worse(STANDING_ABSENT, STANDING_UNCHECKED, false));
}

static void who_cannot_be_asked_about_fares_worse_where_the_old_one_can(void **state)
{
    (void)state;
    assert_true(is_worse(STANDING_UNAVAILABLE, STANDING_KNOWN, true));
    assert_true(is_worse(STANDING_UNAVAILABLE, STANDING_KNOWN, false));
    assert_false(is_worse(STANDING_UNAVAILABLE, STANDING_UNAVAILABLE, true));
    assert_false(is_worse(STANDING_UNAVAILABLE, STANDING_ABSENT, true));
}

static void who_was_removed_fares_as_before(void **state)
{
    (void)state;
    assert_false(is_worse(STANDING_ABSENT, STANDING_ABSENT, true));
    assert_false(is_worse(STANDING_FOREIGN, STANDING_ABSENT, true));
}

/* An outage does not make another table the right one. */
static void who_was_confirmed_is_not_given_up_because_the_old_one_cannot_say(void **state)
{
    (void)state;
    assert_true(is_worse(STANDING_ABSENT, STANDING_UNAVAILABLE, true));
    assert_false(is_worse(STANDING_ABSENT, STANDING_UNAVAILABLE, false));
}

static void who_passes_is_well(void **state)
{
    (void)state;
    struct outcome known = outcome_of(STANDING_KNOWN), unchecked = outcome_of(STANDING_UNCHECKED);
    struct outcome override = outcome_of(STANDING_OVERRIDE), nobody = {0};
    assert_true(canary_is_well(&known));
    assert_true(canary_is_well(&unchecked));
    assert_false(canary_is_well(&override));
    override.reply.pass = true;
    assert_true(canary_is_well(&override));
    assert_false(canary_is_well(&nobody));
}

/* ---- the sample ---- */

static void note(struct canary *canary, const char *text, enum standing standing, bool asked_now)
{
    static struct check_result result;
    result = (struct check_result){.asked = true, .outcome = outcome_of(standing)};
    result.outcome.asked_now = asked_now;
    assert_int_equal(address_parse(text, strlen(text), &result.address), ADDRESS_OK);
    canary_note(canary, &result);
}

static struct address sample[CANARY_SAMPLE_MAX];

static bool sampled(size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(sample[i].key, key) == 0)
            return true;
    return false;
}

static void only_who_the_directory_confirms_now_is_kept(void **state)
{
    (void)state;
    struct canary *canary = canary_create();
    assert_int_equal(canary_sample(canary, sample), 0);
    note(canary, "absent@example.test", STANDING_ABSENT, true);
    note(canary, "cached@example.test", STANDING_KNOWN, false);
    note(canary, "down@example.test", STANDING_UNAVAILABLE, false);
    assert_int_equal(canary_sample(canary, sample), 0);
    note(canary, "alice@example.test", STANDING_KNOWN, true);
    note(canary, "\"a b\"@example.test", STANDING_KNOWN, true);
    size_t count = canary_sample(canary, sample);
    assert_true(sampled(count, "alice@example.test") || sampled(count, "\"a b\"@example.test"));
    assert_false(sampled(count, "absent@example.test") || sampled(count, "cached@example.test"));
    canary_destroy(canary);
}

static void nobody_is_sampled_twice(void **state)
{
    (void)state;
    struct canary *canary = canary_create();
    for (int i = 0; i < 1000; i++)
        note(canary, "alice@example.test", STANDING_KNOWN, true);
    assert_int_equal(canary_sample(canary, sample), 1);
    canary_destroy(canary);
}

/* It has slots of its own by domain, of which the busy one takes one. */
static void a_busy_domain_does_not_displace_the_others(void **state)
{
    (void)state;
    struct canary *canary = canary_create();
    char text[64];
    for (int i = 0; i < 64; i++) {
        snprintf(text, sizeof text, "rare@d%d.test", i);
        note(canary, text, STANDING_KNOWN, true);
    }
    for (int i = 0; i < 20000; i++) {
        snprintf(text, sizeof text, "u%d@busy.test", i);
        note(canary, text, STANDING_KNOWN, true);
    }
    size_t count = canary_sample(canary, sample), rare = 0;
    for (size_t i = 0; i < count; i++)
        rare += strcmp(sample[i].domain, "busy.test") != 0;
    assert_in_range(count, 32, CANARY_SAMPLE_MAX);
    assert_in_range(rare, 10, 15);
    canary_destroy(canary);
}

static int prepare(void **state)
{
    (void)state;
    return digest_init() ? 0 : -1;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_lost_fares_worse),
        cmocka_unit_test(who_cannot_be_asked_about_fares_worse_where_the_old_one_can),
        cmocka_unit_test(who_was_removed_fares_as_before),
        cmocka_unit_test(who_was_confirmed_is_not_given_up_because_the_old_one_cannot_say),
        cmocka_unit_test(who_passes_is_well),
        cmocka_unit_test(only_who_the_directory_confirms_now_is_kept),
        cmocka_unit_test(nobody_is_sampled_twice),
        cmocka_unit_test(a_busy_domain_does_not_displace_the_others),
    };
    return cmocka_run_group_tests_name("canary", tests, prepare, NULL);
}
