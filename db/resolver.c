#include "db/resolver.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/access.h"
#include "db/generations.h"
#include "db/maps.h"
#include "db/memcache.h"
#include "shared/counters.h"
#include "shared/log.h"
#include "shared/lru.h"
#include "shared/text.h"

struct resolver {
    const struct settings *settings; /* borrowed */
    struct maps *role_maps;
    struct maps *domain_maps;
    struct maps *access_maps;
    struct maps *recipient_maps;
    struct lru *outcomes;            /* NULL: no process cache */
    struct lru *roles;               /* NULL: no process cache, or no role_maps */
    struct memcache *memcache;       /* NULL: none */
    struct generations *generations; /* NULL: no memcached */
    bool directory_waits;            /* some map of the directory needs a lookup slot */
    _Atomic unsigned slots_taken;
};

/* ---- opening ---- */

static bool open_maps(struct maps **maps, const char *parameter, const char *list,
                      const struct map_context *context, struct fault *fault)
{
    *maps = maps_open(list, context, fault);
    if (!*maps)
        fault_within(fault, "%s: %s", settings_where(context->settings, parameter), parameter);
    return *maps != NULL;
}

static bool open_all_maps(struct resolver *resolver, const struct map_context *context,
                          struct fault *fault)
{
    const struct settings *s = context->settings;
    return open_maps(&resolver->role_maps, "role_maps", s->role_maps, context, fault) &&
           open_maps(&resolver->domain_maps, "domain_maps", s->domain_maps, context, fault) &&
           open_maps(&resolver->access_maps, "access_maps", s->access_maps, context, fault) &&
           open_maps(&resolver->recipient_maps, "recipient_maps", s->recipient_maps, context,
                     fault);
}

/* What else than the address decides an outcome. Nodes that share memcached but are set up
 * differently, or one node before and after a change, must not read each other's values. */
static struct digest setup_digest(const struct settings *s)
{
    char text[8192];
    struct text out = text_on(text, sizeof text);
    text_addf(&out, "%s\n%s\n%s\n%s", s->recipient_delimiter, s->domain_maps, s->access_maps,
              s->recipient_maps);
    return digest_shared(text, out.length);
}

static bool open_caches(struct resolver *resolver, struct fault *fault)
{
    const struct settings *s = resolver->settings;
    if (s->process_cache_entries > 0 && s->process_cache_ttl_ms > 0) {
        resolver->outcomes = lru_create(s->process_cache_entries);
        resolver->roles = lru_create(s->process_cache_entries);
        if (!resolver->outcomes || !resolver->roles) {
            fault_set(fault, "out of memory for the process cache");
            return false;
        }
    }
    if (*s->memcache_servers == '\0')
        return true;
    resolver->memcache = memcache_open(s, fault);
    if (!resolver->memcache)
        return false;
    struct digest setup = setup_digest(s);
    resolver->generations = generations_create(resolver->memcache, &setup, s->process_cache_ttl_ms);
    if (!resolver->generations)
        fault_set(fault, "out of memory");
    return resolver->generations != NULL;
}

struct resolver *resolver_open(const struct settings *settings, bool offline, struct fault *fault)
{
    struct resolver *resolver = calloc(1, sizeof *resolver);
    if (!resolver) {
        fault_set(fault, "out of memory");
        return NULL;
    }
    resolver->settings = settings;
    struct map_context context = {.settings = settings, .offline = offline};
    if (!open_all_maps(resolver, &context, fault) || !memcache_check(settings, fault) ||
        (!offline && !open_caches(resolver, fault))) {
        resolver_close(resolver);
        return NULL;
    }
    resolver->directory_waits = maps_wait(resolver->domain_maps) ||
                                maps_wait(resolver->access_maps) ||
                                maps_wait(resolver->recipient_maps);
    return resolver;
}

void resolver_close(struct resolver *resolver)
{
    if (!resolver)
        return;
    maps_close(resolver->role_maps);
    maps_close(resolver->domain_maps);
    maps_close(resolver->access_maps);
    maps_close(resolver->recipient_maps);
    lru_destroy(resolver->outcomes);
    lru_destroy(resolver->roles);
    generations_destroy(resolver->generations);
    memcache_close(resolver->memcache);
    free(resolver);
}

bool resolver_checks_recipients(const struct resolver *resolver)
{
    return !maps_empty(resolver->recipient_maps);
}

/* ---- one lookup ---- */

/* What one lookup carries from tier to tier. */
struct lookup {
    struct resolver *resolver;
    const struct address *address;
    enum lookup_mode mode;
    struct deadline deadline;
    struct trace *trace;
    struct digest local;  /* the key in the process cache */
    struct digest shared; /* the key in memcached */
    bool shared_is_set;   /* the generations are known, so memcached may be used */
    struct outcome stale; /* a KNOWN past its time, else UNAVAILABLE */
};

/* How long what the directory said is good for. */
static int64_t fresh_for_s(const struct settings *settings, enum standing standing)
{
    bool positive = standing == STANDING_KNOWN || standing == STANDING_OVERRIDE;
    return positive ? settings->positive_ttl_s : settings->negative_ttl_s;
}

/* How long a KNOWN may speak for its recipient while the directory is unavailable. */
static int64_t vouches_for_s(const struct settings *settings)
{
    return settings->stale_ttl_s > settings->positive_ttl_s ? settings->stale_ttl_s
                                                            : settings->positive_ttl_s;
}

static bool is_fresh(const struct settings *settings, const struct outcome *outcome, int64_t now)
{
    return now - outcome->verified < fresh_for_s(settings, outcome->standing);
}

static void trace_outcome(struct lookup *lookup, const char *tier, const struct outcome *outcome)
{
    if (lookup->trace)
        trace_add(lookup->trace, "%s: %s, verified %lld s ago", tier,
                  standing_name(outcome->standing),
                  (long long)(clock_wall_s() - outcome->verified));
}

static bool ask_process_cache(struct lookup *lookup, struct outcome *outcome)
{
    struct resolver *resolver = lookup->resolver;
    char value[OUTCOME_TEXT_MAX];
    size_t length;
    if (!resolver->outcomes || lookup->mode == LOOKUP_ASK_NOW)
        return false;
    int64_t now = clock_wall_s();
    if (!lru_get(resolver->outcomes, &lookup->local, clock_mono_ms(), value, sizeof value,
                 &length) ||
        !outcome_decode(value, length, &lookup->local, now, outcome) ||
        !is_fresh(resolver->settings, outcome, now)) {
        counter_add(COUNT_process_cache_misses);
        trace_add(lookup->trace, "process cache: no answer");
        return false;
    }
    counter_add(COUNT_process_cache_hits);
    outcome->tier = TIER_PROCESS_CACHE;
    trace_outcome(lookup, "process cache", outcome);
    return true;
}

static void store_in_process_cache(struct lookup *lookup, const struct outcome *outcome)
{
    struct resolver *resolver = lookup->resolver;
    char value[OUTCOME_TEXT_MAX];
    if (!resolver->outcomes)
        return;
    size_t length = outcome_encode(outcome, &lookup->local, value);
    if (length > 0)
        lru_put(resolver->outcomes, &lookup->local,
                clock_mono_ms() + resolver->settings->process_cache_ttl_ms, value, length);
}

/* The key in memcached: the setup, the generations a flush advances, and the address. */
static bool find_shared_key(struct lookup *lookup)
{
    struct resolver *resolver = lookup->resolver;
    struct digest generation;
    if (!resolver->memcache || !generations_get(resolver->generations, lookup->address->domain,
                                                lookup->deadline, lookup->trace, &generation))
        return false;
    char text[sizeof generation.bytes + ADDRESS_KEY_MAX];
    size_t length = strlen(lookup->address->key);
    memcpy(text, generation.bytes, sizeof generation.bytes);
    memcpy(text + sizeof generation.bytes, lookup->address->key, length);
    lookup->shared = digest_shared(text, sizeof generation.bytes + length);
    return true;
}

static bool ask_memcache(struct lookup *lookup, struct outcome *outcome)
{
    struct resolver *resolver = lookup->resolver;
    char value[OUTCOME_TEXT_MAX];
    size_t length;
    lookup->shared_is_set = find_shared_key(lookup);
    if (!lookup->shared_is_set)
        return false;
    enum memcache_result result =
        memcache_get(resolver->memcache, MEMCACHE_OUTCOME, &lookup->shared, lookup->deadline,
                     lookup->trace, value, sizeof value, &length);
    int64_t now = clock_wall_s();
    bool ours =
        result == MEMCACHE_HIT && outcome_decode(value, length, &lookup->shared, now, outcome);
    if (result == MEMCACHE_HIT && !ours)
        counter_add(COUNT_memcache_rejected_values);
    if (ours && is_fresh(resolver->settings, outcome, now) && lookup->mode != LOOKUP_ASK_NOW) {
        counter_add(COUNT_memcache_hits);
        outcome->tier = TIER_MEMCACHE;
        trace_outcome(lookup, "memcached", outcome);
        return true;
    }
    counter_add(COUNT_memcache_misses);
    if (ours && outcome->standing == STANDING_KNOWN &&
        now - outcome->verified < vouches_for_s(resolver->settings)) {
        lookup->stale = *outcome;
        trace_outcome(lookup, "memcached, kept as evidence", outcome);
    } else if (result != MEMCACHE_FAILED) {
        trace_add(lookup->trace, "memcached: no answer%s",
                  result == MEMCACHE_HIT && !ours ? " (a value that is not this key's)" : "");
    }
    *outcome = (struct outcome){0};
    return false;
}

static void store_in_memcache(struct lookup *lookup, const struct outcome *outcome)
{
    struct resolver *resolver = lookup->resolver;
    const struct settings *s = resolver->settings;
    char value[OUTCOME_TEXT_MAX];
    if (!lookup->shared_is_set)
        return;
    size_t length = outcome_encode(outcome, &lookup->shared, value);
    int64_t keep =
        outcome->standing == STANDING_KNOWN ? vouches_for_s(s) : fresh_for_s(s, outcome->standing);
    if (length > 0 && keep > 0)
        memcache_put(resolver->memcache, MEMCACHE_OUTCOME, &lookup->shared, lookup->deadline, value,
                     length, keep);
}

/* ---- the directory ---- */

static void become_unavailable(struct outcome *outcome, const struct finding *finding)
{
    outcome->standing = STANDING_UNAVAILABLE;
    outcome->why = finding->why;
    if (finding->late)
        outcome->interlock = INTERLOCK_LATE;
}

/* Sets the standing when domain_maps settles the matter. */
static bool ask_domain_maps(struct lookup *lookup, struct outcome *outcome)
{
    const struct maps *maps = lookup->resolver->domain_maps;
    if (maps_empty(maps))
        return false;
    struct finding finding = {0};
    maps_find(maps, lookup->address->domain, lookup->deadline, lookup->trace, &finding);
    if (finding.answer == FOUND)
        return false;
    if (finding.answer == ABSENT)
        outcome->standing = STANDING_FOREIGN;
    else
        become_unavailable(outcome, &finding);
    return true;
}

/* One key of access_maps; true when it settles the matter. */
static bool ask_access_map(struct lookup *lookup, const char *key, struct outcome *outcome)
{
    struct finding finding = {0};
    maps_value(lookup->resolver->access_maps, key, lookup->deadline, lookup->trace, &finding);
    if (finding.answer == ABSENT)
        return false;
    if (finding.answer == UNAVAILABLE) {
        become_unavailable(outcome, &finding);
        return true;
    }
    switch (access_parse(finding.value, &outcome->reply, &outcome->why)) {
    case ACCESS_NONE:
        return false;
    case ACCESS_REPLY:
        outcome->standing = STANDING_OVERRIDE;
        return true;
    case ACCESS_BAD:
        break;
    }
    fault_within(&outcome->why, "access_maps, %s", key);
    outcome->standing = STANDING_UNAVAILABLE;
    outcome->interlock = INTERLOCK_BAD_ACTION;
    return true;
}

/* access(5): the address in its forms, then the domain. */
static bool ask_access_maps(struct lookup *lookup, const struct address_probes *probes,
                            struct outcome *outcome)
{
    if (maps_empty(lookup->resolver->access_maps))
        return false;
    for (size_t i = 0; i < probes->count; i++)
        if (ask_access_map(lookup, probes->key[i], outcome))
            return true;
    return ask_access_map(lookup, lookup->address->domain, outcome);
}

/* FOUND under any key is FOUND; ABSENT only if every key was ABSENT. */
static void ask_recipient_maps(struct lookup *lookup, const struct address_probes *probes,
                               struct outcome *outcome)
{
    const struct maps *maps = lookup->resolver->recipient_maps;
    if (maps_empty(maps)) {
        outcome->standing = STANDING_UNCHECKED;
        return;
    }
    struct finding trouble = {.answer = ABSENT};
    bool late = false;
    for (size_t i = 0; i < probes->count; i++) {
        struct finding finding = {0};
        maps_find(maps, probes->key[i], lookup->deadline, lookup->trace, &finding);
        if (finding.answer == FOUND) {
            outcome->standing = STANDING_KNOWN;
            return;
        }
        if (finding.answer == UNAVAILABLE && trouble.answer == ABSENT)
            trouble = finding;
        late |= finding.late;
    }
    trouble.late = late;
    if (trouble.answer == ABSENT)
        outcome->standing = STANDING_ABSENT;
    else
        become_unavailable(outcome, &trouble);
}

static void ask_maps(struct lookup *lookup, struct outcome *outcome)
{
    if (ask_domain_maps(lookup, outcome))
        return;
    struct address_probes probes;
    address_probes(lookup->address, lookup->resolver->settings->recipient_delimiter, &probes);
    if (!ask_access_maps(lookup, &probes, outcome))
        ask_recipient_maps(lookup, &probes, outcome);
}

/* A caller that is about to wait for a server takes one of lookup_slots; false when all are taken.
 */
static bool take_slot(struct resolver *resolver, bool waits)
{
    if (!waits || atomic_fetch_add(&resolver->slots_taken, 1) < resolver->settings->lookup_slots)
        return true;
    atomic_fetch_sub(&resolver->slots_taken, 1);
    return false;
}

static void return_slot(struct resolver *resolver, bool waits)
{
    if (waits)
        atomic_fetch_sub(&resolver->slots_taken, 1);
}

static void count_directory_answer(const struct outcome *outcome)
{
    if (outcome->interlock == INTERLOCK_LATE)
        counter_add(COUNT_lookups_late);
    switch (outcome->standing) {
    case STANDING_UNAVAILABLE:
        counter_add(COUNT_directory_unavailable);
        break;
    case STANDING_KNOWN:
    case STANDING_OVERRIDE:
        counter_add(COUNT_directory_found);
        break;
    case STANDING_ABSENT:
    case STANDING_FOREIGN:
        counter_add(COUNT_directory_absent);
        break;
    case STANDING_UNCHECKED:
        break;
    }
}

static void ask_directory(struct lookup *lookup, struct outcome *outcome)
{
    *outcome = (struct outcome){0};
    if (lookup->mode == LOOKUP_DIRECTORY_DOWN) {
        fault_set(&outcome->why, "the directory is taken to be down");
        return;
    }
    bool waits = lookup->resolver->directory_waits;
    if (!take_slot(lookup->resolver, waits)) {
        counter_add(COUNT_lookups_shed);
        outcome->interlock = INTERLOCK_SHED;
        fault_set(&outcome->why, "all %u lookup_slots are taken, so the directory was not asked",
                  lookup->resolver->settings->lookup_slots);
        trace_add(lookup->trace, "directory: shed, %s", outcome->why.text);
        return;
    }
    int64_t verified = clock_wall_s(); /* before the query: the answer is no younger than it says */
    ask_maps(lookup, outcome);
    return_slot(lookup->resolver, waits);
    count_directory_answer(outcome);
    if (outcome->standing == STANDING_UNAVAILABLE)
        return;
    outcome->verified = verified;
    outcome->asked_now = true;
    outcome->tier = TIER_DIRECTORY;
}

/* ---- the walk ---- */

void resolver_find(struct resolver *resolver, const struct address *address, enum lookup_mode mode,
                   struct deadline deadline, struct trace *trace, struct outcome *outcome)
{
    struct lookup lookup = {.resolver = resolver,
                            .address = address,
                            .mode = mode,
                            .deadline = deadline,
                            .trace = trace,
                            .local = digest_local(address->key, strlen(address->key))};
    *outcome = (struct outcome){0};
    if (ask_process_cache(&lookup, outcome))
        return;
    if (ask_memcache(&lookup, outcome)) {
        store_in_process_cache(&lookup, outcome);
        return;
    }
    ask_directory(&lookup, outcome);
    if (outcome->standing != STANDING_UNAVAILABLE) {
        store_in_process_cache(&lookup, outcome);
        store_in_memcache(&lookup, outcome);
        return;
    }
    /* The known-good store will be asked here too. */
    if (lookup.stale.standing == STANDING_KNOWN) {
        *outcome = lookup.stale;
        outcome->tier = TIER_STALE;
        counter_add(COUNT_stale_vouched);
        trace_outcome(&lookup, "the directory is unavailable; stale answer vouches", outcome);
    }
}

/* What role_maps says; UNAVAILABLE, and a value that is no role, make a primary. */
static enum role ask_role_maps(struct resolver *resolver, const char *domain,
                               struct deadline deadline, struct trace *trace, bool *answered)
{
    struct finding finding = {0};
    bool waits = maps_wait(resolver->role_maps);
    if (take_slot(resolver, waits)) {
        maps_value(resolver->role_maps, domain, deadline, trace, &finding);
        return_slot(resolver, waits);
    }
    *answered = finding.answer != UNAVAILABLE;
    if (finding.answer == ABSENT)
        return resolver->settings->role;
    if (finding.answer == FOUND && text_same_word(finding.value, role_name(ROLE_FALLBACK)))
        return ROLE_FALLBACK;
    if (finding.answer == FOUND && !text_same_word(finding.value, role_name(ROLE_PRIMARY)))
        log_warning("role_maps: \"%s\" for %s is neither \"primary\" nor \"fallback\" - this node "
                    "is a primary for it",
                    finding.value, domain);
    return ROLE_PRIMARY;
}

enum role resolver_role(struct resolver *resolver, const char *domain, struct deadline deadline,
                        struct trace *trace)
{
    if (maps_empty(resolver->role_maps) || *domain == '\0')
        return resolver->settings->role;

    struct digest key = digest_local(domain, strlen(domain));
    unsigned char cached;
    size_t length;
    if (resolver->roles &&
        lru_get(resolver->roles, &key, clock_mono_ms(), &cached, sizeof cached, &length))
        return (enum role)cached;

    bool answered = false;
    enum role role = ask_role_maps(resolver, domain, deadline, trace, &answered);
    trace_add(trace, "role for %s: %s", domain, role_name(role));
    cached = (unsigned char)role;
    if (resolver->roles && answered)
        lru_put(resolver->roles, &key, clock_mono_ms() + resolver->settings->process_cache_ttl_ms,
                &cached, sizeof cached);
    return role;
}

/* ---- flush and report ---- */

static struct deadline flush_deadline(const struct resolver *resolver)
{
    return deadline_in_ms(resolver->settings->lookup_deadline_ms);
}

bool resolver_flush_address(struct resolver *resolver, const struct address *address,
                            struct fault *fault)
{
    struct lookup lookup = {.resolver = resolver,
                            .address = address,
                            .deadline = flush_deadline(resolver),
                            .local = digest_local(address->key, strlen(address->key))};
    if (resolver->outcomes)
        lru_remove(resolver->outcomes, &lookup.local);
    if (!resolver->memcache)
        return true;
    if (!find_shared_key(&lookup)) {
        fault_set(fault, "no memcached server could be asked, so what it holds for %s stays",
                  address->key);
        return false;
    }
    return memcache_remove(resolver->memcache, MEMCACHE_OUTCOME, &lookup.shared, lookup.deadline,
                           fault);
}

static void clear_process_cache(struct resolver *resolver)
{
    if (resolver->outcomes) {
        lru_clear(resolver->outcomes);
        lru_clear(resolver->roles);
    }
}

/* The process cache does not know its entries' domains, and lives for seconds: all of it goes. */
bool resolver_flush_domain(struct resolver *resolver, const char *domain, struct fault *fault)
{
    bool told = !resolver->generations ||
                generations_advance(resolver->generations, domain, flush_deadline(resolver), fault);
    clear_process_cache(resolver);
    return told;
}

bool resolver_flush_all(struct resolver *resolver, struct fault *fault)
{
    return resolver_flush_domain(resolver, "", fault);
}

void resolver_report(struct resolver *resolver, void (*line)(void *context, const char *text),
                     void *context)
{
    char text[256];
    if (resolver->outcomes)
        snprintf(text, sizeof text, "process cache: %zu of %u entries",
                 lru_count(resolver->outcomes), resolver->settings->process_cache_entries);
    else
        snprintf(text, sizeof text, "process cache: off");
    line(context, text);
    if (resolver->memcache)
        memcache_report(resolver->memcache, line, context);
    else
        line(context, "memcached: none (memcache_servers is empty)");
    if (resolver->directory_waits || maps_wait(resolver->role_maps)) {
        snprintf(text, sizeof text, "lookup slots: %u of %u taken",
                 atomic_load(&resolver->slots_taken), resolver->settings->lookup_slots);
        line(context, text);
    }
}
