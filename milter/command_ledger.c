#include "milter/command_ledger.h"

#include <inttypes.h>
#include <string.h>

#include "config/duration.h"
#include "shared/clock.h"

struct listing {
    const struct settings *settings;
    FILE *out;
    bool json;
    bool first; /* nothing was printed yet */
    int64_t now;
};

/* What the ledger holds is printable; quotes and backslashes are all there is to escape. */
static void print_json_string(FILE *out, const char *name, const char *value)
{
    fprintf(out, "\"%s\": \"", name);
    for (; *value; value++)
        fprintf(out, *value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
    fputc('"', out);
}

static void begin_object(struct listing *listing)
{
    fputs(listing->first ? "\n{" : ",\n{", listing->out);
    listing->first = false;
}

/* When a primary will bounce it, if the directory still says so: seconds from now; -1: never. */
static int64_t escalates_in_s(const struct listing *listing, const struct ledger_waiting *waiting)
{
    int64_t after_s = listing->settings->escalate_after_s;
    if (after_s == 0)
        return -1;
    int64_t left_s = waiting->absence.since + after_s - listing->now;
    return left_s > 0 ? left_s : 0;
}

static void print_span(struct listing *listing, const char *label, int64_t seconds)
{
    char text[DURATION_TEXT_MAX];
    duration_print((seconds > 60 ? seconds / 60 * 60 : seconds) * 1000, text, sizeof text);
    fprintf(listing->out, "%s%s", label, text);
}

static bool print_waiting(void *context, const struct ledger_waiting *w)
{
    struct listing *listing = context;
    FILE *out = listing->out;
    int64_t escalates_s = escalates_in_s(listing, w);
    if (listing->json) {
        begin_object(listing);
        print_json_string(out, "recipient", w->recipient);
        fprintf(out,
                ", \"first\": %" PRId64 ", \"last\": %" PRId64 ", \"count\": %" PRIu32
                ", \"absent_since\": %" PRId64 ", \"escalates_in\": %" PRId64 ", ",
                w->first, w->last, w->count, w->absence.since, escalates_s);
        print_json_string(out, "sender", w->sender);
        fputs(", ", out);
        print_json_string(out, "client", w->client);
        fputc('}', out);
        return !ferror(out);
    }
    fprintf(out, "%s", w->recipient);
    print_span(listing, " waiting for ", listing->now - w->first);
    fprintf(out, ", deferred %" PRIu32 " time%s", w->count, w->count == 1 ? "" : "s");
    if (escalates_s > 0)
        print_span(listing, ", bounces in ", escalates_s);
    else
        fputs(escalates_s < 0 ? ", never bounces here" : ", bounces with the next try", out);
    fprintf(out, ", last from <%s> by %s\n", w->sender, w->client[0] ? w->client : "unknown");
    return !ferror(out);
}

static bool print_bounced(void *context, const struct ledger_bounced *b)
{
    struct listing *listing = context;
    FILE *out = listing->out;
    if (listing->json) {
        begin_object(listing);
        print_json_string(out, "recipient", b->recipient);
        fprintf(out, ", \"at\": %" PRId64 ", \"count\": %" PRIu32 ", \"role\": \"%s\", ", b->at,
                b->count, b->role == 'p' ? "primary" : "fallback");
        print_json_string(out, "evidence", b->evidence);
        fputc('}', out);
        return !ferror(out);
    }
    fprintf(out, "%s", b->recipient);
    print_span(listing, " ", listing->now - b->at);
    fprintf(out, " ago, %" PRIu32 " time%s, as %s: %s\n", b->count, b->count == 1 ? "" : "s",
            b->role == 'p' ? "primary" : "fallback", b->evidence);
    return !ferror(out);
}

static bool listing_begin(struct command_context *context, int argc, char **argv,
                          struct listing *listing)
{
    bool json = argc == 2 && strcmp(argv[1], "--json") == 0;
    if (argc > 2 || (argc == 2 && !json)) {
        fprintf(context->out, "usage: rcptctl %s [--json]\n", argv[0]);
        return false;
    }
    *listing = (struct listing){.settings = context->snapshot->settings,
                                .out = context->out,
                                .json = json,
                                .first = true,
                                .now = clock_wall_s()};
    if (json)
        fputc('[', context->out);
    return true;
}

static int listing_end(const struct listing *listing, bool read)
{
    if (listing->json)
        fputs(listing->first ? "]\n" : "\n]\n", listing->out);
    if (!read && !listing->json)
        fputs("the ledger cannot be read: rcptctl status says why\n", listing->out);
    return read ? 0 : EXIT_UNAVAILABLE;
}

int command_waiting(struct command_context *context, int argc, char **argv)
{
    struct listing listing;
    if (!listing_begin(context, argc, argv, &listing))
        return EXIT_USAGE;
    return listing_end(&listing,
                       ledger_each_waiting(context->snapshot->ledger, print_waiting, &listing));
}

int command_bounced(struct command_context *context, int argc, char **argv)
{
    struct listing listing;
    if (!listing_begin(context, argc, argv, &listing))
        return EXIT_USAGE;
    return listing_end(&listing,
                       ledger_each_bounced(context->snapshot->ledger, print_bounced, &listing));
}
