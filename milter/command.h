/*
 * command - what rcptctl can do. One row each. Most run in the daemon, on a thread of control.c;
 * `lookup` also runs in rcptctl itself where no daemon answers. Those with a client run there, and
 * ask the daemon what they want of it.
 */
#ifndef MILTER_COMMAND_H
#define MILTER_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "milter/app.h"
#include "milter/client.h"

/* Exit codes of rcptctl: sysexits(3), and 3 as init scripts have it. */
enum {
    EXIT_EXISTS = 0,
    EXIT_DOES_NOT_EXIST = 1,
    EXIT_NOT_RUNNING = 3,
    EXIT_USAGE = 64,
    EXIT_UNAVAILABLE = 75,
    EXIT_NO_PERMISSION = 77,
    EXIT_CONFIG = 78
};

struct command_context {
    struct app *app;           /* NULL in rcptctl itself */
    struct snapshot *snapshot; /* NULL for a command that does not need one */
    void (*wake_main)(void);   /* makes the main thread look for a requested reload */
    FILE *out;
};

struct command {
    const char *name;
    const char *arguments; /* for the usage */
    const char *help;
    bool works_alone;    /* without a daemon */
    bool needs_snapshot; /* a reload must not: it waits for the readers of the old one */
    /* In the daemon; NULL: it is never asked. argv[0] is the name. */
    int (*run)(struct command_context *context, int argc, char **argv);
    /* In rcptctl, in place of the daemon's. Returns the exit code. */
    int (*client)(const struct client_place *place, int argc, char **argv);
};

const struct command *command_rows(size_t *count);
const struct command *command_find(const char *name); /* NULL: none */

#endif
