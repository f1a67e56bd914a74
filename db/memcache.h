/*
 * memcache - the memcached tier: a few bytes under a digest, shared by the nodes. The one home of
 * libmemcached.
 *
 * It can only ever say "here are the bytes" or "nothing": trouble is a miss, costs at most one
 * memcache_timeout, and rests that server until the tier's own prober thread finds it well again.
 * What the bytes mean and whether they belong to the key is for the caller to judge (db/outcome.h).
 *
 * Any thread. Handles come from a small pool of clones and are leased for one operation; a handle
 * is thrown away after any result but SUCCESS or NOTFOUND, because libmemcached up to 1.1.3 could
 * then hand out another key's value (CVE-2023-27478).
 */
#ifndef DB_MEMCACHE_H
#define DB_MEMCACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/settings.h"
#include "shared/clock.h"
#include "shared/digest.h"
#include "shared/fault.h"
#include "shared/trace.h"

struct memcache;

/* Is the libmemcached we run with one of 1.1.0 to 1.1.3? Then a fault, and the daemon does not
 * start. */
bool memcache_library_is_safe(struct fault *fault);

/* Checks memcache_servers and memcache_key_prefix. False and a fault. */
bool memcache_check(const struct settings *settings, struct fault *fault);

/* NULL and a fault. Connects to nobody yet; starts the prober thread. */
struct memcache *memcache_open(const struct settings *settings, struct fault *fault);
void memcache_close(struct memcache *memcache); /* NULL is fine; nobody may be inside */

/* MISS: the server says it has none. FAILED: no server could be asked, for whatever reason (then
 * nothing is known). */
enum memcache_result { MEMCACHE_FAILED = 0, MEMCACHE_MISS, MEMCACHE_HIT };

/* Wire key: memcache_key_prefix, one letter for the kind of key, 32 hex digits. */
enum memcache_kind { MEMCACHE_OUTCOME = 'r', MEMCACHE_GENERATION = 'g' };

/* HIT copies the value, which is at most size bytes (a longer one is a MISS), and has no NUL added.
 */
enum memcache_result memcache_get(struct memcache *memcache, enum memcache_kind kind,
                                  const struct digest *key, struct deadline deadline,
                                  struct trace *trace, void *value, size_t size, size_t *length);

/* Expiry in seconds from now, 1 to 30 days. False when it was not stored. */
bool memcache_put(struct memcache *memcache, enum memcache_kind kind, const struct digest *key,
                  struct deadline deadline, const void *value, size_t length, int64_t expires_s);

/* Stores only where there is none yet. False when there is one, or on failure. */
bool memcache_add(struct memcache *memcache, enum memcache_kind kind, const struct digest *key,
                  struct deadline deadline, const void *value, size_t length, int64_t expires_s);

/* True when it is gone (or never was); false and a fault that names the server when that is not
 * known. */
bool memcache_remove(struct memcache *memcache, enum memcache_kind kind, const struct digest *key,
                     struct deadline deadline, struct fault *fault);

/* One line per server, "unix:/path up" or "inet:host:port down for 12 s: reason", for `rcptctl
 * status`. The callback gets each. */
void memcache_report(struct memcache *memcache, void (*line)(void *context, const char *text),
                     void *context);

#endif
