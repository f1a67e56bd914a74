/* So many lines within so long. The time is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shared/log_limit.h"

enum { WINDOW_MS = 1000 };

static unsigned allowed(struct log_limit *limit, unsigned tries, enum log_kind kind, int64_t now)
{
    unsigned count = 0;
    for (unsigned i = 0; i < tries; i++)
        count += log_limit_allows(limit, 3, WINDOW_MS, kind, now);
    return count;
}

static void so_many_lines_are_written_in_a_window(void **state)
{
    (void)state;
    struct log_limit limit = LOG_LIMIT_INITIALIZER;
    assert_int_equal(allowed(&limit, 10, LOG_KIND_4XX, 5000), 3);
    assert_int_equal(allowed(&limit, 10, LOG_KIND_PASS, 5999), 0);
    assert_int_equal(allowed(&limit, 10, LOG_KIND_PASS, 6000), 3);
}

static void no_flood_of_others_hides_a_bounce(void **state)
{
    (void)state;
    struct log_limit limit = LOG_LIMIT_INITIALIZER;
    allowed(&limit, 1000, LOG_KIND_4XX, 5000);
    allowed(&limit, 1000, LOG_KIND_PASS, 5001);
    assert_int_equal(allowed(&limit, 3, LOG_KIND_5XX, 5002), 3);
    assert_int_equal(allowed(&limit, 3, LOG_KIND_5XX, 5003), 0);
}

static void a_limit_of_zero_is_none(void **state)
{
    (void)state;
    struct log_limit limit = LOG_LIMIT_INITIALIZER;
    struct log_left_out left_out;
    for (int i = 0; i < 1000; i++)
        assert_true(log_limit_allows(&limit, 0, 0, LOG_KIND_PASS, 5000));
    assert_false(log_limit_left_out(&limit, 0, true, 5000, &left_out));
}

static void what_was_left_out_is_told_when_the_flood_is_over(void **state)
{
    (void)state;
    struct log_limit limit = LOG_LIMIT_INITIALIZER;
    struct log_left_out left_out;
    assert_false(log_limit_left_out(&limit, WINDOW_MS, false, 4000, &left_out));
    allowed(&limit, 5, LOG_KIND_4XX, 5000); /* 2 too many */
    allowed(&limit, 7, LOG_KIND_PASS, 5100);
    allowed(&limit, 4, LOG_KIND_5XX, 5200);
    assert_false(log_limit_left_out(&limit, WINDOW_MS, false, 6100, &left_out));
    assert_true(log_limit_left_out(&limit, WINDOW_MS, false, 6200, &left_out));
    assert_int_equal(left_out.lines[LOG_KIND_4XX], 2);
    assert_int_equal(left_out.lines[LOG_KIND_PASS], 7);
    assert_int_equal(left_out.lines[LOG_KIND_5XX], 1);
    assert_int_equal(left_out.all, 10);
    assert_int_equal(left_out.for_s, 2);
    assert_false(log_limit_left_out(&limit, WINDOW_MS, true, 9000, &left_out));
}

static void a_flood_without_an_end_is_told_once_a_minute(void **state)
{
    (void)state;
    struct log_limit limit = LOG_LIMIT_INITIALIZER;
    struct log_left_out left_out;
    unsigned told = 0;
    uint64_t lines = 0;
    for (int64_t now = 10000; now < 10000 + 3 * LOG_LEFT_OUT_MS; now += 100) {
        allowed(&limit, 10, LOG_KIND_4XX, now);
        if (log_limit_left_out(&limit, WINDOW_MS, false, now, &left_out)) {
            told++;
            lines += left_out.all;
            assert_int_equal(left_out.for_s, LOG_LEFT_OUT_MS / 1000);
        }
    }
    assert_int_equal(told, 2);
    assert_true(log_limit_left_out(&limit, WINDOW_MS, true, 200000, &left_out));
    assert_int_equal(lines + left_out.all, 1800 * 10 - 180 * 3);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_lines_are_written_in_a_window),
        cmocka_unit_test(no_flood_of_others_hides_a_bounce),
        cmocka_unit_test(a_limit_of_zero_is_none),
        cmocka_unit_test(what_was_left_out_is_told_when_the_flood_is_over),
        cmocka_unit_test(a_flood_without_an_end_is_told_once_a_minute),
    };
    return cmocka_run_group_tests_name("log_limit", tests, NULL, NULL);
}
