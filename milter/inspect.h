/*
 * inspect - `rcptctl check`: opens every map and every server of the configuration on its own, asks
 * each for sentinels and for strangers, and says what is wrong or will be. Runs in rcptctl, needs
 * no daemon, writes to no database. One thread.
 */
#ifndef MILTER_INSPECT_H
#define MILTER_INSPECT_H

#include "milter/client.h"

/* 0: well; EXIT_DOES_NOT_EXIST (1): findings; EXIT_UNAVAILABLE: some server could not be asked;
 * EXIT_CONFIG: the daemon would not start. The last one that applies. */
int inspect_run(const struct client_place *place, int argc, char **argv);

#endif
