/* The input is a cached value. It belongs to the key whose digest is 32 zeros. */
#include "tests/fuzz/fuzz.h"

#include "db/outcome.h"

enum { NOW = 1700000000 };

static const struct digest our_key, other_key = {{1}};

static bool outcomes_equal(const struct outcome *a, const struct outcome *b)
{
    return a->standing == b->standing && a->verified == b->verified &&
           a->absence.since == b->absence.since && a->absence.asked == b->absence.asked &&
           a->reply.pass == b->reply.pass && strcmp(a->reply.code, b->reply.code) == 0 &&
           strcmp(a->reply.enhanced, b->reply.enhanced) == 0 &&
           strcmp(a->reply.text, b->reply.text) == 0;
}

static void check_decoded(struct input input, const struct outcome *outcome)
{
    char text[OUTCOME_TEXT_MAX];
    assert(outcome->standing != STANDING_UNAVAILABLE && outcome->standing != STANDING_UNCHECKED);
    assert(outcome->verified > 0);
    assert(outcome_encode(outcome, &our_key, text) == input.length);
    assert(memcmp(text, input.bytes, input.length) == 0);

    struct outcome other;
    assert(!outcome_decode(input.bytes, input.length, &other_key, &other));
    for (size_t cut = 0; cut < input.length; cut++) /* a shorter text is another one, or none */
        if (outcome_decode(input.bytes, cut, &our_key, &other))
            assert(!outcomes_equal(outcome, &other));
}

/* What may be cached comes back as it was: an override that is lost would be a recipient refused.
 */
static void check_override(const char *reply)
{
    struct outcome outcome = {.standing = STANDING_OVERRIDE, .verified = NOW}, again = {0};
    char text[OUTCOME_TEXT_MAX];
    if (!reply_setting_parse(reply, &outcome.reply, NULL))
        return;
    size_t length = outcome_encode(&outcome, &our_key, text);
    assert(length > 0 && length < OUTCOME_TEXT_MAX && is_clean(text));
    assert(outcome_decode(text, length, &our_key, &again));
    assert(outcomes_equal(&outcome, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {(const char *)data, size};
    struct outcome outcome, untouched;
    memset(&outcome, 'x', sizeof outcome);
    memset(&untouched, 'x', sizeof untouched);
    if (outcome_decode(input.bytes, input.length, &our_key, &outcome))
        check_decoded(input, &outcome);
    else
        assert(memcmp(&outcome, &untouched, sizeof outcome) == 0);

    char *reply = input_string(input);
    check_override(reply);
    free(reply);
    return 0;
}
