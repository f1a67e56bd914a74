#include "db/maps.h"

#include <stdlib.h>
#include <string.h>

#include "shared/address.h"
#include "shared/idn.h"
#include "shared/text.h"

static const struct map_type *const map_types[] = {
    &map_mysql, &map_sqlite, &map_texthash, &map_static, &map_inline, &map_fail,
};
enum { MAP_TYPES = sizeof map_types / sizeof map_types[0] };

struct maps {
    size_t count;
    struct map {
        const struct map_type *type;
        void *opened;
        char *name; /* as written */
    } * list;
};

static bool is_separator(char c)
{
    return c == ',' || c == ' ' || (c >= '\t' && c <= '\r');
}

/* The next map in the list, from *at on; false at the end of it, or with a fault. */
static bool next_name(const char **at, const char **name, size_t *length, struct fault *fault)
{
    while (is_separator(**at))
        (*at)++;
    *name = *at;
    int depth = 0;
    for (; **at && (depth > 0 || !is_separator(**at)); (*at)++) {
        depth += (**at == '{') - (**at == '}');
        if (depth < 0)
            break;
    }
    *length = (size_t)(*at - *name);
    if (depth == 0)
        return *length > 0;
    fault_set(fault, "%s: %s", *name, depth > 0 ? "a '{' has no '}'" : "a '}' has no '{'");
    *length = 0;
    return false;
}

static void suggest_type(const char *given, struct fault *fault)
{
    /* Postfix's own index formats; their source is what texthash reads. */
    static const char *const indexed[] = {"hash", "btree", "lmdb", "cdb", "dbm", "sdbm"};
    char buffer[FAULT_MAX];
    struct text text = text_on(buffer, sizeof buffer);
    const char *near = NULL;
    for (size_t i = 0; i < MAP_TYPES; i++) {
        text_addf(&text, "%s%s", i ? ", " : "", map_types[i]->name);
        if (text_distance(given, map_types[i]->name) <= 2)
            near = map_types[i]->name;
    }
    for (size_t i = 0; i < sizeof indexed / sizeof indexed[0]; i++)
        if (text_same_word(given, indexed[i]))
            near = "texthash (it reads the text file that the index is made from)";
    if (near)
        text_addf(&text, "; did you mean %s?", near);
    fault_set(fault, "there is no map type \"%s\"; there are %s", given, buffer);
}

static const struct map_type *find_type(const char *name, size_t length, struct fault *fault)
{
    for (size_t i = 0; i < MAP_TYPES; i++)
        if (strlen(map_types[i]->name) == length && memcmp(map_types[i]->name, name, length) == 0)
            return map_types[i];
    char given[32];
    struct text text = text_on(given, sizeof given);
    text_add_bytes(&text, name, length);
    suggest_type(given, fault);
    return NULL;
}

static bool map_open(struct map *map, const struct map_context *context, struct fault *fault)
{
    /* Lines are copied from main.cf. Our maps keep their own connections, which is what Postfix
     * has proxymap(8) for. */
    static const char proxy[] = "proxy:";
    const char *name = map->name;
    if (strncmp(name, proxy, strlen(proxy)) == 0)
        name += strlen(proxy);
    const char *colon = strchr(name, ':');
    if (!colon || colon == name) {
        fault_set(fault, "write a map as type:table, for example texthash:/path");
        return false;
    }
    map->type = find_type(name, (size_t)(colon - name), fault);
    if (!map->type)
        return false;
    map->opened = map->type->open(colon + 1, context, fault);
    return map->opened != NULL;
}

static bool maps_append(struct maps *maps, const char *name, size_t length,
                        const struct map_context *context, struct fault *fault)
{
    struct map *list = realloc(maps->list, (maps->count + 1) * sizeof *list);
    struct map map = {.name = strndup(name, length)};
    if (list)
        maps->list = list;
    if (!list || !map.name) {
        free(map.name);
        fault_set(fault, "out of memory");
        return false;
    }
    if (!map_open(&map, context, fault)) {
        fault_within(fault, "%s", map.name);
        free(map.name);
        return false;
    }
    maps->list[maps->count++] = map;
    return true;
}

struct maps *maps_open(const char *list, const struct map_context *context, struct fault *fault)
{
    struct maps *maps = calloc(1, sizeof *maps);
    if (!maps) {
        fault_set(fault, "out of memory");
        return NULL;
    }
    struct fault split = {.text = ""};
    const char *name;
    size_t length;
    while (next_name(&list, &name, &length, &split))
        if (!maps_append(maps, name, length, context, fault)) {
            maps_close(maps);
            return NULL;
        }
    if (split.text[0]) {
        fault_set(fault, "%s", split.text);
        maps_close(maps);
        return NULL;
    }
    return maps;
}

void maps_close(struct maps *maps)
{
    if (!maps)
        return;
    for (size_t i = 0; i < maps->count; i++) {
        maps->list[i].type->close(maps->list[i].opened);
        free(maps->list[i].name);
    }
    free(maps->list);
    free(maps);
}

bool maps_empty(const struct maps *maps)
{
    return maps->count == 0;
}

bool maps_wait(const struct maps *maps)
{
    for (size_t i = 0; i < maps->count; i++)
        if (maps->list[i].type->waits)
            return true;
    return false;
}

static void map_ask_form(const struct map *map, const char *key, struct deadline deadline,
                         struct trace *trace, struct finding *finding)
{
    *finding = (struct finding){.answer = UNAVAILABLE};
    map->type->lookup(map->opened, key, deadline, trace, finding);
    const char *said = finding->answer == FOUND ? finding->value : finding->why.text;
    trace_add(trace, "map %.200s: %s: %s%s%s", map->name, key, answer_name(finding->answer),
              said[0] ? ": " : "", said);
}

/* One map's ABSENT is no better than its server. The first reason is told. */
static void keep_lag(struct finding *absent, const struct finding *finding)
{
    if (!finding->lagging || absent->lagging)
        return;
    absent->lagging = true;
    absent->why = finding->why;
}

/* A key, and its other form where its domain has two (idn.h). */
struct forms {
    const char *key, *other; /* other: NULL where there is none */
    char bytes[ADDRESS_KEY_MAX];
};

static void forms_start(struct forms *forms, const char *key)
{
    forms->key = key;
    forms->other = idn_other_form(key, forms->bytes, sizeof forms->bytes) ? forms->bytes : NULL;
}

/*
 * One table holds a domain in one form, and which one we do not know. So it is asked for both
 * unless it has the first, and says ABSENT only where it said so twice. One exception: a table
 * that has just answered for the A-labels, and has no letters to compare the U-labels with, has no
 * such row; and it must not make every domain with A-labels, ours or not, one that cannot be
 * looked up.
 */
static void map_ask(const struct map *map, const struct forms *forms, struct deadline deadline,
                    struct trace *trace, struct finding *finding)
{
    map_ask_form(map, forms->key, deadline, trace, finding);
    if (!forms->other || finding->answer == FOUND)
        return;
    struct finding first = *finding;
    map_ask_form(map, forms->other, deadline, trace, finding);
    if (finding->answer == FOUND)
        return;
    if (first.answer == UNAVAILABLE || (finding->answer == UNAVAILABLE && finding->unfit)) {
        first.late |= finding->late;
        *finding = first;
    } else if (finding->answer == ABSENT) {
        keep_lag(&first, finding);
        *finding = first;
    }
}

void maps_find(const struct maps *maps, const char *key, struct deadline deadline,
               struct trace *trace, struct finding *finding)
{
    maps_find_unless(maps, key, deadline, trace, NULL, NULL, finding);
}

void maps_find_unless(const struct maps *maps, const char *key, struct deadline deadline,
                      struct trace *trace, maps_unless *unless, void *context,
                      struct finding *finding)
{
    struct finding trouble = {.answer = UNAVAILABLE}, absent = {.answer = ABSENT};
    bool failed = false, late = false;
    struct forms forms;
    forms_start(&forms, key);
    for (size_t i = 0; i < maps->count; i++) {
        map_ask(&maps->list[i], &forms, deadline, trace, finding);
        if (finding->answer == FOUND) {
            if (!unless || !unless(context, finding->value))
                return;
            continue;
        }
        if (finding->answer == ABSENT) {
            keep_lag(&absent, finding);
            continue;
        }
        /* The first reason is told. If any map was merely late, we did not hear all there is. */
        late |= finding->late;
        if (!failed)
            trouble = *finding;
        failed = true;
    }
    trouble.late = late;
    *finding = failed ? trouble : absent;
}

void maps_value(const struct maps *maps, const char *key, struct deadline deadline,
                struct trace *trace, struct finding *finding)
{
    struct finding absent = {.answer = ABSENT};
    struct forms forms;
    forms_start(&forms, key);
    for (size_t i = 0; i < maps->count; i++) {
        map_ask(&maps->list[i], &forms, deadline, trace, finding);
        if (finding->answer != ABSENT)
            return;
        keep_lag(&absent, finding);
    }
    *finding = absent;
}
