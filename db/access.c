#include "db/access.h"

#include <string.h>

#include "shared/text.h"

static const char blanks[] = " \t\r\n";

enum { WORD_MAX = 16 }; /* longer than any first word that means something */

/* The next word and what follows its blanks; false where it does not fit, and then nothing moves.
 */
static bool next_word(const char **at, char word[WORD_MAX])
{
    size_t length = strcspn(*at, blanks);
    if (length >= WORD_MAX)
        return false;
    memcpy(word, *at, length);
    word[length] = '\0';
    *at += length + strspn(*at + length, blanks);
    return true;
}

static bool is_number(const char *value)
{
    size_t digits = strspn(value, "0123456789");
    return digits > 0 && value[digits + strspn(value + digits, blanks)] == '\0';
}

static enum access_result refuse(const char *value, const char *why, struct fault *fault)
{
    fault_set(fault,
              "\"%.100s\" %s; write OK, DUNNO, REJECT text, DEFER text, 4xx text, 5xx text or "
              "error:text",
              value, why);
    return ACCESS_BAD;
}

/* `rest` is [x.y.z] [text]. */
static enum access_result make_reply(const char *code, const char *enhanced, const char *rest,
                                     struct reply_setting *reply, struct fault *fault)
{
    char own[WORD_MAX], line[REPLY_TEXT_MAX + 64];
    const char *after = rest;
    if (next_word(&after, own) && reply_enhanced_is_valid(own, strlen(own))) {
        enhanced = own;
        rest = after;
    }
    size_t length = strlen(rest);
    while (length > 0 && strchr(blanks, rest[length - 1]))
        length--;

    struct text text = text_on(line, sizeof line);
    text_addf(&text, "%s %s ", code, enhanced);
    for (size_t i = 0; i < length;
         i++) /* in the form of a configured reply, where $ has a meaning */
        text_add(&text, rest[i] == '$' ? "$$" : (char[]){rest[i], '\0'});
    if (length == 0)
        text_add(&text, "Access denied");
    if (text.overflow) {
        fault_set(fault, "the text is too long, it may have %d bytes", REPLY_TEXT_MAX);
        return ACCESS_BAD;
    }
    return reply_setting_parse(line, reply, fault) ? ACCESS_REPLY : ACCESS_BAD;
}

static enum access_result make_error(const char *rest, struct reply_setting *reply,
                                     struct fault *fault)
{
    char enhanced[WORD_MAX];
    const char *after = rest += strspn(rest, blanks);
    bool later = next_word(&after, enhanced) && enhanced[0] == '4' &&
                 reply_enhanced_is_valid(enhanced, strlen(enhanced));
    return make_reply(later ? "450" : "550", "5.0.0", rest, reply, fault);
}

enum access_result access_parse(const char *value, struct reply_setting *reply, struct fault *fault)
{
    static const char error[] = "error:";
    char word[WORD_MAX], tag[sizeof error];
    *reply = (struct reply_setting){.pass = false};
    value += strspn(value, blanks);

    struct text prefix = text_on(tag, sizeof tag);
    text_add_bytes(&prefix, value, strnlen(value, sizeof error - 1));
    if (text_same_word(tag, error))
        return make_error(value + sizeof error - 1, reply, fault);

    const char *rest = value;
    if (!next_word(&rest, word))
        return refuse(value, "is no action", fault);
    if (text_same_word(word, "OK") || is_number(value)) {
        reply->pass = true;
        return ACCESS_REPLY;
    }
    if (text_same_word(word, "DUNNO"))
        return ACCESS_NONE;
    if (text_same_word(word, "REJECT"))
        return make_reply("554", "5.7.1", rest, reply, fault);
    if (text_same_word(word, "DEFER"))
        return make_reply("450", "4.7.1", rest, reply, fault);
    if (reply_code_is_valid(word, strlen(word)))
        return make_reply(word, word[0] == '4' ? "4.7.1" : "5.7.1", rest, reply, fault);
    return refuse(value, "is no action", fault);
}
