#include "shared/lru.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHARDS_MAX = 16,    /* threads at work at the same moment are fewer than a few dozen */
    SHARD_LEAST = 64,   /* a smaller shard would push out entries that are far from the oldest */
    BUCKETS_FIRST = 16, /* an empty cache costs nearly nothing; a power of two */
};

/* One malloc each. The order of the fields leaves no padding before the value. */
struct entry {
    struct entry *chain;         /* the bucket's next */
    struct entry *newer, *older; /* by last use; NULL at the ends */
    int64_t expires_ms;
    struct digest key;
    uint16_t length;
    char value[];
};

struct shard {
    pthread_mutex_t lock;   /* a leaf: covers all below */
    struct entry **buckets; /* NULL until the first entry */
    size_t bucket_count;    /* a power of two, or 0 */
    size_t count, bound;    /* bound is set once */
    struct entry *newest, *oldest;
};

struct lru {
    size_t shard_count; /* a power of two */
    struct shard shards[SHARDS_MAX];
};

static uint64_t key_hash(const struct digest *key)
{
    uint64_t hash;
    memcpy(&hash, key->bytes, sizeof hash);
    return hash;
}

static struct shard *shard_of(struct lru *lru, uint64_t hash)
{
    return &lru->shards[(hash >> 60) & (lru->shard_count - 1)];
}

struct lru *lru_create(size_t entries)
{
    struct lru *lru = calloc(1, sizeof *lru);
    if (!lru)
        return NULL;
    lru->shard_count = SHARDS_MAX;
    while (lru->shard_count > 1 && entries / lru->shard_count < SHARD_LEAST)
        lru->shard_count /= 2;
    for (size_t i = 0; i < lru->shard_count; i++) {
        struct shard *shard = &lru->shards[i];
        pthread_mutex_init(&shard->lock, NULL);
        shard->bound = entries / lru->shard_count + (i < entries % lru->shard_count);
    }
    return lru;
}

static void chain_free(struct entry *newest)
{
    while (newest) {
        struct entry *older = newest->older;
        free(newest);
        newest = older;
    }
}

void lru_destroy(struct lru *lru)
{
    if (!lru)
        return;
    for (size_t i = 0; i < lru->shard_count; i++) {
        chain_free(lru->shards[i].newest);
        free(lru->shards[i].buckets);
        pthread_mutex_destroy(&lru->shards[i].lock);
    }
    free(lru);
}

/* Where the pointer to the key's entry is, or would be; NULL while there are no buckets. */
static struct entry **entry_place(struct shard *shard, uint64_t hash, const struct digest *key)
{
    if (!shard->buckets)
        return NULL;
    struct entry **place = &shard->buckets[hash & (shard->bucket_count - 1)];
    while (*place && memcmp(&(*place)->key, key, sizeof *key) != 0)
        place = &(*place)->chain;
    return place;
}

static void use_unlink(struct shard *shard, struct entry *entry)
{
    *(entry->newer ? &entry->newer->older : &shard->newest) = entry->older;
    *(entry->older ? &entry->older->newer : &shard->oldest) = entry->newer;
}

static void use_link(struct shard *shard, struct entry *entry)
{
    entry->newer = NULL;
    entry->older = shard->newest;
    *(shard->newest ? &shard->newest->newer : &shard->oldest) = entry;
    shard->newest = entry;
}

/* Takes the key's entry out; the caller frees it, after the lock. */
static struct entry *entry_take(struct shard *shard, uint64_t hash, const struct digest *key)
{
    struct entry **place = entry_place(shard, hash, key);
    if (!place || !*place)
        return NULL;
    struct entry *entry = *place;
    *place = entry->chain;
    use_unlink(shard, entry);
    shard->count--;
    return entry;
}

/* Keeps chains at about one entry. Without memory the chains grow longer, or there are none yet. */
static void buckets_grow(struct shard *shard)
{
    if (shard->count < shard->bucket_count)
        return;
    size_t wanted = shard->bucket_count ? 2 * shard->bucket_count : BUCKETS_FIRST;
    struct entry **buckets = calloc(wanted, sizeof *buckets);
    if (!buckets)
        return;
    for (struct entry *entry = shard->newest; entry; entry = entry->older) {
        struct entry **bucket = &buckets[key_hash(&entry->key) & (wanted - 1)];
        entry->chain = *bucket;
        *bucket = entry;
    }
    free(shard->buckets);
    shard->buckets = buckets;
    shard->bucket_count = wanted;
}

static bool entry_add(struct shard *shard, uint64_t hash, struct entry *entry)
{
    buckets_grow(shard);
    if (!shard->buckets)
        return false;
    struct entry **bucket = &shard->buckets[hash & (shard->bucket_count - 1)];
    entry->chain = *bucket;
    *bucket = entry;
    use_link(shard, entry);
    shard->count++;
    return true;
}

bool lru_get(struct lru *lru, const struct digest *key, int64_t now_ms, void *value, size_t size,
             size_t *length)
{
    uint64_t hash = key_hash(key);
    struct shard *shard = shard_of(lru, hash);
    struct entry *expired = NULL;
    bool found = false;

    pthread_mutex_lock(&shard->lock);
    struct entry **place = entry_place(shard, hash, key);
    struct entry *entry = place ? *place : NULL;
    if (entry && entry->expires_ms <= now_ms) {
        expired = entry_take(shard, hash, key);
    } else if (entry && entry->length <= size) {
        memcpy(value, entry->value, entry->length);
        *length = entry->length;
        use_unlink(shard, entry);
        use_link(shard, entry);
        found = true;
    }
    pthread_mutex_unlock(&shard->lock);
    free(expired);
    return found;
}

static struct entry *entry_create(const struct digest *key, int64_t expires_ms, const void *value,
                                  size_t length)
{
    if (length > LRU_VALUE_MAX)
        return NULL;
    struct entry *entry = malloc(offsetof(struct entry, value) + length);
    if (!entry)
        return NULL;
    entry->expires_ms = expires_ms;
    entry->key = *key;
    entry->length = (uint16_t)length;
    if (length > 0)
        memcpy(entry->value, value, length);
    return entry;
}

void lru_put(struct lru *lru, const struct digest *key, int64_t expires_ms, const void *value,
             size_t length)
{
    uint64_t hash = key_hash(key);
    struct shard *shard = shard_of(lru, hash);
    struct entry *entry = entry_create(key, expires_ms, value, length), *pushed_out = NULL;

    pthread_mutex_lock(&shard->lock);
    struct entry *replaced = entry_take(shard, hash, key);
    if (entry && shard->count >= shard->bound && shard->oldest)
        pushed_out = entry_take(shard, key_hash(&shard->oldest->key), &shard->oldest->key);
    if (entry && entry_add(shard, hash, entry))
        entry = NULL;
    pthread_mutex_unlock(&shard->lock);
    free(entry); /* only where there was no memory for the buckets */
    free(replaced);
    free(pushed_out);
}

void lru_remove(struct lru *lru, const struct digest *key)
{
    uint64_t hash = key_hash(key);
    struct shard *shard = shard_of(lru, hash);
    pthread_mutex_lock(&shard->lock);
    struct entry *entry = entry_take(shard, hash, key);
    pthread_mutex_unlock(&shard->lock);
    free(entry);
}

void lru_clear(struct lru *lru)
{
    for (size_t i = 0; i < lru->shard_count; i++) {
        struct shard *shard = &lru->shards[i];
        pthread_mutex_lock(&shard->lock);
        struct entry *newest = shard->newest;
        struct entry **buckets = shard->buckets;
        shard->newest = shard->oldest = NULL;
        shard->buckets = NULL;
        shard->bucket_count = shard->count = 0;
        pthread_mutex_unlock(&shard->lock);
        chain_free(newest);
        free(buckets);
    }
}

size_t lru_count(const struct lru *lru)
{
    size_t count = 0;
    for (size_t i = 0; i < lru->shard_count; i++) {
        struct shard *shard = (struct shard *)&lru->shards[i]; /* only its lock changes */
        pthread_mutex_lock(&shard->lock);
        count += shard->count;
        pthread_mutex_unlock(&shard->lock);
    }
    return count;
}
