#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "db/known_good_entry.h"

enum { DAY = 86400, TTL = 30 * DAY };

#define ENTRY(c, g) (&(struct known_good_entry){.confirmed = (c), .gone = (g)})

static void assert_entry(const struct known_good_entry *entry, int64_t confirmed, int64_t gone)
{
    assert_int_equal(entry->confirmed, confirmed);
    assert_int_equal(entry->gone, gone);
}

static void an_entry_is_read_as_it_was_written(void **state)
{
    (void)state;
    const int64_t times[] = {0, 1, 255, 256, 1700000000, INT32_MAX, UINT32_MAX};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        unsigned char bytes[ENTRY_BYTES];
        struct known_good_entry read;
        assert_int_equal(entry_write(ENTRY(times[i], times[6 - i]), bytes), ENTRY_BYTES);
        assert_true(entry_read(&read, bytes, sizeof bytes));
        assert_entry(&read, times[i], times[6 - i]);
    }
}

static void the_format_is_little_endian(void **state)
{
    (void)state;
    unsigned char bytes[ENTRY_BYTES];
    entry_write(ENTRY(0x01020304, 0x05060708), bytes);
    assert_memory_equal(bytes, "\x04\x03\x02\x01\x08\x07\x06\x05", ENTRY_BYTES);
}

static void a_time_that_does_not_fit_is_the_nearest_that_does(void **state)
{
    (void)state;
    unsigned char bytes[ENTRY_BYTES];
    struct known_good_entry read;
    entry_write(ENTRY(-5, INT64_MAX), bytes);
    assert_true(entry_read(&read, bytes, sizeof bytes));
    assert_entry(&read, 0, UINT32_MAX);
}

static void bytes_of_another_length_are_no_entry(void **state)
{
    (void)state;
    unsigned char bytes[16] = {1};
    struct known_good_entry read;
    assert_false(entry_read(&read, bytes, 0));
    assert_false(entry_read(&read, bytes, 7));
    assert_false(entry_read(&read, bytes, 9));
    assert_entry(&read, 0, 0);
}

static void what_a_confirmation_does(void **state)
{
    (void)state;
    const int64_t t = 1700000000;
    const struct {
        const char *claim;
        struct known_good_entry before;
        int64_t now;
        struct known_good_entry after;
    } cases[] = {
        {"a new one is confirmed", {0, 0}, t, {t, 0}},
        {"a later one sets the time", {t, 0}, t + DAY, {t + DAY, 0}},
        {"it never sets it back", {t, 0}, t - DAY, {t, 0}},
        {"a hundredth of the ttl is news", {t, 0}, t + TTL / 100, {t + TTL / 100, 0}},
        {"less is not worth a write", {t, 0}, t + TTL / 100 - 1, {t, 0}},
        {"who is back is not gone", {t - DAY, t}, t + 1, {t + 1, 0}},
        {"also in the same second", {t - DAY, t}, t, {t, 0}},
        {"also when that is no news else", {t, t}, t, {t, 0}},
        {"an old confirmation does not bring back", {t - DAY, t}, t - 1, {t - 1, t}},
        {"a time from the future stays", {t + DAY, 0}, t, {t + DAY, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct known_good_entry entry = cases[i].before;
        entry_confirm(&entry, cases[i].now, TTL);
        if (entry.confirmed != cases[i].after.confirmed || entry.gone != cases[i].after.gone)
            fail_msg("%s", cases[i].claim);
    }
}

static void without_a_ttl_every_second_is_news(void **state)
{
    (void)state;
    struct known_good_entry entry = {.confirmed = 1000};
    entry_confirm(&entry, 1001, 0);
    assert_entry(&entry, 1001, 0);
}

static void the_first_absence_is_the_one_that_counts(void **state)
{
    (void)state;
    struct known_good_entry entry = {.confirmed = 1000};
    entry_mark_gone(&entry, 2000);
    entry_mark_gone(&entry, 3000);
    assert_entry(&entry, 1000, 2000);
}

static void entries_are_swept_after_the_ttl(void **state)
{
    (void)state;
    const int64_t now = 1700000000;
    assert_true(entry_sweep(ENTRY(now - TTL, 0), now, TTL));
    assert_false(entry_sweep(ENTRY(now - TTL - 1, 0), now, TTL));
    assert_true(entry_sweep(ENTRY(now - TTL - 1, 0), now, 0));
    assert_false(entry_sweep(ENTRY(now - TTL - 1, now), now, TTL));
}

static void a_far_future_is_set_to_now(void **state)
{
    (void)state;
    const int64_t now = 1700000000;
    struct known_good_entry near = {now + ENTRY_FUTURE_S, now + ENTRY_FUTURE_S};
    struct known_good_entry far = {now + ENTRY_FUTURE_S + 1, now + ENTRY_FUTURE_S + 1};
    assert_true(entry_sweep(&near, now, TTL));
    assert_true(entry_sweep(&far, now, TTL));
    assert_entry(&near, now + ENTRY_FUTURE_S, now + ENTRY_FUTURE_S);
    assert_entry(&far, now, now);
}

static void a_step_of_the_wall_clock_is_not_trusted_for_a_day(void **state)
{
    (void)state;
    const int64_t steps[] = {3600, -3600, CLOCK_STEP_S + 1, -CLOCK_STEP_S - 1};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct clock_watch watch = {0};
        int64_t wall = 1700000000;
        assert_true(clock_watch_trusts(&watch, wall, 1000));
        wall += steps[i] + 1;
        assert_false(clock_watch_trusts(&watch, wall, 2000));
        assert_false(clock_watch_trusts(&watch, wall + DAY - 1, 2000 + (DAY - 1) * 1000LL));
        assert_true(clock_watch_trusts(&watch, wall + DAY, 2000 + DAY * 1000LL));
    }
}

static void a_clock_that_drifts_is_trusted(void **state)
{
    (void)state;
    struct clock_watch watch = {0};
    for (int64_t second = 0; second < 10000; second++)
        assert_true(clock_watch_trusts(&watch, 1700000000 + 2 * second, second * 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_read_as_it_was_written),
        cmocka_unit_test(the_format_is_little_endian),
        cmocka_unit_test(a_time_that_does_not_fit_is_the_nearest_that_does),
        cmocka_unit_test(bytes_of_another_length_are_no_entry),
        cmocka_unit_test(what_a_confirmation_does),
        cmocka_unit_test(without_a_ttl_every_second_is_news),
        cmocka_unit_test(the_first_absence_is_the_one_that_counts),
        cmocka_unit_test(entries_are_swept_after_the_ttl),
        cmocka_unit_test(a_far_future_is_set_to_now),
        cmocka_unit_test(a_step_of_the_wall_clock_is_not_trusted_for_a_day),
        cmocka_unit_test(a_clock_that_drifts_is_trusted),
    };
    return cmocka_run_group_tests_name("known_good_entry", tests, NULL, NULL);
}
