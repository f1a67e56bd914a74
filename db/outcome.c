#include "db/outcome.h"

#include <string.h>

#include "shared/text.h"

static const char format_tag[] = "rm1";
enum { NUMBER_DIGITS = 19 }; /* of INT64_MAX */

static const char standing_letters[] = {
    [STANDING_KNOWN] = 'K',
    [STANDING_ABSENT] = 'A',
    [STANDING_FOREIGN] = 'F',
    [STANDING_OVERRIDE] = 'O',
};

static char standing_letter(enum standing standing)
{
    return standing < sizeof standing_letters ? standing_letters[standing] : '\0';
}

static enum standing standing_of(char letter)
{
    for (size_t i = 0; letter && i < sizeof standing_letters; i++)
        if (standing_letters[i] == letter)
            return (enum standing)i;
    return STANDING_UNAVAILABLE;
}

size_t outcome_encode(const struct outcome *outcome, const struct digest *key,
                      char text[OUTCOME_TEXT_MAX])
{
    char hex[DIGEST_HEX + 1], letter = standing_letter(outcome->standing);
    struct text line = text_on(text, OUTCOME_TEXT_MAX);
    const struct absence *absence = &outcome->absence;
    if (!letter || outcome->verified <= 0)
        return 0;
    if (outcome->standing == STANDING_ABSENT && (absence->since <= 0 || absence->asked == 0))
        return 0;
    digest_to_hex(key, hex);
    text_addf(&line, "%s %s %c %lld", format_tag, hex, letter, (long long)outcome->verified);
    const struct reply_setting *reply = &outcome->reply;
    if (outcome->standing == STANDING_ABSENT)
        text_addf(&line, " %lld %u", (long long)absence->since, absence->asked);
    else if (outcome->standing == STANDING_OVERRIDE && reply->pass)
        text_add(&line, " pass");
    else if (outcome->standing == STANDING_OVERRIDE)
        text_addf(&line, " %s %s%s%s", reply->code, reply->enhanced, reply->text[0] ? " " : "",
                  reply->text);
    return line.overflow ? 0 : line.length;
}

/* Moves past `word` and one space, or past `word` at the end of the line. */
static bool skip_word(char **at, const char *word)
{
    size_t length = strlen(word);
    if (strncmp(*at, word, length) != 0 || ((*at)[length] != ' ' && (*at)[length] != '\0'))
        return false;
    *at += length + ((*at)[length] == ' ');
    return true;
}

/* 1 to `most`. */
static bool take_number(char **at, int64_t most, int64_t *number)
{
    char digits[NUMBER_DIGITS + 1];
    size_t length = strcspn(*at, " ");
    uint64_t value;
    if (length > NUMBER_DIGITS)
        return false;
    memcpy(digits, *at, length);
    digits[length] = '\0';
    if (!text_to_number(digits, (uint64_t)most, &value) || value == 0)
        return false;
    *number = (int64_t)value;
    return skip_word(at, digits);
}

static bool take_absence(char **at, struct absence *absence)
{
    int64_t asked;
    if (!take_number(at, INT64_MAX, &absence->since) || !take_number(at, ABSENCE_ASKED_MAX, &asked))
        return false;
    absence->asked = (unsigned)asked;
    return true;
}

static bool line_read(char *at, const char *hex, struct outcome *outcome)
{
    if (!skip_word(&at, format_tag) || !skip_word(&at, hex))
        return false;
    char letter[2] = {*at, '\0'};
    outcome->standing = standing_of(letter[0]);
    if (outcome->standing == STANDING_UNAVAILABLE || !skip_word(&at, letter) ||
        !take_number(&at, INT64_MAX, &outcome->verified))
        return false;
    if (outcome->standing == STANDING_ABSENT)
        return take_absence(&at, &outcome->absence);
    return outcome->standing != STANDING_OVERRIDE || reply_setting_parse(at, &outcome->reply, NULL);
}

bool outcome_decode(const char *bytes, size_t length, const struct digest *key,
                    struct outcome *outcome)
{
    char line[OUTCOME_TEXT_MAX], again[OUTCOME_TEXT_MAX], hex[DIGEST_HEX + 1];
    struct outcome read = {.standing = STANDING_UNAVAILABLE};
    if (length >= sizeof line)
        return false;
    memcpy(line, bytes, length);
    line[length] = '\0';
    digest_to_hex(key, hex);
    if (!line_read(line, hex, &read))
        return false;
    /* What is left of "strict": a value has one form, the one we write. A second space, a leading
     * zero, a NUL or something after the end is another form. */
    if (outcome_encode(&read, key, again) != length || memcmp(again, bytes, length) != 0)
        return false;
    outcome->standing = read.standing;
    outcome->verified = read.verified;
    outcome->absence = read.absence;
    outcome->reply = read.reply;
    return true;
}

const char *standing_name(enum standing standing)
{
    static const char *const names[] = {
        [STANDING_UNAVAILABLE] = "unavailable", [STANDING_KNOWN] = "known",
        [STANDING_ABSENT] = "absent",           [STANDING_FOREIGN] = "foreign",
        [STANDING_OVERRIDE] = "override",       [STANDING_UNCHECKED] = "unchecked",
    };
    return standing < sizeof names / sizeof names[0] ? names[standing] : names[0];
}

const char *tier_name(enum tier tier)
{
    static const char *const names[] = {
        [TIER_NONE] = "nobody",           [TIER_PROCESS_CACHE] = "process-cache",
        [TIER_MEMCACHE] = "memcached",    [TIER_DIRECTORY] = "directory",
        [TIER_STALE] = "memcached-stale", [TIER_KNOWN_GOOD] = "known-good",
    };
    return tier < sizeof names / sizeof names[0] ? names[tier] : names[0];
}
