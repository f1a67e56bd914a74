#include "milter/verdict.h"

#include "milter/reply.h"

enum { PROOF_APART_S = 60 }; /* the first query that proves an absence, and the last */

static enum standing standing_of(const struct circumstances *c)
{
    return c->outcome ? c->outcome->standing : STANDING_UNAVAILABLE;
}

static bool is_exempt(const struct circumstances *c)
{
    return c->exempt;
}

static bool is_postmaster(const struct circumstances *c)
{
    return c->postmaster;
}

static bool is_malformed(const struct circumstances *c)
{
    return c->malformed;
}

static bool is_foreign(const struct circumstances *c)
{
    return standing_of(c) == STANDING_FOREIGN;
}

static bool is_overridden(const struct circumstances *c)
{
    return standing_of(c) == STANDING_OVERRIDE;
}

static bool is_known(const struct circumstances *c)
{
    return standing_of(c) == STANDING_KNOWN;
}

static bool is_unchecked(const struct circumstances *c)
{
    return standing_of(c) == STANDING_UNCHECKED;
}

/* The directory has said so for escalate_after, in two queries or more. Senders that never reach
 * the fallback would else retry for days. */
static bool is_proven_absent_on_a_primary(const struct circumstances *c)
{
    int64_t after_s = c->settings->escalate_after_s;
    if (c->role != ROLE_PRIMARY || standing_of(c) != STANDING_ABSENT || after_s == 0)
        return false;
    const struct outcome *outcome = c->outcome;
    return outcome->absence.asked >= 2 && outcome->verified - outcome->absence.since >=
                                              (after_s > PROOF_APART_S ? after_s : PROOF_APART_S);
}

static bool is_absent_on_a_primary(const struct circumstances *c)
{
    return c->role == ROLE_PRIMARY && standing_of(c) == STANDING_ABSENT;
}

static bool is_unavailable_on_a_primary(const struct circumstances *c)
{
    return c->role == ROLE_PRIMARY;
}

static bool is_absent_on_the_fallback(const struct circumstances *c)
{
    return standing_of(c) == STANDING_ABSENT;
}

static bool is_anything(const struct circumstances *c)
{
    (void)c;
    return true;
}

static void reply_pass(const struct circumstances *c, struct reply_setting *reply)
{
    (void)c;
    reply->pass = true;
}

static void reply_malformed(const struct circumstances *c, struct reply_setting *reply)
{
    *reply = c->settings->malformed_reply;
    /* A primary leaves the last word to the fallback, here too. */
    if (c->role == ROLE_PRIMARY && reply_is_5xx(reply)) {
        reply->code[0] = '4';
        reply->enhanced[0] = '4';
    }
}

static void reply_override(const struct circumstances *c, struct reply_setting *reply)
{
    *reply = c->outcome->reply;
}

#define REPLY_FROM(parameter)                                                                      \
    static void reply_##parameter(const struct circumstances *c, struct reply_setting *reply)      \
    {                                                                                              \
        *reply = c->settings->parameter##_reply;                                                   \
    }

REPLY_FROM(foreign)
REPLY_FROM(primary_proven)
REPLY_FROM(primary_unknown)
REPLY_FROM(primary_unavailable)
REPLY_FROM(held)
REPLY_FROM(fallback_unknown)
REPLY_FROM(fallback_unavailable)

/* The first row that applies wins. */
static const struct verdict_row rows[] = {
    {"exempt", COUNT_verdict_exempt, false, false, is_exempt, reply_pass},
    {"postmaster", COUNT_verdict_postmaster, false, false, is_postmaster, reply_pass},
    {"malformed", COUNT_verdict_malformed, false, false, is_malformed, reply_malformed},
    {"foreign", COUNT_verdict_foreign, true, false, is_foreign, reply_foreign},
    {"override", COUNT_verdict_override, true, false, is_overridden, reply_override},
    {"known", COUNT_verdict_known, true, false, is_known, reply_pass},
    {"unchecked", COUNT_verdict_unchecked, true, false, is_unchecked, reply_pass},
    {"proven unknown on a primary", COUNT_verdict_primary_proven, true, true,
     is_proven_absent_on_a_primary, reply_primary_proven},
    {"unknown on a primary", COUNT_verdict_primary_unknown, true, false, is_absent_on_a_primary,
     reply_primary_unknown},
    {"unavailable on a primary", COUNT_verdict_primary_unavailable, true, false,
     is_unavailable_on_a_primary, reply_primary_unavailable},
    {"held", COUNT_verdict_held, false, false, NULL, reply_held},
    {"unknown on the fallback", COUNT_verdict_fallback_unknown, true, false,
     is_absent_on_the_fallback, reply_fallback_unknown},
    {"unavailable on the fallback", COUNT_verdict_fallback_unavailable, true, false, is_anything,
     reply_fallback_unavailable},
};

static const struct verdict_row *row_held(void)
{
    const struct verdict_row *row = rows;
    while (row->applies)
        row++;
    return row;
}

static const struct {
    const char *name;
    enum counter counter;
} interlocks[INTERLOCK_COUNT] = {
    [INTERLOCK_SHED] = {"shed", COUNT_interlock_shed},
    [INTERLOCK_LATE] = {"late", COUNT_interlock_late},
    [INTERLOCK_BAD_ACTION] = {"bad action", COUNT_interlock_bad_action},
    [INTERLOCK_TWO_ADDRESSES] = {"two addresses", COUNT_interlock_two_addresses},
    [INTERLOCK_OLD_EVIDENCE] = {"old evidence", COUNT_interlock_old_evidence},
    [INTERLOCK_HOLD] = {"hold", COUNT_interlock_hold},
    [INTERLOCK_NO_ANSWER_YET] = {"no answer yet", COUNT_interlock_no_answer_yet},
    [INTERLOCK_OUTAGE] = {"outage", COUNT_interlock_outage},
    [INTERLOCK_KNOWN_GOOD] = {"known good", COUNT_interlock_known_good},
    [INTERLOCK_REPLICA_LAG] = {"replica lag", COUNT_interlock_replica_lag},
    [INTERLOCK_SENTINEL] = {"sentinel", COUNT_interlock_sentinel},
    [INTERLOCK_VANISHING] = {"vanishing", COUNT_interlock_vanishing},
};

const char *interlock_name(enum interlock interlock)
{
    return interlocks[interlock].name ? interlocks[interlock].name : "none";
}

enum counter interlock_counter(enum interlock interlock)
{
    return interlocks[interlock].counter;
}

const struct verdict_row *verdict_rows(size_t *count)
{
    *count = sizeof rows / sizeof *rows;
    return rows;
}

/* What forbids a 5xx that rests on this outcome. Being UNAVAILABLE is no evidence that could be
 * old: there the table decides. */
static enum interlock interlock_engaged(const struct circumstances *c)
{
    if (!c->outcome)
        return INTERLOCK_NONE;
    if (c->outcome->interlock != INTERLOCK_NONE)
        return c->outcome->interlock;
    if (c->node_interlock != INTERLOCK_NONE)
        return c->node_interlock;
    if (c->outcome->standing != STANDING_UNAVAILABLE && !c->outcome->asked_now)
        return INTERLOCK_OLD_EVIDENCE;
    return INTERLOCK_NONE;
}

static const struct verdict_row *next_row(const struct verdict_row *row,
                                          const struct circumstances *circumstances)
{
    while (!row->applies || !row->applies(circumstances))
        row++;
    return row;
}

void verdict_judge(const struct circumstances *circumstances, struct verdict *verdict)
{
    *verdict = (struct verdict){0};
    for (const struct verdict_row *row = next_row(rows, circumstances);;
         row = next_row(row + 1, circumstances)) {
        verdict->row = row;
        verdict->reply = (struct reply_setting){0};
        row->reply(circumstances, &verdict->reply);
        enum interlock interlock = row->by_lookup && reply_is_5xx(&verdict->reply)
                                       ? interlock_engaged(circumstances)
                                       : INTERLOCK_NONE;
        if (interlock == INTERLOCK_NONE)
            return;
        verdict->interlock = interlock;
        if (!row->or_next)
            break;
    }
    verdict->row = row_held();
    verdict->reply = (struct reply_setting){0};
    verdict->row->reply(circumstances, &verdict->reply);
}

bool verdict_rests_on_an_answer(const struct circumstances *circumstances,
                                const struct verdict *verdict)
{
    return verdict->row->by_lookup && reply_is_5xx(&verdict->reply) &&
           standing_of(circumstances) != STANDING_UNAVAILABLE;
}

bool verdict_wants_fresh_evidence(const struct verdict *verdict)
{
    return verdict->interlock == INTERLOCK_OLD_EVIDENCE;
}
