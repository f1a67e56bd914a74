#include "db/mysql_pool.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "db/mysql_worker.h"
#include "shared/counters.h"
#include "shared/text.h"

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mysql_pool *registry; /* registry_lock */

/* Life. */

static void pool_free(struct mysql_pool *pool)
{
    while (pool->troubles)
        mysql_table_trouble_forget(pool, pool->troubles->table);
    for (size_t i = 0; i < pool->source.host_count; i++)
        breaker_release(&pool->hosts[i].breaker);
    mysql_source_release(&pool->source);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->watch);
    pthread_cond_destroy(&pool->quiet);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

bool mysql_pool_thread(struct mysql_pool *pool, void *(*main)(void *), void *argument)
{
    /* libmilter owns TERM, INT and HUP; no signal is for a thread of ours. */
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, &attr, main, argument) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    pool->threads += started;
    return started;
}

void mysql_pool_thread_leaves(struct mysql_pool *pool)
{
    bool last = --pool->threads == 0 && pool->orphaned;
    pthread_cond_broadcast(&pool->quiet);
    pthread_mutex_unlock(&pool->lock);
    if (last)
        pool_free(pool);
}

static struct mysql_pool *pool_create(const struct mysql_table *table, unsigned places,
                                      struct mysql_timeouts timeouts)
{
    struct mysql_pool *pool = calloc(1, sizeof *pool);
    if (!pool || !mysql_source_copy(&pool->source, &table->source)) {
        free(pool);
        return NULL;
    }
    pool->timeouts = timeouts;
    pool->places = places;
    pthread_mutex_init(&pool->lock, NULL);
    clock_cond_init(&pool->work);
    clock_cond_init(&pool->watch);
    clock_cond_init(&pool->quiet);
    for (size_t i = 0; i < pool->source.host_count; i++)
        breaker_init(&pool->hosts[i].breaker, MYSQL_REST_MS, MYSQL_REST_MAX_MS);
    return pool;
}

static bool pool_start(struct mysql_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    bool started = mysql_pool_thread(pool, mysql_watchdog_main, pool);
    for (unsigned i = 0; started && i < pool->places; i++)
        started = mysql_worker_start(pool, i);
    pthread_mutex_unlock(&pool->lock);
    return started;
}

/* The threads end, or are left to end by themselves. */
static void pool_stop(struct mysql_pool *pool)
{
    unsigned s = pool->timeouts.connect_s > pool->timeouts.query_s ? pool->timeouts.connect_s
                                                                   : pool->timeouts.query_s;
    struct deadline patience = deadline_in_ms((int64_t)s * 1000 + MYSQL_CONNECT_SLACK_MS);
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    for (unsigned i = 0; i < pool->places; i++) {
        struct mysql_worker *worker = pool->workers[i];
        if (worker && worker->phase == WORKER_ASKING)
            shutdown(worker->socket, SHUT_RDWR);
    }
    pthread_cond_broadcast(&pool->work);
    pthread_cond_broadcast(&pool->watch);
    while (pool->threads > 0 && clock_cond_wait(&pool->quiet, &pool->lock, patience))
        ;
    bool gone = pool->threads == 0;
    pool->orphaned = !gone;
    pthread_mutex_unlock(&pool->lock);
    if (gone)
        pool_free(pool);
}

static unsigned whole_seconds(int64_t ms)
{
    return ms < 1000 ? 1 : (unsigned)((ms + 999) / 1000);
}

/* Registry lock held. */
static struct mysql_pool *pool_find(const struct mysql_table *table, unsigned places,
                                    struct mysql_timeouts timeouts)
{
    struct mysql_pool *pool = registry;
    while (pool && (pool->places != places || pool->timeouts.connect_s != timeouts.connect_s ||
                    pool->timeouts.query_s != timeouts.query_s ||
                    !mysql_source_equal(&pool->source, &table->source)))
        pool = pool->next;
    return pool;
}

/* Nobody asks for the lag any more: what was known of it must not stay in the report for ever. */
static void forget_lag(struct mysql_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    for (size_t i = 0; i < pool->source.host_count; i++)
        pool->hosts[i].lag = LAG_FINE;
    pthread_mutex_unlock(&pool->lock);
}

struct mysql_pool *mysql_pool_take(const struct mysql_table *table, const struct settings *settings,
                                   struct fault *fault)
{
    unsigned places = settings->mysql_connections;
    struct mysql_timeouts timeouts = {whole_seconds(settings->mysql_connect_timeout_ms),
                                      whole_seconds(settings->mysql_query_timeout_ms)};
    places = places < 1 ? 1 : places > MYSQL_WORKERS_MAX ? MYSQL_WORKERS_MAX : places;
    if (!mysql_client_library_init(fault))
        return NULL;

    pthread_mutex_lock(&registry_lock);
    struct mysql_pool *pool = pool_find(table, places, timeouts), *failed = NULL;
    if (!pool && (pool = pool_create(table, places, timeouts))) {
        if (pool_start(pool)) {
            pool->next = registry;
            registry = pool;
        } else {
            failed = pool;
            pool = NULL;
        }
    }
    if (pool)
        pool->users++;
    if (pool && table->max_replica_lag_s == 0)
        forget_lag(pool);
    pthread_mutex_unlock(&registry_lock);

    if (failed)
        pool_stop(failed);
    if (!pool)
        fault_set(fault, "%s: %s", table->query.path,
                  failed ? "the system has no threads for it" : "out of memory");
    return pool;
}

void mysql_pool_drop(struct mysql_pool *pool)
{
    pthread_mutex_lock(&registry_lock);
    bool last = --pool->users == 0;
    if (last) {
        struct mysql_pool **at = &registry;
        while (*at != pool)
            at = &(*at)->next;
        *at = pool->next;
    }
    pthread_mutex_unlock(&registry_lock);
    if (last)
        pool_stop(pool);
}

/* Lookups. */

static void trace_notes(struct trace *trace, const char *notes)
{
    while (trace && *notes) {
        size_t length = strcspn(notes, "\n");
        trace_add(trace, "%.*s", (int)length, notes);
        notes += length + (notes[length] == '\n');
    }
}

/* Lock held. The job for this key, which may be there already; NULL when memory is short. */
static struct mysql_job *begin_job(struct mysql_pool *pool, const struct mysql_table *table,
                                   const char *key, struct deadline deadline)
{
    struct mysql_job *job = mysql_jobs_join(&pool->jobs, table, key, deadline);
    if (job) {
        counter_add(COUNT_mysql_joined);
        return job;
    }
    job = mysql_jobs_add(&pool->jobs, table, key, deadline);
    if (job && mysql_some_host_is_refusing(pool)) /* then not every worker can take it */
        pthread_cond_broadcast(&pool->work);
    else if (job)
        pthread_cond_signal(&pool->work);
    return job;
}

/* Without the lock: the rest of the caller's part of a job. */
static void end_job(struct mysql_pool *pool, const struct mysql_table *table, struct mysql_job *job,
                    struct deadline deadline, struct finding *finding, char notes[MYSQL_NOTES_MAX])
{
    bool told = mysql_job_wait(job, deadline);
    if (!told)
        pthread_mutex_lock(&pool->lock);
    if (job->state == JOB_DONE) { /* perhaps since the deadline */
        *finding = job->finding;
        memcpy(notes, job->notes, strlen(job->notes) + 1);
    } else {
        finding->late = true;
        fault_set(&finding->why, "mysql %s: %s: no answer by the deadline, the query %s",
                  pool->source.hosts[0].text, table->query.path,
                  job->state == JOB_QUEUED ? "is waiting for a free connection" : "is under way");
    }
    mysql_jobs_leave(&pool->jobs, job);
    if (!told)
        pthread_mutex_unlock(&pool->lock);
}

void mysql_pool_lookup(struct mysql_pool *pool, const struct mysql_table *table, const char *key,
                       struct deadline deadline, struct trace *trace, struct finding *finding)
{
    struct mysql_job *job = NULL;
    char notes[MYSQL_NOTES_MAX];
    notes[0] = '\0'; /* the rest is nobody's */
    pthread_mutex_lock(&pool->lock);
    bool rests = mysql_all_hosts_rest(pool, &finding->why);
    if (!rests)
        job = begin_job(pool, table, key, deadline);
    pthread_mutex_unlock(&pool->lock);
    if (job)
        end_job(pool, table, job, deadline, finding, notes);
    else if (!rests)
        fault_set(&finding->why, "mysql: %s: out of memory", table->query.path);
    trace_notes(trace, notes[0] ? notes : finding->why.text);
}

void mysql_pool_forget(struct mysql_pool *pool, const struct mysql_table *table)
{
    pthread_mutex_lock(&pool->lock);
    while (mysql_jobs_use(&pool->jobs, table))
        pthread_cond_wait(&pool->quiet, &pool->lock);
    mysql_table_trouble_forget(pool, table);
    pthread_mutex_unlock(&pool->lock);
}

/* Report. */

struct report {
    char **lines;
    size_t count;
};

static void report_add(struct report *report, const char *text)
{
    char **grown = realloc(report->lines, (report->count + 1) * sizeof *grown);
    if (!grown)
        return;
    report->lines = grown;
    if ((grown[report->count] = strdup(text)))
        report->count++;
}

static long long seconds_since(int64_t ms)
{
    return (long long)(clock_mono_ms() - ms) / 1000;
}

/* Pool lock held. */
static void report_host(struct mysql_pool *pool, unsigned i, struct report *report)
{
    struct mysql_pool_host *host = &pool->hosts[i];
    enum mysql_host_state state = mysql_host_state(pool, i);
    char bytes[ENDPOINT_TEXT_MAX + 3 * FAULT_MAX + 128];
    struct text text = text_on(bytes, sizeof bytes);
    text_addf(&text, "mysql %s ", mysql_host_name(pool, i));
    if (state == HOST_RESTS)
        text_addf(&text, "resting for %lld s: %s", seconds_since(host->resting_since_ms),
                  host->reason.text);
    else if (state == HOST_ON_TRIAL)
        text_addf(&text, "on trial for %lld s, no lookup was answered since it failed: %s",
                  seconds_since(host->trial_since_ms), host->reason.text);
    else
        text_addf(&text, "up, %u connection%s", host->connections,
                  host->connections == 1 ? "" : "s");
    if (state != HOST_RESTS && mysql_host_is_refusing(pool, i))
        text_addf(&text, "; no more for %lld s: %s", seconds_since(host->refusing_since_ms),
                  host->refusal.text);
    if (host->lag != LAG_FINE)
        text_addf(&text, "; %s", host->lag_why.text);
    report_add(report, bytes);
}

void mysql_pool_report(void (*line)(void *context, const char *text), void *context)
{
    struct report report = {0};
    pthread_mutex_lock(&registry_lock);
    for (struct mysql_pool *pool = registry; pool; pool = pool->next) {
        pthread_mutex_lock(&pool->lock);
        for (unsigned i = 0; i < pool->source.host_count; i++)
            report_host(pool, i, &report);
        for (struct mysql_table_trouble *trouble = pool->troubles; trouble; trouble = trouble->next)
            report_add(&report, trouble->fault.text);
        pthread_mutex_unlock(&pool->lock);
    }
    pthread_mutex_unlock(&registry_lock);

    /* The line may go to a socket: no lock is held for that. */
    for (size_t i = 0; i < report.count; i++) {
        line(context, report.lines[i]);
        free(report.lines[i]);
    }
    free(report.lines);
}

/* Pool lock held. */
static void add_host(struct mysql_pool *pool, unsigned i, struct servers *servers)
{
    enum mysql_host_state state = mysql_host_state(pool, i);
    struct server_state server = {.tier = SERVER_DIRECTORY,
                                  .up = state == HOST_UP,
                                  .breaker_open = state != HOST_UP,
                                  .lagging = pool->hosts[i].lag != LAG_FINE,
                                  .connections = pool->hosts[i].connections};
    struct text name = text_on(server.name, sizeof server.name);
    text_add(&name, mysql_host_name(pool, i));
    servers_add(servers, &server);
}

void mysql_pool_servers(struct servers *servers)
{
    pthread_mutex_lock(&registry_lock);
    for (struct mysql_pool *pool = registry; pool; pool = pool->next) {
        pthread_mutex_lock(&pool->lock);
        for (unsigned i = 0; i < pool->source.host_count; i++)
            add_host(pool, i, servers);
        for (const struct mysql_job *job = pool->jobs.first; job; job = job->next)
            ++*(job->state == JOB_QUEUED ? &servers->queries_waiting : &servers->queries_running);
        pthread_mutex_unlock(&pool->lock);
    }
    pthread_mutex_unlock(&registry_lock);
}
