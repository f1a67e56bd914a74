/*
 * listener - what surrounds a listening socket: its lock, what a dead instance left, the limits.
 * Main thread, at start.
 */
#ifndef MILTER_LISTENER_H
#define MILTER_LISTENER_H

#include <stdbool.h>

#include "shared/endpoint.h"
#include "shared/fault.h"

/* Takes PATH.lock for a unix socket, so that two instances never take each other's socket; held
 * until the process ends. True at once for inet, where bind itself tells. False and a fault when
 * another instance has it, or when something that is no socket stands at the path. */
bool listener_lock(const struct endpoint *socket, struct fault *fault);

/* The same for a lock that may be given back: the descriptor that holds it, or -1 and a fault. */
int listener_take_lock(const char *path, struct fault *fault);

/* Listens on a unix socket with this mode, replacing what a dead instance left (the caller holds
 * its lock). The descriptor, or -1 and a fault. */
int listener_open_unix(const char *path, unsigned mode, struct fault *fault);

/* Connects to a socket of ours and closes at once, so that its listener wakes. Nothing happens on
 * failure. */
void listener_wake(const struct endpoint *socket);

/* Raises the soft limit of open files to the hard one; logs a warning when that is little: without
 * descriptors libmilter's accept spins. */
void listener_raise_limits(void);

#endif
