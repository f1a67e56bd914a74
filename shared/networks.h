/*
 * networks - a list of client networks, written as mynetworks in main.cf: `127.0.0.0/8
 * [::1]/128 [2001:db8::]/32 192.0.2.7`, separated by commas or white space. A network whose host
 * bits are not zero is refused, as Postfix does; so are "!network", "type:table" and "/file", which
 * mynetworks has and this has not. Read-only once parsed, so any thread may match.
 */
#ifndef SHARED_NETWORKS_H
#define SHARED_NETWORKS_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/fault.h"

struct networks; /* NULL is the empty list */

/* The caller owns the list and ends it with networks_free. An empty text gives true and NULL. */
bool networks_parse(const char *text, struct networks **networks, struct fault *fault);
void networks_free(struct networks *networks);

/* `address` is the text of an IPv4 or IPv6 address, as in the macro {client_addr}, where Postfix
 * writes "IPv6:" before the latter; an IPv4-mapped IPv6 address is matched as IPv4, here and in
 * the list. Anything else ("unknown", NULL) matches nothing. */
bool networks_contain(const struct networks *networks, const char *address);

#endif
