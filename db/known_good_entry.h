/*
 * known_good_entry - what an entry of the known-good store becomes: pure rules. Any thread.
 *
 * Stored are two little-endian 32-bit numbers, seconds since 1970: confirmed, gone. They end in
 * 2106.
 */
#ifndef DB_KNOWN_GOOD_ENTRY_H
#define DB_KNOWN_GOOD_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/known_good.h"

enum { ENTRY_BYTES = 8, ENTRY_FUTURE_S = 300, CLOCK_STEP_S = 300, CLOCK_HOLD_S = 86400 };

/* False where these bytes are no entry. */
bool entry_read(struct known_good_entry *entry, const void *bytes, size_t length);
size_t entry_write(const struct known_good_entry *entry, unsigned char bytes[ENTRY_BYTES]);

/* A zero entry is one that is not there yet. What is less than a hundredth of the ttl newer is not
 * worth a write. */
void entry_confirm(struct known_good_entry *entry, int64_t now, int64_t ttl_s);
void entry_mark_gone(struct known_good_entry *entry, int64_t now);

/* False: it has aged out; never with a ttl of 0. A time from the future is set to now. */
bool entry_sweep(struct known_good_entry *entry, int64_t now, int64_t ttl_s);

/* Notices when the wall clock has stepped. Zero at first. */
struct clock_watch {
    bool begun;
    int64_t apart_s; /* of the two clocks */
    int64_t held_until_ms;
};

/* To be called every second or so: may entries be swept, by this wall clock? */
bool clock_watch_trusts(struct clock_watch *watch, int64_t wall_s, int64_t mono_ms);

#endif
