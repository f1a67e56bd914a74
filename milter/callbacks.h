/*
 * callbacks - libmilter's side: the only file that knows it. Postfix's order of things, what the
 * library does with threads, signals and replies is noted in callbacks.c where it matters.
 */
#ifndef MILTER_CALLBACKS_H
#define MILTER_CALLBACKS_H

#include <stdbool.h>

#include "config/settings.h"
#include "milter/app.h"
#include "shared/fault.h"

/* Registers the filter and opens its socket, which has `mode` and replaces a dead one's; the
 * caller holds its lock (milter/listener.h). Once, main thread. */
bool callbacks_open(struct app *app, const struct endpoint *socket, unsigned mode,
                    struct fault *fault);

/* Serves until callbacks_stop; on a thread of its own, with signals as libmilter wants them. False
 * when libmilter gave up by itself. */
bool callbacks_serve(void);

/* For how long recipients have been waiting for a reply without a single one getting it,
 * milliseconds; 0 while nobody waits. Every wait has a deadline, so this stays below a few of them.
 * Any thread. */
int64_t callbacks_stuck_ms(void);

/* Main thread: no new sessions, and 451 for new recipients; callbacks_serve returns when what was
 * in flight is answered, whatever libmilter does. */
void callbacks_stop(void);

#endif
