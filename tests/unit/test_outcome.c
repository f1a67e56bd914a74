#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "db/access.h"
#include "db/outcome.h"

enum { NOW = 1700000000 };

/* BLAKE2b-128 of "user@example.com"; the value in a cache that all nodes share must not change. */
#define KEY "user@example.com"
#define KEY_HEX "a5060c048fc2219ff10f83c61bf65c81"

static struct digest key_digest(const char *key)
{
    return digest_shared(key, strlen(key));
}

static size_t encode(enum standing standing, int64_t verified, const char *reply,
                     char text[OUTCOME_TEXT_MAX])
{
    struct outcome outcome = {
        .standing = standing, .verified = verified, .absence = {.since = 4, .asked = 2}};
    struct digest key = key_digest(KEY);
    if (reply)
        assert_true(reply_setting_parse(reply, &outcome.reply, NULL));
    return outcome_encode(&outcome, &key, text);
}

static bool decodes(const char *bytes, size_t length, struct outcome *outcome)
{
    struct digest key = key_digest(KEY);
    *outcome = (struct outcome){.standing = STANDING_UNAVAILABLE};
    return outcome_decode(bytes, length, &key, outcome);
}

static void check_miss(const char *text)
{
    struct outcome outcome;
    if (decodes(text, strlen(text), &outcome))
        fail_msg("\"%s\" was taken for a value", text);
    assert_int_equal(outcome.standing, STANDING_UNAVAILABLE);
    assert_int_equal(outcome.verified, 0);
}

static void the_cached_form_is_what_the_header_says(void **state)
{
    (void)state;
    char text[OUTCOME_TEXT_MAX];
    size_t length = encode(STANDING_KNOWN, NOW, NULL, text);
    assert_int_equal(length, strlen(text));
    assert_string_equal(text, "rm1 " KEY_HEX " K 1700000000");
    encode(STANDING_ABSENT, 1, NULL, text);
    assert_string_equal(text, "rm1 " KEY_HEX " A 1 4 2");
    encode(STANDING_FOREIGN, NOW, NULL, text);
    assert_string_equal(text, "rm1 " KEY_HEX " F 1700000000");
    encode(STANDING_OVERRIDE, NOW, "pass", text);
    assert_string_equal(text, "rm1 " KEY_HEX " O 1700000000 pass");
    encode(STANDING_OVERRIDE, NOW, "550 5.1.1 No such user", text);
    assert_string_equal(text, "rm1 " KEY_HEX " O 1700000000 550 5.1.1 No such user");
    encode(STANDING_OVERRIDE, NOW, "450 4.7.1", text);
    assert_string_equal(text, "rm1 " KEY_HEX " O 1700000000 450 4.7.1");
}

static void what_is_not_known_is_never_cached(void **state)
{
    (void)state;
    char text[OUTCOME_TEXT_MAX];
    assert_int_equal(encode(STANDING_UNAVAILABLE, NOW, NULL, text), 0);
    assert_int_equal(encode(STANDING_UNCHECKED, NOW, NULL, text), 0);
    assert_int_equal(encode((enum standing)99, NOW, NULL, text), 0);
    assert_int_equal(encode(STANDING_KNOWN, 0, NULL, text), 0);
    assert_int_equal(encode(STANDING_KNOWN, -5, NULL, text), 0);
    struct digest key = key_digest(KEY);
    struct outcome undated = {.standing = STANDING_ABSENT, .verified = NOW};
    assert_int_equal(outcome_encode(&undated, &key, text), 0);
}

static void what_was_encoded_decodes_to_the_same(void **state)
{
    (void)state;
    char text[OUTCOME_TEXT_MAX], longest[REPLY_TEXT_MAX + 32] = "550 5.123.123 ";
    memset(longest + strlen(longest), '%', REPLY_TEXT_MAX);
    const struct {
        enum standing standing;
        const char *reply;
    } cases[] = {
        {STANDING_KNOWN, NULL},
        {STANDING_ABSENT, NULL},
        {STANDING_FOREIGN, NULL},
        {STANDING_OVERRIDE, "pass"},
        {STANDING_OVERRIDE, "450 4.7.1"},
        {STANDING_OVERRIDE, "550 5.1.1 Niemand hei\xc3\x9ft  so: 100% $$ ${recipient} "},
        {STANDING_OVERRIDE, "554 5.7.1 pass"},
        {STANDING_OVERRIDE, longest},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct outcome outcome;
        struct reply_setting reply = {.pass = false};
        size_t length = encode(cases[i].standing, NOW - 5, cases[i].reply, text);
        assert_true(length > 0);
        assert_true(decodes(text, length, &outcome));
        assert_int_equal(outcome.standing, cases[i].standing);
        assert_int_equal(outcome.verified, NOW - 5);
        if (cases[i].reply)
            assert_true(reply_setting_parse(cases[i].reply, &reply, NULL));
        if (cases[i].standing == STANDING_ABSENT)
            assert_true(outcome.absence.since == 4 && outcome.absence.asked == 2);
        assert_int_equal(outcome.reply.pass, reply.pass);
        assert_string_equal(outcome.reply.code, reply.code);
        assert_string_equal(outcome.reply.enhanced, reply.enhanced);
        assert_string_equal(outcome.reply.text, reply.text);
    }
}

static void every_access_action_survives_the_cache(void **state)
{
    (void)state;
    const char *const values[] = {"OK", "REJECT", "DEFER costs $5", "550 5.1.1  two  blanks ",
                                  "error:4.2.1 x"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct outcome in = {.standing = STANDING_OVERRIDE, .verified = NOW}, out;
        struct digest key = key_digest(KEY);
        char text[OUTCOME_TEXT_MAX];
        assert_int_equal(access_parse(values[i], &in.reply, NULL), ACCESS_REPLY);
        size_t length = outcome_encode(&in, &key, text);
        assert_true(decodes(text, length, &out));
        assert_memory_equal(&in.reply, &out.reply, sizeof in.reply);
    }
}

static void decoding_leaves_what_is_the_callers(void **state)
{
    (void)state;
    char text[OUTCOME_TEXT_MAX];
    size_t length = encode(STANDING_KNOWN, NOW, NULL, text);
    struct digest key = key_digest(KEY);
    struct outcome outcome = {
        .tier = TIER_MEMCACHE, .interlock = INTERLOCK_SHED, .asked_now = true};
    assert_true(outcome_decode(text, length, &key, &outcome));
    assert_int_equal(outcome.tier, TIER_MEMCACHE);
    assert_int_equal(outcome.interlock, INTERLOCK_SHED);
    assert_true(outcome.asked_now);
}

static void another_keys_value_is_a_miss(void **state)
{
    (void)state;
    char text[OUTCOME_TEXT_MAX];
    struct outcome outcome = {.standing = STANDING_KNOWN, .verified = NOW};
    struct digest other = key_digest("other@example.com");
    size_t length = outcome_encode(&outcome, &other, text);
    assert_true(length > 0);
    assert_false(decodes(text, length, &outcome));
}

/* Clocks differ and step: what a time is worth is for the resolver to say. */
static void a_value_from_the_future_decodes(void **state)
{
    (void)state;
    char text[OUTCOME_TEXT_MAX];
    struct outcome outcome;
    assert_true(decodes(text, encode(STANDING_KNOWN, INT64_MAX, NULL, text), &outcome));
    assert_true(outcome.verified == INT64_MAX);
}

static void what_is_not_exactly_a_value_is_a_miss(void **state)
{
    (void)state;
    const char *const texts[] = {
        "",
        " ",
        "rm1",
        "rm1 ",
        "rm1 " KEY_HEX,
        "rm1 " KEY_HEX " K",
        "rm1 " KEY_HEX " K ",
        "rm1 " KEY_HEX " K 0",
        "rm1 " KEY_HEX " K -5",
        "rm1 " KEY_HEX " K +5",
        "rm1 " KEY_HEX " K 05",
        "rm1 " KEY_HEX " K 5 ",
        "rm1 " KEY_HEX " K 5\n",
        "rm1 " KEY_HEX " K 5\r\n",
        "rm1 " KEY_HEX " K 5x",
        "rm1 " KEY_HEX " K 0x5",
        "rm1 " KEY_HEX " K 99999999999999999999",
        "rm1 " KEY_HEX " K 18446744073709551617",
        "rm1 " KEY_HEX " K 9223372036854775808",
        "rm1 " KEY_HEX " K 5 pass",
        "rm1 " KEY_HEX " A 5 550 5.1.1 x",
        "rm1 " KEY_HEX " A 5",
        "rm1 " KEY_HEX " A 5 4",
        "rm1 " KEY_HEX " A 5 4 ",
        "rm1 " KEY_HEX " A 5 4 0",
        "rm1 " KEY_HEX " A 5 0 2",
        "rm1 " KEY_HEX " A 5 4 02",
        "rm1 " KEY_HEX " A 5 4 10000",
        "rm1 " KEY_HEX " A 5 4 2 x",
        "rm1 " KEY_HEX " A 5 -4 2",
        "rm1 " KEY_HEX " A 5 9223372036854775808 2",
        "rm1 " KEY_HEX " K 5 4 2",
        "rm1 " KEY_HEX " F 5 4 2",
        "rm1 " KEY_HEX " k 5",
        "rm1 " KEY_HEX " U 5",
        "rm1 " KEY_HEX " KK 5",
        "rm1 " KEY_HEX "  K 5",
        "rm1 " KEY_HEX " K  5",
        "rm1  " KEY_HEX " K 5",
        " rm1 " KEY_HEX " K 5",
        "rm2 " KEY_HEX " K 5",
        "RM1 " KEY_HEX " K 5",
        "rm1\t" KEY_HEX " K 5",
        "rm1 A5060C048FC2219FF10F83C61BF65C81 K 5",
        "rm1 " KEY_HEX "0 K 5",
        "rm1 " KEY_HEX " O 5",
        "rm1 " KEY_HEX " O 5 ",
        "rm1 " KEY_HEX " O 5 PASS",
        "rm1 " KEY_HEX " O 5 pass ",
        "rm1 " KEY_HEX " O 5 pass x",
        "rm1 " KEY_HEX " O 5 250 2.1.5 x",
        "rm1 " KEY_HEX " O 5 550 4.1.1 x",
        "rm1 " KEY_HEX " O 5 550 x",
        "rm1 " KEY_HEX " O 5 550  5.1.1 x",
        "rm1 " KEY_HEX " O 5 550 5.1.1 ",
        "rm1 " KEY_HEX " O 5 550 5.1.1  x",
        "rm1 " KEY_HEX " O 5 550 5.1.1 a\nb",
        "rm1 " KEY_HEX " O 5 550 5.1.1 a\xff",
        "rm1 " KEY_HEX " O 5 550 5.1.1 $nobody",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check_miss(texts[i]);
}

static void a_nul_or_a_cut_makes_it_a_miss(void **state)
{
    (void)state;
    char text[OUTCOME_TEXT_MAX];
    struct outcome outcome;
    size_t length = encode(STANDING_KNOWN, NOW, NULL, text);
    assert_false(decodes(text, length + 1, &outcome)); /* the NUL at its end */
    text[length] = 'x';
    for (size_t i = 0; i < length; i++) {
        char byte = text[i];
        text[i] = '\0';
        assert_false(decodes(text, length, &outcome));
        text[i] = byte;
    }
    for (size_t cut = 0; cut <= length - 10; cut++) /* later cuts leave an earlier time */
        assert_false(decodes(text, cut, &outcome));
    char big[2 * OUTCOME_TEXT_MAX];
    memset(big, ' ', sizeof big);
    memcpy(big, text, length);
    assert_false(decodes(big, sizeof big, &outcome));
}

static void whatever_changed_bytes_decode_to_they_encode_to_again(void **state)
{
    (void)state;
    unsigned seed = 1, taken = 0;
    struct digest key = key_digest(KEY);
    for (int round = 0; round < 200000; round++) {
        char text[OUTCOME_TEXT_MAX], again[OUTCOME_TEXT_MAX];
        struct outcome outcome;
        size_t length = encode(STANDING_OVERRIDE, NOW, "550 5.1.1 No such user", text);
        for (int changes = 1 + round % 2; changes > 0; changes--) {
            seed = seed * 1103515245 + 12345;
            text[36 + (seed >> 8) % (length - 36)] = (char)(seed >> 20);
        }
        if (!decodes(text, length, &outcome))
            continue;
        taken++;
        assert_int_equal(outcome_encode(&outcome, &key, again), length);
        assert_memory_equal(text, again, length);
    }
    assert_true(taken > 0); /* a changed letter of the text is a value still */
}

static void names_are_what_the_operator_reads(void **state)
{
    (void)state;
    assert_string_equal(standing_name(STANDING_KNOWN), "known");
    assert_string_equal(standing_name(STANDING_UNCHECKED), "unchecked");
    assert_string_equal(standing_name((enum standing)99), "unavailable");
    assert_string_equal(tier_name(TIER_PROCESS_CACHE), "process-cache");
    assert_string_equal(tier_name(TIER_STALE), "memcached-stale");
    assert_string_equal(tier_name((enum tier)99), "nobody");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cached_form_is_what_the_header_says),
        cmocka_unit_test(what_is_not_known_is_never_cached),
        cmocka_unit_test(what_was_encoded_decodes_to_the_same),
        cmocka_unit_test(every_access_action_survives_the_cache),
        cmocka_unit_test(decoding_leaves_what_is_the_callers),
        cmocka_unit_test(another_keys_value_is_a_miss),
        cmocka_unit_test(a_value_from_the_future_decodes),
        cmocka_unit_test(what_is_not_exactly_a_value_is_a_miss),
        cmocka_unit_test(a_nul_or_a_cut_makes_it_a_miss),
        cmocka_unit_test(whatever_changed_bytes_decode_to_they_encode_to_again),
        cmocka_unit_test(names_are_what_the_operator_reads),
    };
    return digest_init() ? cmocka_run_group_tests_name("outcome", tests, NULL, NULL) : 1;
}
