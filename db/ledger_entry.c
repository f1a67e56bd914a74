#include "db/ledger_entry.h"

#include <string.h>

#include "shared/text.h"

enum { FUTURE_S = 300, KIND_BIT = 1 };

static const char kind_letters[LEDGER_KINDS] = {'w', 'b'};

struct digest ledger_key(const struct digest *key, enum ledger_kind kind)
{
    struct digest stored = *key;
    unsigned char *last = &stored.bytes[sizeof stored.bytes - 1];
    *last = (unsigned char)((*last & ~KIND_BIT) | (kind == LEDGER_BOUNCED ? KIND_BIT : 0));
    return stored;
}

enum ledger_kind ledger_key_kind(const struct digest *stored)
{
    return stored->bytes[sizeof stored->bytes - 1] & KIND_BIT ? LEDGER_BOUNCED : LEDGER_WAITING;
}

/* ---- writing ---- */

static unsigned char *put_number(unsigned char *at, int64_t number)
{
    uint32_t stored = number < 0 ? 0 : number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
    for (int i = 0; i < 4; i++)
        *at++ = (unsigned char)(stored >> (8 * i));
    return at;
}

/* How much of a string that fills its array, cut by whoever filled it, is whole characters. */
static size_t whole_characters(const char *string, size_t length)
{
    for (size_t tail = 1; tail <= 3 && tail <= length; tail++) {
        unsigned char lead = (unsigned char)string[length - tail];
        size_t wanted = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
        if (lead < 0x80 || lead >= 0xc0)
            return wanted > tail ? length - tail : length;
    }
    return length;
}

static unsigned char *put_string(unsigned char *at, const char *string, size_t capacity)
{
    size_t length = strnlen(string, capacity - 1);
    if (length == capacity - 1)
        length = whole_characters(string, length);
    memcpy(at, string, length);
    at[length] = '\0';
    return at + length + 1;
}

size_t ledger_entry_write(const struct ledger_entry *entry, unsigned char bytes[LMDB_VALUE_MAX])
{
    unsigned char *at = bytes;
    *at++ = (unsigned char)kind_letters[entry->kind];
    if (entry->kind == LEDGER_WAITING) {
        const struct ledger_waiting *waiting = &entry->waiting;
        unsigned asked = waiting->absence.asked;
        at = put_number(at, waiting->absence.since);
        at = put_number(at, asked < ABSENCE_ASKED_MAX ? asked : ABSENCE_ASKED_MAX);
        at = put_number(at, waiting->first);
        at = put_number(at, waiting->last);
        at = put_number(at, waiting->count);
        at = put_string(at, waiting->recipient, sizeof waiting->recipient);
        at = put_string(at, waiting->sender, sizeof waiting->sender);
        at = put_string(at, waiting->client, sizeof waiting->client);
    } else {
        const struct ledger_bounced *bounced = &entry->bounced;
        at = put_number(at, bounced->at);
        at = put_number(at, bounced->count);
        *at++ = bounced->role == 'f' ? 'f' : 'p';
        at = put_string(at, bounced->recipient, sizeof bounced->recipient);
        at = put_string(at, bounced->evidence, sizeof bounced->evidence);
    }
    return (size_t)(at - bytes);
}

/* ---- reading ---- */

struct rest {
    const unsigned char *at;
    size_t left;
    bool bad; /* nothing after it means anything */
};

static unsigned char take_byte(struct rest *rest)
{
    if (rest->left == 0) {
        rest->bad = true;
        return 0;
    }
    rest->left--;
    return *rest->at++;
}

static uint32_t take_number(struct rest *rest)
{
    uint32_t number = 0;
    for (int i = 0; i < 4; i++)
        number |= (uint32_t)take_byte(rest) << (8 * i);
    return number;
}

static void take_string(struct rest *rest, char *string, size_t capacity)
{
    const unsigned char *end = rest->left ? memchr(rest->at, '\0', rest->left) : NULL;
    size_t size = end ? (size_t)(end - rest->at) + 1 : 0;
    if (size == 0 || size > capacity) {
        rest->bad = true;
        return;
    }
    memcpy(string, rest->at, size);
    rest->at += size;
    rest->left -= size;
}

static void take_waiting(struct rest *rest, struct ledger_waiting *waiting)
{
    waiting->absence.since = take_number(rest);
    waiting->absence.asked = take_number(rest);
    waiting->first = take_number(rest);
    waiting->last = take_number(rest);
    waiting->count = take_number(rest);
    take_string(rest, waiting->recipient, sizeof waiting->recipient);
    take_string(rest, waiting->sender, sizeof waiting->sender);
    take_string(rest, waiting->client, sizeof waiting->client);
}

static void take_bounced(struct rest *rest, struct ledger_bounced *bounced)
{
    bounced->at = take_number(rest);
    bounced->count = take_number(rest);
    bounced->role = (char)take_byte(rest);
    take_string(rest, bounced->recipient, sizeof bounced->recipient);
    take_string(rest, bounced->evidence, sizeof bounced->evidence);
}

bool ledger_entry_read(struct ledger_entry *entry, enum ledger_kind kind, const void *bytes,
                       size_t length)
{
    unsigned char again[LMDB_VALUE_MAX];
    struct rest rest = {.at = bytes, .left = length};
    *entry = (struct ledger_entry){.kind = kind};
    if (take_byte(&rest) != (unsigned char)kind_letters[kind])
        return false;
    if (kind == LEDGER_WAITING)
        take_waiting(&rest, &entry->waiting);
    else
        take_bounced(&rest, &entry->bounced);
    /* What is left of "one form": numbers out of bounds, strings that would have been cut. */
    return !rest.bad && rest.left == 0 && ledger_entry_write(entry, again) == length &&
           memcmp(again, bytes, length) == 0;
}

/* ---- what becomes of them ---- */

static uint32_t counted_on(uint32_t count, uint32_t more)
{
    return count > UINT32_MAX - more ? UINT32_MAX : count + more;
}

void ledger_entry_follow(struct ledger_entry *entry, const struct ledger_entry *older)
{
    if (entry->kind == LEDGER_WAITING) {
        entry->waiting.first = older->waiting.first;
        entry->waiting.count = counted_on(older->waiting.count, entry->waiting.count);
    } else {
        entry->bounced.count = counted_on(older->bounced.count, entry->bounced.count);
    }
}

void ledger_entry_doubt(struct ledger_entry *entry, int64_t doubted)
{
    if (entry->kind == LEDGER_WAITING && entry->waiting.absence.since <= doubted)
        entry->waiting.absence = (struct absence){0};
}

static bool mend(int64_t *time, int64_t now)
{
    if (*time <= now + FUTURE_S)
        return false;
    *time = now;
    return true;
}

enum ledger_sweep ledger_entry_sweep(struct ledger_entry *entry, int64_t now, int64_t ttl_s)
{
    bool mended = false;
    int64_t *last = entry->kind == LEDGER_WAITING ? &entry->waiting.last : &entry->bounced.at;
    if (entry->kind == LEDGER_WAITING) {
        mended = mend(&entry->waiting.first, now);
        mended = mend(&entry->waiting.absence.since, now) || mended;
    }
    mended = mend(last, now) || mended;
    if (ttl_s != 0 && now - *last > ttl_s)
        return LEDGER_EXPIRED;
    return mended ? LEDGER_MENDED : LEDGER_STAYS;
}
