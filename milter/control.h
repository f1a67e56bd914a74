/*
 * control - the socket rcptctl speaks to.
 *
 * One request per connection: the client sends its words, each ended by a NUL, and shuts its side
 * down; the daemon answers "exit N\n", then the text to print, and closes. Each request has a
 * thread of its own, a few at a time, so that `status` answers while a `lookup` waits for a dead
 * server. Only `learn` may send more than 64 kB, and only one request at a time does. Who may
 * connect is a matter of the socket's file mode (0660).
 */
#ifndef MILTER_CONTROL_H
#define MILTER_CONTROL_H

#include <stdbool.h>
#include <stdio.h>

#include "milter/app.h"
#include "shared/fault.h"

enum { CONTROL_REQUEST_MAX = 65536 }; /* bytes */

/* Daemon, main thread: listens and starts the thread that accepts; the caller holds the socket's
 * lock. `wake_main` makes the main thread call app_serve_reload. */
bool control_start(struct app *app, const char *path, void (*wake_main)(void), struct fault *fault);

/* Main thread: no more requests; waits for those under way. */
void control_stop(void);

enum control_result { CONTROL_ANSWERED, CONTROL_NOT_RUNNING, CONTROL_FAILED };

/* rcptctl: connects and sends the words. The descriptor the answer will come on; -1 with *result
 * and a fault. */
int control_send(const char *path, int argc, char **argv, enum control_result *result,
                 struct fault *fault);
/* Waits for the answer, copies its text to `out`, sets the exit code and closes the descriptor.
 * FAILED: with a fault. Signals do not disturb either of the two. */
enum control_result control_receive(int fd, const char *path, FILE *out, int *exit_code,
                                    struct fault *fault);

/* Both, with standard output. */
enum control_result control_ask(const char *path, int argc, char **argv, int *exit_code,
                                struct fault *fault);

#endif
