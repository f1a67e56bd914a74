/*
 * counters - what the program counts. One row each: add a row and it is counted, printed by
 * `rcptctl stats` and reset with it. They live as long as the process and survive a reload.
 * Any thread; each is exact, the set is not one snapshot.
 */
#ifndef SHARED_COUNTERS_H
#define SHARED_COUNTERS_H

#include <stdint.h>

/* X(name, help) */
#define COUNTERS(X)                                                                                \
    X(sessions, "milter sessions closed")                                                          \
    X(recipients, "recipients asked about")                                                        \
    X(reply_pass, "recipients passed")                                                             \
    X(reply_4xx, "recipients answered with a 4xx")                                                 \
    X(reply_5xx, "recipients answered with a 5xx")                                                 \
    X(verdict_exempt, "verdict: exempt")                                                           \
    X(verdict_postmaster, "verdict: postmaster")                                                   \
    X(verdict_malformed, "verdict: malformed")                                                     \
    X(verdict_foreign, "verdict: foreign")                                                         \
    X(verdict_override, "verdict: override")                                                       \
    X(verdict_known, "verdict: known")                                                             \
    X(verdict_unchecked, "verdict: unchecked, recipient_maps is empty")                            \
    X(verdict_primary_proven, "verdict: proven unknown on a primary")                              \
    X(verdict_primary_unknown, "verdict: unknown on a primary")                                    \
    X(verdict_primary_unavailable, "verdict: unavailable on a primary")                            \
    X(verdict_held, "verdict: held")                                                               \
    X(verdict_fallback_unknown, "verdict: unknown on the fallback")                                \
    X(verdict_fallback_unavailable, "verdict: unavailable on the fallback")                        \
    X(interlock_shed, "5xx held back: the lookup was shed")                                        \
    X(interlock_late, "5xx held back: the lookup was late, or this process short of descriptors")  \
    X(interlock_old_evidence, "5xx held back: no directory query in this transaction")             \
    X(interlock_hold, "5xx held back: rcptctl hold")                                               \
    X(interlock_no_answer_yet, "5xx held back: no answer from the directory since the start")      \
    X(interlock_outage, "5xx held back: the outage is shorter than outage_patience")               \
    X(interlock_bad_action, "5xx held back: access_maps holds something that is no action")        \
    X(interlock_two_addresses, "5xx held back: {rcpt_addr} and the RCPT argument differ")          \
    X(interlock_known_good, "5xx held back: the recipient was known good, within removal_grace")   \
    X(interlock_replica_lag, "5xx held back: the server may lag by more than max_replica_lag")     \
    X(interlock_sentinel, "5xx held back: a sentinel recipient is missing")                        \
    X(interlock_vanishing, "5xx held back: known-good recipients vanish faster than vanish_limit") \
    X(process_cache_hits, "answers from the process cache")                                        \
    X(process_cache_misses, "lookups the process cache could not answer")                          \
    X(memcache_hits, "answers from memcached")                                                     \
    X(memcache_misses, "lookups memcached could not answer")                                       \
    X(memcache_failures, "operations memcached failed")                                            \
    X(memcache_rejected_values, "values from memcached that were not what was asked for")          \
    X(memcache_forged_values, "values from memcached without the right seal")                      \
    X(bounces, "recipients refused with a 5xx because the directory, or its absence, said so")     \
    X(false_bounces, "recipients the directory has after all, within false_bounce_window of a 5xx") \
    X(directory_found, "directory answers FOUND")                                                  \
    X(directory_absent, "directory answers ABSENT")                                                \
    X(directory_unavailable, "directory answers UNAVAILABLE")                                      \
    X(stale_vouched, "recipients a stale memcached answer vouched for")                            \
    X(known_good_vouched, "recipients the known-good store vouched for")                           \
    X(known_good_vanished, "known-good recipients the directory knows no more")                    \
    X(lookups_shed, "lookups shed: lookup_slots were taken")                                       \
    X(lookups_late, "lookups given up at lookup_deadline")                                         \
    X(mysql_queries, "SQL queries sent")                                                           \
    X(mysql_joined, "lookups that joined a query already under way")                               \
    X(mysql_key_errors, "SQL errors that concern one key")                                         \
    X(mysql_failures, "SQL errors that concern the server, the session or the map")                \
    X(mysql_connects, "connections made to MySQL servers")                                         \
    X(log_lines_lost, "lines of the log that were lost: it was not read in time")                  \
    X(log_lines_suppressed, "lines about recipients that log_rate_limit left out")                 \
    X(reloads, "configurations reloaded")                                                          \
    X(reload_failures, "reloads refused")

enum counter {
#define COUNTER_NAME(name, help) COUNT_##name,
    COUNTERS(COUNTER_NAME)
#undef COUNTER_NAME
        COUNTER_COUNT
};

struct counter_row {
    const char *name;
    const char *help;
};

extern const struct counter_row counter_rows[COUNTER_COUNT];

void counter_add(enum counter counter);
uint64_t counter_get(enum counter counter);
void counters_reset(void);

#endif
