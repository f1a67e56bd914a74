#include "shared/log_format.h"

#include <string.h>
#include <syslog.h>
#include <time.h>

/* In the journal the fields may stand twice: in MESSAGE, and by themselves. */
_Static_assert(LOG_MESSAGE_MAX + 2 * LOG_FIELDS_MAX * (LOG_VALUE_MAX + LOG_NAME_MAX + 32) + 1024 <=
                   LOG_RECORD_MAX,
               "any entry fits");

int log_priority(enum log_level level)
{
    static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
    return priorities[level];
}

/* ---- values ---- */

/* Writes one character of a value, or one byte that is none, in at most 8 bytes. */
typedef void add_character(struct text *out, const char *at, size_t size, bool printable);

static void add_plain(struct text *out, const char *at, size_t size, bool printable)
{
    if (printable)
        text_add_bytes(out, at, size);
    else
        text_add_printable(out, at, size);
}

static void add_in_brackets(struct text *out, const char *at, size_t size, bool printable)
{
    if (*at == '<' || *at == '>')
        text_addf(out, "\\x%02x", *at);
    else
        add_plain(out, at, size, printable);
}

static void add_in_quotes(struct text *out, const char *at, size_t size, bool printable)
{
    if (*at == '"')
        text_add_char(out, '\'');
    else
        add_plain(out, at, size, printable);
}

static void add_json(struct text *out, const char *at, size_t size, bool printable)
{
    unsigned char first = (unsigned char)*at;
    if (*at == '"' || *at == '\\')
        text_addf(out, "\\%c", *at);
    else if (printable)
        text_add_bytes(out, at, size);
    else if (text_utf8_sequence(at, size) == 0)
        text_addf(out, "\\\\x%02x", first); /* the backslash is one of the value's */
    else if (size == 1)
        text_addf(out, "\\u%04x", first);
    else if (size == 2)
        text_addf(out, "\\u%04x", (first & 0x1fu) << 6 | ((unsigned char)at[1] & 0x3fu));
    else /* nothing above U+FFFF controls */
        text_addf(out, "\\u%04x",
                  (first & 0x0fu) << 12 | ((unsigned char)at[1] & 0x3fu) << 6 |
                      ((unsigned char)at[2] & 0x3fu));
}

/* At most `most` bytes, cut between characters. */
static void add_value(struct text *out, const char *value, size_t most, add_character *add)
{
    static const char cut[] = "...";
    size_t begin = out->length, length = strlen(value);
    while (length > 0) {
        char bytes[16]; /* the longest, U+2028 in text, is \xe2\x80\xa8 */
        struct text one = text_on(bytes, sizeof bytes);
        size_t size;
        bool printable = text_is_printable(value, length, &size);
        add(&one, value, size, printable);
        if (out->length - begin + one.length + sizeof cut - 1 > most) {
            text_add(out, cut);
            return;
        }
        text_add_bytes(out, bytes, one.length);
        value += size;
        length -= size;
    }
}

/* ---- text ---- */

static void add_text_field(struct text *line, const struct log_field *field)
{
    text_addf(line, " %s=", field->name);
    switch (field->style) {
    case LOG_IN_MESSAGE:
        break;
    case LOG_WORD:
        add_value(line, field->value, LOG_VALUE_MAX, add_plain);
        break;
    case LOG_ADDRESS:
        text_add_char(line, '<');
        add_value(line, field->value, LOG_VALUE_MAX, add_in_brackets);
        text_add_char(line, '>');
        break;
    case LOG_SENTENCE:
        text_add_char(line, '"');
        add_value(line, field->value, LOG_VALUE_MAX, add_in_quotes);
        text_add_char(line, '"');
        break;
    case LOG_SECONDS:
        text_addf(line, "%ss", field->value);
        break;
    }
}

void log_format_text(const struct log_entry *entry, struct text *line)
{
    static const char *const word[] = {"error: ", "warning: ", "", ""};
    bool first = true;
    text_add(line, word[entry->level]);
    add_value(line, entry->message, LOG_MESSAGE_MAX, add_plain);
    for (size_t i = 0; i < entry->field_count; i++) {
        if (entry->fields[i].style == LOG_IN_MESSAGE)
            continue;
        if (first)
            text_add_char(line, ';');
        first = false;
        add_text_field(line, &entry->fields[i]);
    }
}

/* ---- JSON ---- */

/* RFC 3339, with milliseconds. */
static void add_time(struct text *line, int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    text_addf(line, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900, utc.tm_mon + 1,
              utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, (int)(wall_ms % 1000));
}

static void add_member(struct text *line, const char *name, const char *value, size_t most)
{
    text_addf(line, ",\"%s\":\"", name);
    add_value(line, value, most, add_json);
    text_add_char(line, '"');
}

void log_format_json(const struct log_entry *entry, const char *program, struct text *line)
{
    static const char *const levels[] = {"error", "warning", "info", "debug"};
    text_add(line, "{\"time\":\"");
    add_time(line, entry->wall_ms);
    text_add_char(line, '"');
    add_member(line, "level", levels[entry->level], LOG_VALUE_MAX);
    add_member(line, "program", program, LOG_VALUE_MAX);
    add_member(line, "event", entry->event, LOG_VALUE_MAX);
    add_member(line, "message", entry->message, LOG_MESSAGE_MAX);
    for (size_t i = 0; i < entry->field_count; i++) {
        const struct log_field *field = &entry->fields[i];
        if (field->style == LOG_SECONDS)
            text_addf(line, ",\"%s\":%s", field->name, field->value);
        else
            add_member(line, field->name, field->value, LOG_VALUE_MAX);
    }
    text_add_char(line, '}');
}

/* ---- the journal ---- */

static void add_variable(struct text *record, const char *name, const char *value)
{
    text_add(record, "RCPT_MILTER_");
    for (; *name; name++)
        text_add_char(record, *name >= 'a' && *name <= 'z' ? (char)(*name - 'a' + 'A') : *name);
    text_add_char(record, '=');
    add_value(record, value, LOG_VALUE_MAX, add_plain);
    text_add_bytes(record, "", 1);
}

void log_format_journal(const struct log_entry *entry, enum log_form form, const char *program,
                        int facility, struct text *record)
{
    text_addf(record, "SYSLOG_IDENTIFIER=%s", program);
    text_add_bytes(record, "", 1);
    text_addf(record, "SYSLOG_FACILITY=%d", facility >> 3); /* LOG_FAC(): the journal's number */
    text_add_bytes(record, "", 1);
    text_addf(record, "PRIORITY=%d", log_priority(entry->level));
    text_add_bytes(record, "", 1);
    text_add(record, "MESSAGE=");
    if (form == LOG_JSON)
        log_format_json(entry, program, record);
    else
        log_format_text(entry, record);
    text_add_bytes(record, "", 1);
    add_variable(record, "event", entry->event);
    for (size_t i = 0; i < entry->field_count; i++)
        add_variable(record, entry->fields[i].name, entry->fields[i].value);
}
