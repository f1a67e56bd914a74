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
    };
    return cmocka_run_group_tests_name("guard", tests, make_directory, remove_directory);
}
