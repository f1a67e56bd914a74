#include "milter/reply.h"

#include <string.h>

#include "shared/text.h"

bool reply_is_5xx(const struct reply_setting *setting)
{
    return !setting->pass && setting->code[0] == '5';
}

/* One character of UTF-8, or '?' for a byte that has no place in a reply line (RFC 5321 4.2:
 * textstring is HT and 32 to 126; RFC 6531 3.7.4 adds UTF-8). Whole or not at all. */
static void add_safely(struct text *out, const char *bytes)
{
    size_t left = strlen(bytes), size = text_plain_length(bytes, left);
    text_add_bytes(out, bytes, size); /* all of it, nearly always */
    for (bytes += size, left -= size; left > 0 && !out->overflow; bytes += size, left -= size) {
        bool printable = text_is_printable(bytes, left, &size);
        if (out->length + (printable ? size : 1) >= out->capacity)
            out->overflow = true;
        else if (printable)
            text_add_bytes(out, bytes, size);
        else
            text_add_char(out, '?');
    }
}

struct reply_name {
    const char *name;
    const char *value;
};

/* Matches `$name` or `${name}` at `text`; returns the bytes it takes, or 0. */
static size_t name_at(const char *text, const struct reply_name *names, const char **value)
{
    bool braced = text[1] == '{';
    const char *start = text + 1 + braced;
    for (; names->name; names++) {
        size_t length = strlen(names->name);
        if (strncmp(start, names->name, length) != 0)
            continue;
        if (braced ? start[length] != '}'
                   : strspn(start + length, "abcdefghijklmnopqrstuvwxyz_") != 0)
            continue;
        *value = names->value;
        return 1 + length + 2 * (size_t)braced;
    }
    return 0;
}

void reply_render(const struct reply_setting *setting, const char *recipient, const char *domain,
                  enum role role, struct reply *reply)
{
    const struct reply_name names[] = {
        {"recipient", recipient}, {"domain", domain}, {"role", role_name(role)}, {NULL, NULL}};
    *reply = (struct reply){.pass = setting->pass};
    if (setting->pass)
        return;
    memcpy(reply->code, setting->code, sizeof reply->code);
    memcpy(reply->enhanced, setting->enhanced, sizeof reply->enhanced);

    struct text out = text_on(reply->text, sizeof reply->text);
    for (const char *at = setting->text; *at;) {
        const char *value = NULL;
        size_t taken = *at == '$' ? name_at(at, names, &value) : 0;
        if (taken > 0) {
            add_safely(&out, value);
            at += taken;
            continue;
        }
        size_t plain = strcspn(at + 1, "$") + 1;
        if (at[0] == '$' && at[1] == '$') { /* `$$` is a dollar */
            at++;
            plain = 1;
        }
        char piece[REPLY_TEXT_MAX + 1];
        memcpy(piece, at, plain);
        piece[plain] = '\0';
        add_safely(&out, piece);
        at += plain;
    }
}

void reply_escape_for_libmilter(const char *text, char *escaped, size_t size)
{
    struct text out = text_on(escaped, size);
    size_t plain = strcspn(text, "%"), step;
    plain = text_plain_length(text, plain < size ? plain : size - 1);
    text_add_bytes(&out, text, plain); /* all of it, nearly always */
    text += plain;
    for (size_t left = strlen(text); left > 0; text += step, left -= step) {
        bool percent = *text == '%';
        step = text_utf8_sequence(text, left);
        if (step == 0)
            step = 1;
        if (out.length + step + percent >= out.capacity)
            return; /* half a character, or a lone '%', would be worse than a cut text */
        if (percent)
            text_add_char(&out, '%');
        text_add_bytes(&out, text, step);
    }
}
