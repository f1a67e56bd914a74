#include "config/reply_setting.h"

#include <string.h>
#include <strings.h>

#include "shared/text.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool reply_code_is_valid(const char *code, size_t length)
{
    /* RFC 5321 4.2: Reply-code = %x32-35 %x30-35 %x30-39. */
    return length == 3 && (code[0] == '4' || code[0] == '5') && code[1] >= '0' && code[1] <= '5' &&
           is_digit(code[2]);
}

/* One to three digits without a leading zero; how many bytes, 0 for none. */
static size_t subcode_length(const char *bytes, size_t length)
{
    size_t digits = 0;
    while (digits < length && digits < 4 && is_digit(bytes[digits]))
        digits++;
    if (digits == 0 || digits > 3 || (digits > 1 && bytes[0] == '0'))
        return 0;
    return digits;
}

bool reply_enhanced_is_valid(const char *enhanced, size_t length)
{
    /* RFC 3463 2: class 2, 4 or 5; subject and detail of one to three digits. */
    if (length < 5 || enhanced[1] != '.' ||
        (enhanced[0] != '2' && enhanced[0] != '4' && enhanced[0] != '5'))
        return false;
    size_t subject = subcode_length(enhanced + 2, length - 2);
    size_t dot = 2 + subject;
    if (subject == 0 || dot + 1 >= length || enhanced[dot] != '.')
        return false;
    size_t detail = subcode_length(enhanced + dot + 1, length - dot - 1);
    return detail > 0 && dot + 1 + detail == length;
}

/* The length of "$$", "$name" or "${name}" at a dollar; 0 where it is none of them. */
static size_t reply_name_length(const char *dollar)
{
    static const char *const names[] = {"recipient", "domain", "role"};
    if (dollar[1] == '$')
        return 2;
    bool braces = dollar[1] == '{';
    const char *start = dollar + 1 + braces;
    size_t length = strspn(start, "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    if (braces && start[length] != '}')
        return 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == length && memcmp(names[i], start, length) == 0)
            return 1 + length + (braces ? 2 : 0);
    return 0;
}

static bool reply_text_check(const char *text, struct fault *fault)
{
    size_t length = strlen(text);
    if (length > REPLY_TEXT_MAX) {
        fault_set(fault, "the text has %zu bytes, more than %d", length, REPLY_TEXT_MAX);
        return false;
    }
    if (!text_is_utf8(text, length)) {
        fault_set(fault, "the text is not UTF-8");
        return false;
    }
    for (size_t size; *text; text += size, length -= size) {
        if (!text_is_printable(text, length, &size)) {
            fault_set(fault, "the text holds a control character");
            return false;
        }
        if (*text == '$' && (size = reply_name_length(text)) == 0) {
            fault_set(fault,
                      "\"%.20s\" is not $recipient, $domain, $role or $$ (which is a dollar)",
                      text);
            return false;
        }
    }
    return true;
}

static bool reply_parts_check(const char *code, size_t code_length, const char *enhanced,
                              size_t enhanced_length, struct fault *fault)
{
    if (!reply_code_is_valid(code, code_length)) {
        fault_set(fault, "\"%.*s\" is neither \"pass\" nor a reply code 4xx or 5xx",
                  code_length > 20 ? 20 : (int)code_length, code);
        return false;
    }
    if (!reply_enhanced_is_valid(enhanced, enhanced_length)) {
        fault_set(fault,
                  "after %.3s there must be an enhanced status code such as %c.1.1, not \"%.*s\"",
                  code, code[0], enhanced_length > 20 ? 20 : (int)enhanced_length, enhanced);
        return false;
    }
    if (enhanced[0] != code[0]) {
        fault_set(fault,
                  "the reply code %.3s and the enhanced status code %.*s contradict each other",
                  code, (int)enhanced_length, enhanced);
        return false;
    }
    return true;
}

bool reply_setting_parse(const char *text, struct reply_setting *setting, struct fault *fault)
{
    *setting = (struct reply_setting){0};
    if (text_same_word(text, "pass")) {
        setting->pass = true;
        return true;
    }
    const char *code = text, *blank = " ";
    size_t code_length = strcspn(code, blank);
    const char *enhanced = code + code_length + strspn(code + code_length, blank);
    size_t enhanced_length = strcspn(enhanced, blank);
    const char *rest = enhanced + enhanced_length + strspn(enhanced + enhanced_length, blank);
    if (code_length == 4 && strncasecmp(code, "pass", 4) == 0) {
        fault_set(fault, "nothing may follow \"pass\"");
        return false;
    }
    if (!reply_parts_check(code, code_length, enhanced, enhanced_length, fault) ||
        !reply_text_check(rest, fault))
        return false;
    memcpy(setting->code, code, code_length);
    memcpy(setting->enhanced, enhanced, enhanced_length);
    memcpy(setting->text, rest, strlen(rest));
    return true;
}
