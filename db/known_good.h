/*
 * known_good - recipients the directory has confirmed, with the time, on local disk: whom this node
 * may not bounce while the directory is away, or right after it lost them.
 *
 * It can only ever say "confirmed then"; not having somebody says nothing. An entry is a digest of
 * a lookup key (address_probes) and two times, so the file holds no addresses. It is LMDB's
 * (lmdb_file.h).
 *
 * One per process; it outlives reloads. Finding is a read transaction on the caller's thread: it
 * waits for no writer, and for the disk only where a page is not in memory. Everything else goes
 * into a bounded queue in memory and is written by one thread, in batches, at most about a second
 * later; a full queue drops the newest (they will be confirmed again). A confirmation that says
 * nothing new (the one stored is less than a hundredth of the ttl older) costs no write.
 *
 * Trouble - a full disk, a damaged, unwritable or vanished file, a full map - is one log line per
 * change of state and a line in the report, never a failed lookup and never the end of the process:
 * the store then knows nobody, or nobody new, and it is tried again every few seconds.
 *
 * Clocks: the safe error is to vouch for too long, which costs a mail accepted while the directory
 * is away; the other one costs a bounce. So a time from the future vouches, a confirmation never
 * sets a time back, and after the wall clock has stepped by more than five minutes nothing is swept
 * for a day. The first sweep after a start only counts: a host that boots with a wrong clock has
 * until the second to set it right.
 */
#ifndef DB_KNOWN_GOOD_H
#define DB_KNOWN_GOOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/digest.h"
#include "shared/fault.h"

struct known_good;

/* Wall clock, seconds since 1970. */
struct known_good_entry {
    int64_t confirmed; /* the last time the directory, or `rcptctl learn`, said so */
    int64_t gone;      /* since then the directory has said ABSENT: for the first time when; 0 */
};

/* What tests make smaller. */
struct known_good_limits {
    size_t map_bytes; /* the file does not grow beyond this */
    size_t queue;     /* entries that wait in memory; as many again are being written */
    int64_t round_ms; /* what is queued waits no longer, and the file is looked at so often */
    int64_t retry_ms; /* what failed is tried again after this long */
    int64_t sweep_ms; /* from one sweep of aged-out entries to the next */
};
struct known_good_limits known_good_limits(void); /* what the daemon uses */

/* Opens or makes DIRECTORY/known-good.mdb and starts the writer. NULL only when memory or threads
 * are short: a store that cannot be opened knows nobody, says so in the log, and is tried again by
 * the writer. */
struct known_good *known_good_open(const char *directory, struct known_good_limits limits);
/* Writes what is queued, for at most 5 s. NULL is fine; nobody may be inside. */
void known_good_close(struct known_good *store);

/* Entries older than this are swept (known_good_ttl); before it is called first, none are. Any
 * thread. */
void known_good_set_ttl(struct known_good *store, int64_t ttl_s);

/* Any thread. The key is digest_shared() of one of address_probes(). Whether the entry is still
 * young enough is the caller's to judge. */
bool known_good_find(struct known_good *store, const struct digest *key,
                     struct known_good_entry *entry);

/* Any thread; both return at once. The directory said KNOWN at `now`: the entry is no longer gone.
 * The directory said ABSENT at `now`: marks an entry that is there and is not yet gone. */
void known_good_confirm(struct known_good *store, const struct digest *key, int64_t now);
void known_good_mark_gone(struct known_good *store, const struct digest *key, int64_t now);

/* Has many confirmations written, and waits for it, at most about a minute (`rcptctl learn`). It
 * sorts them: the more at once, the fewer pages are written; a million is a good number. With none
 * it waits for what was queued before. False and a fault when the disk does not take them: some may
 * have been written. */
bool known_good_learn(struct known_good *store, struct digest *keys, size_t count, int64_t now,
                      struct fault *fault);

struct known_good_state {
    bool works;          /* can be read and written */
    uint64_t entries;    /* aged-out ones included until they are swept */
    int64_t oldest_s;    /* age of the oldest confirmation; 0: none, or not yet counted */
    uint64_t file_bytes; /* on disk */
    uint64_t dropped;    /* dropped because the queue was full */
    struct fault why;    /* where it does not work */
};
/* Any thread; as of the writer's last round, a second ago or so. */
void known_good_describe(struct known_good *store, struct known_good_state *state);

#endif
