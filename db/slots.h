/*
 * slots - at most so many callers wait for servers at a time (lookup_slots).
 *
 * A healthy directory answers in a millisecond, and the slots turn over as fast: who finds them
 * taken waits a moment for one, in turn. A burst of new sessions, or all of them after a flush,
 * would else be put off without need. Those who wait hold workers of libmilter's, too (see
 * milter/convoy.h), so they are bounded, and nobody waits where it is in vain: after a wait that
 * brought no slot the next callers are refused at once, until one is returned.
 *
 * Any thread.
 */
#ifndef DB_SLOTS_H
#define DB_SLOTS_H

#include <pthread.h>
#include <stdbool.h>

#include "shared/clock.h"

/*
 * How long a caller waits at most, and how many do. Measured with 12 slots on two cores, everybody
 * at once: where the directory answers in a millisecond, with 48 who wait none of 16 and none of 50
 * sessions is shed (4 and 1 to 4 were) and about half as many of 2,000 as without; where it takes
 * 20 ms to 2 s, 2,000 sessions get their answers as soon as without, within 0.1 s or so.
 */
enum { SLOTS_WAIT_MS = 100, SLOTS_WAITING_MAX = 48 };

struct slot_waiter;

struct slots {
    unsigned count; /* set once */

    pthread_mutex_t lock; /* a leaf; covers what follows */
    unsigned taken;
    unsigned waiting;
    struct slot_waiter *first, **end; /* those who wait, in turn */
    bool stuck; /* the last wait was in vain, and no slot has been returned since */
};

void slots_init(struct slots *slots, unsigned count);
void slots_release(struct slots *slots); /* nobody may be inside */

/* False when there is none to be had within SLOTS_WAIT_MS, and a tenth of what is left until the
 * deadline. True: slots_return follows. */
bool slots_take(struct slots *slots, struct deadline deadline);
void slots_return(struct slots *slots);

unsigned slots_taken(struct slots *slots);

#endif
