/*
 * top - `rcptctl top`: the daemon at a glance, again every two seconds, until q or a signal. It
 * asks the daemon as any other rcptctl would (`stats --prometheus` and `status`). Where standard
 * output is no terminal, or with --once: one screen, plain, and the end. One thread; SIGINT,
 * SIGTERM, SIGHUP, SIGQUIT and SIGTSTP leave the terminal as it was.
 */
#ifndef MILTER_TOP_H
#define MILTER_TOP_H

#include "milter/client.h"

int top_run(const struct client_place *place, int argc, char **argv);

#endif
