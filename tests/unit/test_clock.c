#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shared/clock.h"

static void the_monotonic_clock_never_goes_back(void **state)
{
    (void)state;
    int64_t last = clock_mono_us();
    for (int i = 0; i < 10000; i++) {
        int64_t now = clock_mono_us();
        assert_true(now >= last);
        last = now;
    }
}

static void milliseconds_and_microseconds_are_one_clock(void **state)
{
    (void)state;
    int64_t before = clock_mono_us() / 1000;
    int64_t ms = clock_mono_ms();
    int64_t after = clock_mono_us() / 1000;
    assert_true(before <= ms && ms <= after);
}

static void the_wall_clock_counts_seconds_since_1970(void **state)
{
    (void)state;
    time_t before = time(NULL);
    int64_t now = clock_wall_s();
    assert_in_range(now, before - 1, before + 60); /* time(2) may lag by a tick */
}

static void a_deadline_ahead_has_not_passed(void **state)
{
    (void)state;
    struct deadline deadline = deadline_in_ms(60000);
    assert_false(deadline_passed(deadline));
    assert_in_range(deadline_left_ms(deadline), 50000, 60000);
}

static void a_zero_deadline_passed_long_ago(void **state)
{
    (void)state;
    struct deadline deadline = {0};
    assert_true(deadline_passed(deadline));
    assert_int_equal(deadline_left_ms(deadline), 0);
}

static void a_deadline_in_no_time_has_passed(void **state)
{
    (void)state;
    assert_true(deadline_passed(deadline_in_ms(0)));
    assert_true(deadline_passed(deadline_in_ms(-1)));
    assert_int_equal(deadline_left_ms(deadline_in_ms(-1)), 0);
}

static void what_is_left_is_rounded_up(void **state)
{
    (void)state;
    /* Rounded down, the last millisecond of a wait would be a busy loop of zero-length waits. */
    struct deadline deadline = deadline_in_ms(20);
    while (!deadline_passed(deadline)) {
        int64_t left = deadline_left_ms(deadline);
        assert_true(left <= 20);
        assert_true(left >= 1 || deadline_passed(deadline));
    }
    assert_int_equal(deadline_left_ms(deadline), 0);
}

static void the_sooner_deadline_wins(void **state)
{
    (void)state;
    struct deadline a = {.at_us = 5}, b = {.at_us = 9};
    assert_int_equal(deadline_sooner(a, b).at_us, 5);
    assert_int_equal(deadline_sooner(b, a).at_us, 5);
    assert_int_equal(deadline_sooner(a, (struct deadline){0}).at_us, 0);
}

static void a_deadline_at_the_end_of_time_does_not_wrap(void **state)
{
    (void)state;
    static const int64_t far[] = {INT64_MAX, INT64_MAX / 1000, INT64_MAX / 1001};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        struct deadline deadline = deadline_in_ms(far[i]);
        assert_false(deadline_passed(deadline));
        assert_true(deadline_left_ms(deadline) > INT64_MAX / 2000);
    }
}

static void a_deadline_before_the_beginning_has_passed(void **state)
{
    (void)state;
    struct deadline deadline = deadline_in_ms(INT64_MIN);
    assert_true(deadline.at_us >= 0);
    assert_true(deadline_passed(deadline));
}

struct mailbox {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool full; /* lock */
};

static int mailbox_setup(void **state)
{
    static struct mailbox mailbox;
    mailbox.full = false;
    pthread_mutex_init(&mailbox.lock, NULL);
    clock_cond_init(&mailbox.cond);
    *state = &mailbox;
    return 0;
}

static int mailbox_teardown(void **state)
{
    struct mailbox *mailbox = *state;
    pthread_cond_destroy(&mailbox->cond);
    pthread_mutex_destroy(&mailbox->lock);
    return 0;
}

/* True when it came, within the deadline. The lock is held by the caller. */
static bool mailbox_wait_locked(struct mailbox *mailbox, struct deadline deadline)
{
    while (!mailbox->full && clock_cond_wait(&mailbox->cond, &mailbox->lock, deadline))
        ;
    return mailbox->full;
}

static bool mailbox_wait(struct mailbox *mailbox, struct deadline deadline)
{
    pthread_mutex_lock(&mailbox->lock);
    bool full = mailbox_wait_locked(mailbox, deadline);
    pthread_mutex_unlock(&mailbox->lock);
    return full;
}

static void *mailbox_fill(void *argument)
{
    struct mailbox *mailbox = argument;
    pthread_mutex_lock(&mailbox->lock);
    mailbox->full = true;
    pthread_cond_signal(&mailbox->cond);
    pthread_mutex_unlock(&mailbox->lock);
    return NULL;
}

static void a_wait_ends_at_its_deadline_and_not_before(void **state)
{
    struct deadline deadline = deadline_in_ms(30);
    assert_false(mailbox_wait(*state, deadline));
    assert_true(deadline_passed(deadline));
}

static void a_wait_for_a_passed_deadline_ends_at_once(void **state)
{
    struct deadline limit = deadline_in_ms(5000);
    assert_false(mailbox_wait(*state, (struct deadline){0}));
    assert_false(mailbox_wait(*state, deadline_in_ms(-1)));
    assert_false(mailbox_wait(*state, deadline_in_ms(INT64_MIN)));
    assert_false(deadline_passed(limit));
}

/* pthread_cond_timedwait(3) calls it an error: that is no wake-up, or loops would spin. */
static void a_wait_that_cannot_be_made_is_no_wake_up(void **state)
{
    struct mailbox *mailbox = *state;
    pthread_mutex_lock(&mailbox->lock);
    bool woken = clock_cond_wait(&mailbox->cond, &mailbox->lock, (struct deadline){.at_us = -1});
    pthread_mutex_unlock(&mailbox->lock);
    assert_false(woken);
}

/* The lock is held from before the other thread begins, so that it can only fill the mailbox once
 * this one waits. */
static bool wait_for_another_thread(struct mailbox *mailbox, struct deadline deadline)
{
    pthread_t thread;
    pthread_mutex_lock(&mailbox->lock);
    assert_int_equal(pthread_create(&thread, NULL, mailbox_fill, mailbox), 0);
    bool full = mailbox_wait_locked(mailbox, deadline);
    pthread_mutex_unlock(&mailbox->lock);
    pthread_join(thread, NULL);
    return full;
}

static void a_signal_ends_a_wait_without_end(void **state)
{
    assert_true(wait_for_another_thread(*state, deadline_in_ms(INT64_MAX)));
}

static void a_signal_ends_a_wait_before_its_deadline(void **state)
{
    struct deadline deadline = deadline_in_ms(60000);
    assert_true(wait_for_another_thread(*state, deadline));
    assert_false(deadline_passed(deadline));
}

#define mailbox_test(function)                                                                     \
    cmocka_unit_test_setup_teardown(function, mailbox_setup, mailbox_teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_monotonic_clock_never_goes_back),
        cmocka_unit_test(milliseconds_and_microseconds_are_one_clock),
        cmocka_unit_test(the_wall_clock_counts_seconds_since_1970),
        cmocka_unit_test(a_deadline_ahead_has_not_passed),
        cmocka_unit_test(a_zero_deadline_passed_long_ago),
        cmocka_unit_test(a_deadline_in_no_time_has_passed),
        cmocka_unit_test(what_is_left_is_rounded_up),
        cmocka_unit_test(the_sooner_deadline_wins),
        cmocka_unit_test(a_deadline_at_the_end_of_time_does_not_wrap),
        cmocka_unit_test(a_deadline_before_the_beginning_has_passed),
        mailbox_test(a_wait_ends_at_its_deadline_and_not_before),
        mailbox_test(a_wait_for_a_passed_deadline_ends_at_once),
        mailbox_test(a_wait_that_cannot_be_made_is_no_wake_up),
        mailbox_test(a_signal_ends_a_wait_without_end),
        mailbox_test(a_signal_ends_a_wait_before_its_deadline),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
