/*
 * lmdb_file - one LMDB file of small values under 16-byte keys, which no damage to the file, the
 * disk or the directory makes the process end. The one home of lmdb.h.
 *
 * Any thread reads; one thread, the writer, does all else, and looks after the file
 * (lmdb_file_tend). Nothing is logged here: what the owner of the store has to say comes up as a
 * fault.
 *
 * What is committed survives kill -9 of the process. The last commits before a power cut may be
 * missing, never half there (MDB_NOMETASYNC).
 *
 * Damage: the first fault or error that garbage causes ends the use of that environment for good
 * (lmdb_guard.h). It is leaked, threads that are still in it leave on their own, and readers find
 * nothing until the writer has put the file aside and begun an empty one. An environment costs its
 * file descriptors and address space, so after LMDB_FILE_LIVES of them the store stays off until
 * the process is started again.
 *
 * The map is address space, not memory: a large one costs nothing until the file grows, and then
 * only page cache. 10 million entries of known_good, learned and learned again a million at a time,
 * make a file of 1.6 GB, half of it pages that are free again: 2 GiB hold them.
 */
#ifndef DB_LMDB_FILE_H
#define DB_LMDB_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/lmdb_tree.h"
#include "shared/digest.h"
#include "shared/fault.h"

enum { LMDB_FILE_LIVES = 32, LMDB_FILE_READERS = 4096 };

struct lmdb_file;

/* The files will be BASE.mdb, BASE.mdb-lock (LMDB's), BASE.mdb.corrupt (what was put aside),
 * BASE.mdb.new (in passing) and BASE.lock (so that one process has it). Nothing is opened yet. NULL
 * when memory is short. */
struct lmdb_file *lmdb_file_create(const char *base, size_t map_bytes);
/* Nobody may be inside. NULL is fine. */
void lmdb_file_close(struct lmdb_file *file);

/* Returns the value's length, at most `capacity`; 0 where there is none, or none can be read. Any
 * thread; waits for no writer. */
size_t lmdb_file_get(struct lmdb_file *file, const struct digest *key, void *value,
                     size_t capacity);

/* ---- the rest is the writer's ---- */

enum lmdb_condition {
    LMDB_BROKEN,   /* it cannot be written; what can still be read is */
    LMDB_WORKS,    /* nothing happened */
    LMDB_REPLACED, /* it works, after the file had vanished or been replaced; nothing we could read
                      was lost */
    LMDB_EMPTIED,  /* it works, but was damaged and has begun anew */
};

/* Looks after the file: opens it where it is not open, puts a damaged one aside, notices that it
 * has vanished. To be called before writing, and about once a second. A fault with all but
 * LMDB_WORKS. */
enum lmdb_condition lmdb_file_tend(struct lmdb_file *file, struct fault *fault);

/* What becomes of a value: it is changed in place, and its new length returned. A length of 0:
 * there is none. Called under lmdb_guard: no locks, no memory, no system calls. */
typedef size_t lmdb_edit(void *context, const void *item, unsigned char value[LMDB_VALUE_MAX],
                         size_t length);

struct lmdb_batch {
    const void *items; /* each begins with its struct digest; in key order it goes faster */
    size_t item_bytes, count;
    lmdb_edit *edit;
    void *context;
    bool deletes; /* may edit() remove anything? */
};

/* One transaction: all or, with a fault, nothing. Where no value changes nothing is written. After
 * a failure lmdb_file_tend says whether it is worth trying again. */
bool lmdb_file_edit(struct lmdb_file *file, const struct lmdb_batch *batch, struct fault *fault);

/* A walk through all entries in key order, in slices, so that no transaction lives long. Zero is
 * the beginning. */
struct lmdb_walk {
    struct digest last;
    bool begun, ended;
};

/* For each entry of a slice; called under lmdb_guard, like edit(). */
typedef void lmdb_visit(void *context, const struct digest *key, const void *value, size_t length);

/* False when it cannot be read. */
bool lmdb_file_walk(struct lmdb_file *file, struct lmdb_walk *walk, size_t limit, lmdb_visit *visit,
                    void *context);

struct lmdb_size {
    uint64_t entries, file_bytes;
};
struct lmdb_size lmdb_file_size(struct lmdb_file *file); /* zeros where it cannot be read */

#endif
