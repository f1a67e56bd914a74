/* `rcptctl waiting` and `rcptctl bounced`: what the ledger holds (db/ledger.h). */
#ifndef MILTER_COMMAND_LEDGER_H
#define MILTER_COMMAND_LEDGER_H

#include "milter/command.h"

int command_waiting(struct command_context *context, int argc, char **argv);
int command_bounced(struct command_context *context, int argc, char **argv);

#endif
