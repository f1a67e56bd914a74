/*
 * memcache_server - one memcached: its connections, its breaker, and how one operation goes there.
 * For db/memcache.c only.
 *
 * Lines in the log: one when it goes away, one when it is back.
 */
#ifndef DB_MEMCACHE_SERVER_H
#define DB_MEMCACHE_SERVER_H

#include <pthread.h>
#include <stdbool.h>

#include "db/memcache_wire.h"
#include "shared/breaker.h"
#include "shared/clock.h"
#include "shared/endpoint.h"
#include "shared/fault.h"

/* An operation over a unix socket takes about 30 microseconds, so a dozen connections are more than
 * all the callbacks of a busy node keep busy; 32 nodes with 32 each come to memcached's limit of
 * 1024 connections. */
enum { MEMCACHE_HANDLES = 32 };

struct memcache_server {
    struct endpoint endpoint;     /* as configured; never changes */
    char text[ENDPOINT_TEXT_MAX]; /* the same, printed */
    int64_t timeout_ms;           /* set once */
    struct breaker breaker;       /* has its own lock */

    pthread_mutex_t lock;    /* a leaf: covers all below */
    pthread_cond_t returned; /* a lease ended */
    bool ready;              /* address is known */
    struct endpoint address; /* where to connect: no names to look up on the callers' way */
    struct wire *idle[MEMCACHE_HANDLES];
    size_t idle_count, leased; /* leased <= MEMCACHE_HANDLES */
    int64_t down_since_ms;     /* monotonic; while the breaker is open */
    struct fault reason;       /* while the breaker is open */
};

void memcache_server_init(struct memcache_server *server, const struct endpoint *endpoint,
                          int64_t timeout_ms);
void memcache_server_release(struct memcache_server *server);

/* WIRE_FAILED without any cost while it rests. *opened: this call found it gone, so the prober has
 * to be woken. */
enum wire_result memcache_server_do(struct memcache_server *server, struct wire_call *call,
                                    struct deadline deadline, bool *opened, struct fault *fault);

/* For the prober. Looks its name up, too. */
bool memcache_server_is_ready(struct memcache_server *server);
void memcache_server_probe(struct memcache_server *server, const char *key);

/* "unix:/path up", "inet:host:port down for 12 s: reason". */
void memcache_server_describe(struct memcache_server *server, char *buffer, size_t size);

#endif
