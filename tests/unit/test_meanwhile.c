/* Who answered while a part of the directory was away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "db/meanwhile.h"
#include "shared/counters.h"

static char sentence[MEANWHILE_MAX];

static void count(enum counter counter, unsigned times)
{
    while (times-- > 0)
        counter_add(counter);
}

static int forget(void **state)
{
    (void)state;
    counters_reset();
    return 0;
}

static void it_says_who_answered_since_it_began(void **state)
{
    (void)state;
    struct meanwhile meanwhile;
    count(COUNT_directory_unavailable, 7);
    count(COUNT_stale_vouched, 5);
    meanwhile_begin(&meanwhile);
    count(COUNT_directory_unavailable, 10);
    count(COUNT_lookups_shed, 2);
    count(COUNT_stale_vouched, 4);
    count(COUNT_known_good_vouched, 3);
    meanwhile_print(&meanwhile, sentence);
    assert_string_equal(sentence, "; meanwhile 4 lookups were answered from stale answers, 3 from "
                                  "the known-good store, 5 by nobody");
}

static void where_nobody_asked_it_says_nothing(void **state)
{
    (void)state;
    struct meanwhile meanwhile;
    count(COUNT_directory_unavailable, 7);
    count(COUNT_known_good_vouched, 5);
    meanwhile_begin(&meanwhile);
    meanwhile_print(&meanwhile, sentence);
    assert_string_equal(sentence, "");
}

static void a_reset_of_the_counters_makes_no_nonsense(void **state)
{
    (void)state;
    struct meanwhile meanwhile;
    count(COUNT_directory_unavailable, 1000);
    count(COUNT_stale_vouched, 1000);
    meanwhile_begin(&meanwhile);
    counters_reset();
    count(COUNT_directory_unavailable, 3);
    count(COUNT_stale_vouched, 1);
    meanwhile_print(&meanwhile, sentence);
    assert_string_equal(sentence, "; meanwhile 1 lookups were answered from stale answers, 0 from "
                                  "the known-good store, 2 by nobody");
}

static void the_longest_sentence_fits(void **state)
{
    (void)state;
    struct meanwhile meanwhile = {0};
    char wide[] = "; meanwhile 18446744073709551615 lookups were answered from stale answers, "
                  "18446744073709551615 from the known-good store, 18446744073709551615 by nobody";
    assert_in_range(sizeof wide, 1, MEANWHILE_MAX);
    count(COUNT_known_good_vouched, 1);
    meanwhile_print(&meanwhile, sentence); /* vouched, and counted as unanswered a moment later */
    assert_string_equal(sentence, "; meanwhile 0 lookups were answered from stale answers, 1 from "
                                  "the known-good store, 0 by nobody");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_says_who_answered_since_it_began, forget),
        cmocka_unit_test_setup(where_nobody_asked_it_says_nothing, forget),
        cmocka_unit_test_setup(a_reset_of_the_counters_makes_no_nonsense, forget),
        cmocka_unit_test_setup(the_longest_sentence_fits, forget),
    };
    return cmocka_run_group_tests_name("meanwhile", tests, NULL, NULL);
}
