#include "db/memcache.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/memcache_ring.h"
#include "db/memcache_seal.h"
#include "db/memcache_server.h"
#include "db/memcache_wire.h"
#include "shared/counters.h"
#include "shared/histogram.h"
#include "shared/log.h"
#include "shared/text.h"

enum {
    SERVERS_MAX = 64,
    DEFAULT_PORT = 11211,
    EXPIRY_MAX_S = 30 * 86400,  /* above it, memcached takes the number for a date */
    IDLE_WAIT_MS = 3600 * 1000, /* the prober is woken when there is something to do */
    FORGERY_LOG_MS = 60 * 1000, /* between two lines about values that are not sealed by us */
};

/* Its own letter, so that no value is ever stored under it. */
static const char probe_kind = 'p';

struct memcache {
    char prefix[WIRE_KEY_MAX + 1]; /* these never change */
    struct memcache_ring *ring;
    struct seal seal;
    size_t count;

    pthread_t prober;
    pthread_mutex_t lock; /* the servers' locks may be taken under it */
    pthread_cond_t wake;  /* a server went away, or stop */
    bool stop;            /* lock */

    _Atomic bool forgery;           /* it was logged, and no good value came since */
    _Atomic int64_t forgery_log_ms; /* monotonic: when there may be another line */

    struct memcache_server servers[];
};

struct server_list {
    size_t count;
    struct endpoint endpoints[SERVERS_MAX];
};

bool memcache_library_is_safe(struct fault *fault)
{
    return memcache_ring_version_is_safe(memcache_ring_version(), fault);
}

/* unix:/path, inet:host:port, host:port, host; brackets round an IPv6 address. */
static bool server_parse(const char *item, struct endpoint *endpoint, struct fault *fault)
{
    static const char unix_tag[] = "unix:", inet_tag[] = "inet:";
    if (strncmp(item, unix_tag, strlen(unix_tag)) == 0)
        return endpoint_parse(item, endpoint, fault);
    const char *host =
        strncmp(item, inet_tag, strlen(inet_tag)) == 0 ? item + strlen(inet_tag) : item;
    const char *bracket = strrchr(host, ']');
    bool port = strchr(bracket ? bracket : host, ':') != NULL;
    char buffer[ENDPOINT_TEXT_MAX];
    struct text text = text_on(buffer, sizeof buffer);
    text_addf(&text, "%s%s", inet_tag, host);
    if (!port)
        text_addf(&text, ":%d", DEFAULT_PORT);
    if (!text.overflow)
        return endpoint_parse(buffer, endpoint, fault);
    fault_set(fault, "%.100s...: this is too long for a server", item);
    return false;
}

static bool list_parse(const char *servers, struct server_list *list, struct fault *fault)
{
    static const char separators[] = ", \t\r\n";
    list->count = 0;
    for (;;) {
        char item[2 * ENDPOINT_TEXT_MAX];
        servers += strspn(servers, separators);
        size_t length = strcspn(servers, separators);
        if (length == 0)
            return true;
        struct text text = text_on(item, sizeof item);
        text_add_bytes(&text, servers, length);
        servers += length;
        if (list->count == SERVERS_MAX) {
            fault_set(fault, "there may be at most %d servers", SERVERS_MAX);
            return false;
        }
        if (!server_parse(item, &list->endpoints[list->count++], fault))
            return false;
    }
}

static bool prefix_check(const char *prefix, struct fault *fault)
{
    enum { REST = 1 + DIGEST_HEX };
    if (strlen(prefix) > WIRE_KEY_MAX - REST) {
        fault_set(fault, "memcache_key_prefix: it may have at most %d bytes, so that the key fits",
                  WIRE_KEY_MAX - REST);
        return false;
    }
    for (const char *c = prefix; *c; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f) {
            fault_set(fault, "memcache_key_prefix: only visible ASCII characters can be in a key");
            return false;
        }
    return true;
}

static bool settings_read(const struct settings *settings, struct server_list *list,
                          struct seal *seal, struct fault *fault)
{
    if (!list_parse(settings->memcache_servers, list, fault)) {
        fault_within(fault, "memcache_servers");
        return false;
    }
    if (!seal_load(seal, settings->memcache_secret_file, fault)) {
        fault_within(fault, "memcache_secret_file");
        return false;
    }
    return prefix_check(settings->memcache_key_prefix, fault);
}

bool memcache_check(const struct settings *settings, struct fault *fault)
{
    struct server_list list;
    struct seal seal;
    return settings_read(settings, &list, &seal, fault);
}

static void key_write(const struct memcache *memcache, char kind, const struct digest *digest,
                      char key[WIRE_KEY_MAX + 1])
{
    char hex[DIGEST_HEX + 1];
    struct text text = text_on(key, WIRE_KEY_MAX + 1);
    digest_to_hex(digest, hex);
    text_add(&text, memcache->prefix); /* with which it fits: prefix_check */
    text_add_char(&text, kind);
    text_add(&text, hex);
}

/* The prober: the only one that touches a server while it rests. */

static void probe_key(const struct memcache *memcache, char key[WIRE_KEY_MAX + 1])
{
    int64_t now = clock_mono_us();
    struct digest digest = digest_local(&now, sizeof now);
    key_write(memcache, probe_kind, &digest, key);
}

static bool prober_stops(struct memcache *memcache)
{
    pthread_mutex_lock(&memcache->lock);
    bool stop = memcache->stop;
    pthread_mutex_unlock(&memcache->lock);
    return stop;
}

static void probe_due(struct memcache *memcache, bool first)
{
    for (size_t i = 0; i < memcache->count && !prober_stops(memcache); i++) {
        struct memcache_server *server = &memcache->servers[i];
        char key[WIRE_KEY_MAX + 1];
        probe_key(memcache, key);
        if ((first && !memcache_server_is_ready(server)) || breaker_probe(&server->breaker))
            memcache_server_probe(server, key);
    }
}

static struct deadline next_probe(struct memcache *memcache)
{
    struct deadline next = deadline_in_ms(IDLE_WAIT_MS);
    for (size_t i = 0; i < memcache->count; i++) {
        int64_t due_ms = breaker_probe_due(&memcache->servers[i].breaker);
        if (due_ms < INT64_MAX / 1000)
            next = deadline_sooner(next, (struct deadline){.at_us = due_ms * 1000});
    }
    return next;
}

static void *prober_run(void *context)
{
    struct memcache *memcache = context;
    probe_due(memcache, true);
    pthread_mutex_lock(&memcache->lock);
    while (!memcache->stop) {
        struct deadline next = next_probe(memcache);
        if (!deadline_passed(next)) {
            clock_cond_wait(&memcache->wake, &memcache->lock, next);
            continue;
        }
        pthread_mutex_unlock(&memcache->lock);
        probe_due(memcache, false);
        pthread_mutex_lock(&memcache->lock);
    }
    pthread_mutex_unlock(&memcache->lock);
    return NULL;
}

static void prober_wake(struct memcache *memcache, bool stop)
{
    pthread_mutex_lock(&memcache->lock);
    memcache->stop |= stop;
    pthread_cond_signal(&memcache->wake);
    pthread_mutex_unlock(&memcache->lock);
}

/* Signals are for the thread that waits for them. */
static bool prober_start(struct memcache *memcache)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&memcache->prober, NULL, prober_run, memcache);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error == 0;
}

static void memcache_free(struct memcache *memcache)
{
    for (size_t i = 0; i < memcache->count; i++)
        memcache_server_release(&memcache->servers[i]);
    memcache_ring_destroy(memcache->ring);
    pthread_cond_destroy(&memcache->wake);
    pthread_mutex_destroy(&memcache->lock);
    free(memcache);
}

struct memcache *memcache_open(const struct settings *settings, struct fault *fault)
{
    struct server_list list;
    struct seal seal;
    if (!memcache_library_is_safe(fault) || !settings_read(settings, &list, &seal, fault))
        return NULL;
    if (list.count == 0) {
        fault_set(fault, "memcache_servers: it names no server");
        return NULL;
    }
    struct memcache *memcache =
        calloc(1, sizeof *memcache + list.count * sizeof memcache->servers[0]);
    if (!memcache) {
        fault_set(fault, "memcached: out of memory");
        return NULL;
    }
    snprintf(memcache->prefix, sizeof memcache->prefix, "%s", settings->memcache_key_prefix);
    memcache->seal = seal;
    memcache->count = list.count;
    for (size_t i = 0; i < list.count; i++)
        memcache_server_init(&memcache->servers[i], &list.endpoints[i],
                             settings->memcache_timeout_ms);
    pthread_mutex_init(&memcache->lock, NULL);
    clock_cond_init(&memcache->wake);
    memcache->ring = memcache_ring_create(list.endpoints, list.count);
    if (memcache->ring && prober_start(memcache))
        return memcache;
    fault_set(fault, "memcached: there is no memory or no thread for it");
    memcache_free(memcache);
    return NULL;
}

void memcache_close(struct memcache *memcache)
{
    if (!memcache)
        return;
    prober_wake(memcache, true);
    pthread_join(memcache->prober, NULL); /* a probe under way ends with its deadline */
    memcache_free(memcache);
}

/* call->key is set. */
static enum wire_result call_do(struct memcache *memcache, struct deadline deadline,
                                struct wire_call *call, struct fault *fault)
{
    bool opened;
    struct memcache_server *server =
        &memcache->servers[memcache_ring_choose(memcache->ring, call->key)];
    enum wire_result result = memcache_server_do(server, call, deadline, &opened, fault);
    if (opened)
        prober_wake(memcache, false);
    return result;
}

/* ---- sealed values ---- */

/* A line once a minute at most, and none while all of them are like that: the counter goes on. */
static void forgery_found(struct memcache *memcache, const char *key, struct trace *trace)
{
    counter_add(COUNT_memcache_forged_values);
    trace_add(trace, "memcached %s: its value has not our seal, so it is none", key);
    int64_t now = clock_mono_ms(), due = atomic_load(&memcache->forgery_log_ms);
    if (atomic_load(&memcache->forgery) || now < due ||
        !atomic_compare_exchange_strong(&memcache->forgery_log_ms, &due, now + FORGERY_LOG_MS))
        return;
    atomic_store(&memcache->forgery, true);
    log_warning(
        "memcached: the value of %s has not our seal - it was forged or damaged, or written "
        "by a node with another memcache_secret_file or none; such values count as misses",
        key);
}

/* The same as a plain get, for values that are sealed. */
static enum wire_result get_sealed(struct memcache *memcache, struct deadline deadline,
                                   struct wire_call *call, struct trace *trace, struct fault *fault)
{
    char sealed[SEALED_MAX];
    struct wire_call inner = {
        .verb = WIRE_GET, .key = call->key, .found = sealed, .size = sizeof sealed};
    enum wire_result result = call_do(memcache, deadline, &inner, fault);
    bool too_long = result == WIRE_NONE && inner.length > 0;
    if (result != WIRE_DONE && !too_long)
        return result;
    if (too_long || !seal_open(&memcache->seal, call->key, sealed, inner.length, &call->length)) {
        forgery_found(memcache, call->key, trace);
        return WIRE_NONE;
    }
    if (atomic_load(&memcache->forgery))
        atomic_store(&memcache->forgery, false);
    if (call->length > call->size)
        return WIRE_NONE;
    memcpy(call->found, sealed, call->length);
    return WIRE_DONE;
}

enum memcache_result memcache_get(struct memcache *memcache, enum memcache_kind kind,
                                  const struct digest *key, struct deadline deadline,
                                  struct trace *trace, void *value, size_t size, size_t *length)
{
    static const char *const said[] = {
        [MEMCACHE_FAILED] = "failed", [MEMCACHE_MISS] = "miss", [MEMCACHE_HIT] = "hit"};
    char wire_key[WIRE_KEY_MAX + 1];
    struct wire_call call = {.verb = WIRE_GET, .key = wire_key, .found = value, .size = size};
    struct fault fault = {.text = ""};
    int64_t begin_us = clock_mono_us();
    key_write(memcache, (char)kind, key, wire_key);
    enum wire_result done = memcache->seal.on ? get_sealed(memcache, deadline, &call, trace, &fault)
                                              : call_do(memcache, deadline, &call, &fault);
    enum memcache_result result = done == WIRE_DONE   ? MEMCACHE_HIT
                                  : done == WIRE_NONE ? MEMCACHE_MISS
                                                      : MEMCACHE_FAILED;
    *length = result == MEMCACHE_HIT ? call.length : 0;
    int64_t us = clock_mono_us() - begin_us;
    histogram_add(HISTOGRAM_memcache_get_seconds, us);
    trace_add(trace, "memcached %s: %s%s%s (%.2f ms)", wire_key, said[result],
              fault.text[0] ? ": " : "", fault.text, (double)us / 1000);
    return result;
}

static bool store(struct memcache *memcache, enum wire_verb verb, enum memcache_kind kind,
                  const struct digest *key, struct deadline deadline, const void *value,
                  size_t length, int64_t expires_s)
{
    if (expires_s < 1)
        return false; /* 0 would be for ever */
    if (expires_s > EXPIRY_MAX_S)
        expires_s = EXPIRY_MAX_S;
    char wire_key[WIRE_KEY_MAX + 1], sealed[SEALED_MAX];
    key_write(memcache, (char)kind, key, wire_key);
    struct wire_call call = {
        .verb = verb, .key = wire_key, .value = value, .length = length, .expires_s = expires_s};
    if (memcache->seal.on) {
        call.value = sealed;
        call.length = seal_close(&memcache->seal, wire_key, value, length, sealed);
        if (call.length == 0)
            return false;
    }
    return call_do(memcache, deadline, &call, NULL) == WIRE_DONE;
}

bool memcache_put(struct memcache *memcache, enum memcache_kind kind, const struct digest *key,
                  struct deadline deadline, const void *value, size_t length, int64_t expires_s)
{
    return store(memcache, WIRE_SET, kind, key, deadline, value, length, expires_s);
}

bool memcache_add(struct memcache *memcache, enum memcache_kind kind, const struct digest *key,
                  struct deadline deadline, const void *value, size_t length, int64_t expires_s)
{
    return store(memcache, WIRE_ADD, kind, key, deadline, value, length, expires_s);
}

bool memcache_remove(struct memcache *memcache, enum memcache_kind kind, const struct digest *key,
                     struct deadline deadline, struct fault *fault)
{
    char wire_key[WIRE_KEY_MAX + 1];
    struct wire_call call = {.verb = WIRE_REMOVE, .key = wire_key};
    key_write(memcache, (char)kind, key, wire_key);
    enum wire_result result = call_do(memcache, deadline, &call, fault);
    return result == WIRE_DONE || result == WIRE_NONE;
}

void memcache_report(struct memcache *memcache, void (*line)(void *context, const char *text),
                     void *context)
{
    for (size_t i = 0; i < memcache->count; i++) {
        char state[ENDPOINT_TEXT_MAX + FAULT_MAX + 64], text[sizeof state + 16];
        memcache_server_describe(&memcache->servers[i], state, sizeof state);
        snprintf(text, sizeof text, "memcached %s", state);
        line(context, text);
    }
}

void memcache_servers(struct memcache *memcache, struct servers *servers)
{
    for (size_t i = 0; i < memcache->count; i++) {
        struct memcache_server *server = &memcache->servers[i];
        struct server_state state = {.tier = SERVER_MEMCACHED,
                                     .breaker_open = breaker_is_open(&server->breaker)};
        state.up = !state.breaker_open && memcache_server_is_ready(server);
        memcpy(state.name, server->text, sizeof state.name);
        servers_add(servers, &state);
    }
}
