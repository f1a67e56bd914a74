/*
 * remember - what the ledger is told of a recipient that was answered: whom a primary deferred
 * because the directory does not have it, whom this node bounced, and that somebody is there after
 * all. Any thread; waits for nobody.
 */
#ifndef MILTER_REMEMBER_H
#define MILTER_REMEMBER_H

#include "milter/check.h"

/* After the reply is known; counts bounces and false bounces. A false one is logged at once. */
void remember_recipient(const struct snapshot *node, const struct check_request *request,
                        const struct check_result *result);

#endif
