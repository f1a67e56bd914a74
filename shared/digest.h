/*
 * digest - 128-bit names for keys of any length. The one home of libsodium. Any thread, after
 * digest_init.
 */
#ifndef SHARED_DIGEST_H
#define SHARED_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

struct digest {
    unsigned char bytes[16];
};

enum { DIGEST_HEX = 32 }; /* characters, without the NUL */

/* Once, before any thread. False where the system has no randomness to give. */
bool digest_init(void);

/* SipHash-2-4-128 under a random key of this process: fast, and nobody outside can make two keys
 * collide. Means nothing to another process. */
struct digest digest_local(const void *bytes, size_t length);

/* BLAKE2b-128: the same on every node, for names that several nodes must agree on. */
struct digest digest_shared(const void *bytes, size_t length);

/* A key from a secret of any length (BLAKE2b-256 of it). */
struct digest_key {
    unsigned char bytes[32];
};
struct digest_key digest_key_from(const void *secret, size_t length);

/* BLAKE2b-128 under a key, over the name, its NUL and the bytes: nobody without the key can make it
 * or tell it from random bytes. */
struct digest digest_keyed(const struct digest_key *key, const char *name, const void *bytes,
                           size_t length);

/* 128 random bits. */
struct digest digest_random(void);

void digest_to_hex(const struct digest *digest, char hex[DIGEST_HEX + 1]); /* lower case */
/* Takes the same time whatever they are: one of them may be somebody's guess. */
bool digest_equal(const struct digest *a, const struct digest *b);

#endif
