/*
 * ledger_tally - how many entries the ledger's file holds and who has waited longest, kept up to
 * date without looking: pure. The writer's; it changes a copy within a transaction, which is what
 * counts once the transaction is through.
 *
 * A sweep counts all entries in key order while others come and go. Those behind it (passed) are
 * added to or taken from what it has counted, those ahead of it will be met.
 */
#ifndef DB_LEDGER_TALLY_H
#define DB_LEDGER_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "db/ledger_entry.h"

struct ledger_tally {
    bool counted; /* a whole sweep has passed: what was in the file before is in here */
    uint64_t entries[LEDGER_KINDS], passed[LEDGER_KINDS];
    int64_t oldest, passed_oldest; /* first deferral; 0: nobody waits */
    bool oldest_left;              /* and who is the oldest now has not been looked for */
    uint64_t refused;
};

/* Other entries than before. */
void ledger_tally_anew(struct ledger_tally *tally);

void ledger_tally_add(struct ledger_tally *tally, const struct ledger_entry *entry, bool passed);
void ledger_tally_take(struct ledger_tally *tally, const struct ledger_entry *entry, bool passed);

void ledger_tally_begin(struct ledger_tally *tally);
/* The sweep meets an entry; an expired one counts until it is removed. */
void ledger_tally_meet(struct ledger_tally *tally, const struct ledger_entry *entry, bool expired);
void ledger_tally_expire(struct ledger_tally *tally, enum ledger_kind kind);
void ledger_tally_end(struct ledger_tally *tally);

#endif
