/*
 * domain_keys - the keys under which a table may hold a domain, and what an alias domain points to.
 * Pure, any thread.
 *
 * The keys are Postfix's (match_list(3), access(5)), in its order: sub.example.com, and then what
 * stands above it, in one of two forms:
 *
 *   parents match      sub.example.com, example.com, com
 *   parents do not     sub.example.com, .example.com, .com    (a pattern has to say that it means
 *                                                              subdomains)
 *
 * An address literal has nothing above it: its dots are not those of a name.
 */
#ifndef DB_DOMAIN_KEYS_H
#define DB_DOMAIN_KEYS_H

#include <stdbool.h>

#include "shared/address.h"

/* What stands above has at most so many labels: what has more is not looked up. Nobody's table
 * holds such a name, and a client could make 127 queries of one recipient. */
enum { DOMAIN_PARENT_LABELS_MAX = 8 };

/* The key after `key`, which is the domain or what this has returned, and points into it; NULL
 * after the last. */
const char *domain_next_key(const char *key, bool parents_match);

/* The domain of a catch-all key, "@example.com"; NULL where the key is none. */
const char *domain_of_catch_all(const char *key);

/*
 * Does the value of a catch-all say no more than "the same user in that domain" (virtual(5): "When
 * the result has the form @otherdomain, the result becomes the same user in otherdomain")? Then
 * `target` is the address there, as address_parse gives it.
 *
 * False, and then the catch-all is what it is, where the value is anything else: also more than
 * one address, of which Postfix rewrites the first alone and sends to the others as they are; the
 * address's own domain, with which many tables say that everybody there exists; no domain at all.
 * The same target twice is one target.
 */
bool domain_alias_target(const struct address *address, const char *value, struct address *target);

/* The address with `length` bytes of another domain; false where these are none. */
bool domain_move_address(const struct address *address, const char *domain, size_t length,
                         struct address *moved);

#endif
