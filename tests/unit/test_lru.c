#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <malloc.h>
#include <cmocka.h>

#include "shared/lru.h"

enum { NOW = 1000, LATER = 2000 };

static struct digest key_number(unsigned number)
{
    return digest_shared(&number, sizeof number);
}

static void put_text(struct lru *lru, unsigned key, const char *text)
{
    struct digest digest = key_number(key);
    lru_put(lru, &digest, LATER, text, strlen(text));
}

static bool holds(struct lru *lru, unsigned key, const char *text)
{
    struct digest digest = key_number(key);
    char value[LRU_VALUE_MAX];
    size_t length = 0;
    return lru_get(lru, &digest, NOW, value, sizeof value, &length) && length == strlen(text) &&
           memcmp(value, text, length) == 0;
}

static bool misses(struct lru *lru, unsigned key)
{
    struct digest digest = key_number(key);
    char value[LRU_VALUE_MAX];
    size_t length;
    return !lru_get(lru, &digest, NOW, value, sizeof value, &length);
}

static void what_was_put_is_there_and_nothing_else(void **state)
{
    (void)state;
    struct lru *lru = lru_create(10);
    assert_true(misses(lru, 1));
    put_text(lru, 1, "one");
    put_text(lru, 2, "");
    assert_true(holds(lru, 1, "one"));
    assert_true(holds(lru, 2, ""));
    assert_true(misses(lru, 3));
    assert_int_equal(lru_count(lru), 2);
    lru_destroy(lru);
}

static void a_value_keeps_every_byte(void **state)
{
    (void)state;
    struct lru *lru = lru_create(10);
    char in[256], out[256];
    size_t length = 0;
    for (int i = 0; i < 256; i++)
        in[i] = (char)i;
    struct digest key = key_number(1);
    lru_put(lru, &key, LATER, in, sizeof in);
    assert_true(lru_get(lru, &key, NOW, out, sizeof out, &length));
    assert_int_equal(length, sizeof in);
    assert_memory_equal(in, out, sizeof in);
    lru_destroy(lru);
}

static void putting_again_replaces(void **state)
{
    (void)state;
    struct lru *lru = lru_create(10);
    put_text(lru, 1, "old and long");
    put_text(lru, 1, "new");
    assert_true(holds(lru, 1, "new"));
    assert_int_equal(lru_count(lru), 1);
    lru_destroy(lru);
}

static void an_entry_ends_at_its_expiry_and_not_before(void **state)
{
    (void)state;
    struct lru *lru = lru_create(10);
    struct digest key = key_number(1);
    char value[8];
    size_t length;
    lru_put(lru, &key, 500, "x", 1);
    assert_true(lru_get(lru, &key, 499, value, sizeof value, &length));
    assert_false(lru_get(lru, &key, 500, value, sizeof value, &length));
    assert_int_equal(lru_count(lru), 0);
    lru_destroy(lru);
}

static void a_value_too_large_for_the_buffer_is_a_miss_and_stays(void **state)
{
    (void)state;
    struct lru *lru = lru_create(10);
    put_text(lru, 1, "four");
    struct digest key = key_number(1);
    char value[8] = "";
    size_t length;
    assert_false(lru_get(lru, &key, NOW, value, 3, &length));
    assert_string_equal(value, "");
    assert_true(lru_get(lru, &key, NOW, value, 4, &length));
    lru_destroy(lru);
}

static void a_value_over_the_bound_leaves_the_key_without_an_entry(void **state)
{
    (void)state;
    struct lru *lru = lru_create(10);
    struct digest key = key_number(1);
    char big[LRU_VALUE_MAX + 1];
    size_t length;
    memset(big, 'b', sizeof big);
    lru_put(lru, &key, LATER, big, LRU_VALUE_MAX);
    assert_true(lru_get(lru, &key, NOW, big, sizeof big, &length));
    lru_put(lru, &key, LATER, big, sizeof big);
    assert_true(misses(lru, 1)); /* the old value would be a wrong one */
    assert_int_equal(lru_count(lru), 0);
    lru_destroy(lru);
}

static void the_entry_used_longest_ago_makes_room(void **state)
{
    (void)state;
    struct lru *lru = lru_create(3);
    put_text(lru, 1, "1");
    put_text(lru, 2, "2");
    put_text(lru, 3, "3");
    assert_true(holds(lru, 1, "1")); /* used: now 2 is the oldest */
    put_text(lru, 4, "4");
    assert_true(misses(lru, 2));
    assert_true(holds(lru, 1, "1"));
    assert_true(holds(lru, 3, "3"));
    assert_true(holds(lru, 4, "4"));
    put_text(lru, 1, "again"); /* replacing a full cache's entry pushes nobody out */
    assert_int_equal(lru_count(lru), 3);
    assert_true(holds(lru, 3, "3"));
    lru_destroy(lru);
}

static void a_cache_of_one_entry_holds_the_last(void **state)
{
    (void)state;
    struct lru *lru = lru_create(1);
    put_text(lru, 1, "1");
    put_text(lru, 2, "2");
    assert_true(misses(lru, 1));
    assert_true(holds(lru, 2, "2"));
    lru_destroy(lru);
}

static void the_bound_holds_whatever_the_number(void **state)
{
    (void)state;
    const size_t bounds[] = {1, 2, 17, 64, 100, 1023, 1024, 1500};
    for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++) {
        struct lru *lru = lru_create(bounds[b]);
        for (unsigned i = 0; i < 6000; i++)
            put_text(lru, i, "value");
        assert_int_equal(lru_count(lru), bounds[b]);
        assert_true(holds(lru, 5999, "value"));
        lru_destroy(lru);
    }
}

static void removing_takes_one_and_clearing_takes_all(void **state)
{
    (void)state;
    struct lru *lru = lru_create(5000);
    for (unsigned i = 0; i < 3000; i++)
        put_text(lru, i, "v");
    struct digest key = key_number(1234);
    lru_remove(lru, &key);
    lru_remove(lru, &key);
    assert_true(misses(lru, 1234));
    assert_int_equal(lru_count(lru), 2999);
    assert_true(holds(lru, 1235, "v"));
    lru_clear(lru);
    assert_int_equal(lru_count(lru), 0);
    assert_true(misses(lru, 1235));
    put_text(lru, 7, "again");
    assert_true(holds(lru, 7, "again"));
    lru_destroy(lru);
}

static void destroying_nothing_is_fine(void **state)
{
    (void)state;
    struct lru *lru = NULL;
    lru_destroy(lru);
    assert_null(lru);
}

/* Under a sanitizer malloc is another one, and mallinfo2 then counts nothing: 0 <= bound. */
static void an_empty_cache_is_small_and_a_full_one_is_within_160_bytes_an_entry(void **state)
{
    (void)state;
    enum { ENTRIES = 50000 };
    char value[60];
    memset(value, 'v', sizeof value);
    size_t before = mallinfo2().uordblks;
    struct lru *lru = lru_create(ENTRIES);
    assert_true(mallinfo2().uordblks - before < 8192);
    for (unsigned i = 0; i < 2 * ENTRIES; i++) {
        struct digest key = key_number(i);
        lru_put(lru, &key, LATER, value, sizeof value);
    }
    assert_int_equal(lru_count(lru), ENTRIES);
    struct mallinfo2 full = mallinfo2();
    assert_true((full.uordblks + full.hblkhd - before) / ENTRIES <= 160);
    lru_destroy(lru);
}

enum { THREADS = 8, ROUNDS = 4000, KEYS = 500 };

struct crowd {
    struct lru *lru;
    atomic_uint next, hits, wrong;
};

/* A value is its key's number, written out: whoever reads another one found a torn entry. */
static void *crowd_member(void *context)
{
    struct crowd *crowd = context;
    unsigned seed = atomic_fetch_add(&crowd->next, 1);
    for (unsigned i = 0; i < ROUNDS; i++) {
        seed = seed * 1103515245 + 12345;
        unsigned number = (seed >> 8) % KEYS;
        struct digest key = key_number(number);
        char expected[32], value[32];
        size_t length, wanted = (size_t)snprintf(expected, sizeof expected, "value %u", number);
        if (lru_get(crowd->lru, &key, NOW, value, sizeof value, &length)) {
            atomic_fetch_add(&crowd->hits, 1);
            if (length != wanted || memcmp(value, expected, length) != 0)
                atomic_fetch_add(&crowd->wrong, 1);
        } else {
            lru_put(crowd->lru, &key, LATER, expected, wanted);
        }
        if (i % 64 == 0)
            lru_remove(crowd->lru, &key);
        if (i % 1024 == 0)
            lru_clear(crowd->lru);
    }
    return NULL;
}

static void many_threads_never_see_another_keys_value(void **state)
{
    (void)state;
    struct crowd crowd = {.lru = lru_create(KEYS / 2)};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_member, &crowd), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&crowd.hits) > 0);
    assert_int_equal(atomic_load(&crowd.wrong), 0);
    assert_true(lru_count(crowd.lru) <= KEYS / 2);
    lru_destroy(crowd.lru);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_there_and_nothing_else),
        cmocka_unit_test(a_value_keeps_every_byte),
        cmocka_unit_test(putting_again_replaces),
        cmocka_unit_test(an_entry_ends_at_its_expiry_and_not_before),
        cmocka_unit_test(a_value_too_large_for_the_buffer_is_a_miss_and_stays),
        cmocka_unit_test(a_value_over_the_bound_leaves_the_key_without_an_entry),
        cmocka_unit_test(the_entry_used_longest_ago_makes_room),
        cmocka_unit_test(a_cache_of_one_entry_holds_the_last),
        cmocka_unit_test(the_bound_holds_whatever_the_number),
        cmocka_unit_test(removing_takes_one_and_clearing_takes_all),
        cmocka_unit_test(destroying_nothing_is_fine),
        cmocka_unit_test(an_empty_cache_is_small_and_a_full_one_is_within_160_bytes_an_entry),
        cmocka_unit_test(many_threads_never_see_another_keys_value),
    };
    return digest_init() ? cmocka_run_group_tests_name("lru", tests, NULL, NULL) : 1;
}
