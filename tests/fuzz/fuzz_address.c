/* The first line is recipient_delimiter, the rest an address as the client wrote it. */
#include "tests/fuzz/fuzz.h"

#include "shared/address.h"
#include "shared/idn.h"

static bool addresses_equal(const struct address *a, const struct address *b)
{
    return strcmp(a->local, b->local) == 0 && strcmp(a->domain, b->domain) == 0 &&
           strcmp(a->key, b->key) == 0 && a->quoted == b->quoted;
}

static bool is_folded(const char *string)
{
    for (; *string; string++)
        if (*string >= 'A' && *string <= 'Z')
            return false;
    return true;
}

/* The other form of the domain is read as the same mailbox, unless it is too long to be read. */
static void check_other_form(const struct address *address)
{
    char other[ADDRESS_KEY_MAX];
    struct address again;
    if (!idn_other_form(address->key, other, sizeof other) ||
        address_parse(other, strlen(other), &again) != ADDRESS_OK)
        return;
    assert(strcmp(other, address->key) != 0 && is_clean(other));
    assert(addresses_equal(address, &again));
}

static void check_key(const struct address *address)
{
    size_t length = strlen(address->key), domain = strlen(address->domain);
    assert(length < ADDRESS_KEY_MAX && domain > 0 && length > domain);
    assert(is_folded(address->key) && is_clean(address->key));
    assert(address->key[length - domain - 1] == '@');
    assert(strcmp(address->key + length - domain, address->domain) == 0);
    assert((address->key[0] == '"') == address->quoted);

    struct address again;
    assert(address_parse(address->key, length, &again) == ADDRESS_OK);
    assert(addresses_equal(address, &again) && again.sent[0] == '\0');
    check_other_form(address);
}

static bool is_stem(const char *whole, const char *delimiters, const char *local, size_t length)
{
    if (strcmp(local, whole) == 0)
        return true;
    return strncmp(local, whole, length) == 0 && whole[length] != '\0' &&
           strchr(delimiters, whole[length]);
}

/* Is this the local part of an address that may stand for it: itself, as it was sent, either of
 * them without its extension, or nothing (the catch-all)? */
static bool local_is_derived(const struct address *address, const char *delimiters,
                             const char *local, size_t length)
{
    return length == 0 || is_stem(address->local, delimiters, local, length) ||
           (address->sent[0] && is_stem(address->sent, delimiters, local, length));
}

static void check_probe(const struct address *address, const char *delimiters, const char *key)
{
    assert(memchr(key, '\0', ADDRESS_KEY_MAX));
    size_t length = strlen(key), domain = strlen(address->domain);
    assert(length > domain && key[length - domain - 1] == '@');
    assert(strcmp(key + length - domain, address->domain) == 0);

    char local[ADDRESS_KEY_MAX];
    memcpy(local, key, length - domain - 1);
    local[length - domain - 1] = '\0';
    if (local_is_derived(address, delimiters, local, strlen(local)))
        return;
    /* Then it is the quoted form of one. */
    struct address parsed;
    assert(address_parse(key, length, &parsed) == ADDRESS_OK && key[0] == '"');
    const char *meant = parsed.sent[0] ? parsed.sent : parsed.local;
    assert(local_is_derived(address, delimiters, meant, strlen(meant)));
}

static void check_probes(const struct address *address, const char *delimiters)
{
    struct address_probes probes;
    memset(&probes, 'x', sizeof probes);
    address_probes(address, delimiters, &probes);
    assert(probes.count > 0 && probes.count <= ADDRESS_PROBES_MAX);
    assert(strcmp(probes.key[0], address->key) == 0);
    const char *last = probes.key[probes.count - 1];
    assert(last[0] == '@' && strcmp(last + 1, address->domain) == 0);
    for (size_t i = 0; i < probes.count; i++) {
        check_probe(address, delimiters, probes.key[i]);
        for (size_t j = 0; j < i; j++)
            assert(strcmp(probes.key[i], probes.key[j]) != 0);
    }
}

/* What may change in the text without changing the mailbox. */
static void check_spellings(struct input input, enum address_result result,
                            const struct address *address)
{
    struct address other;
    char *changed = malloc(input.length + 2);
    assert(changed);
    for (size_t i = 0; i < input.length; i++) {
        char c = input.bytes[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        changed[i] = letter ? (char)(c ^ 0x20) : c;
    }
    assert(address_parse(changed, input.length, &other) == result);
    assert(result == ADDRESS_MALFORMED || addresses_equal(address, &other));

    if (input.length == 0 || input.bytes[0] != '<') {
        changed[0] = '<';
        memcpy(changed + 1, input.bytes, input.length);
        changed[input.length + 1] = '>';
        assert(address_parse(changed, input.length + 2, &other) == result);
        assert(result == ADDRESS_MALFORMED || addresses_equal(address, &other));
    }
    free(changed);
}

static void check_address(struct input input, const char *delimiters)
{
    struct address address, untouched;
    memset(&address, 'x', sizeof address);
    memset(&untouched, 'x', sizeof untouched);
    enum address_result result = address_parse(input.bytes, input.length, &address);
    check_spellings(input, result, &address);
    if (result == ADDRESS_MALFORMED) {
        assert(memcmp(&address, &untouched, sizeof address) == 0);
        return;
    }
    assert(strlen(address.local) <= ADDRESS_LOCAL_MAX && is_folded(address.local));
    if (result == ADDRESS_OK) {
        check_key(&address);
        check_probes(&address, delimiters);
    } else {
        assert(result == ADDRESS_NO_DOMAIN || strcmp(address.local, "postmaster") == 0);
        assert(address.domain[0] == '\0' && address.key[0] == '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {(const char *)data, size};
    char *delimiters = input_line(&input);
    bool allowed = !strchr(delimiters, '@'); /* config/values.c lets no other character in */
    for (const char *c = delimiters; *c; c++)
        allowed = allowed && *c > ' ' && *c <= '~';
    if (allowed)
        check_address(input, delimiters);
    free(delimiters);
    return 0;
}
