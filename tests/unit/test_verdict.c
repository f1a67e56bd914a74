/* The verdict table, walked row by row, and the evidence rule over everything that can be combined.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "milter/reply.h"
#include "milter/verdict.h"

static struct settings settings; /* replies only; the defaults' classes */

static struct reply_setting reply(const char *code, const char *enhanced)
{
    struct reply_setting setting = {0};
    strcpy(setting.code, code);
    strcpy(setting.enhanced, enhanced);
    return setting;
}

static int set_default_replies(void **state)
{
    (void)state;
    memset(&settings, 0, sizeof settings);
    settings.primary_unknown_reply = reply("450", "4.1.1");
    settings.primary_proven_reply = reply("550", "5.1.1");
    settings.primary_unavailable_reply = reply("451", "4.4.3");
    settings.fallback_unknown_reply = reply("550", "5.1.1");
    settings.fallback_unavailable_reply = reply("550", "5.4.3");
    settings.held_reply = reply("451", "4.4.3");
    settings.foreign_reply.pass = true;
    settings.malformed_reply = reply("550", "5.1.3");
    return 0;
}

static struct verdict judge(enum role role, struct outcome outcome)
{
    struct circumstances c = {.settings = &settings, .role = role, .outcome = &outcome};
    struct verdict verdict;
    verdict_judge(&c, &verdict);
    return verdict;
}

static void expect(struct verdict verdict, const char *row, const char *code, const char *enhanced)
{
    assert_string_equal(verdict.row->name, row);
    assert_int_equal(verdict.reply.pass, code == NULL);
    if (code) {
        assert_string_equal(verdict.reply.code, code);
        assert_string_equal(verdict.reply.enhanced, enhanced);
    }
}

static struct outcome asked(enum standing standing)
{
    return (struct outcome){.standing = standing, .tier = TIER_DIRECTORY, .asked_now = true};
}

static struct outcome cached(enum standing standing)
{
    return (struct outcome){.standing = standing, .tier = TIER_MEMCACHE};
}

static void nothing_known_is_unavailable_on_a_primary(void **state)
{
    (void)state;
    struct circumstances c = {.settings = &settings};
    struct verdict verdict;
    verdict_judge(&c, &verdict);
    expect(verdict, "unavailable on a primary", "451", "4.4.3");
}

static void each_row_gives_its_own_reply(void **state)
{
    (void)state;
    expect(judge(ROLE_PRIMARY, asked(STANDING_KNOWN)), "known", NULL, NULL);
    expect(judge(ROLE_FALLBACK, asked(STANDING_KNOWN)), "known", NULL, NULL);
    expect(judge(ROLE_FALLBACK, asked(STANDING_FOREIGN)), "foreign", NULL, NULL);
    expect(judge(ROLE_FALLBACK, asked(STANDING_UNCHECKED)), "unchecked", NULL, NULL);
    expect(judge(ROLE_PRIMARY, asked(STANDING_ABSENT)), "unknown on a primary", "450", "4.1.1");
    expect(judge(ROLE_PRIMARY, cached(STANDING_ABSENT)), "unknown on a primary", "450", "4.1.1");
    expect(judge(ROLE_PRIMARY, (struct outcome){0}), "unavailable on a primary", "451", "4.4.3");
    expect(judge(ROLE_FALLBACK, asked(STANDING_ABSENT)), "unknown on the fallback", "550", "5.1.1");
    expect(judge(ROLE_FALLBACK, (struct outcome){0}), "unavailable on the fallback", "550",
           "5.4.3");
}

/* Absent for so long, in so many queries. */
static struct outcome absent_for(int64_t seconds, unsigned asked_times)
{
    struct outcome outcome = asked(STANDING_ABSENT);
    outcome.verified = 1700000000;
    outcome.absence = (struct absence){outcome.verified - seconds, asked_times};
    return outcome;
}

static void a_proven_absence_bounces_on_a_primary_too(void **state)
{
    (void)state;
    settings.escalate_after_s = 14400;
    expect(judge(ROLE_PRIMARY, absent_for(14400, 2)), "proven unknown on a primary", "550",
           "5.1.1");
    expect(judge(ROLE_PRIMARY, absent_for(14399, 9)), "unknown on a primary", "450", "4.1.1");
    expect(judge(ROLE_PRIMARY, absent_for(90000, 1)), "unknown on a primary", "450", "4.1.1");
    expect(judge(ROLE_FALLBACK, absent_for(14400, 2)), "unknown on the fallback", "550", "5.1.1");
    settings.escalate_after_s = 1; /* two queries are a minute apart at least */
    expect(judge(ROLE_PRIMARY, absent_for(59, 9)), "unknown on a primary", "450", "4.1.1");
    expect(judge(ROLE_PRIMARY, absent_for(60, 2)), "proven unknown on a primary", "550", "5.1.1");
    settings.escalate_after_s = 0; /* never */
    expect(judge(ROLE_PRIMARY, absent_for(864000, 99)), "unknown on a primary", "450", "4.1.1");
}

static void every_interlock_makes_a_proven_absence_a_plain_one(void **state)
{
    (void)state;
    settings.escalate_after_s = 14400;
    for (int i = INTERLOCK_NONE + 1; i < INTERLOCK_COUNT; i++) {
        struct outcome outcome = absent_for(99999, 9), held = outcome;
        held.interlock = (enum interlock)i;
        struct verdict verdict = judge(ROLE_PRIMARY, held);
        expect(verdict, "unknown on a primary", "450", "4.1.1");
        assert_int_equal(verdict.interlock, i);
        struct circumstances c = {.settings = &settings,
                                  .role = ROLE_PRIMARY,
                                  .outcome = &outcome,
                                  .node_interlock = (enum interlock)i};
        verdict_judge(&c, &verdict);
        expect(verdict, "unknown on a primary", "450", "4.1.1");
    }
    struct outcome old = absent_for(99999, 9);
    old.asked_now = false;
    struct verdict verdict = judge(ROLE_PRIMARY, old);
    expect(verdict, "unknown on a primary", "450", "4.1.1");
    assert_true(verdict_wants_fresh_evidence(&verdict));
    settings.primary_unknown_reply = reply("550", "5.1.1");
    expect(judge(ROLE_PRIMARY, old), "held", "451", "4.4.3");
}

static void known_passes_whatever_the_evidence(void **state)
{
    (void)state;
    for (int tier = TIER_NONE; tier <= TIER_STALE; tier++) {
        struct outcome outcome = {.standing = STANDING_KNOWN, .tier = (enum tier)tier};
        expect(judge(ROLE_FALLBACK, outcome), "known", NULL, NULL);
    }
}

static void an_exempt_client_and_bare_postmaster_pass_before_anything_else(void **state)
{
    (void)state;
    struct outcome absent = asked(STANDING_ABSENT);
    struct circumstances c = {.settings = &settings,
                              .role = ROLE_FALLBACK,
                              .outcome = &absent,
                              .malformed = true,
                              .exempt = true};
    struct verdict verdict;
    verdict_judge(&c, &verdict);
    expect(verdict, "exempt", NULL, NULL);
    c.exempt = false;
    c.postmaster = true;
    verdict_judge(&c, &verdict);
    expect(verdict, "postmaster", NULL, NULL);
}

static void malformed_is_4xx_on_a_primary_and_5xx_on_the_fallback(void **state)
{
    (void)state;
    struct circumstances c = {.settings = &settings, .malformed = true, .role = ROLE_PRIMARY};
    struct verdict verdict;
    verdict_judge(&c, &verdict);
    expect(verdict, "malformed", "450", "4.1.3");
    c.role = ROLE_FALLBACK;
    verdict_judge(&c, &verdict);
    expect(verdict, "malformed", "550", "5.1.3");
}

static void cached_absence_never_bounces(void **state)
{
    (void)state;
    struct verdict verdict = judge(ROLE_FALLBACK, cached(STANDING_ABSENT));
    expect(verdict, "held", "451", "4.4.3");
    assert_int_equal(verdict.interlock, INTERLOCK_OLD_EVIDENCE);
    assert_true(verdict_wants_fresh_evidence(&verdict));
}

static void a_shed_or_late_lookup_never_bounces(void **state)
{
    (void)state;
    for (int interlock = INTERLOCK_SHED; interlock < INTERLOCK_OLD_EVIDENCE; interlock++) {
        struct outcome outcome = {.interlock = (enum interlock)interlock};
        struct verdict verdict = judge(ROLE_FALLBACK, outcome);
        expect(verdict, "held", "451", "4.4.3");
        assert_int_equal(verdict.interlock, interlock);
        assert_false(verdict_wants_fresh_evidence(&verdict));
    }
}

static void a_configured_5xx_obeys_the_same_evidence_rule(void **state)
{
    (void)state;
    settings.foreign_reply = reply("550", "5.7.1");
    settings.primary_unknown_reply = reply("550", "5.1.1");
    settings.primary_unavailable_reply = reply("550", "5.4.3");
    expect(judge(ROLE_PRIMARY, cached(STANDING_FOREIGN)), "held", "451", "4.4.3");
    expect(judge(ROLE_PRIMARY, asked(STANDING_FOREIGN)), "foreign", "550", "5.7.1");
    expect(judge(ROLE_PRIMARY, cached(STANDING_ABSENT)), "held", "451", "4.4.3");
    expect(judge(ROLE_PRIMARY, asked(STANDING_ABSENT)), "unknown on a primary", "550", "5.1.1");
    struct outcome shed = {.interlock = INTERLOCK_SHED};
    expect(judge(ROLE_PRIMARY, shed), "held", "451", "4.4.3");

    struct outcome reject = cached(STANDING_OVERRIDE);
    reject.reply = reply("554", "5.7.1");
    expect(judge(ROLE_PRIMARY, reject), "held", "451", "4.4.3");
    reject.asked_now = true;
    expect(judge(ROLE_PRIMARY, reject), "override", "554", "5.7.1");
}

static void a_fallback_set_to_wait_is_not_held(void **state)
{
    (void)state;
    settings.fallback_unavailable_reply = reply("450", "4.3.2");
    struct outcome shed = {.interlock = INTERLOCK_SHED};
    expect(judge(ROLE_FALLBACK, shed), "unavailable on the fallback", "450", "4.3.2");
}

/* Everything that can be combined: a 5xx that rests on a lookup stands only on a directory answer
 * of this transaction, or where the directory could not be reached and nothing held it back. */
static void no_combination_bounces_without_evidence(void **state)
{
    (void)state;
    unsigned bounces = 0, tried = 0;
    for (int i = 0; i < 2 * 6 * 5 * INTERLOCK_COUNT * 2; i++) {
        enum role role = (enum role)(i % 2);
        struct outcome outcome = {.standing = (enum standing)(i / 2 % 6),
                                  .tier = (enum tier)(i / 12 % 5),
                                  .interlock = (enum interlock)(i / 60 % INTERLOCK_COUNT),
                                  .asked_now = i / 60 / INTERLOCK_COUNT % 2};
        outcome.reply = reply("554", "5.7.1");
        struct verdict verdict = judge(role, outcome);
        tried++;
        if (!reply_is_5xx(&verdict.reply))
            continue;
        bounces++;
        assert_int_equal(outcome.interlock, INTERLOCK_NONE);
        assert_int_not_equal(outcome.standing, STANDING_KNOWN);
        assert_true(outcome.asked_now || outcome.standing == STANDING_UNAVAILABLE);
        if (role == ROLE_PRIMARY)
            assert_int_equal(outcome.standing, STANDING_OVERRIDE);
    }
    assert_true(tried > 500 && bounces > 0);
}

static void every_row_and_interlock_has_a_name_and_a_counter_of_its_own(void **state)
{
    (void)state;
    size_t count;
    const struct verdict_row *rows = verdict_rows(&count);
    bool counted[COUNTER_COUNT] = {false};
    unsigned without_walk = 0;
    for (size_t i = 0; i < count; i++) {
        assert_non_null(rows[i].name);
        assert_false(counted[rows[i].counter]);
        counted[rows[i].counter] = true;
        without_walk += rows[i].applies == NULL;
    }
    assert_int_equal(without_walk, 1); /* held */
    for (int i = INTERLOCK_NONE + 1; i < INTERLOCK_COUNT; i++) {
        assert_string_not_equal(interlock_name((enum interlock)i), "none");
        assert_false(counted[interlock_counter((enum interlock)i)]);
        counted[interlock_counter((enum interlock)i)] = true;
    }
}

static void the_last_row_applies_to_everything(void **state)
{
    (void)state;
    size_t count;
    const struct verdict_row *rows = verdict_rows(&count);
    struct circumstances nothing = {.settings = &settings};
    assert_true(rows[count - 1].applies(&nothing));
}

int main(void)
{
#define CLAIM(test) cmocka_unit_test_setup(test, set_default_replies)
    const struct CMUnitTest tests[] = {
        CLAIM(nothing_known_is_unavailable_on_a_primary),
        CLAIM(each_row_gives_its_own_reply),
        CLAIM(a_proven_absence_bounces_on_a_primary_too),
        CLAIM(every_interlock_makes_a_proven_absence_a_plain_one),
        CLAIM(known_passes_whatever_the_evidence),
        CLAIM(an_exempt_client_and_bare_postmaster_pass_before_anything_else),
        CLAIM(malformed_is_4xx_on_a_primary_and_5xx_on_the_fallback),
        CLAIM(cached_absence_never_bounces),
        CLAIM(a_shed_or_late_lookup_never_bounces),
        CLAIM(a_configured_5xx_obeys_the_same_evidence_rule),
        CLAIM(a_fallback_set_to_wait_is_not_held),
        CLAIM(no_combination_bounces_without_evidence),
        CLAIM(every_row_and_interlock_has_a_name_and_a_counter_of_its_own),
        CLAIM(the_last_row_applies_to_everything),
    };
    return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
