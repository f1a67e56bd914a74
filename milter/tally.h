/*
 * tally - how recipients were answered, in more than one dimension: what was known, by whose word
 * and in which role; and with which code. shared/counters.h has what has only one. Any thread,
 * without a lock.
 */
#ifndef MILTER_TALLY_H
#define MILTER_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "milter/check.h"

enum {
    TALLY_STANDINGS = STANDING_UNCHECKED + 1,
    TALLY_TIERS = TIER_KNOWN_GOOD + 1,
    TALLY_ROLES = ROLE_FALLBACK + 1,
    TALLY_CODE_MIN = 400,
    TALLY_CODES = 200, /* 400 to 599 */
};

/* One recipient that a client asked about. */
void tally_recipient(const struct check_result *result);

/* Of those somebody was asked about. The role is the one the verdict used: where it did not matter
 * (who exists passes on every node), that is the node's own. */
uint64_t tally_lookups(enum standing standing, enum tier tier, enum role role);
/* Can there be any? Stale and known-good evidence, say, only ever vouches for a KNOWN. Pure. */
bool tally_is_possible(enum standing standing, enum tier tier);
uint64_t tally_replies(unsigned code); /* TALLY_CODE_MIN and on; 0 of any other */

void tally_reset(void);

#endif
