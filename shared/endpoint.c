#include "shared/endpoint.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "shared/text.h"

static bool has_blank_or_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text <= 0x20 || *text == 0x7f)
            return true;
    return false;
}

static bool parse_unix(const char *text, const char *path, struct endpoint *endpoint,
                       struct fault *fault)
{
    if (path[0] != '/') {
        fault_set(fault,
                  "%s: the path of a unix socket must begin with / (only Postfix can take one "
                  "relative to its queue directory)",
                  text);
        return false;
    }
    size_t length = strlen(path);
    if (length >= sizeof endpoint->path) {
        fault_set(fault, "%s: the path of a unix socket may have at most %zu bytes, this has %zu",
                  text, sizeof endpoint->path - 1, length);
        return false;
    }
    memcpy(endpoint->path, path, length + 1);
    endpoint->kind = ENDPOINT_UNIX;
    return true;
}

/* Brackets are for IPv6, but main.cf allows them round an IPv4 address too. */
static bool parse_bracketed_host(const char *text, struct endpoint *endpoint, struct fault *fault)
{
    unsigned char address[sizeof(struct in6_addr)];
    endpoint->ipv6_literal = inet_pton(AF_INET6, endpoint->host, address) == 1;
    if (endpoint->ipv6_literal || inet_pton(AF_INET, endpoint->host, address) == 1)
        return true;
    fault_set(fault, "%s: [%s] is no IP address", text, endpoint->host);
    return false;
}

static bool parse_plain_host(const char *text, struct endpoint *endpoint, struct fault *fault)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    const char *host = endpoint->host;
    if (strchr(host, ':')) {
        fault_set(fault, "%s: an IPv6 address is written in brackets, inet:[::1]:port", text);
        return false;
    }
    if (host[0] == '\0' || host[strspn(host, allowed)] != '\0') {
        fault_set(fault, "%s: \"%s\" is no host name and no IP address", text, host);
        return false;
    }
    return true;
}

static bool parse_inet(const char *text, const char *rest, struct endpoint *endpoint,
                       struct fault *fault)
{
    const char *colon = strrchr(rest, ':');
    const char *bracket = strrchr(rest, ']');
    bool bracketed = rest[0] == '[';
    if (!colon || (bracketed && bracket != colon - 1)) {
        fault_set(fault, "%s: write inet:host:port or inet:[::1]:port", text);
        return false;
    }
    uint64_t port;
    if (!text_to_number(colon + 1, UINT16_MAX, &port) || port == 0) {
        fault_set(fault, "%s: the port \"%s\" is no number from 1 to 65535", text, colon + 1);
        return false;
    }
    const char *host = bracketed ? rest + 1 : rest;
    size_t length = (size_t)((bracketed ? bracket : colon) - host);
    if (length >= sizeof endpoint->host) {
        fault_set(fault, "%s: the host name may have at most %zu bytes", text,
                  sizeof endpoint->host - 1);
        return false;
    }
    memcpy(endpoint->host, host, length);
    endpoint->host[length] = '\0';
    endpoint->port = (uint16_t)port;
    endpoint->kind = ENDPOINT_INET;
    return bracketed ? parse_bracketed_host(text, endpoint, fault)
                     : parse_plain_host(text, endpoint, fault);
}

bool endpoint_parse(const char *text, struct endpoint *endpoint, struct fault *fault)
{
    static const char unix_tag[] = "unix:", inet_tag[] = "inet:";
    struct endpoint parsed = {.kind = ENDPOINT_NONE};
    bool good = true;

    *endpoint = parsed;
    if (has_blank_or_control(text)) {
        fault_set(fault, "\"%s\": there must be no blanks in a socket", text);
        return false;
    }
    if (strncmp(text, unix_tag, strlen(unix_tag)) == 0) {
        good = parse_unix(text, text + strlen(unix_tag), &parsed, fault);
    } else if (strncmp(text, inet_tag, strlen(inet_tag)) == 0) {
        good = parse_inet(text, text + strlen(inet_tag), &parsed, fault);
    } else if (text[0] != '\0') {
        fault_set(fault, "%s: write a socket as in main.cf, unix:/path or inet:host:port", text);
        good = false;
    }
    if (good)
        *endpoint = parsed;
    return good;
}

void endpoint_print(const struct endpoint *endpoint, char *buffer, size_t size)
{
    const char *open = endpoint->ipv6_literal ? "[" : "",
               *close = endpoint->ipv6_literal ? "]" : "";
    switch (endpoint->kind) {
    case ENDPOINT_UNIX:
        snprintf(buffer, size, "unix:%s", endpoint->path);
        return;
    case ENDPOINT_INET:
        snprintf(buffer, size, "inet:%s%s%s:%u", open, endpoint->host, close,
                 (unsigned)endpoint->port);
        return;
    case ENDPOINT_NONE:
        break;
    }
    snprintf(buffer, size, "%s", "");
}

/* In brackets libmilter takes the address as it is; without them it asks the resolver. */
void endpoint_print_for_libmilter(const struct endpoint *endpoint, char *buffer, size_t size)
{
    switch (endpoint->kind) {
    case ENDPOINT_UNIX:
        snprintf(buffer, size, "local:%s", endpoint->path);
        return;
    case ENDPOINT_INET:
        snprintf(buffer, size, endpoint->ipv6_literal ? "inet6:%u@[%s]" : "inet:%u@%s",
                 (unsigned)endpoint->port, endpoint->host);
        return;
    case ENDPOINT_NONE:
        break;
    }
    snprintf(buffer, size, "%s", "");
}
