#include "db/lookup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/counters.h"

/* ---- opening ---- */

/* What else than the address decides an outcome. Nodes that share memcached but are set up
 * differently, or one node before and after a change, must not read each other's values. */
static struct digest setup_digest(const struct settings *s)
{
    const char *const texts[] = {s->recipient_delimiter,
                                 s->domain_maps,
                                 s->access_maps,
                                 s->recipient_maps,
                                 s->parent_domain_matches_subdomains,
                                 s->follow_domain_alias ? "yes" : "no"};
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

/* ---- the walk ---- */

/* The directory has been asked. Its answer goes into the tiers above and below it; where it gave
 * none, they may vouch. */
static void use_answer(struct lookup *lookup, struct outcome *outcome)
{
    if (outcome->standing == STANDING_UNAVAILABLE) {
        /* Shed: nobody was asked. A bad action: it did answer. */
        outcome->directory_failed =
            outcome->interlock != INTERLOCK_SHED && outcome->interlock != INTERLOCK_BAD_ACTION;
        lookup_vouch(lookup, outcome);
        return;
    }
    if (outcome->standing == STANDING_ABSENT)
        lookup_date_absence(lookup, outcome);
    lookup_confirm(lookup, outcome);
    lookup_store_in_process_cache(lookup, outcome);
    if (outcome->standing != STANDING_ABSENT || !lookup_hold(lookup, outcome))
        lookup_store_in_memcache(lookup, outcome);
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
    outcome_clear(outcome);
    if (lookup_ask_process_cache(&lookup, outcome))
        return;
    if (lookup_ask_memcache(&lookup, outcome)) {
        lookup_store_in_process_cache(&lookup, outcome);
        lookup_confirm(&lookup, outcome);
        return;
    }
    outcome_clear(outcome); /* a cache may have left an answer that is not fresh */
    if (mode == LOOKUP_DIRECTORY_DOWN)
        fault_set(&outcome->why, "the directory is taken to be down");
    else
        authority_ask(resolver->authority, address, deadline, trace, outcome);
    use_answer(&lookup, outcome);
}

void resolver_ask_directory(struct resolver *resolver, const struct address *address,
                            struct deadline deadline, struct trace *trace, struct outcome *outcome)
{
    outcome_clear(outcome);
    authority_ask(resolver->authority, address, deadline, trace, outcome);
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
    if (!lookup_find_shared_key(&lookup)) {
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
