#include "milter/remember.h"

#include <stdio.h>
#include <string.h>

#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/log.h"
#include "shared/text.h"

static void copy(char *to, size_t size, const char *from)
{
    struct text text = text_on(to, size);
    if (from)
        text_add_printable(&text, from, strlen(from));
}

static void remember_deferral(const struct snapshot *node, const struct digest *key,
                              const struct check_request *request,
                              const struct check_result *result)
{
    struct ledger_waiting waiting = {.absence = result->outcome.absence};
    copy(waiting.recipient, sizeof waiting.recipient, result->address.key);
    copy(waiting.sender, sizeof waiting.sender, request->sender);
    copy(waiting.client, sizeof waiting.client, request->client_address);
    ledger_defer(node->ledger, key, &waiting, clock_wall_s());
}

static void remember_bounce(const struct snapshot *node, const struct digest *key,
                            const struct check_result *result)
{
    const struct outcome *outcome = &result->outcome;
    struct ledger_bounced bounced = {.role = result->role == ROLE_PRIMARY ? 'p' : 'f'};
    struct text evidence = text_on(bounced.evidence, sizeof bounced.evidence);
    counter_add(COUNT_bounces);
    copy(bounced.recipient, sizeof bounced.recipient, result->address.key);
    if (outcome->standing == STANDING_ABSENT)
        text_addf(&evidence, "%s %s: the directory said so, for %lld s in %u queries",
                  result->reply.code, result->reply.enhanced,
                  (long long)(outcome->verified - outcome->absence.since), outcome->absence.asked);
    else
        text_addf(&evidence, "%s %s: %s", result->reply.code, result->reply.enhanced,
                  outcome->why.text);
    ledger_bounce(node->ledger, key, &bounced, clock_wall_s());
}

/* It is there. Was it refused, or does it wait? */
static void remember_found(const struct snapshot *node, const struct digest *key,
                           const struct check_result *result)
{
    struct ledger_bounced bounced;
    const struct outcome *outcome = &result->outcome;
    bool was_bounced =
        ledger_find_bounced(node->ledger, key, &bounced) && outcome->verified >= bounced.at;
    if (was_bounced && outcome->verified - bounced.at < node->settings->false_bounce_window_s) {
        counter_add(COUNT_false_bounces);
        log_error(
            "possibly a false bounce: %s was refused %lld s ago (%s), and now %s has it: tell "
            "its senders; rcptctl bounced shows all",
            bounced.recipient, (long long)(clock_wall_s() - bounced.at), bounced.evidence,
            tier_name(outcome->tier));
    }
    ledger_forget(node->ledger, key); /* also what is not yet written */
}

void remember_recipient(const struct snapshot *node, const struct check_request *request,
                        const struct check_result *result)
{
    const struct outcome *outcome = &result->outcome;
    if (!node->ledger || !result->asked)
        return;
    struct digest key = digest_shared(result->address.key, strlen(result->address.key));
    bool refused =
        !result->reply.pass && result->reply.code[0] == '5' && result->verdict.row->by_lookup;
    bool absent = outcome->standing == STANDING_ABSENT && outcome->asked_now;
    if (refused && (absent || outcome->standing == STANDING_UNAVAILABLE))
        remember_bounce(node, &key, result);
    else if (absent && !result->reply.pass && result->role == ROLE_PRIMARY)
        remember_deferral(node, &key, request, result);
    else if (outcome->standing == STANDING_KNOWN &&
             (outcome->tier == TIER_DIRECTORY || outcome->tier == TIER_MEMCACHE))
        remember_found(node, &key, result);
}
