/*
 * endpoint - a place to listen or connect, written as in main.cf: `unix:/path`, `inet:host:port`,
 * `inet:[::1]:port`. Pure, any thread.
 */
#ifndef SHARED_ENDPOINT_H
#define SHARED_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/fault.h"

enum endpoint_kind { ENDPOINT_NONE = 0, ENDPOINT_UNIX, ENDPOINT_INET };

enum { ENDPOINT_PATH_MAX = 108, ENDPOINT_HOST_MAX = 256, ENDPOINT_TEXT_MAX = 288 };

struct endpoint {
    enum endpoint_kind kind;
    char path[ENDPOINT_PATH_MAX]; /* ENDPOINT_UNIX: fits struct sockaddr_un */
    char host[ENDPOINT_HOST_MAX]; /* ENDPOINT_INET: name or address, brackets taken off */
    bool ipv6_literal;            /* ENDPOINT_INET: the host was written in brackets */
    uint16_t port;                /* ENDPOINT_INET: 1 to 65535, host byte order */
};

/* Reads one; a unix path must be absolute. False and a fault on anything else. An empty text is
 * ENDPOINT_NONE and true. */
bool endpoint_parse(const char *text, struct endpoint *endpoint, struct fault *fault);

/* As in main.cf again; "" for ENDPOINT_NONE. Fits ENDPOINT_TEXT_MAX. */
void endpoint_print(const struct endpoint *endpoint, char *buffer, size_t size);

/* The form libmilter's smfi_setconn wants: local:/path, inet:port@host, inet6:port@host. */
void endpoint_print_for_libmilter(const struct endpoint *endpoint, char *buffer, size_t size);

#endif
