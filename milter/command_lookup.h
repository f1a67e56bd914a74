/* command_lookup - `rcptctl lookup`: see command.h. */
#ifndef MILTER_COMMAND_LOOKUP_H
#define MILTER_COMMAND_LOOKUP_H

#include "milter/command.h"

int command_lookup(struct command_context *context, int argc, char **argv);

#endif
