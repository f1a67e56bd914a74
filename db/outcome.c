#include "db/outcome.h"

#include <stddef.h>
#include <string.h>

#include "shared/text.h"

static const char format_tag[] = "rm1";
static void clear_reply(struct reply_setting *reply)
{
    reply->pass = false;
    reply->code[0] = reply->enhanced[0] = reply->text[0] = '\0';
}

void outcome_clear(struct outcome *outcome)
{
    memset(outcome, 0, offsetof(struct outcome, reply));
    clear_reply(&outcome->reply);
    fault_clear(&outcome->why);
    outcome->alias_target[0] = '\0';
}

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

static void add_reply(struct text *line, const struct reply_setting *reply)
{
    if (reply->pass)
        text_add(line, "pass");
    else
        text_addf(line, "%s %s%s%s", reply->code, reply->enhanced, reply->text[0] ? " " : "",
                  reply->text);
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
    if (outcome->standing == STANDING_ABSENT)
        text_addf(&line, " %lld %u", (long long)absence->since, absence->asked);
    if (outcome->standing == STANDING_OVERRIDE) {
        text_add_char(&line, ' ');
        add_reply(&line, &outcome->reply);
    }
    return line.overflow ? 0 : line.length;
}

/*
 * Reading is strict: a value has one form, the one we write. So each step below takes exactly the
 * bytes that outcome_encode puts there, and at the end none may be left. What is left of the line
 * has `left` bytes; a NUL among them is a byte as any other, and so never right.
 */
struct reading {
    const char *at;
    size_t left;
};

static bool take(struct reading *line, const char *bytes, size_t length)
{
    if (line->left < length || memcmp(line->at, bytes, length) != 0)
        return false;
    line->at += length;
    line->left -= length;
    return true;
}

/* 1 to `most`, without a sign and without zeros before it. */
static bool take_number(struct reading *line, int64_t most, int64_t *number)
{
    int64_t value = 0;
    for (; line->left > 0 && *line->at >= '0' && *line->at <= '9'; line->at++, line->left--) {
        int64_t digit = *line->at - '0';
        if ((value == 0 && digit == 0) || value > (most - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *number = value;
    return value > 0;
}

static bool take_absence(struct reading *line, struct absence *absence)
{
    int64_t asked;
    if (!take(line, " ", 1) || !take_number(line, INT64_MAX, &absence->since) ||
        !take(line, " ", 1) || !take_number(line, ABSENCE_ASKED_MAX, &asked))
        return false;
    absence->asked = (unsigned)asked;
    return true;
}

/* The parser of the configuration is lenient: it is the one form where writing makes the same. */
static bool take_override(struct reading *line, struct reply_setting *reply)
{
    char text[OUTCOME_TEXT_MAX], again[OUTCOME_TEXT_MAX];
    if (!take(line, " ", 1) || line->left >= sizeof text)
        return false;
    memcpy(text, line->at, line->left);
    text[line->left] = '\0';
    struct text written = text_on(again, sizeof again);
    if (!reply_setting_parse(text, reply, NULL))
        return false;
    add_reply(&written, reply);
    return written.length == line->left && take(line, again, written.length);
}

static bool line_read(struct reading *line, const struct digest *key, struct outcome *outcome)
{
    char hex[DIGEST_HEX + 1];
    digest_to_hex(key, hex);
    if (!take(line, format_tag, strlen(format_tag)) || !take(line, " ", 1) ||
        !take(line, hex, DIGEST_HEX) || !take(line, " ", 1) || line->left == 0)
        return false;
    char letter = *line->at;
    outcome->standing = standing_of(letter);
    if (outcome->standing == STANDING_UNAVAILABLE || !take(line, &letter, 1) ||
        !take(line, " ", 1) || !take_number(line, INT64_MAX, &outcome->verified))
        return false;
    if (outcome->standing == STANDING_ABSENT)
        return take_absence(line, &outcome->absence);
    return outcome->standing != STANDING_OVERRIDE || take_override(line, &outcome->reply);
}

bool outcome_decode(const char *bytes, size_t length, const struct digest *key,
                    struct outcome *outcome)
{
    struct reading line = {bytes, length};
    struct outcome read;
    outcome_clear(&read);
    if (length >= OUTCOME_TEXT_MAX || !line_read(&line, key, &read) || line.left > 0)
        return false;
    outcome->standing = read.standing;
    outcome->verified = read.verified;
    outcome->absence = read.absence;
    if (read.standing == STANDING_OVERRIDE)
        outcome->reply = read.reply;
    else
        clear_reply(&outcome->reply);
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
