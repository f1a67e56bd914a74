/*
 * lookup - the inside of the resolver: one lookup on its way through the tiers. For db/resolver.c
 * (the walk), db/tiers.c (the two caches) and db/evidence.c (what vouches, what holds back, and
 * since when somebody has been absent) only.
 */
#ifndef DB_LOOKUP_H
#define DB_LOOKUP_H

#include "db/authority.h"
#include "db/generations.h"
#include "db/memcache.h"
#include "db/resolver.h"
#include "shared/lru.h"

struct resolver {
    const struct settings *settings; /* borrowed */
    struct authority *authority;
    struct lru *outcomes;            /* NULL: no process cache */
    struct lru *roles;               /* NULL: no process cache, or no role_maps */
    struct memcache *memcache;       /* NULL: none */
    struct generations *generations; /* NULL: no memcached */
    struct known_good *known_good;   /* lent; NULL: none */
    struct ledger *ledger;           /* lent; NULL: none */
};

/* What one lookup carries from tier to tier. */
struct lookup {
    struct resolver *resolver;
    const struct address *address;
    enum lookup_mode mode;
    struct deadline deadline;
    struct trace *trace;
    struct digest local;    /* the key in the process cache */
    struct digest shared;   /* the key in memcached */
    bool shared_is_set;     /* the generations are known, so memcached may be used */
    int64_t stale_verified; /* of a KNOWN past its time; 0: there was none */
    struct absence before;  /* what memcached says of an absence until now; zero: nothing */
    int64_t before_verified;
};

void lookup_trace_outcome(struct lookup *lookup, const char *tier, const struct outcome *outcome);

/* ---- db/tiers.c ---- */

/* True with a fresh answer. What is older is kept in the lookup as evidence. */
bool lookup_ask_process_cache(struct lookup *lookup, struct outcome *outcome);
bool lookup_ask_memcache(struct lookup *lookup, struct outcome *outcome);

void lookup_store_in_process_cache(struct lookup *lookup, const struct outcome *outcome);
void lookup_store_in_memcache(struct lookup *lookup, const struct outcome *outcome);

/* Sets lookup->shared; false where memcached cannot be used now. */
bool lookup_find_shared_key(struct lookup *lookup);

/* How long an absence that nobody asks about is remembered. */
int64_t absence_lasts_s(const struct settings *settings);

/* ---- db/evidence.c ---- */

/* ABSENT now: since when? */
void lookup_date_absence(struct lookup *lookup, struct outcome *outcome);
/* KNOWN, now or by memcached's word: into the known-good store. */
void lookup_confirm(struct lookup *lookup, const struct outcome *outcome);
/* UNAVAILABLE: becomes KNOWN where older evidence vouches. */
void lookup_vouch(struct lookup *lookup, struct outcome *outcome);
/* ABSENT now: is held back where the recipient was known good until lately. True where memcached
 * knows better than to be overwritten: an outage often follows a table that was lost, and what it
 * holds will vouch then. */
bool lookup_hold(struct lookup *lookup, struct outcome *outcome);

#endif
