/* The watchdog of a pool: no worker stays in the client library past its limit unseen. */
#include "db/mysql_worker.h"

#include <sys/socket.h>

/* Nothing is watched for this long at a time; what begins sooner wakes the watchdog. */
enum { WATCH_AGAIN_MS = 3600 * 1000 };

/* A worker inside mysql_real_connect cannot be called back: see mysql_worker.h. The lock is held,
 * and given up on the way. */
static void leave_behind(struct mysql_pool *pool, struct mysql_worker *worker)
{
    unsigned host = worker->connecting_to, place = worker->place;
    struct mysql_job *job = worker->job;
    struct finding finding = {.answer = UNAVAILABLE};
    struct fault fault;
    fault_set(&fault, "no connection within %u s", pool->timeouts.connect_s);
    fault_set(&finding.why, "mysql %s: %s", pool->source.hosts[host].text, fault.text);

    worker->lost = true;
    worker->job = NULL;
    pool->lost++;
    pool->workers[worker->place] = NULL;
    /* The host rests before anybody hears of it: who asks again at once must not be let in. */
    pthread_mutex_unlock(&pool->lock);
    mysql_host_failed(pool, host, &fault);
    pthread_mutex_lock(&pool->lock);
    if (job) {
        mysql_jobs_finish(&pool->jobs, job, &finding, finding.why.text);
        mysql_job_tell(job);
    }
    if (pool->lost <= mysql_pool_lost_max(pool) && !pool->stopping && !pool->workers[place])
        mysql_worker_start(pool, place);
    pthread_cond_broadcast(&pool->quiet);
}

/* The first worker past its limit, or NULL; *next is when the next one will be. Lock held. */
static struct mysql_worker *worker_overdue(struct mysql_pool *pool, struct deadline *next)
{
    *next = deadline_in_ms(WATCH_AGAIN_MS);
    for (unsigned i = 0; i < pool->places; i++) {
        struct mysql_worker *worker = pool->workers[i];
        if (!worker || worker->phase == WORKER_IDLE || worker->shot)
            continue;
        if (deadline_passed(worker->limit))
            return worker;
        *next = deadline_sooner(*next, worker->limit);
    }
    return NULL;
}

void *mysql_watchdog_main(void *argument)
{
    struct mysql_pool *pool = argument;
    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping) {
        struct mysql_worker *worker = worker_overdue(pool, &pool->watch_at);
        if (!worker) {
            clock_cond_wait(&pool->watch, &pool->lock, pool->watch_at);
        } else if (worker->phase == WORKER_ASKING) {
            shutdown(worker->socket, SHUT_RDWR);
            worker->shot = true;
        } else {
            leave_behind(pool, worker);
        }
    }
    mysql_pool_thread_leaves(pool);
    return NULL;
}
