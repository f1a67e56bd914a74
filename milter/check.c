#include "milter/check.h"

#include <string.h>

#include "shared/clock.h"
#include "shared/idn.h"
#include "shared/unicode.h"

/* What one check carries through its steps. */
struct check {
    const struct snapshot *node;
    enum lookup_mode mode;
    struct deadline deadline;
    struct trace *trace;
    struct circumstances circumstances;
    bool role_is_set;
    struct address *resolved; /* {rcpt_addr}, once it was looked at */
    bool folded;              /* it is the same mailbox, and folding made another key of it */
    struct check_result *result;
};

/* But for what full case folding changes: with U-labels, in which the keys were folded. */
static bool same_but_for_folding(const struct address *a, const struct address *b)
{
    char a_bytes[ADDRESS_KEY_MAX], b_bytes[ADDRESS_KEY_MAX];
    const char *a_key = idn_other_form(a->key, a_bytes, sizeof a_bytes) ? a_bytes : a->key;
    const char *b_key = idn_other_form(b->key, b_bytes, sizeof b_bytes) ? b_bytes : b->key;
    return unicode_same_folded(a_key, b_key);
}

/* As nearly always: then there is nothing to be learnt from parsing it, too. */
static bool same_but_for_brackets(const char *argument, const char *resolved)
{
    size_t length = strlen(resolved);
    return argument[0] == '<' && strncmp(argument + 1, resolved, length) == 0 &&
           strcmp(argument + 1 + length, ">") == 0;
}

/*
 * {rcpt_addr} is what Postfix will act on, and it may name another mailbox than the argument, which
 * can be routed through this host (alice%example.test@mx.test), or be no mailbox at all. But macros
 * are sticky: without a macro packet before this RCPT it is still the previous recipient's. One
 * that cannot be that is believed; one that can be, and fits the argument as badly as that, is not:
 * no pass and no bounce may rest on it.
 *
 * Postfix folds the case of all Unicode in it, fully: it says strasse@ for straße@, and a final
 * sigma becomes another letter. Directories hold names as people write them, so the argument's key
 * is the one to look up, and the folded one after it.
 */
static void take_resolved(struct check *check, const struct check_request *request,
                          enum address_result *parsed)
{
    struct check_result *result = check->result;
    const char *text = request->resolved;
    result->recipient = text;
    if (*parsed == ADDRESS_OK && same_but_for_brackets(request->argument, text))
        return;
    address_clear(check->resolved);
    enum address_result from_macro = address_parse(text, strlen(text), check->resolved);
    bool both = *parsed == ADDRESS_OK && from_macro == ADDRESS_OK;
    if (both && strcmp(result->address.key, check->resolved->key) == 0)
        return;
    if (both && same_but_for_folding(&result->address, check->resolved)) {
        check->folded = true;
        return;
    }
    result->address = *check->resolved;
    *parsed = from_macro;
    if (!request->resolved_may_be_old)
        return;
    *parsed = ADDRESS_OK; /* whatever it is */
    result->outcome.interlock = INTERLOCK_TWO_ADDRESSES;
    fault_set(&result->outcome.why,
              "the RCPT argument says %s, {rcpt_addr} says %s, as it did of another argument",
              request->argument, text);
}

static void parse_recipient(struct check *check, const struct check_request *request)
{
    struct check_result *result = check->result;
    const char *argument = request->argument;
    enum address_result parsed = address_parse(argument, strlen(argument), &result->address);
    result->recipient = argument;
    check->circumstances.postmaster = parsed == ADDRESS_POSTMASTER;
    if (!check->circumstances.postmaster && request->resolved)
        take_resolved(check, request, &parsed);
    check->circumstances.malformed = parsed != ADDRESS_OK;
}

static void judge(struct check *check)
{
    struct check_result *result = check->result;
    enum standing standing = result->outcome.standing;
    /* The role is looked up only where the verdict depends on it. */
    bool role_matters = standing == STANDING_ABSENT || standing == STANDING_UNAVAILABLE;
    if (role_matters && !check->role_is_set) {
        check->circumstances.role = resolver_role(check->node->resolver, result->address.domain,
                                                  check->deadline, check->trace);
        check->role_is_set = true;
    }
    if (standing != STANDING_KNOWN)
        check->circumstances.node_interlock =
            guard_interlock(check->node->guard, standing == STANDING_UNAVAILABLE,
                            check->node->settings->outage_patience_s);
    verdict_judge(&check->circumstances, &result->verdict);
}

static void ask(struct check *check, const struct address *address, enum lookup_mode mode,
                struct outcome *outcome)
{
    resolver_find(check->node->resolver, address, mode, check->deadline, check->trace, outcome);
    if (mode != LOOKUP_DIRECTORY_DOWN)
        guard_note(check->node->guard, outcome, check->node->settings);
}

/* Of one mailbox under two keys: known if it is under either, absent only if it is under both. The
 * first says the rest. */
static bool speaks_for_both(const struct outcome *second, const struct outcome *first)
{
    switch (first->standing) {
    case STANDING_KNOWN:
    case STANDING_OVERRIDE:
    case STANDING_UNCHECKED:
        return false;
    case STANDING_UNAVAILABLE:
        return second->standing == STANDING_KNOWN || second->standing == STANDING_OVERRIDE;
    case STANDING_ABSENT:
        if (second->standing == STANDING_ABSENT)
            return !second->asked_now || second->interlock != INTERLOCK_NONE;
        return second->standing != STANDING_FOREIGN;
    case STANDING_FOREIGN:
        return second->standing != STANDING_FOREIGN;
    }
    return false;
}

static void find(struct check *check, enum lookup_mode mode)
{
    struct check_result *result = check->result;
    ask(check, &result->address, mode, &result->outcome);
    if (check->folded && result->outcome.standing != STANDING_KNOWN) {
        struct outcome second;
        trace_add(check->trace, "and as {rcpt_addr} has it: key %s", check->resolved->key);
        ask(check, check->resolved, mode, &second);
        if (speaks_for_both(&second, &result->outcome))
            result->outcome = second;
    }
    judge(check);
}

/* A 5xx that rests on what the directory has just said needs the sentinels to be there after it,
 * and the recipient to be absent still after that: a table that is being loaded may have come back
 * in between. */
static void confirm_sentinels(struct check *check)
{
    const struct snapshot *node = check->node;
    if (!node->sentinel || node->sentinels->count == 0 ||
        !verdict_rests_on_an_answer(&check->circumstances, &check->result->verdict))
        return;
    if (sentinel_confirm(node->sentinel, node->settings->lookup_slots, check->deadline)) {
        trace_add(check->trace, "the sentinel recipients are there: asking once more");
        find(check, LOOKUP_ASK_NOW);
        return;
    }
    trace_add(check->trace, "the sentinel recipients were not found after the answer");
    check->circumstances.node_interlock = INTERLOCK_SENTINEL;
    verdict_judge(&check->circumstances, &check->result->verdict);
}

static void find_and_judge(struct check *check)
{
    check->result->asked = true;
    find(check, check->mode);
    if (check->mode == LOOKUP_CACHED && verdict_wants_fresh_evidence(&check->result->verdict)) {
        trace_add(check->trace, "a 5xx needs a directory query made now: asking past the caches");
        find(check, LOOKUP_ASK_NOW);
    }
    if (check->mode != LOOKUP_DIRECTORY_DOWN)
        confirm_sentinels(check);
}

static void trace_verdict(const struct check_result *result, struct trace *trace)
{
    if (!trace)
        return;
    if (result->verdict.interlock != INTERLOCK_NONE)
        trace_add(trace, "interlock: %s", interlock_name(result->verdict.interlock));
    trace_add(trace, "verdict: %s", result->verdict.row->name);
    if (result->reply.pass)
        trace_add(trace, "reply: pass");
    else
        trace_add(trace, "reply: %s %s %s", result->reply.code, result->reply.enhanced,
                  result->reply.text);
}

static void say(struct check *check)
{
    struct check_result *result = check->result;
    result->role = check->circumstances.role;
    reply_render(&result->verdict.reply, result->recipient, result->address.domain, result->role,
                 &result->reply);
    trace_verdict(result, check->trace);
}

void check_recipient(const struct snapshot *node, const struct check_request *request,
                     const struct check_manner *manner, struct trace *trace,
                     struct check_result *result)
{
    const struct settings *settings = node->settings;
    static const struct check_manner as_for_a_client = {LOOKUP_CACHED, false, ROLE_PRIMARY};
    if (!manner)
        manner = &as_for_a_client;
    struct address resolved; /* beside the check, which is cleared */
    struct check check = {.node = node,
                          .mode = manner->mode,
                          .deadline = deadline_in_ms(settings->lookup_deadline_ms),
                          .trace = trace,
                          .role_is_set = manner->role_is_set,
                          .resolved = &resolved,
                          .result = result};
    struct circumstances *c = &check.circumstances;
    address_clear(&result->address);
    outcome_clear(&result->outcome);
    result->asked = false;
    c->settings = settings;
    c->outcome = &result->outcome;
    c->role = manner->role_is_set ? manner->role : settings->role;
    c->exempt = (request->authenticated && settings->exempt_authenticated) ||
                networks_contain(settings->exempt_networks, request->client_address);

    parse_recipient(&check, request);
    trace_add(trace, "recipient: %s, key %s", result->recipient,
              result->address.key[0] ? result->address.key : "none");
    if (c->exempt || c->postmaster || c->malformed)
        verdict_judge(c, &result->verdict);
    else if (result->outcome.interlock == INTERLOCK_TWO_ADDRESSES)
        judge(&check);
    else
        find_and_judge(&check);
    say(&check);
}
