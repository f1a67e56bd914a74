/*
 * metrics - serves `rcptctl stats --prometheus` at http://METRICS_LISTEN/metrics.
 *
 * One thread of its own, a few connections at a time, one request on each and at most five seconds
 * for it; who comes when all are taken waits in the kernel's queue. It takes the snapshot only
 * while it writes the text into memory. Nothing here is needed to check a recipient: where it
 * cannot listen, that is logged and the daemon goes on without.
 */
#ifndef MILTER_METRICS_H
#define MILTER_METRICS_H

#include "milter/app.h"

/* Main thread. Listens where the configuration in force says, or stops where it says nothing; no
 * change where it says the same as the last time, unless that failed. After the start, and after
 * each reload. */
void metrics_follow(struct app *app);

/* Main thread: closes everything. Returns at once but for a text that is being written. */
void metrics_stop(void);

#endif
