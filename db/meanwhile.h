/*
 * meanwhile - who answered while a part of the directory was away, for the line that says it is
 * back. Made of the process's counters, so that nothing is counted twice: lookups that another
 * server's trouble sent the same way count, too. Belongs to whoever logs the outage.
 */
#ifndef DB_MEANWHILE_H
#define DB_MEANWHILE_H

#include <stddef.h>
#include <stdint.h>

struct meanwhile {
    uint64_t unanswered, stale, known_good; /* the counters when it began */
};

enum { MEANWHILE_MAX = 160 }; /* bytes of the sentence, with the NUL */

void meanwhile_begin(struct meanwhile *meanwhile);

/* "; meanwhile 120 lookups were answered from stale answers, 80 from the known-good store, 12 by
 * nobody", or "" where there were none. */
void meanwhile_print(const struct meanwhile *meanwhile, char sentence[MEANWHILE_MAX]);

#endif
