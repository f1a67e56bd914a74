#include "db/authority.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "db/access.h"
#include "db/maps.h"
#include "shared/counters.h"
#include "shared/log.h"
#include "shared/text.h"

struct authority {
    const struct settings *settings; /* borrowed */
    struct maps *role_maps;
    struct maps *domain_maps;
    struct maps *access_maps;
    struct maps *recipient_maps;
    bool waits; /* a recipient's lookup may wait for a server */
    _Atomic unsigned slots_taken;
};

static bool open_maps(struct maps **maps, const char *parameter, const char *list,
                      const struct map_context *context, struct fault *fault)
{
    *maps = maps_open(list, context, fault);
    if (!*maps)
        fault_within(fault, "%s: %s", settings_where(context->settings, parameter), parameter);
    return *maps != NULL;
}

static bool open_all_maps(struct authority *authority, const struct map_context *context,
                          struct fault *fault)
{
    const struct settings *s = context->settings;
    return open_maps(&authority->role_maps, "role_maps", s->role_maps, context, fault) &&
           open_maps(&authority->domain_maps, "domain_maps", s->domain_maps, context, fault) &&
           open_maps(&authority->access_maps, "access_maps", s->access_maps, context, fault) &&
           open_maps(&authority->recipient_maps, "recipient_maps", s->recipient_maps, context,
                     fault);
}

struct authority *authority_open(const struct settings *settings, bool offline, struct fault *fault)
{
    struct authority *authority = calloc(1, sizeof *authority);
    if (!authority) {
        fault_set(fault, "out of memory");
        return NULL;
    }
    authority->settings = settings;
    struct map_context context = {.settings = settings, .offline = offline};
    if (!open_all_maps(authority, &context, fault)) {
        authority_close(authority);
        return NULL;
    }
    authority->waits = maps_wait(authority->domain_maps) || maps_wait(authority->access_maps) ||
                       maps_wait(authority->recipient_maps);
    return authority;
}

void authority_close(struct authority *authority)
{
    if (!authority)
        return;
    maps_close(authority->role_maps);
    maps_close(authority->domain_maps);
    maps_close(authority->access_maps);
    maps_close(authority->recipient_maps);
    free(authority);
}

bool authority_checks_recipients(const struct authority *authority)
{
    return !maps_empty(authority->recipient_maps);
}

bool authority_has_roles(const struct authority *authority)
{
    return !maps_empty(authority->role_maps);
}

/* ---- a recipient ---- */

struct question {
    struct authority *authority;
    const struct address *address;
    struct deadline deadline;
    struct trace *trace;
    bool lagging; /* some map's "no" came from a server that may be behind its primary */
    struct fault lag;
};

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

/* Sets the standing when domain_maps settles the matter. */
static bool ask_domain_maps(struct question *question, struct outcome *outcome)
{
    const struct maps *maps = question->authority->domain_maps;
    if (maps_empty(maps))
        return false;
    struct finding finding = {0};
    maps_find(maps, question->address->domain, question->deadline, question->trace, &finding);
    keep_lag(question, &finding);
    if (finding.answer == FOUND)
        return false;
    if (finding.answer == ABSENT)
        outcome->standing = STANDING_FOREIGN;
    else
        become_unavailable(outcome, &finding);
    return true;
}

/* One key of access_maps; true when it settles the matter. */
static bool ask_access_map(struct question *question, const char *key, struct outcome *outcome)
{
    struct finding finding = {0};
    maps_value(question->authority->access_maps, key, question->deadline, question->trace,
               &finding);
    keep_lag(question, &finding);
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
static bool ask_access_maps(struct question *question, const struct address_probes *probes,
                            struct outcome *outcome)
{
    if (maps_empty(question->authority->access_maps))
        return false;
    for (size_t i = 0; i < probes->count; i++)
        if (ask_access_map(question, probes->key[i], outcome))
            return true;
    return ask_access_map(question, question->address->domain, outcome);
}

/* FOUND under any key is FOUND; ABSENT only if every key was ABSENT. */
static void ask_recipient_maps(struct question *question, const struct address_probes *probes,
                               struct outcome *outcome)
{
    const struct maps *maps = question->authority->recipient_maps;
    if (maps_empty(maps)) {
        outcome->standing = STANDING_UNCHECKED;
        return;
    }
    struct finding trouble = {.answer = ABSENT};
    bool late = false;
    for (size_t i = 0; i < probes->count; i++) {
        struct finding finding = {0};
        maps_find(maps, probes->key[i], question->deadline, question->trace, &finding);
        keep_lag(question, &finding);
        if (finding.answer == FOUND) {
            outcome->standing = STANDING_KNOWN;
            outcome->probe = (unsigned char)i;
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

static void ask_maps(struct question *question, struct outcome *outcome)
{
    if (ask_domain_maps(question, outcome))
        return;
    struct address_probes probes;
    address_probes(question->address, question->authority->settings->recipient_delimiter, &probes);
    if (!ask_access_maps(question, &probes, outcome))
        ask_recipient_maps(question, &probes, outcome);
}

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

/* A caller that is about to wait for a server takes one of lookup_slots; false when all are taken.
 */
static bool take_slot(struct authority *authority, bool waits)
{
    if (!waits || atomic_fetch_add(&authority->slots_taken, 1) < authority->settings->lookup_slots)
        return true;
    atomic_fetch_sub(&authority->slots_taken, 1);
    return false;
}

static void return_slot(struct authority *authority, bool waits)
{
    if (waits)
        atomic_fetch_sub(&authority->slots_taken, 1);
}

static void count_answer(const struct outcome *outcome)
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

static void shed(struct authority *authority, struct trace *trace, struct outcome *outcome)
{
    counter_add(COUNT_lookups_shed);
    outcome->interlock = INTERLOCK_SHED;
    fault_set(&outcome->why, "all %u lookup_slots are taken, so the directory was not asked",
              authority->settings->lookup_slots);
    trace_add(trace, "directory: shed, %s", outcome->why.text);
}

void authority_ask(struct authority *authority, const struct address *address,
                   struct deadline deadline, struct trace *trace, struct outcome *outcome)
{
    struct question question = {
        .authority = authority, .address = address, .deadline = deadline, .trace = trace};
    if (!take_slot(authority, authority->waits)) {
        shed(authority, trace, outcome);
        return;
    }
    int64_t verified = clock_wall_s(); /* before the query: the answer is no younger than it says */
    ask_maps(&question, outcome);
    hold_for_lag(&question, outcome);
    return_slot(authority, authority->waits);
    count_answer(outcome);
    if (outcome->standing == STANDING_UNAVAILABLE)
        return;
    outcome->verified = verified;
    outcome->asked_now = true;
    outcome->tier = TIER_DIRECTORY;
}

/* ---- a role ---- */

enum role authority_ask_role(struct authority *authority, const char *domain,
                             struct deadline deadline, struct trace *trace, bool *answered)
{
    struct finding finding = {0};
    bool waits = maps_wait(authority->role_maps);
    if (take_slot(authority, waits)) {
        maps_value(authority->role_maps, domain, deadline, trace, &finding);
        return_slot(authority, waits);
    }
    /* The domain may have a role on the primary already: no more is known than in an outage. */
    bool lagging = finding.answer == ABSENT && finding.lagging;
    *answered = finding.answer != UNAVAILABLE && !lagging;
    if (finding.answer == ABSENT && !lagging)
        return authority->settings->role;
    if (finding.answer == FOUND && text_same_word(finding.value, role_name(ROLE_FALLBACK)))
        return ROLE_FALLBACK;
    if (finding.answer == FOUND && !text_same_word(finding.value, role_name(ROLE_PRIMARY)))
        log_warning("role_maps: \"%s\" for %s is neither \"primary\" nor \"fallback\" - this node "
                    "is a primary for it",
                    finding.value, domain);
    return ROLE_PRIMARY;
}

unsigned authority_slots_taken(const struct authority *authority)
{
    return atomic_load(&authority->slots_taken);
}

void authority_report(struct authority *authority, void (*line)(void *context, const char *text),
                      void *context)
{
    char text[64];
    if (!authority->waits && !maps_wait(authority->role_maps))
        return;
    snprintf(text, sizeof text, "lookup slots: %u of %u taken",
             atomic_load(&authority->slots_taken), authority->settings->lookup_slots);
    line(context, text);
}
