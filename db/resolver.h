/*
 * resolver - asks the tiers about one recipient, in order, under one deadline that only shrinks.
 *
 *   1. process cache: a fresh answer ends it
 *   2. memcached: a fresh answer ends it; a stale KNOWN is kept as evidence
 *   3. the directory: domain_maps, access_maps, recipient_maps. A complete answer goes into the
 * tiers above
 *   4. the directory UNAVAILABLE: the stale KNOWN vouches, else the known-good store
 *   5. nothing vouches: UNAVAILABLE
 *
 * Failures are never cached. No retry and no sleep on this path. At most lookup_slots callers wait
 * for the directory at a time, and a few more a moment for one of these slots (db/slots.h); who gets
 * none is shed.
 *
 * Any thread may ask. The resolver is read-only but for its caches and its slot count.
 */
#ifndef DB_RESOLVER_H
#define DB_RESOLVER_H

#include "config/settings.h"
#include "db/known_good.h"
#include "db/ledger.h"
#include "db/outcome.h"
#include "shared/address.h"
#include "shared/clock.h"
#include "shared/fault.h"
#include "shared/trace.h"

struct resolver;

/* Opens the maps and the caches of these settings, which must outlive the resolver. NULL and a
 * fault ("file:line: parameter: what"). offline: check files only, start nothing. */
struct resolver *resolver_open(const struct settings *settings, bool offline, struct fault *fault);
void resolver_close(struct resolver *resolver); /* NULL is fine; nobody may be inside */

/* Lends it the known-good store and the ledger, which must outlive it; without them (NULL) nobody
 * is known good, and an absence is proven through memcached only. Once, before the first lookup. */
void resolver_lend(struct resolver *resolver, struct known_good *store, struct ledger *ledger);

enum lookup_mode {
    LOOKUP_CACHED = 0,     /* the way above */
    LOOKUP_ASK_NOW,        /* skip fresh answers in the caches; store what the directory says */
    LOOKUP_DIRECTORY_DOWN, /* as if the directory were UNAVAILABLE: what would we say? */
};

void resolver_find(struct resolver *resolver, const struct address *address, enum lookup_mode mode,
                   struct deadline deadline, struct trace *trace, struct outcome *outcome);

/* What the directory itself says, past the caches; nothing is stored and nobody else vouches. */
void resolver_ask_directory(struct resolver *resolver, const struct address *address,
                            struct deadline deadline, struct trace *trace, struct outcome *outcome);

/* role_maps for the domain, else `role`. A role_maps that is UNAVAILABLE makes a primary. Kept for
 * process_cache_ttl, and not in memcached: a role is a node's own. */
enum role resolver_role(struct resolver *resolver, const char *domain, struct deadline deadline,
                        struct trace *trace);

/* rcptctl flush. False and a fault when memcached could not be told; the process cache always is.
 */
bool resolver_flush_address(struct resolver *resolver, const struct address *address,
                            struct fault *fault);
bool resolver_flush_domain(struct resolver *resolver, const char *domain, struct fault *fault);
bool resolver_flush_all(struct resolver *resolver, struct fault *fault);

/* Does recipient_maps name any map? If not, everything passes. */
bool resolver_checks_recipients(const struct resolver *resolver);

/* One line per server and cache, for `rcptctl status`. */
void resolver_report(struct resolver *resolver, void (*line)(void *context, const char *text),
                     void *context);

#endif
