#include "db/ledger.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "db/known_good_entry.h"
#include "db/ledger_entry.h"
#include "db/ledger_show.h"
#include "db/ledger_tally.h"
#include "db/lmdb_file.h"
#include "db/lmdb_writer.h"
#include "shared/clock.h"
#include "shared/log.h"
#include "shared/text.h"

enum {
    SLICE = 1000,     /* entries a sweep reads, and then changes, in one transaction */
    SWEEP_SHARE = 10, /* the part of a round that a sweep may take is one in so many */
    CLOSE_MS = 5000,
};

/* One thing to be written. */
struct news {
    struct digest key;    /* first: lmdb_file.h. As stored: it says which kind */
    uint64_t order;       /* in which it came */
    unsigned char *entry; /* as stored, from malloc; NULL: there is to be none */
    size_t length;
};

struct ledger {
    struct ledger_limits limits; /* set once, like `file` */
    struct lmdb_file *file;
    pthread_t writer;
    _Atomic int64_t ttl_s;    /* 0: never set */
    _Atomic int64_t doubted;  /* an absence that began then or before was perhaps ended meanwhile */
    _Atomic bool keeps_track; /* what is found is erased, within a second or so */

    pthread_mutex_t lock;
    pthread_cond_t wake; /* the writer: more to do than to wait for the next round */
    pthread_cond_t done; /* the writer is */
    struct news *queue;  /* lock, and to `state`. Its second half is for what ends entries */
    size_t queued;
    uint64_t order;
    uint64_t unwritten; /* entries, in the queue or the batch */
    bool stopping, stopped;
    uint64_t crowded_out; /* refused, since the queue was full */
    int64_t oldest;       /* when; 0 */
    struct ledger_state state;

    /* The writer's. */
    struct news *batch; /* taken from the queue and not yet written */
    size_t batched;
    uint64_t written; /* of `unwritten`, in this round */
    struct lmdb_writer writing;
    struct ledger_tally tally; /* what is in the file */
    struct clock_watch watch;
    struct {
        struct lmdb_walk walk;
        bool running, removes;
        unsigned past; /* sweeps that came to their end */
        int64_t now;
        struct deadline next, sooner; /* sooner: if the oldest has left */
        struct digest *keys;          /* of a slice */
        size_t count;
        bool changes; /* one of them is to be removed or mended */
    } sweep;
};

struct ledger_limits ledger_limits(void)
{
    return (struct ledger_limits){
        .map_bytes = (size_t)2 << 30,
        .waiting_max = 500000,
        .bounced_max = 500000,
        .queue = 20000,
        .round_ms = 1000,
        .retry_ms = 5000,
        .sweep_ms = 600 * 1000,
    };
}

/* ---- what is in the file ---- */

/* Other entries than before: they are counted now. */
static void count_anew(void *owner)
{
    struct ledger *ledger = owner;
    ledger_tally_anew(&ledger->tally);
    ledger->sweep.running = false;
    ledger->sweep.next = (struct deadline){0};
}

static bool has_passed(const struct ledger *ledger, const struct digest *key)
{
    const struct lmdb_walk *walk = &ledger->sweep.walk;
    return ledger->sweep.running && walk->begun && memcmp(key, &walk->last, sizeof *key) <= 0;
}

static bool has_room(const struct ledger *ledger, const struct ledger_tally *tally,
                     enum ledger_kind kind)
{
    uint64_t most =
        kind == LEDGER_WAITING ? ledger->limits.waiting_max : ledger->limits.bounced_max;
    if (!tally->counted && most > ledger->limits.queue)
        most = ledger->limits.queue;
    return tally->entries[kind] < most;
}

/* ---- writing ---- */

static int compare_news(const void *left, const void *right)
{
    const struct news *a = left, *b = right;
    int order = memcmp(a->key.bytes, b->key.bytes, sizeof a->key.bytes);
    if (order != 0)
        return order;
    return a->order < b->order ? -1 : a->order > b->order;
}

struct changing {
    const struct ledger *ledger;
    struct ledger_tally tally; /* as it will be */
};

static size_t news_edit(void *context, const void *item, unsigned char value[LMDB_VALUE_MAX],
                        size_t length)
{
    struct changing *changing = context;
    const struct ledger *ledger = changing->ledger;
    const struct news *news = item;
    enum ledger_kind kind = ledger_key_kind(&news->key);
    struct ledger_entry before, entry;
    if (news == ledger->batch) /* it begins, or begins again */
        changing->tally = ledger->tally;
    bool there = ledger_entry_read(&before, kind, value, length);
    if (!news->entry) {
        if (there)
            ledger_tally_take(&changing->tally, &before, has_passed(ledger, &news->key));
        return 0;
    }
    if (!there && !has_room(ledger, &changing->tally, kind)) {
        changing->tally.refused++;
        return 0;
    }
    ledger_entry_read(&entry, kind, news->entry, news->length);
    if (there)
        ledger_entry_follow(&entry, &before);
    else
        ledger_tally_add(&changing->tally, &entry, has_passed(ledger, &news->key));
    return ledger_entry_write(&entry, value);
}

static void free_news(struct news *news, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(news[i].entry);
}

static bool write_news(struct ledger *ledger)
{
    if (ledger->batched == 0)
        return true;
    qsort(ledger->batch, ledger->batched, sizeof *ledger->batch, compare_news);
    struct changing changing = {.ledger = ledger};
    struct lmdb_batch batch = {.items = ledger->batch,
                               .item_bytes = sizeof *ledger->batch,
                               .count = ledger->batched,
                               .edit = news_edit,
                               .context = &changing,
                               .deletes = true};
    if (!lmdb_writer_write(&ledger->writing, &batch))
        return false;
    ledger->tally = changing.tally;
    for (size_t i = 0; i < ledger->batched; i++)
        ledger->written += ledger->batch[i].entry != NULL;
    free_news(ledger->batch, ledger->batched);
    ledger->batched = 0;
    return true;
}

/* ---- sweeping ---- */

static enum ledger_sweep sweep_entry(const struct ledger *ledger, struct ledger_entry *entry)
{
    return ledger->sweep.removes
               ? ledger_entry_sweep(entry, ledger->sweep.now, atomic_load(&ledger->ttl_s))
               : LEDGER_STAYS;
}

static void sweep_visit(void *context, const struct digest *key, const void *value, size_t length)
{
    struct ledger *ledger = context;
    struct ledger_entry entry;
    ledger->sweep.keys[ledger->sweep.count++] = *key;
    if (!ledger_entry_read(&entry, ledger_key_kind(key), value, length)) {
        ledger->sweep.changes = true;
        return;
    }
    enum ledger_sweep becomes = sweep_entry(ledger, &entry);
    if (becomes != LEDGER_STAYS)
        ledger->sweep.changes = true;
    ledger_tally_meet(&ledger->tally, &entry, becomes == LEDGER_EXPIRED);
}

static size_t sweep_edit(void *context, const void *item, unsigned char value[LMDB_VALUE_MAX],
                         size_t length)
{
    struct changing *changing = context;
    const struct ledger *ledger = changing->ledger;
    struct ledger_entry entry;
    if (item == ledger->sweep.keys)
        changing->tally = ledger->tally;
    if (!ledger_entry_read(&entry, ledger_key_kind(item), value, length))
        return 0;
    switch (sweep_entry(ledger, &entry)) {
    case LEDGER_STAYS:
        return length;
    case LEDGER_MENDED:
        return ledger_entry_write(&entry, value);
    case LEDGER_EXPIRED:
        break;
    }
    ledger_tally_expire(&changing->tally, entry.kind);
    return 0;
}

/* False: not further now. */
static bool sweep_slice(struct ledger *ledger)
{
    ledger->sweep.count = 0;
    ledger->sweep.changes = false;
    if (!lmdb_file_walk(ledger->file, &ledger->sweep.walk, SLICE, sweep_visit, ledger))
        return false;
    if (!ledger->sweep.changes || !ledger->sweep.removes)
        return true;
    /* All keys of the slice, so that all its pages are looked at before one is changed. */
    struct changing changing = {.ledger = ledger};
    struct lmdb_batch batch = {.items = ledger->sweep.keys,
                               .item_bytes = sizeof *ledger->sweep.keys,
                               .count = ledger->sweep.count,
                               .edit = sweep_edit,
                               .context = &changing,
                               .deletes = true};
    /* A full disk does not take this, too: whoever has news to write says so. */
    if (!lmdb_file_edit(ledger->file, &batch, NULL))
        return false;
    ledger->tally = changing.tally;
    return true;
}

static void sweep_end(struct ledger *ledger, bool whole)
{
    ledger->sweep.running = false;
    ledger->sweep.next = deadline_in_ms(ledger->limits.sweep_ms);
    ledger->sweep.sooner = deadline_in_ms(ledger->limits.sweep_ms / 10);
    if (!whole)
        return;
    ledger->sweep.past++;
    ledger_tally_end(&ledger->tally);
}

static bool sweep_is_due(const struct ledger *ledger)
{
    return deadline_passed(ledger->sweep.next) ||
           (ledger->tally.oldest_left && deadline_passed(ledger->sweep.sooner));
}

static void sweep_on(struct ledger *ledger)
{
    int64_t now = clock_wall_s();
    bool trusted = clock_watch_trusts(&ledger->watch, now, clock_mono_ms());
    if (!ledger->sweep.running && !sweep_is_due(ledger))
        return;
    if (!ledger->sweep.running) {
        ledger->sweep.walk = (struct lmdb_walk){0};
        ledger->sweep.running = true;
        ledger_tally_begin(&ledger->tally);
    }
    /* As in the known-good store: the first one only counts. */
    ledger->sweep.removes = trusted && ledger->sweep.past > 0;
    ledger->sweep.now = now;
    struct deadline deadline = deadline_in_ms(ledger->limits.round_ms / SWEEP_SHARE);
    do {
        bool read = sweep_slice(ledger);
        if (!read || ledger->sweep.walk.ended) {
            sweep_end(ledger, read);
            break;
        }
    } while (!deadline_passed(deadline));
}

/* ---- the writer ---- */

/* Takes what there is to do. True when the writer is to stop after it. */
static bool take_work(struct ledger *ledger)
{
    struct deadline round = deadline_in_ms(ledger->limits.round_ms);
    pthread_mutex_lock(&ledger->lock);
    while (!ledger->stopping &&
           (ledger->batched > 0 || ledger->queued <= ledger->limits.queue / 2) &&
           clock_cond_wait(&ledger->wake, &ledger->lock, round))
        ;
    if (ledger->batched == 0) {
        struct news *taken = ledger->queue;
        ledger->queue = ledger->batch;
        ledger->batch = taken;
        ledger->batched = ledger->queued;
        ledger->queued = 0;
    }
    bool stopping = ledger->stopping;
    pthread_mutex_unlock(&ledger->lock);
    return stopping;
}

static void publish(struct ledger *ledger)
{
    const struct ledger_tally *tally = &ledger->tally;
    pthread_mutex_lock(&ledger->lock);
    ledger->unwritten -= ledger->written;
    ledger->state.works = ledger->writing.works;
    ledger->state.why = ledger->writing.why;
    ledger->state.waiting = tally->entries[LEDGER_WAITING];
    ledger->state.bounced = tally->entries[LEDGER_BOUNCED];
    ledger->state.refused = tally->refused;
    ledger->oldest = tally->oldest;
    pthread_mutex_unlock(&ledger->lock);
    ledger->written = 0;
    atomic_store(&ledger->keeps_track, ledger->writing.works && ledger->batched == 0);
}

/* What cannot be written stays: the batch here, what comes after it in the queue. */
static void work_round(struct ledger *ledger, bool stopping)
{
    bool due = lmdb_writer_due(&ledger->writing) || stopping;
    bool written = due && lmdb_writer_tend(&ledger->writing) && write_news(ledger);
    if (written && !ledger->writing.works)
        lmdb_writer_probe(&ledger->writing);
    if (!stopping)
        sweep_on(ledger);
    publish(ledger);
}

static void *writer_main(void *context)
{
    struct ledger *ledger = context;
    bool stopping = false;
    while (!stopping) {
        stopping = take_work(ledger);
        work_round(ledger, stopping);
    }
    pthread_mutex_lock(&ledger->lock);
    bool more = ledger->queued > 0 && ledger->writing.works; /* came while an older batch waited */
    pthread_mutex_unlock(&ledger->lock);
    if (more) {
        take_work(ledger);
        work_round(ledger, true);
    }
    pthread_mutex_lock(&ledger->lock);
    ledger->stopped = true;
    pthread_cond_broadcast(&ledger->done);
    pthread_mutex_unlock(&ledger->lock);
    return NULL;
}

/* ---- the interface ---- */

static void ledger_free(struct ledger *ledger)
{
    lmdb_file_close(ledger->file);
    pthread_cond_destroy(&ledger->wake);
    pthread_cond_destroy(&ledger->done);
    pthread_mutex_destroy(&ledger->lock);
    free_news(ledger->queue, ledger->queued);
    free_news(ledger->batch, ledger->batched);
    free(ledger->queue);
    free(ledger->batch);
    free(ledger->sweep.keys);
    free(ledger);
}

struct ledger *ledger_open(const char *directory, struct ledger_limits limits)
{
    struct ledger *ledger = calloc(1, sizeof *ledger);
    if (!ledger)
        return NULL;
    char base[PATH_MAX];
    struct text path = text_on(base, sizeof base);
    text_addf(&path, "%s/ledger", directory);
    pthread_mutex_init(&ledger->lock, NULL);
    clock_cond_init(&ledger->wake);
    clock_cond_init(&ledger->done);
    ledger->limits = limits;
    ledger->file = lmdb_file_create(base, limits.map_bytes);
    ledger->queue = calloc(2 * limits.queue, sizeof *ledger->queue);
    ledger->batch = calloc(2 * limits.queue, sizeof *ledger->batch);
    ledger->sweep.keys = calloc(SLICE, sizeof *ledger->sweep.keys);
    if (ledger->file && ledger->queue && ledger->batch && ledger->sweep.keys) {
        ledger->writing = (struct lmdb_writer){
            .name = "ledger",
            .broken = "who waits and who was bounced is not remembered, and no absence is proven",
            .emptied = "it knows of nobody who waits, and each absence must be proven again",
            .retry_ms = limits.retry_ms,
            .file = ledger->file,
            .renewed = count_anew,
            .owner = ledger,
        };
        lmdb_writer_begin(&ledger->writing);
        publish(ledger);
        if (pthread_create(&ledger->writer, NULL, writer_main, ledger) == 0)
            return ledger;
    }
    ledger_free(ledger);
    return NULL;
}

void ledger_close(struct ledger *ledger)
{
    if (!ledger)
        return;
    struct deadline deadline = deadline_in_ms(CLOSE_MS);
    pthread_mutex_lock(&ledger->lock);
    ledger->stopping = true;
    pthread_cond_signal(&ledger->wake);
    while (!ledger->stopped && clock_cond_wait(&ledger->done, &ledger->lock, deadline))
        ;
    bool stopped = ledger->stopped;
    pthread_mutex_unlock(&ledger->lock);
    if (!stopped) { /* a disk that hangs; the process ends all the same */
        log_error("ledger: the disk does not answer; what was to be written is lost");
        pthread_detach(ledger->writer);
        return;
    }
    pthread_join(ledger->writer, NULL);
    ledger_free(ledger);
}

void ledger_set_ttl(struct ledger *ledger, int64_t ttl_s)
{
    atomic_store(&ledger->ttl_s, ttl_s);
}

/* ---- finding ---- */

static bool find_entry(struct ledger *ledger, const struct digest *key, enum ledger_kind kind,
                       struct ledger_entry *entry)
{
    unsigned char value[LMDB_VALUE_MAX];
    struct digest stored = ledger_key(key, kind);
    return ledger_entry_read(entry, kind, value,
                             lmdb_file_get(ledger->file, &stored, value, sizeof value));
}

bool ledger_find_waiting(struct ledger *ledger, const struct digest *key,
                         struct ledger_waiting *waiting)
{
    struct ledger_entry entry;
    bool found = find_entry(ledger, key, LEDGER_WAITING, &entry);
    ledger_entry_doubt(&entry, atomic_load(&ledger->doubted));
    if (!atomic_load(&ledger->keeps_track))
        entry.waiting.absence = (struct absence){0};
    if (found)
        *waiting = entry.waiting;
    return found;
}

bool ledger_find_bounced(struct ledger *ledger, const struct digest *key,
                         struct ledger_bounced *bounced)
{
    struct ledger_entry entry;
    bool found = find_entry(ledger, key, LEDGER_BOUNCED, &entry);
    if (found)
        *bounced = entry.bounced;
    return found;
}

/* ---- what is to be written ---- */

/* The caller has the lock. False where the queue has no room. */
static bool queue_news(struct ledger *ledger, const struct digest *stored, unsigned char *entry,
                       size_t length)
{
    size_t room = entry ? ledger->limits.queue : 2 * ledger->limits.queue;
    if (ledger->queued >= room)
        return false;
    ledger->queue[ledger->queued++] =
        (struct news){.key = *stored, .order = ledger->order++, .entry = entry, .length = length};
    ledger->unwritten += entry != NULL;
    if (ledger->queued > ledger->limits.queue / 2)
        pthread_cond_signal(&ledger->wake);
    return true;
}

static void queue_entry(struct ledger *ledger, const struct digest *key,
                        const struct ledger_entry *entry)
{
    unsigned char value[LMDB_VALUE_MAX];
    size_t length = ledger_entry_write(entry, value);
    struct digest stored = ledger_key(key, entry->kind);
    unsigned char *copy = malloc(length);
    if (copy)
        memcpy(copy, value, length);
    pthread_mutex_lock(&ledger->lock);
    bool queued = copy && queue_news(ledger, &stored, copy, length);
    ledger->crowded_out += !queued;
    pthread_mutex_unlock(&ledger->lock);
    if (!queued)
        free(copy);
}

static void queue_end(struct ledger *ledger, const struct digest *key, enum ledger_kind kind)
{
    struct digest stored = ledger_key(key, kind);
    pthread_mutex_lock(&ledger->lock);
    bool queued = queue_news(ledger, &stored, NULL, 0);
    pthread_mutex_unlock(&ledger->lock);
    if (!queued) /* nobody knows whose absence it was that ended */
        atomic_store(&ledger->doubted, clock_wall_s());
}

void ledger_defer(struct ledger *ledger, const struct digest *key,
                  const struct ledger_waiting *waiting, int64_t now)
{
    struct ledger_entry entry = {.kind = LEDGER_WAITING, .waiting = *waiting};
    entry.waiting.first = entry.waiting.last = now;
    entry.waiting.count = 1;
    queue_entry(ledger, key, &entry);
}

void ledger_bounce(struct ledger *ledger, const struct digest *key,
                   const struct ledger_bounced *bounced, int64_t now)
{
    struct ledger_entry entry = {.kind = LEDGER_BOUNCED, .bounced = *bounced};
    entry.bounced.at = now;
    entry.bounced.count = 1;
    queue_entry(ledger, key, &entry);
    queue_end(ledger, key, LEDGER_WAITING);
}

/* Most who are found never were in here: where nothing can be on its way either, that is all. */
static bool has_nothing_of(struct ledger *ledger, const struct digest *key)
{
    struct ledger_entry entry;
    pthread_mutex_lock(&ledger->lock);
    bool quiet = ledger->unwritten == 0 && ledger->state.works;
    pthread_mutex_unlock(&ledger->lock);
    return quiet && !find_entry(ledger, key, LEDGER_WAITING, &entry) &&
           !find_entry(ledger, key, LEDGER_BOUNCED, &entry);
}

void ledger_forget(struct ledger *ledger, const struct digest *key)
{
    if (has_nothing_of(ledger, key))
        return;
    queue_end(ledger, key, LEDGER_WAITING);
    queue_end(ledger, key, LEDGER_BOUNCED);
}

/* ---- showing ---- */

struct shown_to {
    bool (*waiting)(void *context, const struct ledger_waiting *waiting);
    bool (*bounced)(void *context, const struct ledger_bounced *bounced);
    void *context;
};

static bool show_waiting(void *context, const struct ledger_entry *entry)
{
    const struct shown_to *to = context;
    return to->waiting(to->context, &entry->waiting);
}

static bool show_bounced(void *context, const struct ledger_entry *entry)
{
    const struct shown_to *to = context;
    return to->bounced(to->context, &entry->bounced);
}

bool ledger_each_waiting(struct ledger *ledger,
                         bool (*each)(void *context, const struct ledger_waiting *waiting),
                         void *context)
{
    struct shown_to to = {.waiting = each, .context = context};
    return ledger_show(ledger->file, LEDGER_WAITING, show_waiting, &to);
}

bool ledger_each_bounced(struct ledger *ledger,
                         bool (*each)(void *context, const struct ledger_bounced *bounced),
                         void *context)
{
    struct shown_to to = {.bounced = each, .context = context};
    return ledger_show(ledger->file, LEDGER_BOUNCED, show_bounced, &to);
}

void ledger_describe(struct ledger *ledger, struct ledger_state *state)
{
    pthread_mutex_lock(&ledger->lock);
    *state = ledger->state;
    state->refused += ledger->crowded_out;
    int64_t oldest = ledger->oldest;
    pthread_mutex_unlock(&ledger->lock);
    int64_t age = oldest ? clock_wall_s() - oldest : 0;
    state->oldest_waiting_s = age > 0 ? age : 0;
}
