/*
 * postconf_run - runs one program without a shell and reads what it prints, within bounds.
 */
#ifndef MILTER_POSTCONF_RUN_H
#define MILTER_POSTCONF_RUN_H

#include "shared/clock.h"
#include "shared/fault.h"

/* argv[0] is looked for in PATH and then in /usr/sbin, which not everybody's PATH has. Returns its
 * standard output, malloc'd; NULL and a fault when it cannot be run, exits with another status
 * than 0 (then with what it says on standard error), is late, or prints too much. */
char *postconf_run(const char *const argv[], struct deadline deadline, struct fault *fault);

#endif
