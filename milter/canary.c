#include "milter/canary.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "milter/check.h"
#include "shared/clock.h"
#include "shared/digest.h"

enum {
    DOMAIN_SLOTS = 16,
    ADDRESS_SLOTS = CANARY_SAMPLE_MAX - DOMAIN_SLOTS,
    BEGIN_MS = 5000,     /* no question begins later: a slow directory is not a wrong one */
    QUESTION_MS = 10000, /* one takes at most lookup_deadline, and this */
    OLD_MS = 3000,       /* all questions to the old one together */
    SHED_PAUSE_MS = 20
};

struct canary {
    pthread_mutex_t lock;
    char keys[CANARY_SAMPLE_MAX][ADDRESS_KEY_MAX]; /* lock; "": none yet */
};

struct canary *canary_create(void)
{
    struct canary *canary = calloc(1, sizeof *canary);
    if (canary)
        pthread_mutex_init(&canary->lock, NULL);
    return canary;
}

void canary_destroy(struct canary *canary)
{
    if (!canary)
        return;
    pthread_mutex_destroy(&canary->lock);
    free(canary);
}

/* ---- the sample ---- */

/* Nobody outside can choose addresses that share a slot: digest_local has a random key. */
static size_t slot_of(const char *text, size_t slots)
{
    struct digest digest = digest_local(text, strlen(text));
    return digest.bytes[0] % slots;
}

void canary_note(struct canary *canary, const struct check_result *result)
{
    const struct address *address = &result->address;
    if (!canary || !result->asked || result->outcome.standing != STANDING_KNOWN ||
        !result->outcome.asked_now || address->key[0] == '\0')
        return;
    size_t by_domain = slot_of(address->domain, DOMAIN_SLOTS);
    size_t by_address = DOMAIN_SLOTS + slot_of(address->key, ADDRESS_SLOTS);
    pthread_mutex_lock(&canary->lock);
    memcpy(canary->keys[by_domain], address->key, sizeof address->key);
    memcpy(canary->keys[by_address], address->key, sizeof address->key);
    pthread_mutex_unlock(&canary->lock);
}

static bool is_among(const struct address *addresses, size_t count, const struct address *address)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(addresses[i].key, address->key) == 0)
            return true;
    return false;
}

size_t canary_sample(struct canary *canary, struct address sample[CANARY_SAMPLE_MAX])
{
    size_t count = 0;
    pthread_mutex_lock(&canary->lock);
    for (size_t i = 0; i < CANARY_SAMPLE_MAX; i++) {
        const char *key = canary->keys[i];
        if (address_parse(key, strlen(key), &sample[count]) == ADDRESS_OK &&
            !is_among(sample, count, &sample[count]))
            count++;
    }
    pthread_mutex_unlock(&canary->lock);
    return count;
}

/* ---- the judgement ---- */

enum said { SAID_NOTHING = 0, SAID_YES, SAID_NO };

static enum said what_it_says(const struct outcome *outcome)
{
    switch (outcome->standing) {
    case STANDING_UNAVAILABLE:
        return SAID_NOTHING;
    case STANDING_KNOWN:
    case STANDING_UNCHECKED:
        return SAID_YES;
    case STANDING_OVERRIDE:
        return outcome->reply.pass ? SAID_YES : SAID_NO;
    case STANDING_ABSENT:
    case STANDING_FOREIGN:
        return SAID_NO;
    }
    return SAID_NOTHING;
}

bool canary_is_well(const struct outcome *outcome)
{
    return what_it_says(outcome) == SAID_YES;
}

bool canary_is_worse(const struct outcome *next, const struct outcome *old, bool confirmed)
{
    switch (what_it_says(old)) {
    case SAID_YES:
        return what_it_says(next) != SAID_YES;
    case SAID_NOTHING:
        return what_it_says(next) == SAID_NO && confirmed;
    case SAID_NO:
        break;
    }
    return false;
}

/* ---- the questions ---- */

struct comparison {
    const struct snapshot *old, *next;
    struct deadline begin_until;
    int64_t old_left_ms;
    size_t asked;
    void (*meanwhile)(struct app *app);
    struct app *app;
};

static void ask(const struct snapshot *snapshot, const struct address *address, int64_t most_ms,
                struct outcome *outcome)
{
    struct deadline deadline = deadline_sooner(
        deadline_in_ms(snapshot->settings->lookup_deadline_ms), deadline_in_ms(most_ms));
    resolver_ask_directory(snapshot->resolver, address, deadline, NULL, outcome);
}

/* The old one is in use: its slots may be taken by clients. */
static void ask_old(struct comparison *comparison, const struct address *address,
                    struct outcome *outcome)
{
    struct deadline until = deadline_in_ms(comparison->old_left_ms);
    ask(comparison->old, address, deadline_left_ms(until), outcome);
    while (outcome->interlock == INTERLOCK_SHED && !deadline_passed(until)) {
        poll(NULL, 0, SHED_PAUSE_MS);
        ask(comparison->old, address, deadline_left_ms(until), outcome);
    }
    comparison->old_left_ms = deadline_left_ms(until);
}

static void describe(const struct address *address, const struct outcome *next,
                     const struct outcome *old, struct fault *fault)
{
    bool silent = next->standing == STANDING_UNAVAILABLE;
    fault_set(fault,
              "canary: for %s the new configuration says %s, the one in force %s (rcptctl reload "
              "--force, if that is meant)%s%s",
              address->key, standing_name(next->standing),
              old->standing == STANDING_UNAVAILABLE ? "had it and cannot ask now"
                                                    : standing_name(old->standing),
              silent ? ": " : "", silent ? next->why.text : "");
}

static bool fares_as_before(struct comparison *comparison, const struct address *address,
                            bool confirmed, struct fault *fault)
{
    struct outcome next, old;
    if (deadline_passed(comparison->begin_until))
        return true;
    comparison->asked++;
    comparison->meanwhile(comparison->app);
    ask(comparison->next, address, QUESTION_MS, &next);
    if (canary_is_well(&next))
        return true;
    ask_old(comparison, address, &old);
    bool worse = canary_is_worse(&next, &old, confirmed);
    /* A server may have come back, a table been loaded, between the two questions. */
    if (worse && what_it_says(&old) == SAID_YES) {
        comparison->meanwhile(comparison->app);
        ask(comparison->next, address, QUESTION_MS, &next);
        worse = canary_is_worse(&next, &old, confirmed);
    }
    if (worse)
        describe(address, &next, &old, fault);
    return !worse;
}

/* Those of both: one left out of the new list is no less a recipient. */
static bool sentinels_fare(struct comparison *comparison, struct fault *fault)
{
    const struct sentinel_list *old = comparison->old->sentinels;
    const struct sentinel_list *next = comparison->next->sentinels;
    bool well = true;
    for (size_t i = 0; i < old->count && well; i++)
        well = fares_as_before(comparison, &old->addresses[i], false, fault);
    for (size_t i = 0; i < next->count && well; i++)
        if (!is_among(old->addresses, old->count, &next->addresses[i]))
            well = fares_as_before(comparison, &next->addresses[i], false, fault);
    return well;
}

bool canary_compare(struct canary *canary, const struct snapshot *old, const struct snapshot *next,
                    void (*meanwhile)(struct app *app), struct app *app, size_t *asked,
                    struct fault *fault)
{
    struct comparison comparison = {.old = old,
                                    .next = next,
                                    .begin_until = deadline_in_ms(BEGIN_MS),
                                    .old_left_ms = OLD_MS,
                                    .meanwhile = meanwhile,
                                    .app = app};
    *asked = 0;
    struct address *sample = malloc(CANARY_SAMPLE_MAX * sizeof *sample);
    if (!sample) {
        fault_set(fault, "out of memory");
        return false;
    }
    size_t count = canary_sample(canary, sample);
    bool well = sentinels_fare(&comparison, fault);
    for (size_t i = 0; i < count && well; i++)
        well = fares_as_before(&comparison, &sample[i], true, fault);
    free(sample);
    *asked = comparison.asked;
    return well;
}
