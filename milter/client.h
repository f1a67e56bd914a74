/*
 * client - what the commands that run in rcptctl itself share: which configuration is meant, and
 * where the daemon listens. One thread.
 */
#ifndef MILTER_CLIENT_H
#define MILTER_CLIENT_H

#include "shared/endpoint.h"

/* What rcptctl was called with. Borrowed. */
struct client_place {
    const char *config_path; /* of the configuration: -c, or the default */
    const char *config;      /* -c as given, or NULL */
    const char *socket;      /* -s as given, or NULL */
};

/*
 * The control socket: -s, else control_socket of the configuration, else the default. What is wrong
 * is told on standard error.
 *
 * 0            found
 * EXIT_CONFIG  the configuration cannot be read; `socket` is the default one, which may do: a
 * daemon runs on while its file is being mended, and not everybody may read it EXIT_USAGE   -s is
 * no unix socket
 */
int client_find_socket(const struct client_place *place, struct endpoint *socket);

#endif
