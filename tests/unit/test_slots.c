#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "db/slots.h"

enum { LONG_MS = 60000, CALLERS = 40, TURNS = 200 };

static void slots_with(struct slots *slots, unsigned count, unsigned taken)
{
    slots_init(slots, count);
    for (unsigned i = 0; i < taken; i++)
        assert_true(slots_take(slots, deadline_in_ms(LONG_MS)));
}

static bool take_now(struct slots *slots)
{
    return slots_take(slots, (struct deadline){0});
}

static void a_slot_that_is_free_needs_no_time(void **state)
{
    (void)state;
    struct slots slots;
    slots_init(&slots, 2);
    assert_true(take_now(&slots));
    assert_true(take_now(&slots));
    assert_int_equal(slots_taken(&slots), 2);
    assert_false(take_now(&slots));
    slots_return(&slots);
    assert_int_equal(slots_taken(&slots), 1);
    assert_true(take_now(&slots));
    slots_release(&slots);
}

/* ---- those who wait ---- */

struct caller {
    struct slots *slots;
    pthread_t thread;
    _Atomic int got; /* -1 while it waits */
    unsigned place;  /* in the order in which they were served */
};

static _Atomic unsigned served;

static void *take_one(void *context)
{
    struct caller *caller = context;
    bool got = slots_take(caller->slots, deadline_in_ms(LONG_MS));
    caller->place = atomic_fetch_add(&served, 1);
    caller->got = got;
    return NULL;
}

static unsigned waiting(struct slots *slots)
{
    pthread_mutex_lock(&slots->lock);
    unsigned count = slots->waiting;
    pthread_mutex_unlock(&slots->lock);
    return count;
}

/* False where it was not seen to wait: this thread had no processor for so long. */
static bool begin_to_wait(struct caller *caller, struct slots *slots)
{
    unsigned before = waiting(slots);
    *caller = (struct caller){.slots = slots, .got = -1};
    assert_int_equal(pthread_create(&caller->thread, NULL, take_one, caller), 0);
    while (caller->got == -1)
        if (waiting(slots) > before)
            return true;
    return false;
}

/* Two callers wait in turn, and two slots are returned. False where that took longer than they
 * wait. */
static bool two_wait_and_are_served(void)
{
    struct slots slots;
    slots_with(&slots, 2, 2);
    struct caller first, second;
    served = 0;
    bool seen = begin_to_wait(&first, &slots);
    seen &= begin_to_wait(&second, &slots);
    if (seen) {
        slots_return(&slots);
        while (first.got == -1 && second.got == -1)
            sched_yield();
        slots_return(&slots);
    }
    pthread_join(first.thread, NULL);
    pthread_join(second.thread, NULL);
    bool both = first.got && second.got;
    if (both) {
        assert_int_equal(slots_taken(&slots), 2);
        assert_int_equal(waiting(&slots), 0);
        assert_true(first.place < second.place);
    }
    slots_release(&slots);
    return both;
}

static void who_waits_gets_what_is_returned_in_turn(void **state)
{
    (void)state;
    for (unsigned tries = 0; !two_wait_and_are_served(); tries++)
        assert_true(tries < 50);
}

static void a_wait_in_vain_ends(void **state)
{
    (void)state;
    struct slots slots;
    slots_with(&slots, 1, 1);
    int64_t begin = clock_mono_ms();
    assert_false(slots_take(&slots, deadline_in_ms(LONG_MS)));
    int64_t waited = clock_mono_ms() - begin;
    assert_true(waited >= SLOTS_WAIT_MS && waited < LONG_MS / 2);
    assert_int_equal(slots_taken(&slots), 1);
    assert_int_equal(waiting(&slots), 0);
    slots_release(&slots);
}

/* The shortest of some tries: the others were kept from running. */
static int64_t refusal_ms(struct slots *slots, int64_t deadline_ms, bool stuck)
{
    int64_t shortest = INT64_MAX;
    for (unsigned i = 0; i < 20; i++) {
        slots->stuck = stuck;
        int64_t begin = clock_mono_ms();
        assert_false(slots_take(slots, deadline_in_ms(deadline_ms)));
        int64_t took = clock_mono_ms() - begin;
        shortest = took < shortest ? took : shortest;
    }
    return shortest;
}

static void it_takes_a_tenth_of_a_short_deadline_at_most(void **state)
{
    (void)state;
    struct slots slots;
    slots_with(&slots, 1, 1);
    int64_t took = refusal_ms(&slots, 200, false);
    assert_true(took >= 15 && took < SLOTS_WAIT_MS);
    slots_release(&slots);
}

static void after_a_wait_in_vain_nobody_waits_until_a_slot_is_returned(void **state)
{
    (void)state;
    struct slots slots;
    slots_with(&slots, 2, 2);
    assert_false(slots.stuck);
    assert_false(slots_take(&slots, deadline_in_ms(LONG_MS)));
    assert_true(slots.stuck);
    assert_true(refusal_ms(&slots, LONG_MS, true) < SLOTS_WAIT_MS / 2);
    slots_return(&slots);
    assert_false(slots.stuck);
    assert_true(take_now(&slots));
    assert_true(refusal_ms(&slots, 300, false) >= 15);
    slots_release(&slots);
}

static void no_more_wait_than_are_allowed_to(void **state)
{
    (void)state;
    struct slots slots;
    slots_with(&slots, 1, 1);
    slots.waiting = SLOTS_WAITING_MAX;
    assert_true(refusal_ms(&slots, LONG_MS, false) < SLOTS_WAIT_MS / 2);
    assert_false(slots.stuck);
    slots.waiting = 0;
    slots_release(&slots);
}

/* ---- a crowd ---- */

struct crowd {
    struct slots slots;
    _Atomic unsigned inside, most, done, refused;
};

static void *visit_often(void *context)
{
    struct crowd *crowd = context;
    for (unsigned i = 0; i < TURNS; i++) {
        if (!slots_take(&crowd->slots, deadline_in_ms(i % 3 ? LONG_MS : 10))) {
            crowd->refused++;
            continue;
        }
        unsigned inside = ++crowd->inside, most = crowd->most;
        while (inside > most && !atomic_compare_exchange_weak(&crowd->most, &most, inside))
            ;
        sched_yield();
        crowd->inside--;
        slots_return(&crowd->slots);
        crowd->done++;
    }
    return NULL;
}

static void a_crowd_never_takes_more_than_there_are_and_leaves_none_taken(void **state)
{
    (void)state;
    static struct crowd crowd;
    pthread_t threads[CALLERS];
    slots_init(&crowd.slots, 3);
    for (unsigned i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, visit_often, &crowd), 0);
    for (unsigned i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    assert_in_range(crowd.most, 1, 3);
    assert_int_equal(crowd.done + crowd.refused, CALLERS * TURNS);
    assert_int_equal(slots_taken(&crowd.slots), 0);
    assert_int_equal(crowd.slots.waiting, 0);
    assert_null(crowd.slots.first);
    slots_release(&crowd.slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slot_that_is_free_needs_no_time),
        cmocka_unit_test(who_waits_gets_what_is_returned_in_turn),
        cmocka_unit_test(a_wait_in_vain_ends),
        cmocka_unit_test(it_takes_a_tenth_of_a_short_deadline_at_most),
        cmocka_unit_test(after_a_wait_in_vain_nobody_waits_until_a_slot_is_returned),
        cmocka_unit_test(no_more_wait_than_are_allowed_to),
        cmocka_unit_test(a_crowd_never_takes_more_than_there_are_and_leaves_none_taken),
    };
    return cmocka_run_group_tests_name("slots", tests, NULL, NULL);
}
