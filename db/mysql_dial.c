/* The connections of a pool: who is dialled, and what comes of it. */
#include "db/mysql_worker.h"

#include "shared/counters.h"

static void connection_count(struct mysql_pool *pool, unsigned host, int change)
{
    pthread_mutex_lock(&pool->lock);
    pool->hosts[host].connections += (unsigned)change;
    if (pool->hosts[host].connections == 0)
        pthread_cond_broadcast(&pool->work); /* a job that was left to this one needs another */
    pthread_mutex_unlock(&pool->lock);
}

void mysql_worker_hang_up(struct mysql_worker *worker)
{
    if (!worker->client)
        return;
    mysql_client_close(worker->client); /* first: the server counts it, too */
    connection_count(worker->pool, worker->host, -1);
    worker->client = NULL;
}

void mysql_worker_adopt(struct mysql_worker *worker, struct mysql_client *client, unsigned host)
{
    mysql_worker_hang_up(worker);
    worker->client = client;
    worker->host = host;
    worker->idle_since_ms = worker->connected_ms = clock_mono_ms();
    connection_count(worker->pool, host, 1);
}

/* After a failure the host rests, or refuses connections. */
enum mysql_dialled mysql_worker_dial(struct mysql_worker *worker, unsigned host,
                                     struct mysql_client **client, struct fault *fault)
{
    struct mysql_pool *pool = worker->pool;
    struct mysql_trouble trouble;
    int64_t limit_ms = (int64_t)pool->timeouts.connect_s * 1000 + MYSQL_CONNECT_SLACK_MS;
    if (!mysql_phase_begin(worker, WORKER_CONNECTING, limit_ms, host)) {
        fault_set(fault, "closing down");
        return DIAL_FAILED;
    }
    *client = mysql_client_connect(&pool->source, &pool->source.hosts[host], &pool->timeouts,
                                   &trouble, fault);
    if (mysql_phase_end(worker)) {
        mysql_client_close(*client);
        return DIAL_LOST;
    }
    if (*client) {
        counter_add(COUNT_mysql_connects);
        mysql_host_connected(pool, host);
        return DIAL_DONE;
    }
    counter_add(COUNT_mysql_failures);
    bool refused =
        mysql_error_refuses_connections(trouble.number) && mysql_host_refused(pool, host, fault);
    /* For what is our own trouble no host rests; but who probes has to say what came of it. */
    bool ours = mysql_error_is_ours(trouble.number);
    if (!refused && !(ours && !breaker_is_open(&pool->hosts[host].breaker)))
        mysql_host_failed(pool, host, fault);
    fault_within(fault, "mysql %s", mysql_host_name(pool, host));
    mysql_worker_note(worker, fault->text);
    return refused ? DIAL_REFUSED : ours ? DIAL_LATE : DIAL_FAILED;
}

static bool may_dial(struct mysql_pool *pool, unsigned host, bool on_trial)
{
    pthread_mutex_lock(&pool->lock);
    enum mysql_host_state state = mysql_host_state(pool, host);
    bool may = (state == HOST_UP || (on_trial && state == HOST_ON_TRIAL)) &&
               !mysql_host_is_refusing(pool, host);
    pthread_mutex_unlock(&pool->lock);
    return may;
}

/* Nothing was dialled with success. */
static enum mysql_dialled say_why(struct mysql_pool *pool, struct fault *fault)
{
    pthread_mutex_lock(&pool->lock);
    bool refused = mysql_some_host_is_refusing(pool);
    if (!fault->text[0] && !mysql_all_hosts_rest(pool, fault))
        fault_set(fault, "mysql %s: just recovering", mysql_host_name(pool, 0));
    pthread_mutex_unlock(&pool->lock);
    return refused ? DIAL_REFUSED : DIAL_FAILED;
}

enum mysql_dialled mysql_worker_connect(struct mysql_worker *worker, struct deadline deadline,
                                        struct fault *fault)
{
    struct mysql_pool *pool = worker->pool;
    if (worker->client) {
        pthread_mutex_lock(&pool->lock);
        bool rests = mysql_host_state(pool, worker->host) == HOST_RESTS;
        pthread_mutex_unlock(&pool->lock);
        if (!rests)
            return DIAL_KEPT;
        mysql_worker_hang_up(worker);
    }
    /* Those that are up in their order, then those on trial. */
    unsigned order[MYSQL_HOSTS_MAX];
    size_t count = mysql_source_order(&pool->source, &worker->seed, order);
    for (size_t i = 0; i < 2 * count; i++) {
        struct mysql_client *client = NULL;
        unsigned host = order[i % count];
        if (!may_dial(pool, host, i >= count))
            continue;
        if (deadline_passed(deadline)) {
            fault_set(fault, "mysql %s: no time left to connect", mysql_host_name(pool, host));
            return DIAL_LATE;
        }
        enum mysql_dialled dialled = mysql_worker_dial(worker, host, &client, fault);
        if (dialled == DIAL_DONE)
            mysql_worker_adopt(worker, client, host);
        if (dialled == DIAL_DONE || dialled == DIAL_LOST || dialled == DIAL_LATE)
            return dialled;
    }
    return say_why(pool, fault);
}
