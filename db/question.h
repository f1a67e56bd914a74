/*
 * question - one recipient, put to domain_maps, access_maps and recipient_maps in turn. The inside
 * of the authority, for db/authority.c only; a question lives on the stack of one thread.
 *
 * Several keys, one rule: FOUND under any of them is FOUND; ABSENT only if every lookup was carried
 * out and said ABSENT; else UNAVAILABLE.
 *
 * With follow_domain_alias a catch-all whose value is another domain (`@alias.example` ->
 * `@target.example`) is not by itself FOUND. The same local part is looked up in that domain, and:
 *
 *   found there                             FOUND
 *   else, domain_maps has no such domain    FOUND: the mail goes elsewhere, and our maps do not
 *                                           know who is there
 *   else, some lookup on either walk failed UNAVAILABLE
 *   else                                    ABSENT
 *
 * That is done once. Where the second domain's catch-all points to a third one, or back (a chain, a
 * loop), that is FOUND, as it is without follow_domain_alias and to Postfix's own check: Postfix
 * follows a chain to its end, so a recipient may well exist; UNAVAILABLE would bounce him on a
 * fallback, or hold his mail until the sender gives up; and ABSENT is not proven. A loop Postfix
 * defers itself (451 4.6.0 after DATA), until somebody mends it: bouncing on it would not be better.
 * For the same reason a map that says more than "@target" (two domains, another address) is FOUND.
 */
#ifndef DB_QUESTION_H
#define DB_QUESTION_H

#include "config/reply_setting.h"
#include "db/maps.h"
#include "db/outcome.h"
#include "shared/address.h"
#include "shared/clock.h"
#include "shared/fault.h"
#include "shared/trace.h"

struct question {
    const struct maps *domain_maps;
    const struct maps *access_maps;
    const struct maps *recipient_maps;
    bool domain_parents; /* parent_domain_matches_subdomains names domain_maps */
    bool access_parents; /* ... access_maps */
    bool follow_domain_alias;
    const char *delimiters;
    const struct address *address;
    struct deadline deadline;
    struct trace *trace;

    /* Not for the caller, but zero. */
    bool lagging; /* some map's "no" came from a server that may be behind its primary */
    struct fault lag;
    bool defer_if_reject; /* access_maps: an unknown recipient gets this instead */
    struct reply_setting deferral;
};

/* Sets the outcome's standing and what goes with it; the outcome is zero before. */
void question_put(struct question *question, struct outcome *outcome);

#endif
