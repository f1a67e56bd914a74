/* The threads of a pool that own its connections. */
#include "db/mysql_worker.h"

#include <stdlib.h>
#include <string.h>

#include "shared/counters.h"
#include "shared/log.h"
#include "shared/text.h"

static const char *host_name(const struct mysql_pool *pool, unsigned host)
{
    return pool->source.hosts[host].text;
}

static void worker_note(struct mysql_worker *worker, const char *what)
{
    if (worker->notes.length > 0)
        text_add_char(&worker->notes, '\n');
    text_add_printable(&worker->notes, what, strlen(what));
}

/* Phases. Both lock. */

static bool phase_begin(struct mysql_worker *worker, enum mysql_phase phase, int64_t ms,
                        unsigned host)
{
    struct mysql_pool *pool = worker->pool;
    struct deadline limit = deadline_in_ms(ms);
    pthread_mutex_lock(&pool->lock);
    bool go = !pool->stopping;
    if (go) {
        worker->phase = phase;
        worker->limit = limit;
        worker->connecting_to = host;
        worker->socket = worker->client ? mysql_client_socket(worker->client) : -1;
        if (limit.at_us < pool->watch_at.at_us)
            pthread_cond_signal(&pool->watch);
    }
    pthread_mutex_unlock(&pool->lock);
    return go;
}

/* True when the watchdog had to end it. */
static bool phase_end(struct mysql_worker *worker)
{
    pthread_mutex_lock(&worker->pool->lock);
    bool overdue = worker->shot || worker->lost;
    worker->phase = WORKER_IDLE;
    worker->socket = -1;
    worker->shot = false;
    pthread_mutex_unlock(&worker->pool->lock);
    return overdue;
}

/* Connections. */

static void connection_count(struct mysql_pool *pool, unsigned host, int change)
{
    pthread_mutex_lock(&pool->lock);
    pool->hosts[host].connections += (unsigned)change;
    pthread_mutex_unlock(&pool->lock);
}

static void worker_hang_up(struct mysql_worker *worker)
{
    if (!worker->client)
        return;
    connection_count(worker->pool, worker->host, -1);
    mysql_client_close(worker->client);
    worker->client = NULL;
}

static void worker_adopt(struct mysql_worker *worker, struct mysql_client *client, unsigned host)
{
    worker_hang_up(worker);
    worker->client = client;
    worker->host = host;
    worker->idle_since_ms = clock_mono_ms();
    connection_count(worker->pool, host, 1);
}

enum dialled { DIAL_FAILED = 0, DIAL_LATE, DIAL_DONE, DIAL_KEPT, DIAL_LOST };

/* One try at one host. A failure has rested the host. After DIAL_LOST the job is not ours. */
static enum dialled worker_dial(struct mysql_worker *worker, unsigned host,
                                struct mysql_client **client, struct fault *fault)
{
    struct mysql_pool *pool = worker->pool;
    struct mysql_trouble trouble;
    int64_t limit_ms = (int64_t)pool->timeouts.connect_s * 1000 + MYSQL_CONNECT_SLACK_MS;
    if (!phase_begin(worker, WORKER_CONNECTING, limit_ms, host)) {
        fault_set(fault, "closing down");
        return DIAL_FAILED;
    }
    *client = mysql_client_connect(&pool->source, &pool->source.hosts[host], &pool->timeouts,
                                   &trouble, fault);
    if (phase_end(worker)) {
        mysql_client_close(*client);
        return DIAL_LOST;
    }
    if (*client) {
        counter_add(COUNT_mysql_connects);
        return DIAL_DONE;
    }
    counter_add(COUNT_mysql_failures);
    mysql_host_failed(pool, host, fault);
    fault_within(fault, "mysql %s", host_name(pool, host));
    worker_note(worker, fault->text);
    return DIAL_FAILED;
}

/* mysql_table(5): unix sockets first, each kind in random order. */
static size_t hosts_in_order(struct mysql_worker *worker, unsigned order[MYSQL_HOSTS_MAX])
{
    const struct mysql_source *source = &worker->pool->source;
    size_t count = 0;
    for (int inet = 0; inet <= 1; inet++) {
        size_t first = count;
        for (unsigned i = 0; i < source->host_count; i++)
            if ((source->hosts[i].endpoint.kind == ENDPOINT_INET) == (inet == 1))
                order[count++] = i;
        for (size_t i = count; i > first + 1; i--) {
            size_t j = first + (size_t)rand_r(&worker->seed) % (i - first);
            unsigned moved = order[i - 1];
            order[i - 1] = order[j];
            order[j] = moved;
        }
    }
    return count;
}

/* A connection to any host that does not rest: the one there is, or a new one. */
static enum dialled worker_connect(struct mysql_worker *worker, struct deadline deadline,
                                   struct fault *fault)
{
    struct mysql_pool *pool = worker->pool;
    if (worker->client && !breaker_is_open(&pool->hosts[worker->host].breaker))
        return DIAL_KEPT;
    worker_hang_up(worker);

    unsigned order[MYSQL_HOSTS_MAX];
    size_t count = hosts_in_order(worker, order);
    for (size_t i = 0; i < count; i++) {
        struct mysql_client *client = NULL;
        if (breaker_is_open(&pool->hosts[order[i]].breaker))
            continue;
        if (deadline_passed(deadline)) {
            fault_set(fault, "mysql %s: no time left to connect", host_name(pool, order[i]));
            return DIAL_LATE;
        }
        enum dialled dialled = worker_dial(worker, order[i], &client, fault);
        if (dialled == DIAL_DONE)
            worker_adopt(worker, client, order[i]);
        if (dialled != DIAL_FAILED)
            return dialled;
    }
    if (!fault->text[0]) {
        pthread_mutex_lock(&pool->lock);
        if (!mysql_all_hosts_rest(pool, fault))
            fault_set(fault, "mysql %s: just recovering", host_name(pool, 0));
        pthread_mutex_unlock(&pool->lock);
    }
    return DIAL_FAILED;
}

/* Statements. */

static void worker_note_statement(struct mysql_worker *worker, unsigned long rows, int64_t us)
{
    const struct finding *finding = &worker->finding;
    text_addf(&worker->notes, "%smysql %s: ", worker->notes.length > 0 ? "\n" : "",
              host_name(worker->pool, worker->host));
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
    enum mysql_expansion expansion = mysql_table_expand(
        job->table, job->key, mysql_client_escape, worker->client, worker->sql, sizeof worker->sql);
    if (expansion == EXPANSION_SUPPRESSED)
        finding_set_absent(&worker->finding);
    if (expansion == EXPANSION_TOO_LONG)
        fault_set(&worker->finding.why, "mysql: %s: the statement for this key is too long",
                  job->table->path);
    return expansion == EXPANSION_OK;
}

/* Sends the statement. Sets the finding and the trouble; true when the watchdog had to end it. */
static bool worker_ask(struct mysql_worker *worker, const struct mysql_job *job,
                       struct mysql_trouble *trouble)
{
    struct mysql_pool *pool = worker->pool;
    unsigned long rows = 0;
    int64_t limit_ms = (int64_t)pool->timeouts.query_s * 1000 + MYSQL_WATCH_SLACK_MS;
    *trouble = (struct mysql_trouble){0};
    if (!worker_expand(worker, job))
        return false;
    if (!phase_begin(worker, WORKER_ASKING, limit_ms, worker->host)) {
        fault_set(&worker->finding.why, "closing down");
        return false;
    }
    counter_add(COUNT_mysql_queries);
    int64_t begun_us = clock_mono_us();
    mysql_client_query(worker->client, job->table, job->key, worker->sql, strlen(worker->sql),
                       &rows, trouble, &worker->finding);
    int64_t us = clock_mono_us() - begun_us;
    bool shot = phase_end(worker);
    if (shot && worker->finding.answer == UNAVAILABLE) {
        trouble->class = MYSQL_ERROR_SERVER; /* whatever the library makes of a socket shut down */
        fault_within(&worker->finding.why, "no answer within %u s", pool->timeouts.query_s);
    }
    worker_note_statement(worker, rows, us);
    return shot;
}

/* What an error means for the others: the host, the table, or nobody. True when this job may try
 * once more. */
static bool worker_judge(struct mysql_worker *worker, const struct mysql_job *job,
                         const struct mysql_trouble *trouble, bool old_connection)
{
    struct mysql_pool *pool = worker->pool;
    struct fault bare = worker->finding.why, named = bare;
    fault_within(&named, "mysql %s: %s", host_name(pool, worker->host), job->table->path);
    if (trouble->class != MYSQL_NO_ERROR)
        worker->finding.why = named;

    switch (trouble->class) {
    case MYSQL_NO_ERROR:
        if (worker->finding.answer != UNAVAILABLE)
            mysql_table_answered(pool, job->table);
        return false;
    case MYSQL_ERROR_KEY:
        counter_add(COUNT_mysql_key_errors);
        log_debug("%s", named.text);
        return false;
    case MYSQL_ERROR_SETUP:
        counter_add(COUNT_mysql_failures);
        mysql_table_failed(pool, job->table, trouble->number, &named);
        return false;
    case MYSQL_ERROR_STATEMENT:
        counter_add(COUNT_mysql_failures);
        worker_hang_up(worker);
        return true;
    case MYSQL_ERROR_SERVER:
        break;
    }
    counter_add(COUNT_mysql_failures);
    worker_hang_up(worker);
    /* An old connection that is gone says that the server was restarted, not that it is down: a
     * new one will tell. Otherwise the host rests, and another one may know. */
    if (!(old_connection && trouble->connection_lost))
        mysql_host_failed(pool, worker->host, &bare);
    return true;
}

/* At most two goes: the second is for a session that was lost, and always on a new connection.
 * False when the job was taken from us. */
static bool worker_answer(struct mysql_worker *worker, const struct mysql_job *job)
{
    for (int go = 1; go <= 2; go++) {
        struct mysql_trouble trouble;
        struct fault fault = {""};
        pthread_mutex_lock(&worker->pool->lock);
        struct deadline deadline = job->deadline;
        pthread_mutex_unlock(&worker->pool->lock);

        enum dialled dialled = worker_connect(worker, deadline, &fault);
        if (dialled == DIAL_LOST)
            return false;
        if (dialled == DIAL_FAILED || dialled == DIAL_LATE) {
            if (go == 1) {
                worker->finding.late = dialled == DIAL_LATE;
                worker->finding.why = fault;
                if (worker->notes.length == 0)
                    worker_note(worker, fault.text);
            }
            return true;
        }
        worker->finding = (struct finding){.answer = UNAVAILABLE};
        bool shot = worker_ask(worker, job, &trouble);
        if (!worker_judge(worker, job, &trouble, dialled == DIAL_KEPT && !shot) ||
            deadline_passed(deadline))
            return true;
    }
    return true;
}

static void worker_run(struct mysql_worker *worker, struct mysql_job *job)
{
    struct mysql_pool *pool = worker->pool;
    worker->finding = (struct finding){.answer = UNAVAILABLE};
    worker->notes = text_on(worker->notes_bytes, sizeof worker->notes_bytes);
    if (!worker_answer(worker, job))
        return;
    worker->idle_since_ms = clock_mono_ms();
    pthread_mutex_lock(&pool->lock);
    worker->job = NULL;
    mysql_jobs_finish(&pool->jobs, job, &worker->finding, worker->notes_bytes);
    pthread_cond_broadcast(&pool->quiet);
    pthread_mutex_unlock(&pool->lock);
}

/* The half-open state of a breaker: nobody waits for this but the host's next users. */
static void worker_probe(struct mysql_worker *worker, unsigned host)
{
    struct mysql_client *client = NULL;
    struct fault fault = {""};
    worker->notes = text_on(worker->notes_bytes, sizeof worker->notes_bytes);
    if (worker_dial(worker, host, &client, &fault) != DIAL_DONE)
        return;
    mysql_host_recovered(worker->pool, host);
    if (worker->client)
        mysql_client_close(client);
    else
        worker_adopt(worker, client, host);
}

/* The thread. */

/* Lock held. A host this worker is now to probe; else when to look again. */
static bool probe_is_due(struct mysql_pool *pool, unsigned *host, struct deadline *wake)
{
    if (pool->lost >= mysql_pool_lost_max(pool)) /* one more would have no successor */
        return false;
    for (unsigned i = 0; i < pool->source.host_count; i++) {
        struct breaker *breaker = &pool->hosts[i].breaker;
        int64_t due_ms = breaker_probe_due(breaker);
        if (breaker_probe(breaker)) {
            *host = i;
            return true;
        }
        if (due_ms < wake->at_us / 1000) /* the breaker counts whole milliseconds */
            wake->at_us = due_ms * 1000;
    }
    return false;
}

/* Lock held. False when this thread is one too many. */
static bool worker_has_place(struct mysql_worker *worker)
{
    struct mysql_pool *pool = worker->pool;
    if (!worker->lost)
        return true;
    worker->lost = false;
    pool->lost--;
    pthread_cond_broadcast(&pool->work); /* who waited for this may probe again */
    if (pool->workers[worker->place])
        return false;
    pool->workers[worker->place] = worker;
    return true;
}

/* Lock held; given up while it works. */
static void worker_step(struct mysql_worker *worker)
{
    struct mysql_pool *pool = worker->pool;
    struct deadline wake = {worker->client ? (worker->idle_since_ms + MYSQL_IDLE_MS) * 1000
                                           : deadline_in_ms(MYSQL_IDLE_MS).at_us};
    struct mysql_job *job = mysql_jobs_next(&pool->jobs);
    unsigned host;
    if (job) {
        worker->job = job;
        pthread_mutex_unlock(&pool->lock);
        worker_run(worker, job);
        pthread_mutex_lock(&pool->lock);
    } else if (probe_is_due(pool, &host, &wake)) {
        pthread_mutex_unlock(&pool->lock);
        worker_probe(worker, host);
        pthread_mutex_lock(&pool->lock);
    } else if (worker->client && deadline_passed(wake)) {
        pthread_mutex_unlock(&pool->lock);
        worker_hang_up(worker);
        pthread_mutex_lock(&pool->lock);
    } else {
        clock_cond_wait(&pool->work, &pool->lock, wake);
    }
}

static void *worker_main(void *argument)
{
    struct mysql_worker *worker = argument;
    struct mysql_pool *pool = worker->pool;
    mysql_client_thread_init();
    pthread_mutex_lock(&pool->lock);
    bool stays = true;
    while (stays && !pool->stopping) {
        worker_step(worker);
        stays = worker_has_place(worker);
    }
    if (stays)
        pool->workers[worker->place] = NULL;
    pthread_mutex_unlock(&pool->lock);

    worker_hang_up(worker);
    mysql_client_thread_end();
    free(worker);
    pthread_mutex_lock(&pool->lock);
    mysql_pool_thread_leaves(pool);
    return NULL;
}

bool mysql_worker_start(struct mysql_pool *pool, unsigned place)
{
    struct mysql_worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return false;
    worker->pool = pool;
    worker->place = place;
    worker->socket = -1;
    worker->seed = (unsigned)clock_mono_us() + place;
    if (!mysql_pool_thread(pool, worker_main, worker)) {
        free(worker);
        return false;
    }
    pool->workers[place] = worker;
    return true;
}
