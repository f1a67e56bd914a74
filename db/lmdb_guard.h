/*
 * lmdb_guard - LMDB reads its file through a map and believes what it finds: a file that was cut
 * short is SIGBUS, garbage in it SIGSEGV or a failed assertion. Here such a fault ends the call
 * into LMDB and not the process.
 *
 * Whoever is cut short may leave a mutex of LMDB's locked and memory of its behind: the environment
 * must never be used again, nor closed. A fault outside a guarded call, and a signal that somebody
 * sent, go to whoever would have had them without us. Any thread.
 */
#ifndef DB_LMDB_GUARD_H
#define DB_LMDB_GUARD_H

#include <stdbool.h>

/* Installs the handlers, also where somebody else has put theirs in our place since. Before the
 * first guarded call. */
void lmdb_guard_install(void);

/* Calls work(context), which takes no lock of ours and owns nothing: true when it came back. False
 * and *cut_by, the signal that ended it, or 0 for lmdb_guard_leave. */
bool lmdb_guard_run(void (*work)(void *context), void *context, int *cut_by);

/* For LMDB's assertions: ends the guarded call this thread is in. Returns when it is in none. */
void lmdb_guard_leave(void);

#endif
