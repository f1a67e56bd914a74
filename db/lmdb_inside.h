/*
 * lmdb_inside - the inside of an lmdb_file: for db/lmdb_file.c (what is done with an environment)
 * and db/lmdb_upkeep.c (how the writer opens, gives up and replaces environments) only.
 */
#ifndef DB_LMDB_INSIDE_H
#define DB_LMDB_INSIDE_H

#include <limits.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "db/lmdb_file.h"

/* What ended an environment, besides LMDB's own (negative) codes. */
enum spoilt { SOUND, CUT_SHORT = 10000, WILD, ASSERTED, MISSHAPEN }; /* no errno */

/* Written before it is published, but for `spoilt`; then never freed while anybody may be in it. */
struct environment {
    MDB_env *env;
    MDB_dbi entries;
    void *view; /* the file, for lmdb_tree: LMDB does not say where its own map is */
    size_t view_bytes, page_bytes;
    dev_t device;
    ino_t inode;
    bool read_only;
    _Atomic int spoilt;       /* SOUND, another, or an LMDB code */
    struct environment *next; /* in given_up */
};

struct lmdb_file {
    char data[PATH_MAX], reader_table[PATH_MAX], aside[PATH_MAX], fresh[PATH_MAX], lock[PATH_MAX];
    size_t map_bytes;
    struct environment *_Atomic current; /* what readers use; NULL: nothing */

    /* The writer's. */
    struct environment *opened; /* current, unless that was spoilt */
    int lock_fd;                /* -1: another process may have the store */
    unsigned lives;             /* environments given up */
};

/* A call into LMDB. All there is to say about it outlives being cut short. */
struct call {
    struct lmdb_file *file;
    struct environment *in;
    int error; /* of LMDB's or errno's, or enum spoilt */

    const struct digest *key; /* get */
    void *value;
    size_t length; /* get: room, then result */

    const struct lmdb_batch *batch; /* edit */

    struct lmdb_walk *walk; /* walk */
    size_t limit;
    lmdb_visit *visit;
    void *context;

    struct lmdb_size size; /* size */
    unsigned flags;        /* open */
    int fd;                /* copy */
};

/* ---- db/lmdb_file.c ---- */

/* The work reports in call->error, which is returned. Takes an environment that is spoilt by it
 * from the readers. */
int lmdb_guarded(struct call *call, void (*work)(void *call));

const char *lmdb_spoilt_name(int why);
bool lmdb_error_spoils(int error); /* the environment is of no use after it */

/* ---- db/lmdb_upkeep.c ---- */

/* It is leaked: threads may still be inside. */
void lmdb_environment_give_up(struct lmdb_file *file, struct environment *in);

#endif
