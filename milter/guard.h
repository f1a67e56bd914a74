/*
 * guard - may this node bounce anybody now? It knows whether the directory has answered since the
 * start, since when it has not, whether a sentinel is missing, how fast known-good recipients
 * vanish, and what the operator ordered with `rcptctl hold`. One per process; it outlives reloads.
 * Any thread; the lock is a leaf and is held neither while the hold is written nor while a line is
 * logged. Each change is logged once.
 */
#ifndef MILTER_GUARD_H
#define MILTER_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "config/settings.h"
#include "db/outcome.h"
#include "shared/digest.h"
#include "shared/fault.h"

struct guard;

/* Reads what an earlier process was told to hold: DIRECTORY/hold. Where that cannot be read it is
 * taken to be held for an hour, with a line in the log. NULL when memory is short. */
struct guard *guard_open(const char *directory);
void guard_close(struct guard *guard); /* NULL is fine */

/* What became of a lookup that went to the directory: it was carried out; it could not be. That
 * there has been no answer yet is logged once, and so is its end. NULL is fine. */
void guard_directory_answered(struct guard *guard);
void guard_directory_failed(struct guard *guard);

/* A recipient of the known-good store, under its key there, was found ABSENT. When more than
 * limit.count different ones vanish within limit.window_s, nobody is bounced until none has for
 * that long. A limit of zero: off. NULL is fine. */
void guard_recipient_vanished(struct guard *guard, const struct digest *recipient,
                              struct settings_rate limit);

/* Both, by what came of one lookup. */
void guard_note(struct guard *guard, const struct outcome *outcome,
                const struct settings *settings);

/* What a round of sentinel lookups has found: one that is missing, or NULL for all there. A round
 * that could not be carried out says nothing and is not told. */
void guard_sentinel_missing(struct guard *guard, const char *recipient);

/*
 * What forbids this node a 5xx now. `unavailable`: it would rest on the directory being out of
 * reach, so INTERLOCK_NO_ANSWER_YET and INTERLOCK_OUTAGE (it has been out of reach for less than
 * outage_patience_s) count too. NULL: no guard, INTERLOCK_NONE.
 */
enum interlock guard_interlock(struct guard *guard, bool unavailable, int64_t outage_patience_s);

/* No 5xx for that long, whatever is known; remembered over a restart. False and a fault when it
 * holds but could not be written to disk. */
bool guard_hold(struct guard *guard, int64_t seconds, struct fault *fault);
bool guard_release(struct guard *guard, struct fault *fault);

enum { GUARD_SENTINEL_MAX = 256 };

struct guard_state {
    int64_t held_s;      /* how long the operator's hold lasts yet; 0: none */
    bool answered;       /* the directory has answered since the start */
    int64_t outage_s;    /* how long it has not been answering; -1: it does */
    int64_t vanishing_s; /* how long known-good recipients must yet stay; 0: they do not vanish */
    char missing[GUARD_SENTINEL_MAX]; /* a sentinel that is missing, cut to fit; "": none */
};
void guard_describe(struct guard *guard, struct guard_state *state);

#endif
