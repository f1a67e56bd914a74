#include "milter/inspect_mysql.h"

#include <stdio.h>
#include <string.h>

#include "db/mysql_inspect.h"
#include "milter/inspect_watch.h"
#include "shared/text.h"

/* Connecting is up to four exchanges of at most mysql_connect_timeout, unless a server dribbles. */
enum { CONNECT_STEPS = 4, HOST_S = 20 };

struct host_visit {
    struct inspect_report *report;
    struct judge judge;
    const struct mysql_table *table;
    const struct mysql_host *host;
    const struct mysql_statement *statement;
    struct mysql_inspect *inspect;
    struct probes *probes;
    int64_t best_us; /* of the queries; -1: none was made */
};

/* The host is good for nothing more, or the query is. */
static void tell_trouble(struct host_visit *visit, const struct mysql_trouble *trouble,
                         const struct fault *why)
{
    struct fault named = *why;
    fault_within(&named, "%s", visit->host->text);
    judge_trouble(&visit->judge, trouble, named.text);
    visit->report->unasked |= trouble->class == MYSQL_ERROR_SERVER;
}

/* False when it has failed. */
static bool ask_all(struct host_visit *visit)
{
    struct probes *probes = visit->probes;
    for (size_t i = 0; i < probes->count; i++) {
        struct probe *probe = &probes->probe[i];
        struct mysql_trouble trouble;
        struct finding finding;
        int64_t us;
        mysql_inspect_ask(visit->inspect, probe->key, &us, &trouble, &finding);
        probe->answer = finding.answer;
        bool hostile = probe->kind == PROBE_ACCENT || probe->kind == PROBE_SPACE;
        if (finding.answer == UNAVAILABLE && !(hostile && trouble.class == MYSQL_ERROR_KEY)) {
            tell_trouble(visit, &trouble, &finding.why);
            return false;
        }
        if (us > 0 && (visit->best_us < 0 || us < visit->best_us))
            visit->best_us = us;
    }
    return true;
}

/* What would not be told is no finding, but is not hidden either. */
static void note_unless(struct host_visit *visit, bool done, const char *what,
                        const struct fault *fault)
{
    if (!done)
        inspect_note(visit->report, "%s: %s could not be looked at: %s", visit->host->text, what,
                     fault->text);
}

/* For a table none of whose keys were asked for: one of its `domain` list. */
static const char *find_any_key(const struct host_visit *visit, char key[], size_t size)
{
    for (size_t i = 0; i < visit->probes->count; i++)
        if (mysql_inspect_applies(visit->inspect, visit->probes->probe[i].key))
            return visit->probes->probe[i].key;
    for (size_t i = 0; i < visit->table->query.domain_count; i++) {
        snprintf(key, size, "rcpt-milter-check@%s", visit->table->query.domains[i]);
        if (mysql_inspect_applies(visit->inspect, key))
            return key;
    }
    return NULL;
}

static void look_at_plan_for(struct host_visit *visit, const char *key)
{
    struct fault fault = {""};
    note_unless(visit, mysql_inspect_plan(visit->inspect, &visit->judge, key, &fault),
                "the use of indexes", &fault);
}

/* With the keys of those who are there, if anybody is: of a part of the query that finds nothing, a
 * server may notice that while it plans, and then it has no plan for it. */
static void look_at_plan(struct host_visit *visit)
{
    const struct probes *probes = visit->probes;
    char room[ADDRESS_KEY_MAX];
    const char *key = find_any_key(visit, room, sizeof room);
    bool explained = false;
    if (!key)
        inspect_note(visit->report, "no key was found that its query is for, so it was not made");
    if (!key || !visit->statement->is_select || !visit->statement->uses_key)
        return;
    for (size_t i = 0; i < probes->count; i++)
        if (probes->probe[i].kind == PROBE_SENTINEL && probes->probe[i].answer == FOUND) {
            look_at_plan_for(visit, probes->probe[i].key);
            explained = true;
        }
    if (!explained)
        look_at_plan_for(visit, key);
}

static void look_at_network(struct host_visit *visit)
{
    struct fault fault = {""};
    const struct mysql_source *source = &visit->table->source;
    bool encrypted = false;
    if (judge_is_local(visit->host) || !(source->password || source->option_file))
        return;
    bool known = mysql_inspect_is_encrypted(visit->inspect, &encrypted, &fault);
    note_unless(visit, known, "the encryption", &fault);
    if (known && !encrypted)
        inspect_find(visit->report, "hosts",
                     "%s is asked over the network without TLS, so anybody on the way can read the "
                     "lookups and change the answers: set tls_CAfile and tls_verify_cert = yes in "
                     "this file, or use a tunnel",
                     visit->host->text);
}

static void look_at_time(struct host_visit *visit)
{
    int64_t limit_ms = visit->report->settings->lookup_deadline_ms / 10;
    if (visit->best_us > limit_ms * 1000)
        inspect_find(visit->report, "query",
                     "slow: of the lookups made on %s the fastest took more than a tenth of "
                     "lookup_deadline (%lld ms); under load there will not be time for all. See "
                     "what EXPLAIN says of the query",
                     visit->host->text, (long long)limit_ms);
}

static void look_at_host(struct host_visit *visit)
{
    struct fault fault = {""};
    unsigned folded = 0;
    if (!ask_all(visit))
        return;
    look_at_time(visit);
    look_at_plan(visit);
    note_unless(visit, mysql_inspect_grants(visit->inspect, &visit->judge, &fault),
                "the user's rights", &fault);
    look_at_network(visit);
    note_unless(
        visit,
        mysql_inspect_collations(visit->inspect, &visit->judge, visit->statement, &folded, &fault),
        "the collations", &fault);
    bool for_all =
        visit->statement->uses_key && probes_judge_catch_all(visit->probes, visit->report);
    if (visit->statement->uses_key && !for_all && folded == 0)
        probes_judge_folding(visit->probes, visit->report);
}

static void visit_host(struct host_visit *visit)
{
    const struct settings *settings = visit->report->settings;
    const struct mysql_timeouts timeouts = {
        .connect_s = (unsigned)(settings->mysql_connect_timeout_ms / 1000),
        .query_s = (unsigned)(settings->mysql_query_timeout_ms / 1000)};
    struct mysql_trouble trouble;
    struct fault fault = {""};
    inspect_watch_begin(timeouts.connect_s * CONNECT_STEPS + HOST_S);
    visit->inspect = mysql_inspect_open(visit->table, visit->host, &timeouts, &trouble, &fault);
    if (visit->inspect) {
        inspect_watch_socket(mysql_inspect_socket(visit->inspect));
        look_at_host(visit);
        inspect_watch_socket(-1);
    } else {
        tell_trouble(visit, &trouble, &fault);
    }
    mysql_inspect_close(visit->inspect);
    inspect_watch_end();
}

/* A sentinel that one host has and another has not. */
static void judge_difference(struct inspect_report *report, const struct probes *first,
                             const char *first_host, const struct probes *second,
                             const char *second_host)
{
    for (size_t i = 0; i < first->count; i++) {
        enum answer a = first->probe[i].answer, b = second->probe[i].answer;
        if (first->probe[i].kind != PROBE_SENTINEL || a == b || a == UNAVAILABLE ||
            b == UNAVAILABLE)
            continue;
        inspect_find(report, "hosts",
                     "%s has %s, and %s has not: is one of them behind, or another database? Take "
                     "it out of hosts until they agree",
                     a == FOUND ? first_host : second_host, first->probe[i].key,
                     a == FOUND ? second_host : first_host);
        return;
    }
}

static void visit_hosts(struct inspect_report *report, const struct mysql_table *table,
                        const struct mysql_statement *statement, struct probes *probes)
{
    struct probes before;
    const char *before_host = NULL;
    for (size_t i = 0; i < table->source.host_count; i++) {
        const struct mysql_host *host = &table->source.hosts[i];
        struct host_visit visit = {.report = report,
                                   .judge = inspect_judge(report),
                                   .table = table,
                                   .host = host,
                                   .statement = statement,
                                   .probes = probes,
                                   .best_us = -1};
        probes_forget(probes);
        visit_host(&visit);
        if (before_host)
            judge_difference(report, &before, before_host, probes, host->text);
        probes_gather(probes);
        if (visit.best_us >= 0) {
            before = *probes;
            before_host = host->text;
        }
    }
}

void inspect_mysql(struct inspect_report *report, const char *path, struct probes *probes)
{
    struct mysql_statement statement;
    struct fault fault = {""};
    struct mysql_table *table = mysql_table_read(path, &fault);
    if (!table) {
        report->misconfigured = true;
        probes_forget(probes);
        probes_gather(probes);
        inspect_find(report, NULL, "%s", fault.text);
        return;
    }
    table->max_replica_lag_s = report->settings->max_replica_lag_s;
    if (mysql_statement_read(table->query.statement, &statement)) {
        struct judge judge = inspect_judge(report);
        judge_statement(&judge, &statement);
        visit_hosts(report, table, &statement, probes);
    }
    mysql_table_free(table);
}
