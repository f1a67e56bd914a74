#include "milter/command_lookup.h"

#include <stdlib.h>
#include <string.h>

#include "milter/check.h"
#include "shared/clock.h"
#include "shared/text.h"

struct lookup_options {
    bool explain;
    enum lookup_mode mode;
};

static void check_as(struct command_context *context, const char *address, enum lookup_mode mode,
                     const enum role *role, struct trace *trace, struct check_result *result)
{
    struct check_request request = {.argument = address};
    struct check_manner manner = {.mode = mode, .role_is_set = role, .role = role ? *role : 0};
    check_recipient(context->snapshot, &request, &manner, trace, result);
}

static void print_field(FILE *out, const char *name, const char *value)
{
    char safe[2048];
    struct text text = text_on(safe, sizeof safe);
    text_add_printable(&text, value, strlen(value));
    fprintf(out, "  %-15s %s\n", name, safe);
}

static void print_reply(FILE *out, const char *name, const struct check_result *result)
{
    char line[REPLY_LINE_MAX + 64];
    struct text text = text_on(line, sizeof line);
    if (result->reply.pass)
        text_addf(&text, "pass (%s)", result->verdict.row->name);
    else
        text_addf(&text, "%s %s %s (%s)", result->reply.code, result->reply.enhanced,
                  result->reply.text, result->verdict.row->name);
    print_field(out, name, line);
}

static void print_answer(FILE *out, const struct check_result *result)
{
    char line[FAULT_MAX + 128];
    struct text text = text_on(line, sizeof line);
    const struct outcome *outcome = &result->outcome;
    if (!result->asked) {
        print_field(out, "answer", result->verdict.row->name);
        return;
    }
    print_field(out, "answer", standing_name(outcome->standing));
    text_add(&text, tier_name(outcome->tier));
    if (outcome->asked_now)
        text_add(&text, ", asked now");
    else if (outcome->verified > 0)
        text_addf(&text, ", verified %lld s ago", (long long)(clock_wall_s() - outcome->verified));
    if (outcome->why.text[0])
        text_addf(&text, "; %s", outcome->why.text);
    print_field(out, "evidence", line);
}

static void print_explanation(FILE *out, const struct trace *trace)
{
    const char *line = trace->bytes;
    while (*line) {
        size_t length = strcspn(line, "\n");
        fprintf(out, "  | %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

static int exit_code(const struct check_result *result)
{
    switch (result->outcome.standing) {
    case STANDING_KNOWN:
    case STANDING_UNCHECKED:
        return EXIT_EXISTS;
    case STANDING_ABSENT:
    case STANDING_FOREIGN:
        return EXIT_DOES_NOT_EXIST;
    case STANDING_OVERRIDE:
        return result->reply.pass                     ? EXIT_EXISTS
               : reply_is_5xx(&result->outcome.reply) ? EXIT_DOES_NOT_EXIST
                                                      : EXIT_UNAVAILABLE;
    case STANDING_UNAVAILABLE:
        break;
    }
    if (result->asked)
        return EXIT_UNAVAILABLE;
    return result->reply.pass ? EXIT_EXISTS : EXIT_DOES_NOT_EXIST; /* postmaster; malformed */
}

static int look_up(struct command_context *context, const struct lookup_options *options,
                   const char *address, struct trace *trace)
{
    static const enum role primary = ROLE_PRIMARY, fallback = ROLE_FALLBACK;
    struct check_result here, other;
    if (trace)
        trace_start(trace);
    check_as(context, address, options->mode, NULL, trace, &here);

    fprintf(context->out, "%s\n", here.address.key[0] ? here.address.key : "(no address)");
    print_answer(context->out, &here);
    print_field(context->out, "role here", role_name(here.role));
    check_as(context, address, options->mode, &primary, NULL, &other);
    print_reply(context->out, "as primary", &other);
    check_as(context, address, options->mode, &fallback, NULL, &other);
    print_reply(context->out, "as fallback", &other);
    check_as(context, address, LOOKUP_DIRECTORY_DOWN, &here.role, NULL, &other);
    print_reply(context->out, "directory down", &other);
    if (trace)
        print_explanation(context->out, trace);
    return exit_code(&here);
}

/* Of several addresses the gravest answer counts: unavailable, then does not exist. */
int command_lookup(struct command_context *context, int argc, char **argv)
{
    struct lookup_options options = {false, LOOKUP_CACHED};
    int addresses = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--explain") == 0)
            options.explain = true;
        else if (strcmp(argv[i], "--no-cache") == 0)
            options.mode = LOOKUP_ASK_NOW;
        else if (strncmp(argv[i], "--", 2) == 0)
            addresses = argc; /* an option we do not have */
        else
            addresses++;
    }
    if (addresses == 0 || addresses >= argc) {
        fprintf(context->out, "usage: rcptctl lookup ADDRESS... [--explain] [--no-cache]\n");
        return EXIT_USAGE;
    }
    struct trace *trace = options.explain ? malloc(sizeof *trace) : NULL;
    int worst = EXIT_EXISTS;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0)
            continue;
        int code = look_up(context, &options, argv[i], trace);
        if (code > worst)
            worst = code;
    }
    free(trace);
    return worst;
}
