#include "db/known_good.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "db/known_good_entry.h"
#include "db/lmdb_file.h"
#include "db/lmdb_writer.h"
#include "shared/clock.h"
#include "shared/log.h"
#include "shared/text.h"

enum {
    SLICE = 10000,    /* entries a sweep reads, and then changes, in one transaction; or learned */
    SWEEP_SHARE = 10, /* the part of a round that a sweep may take is one in so many */
    CLOSE_MS = 5000,
    LEARN_MS = 60000,
};

/* One thing the directory said. */
struct news {
    struct digest key; /* first: lmdb_file.h */
    bool gone;
    int64_t now;
};

/* Somebody waits for it. The last of the two to let go of it frees it. */
struct learning {
    struct learning *next;
    struct digest *keys; /* its own */
    size_t count;
    int64_t now;
    bool done, left_alone; /* the store's lock */
    bool ok;               /* once done, like `fault` */
    struct fault fault;
};

struct known_good {
    struct known_good_limits limits; /* set once, like `file` */
    struct lmdb_file *file;
    pthread_t writer;
    _Atomic int64_t ttl_s; /* 0: never set */

    pthread_mutex_t lock;
    pthread_cond_t wake; /* the writer: more to do than to wait for the next round */
    pthread_cond_t done; /* a learning is done, or the writer */
    struct news *queue;  /* lock, and to `state` */
    size_t queued;
    struct learning *learnings;
    bool stopping, stopped;
    int64_t oldest; /* when; 0 */
    struct known_good_state state;

    /* The writer's. */
    struct news *batch; /* taken from the queue and not yet written */
    size_t batched;
    struct lmdb_writer writing;
    struct clock_watch watch;
    struct {
        struct lmdb_walk walk;
        bool running, removes;
        unsigned past; /* sweeps that came to their end */
        int64_t now, oldest;
        struct deadline next;
        struct digest *keys; /* of a slice */
        size_t count;
        bool changes; /* one of them is to be removed or mended */
    } sweep;
};

struct known_good_limits known_good_limits(void)
{
    return (struct known_good_limits){
        .map_bytes = (size_t)2 << 30,
        .queue = 100000,
        .round_ms = 1000,
        .retry_ms = 5000,
        .sweep_ms = 3600 * 1000,
    };
}

/* Other entries than before: they are counted now. */
static void sweep_anew(void *owner)
{
    struct known_good *store = owner;
    store->sweep.running = false;
    store->sweep.next = (struct deadline){0};
}

/* ---- writing ---- */

static int compare_news(const void *left, const void *right)
{
    const struct news *a = left, *b = right;
    int order = memcmp(a->key.bytes, b->key.bytes, sizeof a->key.bytes);
    if (order != 0)
        return order;
    if (a->now != b->now)
        return a->now < b->now ? -1 : 1;
    return (int)b->gone - (int)a->gone; /* in doubt it was confirmed last */
}

static size_t news_edit(void *context, const void *item, unsigned char value[LMDB_VALUE_MAX],
                        size_t length)
{
    const struct news *news = item;
    const int64_t *ttl_s = context;
    struct known_good_entry entry;
    bool there = entry_read(&entry, value, length);
    if (news->gone && !there)
        return length;
    if (news->gone)
        entry_mark_gone(&entry, news->now);
    else
        entry_confirm(&entry, news->now, *ttl_s);
    return entry_write(&entry, value);
}

static bool write_news(struct known_good *store)
{
    if (store->batched == 0)
        return true;
    int64_t ttl_s = atomic_load(&store->ttl_s);
    qsort(store->batch, store->batched, sizeof *store->batch, compare_news);
    struct lmdb_batch batch = {.items = store->batch,
                               .item_bytes = sizeof *store->batch,
                               .count = store->batched,
                               .edit = news_edit,
                               .context = &ttl_s};
    if (!lmdb_writer_write(&store->writing, &batch))
        return false;
    store->batched = 0;
    return true;
}

struct confirming {
    int64_t now, ttl_s;
};

static size_t learning_edit(void *context, const void *item, unsigned char value[LMDB_VALUE_MAX],
                            size_t length)
{
    (void)item;
    const struct confirming *confirming = context;
    struct known_good_entry entry;
    entry_read(&entry, value, length);
    entry_confirm(&entry, confirming->now, confirming->ttl_s);
    return entry_write(&entry, value);
}

/* LMDB keeps the memory of its largest transaction for ever. Since the keys are sorted, several
 * small ones write hardly more pages than a large one. */
static bool write_in_slices(struct known_good *store, const struct learning *learning)
{
    struct confirming confirming = {.now = learning->now, .ttl_s = atomic_load(&store->ttl_s)};
    bool written = true;
    for (size_t at = 0; at < learning->count && written; at += SLICE) {
        size_t left = learning->count - at;
        struct lmdb_batch batch = {.items = learning->keys + at,
                                   .item_bytes = sizeof *learning->keys,
                                   .count = left < SLICE ? left : SLICE,
                                   .edit = learning_edit,
                                   .context = &confirming};
        written = lmdb_writer_write(&store->writing, &batch);
    }
    return written;
}

static bool write_learning(struct known_good *store, const struct learning *learning)
{
    unsigned empties = store->writing.empties;
    bool written = write_in_slices(store, learning);
    if (written && store->writing.empties != empties) /* what was written before that is lost */
        written = write_in_slices(store, learning);
    return written;
}

/* ---- sweeping ---- */

static void sweep_visit(void *context, const struct digest *key, const void *value, size_t length)
{
    struct known_good *store = context;
    struct known_good_entry entry, swept;
    bool stays = entry_read(&entry, value, length);
    swept = entry;
    if (store->sweep.removes)
        stays = stays && entry_sweep(&swept, store->sweep.now, atomic_load(&store->ttl_s));
    if (!stays || memcmp(&entry, &swept, sizeof entry) != 0)
        store->sweep.changes = true;
    if (stays && (store->sweep.oldest == 0 || swept.confirmed < store->sweep.oldest))
        store->sweep.oldest = swept.confirmed;
    store->sweep.keys[store->sweep.count++] = *key;
}

static size_t sweep_edit(void *context, const void *item, unsigned char value[LMDB_VALUE_MAX],
                         size_t length)
{
    (void)item;
    const struct confirming *sweeping = context;
    struct known_good_entry entry;
    if (!entry_read(&entry, value, length) || !entry_sweep(&entry, sweeping->now, sweeping->ttl_s))
        return 0;
    return entry_write(&entry, value);
}

/* False: not further now. */
static bool sweep_slice(struct known_good *store)
{
    store->sweep.count = 0;
    store->sweep.changes = false;
    if (!lmdb_file_walk(store->file, &store->sweep.walk, SLICE, sweep_visit, store))
        return false;
    if (!store->sweep.changes || !store->sweep.removes)
        return true;
    /* All keys of the slice, so that all its pages are looked at before one is changed. */
    struct confirming sweeping = {.now = store->sweep.now, .ttl_s = atomic_load(&store->ttl_s)};
    struct lmdb_batch batch = {.items = store->sweep.keys,
                               .item_bytes = sizeof *store->sweep.keys,
                               .count = store->sweep.count,
                               .edit = sweep_edit,
                               .context = &sweeping,
                               .deletes = true};
    /* A full disk does not take this, too: whoever has news to write says so. */
    return lmdb_file_edit(store->file, &batch, NULL);
}

static void sweep_end(struct known_good *store, bool whole)
{
    store->sweep.running = false;
    store->sweep.next = deadline_in_ms(store->limits.sweep_ms);
    if (!whole)
        return;
    store->sweep.past++;
    pthread_mutex_lock(&store->lock);
    store->oldest = store->sweep.oldest;
    pthread_mutex_unlock(&store->lock);
}

static void sweep_on(struct known_good *store)
{
    int64_t now = clock_wall_s();
    bool trusted = clock_watch_trusts(&store->watch, now, clock_mono_ms());
    if (!store->sweep.running && !deadline_passed(store->sweep.next))
        return;
    if (!store->sweep.running) {
        store->sweep.walk = (struct lmdb_walk){0};
        store->sweep.oldest = 0;
        store->sweep.running = true;
    }
    /* The first one only counts: a host that starts with a wrong clock has until the second to set
     * it right, which is then seen as a step. */
    store->sweep.removes = trusted && store->sweep.past > 0;
    store->sweep.now = now;
    struct deadline deadline = deadline_in_ms(store->limits.round_ms / SWEEP_SHARE);
    do {
        bool read = sweep_slice(store);
        if (!read || store->sweep.walk.ended) {
            sweep_end(store, read);
            break;
        }
    } while (!deadline_passed(deadline));
}

/* ---- the writer ---- */

static void learning_free(struct learning *learning)
{
    free(learning->keys);
    free(learning);
}

/* Takes what there is to do. True when the writer is to stop after it. */
static bool take_work(struct known_good *store, struct learning **learnings)
{
    struct deadline round = deadline_in_ms(store->limits.round_ms);
    pthread_mutex_lock(&store->lock);
    while (!store->stopping && !store->learnings &&
           (store->batched > 0 || store->queued <= store->limits.queue / 2) &&
           clock_cond_wait(&store->wake, &store->lock, round))
        ;
    if (store->batched == 0) {
        struct news *taken = store->queue;
        store->queue = store->batch;
        store->batch = taken;
        store->batched = store->queued;
        store->queued = 0;
    }
    *learnings = store->learnings;
    store->learnings = NULL;
    bool stopping = store->stopping;
    pthread_mutex_unlock(&store->lock);
    return stopping;
}

static void finish_learnings(struct known_good *store, struct learning *learnings)
{
    pthread_mutex_lock(&store->lock);
    while (learnings) {
        struct learning *learning = learnings;
        learnings = learning->next;
        learning->done = true;
        if (learning->left_alone)
            learning_free(learning);
    }
    pthread_cond_broadcast(&store->done);
    pthread_mutex_unlock(&store->lock);
}

static void publish(struct known_good *store)
{
    struct lmdb_size size = lmdb_file_size(store->file);
    pthread_mutex_lock(&store->lock);
    store->state.works = store->writing.works;
    store->state.why = store->writing.why;
    store->state.entries = size.entries;
    store->state.file_bytes = size.file_bytes;
    pthread_mutex_unlock(&store->lock);
}

/* What cannot be written stays: the batch here, what comes after it in the queue. */
static void work_round(struct known_good *store, struct learning *learnings, bool stopping)
{
    bool due = lmdb_writer_due(&store->writing) || stopping || learnings;
    bool written = due && lmdb_writer_tend(&store->writing) && write_news(store);
    if (written && !store->writing.works)
        written = lmdb_writer_probe(&store->writing);
    for (struct learning *learning = learnings; learning; learning = learning->next) {
        learning->ok = written && write_learning(store, learning);
        learning->fault = store->writing.why;
    }
    if (!stopping)
        sweep_on(store);
    publish(store);
    finish_learnings(store, learnings);
}

static void *writer_main(void *context)
{
    struct known_good *store = context;
    struct learning *learnings;
    bool stopping = false;
    while (!stopping) {
        stopping = take_work(store, &learnings);
        work_round(store, learnings, stopping);
    }
    pthread_mutex_lock(&store->lock);
    bool more = store->queued > 0 && store->writing.works; /* came while an older batch waited */
    pthread_mutex_unlock(&store->lock);
    if (more) {
        take_work(store, &learnings);
        work_round(store, learnings, true);
    }
    pthread_mutex_lock(&store->lock);
    store->stopped = true;
    pthread_cond_broadcast(&store->done);
    pthread_mutex_unlock(&store->lock);
    return NULL;
}

/* ---- the interface ---- */

static void store_free(struct known_good *store)
{
    lmdb_file_close(store->file);
    pthread_cond_destroy(&store->wake);
    pthread_cond_destroy(&store->done);
    pthread_mutex_destroy(&store->lock);
    free(store->queue);
    free(store->batch);
    free(store->sweep.keys);
    free(store);
}

struct known_good *known_good_open(const char *directory, struct known_good_limits limits)
{
    struct known_good *store = calloc(1, sizeof *store);
    if (!store)
        return NULL;
    char base[PATH_MAX];
    struct text path = text_on(base, sizeof base);
    text_addf(&path, "%s/known-good", directory);
    pthread_mutex_init(&store->lock, NULL);
    clock_cond_init(&store->wake);
    clock_cond_init(&store->done);
    store->limits = limits;
    store->file = lmdb_file_create(base, limits.map_bytes);
    store->queue = calloc(limits.queue, sizeof *store->queue);
    store->batch = calloc(limits.queue, sizeof *store->batch);
    store->sweep.keys = calloc(SLICE, sizeof *store->sweep.keys);
    if (store->file && store->queue && store->batch && store->sweep.keys) {
        store->writing = (struct lmdb_writer){
            .name = "known-good store",
            .broken = "nobody new is remembered",
            .emptied = "it knows nobody until the directory confirms them or `rcptctl learn` fills "
                       "it again",
            .retry_ms = limits.retry_ms,
            .file = store->file,
            .renewed = sweep_anew,
            .owner = store,
        };
        lmdb_writer_begin(&store->writing); /* whoever asks now is answered from it */
        publish(store);
        if (pthread_create(&store->writer, NULL, writer_main, store) == 0)
            return store;
    }
    store_free(store);
    return NULL;
}

void known_good_close(struct known_good *store)
{
    if (!store)
        return;
    struct deadline deadline = deadline_in_ms(CLOSE_MS);
    pthread_mutex_lock(&store->lock);
    store->stopping = true;
    pthread_cond_signal(&store->wake);
    while (!store->stopped && clock_cond_wait(&store->done, &store->lock, deadline))
        ;
    bool stopped = store->stopped;
    pthread_mutex_unlock(&store->lock);
    if (!stopped) { /* a disk that hangs; the process ends all the same */
        log_error("known-good store: the disk does not answer; what was to be written is lost");
        pthread_detach(store->writer);
        return;
    }
    pthread_join(store->writer, NULL);
    store_free(store);
}

void known_good_set_ttl(struct known_good *store, int64_t ttl_s)
{
    atomic_store(&store->ttl_s, ttl_s);
}

bool known_good_find(struct known_good *store, const struct digest *key,
                     struct known_good_entry *entry)
{
    unsigned char value[ENTRY_BYTES];
    return entry_read(entry, value, lmdb_file_get(store->file, key, value, sizeof value));
}

static void queue_news(struct known_good *store, const struct digest *key, int64_t now, bool gone)
{
    pthread_mutex_lock(&store->lock);
    if (store->queued < store->limits.queue)
        store->queue[store->queued++] = (struct news){.key = *key, .gone = gone, .now = now};
    else
        store->state.dropped++;
    if (store->queued > store->limits.queue / 2)
        pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->lock);
}

void known_good_confirm(struct known_good *store, const struct digest *key, int64_t now)
{
    queue_news(store, key, now, false);
}

void known_good_mark_gone(struct known_good *store, const struct digest *key, int64_t now)
{
    queue_news(store, key, now, true);
}

static int compare_keys(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct digest));
}

/* The writer works on a copy: who asked leaves when a minute is over, whatever the disk does. */
static struct learning *learning_create(const struct digest *keys, size_t count, int64_t now)
{
    struct learning *learning = calloc(1, sizeof *learning);
    struct digest *copy = malloc((count + 1) * sizeof *copy);
    if (!learning || !copy) {
        free(learning);
        free(copy);
        return NULL;
    }
    if (count > 0)
        memcpy(copy, keys, count * sizeof *copy);
    *learning = (struct learning){.keys = copy, .count = count, .now = now};
    return learning;
}

bool known_good_learn(struct known_good *store, struct digest *keys, size_t count, int64_t now,
                      struct fault *fault)
{
    struct deadline deadline = deadline_in_ms(LEARN_MS);
    if (count > 0)
        qsort(keys, count, sizeof *keys, compare_keys);
    struct learning *learning = learning_create(keys, count, now);
    if (!learning) {
        fault_set(fault, "known-good store: no memory for %zu recipients", count);
        return false;
    }
    pthread_mutex_lock(&store->lock);
    struct learning **end = &store->learnings;
    while (*end)
        end = &(*end)->next;
    *end = learning;
    pthread_cond_signal(&store->wake);
    while (!learning->done && clock_cond_wait(&store->done, &store->lock, deadline))
        ;
    bool done = learning->done;
    learning->left_alone = !done;
    pthread_mutex_unlock(&store->lock);
    if (!done) {
        fault_set(fault, "known-good store: not written within %d s", LEARN_MS / 1000);
        return false;
    }
    bool ok = learning->ok;
    if (!ok)
        fault_set(fault, "known-good store: %s", learning->fault.text);
    learning_free(learning);
    return ok;
}

void known_good_describe(struct known_good *store, struct known_good_state *state)
{
    pthread_mutex_lock(&store->lock);
    *state = store->state;
    int64_t oldest = store->oldest;
    pthread_mutex_unlock(&store->lock);
    int64_t age = oldest ? clock_wall_s() - oldest : 0;
    state->oldest_s = age > 0 ? age : 0;
}
