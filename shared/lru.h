/*
 * lru - a bounded map from a digest_local to a few bytes, sharded so that threads seldom meet. When
 * it is full the entry that was used longest ago makes room. Entries expire. Any thread.
 *
 * The key's own bits choose the bucket, and nobody outside may: so no digest_shared, please.
 *
 * Times are milliseconds on one clock of the caller's choice, which must not step.
 */
#ifndef SHARED_LRU_H
#define SHARED_LRU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/digest.h"

struct lru;

enum { LRU_VALUE_MAX = 1024 }; /* bytes of one value */

/* NULL when memory is short. `entries` is the bound of the whole, at least 1. Memory is taken as
 * entries come. */
struct lru *lru_create(size_t entries);
void lru_destroy(struct lru *lru); /* NULL is fine; no other thread may be inside */

/* Copies a value that has not expired into value[size]; false on a miss, or where the value is
 * larger than size. */
bool lru_get(struct lru *lru, const struct digest *key, int64_t now_ms, void *value, size_t size,
             size_t *length);

/* Adds or replaces. A value over LRU_VALUE_MAX or a shortage of memory leaves the key without an
 * entry. */
void lru_put(struct lru *lru, const struct digest *key, int64_t expires_ms, const void *value,
             size_t length);

void lru_remove(struct lru *lru, const struct digest *key);
void lru_clear(struct lru *lru);
size_t lru_count(const struct lru *lru); /* entries, expired ones included */

#endif
