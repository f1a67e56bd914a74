/*
 * lmdb_tree - are the pages that a write will touch such as LMDB writes them?
 *
 * Reading garbage is harmless under lmdb_guard: it is never written to. Writing is not: LMDB copies
 * the page into memory from malloc and trusts the lengths and offsets it finds there, so garbage
 * in the file becomes garbage all over the heap, and no handler helps. So before a transaction
 * writes, the list of free pages is looked through, and for each key the pages on the way to it.
 *
 * It knows data version 1 (LMDB 0.9) and lets any other pass. But for lmdb_tree_head it is called
 * under lmdb_guard, by the thread that has the write transaction, before it writes.
 */
#ifndef DB_LMDB_TREE_H
#define DB_LMDB_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/digest.h"

enum { LMDB_TREE_DEPTH = 32, LMDB_VALUE_MAX = 1024 }; /* LMDB's CURSOR_STACK; ours */

/* The caller sets the first three. */
struct lmdb_tree {
    const unsigned char *map;
    size_t map_bytes, page_bytes;

    bool known; /* a version whose pages are known here */
    size_t last, root;
    unsigned depth;
    size_t sound[LMDB_TREE_DEPTH]; /* of each level the page looked at last; 0: none */
};

/* Is this the beginning of a file that LMDB would open? It believes the sizes it finds there. The
 * file may not be longer than `map_bytes`. */
bool lmdb_tree_head(int fd, size_t map_bytes);

/* Takes up the state that transaction `txnid` left, and looks through the list of free pages. */
bool lmdb_tree_begin(struct lmdb_tree *tree, size_t txnid);

/* The way to this key; and the neighbours of each page on it, with which LMDB merges a page that a
 * deletion has left nearly empty. Quick when the keys come in order. */
bool lmdb_tree_check(struct lmdb_tree *tree, const struct digest *key, bool neighbours);

#endif
