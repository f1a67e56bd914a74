#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "shared/counters.h"

static int start_from_zero(void **state)
{
    (void)state;
    counters_reset();
    return 0;
}

static void a_counter_counts_itself_and_no_other(void **state)
{
    (void)state;
    counter_add(COUNT_recipients);
    counter_add(COUNT_recipients);
    for (int i = 0; i < COUNTER_COUNT; i++)
        assert_int_equal(counter_get((enum counter)i), i == COUNT_recipients ? 2 : 0);
}

static void a_reset_sets_all_to_zero(void **state)
{
    (void)state;
    for (int i = 0; i < COUNTER_COUNT; i++)
        counter_add((enum counter)i);
    counters_reset();
    for (int i = 0; i < COUNTER_COUNT; i++)
        assert_int_equal(counter_get((enum counter)i), 0);
}

static void every_row_has_a_name_of_its_own_and_a_help(void **state)
{
    (void)state;
    assert_string_equal(counter_rows[COUNT_memcache_failures].name, "memcache_failures");
    for (int i = 0; i < COUNTER_COUNT; i++) {
        const char *name = counter_rows[i].name;
        assert_true(name[0] && !name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")]);
        assert_true(counter_rows[i].help[0] != '\0');
        for (int j = 0; j < i; j++)
            assert_string_not_equal(name, counter_rows[j].name);
    }
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *count(void *context)
{
    for (int i = 0; i < ROUNDS; i++)
        counter_add(COUNT_sessions);
    return context;
}

static void no_count_is_lost_between_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(counter_get(COUNT_sessions), THREADS * ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_counter_counts_itself_and_no_other, start_from_zero),
        cmocka_unit_test_setup(a_reset_sets_all_to_zero, start_from_zero),
        cmocka_unit_test_setup(every_row_has_a_name_of_its_own_and_a_help, start_from_zero),
        cmocka_unit_test_setup(no_count_is_lost_between_threads, start_from_zero),
    };
    return cmocka_run_group_tests_name("counters", tests, NULL, NULL);
}
