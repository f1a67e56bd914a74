#include "db/access.h"

#include <string.h>

#include "shared/text.h"

static const char blanks[] = " \t\r\n";

enum { WORD_MAX = 24 }; /* longer than any first word that means something */

/* What a word of access(5) comes to. */
static const struct action {
    const char *word;
    enum access_result result;
    const char *code, *enhanced; /* NULL: pass */
    const char *text;            /* where the entry has none */
} actions[] = {
    {"OK", ACCESS_REPLY, NULL, NULL, NULL},
    {"permit", ACCESS_REPLY, NULL, NULL, NULL},
    {"DISCARD", ACCESS_REPLY, NULL, NULL, NULL},
    {"REJECT", ACCESS_REPLY, "554", "5.7.1", "Access denied"},
    {"DEFER", ACCESS_REPLY, "450", "4.7.1", "Access denied"},
    {"DEFER_IF_PERMIT", ACCESS_REPLY, "450", "4.7.1", "Service unavailable"},
    {"DEFER_IF_REJECT", ACCESS_DEFER_IF_REJECT, "450", "4.7.1", "Service unavailable"},
    {"DUNNO", ACCESS_DUNNO, NULL, NULL, NULL},
    {"HOLD", ACCESS_DUNNO, NULL, NULL, NULL},
    {"FILTER", ACCESS_DUNNO, NULL, NULL, NULL},
    {"REDIRECT", ACCESS_DUNNO, NULL, NULL, NULL},
    {"BCC", ACCESS_DUNNO, NULL, NULL, NULL},
    {"PREPEND", ACCESS_DUNNO, NULL, NULL, NULL},
    {"WARN", ACCESS_DUNNO, NULL, NULL, NULL},
    {"INFO", ACCESS_DUNNO, NULL, NULL, NULL},
};

/* transport(5): what error(8) and its sibling retry do to the mail, smtpd(8) says at RCPT. */
static const struct action transports[] = {
    {"error", ACCESS_REPLY, "550", "5.1.1", "Address is undeliverable"},
    {"retry", ACCESS_REPLY, "450", "4.1.1", "Address is undeliverable"},
    {"discard", ACCESS_REPLY, NULL, NULL, NULL},
};

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

static enum access_result refuse(const char *value, struct fault *fault)
{
    fault_set(fault,
              "\"%.100s\" is no action; write OK, DUNNO, REJECT text, DEFER text, 4xx text, 5xx "
              "text or error:text",
              value);
    return ACCESS_BAD;
}

/* `rest` is [x.y.z] [text]. */
static bool make_reply(const struct action *action, const char *rest, struct reply_setting *reply,
                       struct fault *fault)
{
    char own[WORD_MAX], line[REPLY_TEXT_MAX + 64];
    const char *enhanced = action->enhanced, *after = rest;
    if (next_word(&after, own) && reply_enhanced_is_valid(own, strlen(own))) {
        own[0] = action->code[0];
        enhanced = own;
        rest = after;
    }
    size_t length = strlen(rest);
    while (length > 0 && strchr(blanks, rest[length - 1]))
        length--;

    struct text text = text_on(line, sizeof line);
    text_addf(&text, "%s %s ", action->code, enhanced);
    for (size_t i = 0; i < length;
         i++) /* in the form of a configured reply, where $ has a meaning */
        text_add(&text, rest[i] == '$' ? "$$" : (char[]){rest[i], '\0'});
    if (length == 0)
        text_add(&text, action->text);
    if (text.overflow) {
        fault_set(fault, "the text is too long, it may have %d bytes", REPLY_TEXT_MAX);
        return false;
    }
    return reply_setting_parse(line, reply, fault);
}

static enum access_result act(const struct action *action, const char *rest,
                              struct reply_setting *reply, struct fault *fault)
{
    reply->pass = !action->code && action->result == ACCESS_REPLY;
    if (action->code && !make_reply(action, rest, reply, fault))
        return ACCESS_BAD;
    return action->result;
}

static const struct action *find_action(const struct action *list, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++)
        if (text_same_word(word, list[i].word))
            return &list[i];
    return NULL;
}

/* [code] [x.y.z] [text] where there is something to say, after "error:" or "retry:". */
static enum access_result make_error(const struct action *transport, const char *rest,
                                     struct reply_setting *reply, struct fault *fault)
{
    struct action action = *transport;
    if (!action.code)
        return act(&action, rest, reply, fault);
    char word[WORD_MAX] = "";
    rest += strspn(rest, blanks);
    const char *after = rest;
    next_word(&after, word);
    if (reply_code_is_valid(word, strlen(word))) {
        action.code = word;
        action.enhanced = word[0] == '4' ? "4.1.1" : "5.1.1";
        rest = after;
    } else if (word[0] == '4' && reply_enhanced_is_valid(word, strlen(word))) {
        action.code = "450";
    }
    return act(&action, rest, reply, fault);
}

/* transport:nexthop, either of which may be empty. `REJECT: text` is a slip, and type:/path another
 * table, which may say anything. */
static enum access_result take_transport(const char *value, size_t name_length,
                                         struct reply_setting *reply, struct fault *fault)
{
    char name[WORD_MAX] = ""; /* "" too where it does not fit: a long name is none of ours */
    if (name_length < sizeof name)
        memcpy(name, value, name_length);
    const char *nexthop = value + name_length + 1;
    const struct action *transport =
        find_action(transports, sizeof transports / sizeof *transports, name);
    if (transport)
        return make_error(transport, nexthop, reply, fault);
    bool slip = find_action(actions, sizeof actions / sizeof *actions, name) ||
                reply_code_is_valid(name, strlen(name)) || *nexthop == '/';
    return slip ? refuse(value, fault) : ACCESS_DUNNO;
}

enum access_result access_parse(const char *value, struct reply_setting *reply, struct fault *fault)
{
    char word[WORD_MAX];
    *reply = (struct reply_setting){.pass = false};
    value += strspn(value, blanks);

    size_t name_length = strcspn(value, ": \t\r\n");
    if (value[name_length] == ':')
        return take_transport(value, name_length, reply, fault);
    if (is_number(value)) {
        reply->pass = true;
        return ACCESS_REPLY;
    }
    const char *rest = value;
    if (!next_word(&rest, word))
        return refuse(value, fault);
    const struct action *action = find_action(actions, sizeof actions / sizeof *actions, word);
    if (action)
        return act(action, rest, reply, fault);
    if (reply_code_is_valid(word, strlen(word))) {
        bool later = word[0] == '4';
        struct action own = {word, ACCESS_REPLY, word, later ? "4.7.1" : "5.7.1", "Access denied"};
        return act(&own, rest, reply, fault);
    }
    return refuse(value, fault);
}
