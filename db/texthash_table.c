#include "db/texthash_table.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shared/digest.h"
#include "shared/log.h"
#include "shared/text.h"
#include "shared/unicode.h"

enum {
    WARNINGS_MAX = 10, /* lines in the log for one file; a wrong file has one per line */
    NO_RECORD = 0,
};

/* Keys and values are NUL-terminated strings in `bytes`; 8 bytes and a slot for each record, since
 * a file may hold millions. */
struct texthash_table {
    char *bytes;
    struct record {
        uint32_t key, value; /* offsets */
    } * records;
    size_t count, room;
    uint32_t *slots;   /* index into records + 1, or NO_RECORD; open addressing */
    size_t slot_count; /* a power of two, at least twice the count */
};

struct reader {
    const char *path;
    struct texthash_table *table;
    char *in, *end, *out; /* lines are put together in place: out never overtakes in */
    unsigned line;        /* of `in` */
    unsigned first_line;  /* of the logical line */
    unsigned warnings;
};

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void warn(struct reader *reader, const char *what, const char *about)
{
    if (reader->warnings++ < WARNINGS_MAX)
        log_warning("%s:%u: %s%s%s", reader->path, reader->first_line, what, about ? ": " : "",
                    about ? about : "");
}

/* Where the key is, or would be. */
static uint32_t *find_slot(const struct texthash_table *table, const char *key)
{
    struct digest digest = digest_local(key, strlen(key));
    uint64_t hash;
    memcpy(&hash, digest.bytes, sizeof hash);
    for (;; hash++) {
        uint32_t *slot = &table->slots[hash & (table->slot_count - 1)];
        if (*slot == NO_RECORD || strcmp(table->bytes + table->records[*slot - 1].key, key) == 0)
            return slot;
    }
}

static bool table_grow(struct texthash_table *table)
{
    if (table->count < table->room)
        return true;
    size_t room = table->room ? 2 * table->room : 64;
    struct record *records = realloc(table->records, room * sizeof *records);
    uint32_t *slots = calloc(2 * room, sizeof *slots);
    if (records)
        table->records = records;
    if (!records || !slots) {
        free(slots);
        return false;
    }
    free(table->slots);
    table->slots = slots;
    table->slot_count = 2 * room;
    table->room = room;
    for (size_t i = 0; i < table->count; i++)
        *find_slot(table, table->bytes + table->records[i].key) = (uint32_t)(i + 1);
    return true;
}

static bool table_add(struct reader *reader, char *key, char *value)
{
    struct texthash_table *table = reader->table;
    unicode_lower_key(key);
    if (!table_grow(table))
        return false;
    uint32_t *slot = find_slot(table, key);
    if (*slot != NO_RECORD) {
        warn(reader, "this key has a value already, and the first one counts", key);
        return true;
    }
    table->records[table->count++] =
        (struct record){(uint32_t)(key - table->bytes), (uint32_t)(value - table->bytes)};
    *slot = (uint32_t)table->count;
    return true;
}

/* One physical line: [*start, *end), without its newline. False at the end of the file. */
static bool physical_line(struct reader *reader, char **start, char **end)
{
    if (reader->in >= reader->end)
        return false;
    *start = reader->in;
    char *newline = memchr(reader->in, '\n', (size_t)(reader->end - reader->in));
    *end = newline ? newline : reader->end;
    reader->in = *end + 1;
    reader->line++;
    return true;
}

static bool is_empty_or_comment(const char *start, const char *end)
{
    while (start < end && is_blank(*start))
        start++;
    return start == end || *start == '#';
}

/* The next line with its continuation lines, NUL-terminated; NULL at the end of the file. */
static char *logical_line(struct reader *reader)
{
    char *line = reader->out, *start, *end;
    bool begun = false;
    for (;;) {
        char *before = reader->in;
        if (!physical_line(reader, &start, &end))
            break;
        if (is_empty_or_comment(start, end))
            continue;
        if (begun && !is_blank(*start)) {
            reader->in = before;
            reader->line--;
            break;
        }
        if (!begun)
            reader->first_line = reader->line;
        begun = true;
        memmove(reader->out, start, (size_t)(end - start));
        reader->out += end - start;
    }
    if (!begun)
        return NULL;
    *reader->out++ = '\0'; /* where the newline was, or the byte after the end */
    return line;
}

/* The first blank that is not quoted; NULL where a quote is left open. As in postmap(1). */
static char *key_end(char *line)
{
    bool quoted = false;
    char *at = line;
    for (; *at && (quoted || !is_blank(*at)); at++) {
        if (*at == '\\' && at[1])
            at++;
        else if (*at == '"')
            quoted = !quoted;
    }
    return quoted ? NULL : at;
}

static bool line_read(struct reader *reader, char *line)
{
    if (is_blank(*line)) {
        warn(reader, "a line that goes on with the one before, and there is none; left out", NULL);
        return true;
    }
    if (!text_is_utf8(line, strlen(line))) {
        warn(reader, "not UTF-8; left out", line);
        return true;
    }
    char *value = key_end(line), *end = reader->out - 1;
    if (!value) {
        warn(reader, "a '\"' has no partner; left out", line);
        return true;
    }
    if (*value)
        *value++ = '\0';
    while (is_blank(*value))
        value++;
    while (end > value && is_blank(end[-1]))
        end--;
    *end = '\0';
    if (*value == '\0') {
        warn(reader, "a key without a value; left out", line);
        return true;
    }
    if (value - line > 1 && line[strlen(line) - 1] == ':')
        warn(reader,
             "\"key: value\" is the form of an alias file, and the ':' is taken as a part "
             "of the key",
             line);
    return table_add(reader, line, value);
}

static bool table_fill(struct reader *reader)
{
    char *line;
    if (!table_grow(reader->table)) /* an empty table has slots too */
        return false;
    while ((line = logical_line(reader)))
        if (!line_read(reader, line))
            return false;
    if (reader->warnings > WARNINGS_MAX)
        log_warning("%s: %u more lines with something wrong", reader->path,
                    reader->warnings - WARNINGS_MAX);
    return true;
}

struct texthash_table *texthash_table_read(const char *path, char *bytes, size_t length,
                                           struct fault *fault)
{
    if (memchr(bytes, '\0', length)) {
        fault_set(fault, "%s: there is a NUL in it, so this is no text file", path);
        free(bytes);
        return NULL;
    }
    struct texthash_table *table = calloc(1, sizeof *table);
    if (!table) {
        free(bytes);
        fault_set(fault, "%s: out of memory", path);
        return NULL;
    }
    table->bytes = bytes;
    struct reader reader = {
        .path = path, .table = table, .in = bytes, .end = bytes + length, .out = bytes};
    if (table_fill(&reader))
        return table;
    fault_set(fault, "%s: out of memory", path);
    texthash_table_free(table);
    return NULL;
}

void texthash_table_free(struct texthash_table *table)
{
    if (!table)
        return;
    free(table->bytes);
    free(table->records);
    free(table->slots);
    free(table);
}

const char *texthash_table_find(const struct texthash_table *table, const char *key)
{
    uint32_t slot = *find_slot(table, key);
    return slot == NO_RECORD ? NULL : table->bytes + table->records[slot - 1].value;
}

size_t texthash_table_count(const struct texthash_table *table)
{
    return table->count;
}
