/*
 * command_learn - the daemon's side of `rcptctl learn`: takes a batch of lines, reads addresses out
 * of them, and answers when they are on disk.
 *
 * The words are: learn OWNER LINE TEXT, and at the end learn OWNER end. OWNER is any word that
 * names one run of rcptctl: while it sends batches nobody else may, since two would only slow each
 * other down. LINE is the number of the first line of TEXT. The answer, exit 0, is
 * "stored N, bad N\n" and a line for each of the first bad ones; else one sentence that says why
 * nothing of the batch counts as stored.
 *
 * A line is one recipient: an address, or @domain for a catch-all. Only its first word counts, as
 * postmap(1) divides it, so that the source of a Postfix map can be sent as it is. White space
 * before it does not matter, nor does a carriage return at the end; empty lines and lines that
 * begin with `#` are skipped.
 */
#ifndef MILTER_COMMAND_LEARN_H
#define MILTER_COMMAND_LEARN_H

#include <stddef.h>

#include "milter/command.h"
#include "shared/digest.h"

#define LEARN_BUSY "another rcptctl learn is under way\n"

enum {
    LEARN_BATCH_LINES = 1000000,
    LEARN_BATCH_BYTES = 32 << 20,                  /* of TEXT */
    LEARN_REQUEST_MAX = LEARN_BATCH_BYTES + 65536, /* all words */
    LEARN_BAD_SHOWN = 5,                           /* bad lines told in one answer */
};

int command_learn(struct command_context *context, int argc, char **argv);

/* Is it a request to learn? It may be long then. `request` is NUL-terminated. */
bool command_learn_asked(const char *request);

/* What stands on one line; `key` is set for LEARN_KEY only. Pure. */
enum learn_line { LEARN_BAD = 0, LEARN_NOTHING, LEARN_KEY };
enum learn_line command_learn_line(const char *line, size_t length, struct digest *key);

#endif
