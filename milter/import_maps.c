/* Maps and lists of domains, from Postfix's words into ours. */
#include "milter/import.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/maps.h"

enum { MAP_MAX = 4096, LINE_BYTES = 4096, NAME_MAX_BYTES = 253, INLINE_MAX = 500 };

/* Postfix's indexed files. What they are made from has the form of texthash. */
static const char *const indexed[] = {"hash:", "btree:", "lmdb:", "cdb:", "dbm:", "sdbm:"};

static bool is_in_list(const struct text *list, const char *map)
{
    const char *at = list->bytes;
    char word[MAP_MAX];
    while (postconf_next(&at, word, sizeof word))
        if (strcmp(word, map) == 0)
            return true;
    return false;
}

/* In our syntax a '$' is written twice. */
static void add_value(struct text *text, const char *value)
{
    for (; *value; value++)
        text_add(text, *value == '$' ? "$$" : (char[]){*value, '\0'});
}

static void add_to_list(struct text *list, const char *map)
{
    char escaped[2 * MAP_MAX];
    struct text text = text_on(escaped, sizeof escaped);
    add_value(&text, map);
    if (!is_in_list(list, escaped))
        text_addf(list, "%s%s", list->length > 0 ? ",\n    " : "", escaped);
}

/* As we would write it; *index: it is the source of an indexed file. */
static void convert(const char *map, struct text *ours, bool *index)
{
    *index = false;
    if (strncmp(map, "proxy:", 6) == 0)
        map += 6;
    for (size_t i = 0; i < sizeof indexed / sizeof *indexed; i++)
        if (strncmp(map, indexed[i], strlen(indexed[i])) == 0) {
            *index = true;
            text_add(ours, "texthash:");
            map += strlen(indexed[i]);
            break;
        }
    text_add(ours, map);
}

/* Does it work here? Our own reader says so: it opens what the map names. */
static bool opens(const char *map, struct fault *fault)
{
    struct settings *settings = settings_load(NULL, NULL, 0, fault);
    const struct map_context context = {.settings = settings, .offline = true};
    struct maps *maps = settings ? maps_open(map, &context, fault) : NULL;
    maps_close(maps);
    settings_free(settings);
    return maps != NULL;
}

void import_add_map(struct import_plan *plan, struct text *list, const char *parameter,
                    const char *map)
{
    struct fault why = {{0}};
    char ours[MAP_MAX];
    bool index, recipients = list == &plan->recipients;
    struct text text = text_on(ours, sizeof ours);
    convert(map, &text, &index);
    if (is_in_list(list, ours))
        return;
    if (!text.overflow && opens(ours, &why)) {
        if (index)
            import_note(plan,
                        "%s: %s is read as %s: what stands there counts at once, without postmap",
                        parameter, map, ours);
        add_to_list(list, ours);
        return;
    }
    bool same = strcmp(map, ours) == 0; /* then `why` names it */
    import_leave_out(plan, "%s: %s%s%s", parameter, same ? "" : map, same ? "" : ": ", why.text);
    if (!plan->partial)
        add_to_list(list, map);
    else if (recipients)
        add_to_list(list, "fail:not-carried-over");
    plan->failing |= recipients;
}

static size_t count_inside(const struct text *inside)
{
    size_t count = 0;
    for (const char *at = inside->bytes; (at = strchr(at, '=')); at++)
        count++;
    return count;
}

/* What is in mydestination, too, is local to Postfix: its users are in none of these maps. */
static void add_name(struct import_plan *plan, const char *name)
{
    char entry[NAME_MAX_BYTES + 8];
    if (postconf_list_has(postconf_value(plan->postfix, NULL, "mydestination"), name))
        return;
    snprintf(entry, sizeof entry, "%s=OK", name);
    if (!is_in_list(&plan->inside, entry))
        text_addf(&plan->inside, "%s%s", plan->inside.length > 0 ? ",\n    " : "", entry);
}

bool import_may_be_below(const struct import_plan *plan, const char *name)
{
    char entry[NAME_MAX_BYTES + 8];
    const char *dot = strchr(name, '.');
    bool below = dot && plan->domains.length > 0;
    for (; dot && !below; dot = strchr(dot + 1, '.')) {
        snprintf(entry, sizeof entry, "%s=OK", dot + 1);
        below = postconf_list_has(plan->inside.bytes, entry);
    }
    return below;
}

/* postconf(5): "/file/name" stands for what is in it, with comments as in main.cf. */
static void add_file(struct import_plan *plan, const char *parameter, const char *path,
                     unsigned depth)
{
    char line[LINE_BYTES], reason[128];
    FILE *file = depth == 0 ? fopen(path, "re") : NULL;
    if (!file) {
        import_leave_out(plan, "%s: %s: %s", parameter, path,
                         depth == 0 ? strerror_r(errno, reason, sizeof reason)
                                    : "it is named by a file");
        if (!plan->partial)
            add_to_list(&plan->domains, path);
        return;
    }
    while (fgets(line, sizeof line, file)) {
        const char *start = line + strspn(line, " \t");
        if (*start != '#')
            import_add_domains(plan, parameter, start, depth + 1);
    }
    fclose(file);
    if (count_inside(&plan->inside) > INLINE_MAX)
        import_note(plan,
                    "%s: %s is long: better make a table of it, with sed 's/$/ OK/' %s, and "
                    "name that with texthash:",
                    parameter, path, path);
    else
        import_note(plan,
                    "%s: the names in %s are copied below: what is added there is to be "
                    "added here",
                    parameter, path);
}

void import_add_domains(struct import_plan *plan, const char *parameter, const char *list,
                        unsigned depth)
{
    char word[MAP_MAX];
    while (postconf_next(&list, word, sizeof word)) {
        if (word[0] == '/')
            add_file(plan, parameter, word, depth);
        else if (word[0] == '!')
            import_note(plan, "%s: \"%s\" is not carried over; Postfix still refuses that domain",
                        parameter, word);
        else if (word[0] == '.')
            import_leave_out(plan,
                             "%s: %s: recipients in subdomains pass unchecked; name each "
                             "subdomain in domain_maps",
                             parameter, word);
        else if (word[0] != '[' && strchr(word, ':'))
            import_add_map(plan, &plan->domains, parameter, word);
        else if (strlen(word) <= NAME_MAX_BYTES && !strpbrk(word, "={}"))
            add_name(plan, word);
        else
            import_leave_out(plan, "%s: \"%s\" is no domain", parameter, word);
    }
}
