/* What a pool knows of its hosts and tables, and the log lines when that changes. */
#include "db/mysql_worker.h"

#include <stdlib.h>
#include <string.h>

#include "shared/log.h"

enum mysql_host_state mysql_host_state(struct mysql_pool *pool, unsigned number)
{
    struct mysql_pool_host *host = &pool->hosts[number];
    if (host->trial_since_ms != 0)
        return HOST_ON_TRIAL;
    return breaker_is_open(&host->breaker) ? HOST_RESTS : HOST_UP;
}

bool mysql_host_is_refusing(const struct mysql_pool *pool, unsigned number)
{
    const struct mysql_pool_host *host = &pool->hosts[number];
    return host->refusing_since_ms != 0 && host->connections > 0;
}

bool mysql_some_host_is_refusing(struct mysql_pool *pool)
{
    for (unsigned i = 0; i < pool->source.host_count; i++)
        if (mysql_host_is_refusing(pool, i) && mysql_host_state(pool, i) != HOST_RESTS)
            return true;
    return false;
}

bool mysql_all_hosts_rest(struct mysql_pool *pool, struct fault *fault)
{
    for (unsigned i = 0; i < pool->source.host_count; i++)
        if (mysql_host_state(pool, i) != HOST_RESTS)
            return false;
    fault_set(fault, "mysql %s is resting after: %s", mysql_host_name(pool, 0),
              pool->hosts[0].reason.text);
    return true;
}

void mysql_host_failed(struct mysql_pool *pool, unsigned number, const struct fault *fault)
{
    struct mysql_pool_host *host = &pool->hosts[number];
    struct finding resting = {.answer = UNAVAILABLE};

    pthread_mutex_lock(&pool->lock);
    host->reason = *fault;
    host->trial_since_ms = 0;
    bool opened = breaker_failed(&host->breaker);
    if (opened) {
        host->resting_since_ms = clock_mono_ms();
        meanwhile_begin(&host->meanwhile);
    }
    if (mysql_all_hosts_rest(pool, &resting.why))
        mysql_jobs_finish_queued(&pool->jobs, &resting);
    pthread_cond_broadcast(&pool->work); /* there is a probe to plan for */
    pthread_cond_broadcast(&pool->quiet);
    pthread_mutex_unlock(&pool->lock);

    if (opened)
        log_error("mysql %s: %s; no lookup goes there until it answers again",
                  mysql_host_name(pool, number), fault->text);
}

void mysql_host_probed(struct mysql_pool *pool, unsigned number)
{
    struct mysql_pool_host *host = &pool->hosts[number];
    pthread_mutex_lock(&pool->lock);
    if (host->trial_since_ms == 0 && breaker_is_open(&host->breaker))
        host->trial_since_ms = clock_mono_ms();
    pthread_mutex_unlock(&pool->lock);
}

/* The outage ended with the trial and what its query took: nobody may have asked for hours since.
 */
void mysql_host_answered(struct mysql_pool *pool, unsigned number, int64_t took_ms)
{
    struct mysql_pool_host *host = &pool->hosts[number];
    pthread_mutex_lock(&pool->lock);
    int64_t down_ms = host->trial_since_ms + took_ms - host->resting_since_ms;
    bool closed = host->trial_since_ms != 0 && breaker_succeeded(&host->breaker, NULL);
    struct meanwhile since = host->meanwhile;
    if (closed)
        host->trial_since_ms = 0;
    pthread_mutex_unlock(&pool->lock);

    char meanwhile[MEANWHILE_MAX];
    if (!closed)
        return;
    meanwhile_print(&since, meanwhile);
    log_info("mysql %s answers again after %.1f s%s", mysql_host_name(pool, number),
             (double)down_ms / 1000, meanwhile);
}

bool mysql_host_refused(struct mysql_pool *pool, unsigned number, const struct fault *fault)
{
    struct mysql_pool_host *host = &pool->hosts[number];
    pthread_mutex_lock(&pool->lock);
    unsigned connections = host->connections;
    bool goes_on = connections > 0 && mysql_host_state(pool, number) != HOST_RESTS;
    bool begins = goes_on && host->refusing_since_ms == 0;
    if (begins) {
        host->refusing_since_ms = clock_mono_ms();
        host->refusing_pause_ms = MYSQL_REST_MS;
        host->refusing_until_ms = host->refusing_since_ms + MYSQL_REST_MS;
    }
    if (goes_on)
        host->refusal = *fault;
    pthread_mutex_unlock(&pool->lock);

    if (begins)
        log_warning("mysql %s: %s; going on with %u connection%s", mysql_host_name(pool, number),
                    fault->text, connections, connections == 1 ? "" : "s");
    return goes_on;
}

bool mysql_host_try_again(struct mysql_pool *pool, unsigned number, int64_t *due_ms)
{
    struct mysql_pool_host *host = &pool->hosts[number];
    int64_t now = clock_mono_ms();
    *due_ms = INT64_MAX;
    if (!mysql_host_is_refusing(pool, number) || mysql_host_state(pool, number) == HOST_RESTS)
        return false;
    *due_ms = host->refusing_until_ms;
    if (now < *due_ms)
        return false;
    int64_t twice = 2 * host->refusing_pause_ms;
    host->refusing_pause_ms = twice < MYSQL_REST_MAX_MS ? twice : MYSQL_REST_MAX_MS;
    host->refusing_until_ms = now + host->refusing_pause_ms;
    return true;
}

void mysql_host_connected(struct mysql_pool *pool, unsigned number)
{
    struct mysql_pool_host *host = &pool->hosts[number];
    pthread_mutex_lock(&pool->lock);
    int64_t since_ms = host->refusing_since_ms;
    host->refusing_since_ms = 0;
    if (since_ms != 0)
        pthread_cond_broadcast(&pool->work); /* everybody may connect */
    pthread_mutex_unlock(&pool->lock);

    if (since_ms != 0)
        log_info("mysql %s takes new connections again after %.1f s", mysql_host_name(pool, number),
                 (double)(clock_mono_ms() - since_ms) / 1000);
}

void mysql_host_lag(struct mysql_pool *pool, unsigned number, enum mysql_lag lag,
                    const struct fault *why)
{
    struct mysql_pool_host *host = &pool->hosts[number];
    pthread_mutex_lock(&pool->lock);
    bool changed = host->lag != lag;
    host->lag = lag;
    host->lag_why = *why;
    pthread_mutex_unlock(&pool->lock);

    if (changed && lag == LAG_FINE)
        log_info("mysql %s is within max_replica_lag again", mysql_host_name(pool, number));
    else if (changed)
        log_warning("mysql %s %s; nobody gets a 5xx on its word", mysql_host_name(pool, number),
                    why->text);
}

static struct mysql_table_trouble **trouble_of(struct mysql_pool *pool,
                                               const struct mysql_table *table)
{
    struct mysql_table_trouble **at = &pool->troubles;
    while (*at && (*at)->table != table)
        at = &(*at)->next;
    return at;
}

void mysql_table_failed(struct mysql_pool *pool, const struct mysql_table *table, unsigned number,
                        const struct fault *fault)
{
    pthread_mutex_lock(&pool->lock);
    struct mysql_table_trouble **at = trouble_of(pool, table), *trouble = *at;
    bool changed = !trouble || trouble->number != number;
    if (!trouble && (trouble = calloc(1, sizeof *trouble))) {
        trouble->table = table;
        trouble->since_ms = clock_mono_ms();
        meanwhile_begin(&trouble->meanwhile);
        *at = trouble;
    }
    if (trouble) {
        trouble->number = number;
        trouble->fault = *fault;
    }
    pthread_mutex_unlock(&pool->lock);

    if (changed)
        log_error("%s; lookups in this table fail until that is mended", fault->text);
}

void mysql_table_answered(struct mysql_pool *pool, const struct mysql_table *table)
{
    pthread_mutex_lock(&pool->lock);
    struct mysql_table_trouble **at = trouble_of(pool, table), *trouble = *at;
    if (trouble)
        *at = trouble->next;
    pthread_mutex_unlock(&pool->lock);

    char meanwhile[MEANWHILE_MAX];
    if (!trouble)
        return;
    meanwhile_print(&trouble->meanwhile, meanwhile);
    log_info("mysql %s answers again after %.1f s%s", table->query.path,
             (double)(clock_mono_ms() - trouble->since_ms) / 1000, meanwhile);
    free(trouble);
}

void mysql_table_trouble_forget(struct mysql_pool *pool, const struct mysql_table *table)
{
    struct mysql_table_trouble **at = trouble_of(pool, table), *trouble = *at;
    if (trouble)
        *at = trouble->next;
    free(trouble);
}
