#include "milter/tally.h"

#include <stdatomic.h>
#include <stdlib.h>

static _Atomic uint64_t lookups[TALLY_STANDINGS][TALLY_TIERS][TALLY_ROLES];
static _Atomic uint64_t replies[TALLY_CODES];

static void add_one(_Atomic uint64_t *count)
{
    atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
}

void tally_recipient(const struct check_result *result)
{
    const struct outcome *outcome = &result->outcome;
    if (result->asked)
        add_one(&lookups[outcome->standing][outcome->tier][result->role]);
    unsigned long code = result->reply.pass ? 0 : strtoul(result->reply.code, NULL, 10);
    if (code >= TALLY_CODE_MIN && code < TALLY_CODE_MIN + TALLY_CODES)
        add_one(&replies[code - TALLY_CODE_MIN]);
}

uint64_t tally_lookups(enum standing standing, enum tier tier, enum role role)
{
    return atomic_load_explicit(&lookups[standing][tier][role], memory_order_relaxed);
}

bool tally_is_possible(enum standing standing, enum tier tier)
{
    switch (standing) {
    case STANDING_UNAVAILABLE:
    case STANDING_UNCHECKED:
        return tier == TIER_NONE;
    case STANDING_KNOWN:
        return tier != TIER_NONE;
    case STANDING_ABSENT:
    case STANDING_FOREIGN:
    case STANDING_OVERRIDE:
        return tier == TIER_PROCESS_CACHE || tier == TIER_MEMCACHE || tier == TIER_DIRECTORY;
    }
    return false;
}

uint64_t tally_replies(unsigned code)
{
    if (code < TALLY_CODE_MIN || code >= TALLY_CODE_MIN + TALLY_CODES)
        return 0;
    return atomic_load_explicit(&replies[code - TALLY_CODE_MIN], memory_order_relaxed);
}

void tally_reset(void)
{
    for (int i = 0; i < TALLY_STANDINGS; i++)
        for (int j = 0; j < TALLY_TIERS; j++)
            for (int k = 0; k < TALLY_ROLES; k++)
                atomic_store_explicit(&lookups[i][j][k], 0, memory_order_relaxed);
    for (int i = 0; i < TALLY_CODES; i++)
        atomic_store_explicit(&replies[i], 0, memory_order_relaxed);
}
