#include "milter/stats.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "db/servers.h"
#include "milter/gauges.h"
#include "milter/tally.h"
#include "milter/version.h"
#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/histogram.h"
#include "shared/text.h"

#define PREFIX "rcpt_milter_"

/* Rows that begin so are samples of one metric; what follows is the label's value. */
struct family {
    const char *rows; /* their beginning */
    const char *name, *label, *help;
};

static const struct family counter_families[] = {
    {"reply_", "replies", "class", "recipients answered, by the class of the reply"},
    {"verdict_", "verdicts", "row", "recipients, by the row of the verdict table"},
    {"interlock_", "interlocks", "interlock", "5xx held back, by what held them back"},
    {"directory_", "directory_answers", "answer", "answers of the directory"},
    {NULL, NULL, NULL, NULL},
};

static const struct family gauge_families[] = {
    {"engaged_", "interlock_engaged", "interlock", "1 while it keeps every 5xx of the node back"},
    {NULL, NULL, NULL, NULL},
};

struct row {
    const char *name, *help;
    uint64_t value;
};

/* ---- plain and JSON ---- */

static void print_row(FILE *out, enum stats_form form, const struct row *row, bool first)
{
    if (form == STATS_JSON)
        fprintf(out, "%s\"%s\": %" PRIu64, first ? "{" : ", ", row->name, row->value);
    else
        fprintf(out, "%s=%" PRIu64 "\n", row->name, row->value);
}

/* ---- Prometheus ---- */

void stats_add_label_value(struct text *text, const char *value)
{
    for (; *value; value++) {
        if (*value == '\\' || *value == '"')
            text_add_char(text, '\\');
        if (*value == '\n')
            text_add(text, "\\n");
        else
            text_add_char(text, *value);
    }
}

static void print_head(FILE *out, const char *name, const char *end, const char *type,
                       const char *help)
{
    fprintf(out, "# HELP " PREFIX "%s%s %s\n# TYPE " PREFIX "%s%s %s\n", name, end, help, name, end,
            type);
}

static const struct family *family_of(const struct family *families, const char *row)
{
    for (; families->rows; families++)
        if (strncmp(row, families->rows, strlen(families->rows)) == 0)
            return families;
    return NULL;
}

static bool in_family(const struct family *family, const struct row *row)
{
    return strncmp(row->name, family->rows, strlen(family->rows)) == 0;
}

/* All of its rows, wherever they stand: the samples of a metric must stand together. */
static void print_family(FILE *out, const struct family *family, const char *end, const char *type,
                         const struct row *rows, size_t count)
{
    print_head(out, family->name, end, type, family->help);
    for (size_t i = 0; i < count; i++)
        if (in_family(family, &rows[i]))
            fprintf(out, PREFIX "%s%s{%s=\"%s\"} %" PRIu64 "\n", family->name, end, family->label,
                    rows[i].name + strlen(family->rows), rows[i].value);
}

static void print_rows(FILE *out, const struct family *families, const char *end, const char *type,
                       const struct row *rows, size_t count)
{
    for (const struct family *family = families; family->rows; family++)
        print_family(out, family, end, type, rows, count);
    for (size_t i = 0; i < count; i++) {
        if (family_of(families, rows[i].name))
            continue;
        print_head(out, rows[i].name, end, type, rows[i].help);
        fprintf(out, PREFIX "%s%s %" PRIu64 "\n", rows[i].name, end, rows[i].value);
    }
}

static void print_lookups(FILE *out)
{
    print_head(out, "lookups", "_total", "counter",
               "recipients looked up, by answer, by whose word, and in which role");
    for (int standing = 0; standing < TALLY_STANDINGS; standing++)
        for (int tier = 0; tier < TALLY_TIERS; tier++)
            for (int role = 0; role < TALLY_ROLES; role++) {
                uint64_t count =
                    tally_lookups((enum standing)standing, (enum tier)tier, (enum role)role);
                if (count > 0 || tally_is_possible((enum standing)standing, (enum tier)tier))
                    fprintf(out,
                            PREFIX "lookups_total{answer=\"%s\",tier=\"%s\",role=\"%s\"} %" PRIu64
                                   "\n",
                            standing_name((enum standing)standing), tier_name((enum tier)tier),
                            role_name((enum role)role), count);
            }
}

/* The codes of the defaults from the start, so that a rate sees their first one; others once used.
 */
static void print_codes(FILE *out)
{
    print_head(out, "reply_codes", "_total", "counter", "recipients refused, by the reply's code");
    for (unsigned code = TALLY_CODE_MIN; code < TALLY_CODE_MIN + TALLY_CODES; code++) {
        bool usual = code == 450 || code == 451 || code == 501 || code == 550;
        uint64_t count = tally_replies(code);
        if (usual || count > 0)
            fprintf(out, PREFIX "reply_codes_total{code=\"%u\"} %" PRIu64 "\n", code, count);
    }
}

static void print_server(FILE *out, const char *metric, const char *tier,
                         const struct server_state *server, unsigned value)
{
    char bytes[2 * ENDPOINT_TEXT_MAX];
    struct text name = text_on(bytes, sizeof bytes);
    stats_add_label_value(&name, server->name);
    fprintf(out, PREFIX "%s{", metric);
    if (tier)
        fprintf(out, "tier=\"%s\",", tier);
    fprintf(out, "server=\"%s\"} %u\n", bytes, value);
}

static void print_servers_up(FILE *out, const struct servers *servers, enum server_tier tier,
                             const char *metric, const char *help)
{
    print_head(out, metric, "", "gauge", help);
    for (size_t i = 0; i < servers->count; i++)
        if (servers->list[i].tier == tier)
            print_server(out, metric, NULL, &servers->list[i], servers->list[i].up);
}

static void print_servers(FILE *out, const struct servers *servers)
{
    static const char *const tiers[SERVER_TIERS] = {"directory", "memcached"};
    print_servers_up(out, servers, SERVER_DIRECTORY, "directory_up",
                     "1 while this MySQL server answers, as far as lookups can tell");
    print_servers_up(out, servers, SERVER_MEMCACHED, "memcached_up",
                     "1 while this memcached answers, as far as lookups can tell");
    print_head(out, "directory_connections", "", "gauge", "connections to this MySQL server");
    for (size_t i = 0; i < servers->count; i++)
        if (servers->list[i].tier == SERVER_DIRECTORY)
            print_server(out, "directory_connections", NULL, &servers->list[i],
                         servers->list[i].connections);
    print_head(out, "directory_lagging", "", "gauge",
               "1 while this MySQL server may lag by more than max_replica_lag");
    for (size_t i = 0; i < servers->count; i++)
        if (servers->list[i].tier == SERVER_DIRECTORY)
            print_server(out, "directory_lagging", NULL, &servers->list[i],
                         servers->list[i].lagging);
    print_head(out, "breaker_open", "", "gauge",
               "1 while this server rests after a failure, or is on trial");
    for (size_t i = 0; i < servers->count; i++)
        print_server(out, "breaker_open", tiers[servers->list[i].tier], &servers->list[i],
                     servers->list[i].breaker_open);
}

static void print_histogram(FILE *out, enum histogram histogram)
{
    const struct histogram_row *row = &histogram_rows[histogram];
    struct histogram_state state;
    uint64_t sum = 0;
    histogram_read(histogram, &state);
    print_head(out, row->name, "", "histogram", row->help);
    for (int i = 0; i < HISTOGRAM_BOUNDS; i++) {
        sum += state.count[i];
        fprintf(out, PREFIX "%s_bucket{le=\"%g\"} %" PRIu64 "\n", row->name,
                (double)histogram_bounds_us[i] / 1e6, sum);
    }
    sum += state.count[HISTOGRAM_BOUNDS];
    fprintf(out, PREFIX "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", row->name, sum);
    fprintf(out, PREFIX "%s_sum %" PRIu64 ".%06" PRIu64 "\n", row->name, state.sum_us / 1000000,
            state.sum_us % 1000000);
    fprintf(out, PREFIX "%s_count %" PRIu64 "\n", row->name, sum);
}

/* The same number each time, whatever the clocks do: who sees it change sees a restart. */
static int64_t start_time(const struct app *app)
{
    static _Atomic int64_t started;
    int64_t none = 0, now = clock_wall_s() - app_uptime_s(app);
    return atomic_compare_exchange_strong(&started, &none, now) ? now : none;
}

static void print_process(FILE *out, const struct app *app, const struct settings *settings)
{
    print_head(out, "build_info", "", "gauge", "always 1: the version, and the node's own role");
    fprintf(out, PREFIX "build_info{version=\"%s\",role=\"%s\"} 1\n", VERSION,
            role_name(settings->role));
    fprintf(out, "# HELP process_start_time_seconds when the daemon was started, since 1970\n"
                 "# TYPE process_start_time_seconds gauge\n");
    fprintf(out, "process_start_time_seconds %" PRId64 "\n", start_time(app));
}

void stats_print(struct app *app, struct snapshot *snapshot, enum stats_form form, FILE *out)
{
    struct gauges gauges;
    struct row rows[COUNTER_COUNT + GAUGE_COUNT];
    gauges_read(snapshot, &gauges);
    for (int i = 0; i < COUNTER_COUNT; i++)
        rows[i] =
            (struct row){counter_rows[i].name, counter_rows[i].help, counter_get((enum counter)i)};
    for (int i = 0; i < GAUGE_COUNT; i++)
        rows[COUNTER_COUNT + i] =
            (struct row){gauge_rows[i].name, gauge_rows[i].help, gauges.value[i]};
    if (form != STATS_PROMETHEUS) {
        for (int i = 0; i < COUNTER_COUNT + GAUGE_COUNT; i++)
            print_row(out, form, &rows[i], i == 0);
        if (form == STATS_JSON)
            fprintf(out, "}\n");
        return;
    }
    struct servers servers;
    servers_read(snapshot->resolver, &servers);
    print_rows(out, counter_families, "_total", "counter", rows, COUNTER_COUNT);
    print_lookups(out);
    print_codes(out);
    print_rows(out, gauge_families, "", "gauge", rows + COUNTER_COUNT, GAUGE_COUNT);
    print_servers(out, &servers);
    for (int i = 0; i < HISTOGRAM_COUNT; i++)
        print_histogram(out, (enum histogram)i);
    print_process(out, app, snapshot->settings);
}

void stats_reset(void)
{
    counters_reset();
    histograms_reset();
    tally_reset();
}
