#include "db/memcache_server.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "shared/counters.h"
#include "shared/log.h"

enum {
    REST_MS = 250,
    REST_MAX_MS = 2000, /* so its return is noticed within about two seconds */
};

static bool is_numeric(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

void memcache_server_init(struct memcache_server *server, const struct endpoint *endpoint,
                          int64_t timeout_ms)
{
    *server = (struct memcache_server){.endpoint = *endpoint, .timeout_ms = timeout_ms};
    endpoint_print(endpoint, server->text, sizeof server->text);
    breaker_init(&server->breaker, REST_MS, REST_MAX_MS);
    pthread_mutex_init(&server->lock, NULL);
    clock_cond_init(&server->returned);
    server->address = *endpoint;
    server->ready = endpoint->kind == ENDPOINT_UNIX || is_numeric(endpoint->host);
}

void memcache_server_release(struct memcache_server *server)
{
    for (size_t i = 0; i < server->idle_count; i++)
        wire_close(server->idle[i]);
    pthread_cond_destroy(&server->returned);
    pthread_mutex_destroy(&server->lock);
    breaker_release(&server->breaker);
}

/* Whatever idles is as dead as what failed. Closed outside of the lock. */
static void close_idle(struct memcache_server *server)
{
    struct wire *idle[MEMCACHE_HANDLES];
    pthread_mutex_lock(&server->lock);
    size_t count = server->idle_count;
    memcpy(idle, server->idle, count * sizeof *idle);
    server->idle_count = 0;
    pthread_mutex_unlock(&server->lock);
    for (size_t i = 0; i < count; i++)
        wire_close(idle[i]);
}

/* True when this is news. */
static bool server_failed(struct memcache_server *server, const struct fault *reason)
{
    bool opened = breaker_failed(&server->breaker);
    pthread_mutex_lock(&server->lock);
    if (opened)
        server->down_since_ms = clock_mono_ms();
    server->reason = *reason;
    pthread_mutex_unlock(&server->lock);
    if (opened) {
        log_warning("memcached %s: %s - going on without it", server->text, reason->text);
        close_idle(server);
    }
    return opened;
}

static bool server_rests(struct memcache_server *server, struct fault *fault)
{
    if (memcache_server_is_ready(server) && !breaker_is_open(&server->breaker))
        return false;
    char text[FAULT_MAX];
    memcache_server_describe(server, text, sizeof text);
    fault_set(fault, "memcached %s", text);
    return true;
}

/* A connection of its own for one operation. *fresh: it is a new one. NULL when there is none to be
 * had by the deadline. */
static struct wire *lease_take(struct memcache_server *server, struct deadline deadline,
                               bool *fresh)
{
    struct wire *wire = NULL;
    pthread_mutex_lock(&server->lock);
    while (server->leased == MEMCACHE_HANDLES)
        if (!clock_cond_wait(&server->returned, &server->lock, deadline))
            break;
    bool taken = server->leased < MEMCACHE_HANDLES;
    if (taken) {
        server->leased++;
        if (server->idle_count > 0)
            wire = server->idle[--server->idle_count];
    }
    struct endpoint address = server->address;
    pthread_mutex_unlock(&server->lock);
    *fresh = !wire;
    if (taken && !wire && !(wire = wire_open(&address))) {
        pthread_mutex_lock(&server->lock);
        server->leased--;
        pthread_cond_signal(&server->returned);
        pthread_mutex_unlock(&server->lock);
    }
    return wire;
}

/* `wire` goes back to the idle ones; NULL: it was closed. */
static void lease_return(struct memcache_server *server, struct wire *wire)
{
    pthread_mutex_lock(&server->lock);
    server->leased--;
    if (wire)
        server->idle[server->idle_count++] = wire; /* idle + leased <= MEMCACHE_HANDLES */
    pthread_cond_signal(&server->returned);
    pthread_mutex_unlock(&server->lock);
}

/* Less is not worth the beginning. */
static bool time_left(struct deadline deadline)
{
    return deadline.at_us - clock_mono_us() >= 1000;
}

static struct wire *wire_open_again(struct memcache_server *server, struct wire *broken)
{
    wire_close(broken);
    pthread_mutex_lock(&server->lock);
    struct endpoint address = server->address;
    pthread_mutex_unlock(&server->lock);
    return wire_open(&address);
}

/* One operation on a leased wire, which it may replace or close. */
static enum wire_result operate(struct memcache_server *server, struct wire **wire, bool fresh,
                                struct wire_call *call, struct deadline deadline, bool *opened,
                                struct fault *fault)
{
    int64_t given_ms = deadline_left_ms(deadline);
    struct fault reason = {.text = ""};
    enum wire_result result = wire_do(*wire, call, deadline, &reason);

    /* After a restart of the server every old connection fails once, at once. */
    if (result == WIRE_FAILED && !fresh && time_left(deadline)) {
        *wire = wire_open_again(server, *wire);
        fresh = *wire != NULL;
        if (fresh)
            result = wire_do(*wire, call, deadline, &reason);
    }
    if (result >= WIRE_NONE)
        return result;
    wire_close(*wire);
    *wire = NULL;
    counter_add(COUNT_memcache_failures);
    fault_set(fault, "memcached %s: %s", server->text, reason.text);
    /* Neither an old connection that broke, nor a caller who came with little time left, says that
     * the server is not well. */
    if ((result == WIRE_FAILED && fresh) ||
        (result == WIRE_LATE && 2 * given_ms >= server->timeout_ms))
        *opened = server_failed(server, &reason);
    return result;
}

enum wire_result memcache_server_do(struct memcache_server *server, struct wire_call *call,
                                    struct deadline deadline, bool *opened, struct fault *fault)
{
    *opened = false;
    deadline = deadline_sooner(deadline, deadline_in_ms(server->timeout_ms));
    if (server_rests(server, fault))
        return WIRE_FAILED;
    if (!time_left(deadline)) {
        fault_set(fault, "memcached %s: no time left to ask it", server->text);
        return WIRE_FAILED;
    }
    bool fresh;
    struct wire *wire = lease_take(server, deadline, &fresh);
    if (!wire) {
        fault_set(fault, "memcached %s: all of %d connections are in use", server->text,
                  MEMCACHE_HANDLES);
        counter_add(COUNT_memcache_failures);
        return WIRE_FAILED;
    }
    enum wire_result result = WIRE_FAILED;
    if (server_rests(server, fault)) /* it may have gone away while we waited for the lease */
        ;
    else if (!time_left(deadline))
        fault_set(fault, "memcached %s: no time left to ask it", server->text);
    else
        result = operate(server, &wire, fresh, call, deadline, opened, fault);
    lease_return(server, wire);
    return result;
}

bool memcache_server_is_ready(struct memcache_server *server)
{
    pthread_mutex_lock(&server->lock);
    bool ready = server->ready;
    pthread_mutex_unlock(&server->lock);
    return ready;
}

/* Asks for a key that nobody stores. */
static bool probe_address(struct memcache_server *server, const struct endpoint *address,
                          const char *key, struct fault *fault)
{
    struct wire *wire = wire_open(address);
    if (!wire) {
        fault_set(fault, "out of memory");
        return false;
    }
    char byte;
    struct wire_call call = {.verb = WIRE_GET, .key = key, .found = &byte, .size = sizeof byte};
    enum wire_result result = wire_do(wire, &call, deadline_in_ms(server->timeout_ms), fault);
    wire_close(wire);
    if (result == WIRE_DONE)
        fault_set(fault, "it has a value for a key that nobody stores");
    return result == WIRE_NONE;
}

/* Each address of the name in turn; the one that answers is kept. */
static bool probe_name(struct memcache_server *server, const char *key, struct endpoint *address,
                       struct fault *fault)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    int error = getaddrinfo(server->endpoint.host, NULL, &hints, &list);
    if (error != 0) {
        fault_set(fault, "looking up its name: %s", gai_strerror(error));
        return false;
    }
    bool answered = false;
    *address = server->endpoint;
    for (struct addrinfo *at = list; at && !answered; at = at->ai_next)
        answered = getnameinfo(at->ai_addr, at->ai_addrlen, address->host, sizeof address->host,
                               NULL, 0, NI_NUMERICHOST) == 0 &&
                   probe_address(server, address, key, fault);
    freeaddrinfo(list);
    return answered;
}

void memcache_server_probe(struct memcache_server *server, const char *key)
{
    struct fault reason = {.text = ""};
    struct endpoint address = server->endpoint;
    bool named = address.kind == ENDPOINT_INET && !is_numeric(address.host);
    bool well = named ? probe_name(server, key, &address, &reason)
                      : probe_address(server, &address, key, &reason);
    if (!well) {
        server_failed(server, &reason);
        return;
    }
    pthread_mutex_lock(&server->lock);
    server->address = address;
    server->ready = true;
    pthread_mutex_unlock(&server->lock);
    int64_t open_ms;
    if (breaker_succeeded(&server->breaker, &open_ms))
        log_info("memcached %s: works again, after %lld.%lld s", server->text,
                 (long long)(open_ms / 1000), (long long)(open_ms % 1000 / 100));
}

void memcache_server_describe(struct memcache_server *server, char *buffer, size_t size)
{
    bool open = breaker_is_open(&server->breaker);
    pthread_mutex_lock(&server->lock);
    if (open)
        snprintf(buffer, size, "%s down for %lld s: %s", server->text,
                 (long long)((clock_mono_ms() - server->down_since_ms) / 1000),
                 server->reason.text);
    else
        snprintf(buffer, size, "%s %s", server->text,
                 server->ready ? "up" : "not asked yet: its name is being looked up");
    pthread_mutex_unlock(&server->lock);
}
