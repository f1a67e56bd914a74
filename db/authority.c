#include "db/authority.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/domain_keys.h"
#include "db/maps.h"
#include "db/question.h"
#include "db/slots.h"
#include "shared/counters.h"
#include "shared/log.h"
#include "shared/text.h"

/* What parent_domain_matches_subdomains may name. */
enum { DOMAIN_LIST = 0, ACCESS_LIST, ROLE_LIST, LIST_COUNT };
static const char *const list_names[LIST_COUNT] = {"domain_maps", "access_maps", "role_maps"};

struct authority {
    const struct settings *settings; /* borrowed */
    struct maps *role_maps;
    struct maps *domain_maps;
    struct maps *access_maps;
    struct maps *recipient_maps;
    bool parents[LIST_COUNT]; /* parent_domain_matches_subdomains, in the order of list_names */
    bool waits;               /* a recipient's lookup may wait for a server */
    struct slots slots;       /* lookup_slots */
};

static bool fault_about(const struct settings *settings, const char *parameter, struct fault *fault)
{
    fault_within(fault, "%s: %s", settings_where(settings, parameter), parameter);
    return false;
}

static bool open_maps(struct maps **maps, const char *parameter, const char *list,
                      const struct map_context *context, struct fault *fault)
{
    *maps = maps_open(list, context, fault);
    return *maps || fault_about(context->settings, parameter, fault);
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

static bool read_parents(struct authority *authority, const struct settings *settings,
                         struct fault *fault)
{
    static const char separators[] = ", \t\r\n";
    const char *at = settings->parent_domain_matches_subdomains;
    for (at += strspn(at, separators); *at; at += strspn(at, separators)) {
        size_t length = strcspn(at, separators), i = 0;
        while (i < LIST_COUNT &&
               (strlen(list_names[i]) != length || memcmp(list_names[i], at, length) != 0))
            i++;
        if (i == LIST_COUNT) {
            fault_set(fault, "\"%.*s\" is none of domain_maps, access_maps and role_maps",
                      length > 60 ? 60 : (int)length, at);
            return fault_about(settings, "parent_domain_matches_subdomains", fault);
        }
        authority->parents[i] = true;
        at += length;
    }
    return true;
}

/* An alias may point to a domain that is not ours, whose recipients our maps do not know: to take
 * them for absent would bounce all its mail. Only domain_maps tells. */
static bool check_alias(const struct authority *authority, const struct settings *settings,
                        struct fault *fault)
{
    if (!settings->follow_domain_alias || !maps_empty(authority->domain_maps))
        return true;
    fault_set(fault, "needs domain_maps, to tell an alias of a domain of ours from one that points "
                     "elsewhere");
    return fault_about(settings, "follow_domain_alias", fault);
}

struct authority *authority_open(const struct settings *settings, bool offline, struct fault *fault)
{
    struct authority *authority = calloc(1, sizeof *authority);
    if (!authority) {
        fault_set(fault, "out of memory");
        return NULL;
    }
    authority->settings = settings;
    slots_init(&authority->slots, settings->lookup_slots);
    struct map_context context = {.settings = settings, .offline = offline};
    if (!open_all_maps(authority, &context, fault) || !read_parents(authority, settings, fault) ||
        !check_alias(authority, settings, fault)) {
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
    slots_release(&authority->slots);
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

/* A caller that is about to wait for a server takes one of lookup_slots; false when none is to be
 * had. */
static bool take_slot(struct authority *authority, bool waits, struct deadline deadline)
{
    return !waits || slots_take(&authority->slots, deadline);
}

static void return_slot(struct authority *authority, bool waits)
{
    if (waits)
        slots_return(&authority->slots);
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
    struct question question = {.domain_maps = authority->domain_maps,
                                .access_maps = authority->access_maps,
                                .recipient_maps = authority->recipient_maps,
                                .domain_parents = authority->parents[DOMAIN_LIST],
                                .access_parents = authority->parents[ACCESS_LIST],
                                .follow_domain_alias = authority->settings->follow_domain_alias,
                                .delimiters = authority->settings->recipient_delimiter,
                                .address = address,
                                .deadline = deadline,
                                .trace = trace};
    if (!take_slot(authority, authority->waits, deadline)) {
        shed(authority, trace, outcome);
        return;
    }
    int64_t verified = clock_wall_s(); /* before the query: the answer is no younger than it says */
    question_put(&question, outcome);
    return_slot(authority, authority->waits);
    count_answer(outcome);
    if (outcome->standing == STANDING_UNAVAILABLE)
        return;
    outcome->verified = verified;
    outcome->asked_now = true;
    outcome->tier = TIER_DIRECTORY;
}

/* ---- a role ---- */

/* The first entry for the domain or what stands above it. An ABSENT before it that may be out of
 * date lags, whatever was found: the domain may have a role of its own on the primary already. */
static void find_role(const struct authority *authority, const char *domain,
                      struct deadline deadline, struct trace *trace, struct finding *finding)
{
    bool lagging = false;
    for (const char *key = domain; key && finding->answer != FOUND;
         key = domain_next_key(key, authority->parents[ROLE_LIST])) {
        *finding = (struct finding){0};
        maps_value(authority->role_maps, key, deadline, trace, finding);
        if (finding->answer == UNAVAILABLE)
            return;
        lagging |= finding->answer == ABSENT && finding->lagging;
    }
    finding->lagging = lagging;
}

enum role authority_ask_role(struct authority *authority, const char *domain,
                             struct deadline deadline, struct trace *trace, bool *answered)
{
    struct finding finding = {0};
    bool waits = maps_wait(authority->role_maps);
    if (take_slot(authority, waits, deadline)) {
        find_role(authority, domain, deadline, trace, &finding);
        return_slot(authority, waits);
    }
    /* Where it lags, no more is known than in an outage. */
    *answered = finding.answer != UNAVAILABLE && !finding.lagging;
    if (!*answered)
        return ROLE_PRIMARY;
    if (finding.answer == ABSENT)
        return authority->settings->role;
    if (text_same_word(finding.value, role_name(ROLE_FALLBACK)))
        return ROLE_FALLBACK;
    if (!text_same_word(finding.value, role_name(ROLE_PRIMARY)))
        log_warning("role_maps: \"%s\" for %s is neither \"primary\" nor \"fallback\" - this node "
                    "is a primary for it",
                    finding.value, domain);
    return ROLE_PRIMARY;
}

unsigned authority_slots_taken(struct authority *authority)
{
    return slots_taken(&authority->slots);
}

void authority_report(struct authority *authority, void (*line)(void *context, const char *text),
                      void *context)
{
    char text[64];
    if (!authority->waits && !maps_wait(authority->role_maps))
        return;
    snprintf(text, sizeof text, "lookup slots: %u of %u taken", slots_taken(&authority->slots),
             authority->settings->lookup_slots);
    line(context, text);
}
