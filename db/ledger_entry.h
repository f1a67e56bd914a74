/*
 * ledger_entry - the entries of the ledger as they are stored, and what becomes of them: pure
 * rules. Any thread; also under lmdb_guard.
 *
 * A recipient's two entries stand beside each other: the last bit of the key says which. A value is
 * the letter of its kind, little-endian 32-bit numbers (times are seconds since 1970; they end in
 * 2106), and strings that end with NUL. It has one form, and what is not in it is no entry.
 *
 *   'w' since asked first last count  recipient sender client
 *   'b' at count role(1 byte)         recipient evidence
 */
#ifndef DB_LEDGER_ENTRY_H
#define DB_LEDGER_ENTRY_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/ledger.h"
#include "db/lmdb_file.h"

enum ledger_kind { LEDGER_WAITING, LEDGER_BOUNCED, LEDGER_KINDS };

/* Whatever the caller's strings are, they fit. */
static_assert(1 + 5 * 4 + 2 * LEDGER_ADDRESS_MAX + LEDGER_CLIENT_MAX <= (int)LMDB_VALUE_MAX &&
                  1 + 2 * 4 + 1 + LEDGER_ADDRESS_MAX + LEDGER_EVIDENCE_MAX <= (int)LMDB_VALUE_MAX,
              "an entry is longer than a value may be");

struct ledger_entry {
    enum ledger_kind kind;
    union {
        struct ledger_waiting waiting;
        struct ledger_bounced bounced;
    };
};

struct digest ledger_key(const struct digest *key, enum ledger_kind kind);
enum ledger_kind ledger_key_kind(const struct digest *stored);

/* False where these bytes are no entry of that kind. */
bool ledger_entry_read(struct ledger_entry *entry, enum ledger_kind kind, const void *bytes,
                       size_t length);
/* The length. A string that fills its array is taken to be cut, and is cut between characters. */
size_t ledger_entry_write(const struct ledger_entry *entry, unsigned char bytes[LMDB_VALUE_MAX]);

/* It happened again: what is counted and kept over all times is taken from the older entry. */
void ledger_entry_follow(struct ledger_entry *entry, const struct ledger_entry *older);

/* An absence that began at `doubted` or before proves nothing. */
void ledger_entry_doubt(struct ledger_entry *entry, int64_t doubted);

enum ledger_sweep { LEDGER_STAYS, LEDGER_MENDED, LEDGER_EXPIRED };
/* Expired never with a ttl of 0. A time from the future is set to now. */
enum ledger_sweep ledger_entry_sweep(struct ledger_entry *entry, int64_t now, int64_t ttl_s);

#endif
