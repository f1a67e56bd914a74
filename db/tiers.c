/* The tiers that remember answers: the process cache and memcached. */
#include "db/lookup.h"

#include <string.h>

#include "shared/counters.h"

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
int64_t absence_lasts_s(const struct settings *settings)
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
        lookup->stale_verified = outcome->verified;
}

void lookup_trace_outcome(struct lookup *lookup, const char *tier, const struct outcome *outcome)
{
    if (lookup->trace)
        trace_add(lookup->trace, "%s: %s, verified %lld s ago", tier,
                  standing_name(outcome->standing),
                  (long long)(clock_wall_s() - outcome->verified));
}

bool lookup_ask_process_cache(struct lookup *lookup, struct outcome *outcome)
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
    lookup_trace_outcome(lookup, "process cache", outcome);
    return true;
}

void lookup_store_in_process_cache(struct lookup *lookup, const struct outcome *outcome)
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
bool lookup_find_shared_key(struct lookup *lookup)
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

bool lookup_ask_memcache(struct lookup *lookup, struct outcome *outcome)
{
    struct resolver *resolver = lookup->resolver;
    char value[OUTCOME_TEXT_MAX];
    size_t length;
    lookup->shared_is_set = lookup_find_shared_key(lookup);
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
        lookup_trace_outcome(lookup, "memcached", outcome);
        return true;
    }
    counter_add(COUNT_memcache_misses);
    if (ours) {
        keep_as_evidence(lookup, outcome, now);
        lookup_trace_outcome(lookup, "memcached, not used as an answer", outcome);
    } else if (result == MEMCACHE_HIT) {
        trace_add(lookup->trace, "memcached: a value that is not this key's, not used");
    }
    return false;
}

void lookup_store_in_memcache(struct lookup *lookup, const struct outcome *outcome)
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
