#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/unit/test_known_good.h"

enum { DAY = 86400 };

/* The two clocks as the store sees them can be stepped: this one stands before libc's. */
static _Atomic int64_t wall_ahead_s, mono_ahead_s;

int clock_gettime(clockid_t id, struct timespec *now)
{
    long result = syscall(SYS_clock_gettime, id, now);
    if (id == CLOCK_REALTIME)
        now->tv_sec += atomic_load(&wall_ahead_s);
    if (id == CLOCK_MONOTONIC)
        now->tv_sec += atomic_load(&mono_ahead_s);
    return (int)result;
}

static int fresh_directory(void **state)
{
    (void)state;
    scratch_make();
    atomic_store(&wall_ahead_s, 0);
    atomic_store(&mono_ahead_s, 0);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    scratch_remove();
    return 0;
}

/* ---- what it is for ---- */

static void who_was_confirmed_is_found_within_the_round(void **state)
{
    (void)state;
    struct known_good *store = store_open();
    assert_false(knows(store, 1));
    confirm(store, 1, 1700000000);
    assert_true(wait_for(knows(store, 1)));
    assert_int_equal(entry_of(store, 1).confirmed, 1700000000);
    assert_int_equal(entry_of(store, 1).gone, 0);
    assert_false(knows(store, 2));
    known_good_close(store);
}

static void what_was_written_is_there_after_a_restart(void **state)
{
    (void)state;
    struct known_good *store = store_open();
    for (uint64_t i = 0; i < 1000; i++)
        confirm(store, i, 1700000000 + (int64_t)i);
    mark_gone(store, 7, 1700005000);
    known_good_close(store); /* writes what is queued */

    store = store_open();
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(entry_of(store, i).confirmed, 1700000000 + (int64_t)i);
    assert_int_equal(entry_of(store, 7).gone, 1700005000);
    assert_false(knows(store, 1000));
    struct known_good_state described = state_of(store);
    assert_true(described.works);
    assert_int_equal(described.entries, 1000);
    assert_string_equal(described.why.text, "");
    known_good_close(store);
}

static void who_is_gone_is_marked_and_comes_back(void **state)
{
    (void)state;
    struct known_good *store = store_open();
    confirm(store, 1, 1000);
    mark_gone(store, 1, 2000);
    mark_gone(store, 1, 3000);
    mark_gone(store, 2, 2000); /* never was there */
    assert_true(flushed(store));
    assert_int_equal(entry_of(store, 1).confirmed, 1000);
    assert_int_equal(entry_of(store, 1).gone, 2000);
    assert_false(knows(store, 2));
    confirm(store, 1, 4000);
    assert_true(flushed(store));
    assert_int_equal(entry_of(store, 1).confirmed, 4000);
    assert_int_equal(entry_of(store, 1).gone, 0);
    known_good_close(store);
}

static void news_of_one_round_counts_by_its_time(void **state)
{
    (void)state;
    struct known_good_limits limits = quick_limits();
    limits.round_ms = 60000; /* all in one batch, when it is flushed */
    struct known_good *store = known_good_open(scratch_dir, limits);
    mark_gone(store, 1, 2000);
    confirm(store, 1, 1000);
    confirm(store, 2, 1000);
    mark_gone(store, 2, 2000);
    confirm(store, 2, 3000);
    confirm(store, 3, 2000);
    confirm(store, 3, 1000);
    assert_true(flushed(store));
    assert_int_equal(entry_of(store, 1).gone, 2000);
    assert_int_equal(entry_of(store, 2).gone, 0);
    assert_int_equal(entry_of(store, 2).confirmed, 3000);
    assert_int_equal(entry_of(store, 3).confirmed, 2000);
    known_good_close(store);
}

static void learning_has_been_written_when_it_returns(void **state)
{
    (void)state;
    struct fault fault = {""};
    struct known_good *store = store_open();
    assert_true(learn(store, 0, 5000, 1700000000, &fault));
    for (uint64_t i = 0; i < 5000; i++)
        assert_true(knows(store, i));
    assert_true(wait_for(state_of(store).entries == 5000));
    assert_string_equal(fault.text, "");
    known_good_close(store);
}

static void many_entries_take_few_bytes_each(void **state)
{
    (void)state;
    enum { COUNT = 200000 };
    struct fault fault = {""};
    struct known_good *store = store_open();
    for (uint64_t i = 0; i < COUNT; i += COUNT / 2)
        assert_true(learn(store, i, COUNT / 2, 1700000000, &fault));
    assert_true(wait_for(state_of(store).entries == COUNT));
    assert_in_range(state_of(store).file_bytes / COUNT, 24, 119);
    for (uint64_t i = 0; i < COUNT; i += 997)
        assert_true(knows(store, i));
    known_good_close(store);
}

static void a_full_queue_drops_the_newest_and_counts_them(void **state)
{
    (void)state;
    struct known_good_limits limits = quick_limits();
    limits.queue = 10;
    limits.retry_ms = 60000;
    char log[4096], nowhere[256];
    struct scratch_log capture = scratch_log_begin();
    struct known_good *store = known_good_open(scratch_path(nowhere, "missing"), limits);
    for (uint64_t i = 0; i < 10; i++)
        confirm(store, i, 1700000000);
    uint64_t dropped = state_of(store).dropped;
    for (uint64_t i = 10; i < 110; i++)
        confirm(store, i, 1700000000);
    /* One batch may have been taken out of the queue meanwhile. */
    assert_int_equal(dropped, 0);
    assert_in_range(state_of(store).dropped, 90, 100);
    known_good_close(store);
    scratch_log_end(&capture, log, sizeof log);
}

static void the_files_are_for_nobody_else(void **state)
{
    (void)state;
    struct known_good *store = store_open();
    confirm(store, 1, 1700000000);
    assert_true(flushed(store));
    const char *const names[] = {"known-good.mdb", "known-good.mdb-lock", "known-good.lock"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[256];
        struct stat status;
        assert_int_equal(stat(scratch_path(path, names[i]), &status), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
    }
    known_good_close(store);
}

static void a_second_daemon_is_refused_and_takes_over_later(void **state)
{
    (void)state;
    char log[4096];
    struct known_good *first = store_open();
    confirm(first, 1, 1700000000);
    assert_true(flushed(first));
    struct scratch_log capture = scratch_log_begin();
    struct known_good *second = store_open();
    struct fault fault = {""};
    assert_false(learn(second, 2, 1, 1700000000, &fault));
    assert_non_null(strstr(fault.text, "another process has locked"));
    assert_false(state_of(second).works);
    assert_non_null(strstr(state_of(second).why.text, "another process has locked"));
    assert_true(knows(first, 1));
    known_good_close(first);
    assert_true(wait_for(knows(second, 1)));
    assert_true(wait_for(state_of(second).works));
    known_good_close(second);
    scratch_log_end(&capture, log, sizeof log);
    assert_int_equal(scratch_count(log, "error:"), 1);
    assert_int_equal(scratch_count(log, "works again"), 1);
}

/* ---- crowds ---- */

struct crowd {
    struct known_good *store;
    _Atomic bool stop;
    _Atomic uint64_t confirmed, found, wrong;
};

static void *crowd_reader(void *context)
{
    struct crowd *crowd = context;
    for (uint64_t i = 0; !atomic_load(&crowd->stop); i++) {
        struct known_good_entry entry;
        struct digest key = key_of(i % 2000);
        if (!known_good_find(crowd->store, &key, &entry))
            continue;
        atomic_fetch_add(&crowd->found, 1);
        if (entry.confirmed != 1700000000 + (int64_t)(i % 2000))
            atomic_fetch_add(&crowd->wrong, 1);
    }
    return NULL;
}

static void *crowd_confirmer(void *context)
{
    struct crowd *crowd = context;
    for (uint64_t i = 0; !atomic_load(&crowd->stop); i++) {
        confirm(crowd->store, i % 2000, 1700000000 + (int64_t)(i % 2000));
        if (i % 100 == 0)
            mark_gone(crowd->store, i % 2000, 1600000000);
        atomic_fetch_add(&crowd->confirmed, 1);
    }
    return NULL;
}

static void a_crowd_of_readers_and_confirmers_sees_what_was_written(void **state)
{
    (void)state;
    struct crowd crowd = {.store = store_open()};
    pthread_t threads[12];
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, i < 8 ? crowd_reader : crowd_confirmer, &crowd), 0);
    struct fault fault = {""};
    for (int i = 0; i < 10; i++) /* beside the queue, and sweeps */
        assert_true(learn(crowd.store, 10000 + (uint64_t)i * 100, 100, 1700000000, &fault));
    assert_true(wait_for(atomic_load(&crowd.found) > 10000 && knows(crowd.store, 1999)));
    atomic_store(&crowd.stop, true);
    for (size_t i = 0; i < 12; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&crowd.wrong), 0);
    assert_true(wait_for(state_of(crowd.store).entries == 3000));
    known_good_close(crowd.store);
}

/* ---- age and clocks ---- */

static void entries_age_out_when_the_ttl_is_known(void **state)
{
    (void)state;
    struct known_good *store = store_open();
    int64_t now = clock_wall_s();
    struct fault fault = {""};
    assert_true(learn(store, 0, 25000, now - 31 * DAY, &fault)); /* more than two slices */
    assert_true(learn(store, 25000, 1000, now - 29 * DAY, &fault));
    /* A sweep has passed and found the oldest, and left it where it is. */
    assert_true(wait_for(state_of(store).oldest_s >= 31 * DAY));
    assert_true(wait_for(state_of(store).entries == 26000));
    known_good_set_ttl(store, 30 * DAY);
    assert_true(wait_for(state_of(store).entries == 1000));
    assert_false(knows(store, 24999));
    assert_true(knows(store, 25999));
    assert_true(wait_for(state_of(store).oldest_s < 30 * DAY));
    assert_in_range(state_of(store).oldest_s, 29 * DAY, 29 * DAY + 60);
    known_good_close(store);
}

static void a_time_from_the_future_vouches_and_is_mended(void **state)
{
    (void)state;
    struct known_good *store = store_open();
    int64_t now = clock_wall_s();
    known_good_set_ttl(store, 30 * DAY);
    confirm(store, 1, now + 10 * DAY);
    confirm(store, 2, now + 200);
    assert_true(wait_for(knows(store, 1)));
    assert_true(wait_for(entry_of(store, 1).confirmed < now + DAY));
    assert_in_range(entry_of(store, 1).confirmed, now, now + 60);
    assert_int_equal(entry_of(store, 2).confirmed, now + 200);
    known_good_close(store);
}

/* A whole sweep has passed when the oldest confirmation is this old one. */
static void wait_for_a_sweep(struct known_good *store, uint64_t number, int64_t age)
{
    confirm(store, number, clock_wall_s() - age);
    assert_true(wait_for(state_of(store).oldest_s >= age));
}

static void after_a_step_of_the_clock_nothing_is_swept_for_a_day(void **state)
{
    (void)state;
    struct known_good *store = store_open();
    int64_t now = clock_wall_s();
    wait_for_a_sweep(store, 1, 100); /* that one only counted: from now on they remove */
    known_good_set_ttl(store, 30 * DAY);
    atomic_store(&wall_ahead_s, 40 * DAY);
    wait_for_a_sweep(store, 2, 50 * DAY);
    wait_for_a_sweep(store, 3, 60 * DAY);
    assert_true(knows(store, 1) && knows(store, 2) && knows(store, 3));
    atomic_store(&wall_ahead_s, 0); /* and back: they come from the future, and stay so */
    confirm(store, 4, now + 39 * DAY);
    wait_for_a_sweep(store, 5, 70 * DAY);
    assert_int_equal(entry_of(store, 4).confirmed, now + 39 * DAY);
    assert_true(knows(store, 5));

    atomic_store(&mono_ahead_s, DAY + 60); /* a day later, on both clocks */
    atomic_store(&wall_ahead_s, DAY + 60);
    assert_true(wait_for(!knows(store, 5)));
    assert_true(wait_for(entry_of(store, 4).confirmed < now + 2 * DAY));
    assert_true(knows(store, 1));
    known_good_close(store);
}

static void the_first_sweep_after_a_start_removes_nothing(void **state)
{
    (void)state;
    struct known_good *store = store_open();
    int64_t now = clock_wall_s();
    confirm(store, 1, now - 40 * DAY);
    assert_true(flushed(store));
    known_good_close(store);

    struct known_good_limits limits = quick_limits();
    limits.sweep_ms = 60 * 60 * 1000;
    store = known_good_open(scratch_dir, limits);
    known_good_set_ttl(store, 30 * DAY);
    assert_true(wait_for(state_of(store).oldest_s >= 40 * DAY));
    assert_true(knows(store, 1));
    known_good_close(store);
}

/* ---- kill -9 ---- */

/* Learns for ever, a hundred at a time, and says after each how many it has learned. */
static void learn_until_killed(int say, uint64_t from)
{
    struct known_good *store = known_good_open(scratch_dir, quick_limits());
    struct fault fault = {""};
    for (;; from += 100) {
        if (!learn(store, from, 100, 1700000000, &fault))
            _exit(1);
        uint64_t learned = from + 100;
        if (write(say, &learned, sizeof learned) != sizeof learned)
            _exit(2);
    }
}

static void kill_9_loses_nothing_that_was_learned(void **state)
{
    (void)state;
    uint64_t learned = 0;
    for (unsigned round = 0; round < 8; round++) {
        int says[2];
        assert_int_equal(pipe(says), 0);
        pid_t child = fork();
        if (child == 0) {
            close(says[0]);
            learn_until_killed(says[1], learned);
        }
        close(says[1]);
        for (unsigned told = 0; told < 3 + 7 * round; told++)
            assert_int_equal(read(says[0], &learned, sizeof learned), sizeof learned);
        kill(child, SIGKILL); /* it is in the middle of the next */
        assert_int_equal(waitpid(child, NULL, 0), child);
        while (read(says[0], &learned, sizeof learned) == sizeof learned)
            ;
        close(says[0]);

        char log[4096];
        struct scratch_log capture = scratch_log_begin();
        struct known_good *store = store_open();
        for (uint64_t i = 0; i < learned; i++)
            assert_true(knows(store, i));
        known_good_close(store);
        scratch_log_end(&capture, log, sizeof log);
        assert_string_equal(log, "");
    }
}

#define STORE_TEST(test) cmocka_unit_test_setup_teardown(test, fresh_directory, remove_directory)

int main(void)
{
    if (!digest_init())
        return 1;
    const struct CMUnitTest tests[] = {
        STORE_TEST(who_was_confirmed_is_found_within_the_round),
        STORE_TEST(what_was_written_is_there_after_a_restart),
        STORE_TEST(who_is_gone_is_marked_and_comes_back),
        STORE_TEST(news_of_one_round_counts_by_its_time),
        STORE_TEST(learning_has_been_written_when_it_returns),
        STORE_TEST(many_entries_take_few_bytes_each),
        STORE_TEST(a_full_queue_drops_the_newest_and_counts_them),
        STORE_TEST(the_files_are_for_nobody_else),
        STORE_TEST(a_second_daemon_is_refused_and_takes_over_later),
        STORE_TEST(a_crowd_of_readers_and_confirmers_sees_what_was_written),
        STORE_TEST(entries_age_out_when_the_ttl_is_known),
        STORE_TEST(a_time_from_the_future_vouches_and_is_mended),
        STORE_TEST(after_a_step_of_the_clock_nothing_is_swept_for_a_day),
        STORE_TEST(the_first_sweep_after_a_start_removes_nothing),
        STORE_TEST(kill_9_loses_nothing_that_was_learned),
    };
    return cmocka_run_group_tests_name("known_good", tests, NULL, NULL);
}
