/*
 * verdict - the table that turns what is known about a recipient into a reply. Pure, any thread.
 *
 * The first row that applies wins, and the last applies to everything. Whatever the row, its reply
 * becomes `held` (on a primary the milder row that follows) where it is a 5xx that rests on a
 * lookup and a bounce interlock is engaged.
 */
#ifndef MILTER_VERDICT_H
#define MILTER_VERDICT_H

#include <stdbool.h>

#include "config/settings.h"
#include "db/outcome.h"
#include "shared/counters.h"

const char *interlock_name(enum interlock interlock); /* for logs: "shed", "old evidence", ... */
enum counter interlock_counter(enum interlock interlock); /* not of INTERLOCK_NONE */

/* What is known when the verdict is made. Start from zero. */
struct circumstances {
    const struct settings *settings;
    bool exempt;                   /* authenticated, or in exempt_networks */
    bool postmaster;               /* bare <postmaster> */
    bool malformed;                /* cannot be parsed */
    enum role role;                /* for this domain */
    const struct outcome *outcome; /* NULL where nobody was asked */
    enum interlock node_interlock; /* what the guard says (milter/guard.h) */
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
    bool or_next;   /* where one does, the next row that applies speaks instead of `held` */
    /* NULL in the row `held`: no walk reaches it, an interlock does */
    bool (*applies)(const struct circumstances *circumstances);
    void (*reply)(const struct circumstances *circumstances, struct reply_setting *reply);
};

const struct verdict_row *verdict_rows(size_t *count);

void verdict_judge(const struct circumstances *circumstances, struct verdict *verdict);

/* True where a 5xx was held back only because the evidence came from a cache: ask the directory
 * past the caches, and judge again. */
bool verdict_wants_fresh_evidence(const struct verdict *verdict);

/* A 5xx because of what the directory said, not because it said nothing. */
bool verdict_rests_on_an_answer(const struct circumstances *circumstances,
                                const struct verdict *verdict);

#endif
