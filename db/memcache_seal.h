/*
 * memcache_seal - values that only a node with the secret can have written (memcache_secret_file).
 * For db/memcache.c only. Pure but for the reading of the file; a struct seal is read-only once
 * loaded: any thread.
 *
 * A sealed value is the value and 16 bytes behind it: BLAKE2b-128, under a key that is made from
 * the secret, over the whole wire key (prefix, kind, digest), a NUL and the value. So what was
 * forged, cut, taken from another key or another kind, or never sealed does not open. What does
 * open is what some node once wrote under this very key; how old it may be is for the value itself
 * to say: an outcome holds the time of its answer. An older generation put back brings back what a
 * flush took away, but nothing past its own time.
 */
#ifndef DB_MEMCACHE_SEAL_H
#define DB_MEMCACHE_SEAL_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/digest.h"
#include "shared/fault.h"

enum {
    SEAL_BYTES = 16,
    SEALED_MAX = 1024 + SEAL_BYTES, /* ours are half of it at most; memcached's may be a MiB */
    SECRET_MIN = 16,
    SECRET_MAX = 4096,
};

struct seal {
    bool on;
    struct digest_key key;
};

/* Reads the secret: all of the file but one newline at its end. "" for the path: off. False and a
 * fault, without any of the secret in it, where the file cannot be read or is no plain file, where
 * others than its owner and group may read or change it, and where the secret has fewer than
 * SECRET_MIN or more than SECRET_MAX bytes. */
bool seal_load(struct seal *seal, const char *path, struct fault *fault);

/* The length of the sealed value, or 0 where it would be longer than SEALED_MAX. */
size_t seal_close(const struct seal *seal, const char *wire_key, const void *value, size_t length,
                  char sealed[SEALED_MAX]);

/* True where it is a value of this key; *value_length of its bytes, from the first, are the value.
 */
bool seal_open(const struct seal *seal, const char *wire_key, const void *sealed, size_t length,
               size_t *value_length);

#endif
