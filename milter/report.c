#include "milter/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/log.h"
#include "shared/log_limit.h"
#include "shared/text.h"

enum {
    HEAD_MAX = 256,        /* bytes of a client's name, its address, a queue id */
    ADDRESS_TEXT_MAX = 512 /* an address whose brackets are looked at; a longer one is cut later */
};

void report_count(const struct check_result *result)
{
    counter_add(COUNT_recipients);
    counter_add(result->verdict.row->counter);
    if (result->verdict.interlock != INTERLOCK_NONE)
        counter_add(interlock_counter(result->verdict.interlock));
    counter_add(result->reply.pass             ? COUNT_reply_pass
                : result->reply.code[0] == '5' ? COUNT_reply_5xx
                                               : COUNT_reply_4xx);
}

static const char *or_unknown(const char *text)
{
    return text && *text ? text : "unknown";
}

static struct log_limit limit = LOG_LIMIT_INITIALIZER;

static bool within_limit(const struct settings *settings, const struct reply *reply)
{
    const struct settings_rate *rate = &settings->log_rate_limit;
    enum log_kind kind = reply->pass             ? LOG_KIND_PASS
                         : reply->code[0] == '5' ? LOG_KIND_5XX
                                                 : LOG_KIND_4XX;
    bool allowed =
        log_limit_allows(&limit, rate->count, rate->window_s * 1000, kind, clock_mono_ms());
    if (!allowed)
        counter_add(COUNT_log_lines_suppressed);
    return allowed;
}

void report_left_out(const struct settings *settings, bool at_once)
{
    struct log_left_out left_out;
    if (!log_limit_left_out(&limit, settings->log_rate_limit.window_s * 1000, at_once,
                            clock_mono_ms(), &left_out))
        return;
    log_warning("%" PRIu64 " lines about recipients were left out in the last %" PRId64
                " s (pass %" PRIu64 ", 4xx %" PRIu64 ", 5xx %" PRIu64 "), see log_rate_limit",
                left_out.all, left_out.for_s, left_out.lines[LOG_KIND_PASS],
                left_out.lines[LOG_KIND_4XX], left_out.lines[LOG_KIND_5XX]);
}

/* What one line is made of. */
struct line {
    struct log_field fields[LOG_FIELDS_MAX];
    size_t count;
    char sender[ADDRESS_TEXT_MAX], recipient[ADDRESS_TEXT_MAX];
    char age[24];
    char message[LOG_LINE_MAX];
};

static void add(struct line *line, const char *name, const char *value, enum log_style style)
{
    line->fields[line->count++] = (struct log_field){name, value, style};
}

/* Without the angle brackets it may have. */
static const char *bare(const char *address, char *buffer)
{
    size_t length = address ? strlen(address) : 0;
    if (length < 2 || length >= ADDRESS_TEXT_MAX || address[0] != '<' || address[length - 1] != '>')
        return address ? address : "";
    memcpy(buffer, address + 1, length - 2);
    buffer[length - 2] = '\0';
    return buffer;
}

static void add_message(struct line *line, const struct check_request *request,
                        const struct reply *reply)
{
    bool queued = request->queue_id && *request->queue_id;
    struct text text = text_on(line->message, sizeof line->message);
    text_addf(&text, "%.*s: %s: RCPT from %.*s[%.*s]", HEAD_MAX,
              queued ? request->queue_id : "NOQUEUE", reply->pass ? "pass" : "reject", HEAD_MAX,
              or_unknown(request->client_name), HEAD_MAX, or_unknown(request->client_address));
    if (queued)
        add(line, "queue_id", request->queue_id, LOG_IN_MESSAGE);
    add(line, "action", reply->pass ? "pass" : "reject", LOG_IN_MESSAGE);
    add(line, "client_name", or_unknown(request->client_name), LOG_IN_MESSAGE);
    add(line, "client_address", or_unknown(request->client_address), LOG_IN_MESSAGE);
    if (reply->pass)
        return;
    text_addf(&text, ": %s %s %s", reply->code, reply->enhanced, reply->text);
    add(line, "code", reply->code, LOG_IN_MESSAGE);
    add(line, "enhanced", reply->enhanced, LOG_IN_MESSAGE);
    add(line, "text", reply->text, LOG_IN_MESSAGE);
}

static void add_evidence(struct line *line, const struct check_result *result)
{
    const struct outcome *outcome = &result->outcome;
    if (!result->asked)
        return;
    add(line, "evidence", tier_name(outcome->tier), LOG_WORD);
    if (outcome->verified <= 0)
        return;
    snprintf(line->age, sizeof line->age, "%lld", (long long)(clock_wall_s() - outcome->verified));
    add(line, "age", line->age, LOG_SECONDS);
}

void report_recipient(const struct settings *settings, const struct check_request *request,
                      const struct check_result *result)
{
    const struct reply *reply = &result->reply;
    if ((reply->pass && !settings->log_known) || !log_enabled(LEVEL_INFO) ||
        !within_limit(settings, reply))
        return;

    struct line line;
    line.count = 0;
    add_message(&line, request, reply);
    add(&line, "from", bare(request->sender, line.sender), LOG_ADDRESS);
    add(&line, "to", bare(result->recipient, line.recipient), LOG_ADDRESS);
    add(&line, "role", role_name(result->role), LOG_WORD);
    add(&line, "verdict", result->verdict.row->name, LOG_SENTENCE);
    add_evidence(&line, result);
    if (result->verdict.interlock != INTERLOCK_NONE)
        add(&line, "held", interlock_name(result->verdict.interlock), LOG_SENTENCE);
    if (result->outcome.why.text[0] != '\0')
        add(&line, "why", result->outcome.why.text, LOG_SENTENCE);
    log_entry((struct log_entry){.level = LEVEL_INFO,
                                 .event = "recipient",
                                 .message = line.message,
                                 .fields = line.fields,
                                 .field_count = line.count});
}

void report_trace(const struct check_request *request, const struct trace *trace)
{
    const char *line = trace->bytes;
    const char *client = or_unknown(request->client_address);
    struct log_field field = {"client_address", client, LOG_IN_MESSAGE};
    while (*line) {
        char message[LOG_LINE_MAX];
        size_t length = strcspn(line, "\n");
        snprintf(message, sizeof message, "trace [%.*s] %.*s", HEAD_MAX, client, (int)length, line);
        log_entry((struct log_entry){.level = LEVEL_INFO,
                                     .event = "trace",
                                     .message = message,
                                     .fields = &field,
                                     .field_count = 1});
        line += length + (line[length] == '\n');
    }
}
