/* test_known_good - for the tests of the store: one in the scratch directory, in quick rounds. */
#ifndef TESTS_UNIT_TEST_KNOWN_GOOD_H
#define TESTS_UNIT_TEST_KNOWN_GOOD_H

#include <sys/stat.h>

#include "db/known_good.h"
#include "shared/clock.h"
#include "tests/unit/pause.h"
#include "tests/unit/scratch.h"

enum { WAIT_MS = 20000 }; /* for what takes milliseconds on a machine that is not busy */

static inline struct known_good_limits quick_limits(void)
{
    struct known_good_limits limits = known_good_limits();
    limits.map_bytes = (size_t)256 << 20; /* sanitizers account for every byte of a map */
    limits.round_ms = 10;
    limits.retry_ms = 30;
    limits.sweep_ms = 30;
    return limits;
}

static inline struct known_good *store_open(void)
{
    struct known_good *store = known_good_open(scratch_dir, quick_limits());
    assert_non_null(store);
    return store;
}

/* The digest of a number. */
static inline struct digest key_of(uint64_t number)
{
    return digest_shared(&number, sizeof number);
}

/* True as soon as the condition holds. */
#define wait_for(condition)                                                                        \
    ({                                                                                             \
        struct deadline limit_ = deadline_in_ms(WAIT_MS);                                          \
        while (!(condition) && !deadline_passed(limit_))                                           \
            test_pause();                                                                          \
        (condition);                                                                               \
    })

static inline bool knows(struct known_good *store, uint64_t number)
{
    struct known_good_entry entry;
    struct digest key = key_of(number);
    return known_good_find(store, &key, &entry);
}

static inline struct known_good_entry entry_of(struct known_good *store, uint64_t number)
{
    struct known_good_entry entry = {0};
    struct digest key = key_of(number);
    known_good_find(store, &key, &entry);
    return entry;
}

static inline void confirm(struct known_good *store, uint64_t number, int64_t now)
{
    struct digest key = key_of(number);
    known_good_confirm(store, &key, now);
}

static inline void mark_gone(struct known_good *store, uint64_t number, int64_t now)
{
    struct digest key = key_of(number);
    known_good_mark_gone(store, &key, now);
}

/* Waits until what was queued is written. */
static inline bool flushed(struct known_good *store)
{
    struct fault fault = {""};
    return known_good_learn(store, NULL, 0, 0, &fault);
}

static inline bool learn(struct known_good *store, uint64_t from, size_t count, int64_t now,
                         struct fault *fault)
{
    struct digest *keys = malloc(count * sizeof *keys);
    for (size_t i = 0; i < count; i++)
        keys[i] = key_of(from + i);
    bool learned = known_good_learn(store, keys, count, now, fault);
    free(keys);
    return learned;
}

static inline struct known_good_state state_of(struct known_good *store)
{
    struct known_good_state state;
    known_good_describe(store, &state);
    return state;
}

#endif
