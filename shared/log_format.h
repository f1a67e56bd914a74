/*
 * log_format - one log entry in its forms: a line of text, a JSON object, the fields of systemd's
 * journal. Pure, any thread.
 *
 * Whatever bytes a client sent, each form is valid UTF-8 in one line, and each value is cut to fit,
 * so that what comes after it is always there. In all of them a byte that is no UTF-8 is written
 * \xNN; what controls is written \xNN in text and \uNNNN in JSON.
 */
#ifndef SHARED_LOG_FORMAT_H
#define SHARED_LOG_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "shared/text.h"

/* The order matters: a threshold lets through its own level and those before it. */
enum log_level { LEVEL_ERROR, LEVEL_WARNING, LEVEL_INFO, LEVEL_DEBUG };

enum log_form { LOG_TEXT = 0, LOG_JSON };

/* How a field stands in a line of text. */
enum log_style {
    LOG_IN_MESSAGE = 0, /* not at all: the message has it */
    LOG_WORD,           /* name=value; our own words only */
    LOG_ADDRESS,        /* name=<value>; an angle bracket in it is written \xNN */
    LOG_SENTENCE,       /* name="value"; a quote in it becomes an apostrophe */
    LOG_SECONDS         /* name=12s; a number in JSON */
};

struct log_field {
    const char *name;  /* a-z and _ */
    const char *value; /* any bytes; a number where the style says so */
    enum log_style style;
};

struct log_entry {
    int64_t wall_ms; /* since 1970 */
    enum log_level level;
    const char *event; /* what kind of entry it is, one word */
    const char *message;
    const struct log_field *fields;
    size_t field_count; /* at most LOG_FIELDS_MAX */
};

enum {
    LOG_FIELDS_MAX = 16,
    LOG_NAME_MAX = 32, /* bytes of a field's name, with the NUL */
    LOG_VALUE_MAX =
        512, /* bytes of a field as it is written; a longer one is cut, and ends so: ... */
    LOG_MESSAGE_MAX = 4000, /* the same of a message */
    LOG_RECORD_MAX = 24576  /* bytes that any entry fits into in any form, with the NUL */
};

/* "warning: message; name=value ..." without the program and the end of the line. */
void log_format_text(const struct log_entry *entry, struct text *line);

/* {"time":"2026-11-20T20:00:00.123Z","level":"info","program":"rcpt-milter","event":"recipient",
 * "message":"...","name":"value",...} in one line. */
void log_format_json(const struct log_entry *entry, const char *program, struct text *line);

/*
 * NAME=value, each ended by a NUL: SYSLOG_IDENTIFIER, SYSLOG_FACILITY, PRIORITY, MESSAGE (in the
 * form asked for), RCPT_MILTER_EVENT, and each field as RCPT_MILTER_ and its name in capitals.
 * `facility` is a LOG_* constant of <syslog.h>.
 */
void log_format_journal(const struct log_entry *entry, enum log_form form, const char *program,
                        int facility, struct text *record);

/* LOG_ERR, LOG_WARNING, LOG_INFO or LOG_DEBUG of <syslog.h>. */
int log_priority(enum log_level level);

#endif
