/*
 * verdict - the table that turns what is known about a recipient into a reply. Pure, any thread.
 *
 * The first row that applies wins, and the last applies to everything. Whatever the row, its reply
 * becomes `held` where it is a 5xx that rests on a lookup and a bounce interlock is engaged.
 */
#ifndef MILTER_VERDICT_H
#define MILTER_VERDICT_H

#include <stdbool.h>

#include "config/settings.h"
#include "db/outcome.h"
#include "shared/counters.h"

/* Why a 5xx is held back. The next ones (removal_grace, sentinels, vanish_limit, hold, no answer
 * ever) take their place before INTERLOCK_COUNT. */
enum interlock {
    INTERLOCK_NONE = 0,
    INTERLOCK_SHED,
    INTERLOCK_LATE,
    INTERLOCK_BAD_ACTION,
    INTERLOCK_TWO_ADDRESSES,
    INTERLOCK_OLD_EVIDENCE,
    INTERLOCK_COUNT
};

const char *interlock_name(enum interlock interlock); /* for logs: "shed", "old evidence", ... */
enum counter interlock_counter(enum interlock interlock);

/* What is known when the verdict is made. Start from zero. */
struct circumstances {
    const struct settings *settings;
    bool exempt;                   /* authenticated, or in exempt_networks */
    bool postmaster;               /* bare <postmaster> */
    bool malformed;                /* cannot be parsed */
    bool two_addresses;            /* {rcpt_addr} and the RCPT argument name different mailboxes */
    enum role role;                /* for this domain */
    const struct outcome *outcome; /* NULL where nobody was asked */
};

struct verdict {
    const struct verdict_row *row;
    enum interlock interlock;   /* what held a 5xx back, or NONE */
    struct reply_setting reply; /* before its $names are put in */
};

struct verdict_row {
    const char *name; /* as in the manual */
    enum counter counter;
    bool by_lookup; /* its reply rests on a lookup: interlocks hold */
    bool (*applies)(const struct circumstances *circumstances);
    void (*reply)(const struct circumstances *circumstances, struct reply_setting *reply);
};

const struct verdict_row *verdict_rows(size_t *count);

void verdict_judge(const struct circumstances *circumstances, struct verdict *verdict);

/* Would asking the directory now, past the caches, be needed before this verdict may stand? True
 * where a 5xx was held back only because the evidence came from a cache. */
bool verdict_wants_fresh_evidence(const struct verdict *verdict);

#endif
