/*
 * guard - may this node bounce anybody now? It knows whether the directory has answered since the
 * start, since when it has not, and what the operator ordered with `rcptctl hold`. One per process;
 * it outlives reloads. Any thread; the lock is a leaf and is not held while the hold is written.
 */
#ifndef MILTER_GUARD_H
#define MILTER_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "db/outcome.h"
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

struct guard_state {
    int64_t held_s;   /* how long the operator's hold lasts yet; 0: none */
    bool answered;    /* the directory has answered since the start */
    int64_t outage_s; /* how long it has not been answering; -1: it does */
};
void guard_describe(struct guard *guard, struct guard_state *state);

#endif
