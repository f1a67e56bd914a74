/* What older evidence says beside the directory: it vouches while there is no answer, and holds
 * back a bounce where the answer is a surprise. */
#include "db/lookup.h"

#include <string.h>

#include "db/domain_keys.h"
#include "shared/counters.h"

/* ---- how long it has been absent ---- */

/*
 * ABSENT, the directory has just said. Since when, without a break?
 *
 * memcached has what the fleet saw last: an absence goes on, a KNOWN was a break, whoever saw it.
 * Where it has nothing, because it was flushed, or there is none, this host's own ledger counts. A
 * gap longer than absence_lasts_s begins it anew: too much may have happened in it. All of this can
 * only make an absence seem younger than it is.
 */
void lookup_date_absence(struct lookup *lookup, struct outcome *outcome)
{
    struct absence before = lookup->before;
    int64_t last = lookup->before_verified;
    struct ledger_waiting waiting;
    struct digest key = digest_shared(lookup->address->key, strlen(lookup->address->key));
    if (before.asked == 0 && lookup->stale_verified == 0 && lookup->resolver->ledger &&
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
void lookup_confirm(struct lookup *lookup, const struct outcome *outcome)
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
    if (lookup->stale_verified == 0)
        return false;
    vouch(outcome, TIER_STALE, lookup->stale_verified);
    counter_add(COUNT_stale_vouched);
    lookup_trace_outcome(lookup, "the directory is unavailable; stale answer vouches", outcome);
    return true;
}

static bool find_known_good_as(struct lookup *lookup, const struct address *address, bool catch_all,
                               struct digest *key, struct known_good_entry *entry)
{
    struct resolver *resolver = lookup->resolver;
    int64_t now = clock_wall_s();
    struct address_probes probes;
    address_probes(address, resolver->settings->recipient_delimiter, &probes);
    for (size_t i = 0; i < probes.count; i++) {
        if (!catch_all && domain_of_catch_all(probes.key[i]))
            continue;
        *key = known_good_key(probes.key[i]);
        if (known_good_find(resolver->known_good, key, entry) &&
            is_known_good(resolver->settings, entry, now))
            return true;
    }
    return false;
}

/* Behind an alias domain, whoever is known good in the target's domain is. An alias that was
 * followed now is not gone, though: that it was known good as a catch-all, before aliases were
 * followed or in a list that was learnt, does not make an absence a surprise. */
static bool find_known_good(struct lookup *lookup, const struct outcome *outcome,
                            struct digest *key, struct known_good_entry *entry)
{
    struct address there;
    const char *target = outcome->alias_target;
    bool followed = *target && outcome->standing == STANDING_ABSENT;
    if (!lookup->resolver->known_good)
        return false;
    if (find_known_good_as(lookup, lookup->address, !followed, key, entry))
        return true;
    if (*target && domain_move_address(lookup->address, target, strlen(target), &there) &&
        find_known_good_as(lookup, &there, true, key, entry))
        return true;
    trace_add(lookup->trace, "known-good store: nobody");
    return false;
}

/* Nobody can be asked: whom the directory has confirmed to this host before passes. */
static bool known_good_vouches(struct lookup *lookup, struct outcome *outcome)
{
    struct digest key;
    struct known_good_entry entry;
    if (!find_known_good(lookup, outcome, &key, &entry))
        return false;
    vouch(outcome, TIER_KNOWN_GOOD, entry.confirmed);
    counter_add(COUNT_known_good_vouched);
    lookup_trace_outcome(lookup, "the directory is unavailable; the known-good store vouches",
                         outcome);
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

void lookup_vouch(struct lookup *lookup, struct outcome *outcome)
{
    if (!stale_vouches(lookup, outcome))
        known_good_vouches(lookup, outcome);
}

/* ABSENT, the directory says: was it known good until now, to this host or in memcached? Then
 * nobody is bounced for a while. True where memcached knows better than to be overwritten: an
 * outage often follows a table that was lost, and what it holds will vouch then. */
bool lookup_hold(struct lookup *lookup, struct outcome *outcome)
{
    struct digest key;
    struct known_good_entry entry;
    const struct settings *s = lookup->resolver->settings;
    int64_t now = clock_wall_s();
    bool in_store = find_known_good(lookup, outcome, &key, &entry);
    if (in_store && entry.gone == 0) {
        outcome->vanished = true;
        outcome->vanished_key = key;
        known_good_mark_gone(lookup->resolver->known_good, &key, now);
    }
    bool in_memcache =
        lookup->stale_verified != 0 && now - lookup->stale_verified < s->removal_grace_s;
    if (in_memcache)
        hold(lookup, outcome, lookup->stale_verified, now);
    else if (in_store && s->removal_grace_s > 0)
        hold(lookup, outcome, entry.confirmed, now);
    return in_memcache;
}
