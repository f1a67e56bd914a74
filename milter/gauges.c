#include "milter/gauges.h"

#include <string.h>

#include "db/servers.h"

#define GAUGE_ROW(name, help) {#name, help},
const struct gauge_row gauge_rows[GAUGE_COUNT] = {GAUGES(GAUGE_ROW)};

static uint64_t not_negative(int64_t value)
{
    return value > 0 ? (uint64_t)value : 0;
}

/* What keeps every 5xx back, as guard_interlock sees it. */
static void read_guard(const struct snapshot *snapshot, uint64_t *value)
{
    struct guard_state guard;
    guard_describe(snapshot->guard, &guard);
    value[GAUGE_directory_outage_seconds] = not_negative(guard.outage_s);
    value[GAUGE_hold_seconds] = not_negative(guard.held_s);
    value[GAUGE_sentinel_missing] = guard.missing[0] != '\0';
    value[GAUGE_vanishing] = guard.vanishing_s > 0;
    value[GAUGE_engaged_hold] = guard.held_s > 0;
    value[GAUGE_engaged_sentinel] = guard.missing[0] != '\0';
    value[GAUGE_engaged_vanishing] = guard.vanishing_s > 0;
    value[GAUGE_engaged_no_answer_yet] = !guard.answered;
    value[GAUGE_engaged_outage] =
        guard.outage_s >= 0 && guard.outage_s < snapshot->settings->outage_patience_s;
}

static void read_servers(const struct snapshot *snapshot, uint64_t *value)
{
    struct servers servers;
    servers_read(snapshot->resolver, &servers);
    value[GAUGE_lookup_slots] = snapshot->settings->lookup_slots;
    value[GAUGE_lookup_slots_taken] = servers.lookup_slots_taken;
    value[GAUGE_queries_waiting] = servers.queries_waiting;
    value[GAUGE_queries_running] = servers.queries_running;
    value[GAUGE_process_cache_entries] = servers.process_cache_entries;
}

void gauges_read(const struct snapshot *snapshot, struct gauges *gauges)
{
    struct known_good_state store;
    struct ledger_state ledger;
    known_good_describe(snapshot->known_good, &store);
    ledger_describe(snapshot->ledger, &ledger);
    uint64_t *value = gauges->value;
    value[GAUGE_waiting_recipients] = ledger.waiting;
    value[GAUGE_oldest_waiting_seconds] = not_negative(ledger.oldest_waiting_s);
    value[GAUGE_bounced_recipients] = ledger.bounced;
    value[GAUGE_ledger_works] = ledger.works;
    read_guard(snapshot, value);
    read_servers(snapshot, value);
    value[GAUGE_recipients_checked] = resolver_checks_recipients(snapshot->resolver);
    value[GAUGE_sentinels] = snapshot->sentinels->count;
    value[GAUGE_escalate_after_seconds] = not_negative(snapshot->settings->escalate_after_s);
    value[GAUGE_known_good_works] = store.works;
    value[GAUGE_known_good_entries] = store.entries;
    value[GAUGE_known_good_oldest_seconds] = not_negative(store.oldest_s);
    value[GAUGE_known_good_bytes] = store.file_bytes;
    value[GAUGE_known_good_dropped] = store.dropped;
}
