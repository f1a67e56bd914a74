#include "db/resolver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/authority.h"
#include "db/generations.h"
#include "db/memcache.h"
#include "shared/counters.h"
#include "shared/lru.h"

struct resolver {
    const struct settings *settings; /* borrowed */
    struct authority *authority;
    struct lru *outcomes;            /* NULL: no process cache */
    struct lru *roles;               /* NULL: no process cache, or no role_maps */
    struct memcache *memcache;       /* NULL: none */
    struct generations *generations; /* NULL: no memcached */
    struct known_good *known_good;   /* lent; NULL: none */
    struct ledger *ledger;           /* lent; NULL: none */
};

/* ---- opening ---- */

/* What else than the address decides an outcome. Nodes that share memcached but are set up
 * differently, or one node before and after a change, must not read each other's values. */
static struct digest setup_digest(const struct settings *s)
{
    const char *const texts[] = {s->recipient_delimiter, s->domain_maps, s->access_maps,
                                 s->recipient_maps};
    struct digest parts[sizeof texts / sizeof *texts];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        parts[i] = digest_shared(texts[i], strlen(texts[i]));
    return digest_shared(parts, sizeof parts);
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

static bool check_memcache(const struct settings *settings, struct fault *fault)
{
    bool good = memcache_check(settings, fault);
    if (!good) {
        char name[64]; /* the fault begins with the parameter */
        snprintf(name, sizeof name, "%.*s", (int)strcspn(fault->text, ":"), fault->text);
        fault_within(fault, "%s", settings_where(settings, name));
    }
    return good;
}

struct resolver *resolver_open(const struct settings *settings, bool offline, struct fault *fault)
{
    struct resolver *resolver = calloc(1, sizeof *resolver);
    if (!resolver) {
        fault_set(fault, "out of memory");
        return NULL;
    }
    resolver->settings = settings;
    resolver->authority = authority_open(settings, offline, fault);
    bool checked = resolver->authority && check_memcache(settings, fault);
    if (!checked || (!offline && !open_caches(resolver, fault))) {
        resolver_close(resolver);
        return NULL;
    }
    return resolver;
}

void resolver_close(struct resolver *resolver)
{
    if (!resolver)
        return;
    authority_close(resolver->authority);
    lru_destroy(resolver->outcomes);
    lru_destroy(resolver->roles);
    generations_destroy(resolver->generations);
    memcache_close(resolver->memcache);
    free(resolver);
}

void resolver_lend(struct resolver *resolver, struct known_good *store, struct ledger *ledger)
{
    resolver->known_good = store;
    resolver->ledger = ledger;
    if (store)
        known_good_set_ttl(store, resolver->settings->known_good_ttl_s);
    if (ledger)
        ledger_set_ttl(ledger, resolver->settings->ledger_ttl_s);
}

bool resolver_checks_recipients(const struct resolver *resolver)
{
    return authority_checks_recipients(resolver->authority);
}

/* ---- one lookup ---- */

/* What one lookup carries from tier to tier. */
struct lookup {
    struct resolver *resolver;
    const struct address *address;
    enum lookup_mode mode;
    struct deadline deadline;
    struct trace *trace;
    struct digest local;   /* the key in the process cache */
    struct digest shared;  /* the key in memcached */
    bool shared_is_set;    /* the generations are known, so memcached may be used */
    struct outcome stale;  /* a KNOWN past its time, else UNAVAILABLE */
    struct absence before; /* what memcached says of an absence until now; zero: nothing */
    int64_t before_verified;
};

enum { CLOCK_SKEW_S = 300, ABSENCE_LASTS_S = 86400 };

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

/* How long an absence that nobody asks about is remembered: senders try again within a day. */
static int64_t absence_lasts_s(const struct settings *settings)
{
    int64_t twice = 2 * settings->escalate_after_s;
    return twice > ABSENCE_LASTS_S ? twice : ABSENCE_LASTS_S;
}

/* From the future is not fresh, beyond what clocks of nodes may differ. */
static bool is_fresh(const struct settings *settings, const struct outcome *outcome, int64_t now)
{
    return outcome->verified - now <= CLOCK_SKEW_S &&
           now - outcome->verified < fresh_for_s(settings, outcome->standing);
}

/* A KNOWN that is not used as an answer vouches where the directory gives none. One from the future
 * does, too: after a clock was set back, that is all there is. */
static void keep_as_evidence(struct lookup *lookup, const struct outcome *outcome, int64_t now)
{
    if (outcome->standing == STANDING_ABSENT) {
        lookup->before = outcome->absence;
        lookup->before_verified = outcome->verified;
    }
    if (outcome->standing == STANDING_KNOWN &&
        now - outcome->verified < vouches_for_s(lookup->resolver->settings))
        lookup->stale = *outcome;
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
    bool cached = lru_get(resolver->outcomes, &lookup->local, clock_mono_ms(), value, sizeof value,
                          &length) &&
                  outcome_decode(value, length, &lookup->local, outcome);
    if (!cached || !is_fresh(resolver->settings, outcome, now)) {
        if (cached)
            keep_as_evidence(lookup, outcome, now);
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
    bool ours = result == MEMCACHE_HIT && outcome_decode(value, length, &lookup->shared, outcome);
    if (result == MEMCACHE_HIT && !ours)
        counter_add(COUNT_memcache_rejected_values);
    if (ours && is_fresh(resolver->settings, outcome, now) && lookup->mode != LOOKUP_ASK_NOW) {
        counter_add(COUNT_memcache_hits);
        outcome->tier = TIER_MEMCACHE;
        trace_outcome(lookup, "memcached", outcome);
        return true;
    }
    counter_add(COUNT_memcache_misses);
    if (ours) {
        keep_as_evidence(lookup, outcome, now);
        trace_outcome(lookup, "memcached, not used as an answer", outcome);
    } else if (result == MEMCACHE_HIT) {
        trace_add(lookup->trace, "memcached: a value that is not this key's, not used");
    }
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
    int64_t keep = fresh_for_s(s, outcome->standing);
    if (outcome->standing == STANDING_KNOWN)
        keep = vouches_for_s(s);
    else if (outcome->standing == STANDING_ABSENT && keep < absence_lasts_s(s))
        keep = absence_lasts_s(s);
    if (length > 0 && keep > 0)
        memcache_put(resolver->memcache, MEMCACHE_OUTCOME, &lookup->shared, lookup->deadline, value,
                     length, keep);
}

/* ---- how long it has been absent ---- */

/*
 * ABSENT, the directory has just said. Since when, without a break?
 *
 * memcached has what the fleet saw last: an absence goes on, a KNOWN was a break, whoever saw it.
 * Where it has nothing, because it was flushed, or there is none, this host's own ledger counts. A
 * gap longer than absence_lasts_s begins it anew: too much may have happened in it. All of this can
 * only make an absence seem younger than it is.
 */
static void date_absence(struct lookup *lookup, struct outcome *outcome)
{
    struct absence before = lookup->before;
    int64_t last = lookup->before_verified;
    struct ledger_waiting waiting;
    struct digest key = digest_shared(lookup->address->key, strlen(lookup->address->key));
    if (before.asked == 0 && lookup->stale.standing != STANDING_KNOWN && lookup->resolver->ledger &&
        ledger_find_waiting(lookup->resolver->ledger, &key, &waiting)) {
        before = waiting.absence;
        last = waiting.last;
    }
    outcome->absence = (struct absence){.since = outcome->verified, .asked = 1};
    if (before.asked == 0 || before.since > outcome->verified ||
        outcome->verified - last > absence_lasts_s(lookup->resolver->settings))
        return;
    outcome->absence.since = before.since;
    outcome->absence.asked =
        before.asked < ABSENCE_ASKED_MAX ? before.asked + 1 : ABSENCE_ASKED_MAX;
}

/* ---- the known-good store ---- */

static struct digest known_good_key(const char *key)
{
    return digest_shared(key, strlen(key));
}

/* The directory has said KNOWN: now, or to another node that told memcached. Which key it was found
 * under is known of an answer of now only; the address itself is true in any case. */
static void confirm_known_good(struct lookup *lookup, const struct outcome *outcome)
{
    struct resolver *resolver = lookup->resolver;
    if (!resolver->known_good || outcome->standing != STANDING_KNOWN)
        return;
    struct digest key = known_good_key(lookup->address->key);
    if (outcome->probe > 0) {
        struct address_probes probes;
        address_probes(lookup->address, resolver->settings->recipient_delimiter, &probes);
        key = known_good_key(probes.key[outcome->probe]);
    }
    known_good_confirm(resolver->known_good, &key, outcome->verified);
}

/* The directory confirmed it within known_good_ttl, and has not said ABSENT for removal_grace
 * since. The grace runs from the first absence, not from the last confirmation: a recipient who is
 * written to once a week must not bounce the first time a table is half loaded. */
static bool is_known_good(const struct settings *settings, const struct known_good_entry *entry,
                          int64_t now)
{
    return now - entry->confirmed < settings->known_good_ttl_s &&
           (entry->gone == 0 || now - entry->gone < settings->removal_grace_s);
}

/* An older KNOWN stands in for an answer that was not to be had. */
static void vouch(struct outcome *outcome, enum tier tier, int64_t verified)
{
    *outcome = (struct outcome){.standing = STANDING_KNOWN,
                                .tier = tier,
                                .verified = verified,
                                .directory_failed = outcome->directory_failed};
}

static bool stale_vouches(struct lookup *lookup, struct outcome *outcome)
{
    if (lookup->stale.standing != STANDING_KNOWN)
        return false;
    vouch(outcome, TIER_STALE, lookup->stale.verified);
    counter_add(COUNT_stale_vouched);
    trace_outcome(lookup, "the directory is unavailable; stale answer vouches", outcome);
    return true;
}

static bool find_known_good(struct lookup *lookup, int64_t now, struct digest *key,
                            struct known_good_entry *entry)
{
    struct resolver *resolver = lookup->resolver;
    if (!resolver->known_good)
        return false;
    struct address_probes probes;
    address_probes(lookup->address, resolver->settings->recipient_delimiter, &probes);
    for (size_t i = 0; i < probes.count; i++) {
        *key = known_good_key(probes.key[i]);
        if (known_good_find(resolver->known_good, key, entry) &&
            is_known_good(resolver->settings, entry, now))
            return true;
    }
    trace_add(lookup->trace, "known-good store: nobody");
    return false;
}

/* Nobody can be asked: whom the directory has confirmed to this host before passes. */
static bool known_good_vouches(struct lookup *lookup, struct outcome *outcome)
{
    struct digest key;
    struct known_good_entry entry;
    if (!find_known_good(lookup, clock_wall_s(), &key, &entry))
        return false;
    vouch(outcome, TIER_KNOWN_GOOD, entry.confirmed);
    counter_add(COUNT_known_good_vouched);
    trace_outcome(lookup, "the directory is unavailable; the known-good store vouches", outcome);
    return true;
}

static void hold(struct lookup *lookup, struct outcome *outcome, int64_t confirmed, int64_t now)
{
    outcome->interlock = INTERLOCK_KNOWN_GOOD;
    fault_set(&outcome->why,
              "it was known good %lld s ago, and is gone for less than removal_grace",
              (long long)(now - confirmed));
    trace_add(lookup->trace, "%s", outcome->why.text);
}

/* ABSENT, the directory says: was it known good until now, to this host or in memcached? Then
 * nobody is bounced for a while. True where memcached knows better than to be overwritten: an
 * outage often follows a table that was lost, and what it holds will vouch then. */
static bool hold_known_good(struct lookup *lookup, struct outcome *outcome)
{
    struct digest key;
    struct known_good_entry entry;
    const struct settings *s = lookup->resolver->settings;
    int64_t now = clock_wall_s();
    bool in_store = find_known_good(lookup, now, &key, &entry);
    if (in_store && entry.gone == 0) {
        outcome->vanished = true;
        outcome->vanished_key = key;
        known_good_mark_gone(lookup->resolver->known_good, &key, now);
    }
    bool in_memcache = lookup->stale.standing == STANDING_KNOWN &&
                       now - lookup->stale.verified < s->removal_grace_s;
    if (in_memcache)
        hold(lookup, outcome, lookup->stale.verified, now);
    else if (in_store && s->removal_grace_s > 0)
        hold(lookup, outcome, entry.confirmed, now);
    return in_memcache;
}

/* ---- the walk ---- */

/* The directory has been asked. Its answer goes into the tiers above and below it; where it gave
 * none, they may vouch. */
static void use_answer(struct lookup *lookup, struct outcome *outcome)
{
    if (outcome->standing == STANDING_UNAVAILABLE) {
        /* Shed: nobody was asked. A bad action: it did answer. */
        outcome->directory_failed =
            outcome->interlock != INTERLOCK_SHED && outcome->interlock != INTERLOCK_BAD_ACTION;
        if (!stale_vouches(lookup, outcome))
            known_good_vouches(lookup, outcome);
        return;
    }
    if (outcome->standing == STANDING_ABSENT)
        date_absence(lookup, outcome);
    confirm_known_good(lookup, outcome);
    store_in_process_cache(lookup, outcome);
    if (outcome->standing != STANDING_ABSENT || !hold_known_good(lookup, outcome))
        store_in_memcache(lookup, outcome);
}

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
        confirm_known_good(&lookup, outcome);
        return;
    }
    *outcome = (struct outcome){0}; /* a cache may have left an answer that is not fresh */
    if (mode == LOOKUP_DIRECTORY_DOWN)
        fault_set(&outcome->why, "the directory is taken to be down");
    else
        authority_ask(resolver->authority, address, deadline, trace, outcome);
    use_answer(&lookup, outcome);
}

enum role resolver_role(struct resolver *resolver, const char *domain, struct deadline deadline,
                        struct trace *trace)
{
    if (!authority_has_roles(resolver->authority) || *domain == '\0')
        return resolver->settings->role;

    struct digest key = digest_local(domain, strlen(domain));
    unsigned char cached;
    size_t length;
    if (resolver->roles &&
        lru_get(resolver->roles, &key, clock_mono_ms(), &cached, sizeof cached, &length))
        return (enum role)cached;

    bool answered = false;
    enum role role = authority_ask_role(resolver->authority, domain, deadline, trace, &answered);
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
    authority_report(resolver->authority, line, context);
}
