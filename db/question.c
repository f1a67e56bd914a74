#include "db/question.h"

#include <string.h>

#include "db/access.h"
#include "db/domain_keys.h"
#include "shared/text.h"

/* A "no" that the outcome rests on. */
static void keep_lag(struct question *question, const struct finding *finding)
{
    if (finding->answer != ABSENT || !finding->lagging || question->lagging)
        return;
    question->lagging = true;
    question->lag = finding->why;
}

static void become_unavailable(struct outcome *outcome, const struct finding *finding)
{
    outcome->standing = STANDING_UNAVAILABLE;
    outcome->why = finding->why;
    if (finding->late)
        outcome->interlock = INTERLOCK_LATE;
}

/* What another key's lookup adds to what is known until now, which is ABSENT to begin with. The
 * first reason is told; if any lookup was merely late, we did not hear all there is. */
static void add_finding(const struct finding *finding, struct finding *sum)
{
    bool late = sum->late || finding->late;
    bool news = sum->answer == ABSENT &&
                (finding->answer == UNAVAILABLE || (finding->lagging && !sum->lagging));
    if (finding->answer == FOUND || news)
        *sum = *finding;
    if (finding->answer != FOUND)
        sum->late = late;
}

/* ---- domain_maps ---- */

/* The domain, and what stands above it. */
static void find_domain(struct question *question, const char *domain, struct finding *sum)
{
    for (const char *key = domain; key && sum->answer != FOUND;
         key = domain_next_key(key, question->domain_parents)) {
        struct finding finding = {0};
        maps_find(question->domain_maps, key, question->deadline, question->trace, &finding);
        add_finding(&finding, sum);
    }
}

/* Sets the standing when domain_maps settles the matter. */
static bool ask_domain_maps(struct question *question, struct outcome *outcome)
{
    if (maps_empty(question->domain_maps))
        return false;
    struct finding sum = {.answer = ABSENT};
    find_domain(question, question->address->domain, &sum);
    keep_lag(question, &sum);
    if (sum.answer == FOUND)
        return false;
    if (sum.answer == ABSENT)
        outcome->standing = STANDING_FOREIGN;
    else
        become_unavailable(outcome, &sum);
    return true;
}

/* ---- access_maps ---- */

struct access_search {
    struct question *question;
    struct finding finding;
    char key[ADDRESS_KEY_MAX]; /* the last one asked */
};

/* True when the search is over: there is an entry, or nobody can tell. */
static bool ask_access_key(struct access_search *search, const char *key, size_t length)
{
    struct question *question = search->question;
    memcpy(search->key, key, length);
    search->key[length] = '\0';
    search->finding = (struct finding){0};
    maps_value(question->access_maps, search->key, question->deadline, question->trace,
               &search->finding);
    keep_lag(question, &search->finding);
    return search->finding.answer != ABSENT;
}

static bool ask_access_domain(struct access_search *search, const char *domain)
{
    for (const char *key = domain; key;
         key = domain_next_key(key, search->question->access_parents))
        if (ask_access_key(search, key, strlen(key)))
            return true;
    return false;
}

/* access(5): the address in its forms, the domain and what stands above it, "user@". The catch-all
 * is ours. */
static bool search_access_maps(struct access_search *search, const struct address_probes *probes)
{
    for (size_t i = 0; i < probes->count; i++)
        if (ask_access_key(search, probes->key[i], strlen(probes->key[i])))
            return true;
    if (ask_access_domain(search, search->question->address->domain))
        return true;
    for (size_t i = 0; i < probes->count; i++) {
        const char *key = probes->key[i];
        size_t length = (size_t)(strrchr(key, '@') - key) + 1;
        if (length > 1 && ask_access_key(search, key, length))
            return true;
    }
    return false;
}

/* Does the entry settle the matter? */
static bool obey_access_entry(const struct access_search *search, struct outcome *outcome)
{
    struct reply_setting reply;
    switch (access_parse(search->finding.value, &reply, &outcome->why)) {
    case ACCESS_DUNNO:
        return false;
    case ACCESS_DEFER_IF_REJECT:
        search->question->defer_if_reject = true;
        search->question->deferral = reply;
        return false;
    case ACCESS_REPLY:
        outcome->standing = STANDING_OVERRIDE;
        outcome->reply = reply;
        return true;
    case ACCESS_BAD:
        break;
    }
    fault_within(&outcome->why, "access_maps, %s", search->key);
    outcome->standing = STANDING_UNAVAILABLE;
    outcome->interlock = INTERLOCK_BAD_ACTION;
    return true;
}

static bool ask_access_maps(struct question *question, const struct address_probes *probes,
                            struct outcome *outcome)
{
    struct access_search search = {.question = question};
    if (maps_empty(question->access_maps) || !search_access_maps(&search, probes))
        return false;
    if (search.finding.answer == UNAVAILABLE) {
        become_unavailable(outcome, &search.finding);
        return true;
    }
    return obey_access_entry(&search, outcome);
}

/* ---- recipient_maps ---- */

/* Where the catch-alls of a recipient point. */
struct alias {
    const struct address *address;
    bool is_set;
    struct address target;
};

/* For maps_find_unless: a catch-all that says no more than "ask there" is kept and passed over. One
 * that says another domain than the one before is not: only one can be followed. */
static bool take_alias(void *context, const char *value)
{
    struct alias *alias = context;
    struct address target;
    if (!domain_alias_target(alias->address, value, &target) ||
        (alias->is_set && strcmp(alias->target.domain, target.domain) != 0))
        return false;
    alias->is_set = true;
    alias->target = target;
    return true;
}

/* Under each probe until one is found; which one, in *found. alias: NULL to follow none. */
static void find_recipient(struct question *question, const struct address_probes *probes,
                           struct alias *alias, struct finding *sum, size_t *found)
{
    for (size_t i = 0; i < probes->count && sum->answer != FOUND; i++) {
        struct finding finding = {0};
        bool points = alias && domain_of_catch_all(probes->key[i]);
        maps_find_unless(question->recipient_maps, probes->key[i], question->deadline,
                         question->trace, points ? take_alias : NULL, alias, &finding);
        add_finding(&finding, sum);
        *found = i;
    }
}

/* Which probe has the same local part as the one that was found in the target's domain? The
 * known-good store remembers under that: the address without its extension, or all of the domain.
 */
static size_t probe_alike(const struct address_probes *probes, const char *found)
{
    size_t length = (size_t)(strrchr(found, '@') - found) + 1;
    for (size_t i = 0; i < probes->count; i++) {
        const char *key = probes->key[i];
        if (strncmp(key, found, length) == 0 && !strchr(key + length, '@'))
            return i;
    }
    return 0;
}

/* Nobody found in the target's domain: that says something only of a domain of ours. */
static void judge_absence(struct question *question, const struct address *target,
                          struct finding *sum)
{
    struct finding domain = {.answer = ABSENT};
    find_domain(question, target->domain, &domain);
    if (domain.answer == ABSENT) {
        trace_add(question->trace,
                  "follow_domain_alias: %s is not in domain_maps, so who is there "
                  "is not known here: the alias counts",
                  target->domain);
        finding_set_found(sum, NULL);
    } else if (domain.answer == UNAVAILABLE && sum->answer == ABSENT) {
        *sum = domain;
    }
}

/* The catch-all points to another domain: whom that has counts. Whatever could not be asked before
 * is in *sum. */
static void follow_alias(struct question *question, const struct address_probes *probes,
                         const struct alias *alias, struct finding *sum, size_t *found)
{
    struct address_probes there;
    size_t found_there = 0;
    trace_add(question->trace, "follow_domain_alias: @%s points to @%s, so %s is looked up",
              question->address->domain, alias->target.domain, alias->target.key);
    address_probes(&alias->target, question->delimiters, &there);
    find_recipient(question, &there, NULL, sum, &found_there);
    if (sum->answer == FOUND)
        *found = probe_alike(probes, there.key[found_there]);
    else
        judge_absence(question, &alias->target, sum);
}

static void ask_recipient_maps(struct question *question, const struct address_probes *probes,
                               struct outcome *outcome)
{
    if (maps_empty(question->recipient_maps)) {
        outcome->standing = STANDING_UNCHECKED;
        return;
    }
    struct finding sum = {.answer = ABSENT};
    struct alias alias = {.address = question->address};
    size_t found = 0;
    find_recipient(question, probes, question->follow_domain_alias ? &alias : NULL, &sum, &found);
    if (sum.answer != FOUND && alias.is_set)
        follow_alias(question, probes, &alias, &sum, &found);
    keep_lag(question, &sum);
    if (sum.answer != FOUND && alias.is_set)
        strcpy(outcome->alias_target, alias.target.domain);
    if (sum.answer == UNAVAILABLE) {
        become_unavailable(outcome, &sum);
        return;
    }
    outcome->standing = sum.answer == FOUND ? STANDING_KNOWN : STANDING_ABSENT;
    if (sum.answer == FOUND)
        outcome->probe = (unsigned char)found;
}

/* ---- all of them ---- */

/* Whatever rests on a "no" of a server that may be behind: a mailbox, a domain, or an address's own
 * action before its domain's, may be on its way. */
static void hold_for_lag(const struct question *question, struct outcome *outcome)
{
    enum standing standing = outcome->standing;
    if (!question->lagging || (standing != STANDING_ABSENT && standing != STANDING_FOREIGN &&
                               standing != STANDING_OVERRIDE))
        return;
    outcome->interlock = INTERLOCK_REPLICA_LAG;
    outcome->why = question->lag;
}

void question_put(struct question *question, struct outcome *outcome)
{
    struct address_probes probes;
    address_probes(question->address, question->delimiters, &probes);
    if (!ask_domain_maps(question, outcome) && !ask_access_maps(question, &probes, outcome))
        ask_recipient_maps(question, &probes, outcome);
    if (outcome->standing == STANDING_ABSENT && question->defer_if_reject) {
        outcome->standing = STANDING_OVERRIDE;
        outcome->reply = question->deferral;
    }
    hold_for_lag(question, outcome);
}
