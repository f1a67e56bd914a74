#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/breaker.h"
#include "shared/clock.h"

/* A rest nobody outlives in a test, and one that is over at once. */
enum { LONG_REST = 1000000, NO_REST = 0 };

static void a_new_breaker_is_closed_and_nobody_probes_it(void **state)
{
    (void)state;
    struct breaker breaker;
    breaker_init(&breaker, NO_REST, NO_REST);
    assert_false(breaker_is_open(&breaker));
    assert_false(breaker_probe(&breaker));
    assert_true(breaker_probe_due(&breaker) == INT64_MAX);
    assert_false(breaker_succeeded(&breaker, NULL));
    breaker_release(&breaker);
}

static void the_first_failure_opens_it_and_only_the_first_says_so(void **state)
{
    (void)state;
    struct breaker breaker;
    breaker_init(&breaker, LONG_REST, LONG_REST);
    assert_true(breaker_failed(&breaker));
    assert_true(breaker_is_open(&breaker));
    assert_false(breaker_failed(&breaker));
    assert_true(breaker_is_open(&breaker));
    breaker_release(&breaker);
}

static void it_is_left_alone_until_the_rest_is_over(void **state)
{
    (void)state;
    struct breaker breaker;
    breaker_init(&breaker, LONG_REST, LONG_REST);
    int64_t before = clock_mono_ms();
    breaker_failed(&breaker);
    assert_false(breaker_probe(&breaker));
    assert_true(breaker_probe_due(&breaker) >= before + LONG_REST);
    assert_true(breaker_probe_due(&breaker) <= clock_mono_ms() + LONG_REST);
    breaker_release(&breaker);
}

static void only_one_caller_gets_the_probe(void **state)
{
    (void)state;
    struct breaker breaker;
    breaker_init(&breaker, NO_REST, NO_REST);
    breaker_failed(&breaker);
    assert_true(breaker_probe(&breaker));
    assert_false(breaker_probe(&breaker));
    assert_true(breaker_probe_due(&breaker) == INT64_MAX);
    assert_true(breaker_is_open(&breaker));
    breaker_release(&breaker);
}

static void a_probe_that_succeeds_closes_it_and_tells_the_length_of_the_outage(void **state)
{
    (void)state;
    struct breaker breaker;
    breaker_init(&breaker, NO_REST, NO_REST);
    int64_t before = clock_mono_ms(), open_ms = -1;
    breaker_failed(&breaker);
    assert_true(breaker_probe(&breaker));
    assert_true(breaker_succeeded(&breaker, &open_ms));
    assert_in_range(open_ms, 0, clock_mono_ms() - before);
    assert_false(breaker_is_open(&breaker));
    assert_false(breaker_succeeded(&breaker, NULL));
    breaker_release(&breaker);
}

static void each_failed_probe_doubles_the_rest_up_to_its_bound(void **state)
{
    (void)state;
    struct breaker breaker;
    breaker_init(&breaker, 100, 350);
    const int64_t rests[] = {100, 200, 350, 350};
    for (size_t i = 0; i < sizeof rests / sizeof *rests; i++) {
        int64_t before = clock_mono_ms();
        assert_true(breaker_failed(&breaker) == (i == 0));
        int64_t due = breaker_probe_due(&breaker);
        assert_true(due >= before + rests[i] && due <= clock_mono_ms() + rests[i]);
        breaker.probe_at_ms = clock_mono_ms(); /* the rest is over, without waiting for it */
        assert_true(breaker_probe(&breaker));
    }
    breaker_release(&breaker);
}

static void after_an_outage_the_rest_is_short_again(void **state)
{
    (void)state;
    struct breaker breaker;
    breaker_init(&breaker, 100, 100000);
    breaker_failed(&breaker);
    for (int i = 0; i < 5; i++) {
        breaker.probe_at_ms = 0;
        assert_true(breaker_probe(&breaker));
        breaker_failed(&breaker);
    }
    breaker.probe_at_ms = 0;
    assert_true(breaker_probe(&breaker));
    assert_true(breaker_succeeded(&breaker, NULL));
    assert_true(breaker_failed(&breaker));
    assert_true(breaker_probe_due(&breaker) <= clock_mono_ms() + 100);
    breaker_release(&breaker);
}

static void what_began_before_it_opened_neither_closes_nor_prolongs(void **state)
{
    (void)state;
    struct breaker breaker;
    breaker_init(&breaker, LONG_REST, 10 * LONG_REST);
    breaker_failed(&breaker);
    int64_t due = breaker_probe_due(&breaker);
    assert_false(breaker_failed(&breaker));
    assert_true(breaker_probe_due(&breaker) == due);
    assert_false(breaker_succeeded(&breaker, NULL));
    assert_true(breaker_is_open(&breaker));
    assert_true(breaker_probe_due(&breaker) == due);
    breaker_release(&breaker);
}

enum { THREADS = 8, ROUNDS = 2000 };

struct crowd {
    struct breaker breaker;
    atomic_int probing, opened, closed, most;
};

static void *crowd_member(void *context)
{
    struct crowd *crowd = context;
    for (int i = 0; i < ROUNDS; i++) {
        if (breaker_probe(&crowd->breaker)) {
            int now = atomic_fetch_add(&crowd->probing, 1) + 1;
            if (now > atomic_load(&crowd->most))
                atomic_store(&crowd->most, now);
            atomic_fetch_sub(&crowd->probing, 1);
            if (breaker_succeeded(&crowd->breaker, NULL))
                atomic_fetch_add(&crowd->closed, 1);
        } else if (!breaker_is_open(&crowd->breaker) && breaker_failed(&crowd->breaker)) {
            atomic_fetch_add(&crowd->opened, 1);
        }
    }
    return NULL;
}

static void every_change_is_told_to_exactly_one_of_many_threads(void **state)
{
    (void)state;
    struct crowd crowd = {.probing = 0};
    breaker_init(&crowd.breaker, NO_REST, NO_REST);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_member, &crowd), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&crowd.opened) > 0);
    int still_open = breaker_is_open(&crowd.breaker);
    assert_int_equal(atomic_load(&crowd.opened), atomic_load(&crowd.closed) + still_open);
    breaker_release(&crowd.breaker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_breaker_is_closed_and_nobody_probes_it),
        cmocka_unit_test(the_first_failure_opens_it_and_only_the_first_says_so),
        cmocka_unit_test(it_is_left_alone_until_the_rest_is_over),
        cmocka_unit_test(only_one_caller_gets_the_probe),
        cmocka_unit_test(a_probe_that_succeeds_closes_it_and_tells_the_length_of_the_outage),
        cmocka_unit_test(each_failed_probe_doubles_the_rest_up_to_its_bound),
        cmocka_unit_test(after_an_outage_the_rest_is_short_again),
        cmocka_unit_test(what_began_before_it_opened_neither_closes_nor_prolongs),
        cmocka_unit_test(every_change_is_told_to_exactly_one_of_many_threads),
    };
    return cmocka_run_group_tests_name("breaker", tests, NULL, NULL);
}
