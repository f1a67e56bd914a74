#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "db/lmdb_file.h"
#include "tests/unit/scratch.h"

enum { KEYS = 3000 };

static struct lmdb_file *file;

static struct lmdb_file *open_one(void)
{
    char base[256];
    struct fault fault = {""};
    struct lmdb_file *opened = lmdb_file_create(scratch_path(base, "store"), (size_t)64 << 20);
    assert_non_null(opened);
    enum lmdb_condition condition = lmdb_file_tend(opened, &fault);
    if (condition != LMDB_WORKS)
        fail_msg("%s", fault.text);
    return opened;
}

static int fresh_file(void **state)
{
    (void)state;
    scratch_make();
    file = open_one();
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    lmdb_file_close(file);
    scratch_remove();
    return 0;
}

/* What an item's value is to be; a length of 0 removes it. */
struct change {
    struct digest key;
    size_t length;
    unsigned char fill;
};

static size_t apply(void *context, const void *item, unsigned char value[LMDB_VALUE_MAX],
                    size_t length)
{
    const struct change *change = item;
    (void)length;
    if (context)
        *(size_t *)context += length;
    memset(value, change->fill, change->length);
    return change->length;
}

static bool edit(const struct change *changes, size_t count, struct fault *fault)
{
    struct lmdb_batch batch = {.items = changes,
                               .item_bytes = sizeof *changes,
                               .count = count,
                               .edit = apply,
                               .deletes = true};
    return lmdb_file_edit(file, &batch, fault);
}

static struct digest key_of(uint64_t number)
{
    return digest_shared(&number, sizeof number);
}

static struct change change_of(uint64_t number, size_t length)
{
    return (struct change){
        .key = key_of(number), .length = length, .fill = (unsigned char)(number + length)};
}

static void assert_value(uint64_t number, size_t length)
{
    unsigned char value[LMDB_VALUE_MAX], expected[LMDB_VALUE_MAX];
    struct digest key = key_of(number);
    assert_int_equal(lmdb_file_get(file, &key, value, sizeof value), length);
    memset(expected, (unsigned char)(number + length), sizeof expected);
    assert_memory_equal(value, expected, length);
}

static void values_of_any_length_are_kept(void **state)
{
    (void)state;
    const size_t lengths[] = {1, 7, 8, 9, 255, 256, 511, 1000, LMDB_VALUE_MAX};
    struct fault fault = {""};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct change change = change_of(i, lengths[i]);
        assert_true(edit(&change, 1, &fault));
    }
    lmdb_file_close(file);
    file = open_one();
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        assert_value(i, lengths[i]);
}

static void a_value_that_does_not_fit_is_none(void **state)
{
    (void)state;
    unsigned char value[8];
    struct fault fault = {""};
    struct change change = change_of(1, 9);
    assert_true(edit(&change, 1, &fault));
    assert_int_equal(lmdb_file_get(file, &change.key, value, sizeof value), 0);
}

static void an_unchanged_value_costs_no_write(void **state)
{
    (void)state;
    char path[256];
    unsigned char before[2 * 4096], after[2 * 4096];
    struct fault fault = {""};
    struct change change = change_of(1, 8), none = change_of(2, 0);
    assert_true(edit(&change, 1, &fault));
    FILE *data = fopen(scratch_path(path, "store.mdb"), "r");
    assert_int_equal(fread(before, 1, sizeof before, data), sizeof before);
    assert_true(edit(&change, 1, &fault));
    assert_true(edit(&none, 1, &fault)); /* removes what is not there */
    rewind(data);
    assert_int_equal(fread(after, 1, sizeof after, data), sizeof after);
    fclose(data);
    assert_memory_equal(before, after,
                        sizeof before); /* the heads, with the transaction's number */
}

/* The pages are looked at before each write: whatever LMDB makes of them must pass. */
static void what_lmdb_writes_is_never_taken_for_damage(void **state)
{
    (void)state;
    static size_t lengths[KEYS];
    static struct change changes[400];
    uint64_t random = 1;
    memset(lengths, 0, sizeof lengths);
    for (unsigned round = 0; round < 400; round++) {
        /* It grows, shrinks to nearly nothing, grows again ...; alone and in crowds. */
        bool grows = round / 50 % 2 == 0;
        size_t count = round % 3 == 0 ? 1 + round % 7 : 400;
        for (size_t i = 0; i < count; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            uint64_t number = (random >> 33) % KEYS;
            size_t large = random >> 20 & 7 ? 8 : 1 + (random >> 24) % LMDB_VALUE_MAX;
            changes[i] = change_of(number, grows || (random >> 50) % 8 == 0 ? large : 0);
            lengths[number] = changes[i].length;
        }
        struct fault fault = {""};
        if (!edit(changes, count, &fault) || lmdb_file_tend(file, &fault) != LMDB_WORKS)
            fail_msg("round %u: %s", round, fault.text);
    }
    uint64_t there = 0;
    for (uint64_t number = 0; number < KEYS; number++) {
        there += lengths[number] > 0;
        assert_value(number, lengths[number]);
    }
    assert_int_equal(lmdb_file_size(file).entries, there);
}

struct walked {
    size_t count, bytes;
    struct digest last;
};

static void count_one(void *context, const struct digest *key, const void *value, size_t length)
{
    struct walked *walked = context;
    (void)value;
    walked->count++;
    walked->bytes += length;
    walked->last = *key;
}

static void a_walk_meets_every_entry_once_whatever_the_slices(void **state)
{
    (void)state;
    static struct change changes[KEYS];
    struct fault fault = {""};
    for (uint64_t number = 0; number < KEYS; number++)
        changes[number] = change_of(number, 8);
    struct lmdb_walk empty = {0};
    assert_true(lmdb_file_walk(file, &empty, 10, count_one, NULL) && empty.ended);
    assert_true(edit(changes, KEYS, &fault));
    const size_t limits[] = {1, 7, 1000, KEYS - 1, KEYS, KEYS + 1};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct walked walked = {0};
        struct lmdb_walk walk = {0};
        unsigned slices = 0;
        for (size_t before = 0; !walk.ended; before = walked.count, slices++) {
            assert_true(lmdb_file_walk(file, &walk, limits[i], count_one, &walked));
            assert_true(walked.count - before <= limits[i] && slices <= KEYS + 1);
        }
        assert_int_equal(walked.count, KEYS);
        assert_int_equal(walked.bytes, KEYS * 8);
    }
}

static void a_walk_goes_on_where_its_last_entry_was_removed(void **state)
{
    (void)state;
    static struct change changes[100];
    struct fault fault = {""};
    for (uint64_t number = 0; number < 100; number++)
        changes[number] = change_of(number, 8);
    assert_true(edit(changes, 100, &fault));
    struct walked walked = {0};
    struct lmdb_walk walk = {0};
    while (!walk.ended) {
        assert_true(lmdb_file_walk(file, &walk, 9, count_one, &walked));
        struct change gone = {.key = walked.last};
        assert_true(edit(&gone, 1, &fault));
    }
    assert_int_equal(walked.count, 100);
}

static void a_batch_that_does_not_fit_changes_nothing(void **state)
{
    (void)state;
    enum { MANY = 80000 };
    struct change *changes = malloc(MANY * sizeof *changes), one = change_of(1, 5);
    struct fault fault = {""};
    assert_true(edit(&one, 1, &fault));
    for (uint64_t number = 0; number < MANY; number++)
        changes[number] = change_of(number, LMDB_VALUE_MAX); /* 80 MB into 64 */
    assert_false(edit(changes, MANY, &fault));
    assert_non_null(strstr(fault.text, "MDB_MAP_FULL"));
    assert_int_equal(lmdb_file_size(file).entries, 1);
    assert_value(1, 5);
    one = change_of(1, 6);
    assert_true(edit(&one, 1, &fault));
    assert_value(1, 6);
    free(changes);
}

#define FILE_TEST(test) cmocka_unit_test_setup_teardown(test, fresh_file, remove_file)

int main(void)
{
    if (!digest_init())
        return 1;
    const struct CMUnitTest tests[] = {
        FILE_TEST(values_of_any_length_are_kept),
        FILE_TEST(a_value_that_does_not_fit_is_none),
        FILE_TEST(an_unchanged_value_costs_no_write),
        FILE_TEST(what_lmdb_writes_is_never_taken_for_damage),
        FILE_TEST(a_walk_meets_every_entry_once_whatever_the_slices),
        FILE_TEST(a_walk_goes_on_where_its_last_entry_was_removed),
        FILE_TEST(a_batch_that_does_not_fit_changes_nothing),
    };
    return cmocka_run_group_tests_name("lmdb_file", tests, NULL, NULL);
}
