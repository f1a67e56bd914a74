#include "shared/digest.h"

#include <sodium.h>
#include <string.h>

static unsigned char
    digest_key[crypto_shorthash_siphashx24_KEYBYTES]; /* set once, before threads */

bool digest_init(void)
{
    if (sodium_init() < 0)
        return false;
    randombytes_buf(digest_key, sizeof digest_key);
    return true;
}

struct digest digest_local(const void *bytes, size_t length)
{
    struct digest digest;
    crypto_shorthash_siphashx24(digest.bytes, bytes, length, digest_key);
    return digest;
}

struct digest digest_shared(const void *bytes, size_t length)
{
    struct digest digest;
    crypto_generichash(digest.bytes, sizeof digest.bytes, bytes, length, NULL, 0);
    return digest;
}

struct digest_key digest_key_from(const void *secret, size_t length)
{
    struct digest_key key;
    crypto_generichash(key.bytes, sizeof key.bytes, secret, length, NULL, 0);
    return key;
}

struct digest digest_keyed(const struct digest_key *key, const char *name, const void *bytes,
                           size_t length)
{
    struct digest digest;
    crypto_generichash_state state;
    crypto_generichash_init(&state, key->bytes, sizeof key->bytes, sizeof digest.bytes);
    crypto_generichash_update(&state, (const unsigned char *)name, strlen(name) + 1);
    crypto_generichash_update(&state, bytes, length);
    crypto_generichash_final(&state, digest.bytes, sizeof digest.bytes);
    return digest;
}

struct digest digest_random(void)
{
    struct digest digest;
    randombytes_buf(digest.bytes, sizeof digest.bytes);
    return digest;
}

void digest_to_hex(const struct digest *digest, char hex[DIGEST_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";
    /* Not sodium_bin2hex, which takes the same time whatever the bytes are: no digest that is
     * printed is a secret. */
    for (size_t i = 0; i < sizeof digest->bytes; i++) {
        *hex++ = digits[digest->bytes[i] >> 4];
        *hex++ = digits[digest->bytes[i] & 15];
    }
    *hex = '\0';
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return sodium_memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
