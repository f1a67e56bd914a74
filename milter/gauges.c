#include "milter/gauges.h"

#include <string.h>

#define GAUGE_ROW(name, help) {#name, help},
const struct gauge_row gauge_rows[GAUGE_COUNT] = {GAUGES(GAUGE_ROW)};

static uint64_t not_negative(int64_t value)
{
    return value > 0 ? (uint64_t)value : 0;
}

void gauges_read(const struct snapshot *snapshot, struct gauges *gauges)
{
    struct guard_state guard;
    struct known_good_state store;
    struct ledger_state ledger;
    guard_describe(snapshot->guard, &guard);
    known_good_describe(snapshot->known_good, &store);
    ledger_describe(snapshot->ledger, &ledger);
    uint64_t *value = gauges->value;
    value[GAUGE_waiting_recipients] = ledger.waiting;
    value[GAUGE_oldest_waiting_seconds] = not_negative(ledger.oldest_waiting_s);
    value[GAUGE_bounced_recipients] = ledger.bounced;
    value[GAUGE_ledger_works] = ledger.works;
    value[GAUGE_directory_outage_seconds] = not_negative(guard.outage_s);
    value[GAUGE_hold_seconds] = not_negative(guard.held_s);
    value[GAUGE_sentinel_missing] = guard.missing[0] != '\0';
    value[GAUGE_vanishing] = guard.vanishing_s > 0;
    value[GAUGE_known_good_works] = store.works;
    value[GAUGE_known_good_entries] = store.entries;
    value[GAUGE_known_good_oldest_seconds] = not_negative(store.oldest_s);
    value[GAUGE_known_good_bytes] = store.file_bytes;
    value[GAUGE_known_good_dropped] = store.dropped;
}
