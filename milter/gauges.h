/*
 * gauges - numbers that say how things are now, as counters say what has been. One row each,
 * printed by `rcptctl stats` after the counters and not reset with them. Any thread.
 */
#ifndef MILTER_GAUGES_H
#define MILTER_GAUGES_H

#include <stdint.h>

#include "milter/app.h"

/* X(name, help) */
#define GAUGES(X)                                                                                  \
    X(directory_outage_seconds, "how long the directory has not been answering")                   \
    X(hold_seconds, "how long rcptctl hold is in force yet")                                       \
    X(sentinel_missing, "1 while a sentinel recipient is missing")                                 \
    X(vanishing, "1 while known-good recipients vanish faster than vanish_limit")                  \
    X(waiting_recipients, "recipients deferred because the directory does not have them")          \
    X(oldest_waiting_seconds, "how long the first of them has been waiting")                       \
    X(bounced_recipients, "recipients remembered as bounced")                                      \
    X(ledger_works, "1 while the ledger of both can be read and written")                          \
    X(known_good_works, "1 while the known-good store can be read and written")                    \
    X(known_good_entries, "recipients in the known-good store")                                    \
    X(known_good_oldest_seconds, "age of the oldest confirmation in the known-good store")         \
    X(known_good_bytes, "size of the known-good store on disk")                                    \
    X(known_good_dropped, "confirmations the known-good store had no room for in its queue")       \
    X(engaged_hold, "1 while rcptctl hold keeps every 5xx back")                                   \
    X(engaged_sentinel, "1 while a missing sentinel recipient keeps every 5xx back")               \
    X(engaged_vanishing, "1 while vanishing recipients keep every 5xx back")                       \
    X(engaged_no_answer_yet, "1 while the directory has not answered since the start")             \
    X(engaged_outage, "1 while an outage is shorter than outage_patience")                         \
    X(recipients_checked, "0 while recipient_maps is empty and everybody passes")                  \
    X(sentinels, "sentinel recipients that are watched")                                           \
    X(escalate_after_seconds, "escalate_after; 0: never")                                          \
    X(lookup_slots, "lookup_slots: how many lookups may wait for servers")                         \
    X(lookup_slots_taken, "how many do")                                                           \
    X(queries_waiting, "SQL queries that wait for a free connection")                              \
    X(queries_running, "SQL queries under way")                                                    \
    X(process_cache_entries, "recipients in the process cache")

enum gauge {
#define GAUGE_NAME(name, help) GAUGE_##name,
    GAUGES(GAUGE_NAME)
#undef GAUGE_NAME
        GAUGE_COUNT
};

struct gauge_row {
    const char *name;
    const char *help;
};

extern const struct gauge_row gauge_rows[GAUGE_COUNT];

struct gauges {
    uint64_t value[GAUGE_COUNT];
};

void gauges_read(const struct snapshot *snapshot, struct gauges *gauges);

#endif
