/*
 * inline:{key=value, {key=value with spaces}}, as in Postfix 3.x (DATABASE_README).
 *
 * Blanks round key and value go; the key is folded; of two values for one key the last one wins,
 * as in Postfix. Postfix also refuses a table without entries, and answers a lookup that gives an
 * empty value with an error; here both are refused when the map is opened.
 */
#include "db/directory.h"

#include <stdlib.h>
#include <string.h>

#include "shared/text.h"
#include "shared/unicode.h"

static const char separators[] = ", \t\r\n";

/* Few, since somebody has to type them on one line: searched one by one. */
struct inline_map {
    char *text; /* what keys and values point into */
    struct inline_entry {
        char *key, *value;
    } * entries;
    size_t count;
};

static void inline_close(void *opened)
{
    struct inline_map *map = opened;
    free(map->entries);
    free(map->text);
    free(map);
}

static char *trim(char *start, char *end)
{
    while (start < end && strchr(separators + 1, *start))
        start++;
    while (end > start && strchr(separators + 1, end[-1]))
        end--;
    *end = '\0';
    return start;
}

/* key=value in text[0..end), which is not NULL-terminated yet. */
static bool entry_read(struct inline_map *map, char *text, char *end, struct fault *fault)
{
    *end = '\0';
    char *equals = strchr(text, '=');
    if (!equals) {
        fault_set(fault, "\"%s\" has no '=': write inline:{key=value, {key=some value}}", text);
        return false;
    }
    char *value = trim(equals + 1, end);
    char *key = trim(text, equals);
    if (*key == '\0' || *value == '\0') {
        fault_set(fault, "\"%s=%s\": neither the key nor the value may be empty", key, value);
        return false;
    }
    unicode_lower_key(key);
    map->entries[map->count++] = (struct inline_entry){key, value};
    return true;
}

/* Where the entry at text ends: a separator outside of braces, or `end`. NULL and a fault when its
 * braces are not in order. */
static char *entry_end(char *text, char *end, struct fault *fault)
{
    int depth = 0;
    char *at = text;
    for (; at < end && depth >= 0 && (depth > 0 || !strchr(separators, *at)); at++) {
        if (*text == '{' && depth == 0 && at > text) {
            fault_set(fault, "there is something between '}' and the next comma or blank");
            return NULL;
        }
        depth += (*at == '{') - (*at == '}');
    }
    if (depth == 0)
        return at;
    fault_set(fault, depth > 0 ? "a '{' has no '}'" : "a '}' has no '{'");
    return NULL;
}

static bool entries_read(struct inline_map *map, char *end, struct fault *fault)
{
    for (char *text = map->text + 1; text < end;) {
        if (strchr(separators, *text)) {
            text++;
            continue;
        }
        char *stop = entry_end(text, end, fault);
        if (!stop)
            return false;
        bool braces = *text == '{';
        if (!entry_read(map, text + braces, stop - braces, fault))
            return false;
        text = stop + 1;
    }
    if (map->count == 0)
        fault_set(fault, "there is no entry: write inline:{key=value, {key=some value}}");
    return map->count > 0;
}

static void *inline_open(const char *table, const struct map_context *context, struct fault *fault)
{
    (void)context;
    size_t length = strlen(table);
    if (table[0] != '{' || length < 2 || table[length - 1] != '}') {
        fault_set(fault, "write the entries in braces, inline:{key=value, {key=some value}}");
        return NULL;
    }
    struct inline_map *map = calloc(1, sizeof *map);
    if (map) {
        map->text = strdup(table);
        map->entries = calloc(length, sizeof *map->entries); /* each is longer than a byte */
    }
    if (!map || !map->text || !map->entries) {
        fault_set(fault, "out of memory");
    } else if (entries_read(map, map->text + length - 1, fault)) {
        return map;
    }
    if (map)
        inline_close(map);
    return NULL;
}

static void inline_lookup(void *opened, const char *key, struct deadline deadline,
                          struct trace *trace, struct finding *finding)
{
    (void)deadline, (void)trace;
    const struct inline_map *map = opened;
    for (size_t i = map->count; i-- > 0;)
        if (strcmp(map->entries[i].key, key) == 0) {
            finding_set_found(finding, map->entries[i].value);
            return;
        }
    finding_set_absent(finding);
}

const struct map_type map_inline = {"inline", false, inline_open, inline_lookup, inline_close};
