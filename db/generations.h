/*
 * generations - how a domain or everything is flushed from memcached without walking keys.
 *
 * Every memcached key of an outcome is made from the address and a generation. Each domain has one
 * and the whole directory has one; both live in memcached as 16 random bytes, and a flush replaces
 * them, so that the old values are never asked for again. A generation that memcached lost is made
 * anew, and so is one that is not what a node of this memcache_secret_file wrote: losing one can
 * only empty the cache, never bring back what was flushed. Nodes whose secrets differ therefore
 * replace each other's generations: misses for both, and still no flush is lost.
 *
 * A node remembers a generation for process_cache_ttl, so a warm recipient costs memcached one get,
 * and a flush on one node is seen by the others within that time. Any thread.
 */
#ifndef DB_GENERATIONS_H
#define DB_GENERATIONS_H

#include <stdbool.h>

#include "db/memcache.h"
#include "shared/clock.h"
#include "shared/digest.h"
#include "shared/fault.h"
#include "shared/trace.h"

struct generations;

/* Borrows the memcache. `setup` goes into every generation: nodes that are set up differently
 * share no keys. NULL when memory is short. */
struct generations *generations_create(struct memcache *memcache, const struct digest *setup,
                                       int64_t remember_ms);
void generations_destroy(struct generations *generations); /* NULL is fine */

/* The present generation of keys in this domain. False when memcached could not be asked: then it
 * is not to be used for this lookup at all. */
bool generations_get(struct generations *generations, const char *domain, struct deadline deadline,
                     struct trace *trace, struct digest *generation);

/* Flushes one domain, or everything ("" for the domain). False and a fault when memcached could
 * not be told. */
bool generations_advance(struct generations *generations, const char *domain,
                         struct deadline deadline, struct fault *fault);

#endif
