#include "milter/command.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "config/duration.h"
#include "db/mysql_pool.h"
#include "milter/command_learn.h"
#include "milter/command_ledger.h"
#include "milter/command_lookup.h"
#include "milter/doctor.h"
#include "milter/import.h"
#include "milter/inspect.h"
#include "milter/learn.h"
#include "milter/stats.h"
#include "milter/top.h"
#include "milter/version.h"
#include "shared/idn.h"
#include "shared/text.h"

enum { HOLD_DEFAULT_MS = 3600 * 1000 };

static int usage(struct command_context *context, const char *name)
{
    const struct command *command = command_find(name);
    fprintf(context->out, "usage: rcptctl %s%s%s\n", command->name, *command->arguments ? " " : "",
            command->arguments);
    return EXIT_USAGE;
}

static void print_line(void *context, const char *text)
{
    fprintf(context, "%s\n", text);
}

/* Would this node bounce now, and if not, why? */
static void print_bounces(struct command_context *context)
{
    const struct settings *settings = context->snapshot->settings;
    struct guard_state state;
    char time[DURATION_TEXT_MAX];
    guard_describe(context->snapshot->guard, &state);
    fprintf(context->out, "bounces: ");
    if (state.held_s > 0) {
        duration_print(state.held_s * 1000, time, sizeof time);
        fprintf(context->out, "no, rcptctl hold is in force for another %s\n", time);
    } else if (state.missing[0] != '\0') {
        fprintf(context->out, "no, the sentinel recipient %s is missing from the directory\n",
                state.missing);
    } else if (state.vanishing_s > 0) {
        duration_print(state.vanishing_s * 1000, time, sizeof time);
        fprintf(context->out,
                "no, known-good recipients vanish faster than vanish_limit; at least for %s\n",
                time);
    } else if (settings->role == ROLE_PRIMARY && *settings->role_maps == '\0') {
        if (settings->escalate_after_s == 0)
            fprintf(context->out, "no, a primary bounces nobody who is merely unknown\n");
        else
            fprintf(context->out, "only who is proven absent for escalate_after, as a primary\n");
    } else if (!state.answered) {
        fprintf(context->out, "only who is proven absent, the directory has not answered yet\n");
    } else if (state.outage_s >= 0 && state.outage_s < settings->outage_patience_s) {
        fprintf(context->out, "no, the directory is out of reach, for less than outage_patience\n");
    } else {
        fprintf(context->out, "yes\n");
    }
}

static void print_known_good(struct command_context *context)
{
    struct known_good_state state;
    known_good_describe(context->snapshot->known_good, &state);
    fprintf(context->out, "known-good store: ");
    if (!state.works)
        fprintf(context->out, "DEGRADED, %s; ", state.why.text);
    fprintf(context->out,
            "%" PRIu64 " recipients, the oldest confirmed %" PRId64 " s ago, %" PRIu64 " kB\n",
            state.entries, state.oldest_s, state.file_bytes / 1024);
}

static void print_ledger(struct command_context *context)
{
    struct ledger_state state;
    ledger_describe(context->snapshot->ledger, &state);
    fprintf(context->out, "ledger: ");
    if (!state.works)
        fprintf(context->out, "DEGRADED, %s; ", state.why.text);
    fprintf(context->out, "%" PRIu64 " waiting, the first for %" PRId64 " s; %" PRIu64 " bounced\n",
            state.waiting, state.oldest_waiting_s, state.bounced);
}

static int run_status(struct command_context *context, int argc, char **argv)
{
    if (argc != 1)
        return usage(context, argv[0]);
    const struct settings *settings = context->snapshot->settings;
    bool checks = resolver_checks_recipients(context->snapshot->resolver);
    fprintf(context->out, "rcpt-milter %s, pid %ld, running for %" PRId64 " s\n", VERSION,
            (long)getpid(), app_uptime_s(context->app));
    fprintf(context->out, "configuration: %s, read %" PRId64 " s ago\n",
            app_config_path(context->app), app_loaded_s_ago(context->app));
    fprintf(context->out, "role: %s%s\n", role_name(settings->role),
            *settings->role_maps ? ", role_maps may say otherwise for a domain" : "");
    fprintf(context->out, "recipients: %s\n",
            checks ? "checked" : "NOT CHECKED, recipient_maps is empty: every one passes");
    print_bounces(context);
    mysql_pool_report(print_line, context->out);
    resolver_report(context->snapshot->resolver, print_line, context->out);
    print_known_good(context);
    print_ledger(context);
    return 0;
}

static int run_stats(struct command_context *context, int argc, char **argv)
{
    const char *option = argc == 2 ? argv[1] : "";
    bool reset = strcmp(option, "--reset") == 0;
    enum stats_form form = strcmp(option, "--json") == 0         ? STATS_JSON
                           : strcmp(option, "--prometheus") == 0 ? STATS_PROMETHEUS
                                                                 : STATS_PLAIN;
    if (argc > 2 || (argc == 2 && form == STATS_PLAIN && !reset))
        return usage(context, argv[0]);
    stats_print(context->app, context->snapshot, form, context->out);
    if (reset)
        stats_reset();
    return 0;
}

/* What has an '@' inside is an address, the rest is a domain. */
static int run_flush(struct command_context *context, int argc, char **argv)
{
    if (argc != 2)
        return usage(context, argv[0]);
    struct resolver *resolver = context->snapshot->resolver;
    struct fault fault = {{0}};
    struct address address;
    char domain[ADDRESS_DOMAIN_MAX + 1];
    bool done;
    if (strcmp(argv[1], "--all") == 0) {
        done = resolver_flush_all(resolver, &fault);
    } else if (strchr(argv[1], '@')) {
        if (address_parse(argv[1], strlen(argv[1]), &address) != ADDRESS_OK) {
            fprintf(context->out, "%s is not an address\n", argv[1]);
            return EXIT_USAGE;
        }
        done = resolver_flush_address(resolver, &address, &fault);
    } else {
        if (argv[1][0] == '-' || strlen(argv[1]) >= sizeof domain)
            return usage(context, argv[0]);
        memcpy(domain, argv[1], strlen(argv[1]) + 1);
        text_lower_ascii(domain);
        idn_to_key(domain);
        done = resolver_flush_domain(resolver, domain, &fault);
    }
    if (done)
        fprintf(context->out, "flushed %s\n", argv[1]);
    else
        fprintf(context->out, "flushed %s from this process only: %s\n", argv[1], fault.text);
    return done ? 0 : EXIT_UNAVAILABLE;
}

static int run_verbose(struct command_context *context, int argc, char **argv)
{
    uint64_t level;
    if (argc != 2 || !text_to_number(argv[1], 2, &level))
        return usage(context, argv[0]);
    app_set_verbosity(context->app, (unsigned)level);
    fprintf(context->out, "verbosity is %s\n", argv[1]);
    return 0;
}

static int run_reload(struct command_context *context, int argc, char **argv)
{
    struct fault fault = {{0}};
    bool force = argc == 2 && strcmp(argv[1], "--force") == 0;
    if (argc != 1 && !force)
        return usage(context, argv[0]);
    if (!app_request_reload(context->app, force, context->wake_main, &fault)) {
        fprintf(context->out, "%s - the old configuration stays in use\n", fault.text);
        return EXIT_CONFIG;
    }
    fprintf(context->out, "reloaded\n");
    return 0;
}

/* For how long: at least a second, so that nobody types 0 and believes. */
static int run_hold(struct command_context *context, int argc, char **argv)
{
    struct fault fault = {{0}};
    int64_t ms = HOLD_DEFAULT_MS;
    char text[DURATION_TEXT_MAX];
    if (argc > 2 || (argc == 2 && (!duration_parse(argv[1], &ms) || ms < 1000)))
        return usage(context, argv[0]);
    duration_print(ms, text, sizeof text);
    bool remembered = guard_hold(context->snapshot->guard, ms / 1000, &fault);
    fprintf(context->out, "nobody is bounced for %s, until then or rcptctl release\n", text);
    if (!remembered)
        fprintf(context->out, "%s\n", fault.text);
    return remembered ? 0 : EXIT_UNAVAILABLE;
}

static int run_release(struct command_context *context, int argc, char **argv)
{
    struct fault fault = {{0}};
    if (argc != 1)
        return usage(context, argv[0]);
    bool remembered = guard_release(context->snapshot->guard, &fault);
    fprintf(context->out, "the hold is over\n");
    if (!remembered)
        fprintf(context->out, "%s\n", fault.text);
    return remembered ? 0 : EXIT_UNAVAILABLE;
}

static const struct command rows[] = {
    {"lookup", "ADDRESS... [--explain] [--no-cache]",
     "is the recipient known, on what evidence, and what would we say?", .works_alone = true,
     .needs_snapshot = true, .run = command_lookup},
    {"check", "", "look at every map and server: what is wrong, or will be", .client = inspect_run},
    {"status", "", "how the daemon and its servers are", .needs_snapshot = true, .run = run_status},
    {"stats", "[--json | --prometheus | --reset]", "the counters and gauges",
     .needs_snapshot = true, .run = run_stats},
    {"doctor", "[--postfix DIR] [--domain NAME]...",
     "what in Postfix or the DNS would break the two promises", .client = doctor_run},
    {"flush", "ADDRESS | DOMAIN | --all", "forget what the caches hold", .needs_snapshot = true,
     .run = run_flush},
    {"hold", "[TIME]", "bounce nobody for that long (1h), whatever is known",
     .needs_snapshot = true, .run = run_hold},
    {"import-postfix", "[--postfix DIR] [--role ROLE] [--partial]",
     "print a configuration made from Postfix's", .client = import_run},
    {"learn", "[--skip N] FILE | - | --from MAP", "fill the known-good store from a list or a map",
     .needs_snapshot = true, .run = command_learn, .client = learn_run},
    {"release", "", "end a hold", .needs_snapshot = true, .run = run_release},
    {"waiting", "[--json]", "whom a primary defers because the directory does not have them",
     .needs_snapshot = true, .run = command_waiting},
    {"bounced", "[--json]", "who was refused with a 5xx, and on what evidence",
     .needs_snapshot = true, .run = command_bounced},
    {"top", "[--once]", "the daemon at a glance, again every two seconds", .client = top_run},
    {"verbose", "0 | 1 | 2", "trace: off, each lookup, the milter dialogue too",
     .run = run_verbose},
    {"reload", "[--force]", "read the configuration again", .run = run_reload},
};

const struct command *command_rows(size_t *count)
{
    *count = sizeof rows / sizeof *rows;
    return rows;
}

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}
