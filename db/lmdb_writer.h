/*
 * lmdb_writer - what the writers of all our LMDB files have in common: to look after the file
 * before each write, to write a batch again when the file turned out to be damaged and began anew,
 * to try what failed again later, and to say each change of state once in the log.
 *
 * A part of the store that owns it; only for the store's writer thread.
 */
#ifndef DB_LMDB_WRITER_H
#define DB_LMDB_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "db/lmdb_file.h"
#include "shared/clock.h"
#include "shared/fault.h"

struct lmdb_writer {
    /* The owner's, set once. */
    const char *name;             /* of the store, for the log */
    const char *broken, *emptied; /* what it means for people that it cannot be written; is empty */
    int64_t retry_ms;
    struct lmdb_file *file;
    void (*renewed)(void *owner); /* it has other entries than before */
    void *owner;

    bool works, told; /* told: one of the two has been logged */
    unsigned empties; /* so often the file was damaged, and begun anew */
    struct fault why; /* where it does not work */
    struct deadline retry;
    int64_t broken_at_ms; /* monotonic: since when it does not */
};

/* Is there a file to write to? */
bool lmdb_writer_tend(struct lmdb_writer *writer);
/* For the first time, so that it works from the beginning. */
void lmdb_writer_begin(struct lmdb_writer *writer);
/* After a failure: is it time to try again? True where it works. */
bool lmdb_writer_due(const struct lmdb_writer *writer);

bool lmdb_writer_write(struct lmdb_writer *writer, const struct lmdb_batch *batch);
/* After a failure, with nothing to write. */
bool lmdb_writer_probe(struct lmdb_writer *writer);

#endif
