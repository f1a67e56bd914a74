/*
 * ledger - what this host remembers of its refusals, on local disk (DIRECTORY/ledger.mdb, 0600):
 *
 *   waiting   recipients a primary deferred because the directory does not have them: since when,
 *             how often, for whom. It is also this host's proof of absence (escalate_after)
 *   bounced   recipients that got a 5xx for a directory's word, and on what evidence. One that the
 *             directory has after all within false_bounce_window may have been a false bounce
 *
 * Addresses, clients and senders are personal: entries expire after ledger_ttl. Losing the ledger
 * delays a 5xx, and never causes one: while it cannot be written, so that who is found cannot be
 * forgotten, no absence in it is told; nor one from before a forgetting that found no room.
 * (kill -9 loses what was said in the last second, forgetting too.)
 *
 * Built like known_good: finding is a read transaction on the caller's thread; everything else goes
 * into a bounded queue and is written by one thread, in batches, about a second later; trouble is
 * one log line per change of state and a line in the report, never a failed lookup. Bounded: when
 * there are as many of a kind as the limits allow, new ones are not taken, so that a dictionary
 * attack cannot push out older ones; expired ones make room. After a start the entries are counted
 * first; until then no more new ones are taken than fit into the queue.
 *
 * Clocks: after the wall clock has stepped by more than five minutes nothing is swept for a day,
 * and the first sweep after a start only counts, as in known_good.
 *
 * One per process; it outlives reloads.
 */
#ifndef DB_LEDGER_H
#define DB_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/outcome.h"
#include "shared/digest.h"
#include "shared/fault.h"

struct ledger;

enum {
    LEDGER_ADDRESS_MAX = 321, /* RFC 5321: 64 + 1 + 255, and the NUL; what is longer is cut */
    LEDGER_CLIENT_MAX = 64,
    LEDGER_EVIDENCE_MAX = 160,
};

/* Wall clock, seconds since 1970. */
struct ledger_waiting {
    struct absence absence; /* since when the directory has said so without a break, how often */
    int64_t first, last;    /* deferrals */
    uint32_t count;         /* of them */
    char recipient[LEDGER_ADDRESS_MAX];
    char sender[LEDGER_ADDRESS_MAX]; /* of the last one, as is */
    char client[LEDGER_CLIENT_MAX];
};

struct ledger_bounced {
    int64_t at;     /* the last time */
    uint32_t count; /* of bounces */
    char role;      /* 'p' or 'f'; what is neither is kept as 'p' */
    char recipient[LEDGER_ADDRESS_MAX];
    char evidence[LEDGER_EVIDENCE_MAX]; /* one line, for people */
};

struct ledger_limits {
    size_t map_bytes; /* twice what the longest entries take, so that the bounds come first */
    uint64_t waiting_max, bounced_max; /* entries */
    size_t queue; /* entries that wait in memory; as many again, where they end others */
    int64_t round_ms, retry_ms, sweep_ms;
};
struct ledger_limits ledger_limits(void); /* what the daemon uses: 500000 of each */

/* As known_good_open and known_good_close. */
struct ledger *ledger_open(const char *directory, struct ledger_limits limits);
void ledger_close(struct ledger *ledger);
void ledger_set_ttl(struct ledger *ledger, int64_t ttl_s);

/* Any thread. The key is digest_shared() of the address's key. A waiting's absence is zero where it
 * proves nothing. */
bool ledger_find_waiting(struct ledger *ledger, const struct digest *key,
                         struct ledger_waiting *waiting);
bool ledger_find_bounced(struct ledger *ledger, const struct digest *key,
                         struct ledger_bounced *bounced);

/* Any thread; all return at once. First, last, at and count of the argument are not looked at, they
 * are kept here. A string that fills its array is taken to be cut, and is cut between characters.
 */
void ledger_defer(struct ledger *ledger, const struct digest *key,
                  const struct ledger_waiting *waiting, int64_t now);
void ledger_bounce(struct ledger *ledger, const struct digest *key,
                   const struct ledger_bounced *bounced, int64_t now); /* ends its waiting */
void ledger_forget(struct ledger *ledger, const struct digest *key);   /* found: in both kinds */

/* Calls for each entry, in no order, without any lock; a callback that returns false ends it. The
 * absence is as it is stored. False where it cannot be read. */
bool ledger_each_waiting(struct ledger *ledger,
                         bool (*each)(void *context, const struct ledger_waiting *waiting),
                         void *context);
bool ledger_each_bounced(struct ledger *ledger,
                         bool (*each)(void *context, const struct ledger_bounced *bounced),
                         void *context);

struct ledger_state {
    bool works;
    uint64_t waiting, bounced; /* entries */
    int64_t oldest_waiting_s;  /* age of the first deferral of the one who waits longest; 0: none */
    uint64_t refused; /* entries not taken because there were too many, or the queue full */
    struct fault why; /* where it does not work */
};
/* Any thread; as of the writer's last round. */
void ledger_describe(struct ledger *ledger, struct ledger_state *state);

#endif
