#include "milter/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/meanwhile.h"
#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/log.h"
#include "shared/text.h"

enum {
    UNREADABLE_HOLD_S = 3600, /* somebody wanted no bounces, and nobody can say until when */
    HOLD_FILE_MAX = 32        /* bytes */
};

struct guard {
    char path[PATH_MAX]; /* set once: of the hold */
    pthread_mutex_t lock;
    int64_t held_until;             /* lock: wall clock, seconds; 0: no hold */
    bool answered;                  /* lock */
    bool failed_before;             /* lock: a lookup failed before the first answer */
    struct meanwhile since_failure; /* lock: the first of them */
    int64_t failed_at_ms;           /* lock: the same, monotonic */
    int64_t down_since; /* lock: monotonic ms of the first failure after an answer; 0: answering */

    struct vanished *vanished; /* lock, as the next two: a ring of the last vanish_limit */
    unsigned vanished_size, vanished_next;
    int64_t vanishing_until; /* lock: monotonic ms; 0: not engaged */

    char missing[GUARD_SENTINEL_MAX]; /* lock: the sentinel that is missing; "": none */
    int64_t missing_at_ms;            /* lock: monotonic: since when */
};

struct vanished {
    struct digest recipient;
    int64_t at_ms; /* monotonic; 0: nobody yet */
};

/* ---- the hold on disk ---- */

/* The file holds one number: the wall clock when the hold ends. */
static void read_hold(struct guard *guard)
{
    char text[HOLD_FILE_MAX] = "";
    uint64_t until;
    int fd = open(guard->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return;
    ssize_t got = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[strcspn(text, "\n")] = '\0';
    if (got > 0 && text_to_number(text, INT64_MAX, &until)) {
        guard->held_until = (int64_t)until;
        return;
    }
    guard->held_until = clock_wall_s() + UNREADABLE_HOLD_S;
    log_error("%s cannot be read: %s - nobody is bounced for an hour, or until rcptctl release",
              guard->path, got < 0 ? strerror(errno) : "it is no time");
}

static bool write_file(const char *path, int64_t until)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    bool written = dprintf(fd, "%" PRId64 "\n", until) > 0 && fsync(fd) == 0;
    return close(fd) == 0 && written;
}

/* A file is replaced whole or not at all. */
static bool write_hold(const struct guard *guard, int64_t until, struct fault *fault)
{
    char aside[PATH_MAX + 8];
    snprintf(aside, sizeof aside, "%s.new", guard->path);
    bool written = until == 0 ? unlink(guard->path) == 0 || errno == ENOENT
                              : write_file(aside, until) && rename(aside, guard->path) == 0;
    if (!written)
        fault_set(fault, "%s cannot be written: %s - a restart will not know of this", guard->path,
                  strerror(errno));
    return written;
}

struct guard *guard_open(const char *directory)
{
    struct guard *guard = calloc(1, sizeof *guard);
    if (!guard)
        return NULL;
    snprintf(guard->path, sizeof guard->path, "%s/hold", directory);
    pthread_mutex_init(&guard->lock, NULL);
    read_hold(guard);
    int64_t left = guard->held_until - clock_wall_s();
    if (left > 0)
        log_warning("rcptctl hold is in force for another %" PRId64 " s: nobody is bounced", left);
    return guard;
}

void guard_close(struct guard *guard)
{
    if (!guard)
        return;
    pthread_mutex_destroy(&guard->lock);
    free(guard->vanished);
    free(guard);
}

static bool set_hold(struct guard *guard, int64_t until, struct fault *fault)
{
    pthread_mutex_lock(&guard->lock);
    guard->held_until = until;
    pthread_mutex_unlock(&guard->lock);
    return write_hold(guard, until, fault);
}

bool guard_hold(struct guard *guard, int64_t seconds, struct fault *fault)
{
    log_warning("rcptctl hold: nobody is bounced for %" PRId64 " s", seconds);
    return set_hold(guard, clock_wall_s() + seconds, fault);
}

bool guard_release(struct guard *guard, struct fault *fault)
{
    log_info("rcptctl release: the hold is over");
    return set_hold(guard, 0, fault);
}

/* ---- the directory ---- */

void guard_directory_answered(struct guard *guard)
{
    if (!guard)
        return;
    pthread_mutex_lock(&guard->lock);
    bool first = !guard->answered && guard->failed_before;
    struct meanwhile since = guard->since_failure;
    int64_t failed_at_ms = guard->failed_at_ms;
    guard->answered = true;
    guard->down_since = 0;
    pthread_mutex_unlock(&guard->lock);
    char meanwhile[MEANWHILE_MAX];
    if (!first)
        return;
    meanwhile_print(&since, meanwhile);
    log_info("the directory has answered for the first time since the start, %.1f s after it was "
             "first asked%s",
             (double)(clock_mono_ms() - failed_at_ms) / 1000, meanwhile);
}

void guard_directory_failed(struct guard *guard)
{
    if (!guard)
        return;
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&guard->lock);
    bool never = !guard->answered && !guard->failed_before;
    guard->failed_before |= !guard->answered;
    if (never) {
        guard->failed_at_ms = now;
        meanwhile_begin(&guard->since_failure);
    }
    if (guard->down_since == 0)
        guard->down_since = now;
    pthread_mutex_unlock(&guard->lock);
    if (never)
        log_warning("the directory has not answered since the start: nobody is bounced for that");
}

/* ---- recipients that vanish ---- */

/* Lock held. False where there is no memory for the ring. Another limit after a reload begins
 * anew. */
static bool size_ring(struct guard *guard, unsigned size)
{
    if (guard->vanished_size == size)
        return true;
    free(guard->vanished);
    guard->vanished = calloc(size, sizeof *guard->vanished);
    guard->vanished_size = guard->vanished ? size : 0;
    guard->vanished_next = 0;
    return guard->vanished != NULL;
}

/* Lock held. Writes it into the ring, and counts it. True when it is one too many: the one it takes
 * the place of had vanished within the window, too. */
static bool one_too_many(struct guard *guard, const struct digest *recipient, int64_t now,
                         int64_t window_ms)
{
    for (unsigned i = 0; i < guard->vanished_size; i++)
        if (guard->vanished[i].at_ms != 0 && now - guard->vanished[i].at_ms < window_ms &&
            digest_equal(&guard->vanished[i].recipient, recipient))
            return false; /* the same one again: the store's mark is written a little later */
    struct vanished *oldest = &guard->vanished[guard->vanished_next];
    bool too_many = oldest->at_ms != 0 && now - oldest->at_ms < window_ms;
    *oldest = (struct vanished){*recipient, now};
    counter_add(COUNT_known_good_vanished);
    guard->vanished_next = (guard->vanished_next + 1) % guard->vanished_size;
    return too_many;
}

void guard_recipient_vanished(struct guard *guard, const struct digest *recipient,
                              struct settings_rate limit)
{
    if (!guard || limit.count == 0)
        return;
    int64_t now = clock_mono_ms(), window_ms = limit.window_s * 1000;
    bool engages = false;
    pthread_mutex_lock(&guard->lock);
    if (size_ring(guard, limit.count)) {
        bool too_many = one_too_many(guard, recipient, now, window_ms);
        engages = too_many && guard->vanishing_until == 0;
        if (too_many || guard->vanishing_until != 0)
            guard->vanishing_until = now + window_ms;
    }
    pthread_mutex_unlock(&guard->lock);
    if (engages)
        log_error("more than %u recipients that were known good have vanished from the directory "
                  "within %" PRId64 " s (vanish_limit), as if a table were being loaded: nobody is "
                  "bounced until none has vanished for that long",
                  limit.count, limit.window_s);
}

/* Lock held. How long it is engaged yet, in milliseconds; *ended: it was, and is no more. */
static int64_t vanishing_ms(struct guard *guard, int64_t now, bool *ended)
{
    *ended = guard->vanishing_until != 0 && guard->vanishing_until <= now;
    if (*ended)
        guard->vanishing_until = 0;
    return guard->vanishing_until ? guard->vanishing_until - now : 0;
}

static void say_vanishing_ended(bool ended)
{
    if (ended)
        log_info("known-good recipients vanish no more (vanish_limit)");
}

void guard_note(struct guard *guard, const struct outcome *outcome, const struct settings *settings)
{
    /* An action that is none is an answer all the same. */
    if (outcome->asked_now || outcome->interlock == INTERLOCK_BAD_ACTION)
        guard_directory_answered(guard);
    else if (outcome->directory_failed)
        guard_directory_failed(guard);
    if (outcome->vanished)
        guard_recipient_vanished(guard, &outcome->vanished_key, settings->vanish_limit);
}

/* ---- sentinels ---- */

void guard_sentinel_missing(struct guard *guard, const char *recipient)
{
    pthread_mutex_lock(&guard->lock);
    bool was_missing = guard->missing[0] != '\0';
    if (recipient && !was_missing)
        guard->missing_at_ms = clock_mono_ms();
    int64_t missing_ms = clock_mono_ms() - guard->missing_at_ms;
    snprintf(guard->missing, sizeof guard->missing, "%s", recipient ? recipient : "");
    pthread_mutex_unlock(&guard->lock);
    if (recipient && !was_missing)
        log_error(
            "the sentinel recipient %s is missing from the directory: nobody is bounced until "
            "it is back - is a table empty, or half loaded?",
            recipient);
    if (!recipient && was_missing)
        log_info("the sentinel recipients are all there again after %.1f s",
                 (double)missing_ms / 1000);
}

/* ---- the question ---- */

enum interlock guard_interlock(struct guard *guard, bool unavailable, int64_t outage_patience_s)
{
    enum interlock interlock = INTERLOCK_NONE;
    if (!guard)
        return interlock;
    int64_t now = clock_mono_ms(), wall = clock_wall_s();
    pthread_mutex_lock(&guard->lock);
    bool ended, vanishing = vanishing_ms(guard, now, &ended) > 0;
    if (guard->held_until > wall)
        interlock = INTERLOCK_HOLD;
    else if (guard->missing[0] != '\0')
        interlock = INTERLOCK_SENTINEL;
    else if (vanishing)
        interlock = INTERLOCK_VANISHING;
    else if (unavailable && !guard->answered)
        interlock = INTERLOCK_NO_ANSWER_YET;
    else if (unavailable && guard->down_since != 0 &&
             now - guard->down_since < outage_patience_s * 1000)
        interlock = INTERLOCK_OUTAGE;
    pthread_mutex_unlock(&guard->lock);
    say_vanishing_ended(ended);
    return interlock;
}

void guard_describe(struct guard *guard, struct guard_state *state)
{
    int64_t now = clock_mono_ms(), wall = clock_wall_s();
    pthread_mutex_lock(&guard->lock);
    state->held_s = guard->held_until > wall ? guard->held_until - wall : 0;
    state->answered = guard->answered;
    state->outage_s = guard->down_since ? (now - guard->down_since) / 1000 : -1;
    bool ended;
    state->vanishing_s = (vanishing_ms(guard, now, &ended) + 999) / 1000;
    memcpy(state->missing, guard->missing, sizeof state->missing);
    pthread_mutex_unlock(&guard->lock);
    say_vanishing_ended(ended);
}
