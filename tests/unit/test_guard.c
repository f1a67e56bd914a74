/* What keeps this node from bouncing anybody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "milter/guard.h"
#include "shared/clock.h"
#include "tests/unit/pause.h"

static char directory[] = "/tmp/rcpt-milter-guard.XXXXXX";
static char file[sizeof directory + 8];

static int make_directory(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    snprintf(file, sizeof file, "%s/hold", directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    return rmdir(directory);
}

static int remove_file(void **state)
{
    (void)state;
    unlink(file);
    return 0;
}

static void write_file(const char *text)
{
    FILE *out = fopen(file, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static enum interlock for_absent(struct guard *guard)
{
    return guard_interlock(guard, false, 0);
}

static void nobody_is_held_without_a_guard(void **state)
{
    (void)state;
    assert_int_equal(guard_interlock(NULL, true, 3600), INTERLOCK_NONE);
    guard_directory_answered(NULL);
    guard_directory_failed(NULL);
    guard_close(NULL);
}

static void before_the_first_answer_being_unavailable_bounces_nobody(void **state)
{
    (void)state;
    struct guard *guard = guard_open(directory);
    assert_int_equal(guard_interlock(guard, true, 0), INTERLOCK_NO_ANSWER_YET);
    assert_int_equal(for_absent(guard), INTERLOCK_NONE);
    guard_directory_failed(guard);
    assert_int_equal(guard_interlock(guard, true, 0), INTERLOCK_NO_ANSWER_YET);
    guard_directory_answered(guard);
    guard_directory_failed(guard);
    assert_int_equal(guard_interlock(guard, true, 0), INTERLOCK_NONE);
    guard_close(guard);
}

static void an_outage_is_counted_from_its_first_failure(void **state)
{
    (void)state;
    struct guard_state now;
    struct guard *guard = guard_open(directory);
    guard_directory_answered(guard);
    guard_directory_failed(guard);
    assert_int_equal(guard_interlock(guard, true, 1), INTERLOCK_OUTAGE);
    assert_int_equal(guard_interlock(guard, false, 1), INTERLOCK_NONE);
    struct deadline limit = deadline_in_ms(10000);
    while (guard_interlock(guard, true, 1) == INTERLOCK_OUTAGE) {
        assert_false(deadline_passed(limit));
        guard_directory_failed(guard); /* a later failure does not begin it anew */
        test_pause();
    }
    assert_int_equal(guard_interlock(guard, true, 3600), INTERLOCK_OUTAGE);
    guard_describe(guard, &now);
    assert_in_range(now.outage_s, 1, 10);
    guard_directory_answered(guard);
    guard_describe(guard, &now);
    assert_int_equal(now.outage_s, -1);
    guard_close(guard);
}

static void a_hold_outlives_the_process(void **state)
{
    (void)state;
    struct fault fault = {""};
    struct guard_state now;
    struct guard *guard = guard_open(directory);
    assert_true(guard_hold(guard, 3600, &fault));
    assert_int_equal(for_absent(guard), INTERLOCK_HOLD);
    guard_close(guard);

    struct stat status;
    assert_int_equal(stat(file, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);

    guard = guard_open(directory);
    assert_int_equal(for_absent(guard), INTERLOCK_HOLD);
    guard_describe(guard, &now);
    assert_in_range(now.held_s, 3590, 3600);
    assert_true(guard_release(guard, &fault));
    assert_int_equal(for_absent(guard), INTERLOCK_NONE);
    guard_close(guard);

    guard = guard_open(directory);
    assert_int_equal(for_absent(guard), INTERLOCK_NONE);
    assert_true(guard_release(guard, &fault)); /* where there is none */
    guard_close(guard);
}

static void a_hold_that_is_over_holds_nobody(void **state)
{
    (void)state;
    write_file("1000000000\n");
    struct guard *guard = guard_open(directory);
    assert_int_equal(for_absent(guard), INTERLOCK_NONE);
    guard_close(guard);
}

static void a_hold_that_cannot_be_read_holds_for_an_hour(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "soon\n", "-5\n", "12 34\n",
                                        "99999999999999999999999999\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct guard_state now;
        write_file(texts[i]);
        struct guard *guard = guard_open(directory);
        assert_int_equal(for_absent(guard), INTERLOCK_HOLD);
        guard_describe(guard, &now);
        assert_in_range(now.held_s, 3590, 3600);
        guard_close(guard);
    }
}

static void a_hold_that_cannot_be_written_holds_and_says_so(void **state)
{
    (void)state;
    struct fault fault = {""};
    struct guard *guard = guard_open("/nonexistent/directory");
    assert_false(guard_hold(guard, 60, &fault));
    assert_non_null(strstr(fault.text, "/nonexistent/directory/hold"));
    assert_int_equal(for_absent(guard), INTERLOCK_HOLD);
    guard_close(guard);
}

/* Different recipients, numbered. */
static void vanish(struct guard *guard, unsigned number, unsigned count, int64_t window_s)
{
    struct digest recipient = digest_shared(&number, sizeof number);
    guard_recipient_vanished(guard, &recipient, (struct settings_rate){count, window_s});
}

static void more_vanished_recipients_than_the_limit_bounce_nobody(void **state)
{
    (void)state;
    struct guard_state now;
    struct guard *guard = guard_open(directory);
    for (unsigned i = 1; i <= 3; i++)
        vanish(guard, i, 3, 600);
    assert_int_equal(for_absent(guard), INTERLOCK_NONE);
    vanish(guard, 4, 3, 600);
    assert_int_equal(for_absent(guard), INTERLOCK_VANISHING);
    assert_int_equal(guard_interlock(guard, true, 0), INTERLOCK_VANISHING);
    guard_describe(guard, &now);
    assert_in_range(now.vanishing_s, 590, 600);
    guard_close(guard);
}

static void one_recipient_that_vanishes_again_and_again_counts_once(void **state)
{
    (void)state;
    struct guard *guard = guard_open(directory);
    for (unsigned i = 0; i < 100; i++)
        vanish(guard, i % 3, 3, 600);
    assert_int_equal(for_absent(guard), INTERLOCK_NONE);
    guard_close(guard);
}

static void a_vanish_limit_of_zero_is_none(void **state)
{
    (void)state;
    struct guard *guard = guard_open(directory);
    for (unsigned i = 0; i < 100; i++)
        vanish(guard, i, 0, 0);
    assert_int_equal(for_absent(guard), INTERLOCK_NONE);
    guard_recipient_vanished(NULL, &(struct digest){{0}}, (struct settings_rate){1, 1});
    guard_close(guard);
}

/* Each one that vanishes while it holds begins the window anew; then a quiet window ends it. */
static void it_must_be_quiet_for_the_window_before_anybody_bounces_again(void **state)
{
    (void)state;
    struct guard *guard = guard_open(directory);
    vanish(guard, 0, 1, 2);
    vanish(guard, 1, 1, 2);
    int64_t engaged = clock_mono_ms();
    struct deadline limit = deadline_in_ms(20000);
    unsigned next = 2;
    while (for_absent(guard) == INTERLOCK_VANISHING) {
        assert_false(deadline_passed(limit));
        if (clock_mono_ms() - engaged < 1000)
            vanish(guard, next++, 1, 2);
        test_pause();
    }
    assert_true(next > 2);
    assert_true(clock_mono_ms() - engaged >= 2900);
    guard_close(guard);
}

static void recipients_that_vanish_slowly_are_ordinary_life(void **state)
{
    (void)state;
    struct guard *guard = guard_open(directory);
    vanish(guard, 0, 1, 1);
    int64_t first = clock_mono_ms();
    while (clock_mono_ms() - first < 1100)
        test_pause();
    vanish(guard, 1, 1, 1);
    assert_int_equal(for_absent(guard), INTERLOCK_NONE);
    guard_close(guard);
}

static void another_limit_after_a_reload_counts_anew(void **state)
{
    (void)state;
    struct guard *guard = guard_open(directory);
    for (unsigned i = 0; i < 3; i++)
        vanish(guard, i, 3, 600);
    for (unsigned i = 10; i < 15; i++)
        vanish(guard, i, 5, 600);
    assert_int_equal(for_absent(guard), INTERLOCK_NONE);
    vanish(guard, 15, 5, 600);
    assert_int_equal(for_absent(guard), INTERLOCK_VANISHING);
    guard_close(guard);
}

static void a_missing_sentinel_bounces_nobody_until_all_are_there(void **state)
{
    (void)state;
    struct guard_state now;
    struct guard *guard = guard_open(directory);
    guard_sentinel_missing(guard, NULL);
    assert_int_equal(for_absent(guard), INTERLOCK_NONE);
    guard_sentinel_missing(guard, "postmaster@example.com");
    assert_int_equal(for_absent(guard), INTERLOCK_SENTINEL);
    assert_int_equal(guard_interlock(guard, true, 0), INTERLOCK_SENTINEL);
    guard_describe(guard, &now);
    assert_string_equal(now.missing, "postmaster@example.com");
    guard_sentinel_missing(guard, NULL);
    assert_int_equal(for_absent(guard), INTERLOCK_NONE);
    guard_close(guard);
}

static void a_lookup_tells_what_became_of_the_directory(void **state)
{
    (void)state;
    struct guard_state now;
    struct settings settings = {.vanish_limit = {1, 600}};
    struct guard *guard = guard_open(directory);
    struct outcome shed = {.interlock = INTERLOCK_SHED}, cached = {.standing = STANDING_KNOWN};
    guard_note(guard, &shed, &settings);
    guard_note(guard, &cached, &settings);
    guard_describe(guard, &now);
    assert_false(now.answered);
    assert_int_equal(now.outage_s, -1);

    struct outcome failed = {.directory_failed = true};
    guard_note(guard, &failed, &settings);
    guard_describe(guard, &now);
    assert_true(now.outage_s >= 0);

    struct outcome bad_action = {.interlock = INTERLOCK_BAD_ACTION};
    guard_note(guard, &bad_action, &settings);
    guard_describe(guard, &now);
    assert_true(now.answered);
    assert_int_equal(now.outage_s, -1);

    struct outcome gone = {.standing = STANDING_ABSENT, .asked_now = true, .vanished = true};
    guard_note(guard, &gone, &settings);
    gone.vanished_key.bytes[0] = 1;
    guard_note(guard, &gone, &settings);
    assert_int_equal(for_absent(guard), INTERLOCK_VANISHING);
    guard_close(guard);
}

int main(void)
{
#define CLAIM(test) cmocka_unit_test_teardown(test, remove_file)
    const struct CMUnitTest tests[] = {
        CLAIM(nobody_is_held_without_a_guard),
        CLAIM(before_the_first_answer_being_unavailable_bounces_nobody),
        CLAIM(an_outage_is_counted_from_its_first_failure),
        CLAIM(a_hold_outlives_the_process),
        CLAIM(a_hold_that_is_over_holds_nobody),
        CLAIM(a_hold_that_cannot_be_read_holds_for_an_hour),
        CLAIM(a_hold_that_cannot_be_written_holds_and_says_so),
        CLAIM(more_vanished_recipients_than_the_limit_bounce_nobody),
        CLAIM(one_recipient_that_vanishes_again_and_again_counts_once),
        CLAIM(a_vanish_limit_of_zero_is_none),
        CLAIM(it_must_be_quiet_for_the_window_before_anybody_bounces_again),
        CLAIM(recipients_that_vanish_slowly_are_ordinary_life),
        CLAIM(another_limit_after_a_reload_counts_anew),
        CLAIM(a_missing_sentinel_bounces_nobody_until_all_are_there),
        CLAIM(a_lookup_tells_what_became_of_the_directory),
    };
    return cmocka_run_group_tests_name("guard", tests, make_directory, remove_directory);
}
