/* The input is a value of the ledger's file, or the strings of an entry. */
#include "tests/fuzz/fuzz.h"

#include "db/ledger_entry.h"

enum { NOW = 1700000000, TTL = 14 * 86400 };

/* What is read is in bounds, and is written as it was. */
static void check_read(const struct ledger_entry *entry, struct input input)
{
    unsigned char bytes[LMDB_VALUE_MAX];
    assert(input.length <= sizeof bytes);
    assert(ledger_entry_write(entry, bytes) == input.length);
    assert(memcmp(bytes, input.bytes, input.length) == 0);
    if (entry->kind == LEDGER_WAITING) {
        const struct ledger_waiting *waiting = &entry->waiting;
        assert(waiting->absence.asked <= ABSENCE_ASKED_MAX && waiting->absence.since >= 0);
        assert(memchr(waiting->recipient, '\0', sizeof waiting->recipient));
        assert(memchr(waiting->sender, '\0', sizeof waiting->sender));
        assert(memchr(waiting->client, '\0', sizeof waiting->client));
    } else {
        assert(entry->bounced.role == 'p' || entry->bounced.role == 'f');
        assert(memchr(entry->bounced.recipient, '\0', sizeof entry->bounced.recipient));
        assert(memchr(entry->bounced.evidence, '\0', sizeof entry->bounced.evidence));
    }
    struct ledger_entry other; /* a shorter one is none */
    for (size_t cut = 0; cut < input.length; cut++)
        assert(!ledger_entry_read(&other, entry->kind, input.bytes, cut));
}

/* What becomes of an entry is one again. */
static void check_changes(struct ledger_entry entry)
{
    unsigned char bytes[LMDB_VALUE_MAX];
    struct ledger_entry again, older = entry;
    ledger_entry_follow(&entry, &older);
    assert(ledger_entry_sweep(&entry, NOW, 0) != LEDGER_EXPIRED);
    assert(ledger_entry_sweep(&entry, NOW, TTL) != LEDGER_MENDED); /* it was */
    ledger_entry_doubt(&entry, NOW);
    assert(ledger_entry_read(&again, entry.kind, bytes, ledger_entry_write(&entry, bytes)));
    assert(again.kind == LEDGER_BOUNCED || again.waiting.first == entry.waiting.first);
}

/* Fills an array as a careless caller might: cut anywhere, or without its NUL. */
static void fill(char *array, size_t capacity, struct input *input)
{
    char *line = input_line(input);
    strncpy(array, line, capacity);
    free(line);
}

/* Whatever is in the strings, it can be read again, and no well-formed one is cut within a
 * character. */
static void check_written(const char *string, const char *kept, size_t capacity)
{
    size_t length = strlen(kept), given = strnlen(string, capacity);
    assert(length < capacity && length <= given && given - length <= 4);
    assert(memcmp(string, kept, length) == 0);
    assert(length == given || given >= capacity - 1);
    if (given < capacity && text_is_utf8(string, given))
        assert(text_is_utf8(kept, length));
}

static void check_strings(struct input input)
{
    unsigned char bytes[LMDB_VALUE_MAX];
    struct ledger_entry again, waiting = {.kind = LEDGER_WAITING, .waiting.count = 1},
                               bounced = {.kind = LEDGER_BOUNCED, .bounced.role = 'f'};
    struct ledger_waiting *w = &waiting.waiting;
    struct ledger_bounced *b = &bounced.bounced;
    fill(w->recipient, sizeof w->recipient, &input);
    fill(w->sender, sizeof w->sender, &input);
    fill(w->client, sizeof w->client, &input);
    memcpy(b->recipient, w->recipient, sizeof b->recipient);
    fill(b->evidence, sizeof b->evidence, &input);

    assert(ledger_entry_read(&again, LEDGER_WAITING, bytes, ledger_entry_write(&waiting, bytes)));
    check_written(w->recipient, again.waiting.recipient, sizeof w->recipient);
    check_written(w->sender, again.waiting.sender, sizeof w->sender);
    check_written(w->client, again.waiting.client, sizeof w->client);
    assert(ledger_entry_read(&again, LEDGER_BOUNCED, bytes, ledger_entry_write(&bounced, bytes)));
    check_written(b->recipient, again.bounced.recipient, sizeof b->recipient);
    check_written(b->evidence, again.bounced.evidence, sizeof b->evidence);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {(const char *)data, size};
    for (enum ledger_kind kind = LEDGER_WAITING; kind < LEDGER_KINDS; kind++) {
        struct ledger_entry entry;
        if (!ledger_entry_read(&entry, kind, input.bytes, input.length))
            continue;
        check_read(&entry, input);
        check_changes(entry);
    }
    check_strings(input);
    return 0;
}
