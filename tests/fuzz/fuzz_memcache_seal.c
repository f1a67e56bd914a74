/* The input is what a memcached has under our key: a sealed value, or what somebody put there. The
 * secret is sixteen zeros (the digits). */
#include "tests/fuzz/fuzz.h"

#include "db/memcache_seal.h"

static const char secret[] = "0000000000000000";
static const char our_key[] = "rcpt-milter:r00000000000000000000000000000000";
static const char other_key[] = "rcpt-milter:g00000000000000000000000000000000";

/* Only what closing gives opens. */
static void check_opened(const struct seal *seal, struct input input, size_t length)
{
    char again[SEALED_MAX];
    size_t ignored;
    assert(length + SEAL_BYTES == input.length);
    if (input.length <= SEALED_MAX) {
        assert(seal_close(seal, our_key, input.bytes, length, again) == input.length);
        assert(memcmp(again, input.bytes, input.length) == 0);
    }
    assert(!seal_open(seal, other_key, input.bytes, input.length, &ignored));
    for (size_t cut = 0; cut < input.length; cut++)
        assert(!seal_open(seal, our_key, input.bytes, cut, &ignored));
}

/* The input as a value: it comes back, and with one bit of it changed it does not. */
static void check_round_trip(const struct seal *seal, struct input input)
{
    char sealed[SEALED_MAX];
    size_t length = 0;
    size_t sealed_length = seal_close(seal, our_key, input.bytes, input.length, sealed);
    assert((sealed_length == 0) == (input.length > SEALED_MAX - SEAL_BYTES));
    if (sealed_length == 0)
        return;
    assert(seal_open(seal, our_key, sealed, sealed_length, &length));
    assert(length == input.length && memcmp(sealed, input.bytes, length) == 0);
    size_t at = (unsigned char)sealed[sealed_length - 1] % sealed_length;
    sealed[at] ^= (char)(1 << (unsigned char)sealed[sealed_length - 2] % 8);
    assert(!seal_open(seal, our_key, sealed, sealed_length, &length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {(const char *)data, size};
    struct seal seal = {.on = true, .key = digest_key_from(secret, strlen(secret))};
    size_t length = SIZE_MAX;
    if (seal_open(&seal, our_key, input.bytes, input.length, &length))
        check_opened(&seal, input, length);
    else
        assert(length == SIZE_MAX);
    check_round_trip(&seal, input);
    return 0;
}
