/* What a pool knows of its hosts and tables, and the log lines when that changes. */
#include "db/mysql_worker.h"

#include <stdlib.h>
#include <string.h>

#include "shared/log.h"

bool mysql_all_hosts_rest(struct mysql_pool *pool, struct fault *fault)
{
    for (size_t i = 0; i < pool->source.host_count; i++)
        if (!breaker_is_open(&pool->hosts[i].breaker))
            return false;
    fault_set(fault, "mysql %s is resting after: %s", pool->source.hosts[0].text,
              pool->hosts[0].reason.text);
    return true;
}

void mysql_host_failed(struct mysql_pool *pool, unsigned number, const struct fault *fault)
{
    struct mysql_pool_host *host = &pool->hosts[number];
    const char *name = pool->source.hosts[number].text;
    struct finding resting = {.answer = UNAVAILABLE};

    pthread_mutex_lock(&pool->lock);
    host->reason = *fault;
    bool opened = breaker_failed(&host->breaker);
    if (opened)
        host->resting_since_ms = clock_mono_ms();
    if (mysql_all_hosts_rest(pool, &resting.why))
        mysql_jobs_finish_queued(&pool->jobs, &resting);
    pthread_cond_broadcast(&pool->work); /* there is a probe to plan for */
    pthread_cond_broadcast(&pool->quiet);
    pthread_mutex_unlock(&pool->lock);

    if (opened)
        log_error("mysql %s: %s; no lookup goes there until it answers again", name, fault->text);
}

void mysql_host_recovered(struct mysql_pool *pool, unsigned number)
{
    int64_t rested_ms = 0;
    if (breaker_succeeded(&pool->hosts[number].breaker, &rested_ms))
        log_info("mysql %s answers again after %.1f s", pool->source.hosts[number].text,
                 (double)rested_ms / 1000);
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

    if (trouble)
        log_info("mysql %s answers again after %.1f s", table->path,
                 (double)(clock_mono_ms() - trouble->since_ms) / 1000);
    free(trouble);
}

void mysql_table_trouble_forget(struct mysql_pool *pool, const struct mysql_table *table)
{
    struct mysql_table_trouble **at = trouble_of(pool, table), *trouble = *at;
    if (trouble)
        *at = trouble->next;
    free(trouble);
}
