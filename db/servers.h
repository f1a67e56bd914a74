/*
 * servers - how the servers behind a resolver, and the queues before them, are now: for metrics.
 * `rcptctl status` has the sentences. Any thread; the locks taken are leaves, for a few
 * instructions each, and nobody is asked.
 */
#ifndef DB_SERVERS_H
#define DB_SERVERS_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/endpoint.h"

struct resolver;

enum server_tier { SERVER_DIRECTORY, SERVER_MEMCACHED, SERVER_TIERS };

struct server_state {
    enum server_tier tier;
    char name[ENDPOINT_TEXT_MAX]; /* "unix:/path", "inet:host:port" */
    bool up;                      /* used, and answering; one on trial is not up */
    bool breaker_open;            /* resting, or on trial */
    bool lagging;                 /* directory: max_replica_lag is passed, or nobody can tell */
    unsigned connections;         /* directory */
};

enum { SERVERS_LIST_MAX = 128 };

struct servers {
    struct server_state list[SERVERS_LIST_MAX];
    size_t count;
    unsigned queries_waiting, queries_running;
    unsigned lookup_slots_taken;
    size_t process_cache_entries;
};

void servers_read(struct resolver *resolver, struct servers *servers);

/* For those who know a server. The same server of two pools is told once, as the worse of the two,
 * with the connections of both. What does not fit is left out. */
void servers_add(struct servers *servers, const struct server_state *state);

#endif
