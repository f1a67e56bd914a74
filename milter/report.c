#include "milter/report.h"

#include <string.h>

#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/log.h"
#include "shared/text.h"

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

/* An address as a log names it: in the angle brackets it may already have. */
static void add_address(struct text *line, const char *label, const char *address)
{
    if (!address)
        address = "";
    text_addf(line, address[0] == '<' ? " %s%s" : " %s<%s>", label, address);
}

/* A sentence in quotes; its own quotes become apostrophes so that the field ends where it ends. */
static void add_quoted(struct text *line, const char *label, const char *sentence)
{
    text_addf(line, " %s=\"", label);
    for (; *sentence; sentence++)
        text_add_char(line, *sentence == '"' ? '\'' : *sentence);
    text_add_char(line, '"');
}

static void add_evidence(struct text *line, const struct check_result *result)
{
    if (!result->asked)
        return;
    text_addf(line, " evidence=%s", tier_name(result->outcome.tier));
    if (result->outcome.verified > 0)
        text_addf(line, " age=%llds", (long long)(clock_wall_s() - result->outcome.verified));
}

void report_recipient(const struct settings *settings, const struct check_request *request,
                      const struct check_result *result)
{
    const struct reply *reply = &result->reply;
    if ((reply->pass && !settings->log_known) || !log_enabled(LEVEL_INFO))
        return;

    char buffer[LOG_LINE_MAX];
    struct text line = text_on(buffer, sizeof buffer);
    text_addf(&line, "%s: %s: RCPT from %s[%s]:",
              request->queue_id && *request->queue_id ? request->queue_id : "NOQUEUE",
              reply->pass ? "pass" : "reject", or_unknown(request->client_name),
              or_unknown(request->client_address));
    if (!reply->pass)
        text_addf(&line, " %s %s %s;", reply->code, reply->enhanced, reply->text);
    add_address(&line, "from=", request->sender);
    add_address(&line, "to=", result->recipient);
    text_addf(&line, " role=%s", role_name(result->role));
    add_quoted(&line, "verdict", result->verdict.row->name);
    add_evidence(&line, result);
    if (result->verdict.interlock != INTERLOCK_NONE)
        add_quoted(&line, "held", interlock_name(result->verdict.interlock));
    if (result->outcome.why.text[0] != '\0')
        add_quoted(&line, "why", result->outcome.why.text);
    log_info("%s", buffer);
}

void report_trace(const struct check_request *request, const struct trace *trace)
{
    const char *line = trace->bytes;
    while (*line) {
        size_t length = strcspn(line, "\n");
        log_info("trace [%s] %.*s", or_unknown(request->client_address), (int)length, line);
        line += length + (line[length] == '\n');
    }
}
