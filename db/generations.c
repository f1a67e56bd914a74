#include "db/generations.h"

#include <stdlib.h>
#include <string.h>

#include "shared/lru.h"

/* Long enough that a busy fleet keeps them, below memcached's 30 days. A generation that expires
 * only empties the cache of its domain. */
enum { GENERATION_KEEP_S = 29 * 24 * 3600, GENERATIONS_REMEMBERED = 10000 };

struct generations {
    struct memcache *memcache; /* borrowed */
    struct digest setup;
    int64_t remember_ms;
    struct lru *remembered; /* by name; has its own locks */
};

struct generations *generations_create(struct memcache *memcache, const struct digest *setup,
                                       int64_t remember_ms)
{
    struct generations *generations = calloc(1, sizeof *generations);
    if (!generations)
        return NULL;
    generations->memcache = memcache;
    generations->setup = *setup;
    generations->remember_ms = remember_ms;
    generations->remembered = lru_create(GENERATIONS_REMEMBERED);
    if (!generations->remembered) {
        free(generations);
        return NULL;
    }
    return generations;
}

void generations_destroy(struct generations *generations)
{
    if (!generations)
        return;
    lru_destroy(generations->remembered);
    free(generations);
}

/* "" is the name of everything's generation: no domain is empty. */
static struct digest name_digest(const char *domain)
{
    return digest_shared(domain, strlen(domain));
}

static struct digest memory_key(const char *domain)
{
    return digest_local(domain, strlen(domain));
}

/* One generation as this node remembers it. It is asked for again once it is no longer fresh, but
 * serves on while its server cannot be asked: one dead server must not turn the others off. */
struct memory {
    struct digest value;
    int64_t fresh_until_ms; /* monotonic */
};

static void remember(struct generations *generations, const struct digest *key,
                     const struct digest *value)
{
    int64_t now = clock_mono_ms();
    struct memory memory = {.value = *value, .fresh_until_ms = now + generations->remember_ms};
    lru_put(generations->remembered, key, now + GENERATION_KEEP_S * INT64_C(1000), &memory,
            sizeof memory);
}

static enum memcache_result fetch(struct generations *generations, const struct digest *name,
                                  struct deadline deadline, struct trace *trace,
                                  struct digest *value)
{
    size_t length;
    enum memcache_result result =
        memcache_get(generations->memcache, MEMCACHE_GENERATION, name, deadline, trace,
                     value->bytes, sizeof value->bytes, &length);
    if (result == MEMCACHE_HIT && length != sizeof value->bytes)
        return MEMCACHE_MISS; /* not what we write */
    return result;
}

static enum memcache_result make(struct generations *generations, const struct digest *name,
                                 struct deadline deadline, struct trace *trace,
                                 struct digest *value)
{
    struct digest fresh = digest_random();
    /* Of several nodes that make one now, the first wins. */
    memcache_add(generations->memcache, MEMCACHE_GENERATION, name, deadline, fresh.bytes,
                 sizeof fresh.bytes, GENERATION_KEEP_S);
    enum memcache_result result = fetch(generations, name, deadline, trace, value);
    if (result != MEMCACHE_MISS)
        return result;
    /* What stands there is not ours, as far as we can tell: forged, cut, or of a time with another
     * memcache_secret_file. Left alone it would keep us from memcached for as long as it lives. A
     * fresh one in its place empties the cache and cannot bring back anything. */
    memcache_put(generations->memcache, MEMCACHE_GENERATION, name, deadline, fresh.bytes,
                 sizeof fresh.bytes, GENERATION_KEEP_S);
    return fetch(generations, name, deadline, trace, value);
}

static bool generation_of(struct generations *generations, const char *domain,
                          struct deadline deadline, struct trace *trace, struct digest *value)
{
    struct digest key = memory_key(domain);
    struct memory memory;
    size_t length;
    bool remembered =
        lru_get(generations->remembered, &key, clock_mono_ms(), &memory, sizeof memory, &length);
    if (remembered && clock_mono_ms() < memory.fresh_until_ms) {
        *value = memory.value;
        return true;
    }
    struct digest name = name_digest(domain);
    enum memcache_result result = fetch(generations, &name, deadline, trace, value);
    if (result == MEMCACHE_MISS)
        result = make(generations, &name, deadline, trace, value);
    if (result == MEMCACHE_HIT)
        remember(generations, &key, value);
    else if (remembered)
        *value = memory.value;
    return result == MEMCACHE_HIT || remembered;
}

bool generations_get(struct generations *generations, const char *domain, struct deadline deadline,
                     struct trace *trace, struct digest *generation)
{
    struct digest parts[3] = {generations->setup};
    if (!generation_of(generations, "", deadline, trace, &parts[1]) ||
        !generation_of(generations, domain, deadline, trace, &parts[2]))
        return false;
    *generation = digest_shared(parts, sizeof parts);
    return true;
}

bool generations_advance(struct generations *generations, const char *domain,
                         struct deadline deadline, struct fault *fault)
{
    struct digest name = name_digest(domain), key = memory_key(domain);
    struct digest fresh = digest_random();
    if (!memcache_put(generations->memcache, MEMCACHE_GENERATION, &name, deadline, fresh.bytes,
                      sizeof fresh.bytes, GENERATION_KEEP_S)) {
        fault_set(fault,
                  "memcached could not be told, so what it holds for %s stays until it expires",
                  *domain ? domain : "the whole directory");
        return false;
    }
    remember(generations, &key, &fresh);
    return true;
}
