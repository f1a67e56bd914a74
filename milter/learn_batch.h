/*
 * learn_batch - one run of `rcptctl learn`: its state, its batches, and the signals that end it.
 *
 * Functions that return false have set `code` and `why`. One thread.
 */
#ifndef MILTER_LEARN_BATCH_H
#define MILTER_LEARN_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "milter/learn.h"
#include "milter/progress.h"
#include "shared/fault.h"

enum {
    LEARN_LINE_KEPT = 8192, /* of a longer line: no address is so long, whatever stands before it */
    LEARN_SIGNAL_EXIT = 128, /* plus the signal, as sh(1) tells it */
    LEARN_BAD_BYTE = '\x01', /* in no address: a byte that would mean something else becomes it */
};

struct learning {
    const struct client_place *place;
    struct endpoint socket; /* the daemon's */
    const char *source;     /* a file, "-", or what follows --from */
    const char *map;        /* the map file where the source is one */
    uint64_t skip;          /* lines, as given */
    char owner[64];

    char *text; /* the batch: LEARN_BATCH_BYTES */
    size_t used;
    uint64_t lines;    /* in it */
    int64_t begun_ms;  /* when the first of them came */
    uint64_t seen;     /* lines of the input, those skipped and those of the batch included */
    uint64_t stored;   /* recipients */
    uint64_t safe;     /* lines of the input that need not be sent again */
    uint64_t bad;      /* lines that are no recipient */
    unsigned bad_told; /* of them */
    struct progress progress;
    bool turn; /* the daemon answered last time, so it keeps others out for us */

    int code; /* why it ended early: the exit code, */
    struct fault why;
};

/* Memory, the clock, and from now on SIGINT and SIGTERM ask us to stop when it is safe; a second
 * one does what it always did. */
bool learn_start(struct learning *learning);
/* Tells the daemon that this was all, so that others may learn. Leaves `code` and `why`. */
void learn_end(struct learning *learning);

/* One line of the input, without its newline. Sends the batch before it, where that is full or
 * old. */
bool learn_add_line(struct learning *learning, const char *line, size_t length);
/* Also with no lines: is the daemon there, and may we? */
bool learn_send(struct learning *learning);

/* Has a signal come? Then it is true, with `code` and `why`. */
bool learn_stopped(struct learning *learning);
/* Until there is something to read; sends meanwhile what has waited long enough. */
bool learn_await_input(struct learning *learning, int fd);

#endif
