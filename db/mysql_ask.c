/* The statements of a pool: what is asked on a connection, and what the answer means. */
#include "db/mysql_worker.h"

#include <string.h>

#include "shared/counters.h"
#include "shared/histogram.h"
#include "shared/log.h"

static void worker_note_statement(struct mysql_worker *worker, unsigned long rows, int64_t us)
{
    const struct finding *finding = &worker->finding;
    text_addf(&worker->notes, "%smysql %s: ", worker->notes.length > 0 ? "\n" : "",
              mysql_host_name(worker->pool, worker->host));
    /* A statement can be longer than the notes; what came of it must not be cut off. */
    size_t room = worker->notes.capacity - worker->notes.length, length = strlen(worker->sql);
    size_t kept = room > FAULT_MAX + 64 ? room - FAULT_MAX - 64 : 0;
    text_add_printable(&worker->notes, worker->sql, length < kept ? length : kept);
    if (finding->answer == UNAVAILABLE)
        text_addf(&worker->notes, "%s: %s (%.1f ms)", length > kept ? "..." : "", finding->why.text,
                  (double)us / 1000);
    else
        text_addf(&worker->notes, "%s: %lu row%s, %.1f ms", length > kept ? "..." : "", rows,
                  rows == 1 ? "" : "s", (double)us / 1000);
}

static bool worker_expand(struct mysql_worker *worker, const struct mysql_job *job)
{
    enum query_expansion expansion = query_expand(&job->table->query, job->key, mysql_client_escape,
                                                  worker->client, worker->sql, sizeof worker->sql);
    if (expansion == EXPANSION_SUPPRESSED)
        finding_set_absent(&worker->finding);
    if (expansion == EXPANSION_TOO_LONG)
        fault_set(&worker->finding.why, "mysql: %s: the statement for this key is too long",
                  job->table->query.path);
    return expansion == EXPANSION_OK;
}

/* Sets the finding and the trouble. True when the watchdog had to end it. */
static bool send_statement(struct mysql_worker *worker, const struct mysql_job *job,
                           struct mysql_trouble *trouble)
{
    struct mysql_pool *pool = worker->pool;
    unsigned long rows = 0;
    int64_t limit_ms = (int64_t)pool->timeouts.query_s * 1000 + MYSQL_WATCH_SLACK_MS;
    worker->finding = (struct finding){.answer = UNAVAILABLE};
    if (!mysql_phase_begin(worker, WORKER_ASKING, limit_ms, worker->host)) {
        fault_set(&worker->finding.why, "closing down");
        return false;
    }
    counter_add(COUNT_mysql_queries);
    int64_t begun_us = clock_mono_us();
    mysql_client_query(worker->client, job->table, job->key, worker->sql, strlen(worker->sql),
                       &rows, trouble, &worker->finding);
    int64_t us = clock_mono_us() - begun_us;
    histogram_add(HISTOGRAM_directory_query_seconds, us);
    bool shot = mysql_phase_end(worker);
    if (shot && worker->finding.answer == UNAVAILABLE) {
        trouble->class = MYSQL_ERROR_SERVER; /* whatever the library makes of a socket shut down */
        fault_within(&worker->finding.why, "no answer within %u s", pool->timeouts.query_s);
    }
    worker_note_statement(worker, rows, us);
    if (worker->finding.answer != UNAVAILABLE || trouble->class == MYSQL_ERROR_KEY ||
        trouble->class == MYSQL_ERROR_SETUP)
        mysql_host_answered(pool, worker->host, us / 1000);
    return shot;
}

/* How far is the server behind that has just found nothing? *why says it, or why nobody can tell.
 * What goes wrong here is no failure of the host: it does find those who exist. */
static enum mysql_lag ask_lag(struct mysql_worker *worker, int64_t most_s, struct fault *why)
{
    struct mysql_pool *pool = worker->pool;
    struct mysql_trouble trouble = {0};
    int64_t lag_s = 0;
    int64_t limit_ms = (int64_t)pool->timeouts.query_s * 1000 + MYSQL_WATCH_SLACK_MS;
    fault_clear(why);
    if (!mysql_phase_begin(worker, WORKER_ASKING, limit_ms, worker->host)) {
        fault_set(why, "may be behind: closing down");
        return LAG_UNKNOWN;
    }
    bool known = mysql_client_lag(worker->client, pool->source.lag_query, &lag_s, &trouble, why);
    bool shot = mysql_phase_end(worker);
    if (shot || trouble.class == MYSQL_ERROR_SERVER || trouble.class == MYSQL_ERROR_STATEMENT)
        mysql_worker_hang_up(worker);
    if (shot)
        fault_set(why, "no word on that within %u s", pool->timeouts.query_s);
    if (shot || !known) {
        fault_within(why, "may be behind");
        return LAG_UNKNOWN;
    }
    if (lag_s < -most_s) {
        fault_set(why, "may be behind: lag_query gave %lld s, so two clocks differ",
                  (long long)lag_s);
        return LAG_UNKNOWN;
    }
    bool behind = lag_s > most_s;
    fault_set(why, "is %lld s behind%s", (long long)lag_s,
              behind ? ", more than max_replica_lag" : "");
    return behind ? LAG_BEHIND : LAG_FINE;
}

/* Is the server close enough to its primary to say that somebody does not exist? */
static bool server_is_current(struct mysql_worker *worker, const struct mysql_job *job)
{
    struct mysql_pool *pool = worker->pool;
    unsigned host = worker->host;
    struct fault why, named;
    enum mysql_lag lag = ask_lag(worker, job->table->max_replica_lag_s, &why);
    mysql_host_lag(pool, host, lag, &why);
    fault_set(&named, "mysql %s %s", mysql_host_name(pool, host), why.text);
    mysql_worker_note(worker, named.text);
    if (lag == LAG_FINE)
        return true;
    worker->finding.lagging = true;
    worker->finding.why = named;
    return false;
}

/* What an error means for the others: the host, the table, or nobody. True when this job may try
 * once more. */
static bool judge(struct mysql_worker *worker, const struct mysql_job *job,
                  const struct mysql_trouble *trouble, bool old_connection)
{
    struct mysql_pool *pool = worker->pool;
    struct fault bare = worker->finding.why, named = bare;
    fault_within(&named, "mysql %s: %s", mysql_host_name(pool, worker->host),
                 job->table->query.path);
    if (trouble->class != MYSQL_NO_ERROR)
        worker->finding.why = named;

    switch (trouble->class) {
    case MYSQL_NO_ERROR:
        if (worker->finding.answer != UNAVAILABLE)
            mysql_table_answered(pool, job->table);
        return false;
    case MYSQL_ERROR_KEY:
        counter_add(COUNT_mysql_key_errors);
        worker->finding.unfit = true;
        log_debug("%s", named.text);
        return false;
    case MYSQL_ERROR_SETUP:
        counter_add(COUNT_mysql_failures);
        mysql_table_failed(pool, job->table, trouble->number, &named);
        if (mysql_error_is_of_rights(trouble->number) &&
            clock_mono_ms() - worker->connected_ms >= MYSQL_NEW_RIGHTS_MS)
            mysql_worker_hang_up(worker);
        return false;
    case MYSQL_ERROR_STATEMENT:
        counter_add(COUNT_mysql_failures);
        mysql_worker_hang_up(worker);
        return true;
    case MYSQL_ERROR_SERVER:
        break;
    }
    counter_add(COUNT_mysql_failures);
    mysql_worker_hang_up(worker);
    /* An old connection that is gone says that the server was restarted, not that it is down: a
     * new one will tell. Otherwise the host rests, and another one may know. */
    if (!(old_connection && trouble->connection_lost))
        mysql_host_failed(pool, worker->host, &bare);
    return true;
}

bool mysql_worker_ask(struct mysql_worker *worker, const struct mysql_job *job, bool kept)
{
    struct mysql_trouble trouble = {0};
    bool shot = false;
    worker->finding = (struct finding){.answer = UNAVAILABLE};
    if (worker_expand(worker, job)) {
        shot = send_statement(worker, job, &trouble);
        /* Once more, as it may have caught up after the statement and before we asked for the lag:
         * what counts is an answer from after that. */
        if (worker->finding.answer == ABSENT && job->table->max_replica_lag_s > 0 &&
            server_is_current(worker, job))
            shot = send_statement(worker, job, &trouble);
    }
    return judge(worker, job, &trouble, kept && !shot);
}
