#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "db/ledger.h"
#include "db/ledger_entry.h"
#include "shared/clock.h"
#include "shared/text.h"
#include "tests/unit/pause.h"
#include "tests/unit/scratch.h"

enum { WAIT_MS = 20000, DAY = 86400, NOW = 1700000000, PAGE = 4096 };

/* The two clocks as the ledger sees them can be stepped: this one stands before libc's. */
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

/* A reader that a fault throws out of LMDB leaves the transaction behind. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:liblmdb.so\n";
}

/* True as soon as the condition holds. */
#define wait_for(condition)                                                                        \
    ({                                                                                             \
        struct deadline limit_ = deadline_in_ms(WAIT_MS);                                          \
        while (!(condition) && !deadline_passed(limit_))                                           \
            test_pause();                                                                          \
        (condition);                                                                               \
    })

static char log_text[65536];
static struct scratch_log capture;

static int fresh_directory(void **state)
{
    (void)state;
    scratch_make();
    atomic_store(&wall_ahead_s, 0);
    atomic_store(&mono_ahead_s, 0);
    capture = scratch_log_begin();
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    scratch_log_end(&capture, log_text, sizeof log_text);
    scratch_remove();
    return 0;
}

static unsigned logged(const char *words)
{
    scratch_log_read(&capture, log_text, sizeof log_text);
    return scratch_count(log_text, words);
}

static struct ledger_limits quick_limits(void)
{
    struct ledger_limits limits = ledger_limits();
    limits.map_bytes = (size_t)64 << 20; /* sanitizers account for every byte of a map */
    limits.round_ms = 10;
    limits.retry_ms = 30;
    limits.sweep_ms = 30;
    return limits;
}

static struct ledger *open_with(struct ledger_limits limits)
{
    struct ledger *ledger = ledger_open(scratch_dir, limits);
    assert_non_null(ledger);
    return ledger;
}

static struct ledger *open_quick(void)
{
    return open_with(quick_limits());
}

static struct digest key_of(uint64_t number)
{
    return digest_shared(&number, sizeof number);
}

static struct ledger_waiting waiting_of(uint64_t number)
{
    struct ledger_waiting waiting = {.absence = {NOW - 60, 3}, .client = "192.0.2.1"};
    snprintf(waiting.recipient, sizeof waiting.recipient, "user%llu@example.test",
             (unsigned long long)number);
    snprintf(waiting.sender, sizeof waiting.sender, "sender@example.net");
    return waiting;
}

static struct ledger_bounced bounced_of(uint64_t number)
{
    struct ledger_bounced bounced = {.role = 'f', .evidence = "directory: absent"};
    snprintf(bounced.recipient, sizeof bounced.recipient, "user%llu@example.test",
             (unsigned long long)number);
    return bounced;
}

static void defer(struct ledger *ledger, uint64_t number, int64_t now)
{
    struct digest key = key_of(number);
    struct ledger_waiting waiting = waiting_of(number);
    ledger_defer(ledger, &key, &waiting, now);
}

static void bounce(struct ledger *ledger, uint64_t number, int64_t now)
{
    struct digest key = key_of(number);
    struct ledger_bounced bounced = bounced_of(number);
    ledger_bounce(ledger, &key, &bounced, now);
}

static void forget(struct ledger *ledger, uint64_t number)
{
    struct digest key = key_of(number);
    ledger_forget(ledger, &key);
}

static struct ledger_waiting wait_of(struct ledger *ledger, uint64_t number)
{
    struct ledger_waiting waiting = {.count = 0};
    struct digest key = key_of(number);
    ledger_find_waiting(ledger, &key, &waiting);
    return waiting;
}

static struct ledger_bounced bounce_of(struct ledger *ledger, uint64_t number)
{
    struct ledger_bounced bounced = {.count = 0};
    struct digest key = key_of(number);
    ledger_find_bounced(ledger, &key, &bounced);
    return bounced;
}

static bool waits(struct ledger *ledger, uint64_t number)
{
    return wait_of(ledger, number).count > 0;
}

static bool has_bounced(struct ledger *ledger, uint64_t number)
{
    return bounce_of(ledger, number).count > 0;
}

static struct ledger_state state_of(struct ledger *ledger)
{
    struct ledger_state state;
    ledger_describe(ledger, &state);
    return state;
}

/* What was queued before has been written: it is written in order, and so is this. */
static bool flushed(struct ledger *ledger)
{
    static uint64_t number = 1000000;
    number++;
    bounce(ledger, number, clock_wall_s());
    bool written = wait_for(has_bounced(ledger, number));
    forget(ledger, number);
    return written && wait_for(!has_bounced(ledger, number));
}

/* ---- what it is for ---- */

static void who_was_deferred_waits_with_all_that_was_said(void **state)
{
    (void)state;
    struct ledger *ledger = open_quick();
    assert_false(waits(ledger, 1));
    defer(ledger, 1, NOW);
    assert_true(wait_for(waits(ledger, 1)));
    struct ledger_waiting waiting = wait_of(ledger, 1);
    assert_int_equal(waiting.absence.since, NOW - 60);
    assert_int_equal(waiting.absence.asked, 3);
    assert_int_equal(waiting.first, NOW);
    assert_int_equal(waiting.last, NOW);
    assert_int_equal(waiting.count, 1);
    assert_string_equal(waiting.recipient, "user1@example.test");
    assert_string_equal(waiting.sender, "sender@example.net");
    assert_string_equal(waiting.client, "192.0.2.1");
    assert_false(has_bounced(ledger, 1));
    ledger_close(ledger);
    assert_int_equal(logged("ledger"), 0);
}

static void a_deferral_counts_on_and_keeps_the_first(void **state)
{
    (void)state;
    struct ledger *ledger = open_quick();
    struct digest key = key_of(1);
    struct ledger_waiting later = waiting_of(1);
    later.first = later.last = 5; /* not looked at */
    later.count = 77;
    later.absence = (struct absence){NOW - 50, 4};
    snprintf(later.sender, sizeof later.sender, "other@example.net");
    defer(ledger, 1, NOW);
    defer(ledger, 1, NOW + 10); /* in the same round, perhaps */
    assert_true(wait_for(wait_of(ledger, 1).count == 2));
    ledger_defer(ledger, &key, &later, NOW + 20);
    assert_true(wait_for(wait_of(ledger, 1).count == 3));
    struct ledger_waiting waiting = wait_of(ledger, 1);
    assert_int_equal(waiting.first, NOW);
    assert_int_equal(waiting.last, NOW + 20);
    assert_int_equal(waiting.absence.since, NOW - 50);
    assert_int_equal(waiting.absence.asked, 4);
    assert_string_equal(waiting.sender, "other@example.net");
    assert_int_equal(state_of(ledger).waiting, 1);
    ledger_close(ledger);
}

static void a_bounce_ends_the_waiting_and_is_counted(void **state)
{
    (void)state;
    struct ledger *ledger = open_quick();
    defer(ledger, 1, NOW);
    defer(ledger, 2, NOW);
    bounce(ledger, 1, NOW + 1);
    assert_true(wait_for(has_bounced(ledger, 1)));
    assert_false(waits(ledger, 1));
    assert_true(waits(ledger, 2));
    bounce(ledger, 1, NOW + 2);
    assert_true(wait_for(bounce_of(ledger, 1).count == 2));
    struct ledger_bounced bounced = bounce_of(ledger, 1);
    assert_int_equal(bounced.at, NOW + 2);
    assert_int_equal(bounced.role, 'f');
    assert_string_equal(bounced.recipient, "user1@example.test");
    assert_string_equal(bounced.evidence, "directory: absent");
    assert_true(wait_for(state_of(ledger).waiting == 1 && state_of(ledger).bounced == 1));
    ledger_close(ledger);
}

static void one_recipient_can_wait_and_have_bounced(void **state)
{
    (void)state;
    struct ledger *ledger = open_quick();
    bounce(ledger, 1, NOW);
    defer(ledger, 1, NOW + 1);
    assert_true(wait_for(waits(ledger, 1)));
    assert_true(has_bounced(ledger, 1));
    ledger_close(ledger);
}

static void who_is_found_is_forgotten_in_both_kinds(void **state)
{
    (void)state;
    struct ledger *ledger = open_quick();
    bounce(ledger, 1, NOW);
    defer(ledger, 1, NOW);
    forget(ledger, 1); /* while they are on their way */
    defer(ledger, 2, NOW);
    assert_true(wait_for(waits(ledger, 2)));
    assert_false(waits(ledger, 1) || has_bounced(ledger, 1));

    bounce(ledger, 1, NOW);
    defer(ledger, 1, NOW);
    assert_true(wait_for(waits(ledger, 1)));
    assert_true(wait_for(state_of(ledger).waiting == 2 && state_of(ledger).bounced == 1));
    forget(ledger, 1); /* once nothing is on its way */
    assert_true(wait_for(!waits(ledger, 1)));
    assert_false(has_bounced(ledger, 1));
    assert_true(waits(ledger, 2));
    assert_true(wait_for(state_of(ledger).waiting == 1 && state_of(ledger).bounced == 0));
    ledger_close(ledger);
}

static void news_of_one_round_counts_in_the_order_it_came(void **state)
{
    (void)state;
    struct ledger_limits limits = quick_limits();
    limits.round_ms = 60000; /* all in one batch, when it is closed */
    struct ledger *ledger = open_with(limits);
    defer(ledger, 1, NOW + 5);
    forget(ledger, 1);
    defer(ledger, 1, NOW); /* the clock has stepped back */
    defer(ledger, 2, NOW);
    bounce(ledger, 2, NOW);
    defer(ledger, 3, NOW);
    defer(ledger, 3, NOW);
    forget(ledger, 3);
    ledger_close(ledger);
    ledger = open_quick();
    assert_int_equal(wait_of(ledger, 1).count, 1);
    assert_int_equal(wait_of(ledger, 1).first, NOW);
    assert_true(!waits(ledger, 2) && has_bounced(ledger, 2));
    assert_false(waits(ledger, 3) || has_bounced(ledger, 3));
    ledger_close(ledger);
}

static void what_was_written_is_there_and_counted_after_a_restart(void **state)
{
    (void)state;
    enum { COUNT = 3500 }; /* some slices of a sweep */
    struct ledger *ledger = open_quick();
    for (uint64_t i = 0; i < COUNT; i++)
        i % 5 ? defer(ledger, i, NOW) : bounce(ledger, i, NOW);
    ledger_close(ledger);
    ledger = open_quick();
    for (uint64_t i = 0; i < COUNT; i++)
        assert_true(i % 5 ? waits(ledger, i) : has_bounced(ledger, i));
    assert_true(wait_for(state_of(ledger).waiting == COUNT / 5 * 4));
    assert_true(wait_for(state_of(ledger).bounced == COUNT / 5));
    assert_true(state_of(ledger).works);
    assert_int_equal(state_of(ledger).refused, 0);
    assert_true(state_of(ledger).oldest_waiting_s >= clock_wall_s() - NOW - 60);
    ledger_close(ledger);
    assert_int_equal(logged("ledger"), 0);
}

static void the_oldest_is_known_and_followed(void **state)
{
    (void)state;
    struct ledger *ledger = open_quick();
    int64_t now = clock_wall_s();
    assert_int_equal(state_of(ledger).oldest_waiting_s, 0);
    defer(ledger, 1, now - 5000);
    defer(ledger, 2, now - 3000);
    defer(ledger, 1, now);
    assert_true(wait_for(state_of(ledger).oldest_waiting_s >= 5000));
    forget(ledger, 1);
    assert_true(wait_for(state_of(ledger).oldest_waiting_s < 5000));
    assert_in_range(state_of(ledger).oldest_waiting_s, 3000, 3000 + 60);
    bounce(ledger, 2, now);
    assert_true(wait_for(state_of(ledger).oldest_waiting_s == 0));
    ledger_close(ledger);
}

static void when_the_oldest_leaves_the_next_is_looked_for_before_the_sweep_is_due(void **state)
{
    (void)state;
    struct ledger_limits limits = quick_limits();
    limits.sweep_ms = 3600 * 1000;
    struct ledger *ledger = open_with(limits);
    int64_t now = clock_wall_s();
    defer(ledger, 1, now - 5000);
    defer(ledger, 2, now - 3000);
    assert_true(wait_for(state_of(ledger).oldest_waiting_s >= 5000));
    forget(ledger, 1);
    assert_true(flushed(ledger));
    assert_true(state_of(ledger).oldest_waiting_s >= 5000); /* not at once: it costs a sweep */
    atomic_store(&mono_ahead_s, 400);
    assert_true(wait_for(state_of(ledger).oldest_waiting_s < 5000));
    assert_in_range(state_of(ledger).oldest_waiting_s, 3000, 3000 + 60);
    ledger_close(ledger);
}

/* What comes while they are counted is behind the count as often as ahead of it. */
static void the_count_is_exact_although_others_come_meanwhile(void **state)
{
    (void)state;
    enum { BEFORE = 15000 };
    struct ledger *ledger = open_quick();
    for (uint64_t i = 0; i < BEFORE; i++)
        defer(ledger, i, NOW);
    ledger_close(ledger);
    struct ledger_limits limits = quick_limits();
    limits.sweep_ms = 3600 * 1000; /* counted once */
    limits.round_ms = 5;
    limits.queue = 1000000;
    ledger = open_with(limits);
    uint64_t more = 0;
    struct deadline limit = deadline_in_ms(WAIT_MS);
    while (state_of(ledger).waiting < BEFORE && !deadline_passed(limit)) {
        for (unsigned i = 0; i < 200; i++)
            defer(ledger, BEFORE + more++, NOW);
        test_pause();
    }
    assert_true(flushed(ledger));
    assert_int_equal(state_of(ledger).refused, 0);
    assert_true(wait_for(state_of(ledger).waiting == BEFORE + more));
    ledger_close(ledger);
}

static void the_files_are_for_nobody_else(void **state)
{
    (void)state;
    struct ledger *ledger = open_quick();
    assert_true(flushed(ledger));
    const char *const names[] = {"ledger.mdb", "ledger.mdb-lock", "ledger.lock"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[256];
        struct stat status;
        assert_int_equal(stat(scratch_path(path, names[i]), &status), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
    }
    ledger_close(ledger);
}

/* ---- strings ---- */

/* `capacity` is filled, but for the NUL, as snprintf would leave it. */
static void fill_with(char *string, size_t capacity, const char *unit)
{
    size_t length = strlen(unit);
    for (size_t i = 0; i < capacity - 1; i++)
        string[i] = unit[i % length];
    string[capacity - 1] = '\0';
}

static void the_longest_strings_come_back_cut_between_characters(void **state)
{
    (void)state;
    const char *const units[] = {"x", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x93\xa7"};
    struct ledger *ledger = open_quick();
    for (uint64_t i = 0; i < sizeof units / sizeof *units; i++) {
        struct digest key = key_of(i);
        struct ledger_waiting waiting = {.count = 0}, kept;
        struct ledger_bounced bounced = {.role = 'p'}, kept_bounce;
        fill_with(waiting.recipient, sizeof waiting.recipient, units[i]);
        fill_with(waiting.sender, sizeof waiting.sender, units[i]);
        fill_with(waiting.client, sizeof waiting.client, units[i]);
        fill_with(bounced.recipient, sizeof bounced.recipient, units[i]);
        fill_with(bounced.evidence, sizeof bounced.evidence, units[i]);
        ledger_bounce(ledger, &key, &bounced, NOW);
        ledger_defer(ledger, &key, &waiting, NOW);
        assert_true(wait_for(ledger_find_waiting(ledger, &key, &kept)));
        assert_true(ledger_find_bounced(ledger, &key, &kept_bounce));
        const struct {
            const char *kept, *given;
            size_t capacity;
        } strings[] = {
            {kept.recipient, waiting.recipient, sizeof waiting.recipient},
            {kept.sender, waiting.sender, sizeof waiting.sender},
            {kept.client, waiting.client, sizeof waiting.client},
            {kept_bounce.recipient, bounced.recipient, sizeof bounced.recipient},
            {kept_bounce.evidence, bounced.evidence, sizeof bounced.evidence},
        };
        for (size_t s = 0; s < sizeof strings / sizeof *strings; s++) {
            size_t length = strlen(strings[s].kept), unit = strlen(units[i]);
            assert_int_equal(length, (strings[s].capacity - 1) / unit * unit);
            assert_memory_equal(strings[s].kept, strings[s].given, length);
            assert_true(text_is_utf8(strings[s].kept, length));
        }
    }
    ledger_close(ledger);
}

static void hostile_bytes_come_back_as_they_were(void **state)
{
    (void)state;
    struct ledger *ledger = open_quick();
    struct digest key = key_of(1);
    struct ledger_waiting kept, waiting = {.recipient = "\x01\x7f\r\n\"\\%s\xff\xfe@x",
                                           .sender = "\xe2\x82", /* short, so nobody cut it */
                                           .client = ""};
    for (size_t i = 0; i < sizeof waiting.sender - 1; i++)
        waiting.sender[i] = (char)(1 + i % 255);
    memset(waiting.client, 0x80, sizeof waiting.client - 1); /* the whole of it is no character */
    ledger_defer(ledger, &key, &waiting, NOW);
    assert_true(wait_for(ledger_find_waiting(ledger, &key, &kept)));
    assert_string_equal(kept.recipient, waiting.recipient);
    assert_string_equal(kept.sender, waiting.sender);
    assert_string_equal(kept.client, waiting.client);

    memset(waiting.recipient, 'a', sizeof waiting.recipient); /* no NUL at all */
    ledger_defer(ledger, &key, &waiting, NOW);
    assert_true(wait_for(wait_of(ledger, 1).count == 2));
    assert_int_equal(strlen(wait_of(ledger, 1).recipient), sizeof waiting.recipient - 1);
    ledger_close(ledger);
}

static void what_does_not_decode_is_no_entry(void **state)
{
    (void)state;
    unsigned char bytes[LMDB_VALUE_MAX], other[LMDB_VALUE_MAX];
    struct ledger_entry entry = {.kind = LEDGER_WAITING, .waiting = waiting_of(1)}, read;
    entry.waiting.count = 1;
    size_t length = ledger_entry_write(&entry, bytes);
    assert_true(ledger_entry_read(&read, LEDGER_WAITING, bytes, length));
    assert_false(ledger_entry_read(&read, LEDGER_BOUNCED, bytes, length));
    for (size_t cut = 0; cut < length; cut++)
        assert_false(ledger_entry_read(&read, LEDGER_WAITING, bytes, cut));
    memcpy(other, bytes, length);
    other[length] = '\0';
    assert_false(ledger_entry_read(&read, LEDGER_WAITING, other, length + 1));
    other[5 + 2] = 1; /* asked 65536 times and more */
    assert_false(ledger_entry_read(&read, LEDGER_WAITING, other, length));
    memset(other, 'w', sizeof other);
    assert_false(ledger_entry_read(&read, LEDGER_WAITING, other, sizeof other));

    entry = (struct ledger_entry){.kind = LEDGER_BOUNCED, .bounced = bounced_of(1)};
    length = ledger_entry_write(&entry, bytes);
    assert_true(ledger_entry_read(&read, LEDGER_BOUNCED, bytes, length));
    bytes[9] = 'x'; /* no role */
    assert_false(ledger_entry_read(&read, LEDGER_BOUNCED, bytes, length));
}

/* ---- bounds ---- */

static struct ledger *open_small(void)
{
    struct ledger_limits limits = quick_limits();
    limits.waiting_max = 10;
    limits.bounced_max = 5;
    struct ledger *ledger = open_with(limits);
    return ledger;
}

static void the_old_stay_and_the_new_are_refused_and_counted(void **state)
{
    (void)state;
    struct ledger *ledger = open_small();
    for (uint64_t i = 0; i < 10; i++)
        defer(ledger, i, NOW);
    assert_true(wait_for(state_of(ledger).waiting == 10));
    for (uint64_t i = 10; i < 1000; i++)
        defer(ledger, i, NOW);
    assert_true(wait_for(state_of(ledger).refused == 990));
    assert_int_equal(state_of(ledger).waiting, 10);
    assert_false(waits(ledger, 10) || waits(ledger, 999));
    for (uint64_t i = 0; i < 10; i++)
        defer(ledger, i, NOW + 1); /* an update is always taken */
    assert_true(wait_for(wait_of(ledger, 9).count == 2));
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(wait_of(ledger, i).count, 2);

    for (uint64_t i = 100; i < 105; i++)
        bounce(ledger, i, NOW);
    assert_true(wait_for(state_of(ledger).bounced == 5)); /* counted for itself */
    bounce(ledger, 0, NOW);
    assert_true(wait_for(state_of(ledger).refused == 991));
    assert_false(waits(ledger, 0)); /* it bounced all the same */
    assert_false(has_bounced(ledger, 0));
    defer(ledger, 500, NOW);
    assert_true(wait_for(waits(ledger, 500))); /* in its place */
    ledger_close(ledger);
}

static void the_bounds_hold_after_a_restart(void **state)
{
    (void)state;
    struct ledger *ledger = open_small();
    for (uint64_t i = 0; i < 10; i++)
        defer(ledger, i, NOW);
    ledger_close(ledger);
    ledger = open_small();
    assert_true(wait_for(state_of(ledger).waiting == 10));
    defer(ledger, 10, NOW);
    assert_true(wait_for(state_of(ledger).refused == 1));
    assert_false(waits(ledger, 10));
    ledger_close(ledger);
}

static void the_expired_make_room(void **state)
{
    (void)state;
    struct ledger *ledger = open_small();
    int64_t now = clock_wall_s();
    for (uint64_t i = 0; i < 10; i++)
        defer(ledger, i, now - 15 * DAY);
    defer(ledger, 0, now - DAY); /* its last one counts */
    assert_true(wait_for(state_of(ledger).waiting == 10));
    defer(ledger, 10, now);
    assert_true(wait_for(state_of(ledger).refused == 1));
    ledger_set_ttl(ledger, 14 * DAY);
    assert_true(wait_for(state_of(ledger).waiting == 1));
    assert_true(waits(ledger, 0));
    assert_false(waits(ledger, 9));
    defer(ledger, 10, now);
    assert_true(wait_for(waits(ledger, 10)));
    ledger_close(ledger);
}

static void a_full_queue_refuses_entries_before_it_refuses_to_forget(void **state)
{
    (void)state;
    struct ledger_limits limits = quick_limits();
    limits.queue = 10;
    limits.retry_ms = 60 * 60 * 1000;
    struct ledger *ledger = open_with(limits);
    defer(ledger, 1, NOW);
    assert_true(wait_for(wait_of(ledger, 1).absence.asked == 3));
    char away[256];
    struct ledger_waiting lost = {.count = 0};
    assert_int_equal(rename(scratch_dir, strcat(strcpy(away, scratch_dir), "-away")), 0);
    assert_true(wait_for(!state_of(ledger).works));
    for (uint64_t i = 10; i < 110; i++)
        defer(ledger, i, NOW);
    assert_in_range(state_of(ledger).refused, 80, 90); /* a batch may have been taken out */
    lost = wait_of(ledger, 1);
    assert_int_equal(lost.count, 1);         /* it can still be read, */
    assert_int_equal(lost.absence.since, 0); /* but proves nothing: who was found stays in it */
    assert_int_equal(rename(away, scratch_dir), 0);
    ledger_close(ledger);
}

static void an_absence_from_before_a_lost_forgetting_proves_nothing(void **state)
{
    (void)state;
    struct ledger_limits limits = quick_limits();
    limits.queue = 2;
    limits.round_ms = 60000; /* nothing is written but when half of the queue is full */
    struct ledger *ledger = open_with(limits);
    defer(ledger, 1, NOW);
    defer(ledger, 2, NOW);
    assert_true(wait_for(waits(ledger, 1)));
    assert_int_equal(wait_of(ledger, 1).absence.since, NOW - 60);
    /* Far more than it takes, and than are written meanwhile. */
    struct deadline limit = deadline_in_ms(WAIT_MS);
    while (wait_of(ledger, 1).absence.since != 0 && !deadline_passed(limit))
        for (uint64_t i = 0; i < 100; i++)
            bounce(ledger, 1000 + i, NOW), forget(ledger, 1000 + i);
    struct digest key = key_of(3);
    struct ledger_waiting after = waiting_of(3);
    assert_int_equal(wait_of(ledger, 1).absence.since, 0);
    assert_int_equal(wait_of(ledger, 1).absence.asked, 0);
    after.absence = (struct absence){clock_wall_s() + 1, 1};
    while (!waits(ledger, 3) && !deadline_passed(limit)) {
        ledger_defer(ledger, &key, &after, NOW);
        test_pause();
    }
    assert_int_equal(wait_of(ledger, 3).absence.since, after.absence.since);
    ledger_close(ledger);
}

/* ---- age and clocks ---- */

static void both_kinds_age_out_by_their_last_activity(void **state)
{
    (void)state;
    struct ledger *ledger = open_quick();
    int64_t now = clock_wall_s();
    for (uint64_t i = 0; i < 2500; i++) {
        defer(ledger, i, now - 15 * DAY);
        bounce(ledger, 10000 + i, now - 15 * DAY);
    }
    defer(ledger, 7, now - 13 * DAY);
    bounce(ledger, 10007, now - 13 * DAY);
    assert_true(wait_for(has_bounced(ledger, 10007)));
    assert_true(wait_for(state_of(ledger).waiting == 2500 && state_of(ledger).bounced == 2500));
    ledger_set_ttl(ledger, 14 * DAY);
    assert_true(wait_for(state_of(ledger).waiting == 1 && state_of(ledger).bounced == 1));
    assert_true(waits(ledger, 7) && has_bounced(ledger, 10007));
    assert_int_equal(wait_of(ledger, 7).first, now - 15 * DAY);
    assert_false(waits(ledger, 8) || has_bounced(ledger, 10008));
    ledger_close(ledger);
}

/* A whole sweep has passed when the one who waits longest is this old one. */
static void wait_for_a_sweep(struct ledger *ledger, uint64_t number, int64_t age)
{
    defer(ledger, number, clock_wall_s() - age);
    assert_true(wait_for(waits(ledger, number)));
    forget(ledger, number);
    assert_true(wait_for(!waits(ledger, number)));
    assert_true(wait_for(state_of(ledger).oldest_waiting_s < age)); /* looked for anew */
}

static void after_a_step_of_the_clock_nothing_is_swept_for_a_day(void **state)
{
    (void)state;
    struct ledger *ledger = open_quick();
    int64_t now = clock_wall_s();
    defer(ledger, 1, now - 100);
    wait_for_a_sweep(ledger, 50, DAY);
    ledger_set_ttl(ledger, 14 * DAY);
    atomic_store(&wall_ahead_s, 40 * DAY);
    for (uint64_t i = 51; i < 54; i++)
        wait_for_a_sweep(ledger, i, 100 * DAY);
    assert_true(waits(ledger, 1));
    atomic_store(&wall_ahead_s, 0); /* and back: it comes from the future, and stays so */
    defer(ledger, 2, now + 39 * DAY);
    wait_for_a_sweep(ledger, 54, 200 * DAY);
    assert_int_equal(wait_of(ledger, 2).last, now + 39 * DAY);

    atomic_store(&mono_ahead_s, 15 * DAY); /* later, on both clocks */
    atomic_store(&wall_ahead_s, 15 * DAY);
    assert_true(wait_for(!waits(ledger, 1)));
    assert_true(wait_for(wait_of(ledger, 2).last < now + 16 * DAY)); /* mended */
    assert_true(wait_of(ledger, 2).first < now + 16 * DAY);
    ledger_close(ledger);
}

static void the_first_sweep_after_a_start_removes_nothing(void **state)
{
    (void)state;
    struct ledger *ledger = open_quick();
    defer(ledger, 1, clock_wall_s() - 40 * DAY);
    ledger_close(ledger);
    struct ledger_limits limits = quick_limits();
    limits.sweep_ms = 60 * 60 * 1000;
    ledger = open_with(limits);
    ledger_set_ttl(ledger, 14 * DAY);
    assert_true(wait_for(state_of(ledger).waiting == 1));
    assert_true(flushed(ledger));
    assert_true(waits(ledger, 1));
    ledger_close(ledger);
}

/* ---- looking at all of them ---- */

struct looking {
    unsigned char seen[4000];
    unsigned count, stop_at, wrong;
};

static bool look(struct looking *looking, const char *recipient)
{
    unsigned number;
    if (sscanf(recipient, "user%u@example.test", &number) == 1 && number < sizeof looking->seen)
        looking->seen[number]++;
    else
        looking->wrong++;
    return ++looking->count != looking->stop_at;
}

static bool look_waiting(void *context, const struct ledger_waiting *waiting)
{
    return look(context, waiting->recipient);
}

static bool look_bounced(void *context, const struct ledger_bounced *bounced)
{
    return look(context, bounced->recipient);
}

static void each_is_seen_once_and_it_stops_when_told(void **state)
{
    (void)state;
    struct ledger *ledger = open_quick();
    struct looking waiting = {.count = 0}, bounced = {.count = 0}, stopped = {.stop_at = 300};
    assert_true(ledger_each_waiting(ledger, look_waiting, &waiting));
    assert_int_equal(waiting.count, 0);
    for (uint64_t i = 0; i < 4000; i++)
        i % 4 ? defer(ledger, i, NOW) : bounce(ledger, i, NOW);
    assert_true(flushed(ledger));
    assert_true(ledger_each_waiting(ledger, look_waiting, &waiting));
    assert_true(ledger_each_bounced(ledger, look_bounced, &bounced));
    assert_int_equal(waiting.count, 3000);
    assert_int_equal(bounced.count, 1000);
    assert_int_equal(waiting.wrong + bounced.wrong, 0);
    for (unsigned i = 0; i < 4000; i++) {
        assert_int_equal(waiting.seen[i], i % 4 != 0);
        assert_int_equal(bounced.seen[i], i % 4 == 0);
    }
    assert_true(ledger_each_waiting(ledger, look_waiting, &stopped));
    assert_int_equal(stopped.count, 300);
    ledger_close(ledger);
}

/* ---- crowds ---- */

struct crowd {
    struct ledger *ledger;
    _Atomic bool stop;
    _Atomic uint64_t found, shown, wrong;
};

static bool crowd_look(void *context, const struct ledger_waiting *waiting)
{
    struct crowd *crowd = context;
    atomic_fetch_add(&crowd->shown, 1);
    if (strncmp(waiting->recipient, "user", 4) != 0)
        atomic_fetch_add(&crowd->wrong, 1);
    return true;
}

static void *crowd_reader(void *context)
{
    struct crowd *crowd = context;
    for (uint64_t i = 0; !atomic_load(&crowd->stop); i++) {
        struct ledger_waiting expected = waiting_of(i % 500),
                              waiting = wait_of(crowd->ledger, i % 500);
        if (i % 997 == 0 && !ledger_each_waiting(crowd->ledger, crowd_look, crowd))
            atomic_fetch_add(&crowd->wrong, 1);
        state_of(crowd->ledger);
        if (waiting.count == 0)
            continue;
        atomic_fetch_add(&crowd->found, 1);
        if (strcmp(waiting.recipient, expected.recipient) != 0 || waiting.first != NOW)
            atomic_fetch_add(&crowd->wrong, 1);
    }
    return NULL;
}

/* Without the pause the queue is always full, and then only what ends entries gets in. */
static void *crowd_writer(void *context)
{
    struct crowd *crowd = context;
    for (uint64_t i = 0; !atomic_load(&crowd->stop); i++) {
        if (i % 50 == 0)
            test_pause();
        defer(crowd->ledger, i % 500, NOW);
        if (i % 7 == 0)
            bounce(crowd->ledger, i % 500, NOW);
        if (i % 11 == 0)
            forget(crowd->ledger, i % 500);
    }
    return NULL;
}

static void a_crowd_sees_what_was_written_and_the_count_stays_right(void **state)
{
    (void)state;
    struct ledger_limits limits = quick_limits();
    limits.sweep_ms = 60 * 60 * 1000; /* one, and no other to mend the count */
    struct crowd crowd = {.ledger = open_with(limits)};
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, i < 5 ? crowd_reader : crowd_writer, &crowd), 0);
    assert_true(wait_for(atomic_load(&crowd.found) > 1000 && atomic_load(&crowd.shown) > 1000));
    atomic_store(&crowd.stop, true);
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&crowd.wrong), 0);
    defer(crowd.ledger, 2000, NOW);
    struct deadline limit = deadline_in_ms(WAIT_MS);
    while (!waits(crowd.ledger, 2000) && !deadline_passed(limit)) {
        test_pause();
        defer(crowd.ledger, 2000, NOW); /* the queue was full */
    }
    assert_true(flushed(crowd.ledger));
    unsigned waiting = 0, bounced = 0;
    for (uint64_t i = 0; i <= 2000; i++) {
        waiting += waits(crowd.ledger, i);
        bounced += has_bounced(crowd.ledger, i);
    }
    assert_true(wait_for(state_of(crowd.ledger).waiting == waiting));
    assert_true(wait_for(state_of(crowd.ledger).bounced == bounced));
    ledger_close(crowd.ledger);
}

/* ---- trouble ---- */

static void kill_9_loses_nothing_that_was_written(void **state)
{
    (void)state;
    int says[2];
    char done = 0;
    assert_int_equal(pipe(says), 0);
    pid_t child = fork();
    if (child == 0) {
        struct ledger *ledger = open_quick();
        for (uint64_t i = 0; i < 2000; i++)
            i % 2 ? defer(ledger, i, NOW) : bounce(ledger, i, NOW);
        if (!flushed(ledger) || write(says[1], "x", 1) != 1)
            _exit(1);
        for (uint64_t i = 10000;; i++) /* it is in the middle of the next */
            defer(ledger, i, NOW);
    }
    close(says[1]);
    assert_int_equal(read(says[0], &done, 1), 1);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(says[0]);
    struct ledger *ledger = open_quick();
    for (uint64_t i = 0; i < 2000; i++)
        assert_true(i % 2 ? waits(ledger, i) : has_bounced(ledger, i));
    assert_true(state_of(ledger).works);
    ledger_close(ledger);
    assert_int_equal(logged("ledger"), 0);
}

static void scribble_behind(off_t from)
{
    char path[256], page[PAGE];
    struct stat status;
    memset(page, 0xa5, sizeof page);
    int fd = open(scratch_path(path, "ledger.mdb"), O_WRONLY | O_CLOEXEC);
    assert_int_equal(fstat(fd, &status), 0);
    for (off_t at = from; at < status.st_size; at += PAGE)
        assert_int_equal(pwrite(fd, page, sizeof page, at), PAGE);
    close(fd);
}

static void a_damaged_file_is_one_error_line_and_an_empty_ledger(void **state)
{
    (void)state;
    for (int while_open = 0; while_open < 2; while_open++) {
        unsigned errors = logged("error:");
        struct ledger *ledger = open_quick();
        for (uint64_t i = 0; i < 500; i++)
            defer(ledger, i, NOW);
        assert_true(flushed(ledger));
        assert_true(wait_for(state_of(ledger).waiting == 500));
        if (!while_open)
            ledger_close(ledger);
        scribble_behind(while_open ? 2 * PAGE : 0);
        if (!while_open)
            ledger = open_quick();
        defer(ledger, 1000, NOW);
        assert_true(wait_for(waits(ledger, 1000)));
        assert_false(waits(ledger, 1));
        assert_true(wait_for(state_of(ledger).waiting == 1 && state_of(ledger).works));
        bounce(ledger, 1000, NOW);
        assert_true(wait_for(has_bounced(ledger, 1000)));
        ledger_close(ledger);
        assert_int_equal(logged("error:") - errors, 1);
        assert_int_equal(logged("ledger.mdb.corrupt"), while_open + 1);
    }
}

static void without_a_directory_it_knows_nobody_until_it_comes(void **state)
{
    (void)state;
    char path[256];
    struct looking looking = {.count = 0};
    struct ledger *ledger = ledger_open(scratch_path(path, "state"), quick_limits());
    assert_non_null(ledger);
    assert_false(state_of(ledger).works);
    assert_non_null(strstr(state_of(ledger).why.text, "No such file or directory"));
    assert_false(waits(ledger, 1));
    assert_false(ledger_each_waiting(ledger, look_waiting, &looking));
    defer(ledger, 1, NOW);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_true(wait_for(waits(ledger, 1))); /* it had waited */
    assert_true(wait_for(state_of(ledger).works));
    assert_int_equal(wait_of(ledger, 1).absence.asked, 3);
    ledger_close(ledger);
    assert_int_equal(logged("error:"), 1);
    assert_int_equal(logged("works again"), 1);
}

static void a_full_map_keeps_what_is_in_it_and_the_count(void **state)
{
    (void)state;
    struct ledger_limits limits = quick_limits();
    limits.map_bytes = 256 << 10;
    struct ledger *ledger = open_with(limits);
    for (uint64_t i = 0; i < 100; i++)
        defer(ledger, i, NOW);
    assert_true(wait_for(state_of(ledger).waiting == 100));
    for (uint64_t i = 1000; i < 10000; i++)
        defer(ledger, i, NOW);
    assert_true(wait_for(!state_of(ledger).works));
    assert_non_null(strstr(state_of(ledger).why.text, "MDB_MAP_FULL"));
    uint64_t found = 0;
    for (uint64_t i = 0; i < 10000; i++)
        found += waits(ledger, i);
    assert_true(waits(ledger, 0) && waits(ledger, 99));
    assert_true(wait_for(state_of(ledger).waiting == found));
    ledger_close(ledger);
    assert_int_equal(logged("error:"), 1);
    assert_int_equal(logged("corrupt"), 0);
}

#define LEDGER_TEST(test) cmocka_unit_test_setup_teardown(test, fresh_directory, remove_directory)

int main(void)
{
    if (!digest_init())
        return 1;
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(who_was_deferred_waits_with_all_that_was_said),
        LEDGER_TEST(a_deferral_counts_on_and_keeps_the_first),
        LEDGER_TEST(a_bounce_ends_the_waiting_and_is_counted),
        LEDGER_TEST(one_recipient_can_wait_and_have_bounced),
        LEDGER_TEST(who_is_found_is_forgotten_in_both_kinds),
        LEDGER_TEST(news_of_one_round_counts_in_the_order_it_came),
        LEDGER_TEST(what_was_written_is_there_and_counted_after_a_restart),
        LEDGER_TEST(the_oldest_is_known_and_followed),
        LEDGER_TEST(when_the_oldest_leaves_the_next_is_looked_for_before_the_sweep_is_due),
        LEDGER_TEST(the_count_is_exact_although_others_come_meanwhile),
        LEDGER_TEST(the_files_are_for_nobody_else),
        LEDGER_TEST(the_longest_strings_come_back_cut_between_characters),
        LEDGER_TEST(hostile_bytes_come_back_as_they_were),
        cmocka_unit_test(what_does_not_decode_is_no_entry),
        LEDGER_TEST(the_old_stay_and_the_new_are_refused_and_counted),
        LEDGER_TEST(the_bounds_hold_after_a_restart),
        LEDGER_TEST(the_expired_make_room),
        LEDGER_TEST(a_full_queue_refuses_entries_before_it_refuses_to_forget),
        LEDGER_TEST(an_absence_from_before_a_lost_forgetting_proves_nothing),
        LEDGER_TEST(both_kinds_age_out_by_their_last_activity),
        LEDGER_TEST(after_a_step_of_the_clock_nothing_is_swept_for_a_day),
        LEDGER_TEST(the_first_sweep_after_a_start_removes_nothing),
        LEDGER_TEST(each_is_seen_once_and_it_stops_when_told),
        LEDGER_TEST(a_crowd_sees_what_was_written_and_the_count_stays_right),
        LEDGER_TEST(kill_9_loses_nothing_that_was_written),
        LEDGER_TEST(a_damaged_file_is_one_error_line_and_an_empty_ledger),
        LEDGER_TEST(without_a_directory_it_knows_nobody_until_it_comes),
        LEDGER_TEST(a_full_map_keeps_what_is_in_it_and_the_count),
    };
    return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
