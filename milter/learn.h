/*
 * learn - rcptctl's side of `rcptctl learn`: reads recipients from a file, a pipe or a directory
 * and hands them to the daemon, a batch at a time, so that it never holds more than one. What they
 * mean is the daemon's business (command_learn.h).
 *
 * A batch counts once the daemon has said that it is on disk. Whatever ends a run before its end -
 * a signal, a daemon that stops, a full disk - it tells how far it came and the command that goes
 * on from there.
 */
#ifndef MILTER_LEARN_H
#define MILTER_LEARN_H

#include "milter/client.h"

/* argv[0] is "learn". Returns the exit code; SIGINT and SIGTERM have handlers afterwards. */
int learn_run(const struct client_place *place, int argc, char **argv);

#endif
