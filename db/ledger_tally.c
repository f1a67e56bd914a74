#include "db/ledger_tally.h"

#include <string.h>

void ledger_tally_anew(struct ledger_tally *tally)
{
    *tally = (struct ledger_tally){.refused = tally->refused};
}

static void make_older(int64_t *oldest, int64_t first)
{
    if (*oldest == 0 || first < *oldest)
        *oldest = first;
}

void ledger_tally_add(struct ledger_tally *tally, const struct ledger_entry *entry, bool passed)
{
    tally->entries[entry->kind]++;
    tally->passed[entry->kind] += passed;
    if (entry->kind == LEDGER_WAITING)
        make_older(&tally->oldest, entry->waiting.first);
    if (entry->kind == LEDGER_WAITING && passed)
        make_older(&tally->passed_oldest, entry->waiting.first);
}

/* Before the first count is done more may leave than are known. */
static void one_less(uint64_t *count)
{
    *count -= *count > 0;
}

void ledger_tally_take(struct ledger_tally *tally, const struct ledger_entry *entry, bool passed)
{
    one_less(&tally->entries[entry->kind]);
    if (passed)
        one_less(&tally->passed[entry->kind]);
    if (entry->kind != LEDGER_WAITING)
        return;
    if (entry->waiting.first <= tally->oldest || entry->waiting.first <= tally->passed_oldest)
        tally->oldest_left = true;
    if (tally->counted && tally->entries[LEDGER_WAITING] == 0)
        tally->oldest = 0;
}

void ledger_tally_begin(struct ledger_tally *tally)
{
    memset(tally->passed, 0, sizeof tally->passed);
    tally->passed_oldest = 0;
    tally->oldest_left = false;
}

void ledger_tally_meet(struct ledger_tally *tally, const struct ledger_entry *entry, bool expired)
{
    tally->passed[entry->kind]++;
    if (entry->kind == LEDGER_WAITING && !expired)
        make_older(&tally->passed_oldest, entry->waiting.first);
}

void ledger_tally_expire(struct ledger_tally *tally, enum ledger_kind kind)
{
    one_less(&tally->entries[kind]);
    one_less(&tally->passed[kind]);
}

void ledger_tally_end(struct ledger_tally *tally)
{
    memcpy(tally->entries, tally->passed, sizeof tally->entries);
    tally->oldest = tally->passed_oldest;
    tally->counted = true;
}
