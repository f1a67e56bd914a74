#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shared/histogram.h"

enum { THREADS = 4, ROUNDS = 20000 };

static int start_from_zero(void **state)
{
    (void)state;
    histograms_reset();
    return 0;
}

static uint64_t count_in(enum histogram histogram, int bucket)
{
    struct histogram_state state;
    histogram_read(histogram, &state);
    return state.count[bucket];
}

static void bounds_grow(void **state)
{
    (void)state;
    assert_true(histogram_bounds_us[0] > 0);
    for (int i = 1; i < HISTOGRAM_BOUNDS; i++)
        assert_true(histogram_bounds_us[i] > histogram_bounds_us[i - 1]);
}

static void a_bound_belongs_to_its_own_bucket(void **state)
{
    (void)state;
    for (int i = 0; i < HISTOGRAM_BOUNDS; i++) {
        histogram_add(HISTOGRAM_lookup_seconds, histogram_bounds_us[i]);
        assert_int_equal(count_in(HISTOGRAM_lookup_seconds, i), i == 0 ? 1 : 2);
        histogram_add(HISTOGRAM_lookup_seconds, histogram_bounds_us[i] + 1);
        assert_int_equal(count_in(HISTOGRAM_lookup_seconds, i + 1), 1);
    }
}

static void one_histogram_does_not_count_into_another(void **state)
{
    (void)state;
    struct histogram_state other;
    histogram_add(HISTOGRAM_lookup_seconds, 7);
    histogram_read(HISTOGRAM_memcache_get_seconds, &other);
    assert_int_equal(other.sum_us, 0);
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        assert_int_equal(other.count[i], 0);
}

static void a_time_before_now_counts_as_nothing(void **state)
{
    (void)state;
    struct histogram_state now;
    histogram_add(HISTOGRAM_lookup_seconds, -5);
    histogram_add(HISTOGRAM_lookup_seconds, INT64_MIN);
    histogram_read(HISTOGRAM_lookup_seconds, &now);
    assert_int_equal(now.count[0], 2);
    assert_int_equal(now.sum_us, 0);
}

static void names_end_in_their_unit(void **state)
{
    (void)state;
    for (int i = 0; i < HISTOGRAM_COUNT; i++) {
        const char *name = histogram_rows[i].name, *end = strrchr(name, '_');
        assert_non_null(end);
        assert_string_equal(end, "_seconds");
        assert_true(histogram_rows[i].help[0] != '\0');
    }
}

static void a_quantile_of_nothing_is_none(void **state)
{
    (void)state;
    const struct histogram_state nothing = {0};
    assert_true(histogram_quantile_us(&nothing, 0.5) < 0);
}

/* A hundred spread over the bucket from 10 to 25: half of them by 17.5. */
static void a_quantile_is_interpolated_within_its_bucket(void **state)
{
    (void)state;
    struct histogram_state one = {.count = {[2] = 100}};
    double half = histogram_quantile_us(&one, 0.5);
    assert_true(half > 17.49 && half < 17.51);
}

static void a_quantile_is_in_the_bucket_where_it_falls(void **state)
{
    (void)state;
    struct histogram_state two = {.count = {[0] = 98, [7] = 2}};
    assert_true(histogram_quantile_us(&two, 0.5) <= 5);
    double late = histogram_quantile_us(&two, 0.99);
    assert_true(late > 500 && late <= 1000);
}

static void what_is_above_the_last_bound_is_told_as_the_last_bound(void **state)
{
    (void)state;
    struct histogram_state late = {.count = {[HISTOGRAM_BOUNDS] = 3}};
    assert_true(histogram_quantile_us(&late, 0.5) ==
                (double)histogram_bounds_us[HISTOGRAM_BOUNDS - 1]);
}

static void *add(void *context)
{
    for (int i = 0; i < ROUNDS; i++)
        histogram_add(HISTOGRAM_lookup_seconds, 3);
    return context;
}

static void nothing_is_lost_between_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    struct histogram_state all;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    histogram_read(HISTOGRAM_lookup_seconds, &all);
    assert_int_equal(all.count[0], THREADS * ROUNDS);
    assert_int_equal(all.sum_us, 3 * THREADS * ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(bounds_grow, start_from_zero),
        cmocka_unit_test_setup(a_bound_belongs_to_its_own_bucket, start_from_zero),
        cmocka_unit_test_setup(one_histogram_does_not_count_into_another, start_from_zero),
        cmocka_unit_test_setup(a_time_before_now_counts_as_nothing, start_from_zero),
        cmocka_unit_test_setup(names_end_in_their_unit, start_from_zero),
        cmocka_unit_test_setup(a_quantile_of_nothing_is_none, start_from_zero),
        cmocka_unit_test_setup(a_quantile_is_interpolated_within_its_bucket, start_from_zero),
        cmocka_unit_test_setup(a_quantile_is_in_the_bucket_where_it_falls, start_from_zero),
        cmocka_unit_test_setup(what_is_above_the_last_bound_is_told_as_the_last_bound,
                               start_from_zero),
        cmocka_unit_test_setup(nothing_is_lost_between_threads, start_from_zero),
    };
    return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
