#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "shared/digest.h"

static void a_shared_digest_is_blake2b_128_on_every_node(void **state)
{
    (void)state;
    const struct {
        const char *bytes, *hex;
    } known[] = {
        /* Python: hashlib.blake2b(..., digest_size=16) */
        {"", "cae66941d9efbd404e4d88758ea67670"},
        {"user@example.com", "a5060c048fc2219ff10f83c61bf65c81"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char hex[DIGEST_HEX + 1];
        struct digest digest = digest_shared(known[i].bytes, strlen(known[i].bytes));
        digest_to_hex(&digest, hex);
        assert_string_equal(hex, known[i].hex);
    }
}

static void a_local_digest_means_nothing_under_another_key(void **state)
{
    (void)state;
    struct digest before = digest_local("k", 1), same = digest_local("k", 1);
    assert_true(digest_equal(&before, &same));
    assert_true(digest_init()); /* as another process: another random key */
    struct digest after = digest_local("k", 1);
    assert_false(digest_equal(&before, &after));
}

static void digests_differ_when_any_byte_or_the_length_does(void **state)
{
    (void)state;
    const struct {
        const char *bytes;
        size_t length;
    } inputs[] = {{"", 0}, {"\0", 1}, {"a", 1}, {"A", 1}, {"a\0", 2}, {"a\0b", 3}, {"a\0c", 3}};
    enum { COUNT = sizeof inputs / sizeof *inputs };
    for (size_t i = 0; i < COUNT; i++)
        for (size_t j = 0; j < i; j++) {
            struct digest a = digest_shared(inputs[i].bytes, inputs[i].length);
            struct digest b = digest_shared(inputs[j].bytes, inputs[j].length);
            struct digest c = digest_local(inputs[i].bytes, inputs[i].length);
            struct digest d = digest_local(inputs[j].bytes, inputs[j].length);
            assert_false(digest_equal(&a, &b));
            assert_false(digest_equal(&c, &d));
        }
}

static void a_keyed_digest_is_blake2b_under_the_hash_of_the_secret(void **state)
{
    (void)state;
    const struct {
        const char *name, *bytes, *hex;
    } known[] = {
        /* Python: key = hashlib.blake2b(b"correct horse battery staple", digest_size=32).digest();
         * hashlib.blake2b(b"name\0value", key=key, digest_size=16) */
        {"name", "value", "1d1351adebddae6acede548b60700e20"},
        {"", "", "b11f01569c748fca9d328a9c73b2df8d"},
    };
    static const char secret[] = "correct horse battery staple";
    struct digest_key key = digest_key_from(secret, strlen(secret));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char hex[DIGEST_HEX + 1];
        struct digest digest =
            digest_keyed(&key, known[i].name, known[i].bytes, strlen(known[i].bytes));
        digest_to_hex(&digest, hex);
        assert_string_equal(hex, known[i].hex);
    }
}

static void a_keyed_digest_tells_name_from_bytes_and_key_from_key(void **state)
{
    (void)state;
    struct digest_key key = digest_key_from("secret", 6), other = digest_key_from("secreT", 6);
    struct digest digests[] = {digest_keyed(&key, "ab", "c", 1), digest_keyed(&key, "a", "bc", 2),
                               digest_keyed(&key, "abc", "", 0), digest_keyed(&key, "", "abc", 3),
                               digest_keyed(&other, "ab", "c", 1)};
    for (size_t i = 0; i < sizeof digests / sizeof *digests; i++)
        for (size_t j = 0; j < i; j++)
            assert_false(digest_equal(&digests[i], &digests[j]));
}

static void hex_is_32_lower_case_digits(void **state)
{
    (void)state;
    struct digest digest = {{0x00, 0x0f, 0xf0, 0xff, 0xab}};
    char hex[DIGEST_HEX + 1];
    digest_to_hex(&digest, hex);
    assert_string_equal(hex, "000ff0ffab0000000000000000000000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shared_digest_is_blake2b_128_on_every_node),
        cmocka_unit_test(a_local_digest_means_nothing_under_another_key),
        cmocka_unit_test(digests_differ_when_any_byte_or_the_length_does),
        cmocka_unit_test(a_keyed_digest_is_blake2b_under_the_hash_of_the_secret),
        cmocka_unit_test(a_keyed_digest_tells_name_from_bytes_and_key_from_key),
        cmocka_unit_test(hex_is_32_lower_case_digits),
    };
    return digest_init() ? cmocka_run_group_tests_name("digest", tests, NULL, NULL) : 1;
}
