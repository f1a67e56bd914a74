/* The threads of a pool that own its connections. */
#include "db/mysql_worker.h"

#include <stdlib.h>
#include <string.h>

#include "shared/text.h"

void mysql_worker_note(struct mysql_worker *worker, const char *what)
{
    if (worker->notes.length > 0)
        text_add_char(&worker->notes, '\n');
    text_add_printable(&worker->notes, what, strlen(what));
}

bool mysql_phase_begin(struct mysql_worker *worker, enum mysql_phase phase, int64_t ms,
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

bool mysql_phase_end(struct mysql_worker *worker)
{
    pthread_mutex_lock(&worker->pool->lock);
    bool overdue = worker->shot || worker->lost;
    worker->phase = WORKER_IDLE;
    worker->socket = -1;
    worker->shot = false;
    pthread_mutex_unlock(&worker->pool->lock);
    return overdue;
}

enum answered { ANSWERED = 0, LEFT_TO_ANOTHER, TAKEN_AWAY };

/* At most two goes: the second is for a session that was lost, and always on a new connection. */
static enum answered worker_answer(struct mysql_worker *worker, const struct mysql_job *job)
{
    for (int go = 1; go <= 2; go++) {
        struct fault fault = {""};
        pthread_mutex_lock(&worker->pool->lock);
        struct deadline deadline = job->deadline;
        pthread_mutex_unlock(&worker->pool->lock);

        enum mysql_dialled dialled = mysql_worker_connect(worker, deadline, &fault);
        if (dialled == DIAL_LOST)
            return TAKEN_AWAY;
        if (dialled == DIAL_REFUSED)
            return LEFT_TO_ANOTHER;
        if (dialled == DIAL_FAILED || dialled == DIAL_LATE) {
            if (go == 1) {
                worker->finding.late = dialled == DIAL_LATE;
                worker->finding.why = fault;
                if (worker->notes.length == 0)
                    mysql_worker_note(worker, fault.text);
            }
            return ANSWERED;
        }
        if (!mysql_worker_ask(worker, job, dialled == DIAL_KEPT) || deadline_passed(deadline))
            return ANSWERED;
    }
    return ANSWERED;
}

static void worker_run(struct mysql_worker *worker, struct mysql_job *job)
{
    struct mysql_pool *pool = worker->pool;
    worker->finding = (struct finding){.answer = UNAVAILABLE};
    worker->notes = text_on(worker->notes_bytes, sizeof worker->notes_bytes);
    enum answered answered = worker_answer(worker, job);
    if (answered == TAKEN_AWAY)
        return;
    worker->idle_since_ms = clock_mono_ms();
    pthread_mutex_lock(&pool->lock);
    worker->job = NULL;
    if (answered == LEFT_TO_ANOTHER) {
        mysql_jobs_requeue(&pool->jobs, job);
        pthread_cond_broadcast(&pool->work);
    } else {
        mysql_jobs_finish(&pool->jobs, job, &worker->finding, worker->notes_bytes);
    }
    pthread_cond_broadcast(&pool->quiet);
    pthread_mutex_unlock(&pool->lock);
    if (answered == ANSWERED)
        mysql_job_tell(job);
}

/* What there is to dial without anybody waiting for it. */
struct probe {
    unsigned host;
    bool rests; /* it is the half-open state of its breaker; else it refuses connections */
};

/* A connection that comes of it is the worker's next one, whatever it had: so a host on trial gets
 * its lookup although the others are content with theirs. */
static void worker_probe(struct mysql_worker *worker, struct probe probe)
{
    struct mysql_client *client = NULL;
    struct fault fault = {""};
    worker->notes = text_on(worker->notes_bytes, sizeof worker->notes_bytes);
    if (mysql_worker_dial(worker, probe.host, &client, &fault) != DIAL_DONE)
        return;
    mysql_worker_adopt(worker, client, probe.host);
    if (probe.rests)
        mysql_host_probed(worker->pool, probe.host);
}

/* The thread. */

/* Lock held. A host this worker is now to probe; else when to look again. */
static bool probe_is_due(struct mysql_worker *worker, struct probe *probe, struct deadline *wake)
{
    struct mysql_pool *pool = worker->pool;
    if (pool->lost >= mysql_pool_lost_max(pool)) /* one more would have no successor */
        return false;
    for (unsigned i = 0; i < pool->source.host_count; i++) {
        struct breaker *breaker = &pool->hosts[i].breaker;
        int64_t due_ms = breaker_probe_due(breaker), again_ms = INT64_MAX;
        *probe = (struct probe){.host = i, .rests = breaker_probe(breaker)};
        if (probe->rests || (!worker->client && mysql_host_try_again(pool, i, &again_ms)))
            return true;
        due_ms = again_ms < due_ms ? again_ms : due_ms;
        if (due_ms < wake->at_us / 1000) /* the breaker counts whole milliseconds */
            wake->at_us = due_ms * 1000;
    }
    return false;
}

/* Lock held. A job is not for a worker that could only ask others to take it. */
static bool worker_may_answer(const struct mysql_worker *worker)
{
    struct mysql_pool *pool = worker->pool;
    if (worker->client && mysql_host_state(pool, worker->host) != HOST_RESTS)
        return true;
    for (unsigned i = 0; i < pool->source.host_count; i++)
        if (mysql_host_state(pool, i) != HOST_RESTS && !mysql_host_is_refusing(pool, i))
            return true;
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
    struct mysql_job *job = worker_may_answer(worker) ? mysql_jobs_next(&pool->jobs) : NULL;
    struct probe probe;
    if (job) {
        worker->job = job;
        pthread_mutex_unlock(&pool->lock);
        worker_run(worker, job);
        pthread_mutex_lock(&pool->lock);
    } else if (probe_is_due(worker, &probe, &wake)) {
        pthread_mutex_unlock(&pool->lock);
        worker_probe(worker, probe);
        pthread_mutex_lock(&pool->lock);
    } else if (worker->client && deadline_passed(wake)) {
        pthread_mutex_unlock(&pool->lock);
        mysql_worker_hang_up(worker);
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

    mysql_worker_hang_up(worker);
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
