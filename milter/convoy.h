/*
 * convoy - keeps libmilter's pool of workers from standing still behind callbacks that wait.
 *
 * The pool starts a worker for a command that comes only while none idles, and an idle one counts
 * until it has woken up: of three commands that come together for one idle worker, two are only put
 * in a list. They are looked at when some worker is done, and a worker stays with its session for
 * as long as the next command comes at once (libmilter 8.17, worker.c and engine.c). If all workers
 * wait for a slow directory at that moment, those two wait with them, although their own answers
 * would take no time: measured, 127 s with 12 callbacks of 5 s each and nothing else to do.
 *
 * Whatever command comes next starts a new worker, which then looks into the list. So while a
 * callback has waited for a twentieth of a second we come ourselves: a connection to our own
 * socket, closed at once. With a libmilter that has a thread for each session this does nothing.
 */
#ifndef MILTER_CONVOY_H
#define MILTER_CONVOY_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/endpoint.h"

/* Once, before any callback; the signals of main are blocked in its thread as in its maker's. False
 * where there is no thread to be had. Lives as long as the process. */
bool convoy_start(const struct endpoint *socket);

/* Each callback that may wait, at its beginning and with what that returned at its end. Any thread.
 */
uint64_t convoy_enter(void);
void convoy_leave(uint64_t entered);

/* From now on nobody connects to the socket, which is about to be another's. */
void convoy_stop(void);

#endif
