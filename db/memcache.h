/*
 * memcache - the memcached tier: a few bytes under a digest, shared by the nodes. Below it,
 * memcache_ring says which server has a key (libmemcached's ketama), memcache_server has the
 * connections and the breaker of one server, and memcache_wire speaks the protocol.
 *
 * It can only ever say "here are the bytes" or "nothing": trouble is a miss, costs at most one
 * memcache_timeout, and rests that server until the tier's own prober thread finds it well again.
 * What the bytes mean and whether they belong to the key is for the caller to judge (db/outcome.h).
 * With memcache_secret_file every value is sealed (db/memcache_seal.h), whatever its kind, and one
 * whose seal is not right is a miss, a count, and at most one line in the log a minute.
 *
 * Any thread. Each server has a small pool of connections, which are leased for one operation; one
 * with any result but the two expected ones is thrown away. Host names are looked up by the prober,
 * never on a caller's way, and until it has done so for the first time that server counts as
 * resting.
 */
#ifndef DB_MEMCACHE_H
#define DB_MEMCACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/settings.h"
#include "db/servers.h"
#include "shared/clock.h"
#include "shared/digest.h"
#include "shared/fault.h"
#include "shared/trace.h"

struct memcache;

/* False and a fault where the libmemcached we run with is one of 1.1.0 to 1.1.3: the daemon then
 * does not start. */
bool memcache_library_is_safe(struct fault *fault);

/* Checks memcache_servers (separated by commas or white space: unix:/path, inet:host:port,
 * host:port, host), memcache_key_prefix and the file of memcache_secret_file. False and a fault
 * that begins with the parameter. */
bool memcache_check(const struct settings *settings, struct fault *fault);

/* NULL and a fault, also where memcache_servers is empty. Connects to nobody yet; starts the prober
 * thread. */
struct memcache *memcache_open(const struct settings *settings, struct fault *fault);
/* NULL is fine; nobody may be inside. Waits for a probe under way: one memcache_timeout, and where
 * a server has a name, the lookup of that name. */
void memcache_close(struct memcache *memcache);

/* MISS: the server says it has none, or what it has is too long or not sealed by us, so that an add
 * may still find something in its way. FAILED: no server could be asked, for whatever reason (then
 * nothing is known). */
enum memcache_result { MEMCACHE_FAILED = 0, MEMCACHE_MISS, MEMCACHE_HIT };

/* Wire key: memcache_key_prefix, one letter for the kind of key, 32 hex digits. */
enum memcache_kind { MEMCACHE_OUTCOME = 'r', MEMCACHE_GENERATION = 'g' };

/* HIT copies the value, which is at most size bytes (a longer one is a MISS), and has no NUL added.
 */
enum memcache_result memcache_get(struct memcache *memcache, enum memcache_kind kind,
                                  const struct digest *key, struct deadline deadline,
                                  struct trace *trace, void *value, size_t size, size_t *length);

/* Expiry in seconds from now: more than 30 days are 30 days, less than 1 stores nothing. Sealed, a
 * value has at most 1024 bytes. False when it was not stored. */
bool memcache_put(struct memcache *memcache, enum memcache_kind kind, const struct digest *key,
                  struct deadline deadline, const void *value, size_t length, int64_t expires_s);

/* Stores only where there is none yet. False when there is one, or on failure. */
bool memcache_add(struct memcache *memcache, enum memcache_kind kind, const struct digest *key,
                  struct deadline deadline, const void *value, size_t length, int64_t expires_s);

/* True when it is gone (or never was); false and a fault that names the server when that is not
 * known. */
bool memcache_remove(struct memcache *memcache, enum memcache_kind kind, const struct digest *key,
                     struct deadline deadline, struct fault *fault);

/* One line per server, "memcached unix:/path up" or "... down for 12 s: reason", for `rcptctl
 * status`. The callback gets each. */
void memcache_report(struct memcache *memcache, void (*line)(void *context, const char *text),
                     void *context);

/* The same for metrics. */
void memcache_servers(struct memcache *memcache, struct servers *servers);

#endif
