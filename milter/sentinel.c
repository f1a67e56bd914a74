#include "milter/sentinel.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "milter/app.h"
#include "milter/guard.h"

/* ---- the list ---- */

static const char separators[] = ", \t\r\n";

static size_t count_words(const char *text)
{
    size_t count = 0;
    for (text += strspn(text, separators); *text; text += strspn(text, separators), count++)
        text += strcspn(text, separators);
    return count;
}

struct sentinel_list *sentinel_list_read(const struct settings *settings, struct fault *fault)
{
    const char *at = settings->sentinel_recipients;
    size_t count = count_words(at);
    struct sentinel_list *list = malloc(sizeof *list + count * sizeof list->addresses[0]);
    if (!list) {
        fault_set(fault, "out of memory");
        return NULL;
    }
    for (list->count = 0; list->count < count; list->count++) {
        at += strspn(at, separators);
        size_t length = strcspn(at, separators);
        if (address_parse(at, length, &list->addresses[list->count]) != ADDRESS_OK) {
            fault_set(fault, "%s: sentinel_recipients: \"%.*s\" is not an address",
                      settings_where(settings, "sentinel_recipients"), (int)length, at);
            free(list);
            return NULL;
        }
        at += length;
    }
    return list;
}

/* ---- the rounds ---- */

enum found { FOUND_UNKNOWN = 0, FOUND_ALL, FOUND_ONE_MISSING };

struct sentinel {
    struct app *app;     /* set once */
    struct guard *guard; /* set once */
    pthread_t thread;    /* set once */

    pthread_mutex_t lock;
    pthread_cond_t work;  /* for the thread: a round is wanted, the end */
    pthread_cond_t ended; /* for those who wait for a round */
    uint64_t wanted;      /* lock, as the rest: number of the last round somebody waits for */
    uint64_t begun;       /* number of the last round that began */
    uint64_t done;        /* number of the last round that ended, */
    enum found found;     /* and its result */
    unsigned waiting;
    bool stopping;
};

static enum found ask_one(const struct snapshot *snapshot, const struct address *address,
                          struct deadline deadline)
{
    struct outcome outcome;
    resolver_find(snapshot->resolver, address, LOOKUP_ASK_NOW, deadline, NULL, &outcome);
    guard_note(snapshot->guard, &outcome, snapshot->settings);
    if (!outcome.asked_now)
        return FOUND_UNKNOWN;
    bool missing = outcome.standing == STANDING_ABSENT || outcome.standing == STANDING_FOREIGN;
    return missing ? FOUND_ONE_MISSING : FOUND_ALL;
}

/* Without the lock. One deadline for the whole round, so that no snapshot is held for longer. */
static enum found ask_all(struct sentinel *sentinel, const struct snapshot *snapshot)
{
    const struct sentinel_list *list = snapshot->sentinels;
    struct deadline deadline = deadline_in_ms(snapshot->settings->lookup_deadline_ms);
    enum found all = FOUND_ALL;
    for (size_t i = 0; i < list->count; i++) {
        enum found one = ask_one(snapshot, &list->addresses[i], deadline);
        if (one == FOUND_ONE_MISSING) {
            guard_sentinel_missing(sentinel->guard, list->addresses[i].key);
            return one;
        }
        if (one == FOUND_UNKNOWN)
            all = one;
    }
    if (all == FOUND_ALL)
        guard_sentinel_missing(sentinel->guard, NULL);
    return all;
}

/* Lock held; given up while it asks. The time until the next round, in ms. */
static int64_t run_round(struct sentinel *sentinel)
{
    uint64_t number = ++sentinel->begun;
    enum found found = FOUND_UNKNOWN;
    int64_t interval_ms = 1000;
    pthread_mutex_unlock(&sentinel->lock);
    struct snapshot *snapshot = app_take(sentinel->app);
    if (snapshot) {
        found = ask_all(sentinel, snapshot);
        interval_ms = snapshot->settings->sentinel_interval_s * 1000;
        app_drop(sentinel->app, snapshot);
    }
    pthread_mutex_lock(&sentinel->lock);
    sentinel->done = number;
    sentinel->found = found;
    pthread_cond_broadcast(&sentinel->ended);
    return interval_ms;
}

static void *sentinel_main(void *argument)
{
    struct sentinel *sentinel = argument;
    pthread_mutex_lock(&sentinel->lock);
    while (!sentinel->stopping) {
        struct deadline next = deadline_in_ms(run_round(sentinel));
        while (!sentinel->stopping && sentinel->wanted <= sentinel->begun)
            if (!clock_cond_wait(&sentinel->work, &sentinel->lock, next))
                break;
    }
    pthread_mutex_unlock(&sentinel->lock);
    return NULL;
}

struct sentinel *sentinel_start(struct app *app, struct guard *guard)
{
    struct sentinel *sentinel = calloc(1, sizeof *sentinel);
    if (!sentinel)
        return NULL;
    sentinel->app = app;
    sentinel->guard = guard;
    pthread_mutex_init(&sentinel->lock, NULL);
    clock_cond_init(&sentinel->work);
    clock_cond_init(&sentinel->ended);
    if (pthread_create(&sentinel->thread, NULL, sentinel_main, sentinel) != 0) {
        free(sentinel);
        return NULL;
    }
    return sentinel;
}

void sentinel_stop(struct sentinel *sentinel)
{
    if (!sentinel)
        return;
    pthread_mutex_lock(&sentinel->lock);
    sentinel->stopping = true;
    pthread_cond_signal(&sentinel->work);
    pthread_cond_broadcast(&sentinel->ended);
    pthread_mutex_unlock(&sentinel->lock);
    pthread_join(sentinel->thread, NULL);
}

/* Lock held. The number of the round that answers what is asked now. */
static uint64_t want_round(struct sentinel *sentinel)
{
    sentinel->wanted = sentinel->begun + 1;
    pthread_cond_signal(&sentinel->work);
    return sentinel->wanted;
}

void sentinel_reloaded(struct sentinel *sentinel)
{
    pthread_mutex_lock(&sentinel->lock);
    want_round(sentinel);
    pthread_mutex_unlock(&sentinel->lock);
}

bool sentinel_confirm(struct sentinel *sentinel, unsigned callers_max, struct deadline deadline)
{
    pthread_mutex_lock(&sentinel->lock);
    uint64_t mine = 0;
    bool in_time = !sentinel->stopping && sentinel->waiting < callers_max;
    if (in_time) {
        sentinel->waiting++;
        mine = want_round(sentinel);
        while (in_time && sentinel->done < mine && !sentinel->stopping)
            in_time = clock_cond_wait(&sentinel->ended, &sentinel->lock, deadline) ||
                      sentinel->done >= mine;
        sentinel->waiting--;
    }
    bool found = in_time && sentinel->done >= mine && sentinel->found == FOUND_ALL;
    pthread_mutex_unlock(&sentinel->lock);
    return found;
}
