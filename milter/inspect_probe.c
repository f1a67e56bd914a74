#include "milter/inspect_probe.h"

#include <string.h>

#include "shared/digest.h"
#include "shared/text.h"

static void add(struct probes *probes, enum probe_kind kind, unsigned sentinel, const char *local,
                const char *domain)
{
    struct probe *probe = &probes->probe[probes->count];
    struct text key = text_on(probe->key, sizeof probe->key);
    if (probes->count == PROBES_MAX)
        return;
    *probe = (struct probe){.kind = kind, .sentinel = sentinel};
    if (local)
        text_addf(&key, "%s@", local);
    text_add(&key, domain);
    if (!key.overflow)
        probes->count++;
}

/* The first letter that has a well-known accent gets it. False: there is none. */
static bool add_accent(const char *from, char *to, size_t size)
{
    static const char plain[] = "aeioucn";
    static const char *const accented[] = {"\xc3\xa1", "\xc3\xa9", "\xc3\xad", "\xc3\xb3",
                                           "\xc3\xba", "\xc3\xa7", "\xc3\xb1"};
    struct text text = text_on(to, size);
    size_t before = strcspn(from, plain);
    if (from[before] == '\0')
        return false;
    text_add_bytes(&text, from, before);
    text_add(&text, accented[strchr(plain, from[before]) - plain]);
    text_add(&text, from + before + 1);
    return !text.overflow;
}

static void add_sentinel(struct probes *probes, unsigned which, const char *nobody,
                         const char *delimiters)
{
    const struct address *address = &probes->sentinels->addresses[which];
    char other[ADDRESS_KEY_MAX];
    if (probes->manner == PROBE_DOMAINS) {
        add(probes, PROBE_SENTINEL, which, NULL, address->domain);
        if (add_accent(address->domain, other, sizeof other))
            add(probes, PROBE_ACCENT, which, NULL, other);
        return;
    }
    struct address_probes keys;
    address_probes(address, delimiters, &keys);
    for (size_t i = 0; i < keys.count; i++)
        if (keys.key[i][0] != '@')
            add(probes, PROBE_SENTINEL, which, NULL, keys.key[i]);
    add(probes, PROBE_NEIGHBOUR, which, "", address->domain);
    add(probes, PROBE_NEIGHBOUR, which, nobody, address->domain);
    if (address->quoted)
        return;
    if (add_accent(address->local, other, sizeof other))
        add(probes, PROBE_ACCENT, which, other, address->domain);
    struct text spaced = text_on(other, sizeof other);
    text_addf(&spaced, "%s ", address->local);
    add(probes, PROBE_SPACE, which, other, address->domain);
}

void probes_make(struct probes *probes, enum probe_manner manner,
                 const struct sentinel_list *sentinels, const char *delimiters)
{
    struct digest digest = digest_random();
    char hex[DIGEST_HEX + 1], nobody[64], domain[64];
    digest_to_hex(&digest, hex);
    struct text text = text_on(nobody, sizeof nobody);
    text_addf(&text, "rcpt-milter-check-%.12s", hex);
    text = text_on(domain, sizeof domain);
    text_addf(&text, "rcpt-milter-check-%.12s.invalid", hex + 12); /* RFC 2606: nobody's */
    *probes = (struct probes){.manner = manner, .sentinels = sentinels};
    bool domains = manner == PROBE_DOMAINS || manner == PROBE_ROLES;
    add(probes, PROBE_STRANGER, 0, domains ? NULL : nobody, domain);
    if (!domains)
        add(probes, PROBE_STRANGER, 0, "", domain);
    if (manner == PROBE_RECIPIENTS || manner == PROBE_DOMAINS)
        for (unsigned i = 0; i < sentinels->count && i < PROBE_SENTINELS_MAX; i++)
            add_sentinel(probes, i, nobody, delimiters);
}

void probes_forget(struct probes *probes)
{
    for (size_t i = 0; i < probes->count; i++)
        probes->probe[i].answer = UNAVAILABLE;
}

static const struct probe *find_kind(const struct probes *probes, enum probe_kind kind)
{
    for (size_t i = 0; i < probes->count; i++)
        if (probes->probe[i].kind == kind && probes->probe[i].answer == FOUND)
            return &probes->probe[i];
    return NULL;
}

bool probes_judge_catch_all(const struct probes *probes, struct inspect_report *report)
{
    const struct probe *stranger = find_kind(probes, PROBE_STRANGER);
    const struct probe *neighbour = find_kind(probes, PROBE_NEIGHBOUR);
    if (probes->manner == PROBE_ROLES)
        return false;
    const char *query_too = report->conf ? ", or let the query compare all of the key" : "";
    if (stranger)
        inspect_find(report, "query",
                     "it answers for %s, which nobody has: it knows everybody, and nobody is ever "
                     "unknown. Take out what answers for all%s",
                     stranger->key, query_too);
    else if (neighbour)
        inspect_find(report, "query",
                     "it answers for %s, which nobody has: everybody in that domain is known. If "
                     "no catch-all is meant, take it out of the table%s",
                     neighbour->key, query_too);
    return stranger || neighbour;
}

void probes_judge_folding(const struct probes *probes, struct inspect_report *report)
{
    const struct probe *accent = find_kind(probes, PROBE_ACCENT);
    const struct probe *space = find_kind(probes, PROBE_SPACE);
    /* It says nothing unless this map has the sentinel itself. */
    for (size_t i = 0; i < probes->count; i++) {
        const struct probe *sentinel = &probes->probe[i];
        if (sentinel->kind != PROBE_SENTINEL || sentinel->answer != FOUND)
            continue;
        if (accent && accent->sentinel == sentinel->sentinel) {
            inspect_find(report, "query",
                         "it takes %s for %s: the comparison folds accents, so that addresses "
                         "nobody has are known. Compare exactly as well: AND LOWER(...) COLLATE "
                         "utf8mb4_bin = ...",
                         accent->key, sentinel->key);
            return;
        }
        if (space && space->sentinel == sentinel->sentinel) {
            inspect_find(report, "query",
                         "it takes \"%s\" for %s: the comparison ignores trailing spaces. Compare "
                         "exactly as well: AND CAST(LOWER(...) AS BINARY) = ...",
                         space->key, sentinel->key);
            return;
        }
    }
}

void probes_gather(struct probes *probes)
{
    for (size_t i = 0; i < probes->count; i++) {
        const struct probe *probe = &probes->probe[i];
        bool vouches = probe->kind == PROBE_SENTINEL || probe->kind == PROBE_NEIGHBOUR;
        probes->found[probe->sentinel] |= vouches && probe->answer == FOUND;
        probes->failed[probe->sentinel] |= vouches && probe->answer == UNAVAILABLE;
    }
}

bool probes_judge_sentinels(const struct probes *probes, struct inspect_report *report)
{
    bool all = probes->sentinels->count > 0;
    bool domains = probes->manner == PROBE_DOMAINS;
    for (size_t i = 0; i < probes->sentinels->count && i < PROBE_SENTINELS_MAX; i++) {
        const struct address *address = &probes->sentinels->addresses[i];
        const char *key = domains ? address->domain : address->key;
        if (probes->found[i])
            continue;
        all = false;
        if (probes->failed[i]) /* a failure is no absence */
            inspect_note(report, "%s was not found, and not all of these maps could be asked", key);
        else
            inspect_find(report, NULL,
                         "%s, %s sentinel_recipients, is in none of these maps: while that is so, "
                         "nobody is bounced. Is the table empty, half loaded, or another one?",
                         key, domains ? "a domain of" : "one of");
    }
    return all;
}
