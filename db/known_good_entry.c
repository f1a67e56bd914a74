#include "db/known_good_entry.h"

#include <stdlib.h>

static int64_t time_read(const unsigned char *at)
{
    return (int64_t)((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
                     (uint32_t)at[3] << 24);
}

static void time_write(unsigned char *at, int64_t seconds)
{
    uint32_t stored = seconds < 0 ? 0 : seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds;
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(stored >> (8 * i));
}

bool entry_read(struct known_good_entry *entry, const void *bytes, size_t length)
{
    *entry = (struct known_good_entry){0};
    if (length != ENTRY_BYTES)
        return false;
    const unsigned char *at = bytes;
    *entry = (struct known_good_entry){.confirmed = time_read(at), .gone = time_read(at + 4)};
    return true;
}

size_t entry_write(const struct known_good_entry *entry, unsigned char bytes[ENTRY_BYTES])
{
    time_write(bytes, entry->confirmed);
    time_write(bytes + 4, entry->gone);
    return ENTRY_BYTES;
}

void entry_confirm(struct known_good_entry *entry, int64_t now, int64_t ttl_s)
{
    bool was_gone = entry->gone != 0;
    if (entry->gone <= now)
        entry->gone = 0;
    if (now > entry->confirmed && (was_gone || now - entry->confirmed >= ttl_s / 100))
        entry->confirmed = now;
}

void entry_mark_gone(struct known_good_entry *entry, int64_t now)
{
    if (entry->gone == 0)
        entry->gone = now;
}

bool entry_sweep(struct known_good_entry *entry, int64_t now, int64_t ttl_s)
{
    if (entry->confirmed > now + ENTRY_FUTURE_S)
        entry->confirmed = now;
    if (entry->gone > now + ENTRY_FUTURE_S)
        entry->gone = now;
    return ttl_s == 0 || now - entry->confirmed <= ttl_s;
}

bool clock_watch_trusts(struct clock_watch *watch, int64_t wall_s, int64_t mono_ms)
{
    int64_t apart = wall_s - mono_ms / 1000;
    /* Compared with the last look, so a clock that is slewed for days is no step. */
    if (watch->begun && llabs(apart - watch->apart_s) > CLOCK_STEP_S)
        watch->held_until_ms = mono_ms + (int64_t)CLOCK_HOLD_S * 1000;
    watch->begun = true;
    watch->apart_s = apart;
    return mono_ms >= watch->held_until_ms;
}
