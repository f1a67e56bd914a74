/*
 * memcache_ring - which server has a key. The one home of libmemcached.
 *
 * Consistent hashing (ketama) over the servers as configured, so all nodes that list the same ones
 * agree, whatever the order. A server that is down keeps its keys: with them on another one, old
 * values would come back together with it.
 *
 * Read-only once made: any thread.
 */
#ifndef DB_MEMCACHE_RING_H
#define DB_MEMCACHE_RING_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/endpoint.h"
#include "shared/fault.h"

/* Is a libmemcached of this version one of 1.1.0 to 1.1.3 (CVE-2023-27478)? Then false. */
bool memcache_ring_version_is_safe(const char *version, struct fault *fault);
const char *memcache_ring_version(void);

struct memcache_ring;

struct memcache_ring *memcache_ring_create(const struct endpoint *servers, size_t count);
void memcache_ring_destroy(struct memcache_ring *ring); /* NULL is fine */
size_t memcache_ring_choose(const struct memcache_ring *ring, const char *key);

#endif
