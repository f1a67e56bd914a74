#include "shared/networks.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shared/text.h"

/* An address and, in the list, the leading bits of it that count. */
struct network {
    int family; /* AF_INET or AF_INET6 */
    unsigned bits;
    unsigned char bytes[sizeof(struct in6_addr)];
};

struct networks {
    size_t count;
    struct network network[];
};

enum { PATTERN_MAX = 64 }; /* the longest, [v6 with a dotted tail]/128, has 52 */

static const char separators[] = " \t\r\n\v\f,";

static const unsigned char mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static unsigned family_bits(int family)
{
    return family == AF_INET6 ? 128 : 32;
}

static bool read_address(const char *text, struct network *network)
{
    network->family = strchr(text, ':') ? AF_INET6 : AF_INET;
    network->bits = family_bits(network->family);
    return inet_pton(network->family, text, network->bytes) == 1;
}

/* ::ffff:192.0.2.1 is 192.0.2.1 as a socket open to both families sees it. */
static void unmap_ipv4(struct network *network)
{
    if (network->family != AF_INET6 || network->bits < 96 ||
        memcmp(network->bytes, mapped_prefix, sizeof mapped_prefix) != 0)
        return;
    memmove(network->bytes, network->bytes + 12, 4);
    network->family = AF_INET;
    network->bits -= 96;
}

/* Which bits of byte `index` belong to the network. */
static unsigned char byte_mask(unsigned bits, unsigned index)
{
    if (bits >= 8 * (index + 1))
        return 0xff;
    return bits <= 8 * index ? 0 : (unsigned char)(0xff << (8 * (index + 1) - bits));
}

/* What is in mynetworks but not here; NULL where it is neither. */
static const char *unsupported(const char *pattern)
{
    if (pattern[0] == '!')
        return "\"!\" (exclusion) is not supported here";
    if (pattern[0] == '/')
        return "a file of networks is not supported here, write the networks themselves";
    if (pattern[0] == '[' || !strchr(pattern, ':'))
        return NULL;

    char address[PATTERN_MAX];
    struct text text = text_on(address, sizeof address);
    struct network network;
    text_add_bytes(&text, pattern, strcspn(pattern, "/"));
    if (read_address(address, &network))
        return "an IPv6 address is written in brackets, as in main.cf: [2001:db8::]/32";
    return "a table (type:name) is not supported here, write the networks themselves";
}

/* Takes `[address]/bits`, `[address/bits]` or `address/bits` apart, in place. *bits is NULL where
 * there are none. */
static bool split_pattern(char *pattern, char **address, char **bits)
{
    char *slash_from = pattern;
    *address = pattern;
    if (pattern[0] == '[') {
        char *close = strchr(pattern, ']');
        if (!close || (close[1] != '\0' && close[1] != '/'))
            return false;
        *address = pattern + 1;
        *close = '\0';
        slash_from = close[1] == '/' ? close + 1 : pattern + 1;
    }
    char *slash = strchr(slash_from, '/');
    *bits = slash ? slash + 1 : NULL;
    if (slash)
        *slash = '\0';
    return true;
}

static bool check_host_bits(const char *pattern, const struct network *network, struct fault *fault)
{
    struct network right = *network;
    for (unsigned i = 0; i < family_bits(network->family) / 8; i++)
        right.bytes[i] &= byte_mask(network->bits, i);
    if (memcmp(right.bytes, network->bytes, family_bits(network->family) / 8) == 0)
        return true;
    char printed[INET6_ADDRSTRLEN];
    bool ipv6 = network->family == AF_INET6;
    inet_ntop(network->family, right.bytes, printed, sizeof printed);
    fault_set(fault, "%s: the host bits are not zero, perhaps you mean %s%s%s/%u", pattern,
              ipv6 ? "[" : "", printed, ipv6 ? "]" : "", network->bits);
    return false;
}

static bool parse_pattern(const char *pattern, struct network *network, struct fault *fault)
{
    const char *reason = unsupported(pattern);
    if (reason) {
        fault_set(fault, "%s: %s", pattern, reason);
        return false;
    }
    char copy[PATTERN_MAX], *address, *bits;
    struct text text = text_on(copy, sizeof copy);
    text_add(&text, pattern);
    uint64_t number;
    if (text.overflow || !split_pattern(copy, &address, &bits) || !read_address(address, network)) {
        fault_set(fault, "%s: no network, write 192.0.2.0/24, 192.0.2.1 or [2001:db8::]/32",
                  pattern);
        return false;
    }
    if (bits) {
        if (!text_to_number(bits, network->bits, &number)) {
            fault_set(fault, "%s: \"%s\" is no number of bits from 0 to %u", pattern, bits,
                      network->bits);
            return false;
        }
        network->bits = (unsigned)number;
    }
    if (!check_host_bits(pattern, network, fault))
        return false;
    unmap_ipv4(network);
    return true;
}

static size_t count_patterns(const char *text)
{
    size_t count = 0;
    while (*(text += strspn(text, separators))) {
        count++;
        text += strcspn(text, separators);
    }
    return count;
}

bool networks_parse(const char *text, struct networks **networks, struct fault *fault)
{
    *networks = NULL;
    size_t count = count_patterns(text);
    if (count == 0)
        return true;
    struct networks *list = malloc(sizeof *list + count * sizeof list->network[0]);
    char *copy = strdup(text), *rest = NULL;
    bool good = list && copy;
    if (!good)
        fault_set(fault, "no memory for a list of %zu networks", count);
    else
        list->count = 0;
    char *pattern = good ? strtok_r(copy, separators, &rest) : NULL;
    while (good && pattern) {
        good = parse_pattern(pattern, &list->network[list->count++], fault);
        pattern = strtok_r(NULL, separators, &rest);
    }
    free(copy);
    if (good)
        *networks = list;
    else
        free(list);
    return good;
}

void networks_free(struct networks *networks)
{
    free(networks);
}

static bool network_contains(const struct network *network, const struct network *client)
{
    if (network->family != client->family)
        return false;
    unsigned whole = network->bits / 8;
    if (memcmp(network->bytes, client->bytes, whole) != 0)
        return false;
    unsigned char mask = byte_mask(network->bits, whole);
    return mask == 0 || ((network->bytes[whole] ^ client->bytes[whole]) & mask) == 0;
}

bool networks_contain(const struct networks *networks, const char *address)
{
    static const char tag[] = "IPv6:"; /* {client_addr} has it, as an address literal does */
    struct network client;
    if (!networks || !address)
        return false;
    if (strncasecmp(address, tag, strlen(tag)) == 0)
        address += strlen(tag);
    if (!read_address(address, &client))
        return false;
    unmap_ipv4(&client);
    for (size_t i = 0; i < networks->count; i++)
        if (network_contains(&networks->network[i], &client))
            return true;
    return false;
}
