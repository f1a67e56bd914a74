#include "db/mysql_jobs.h"

#include <stdlib.h>
#include <string.h>

#include "shared/text.h"

static void job_unlink(struct mysql_jobs *jobs, struct mysql_job *job)
{
    struct mysql_job **at = &jobs->first;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
}

static void job_free(struct mysql_job *job)
{
    pthread_cond_destroy(&job->done);
    free(job);
}

struct mysql_job *mysql_jobs_join(struct mysql_jobs *jobs, const struct mysql_table *table,
                                  const char *key, struct deadline deadline)
{
    struct mysql_job *job = jobs->first;
    while (job && (job->table != table || strcmp(job->key, key) != 0))
        job = job->next;
    if (!job)
        return NULL;
    job->waiters++;
    if (job->deadline.at_us < deadline.at_us)
        job->deadline = deadline;
    return job;
}

struct mysql_job *mysql_jobs_add(struct mysql_jobs *jobs, const struct mysql_table *table,
                                 const char *key, struct deadline deadline)
{
    if (strlen(key) >= ADDRESS_KEY_MAX)
        return NULL;
    struct mysql_job *job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    job->table = table;
    memcpy(job->key, key, strlen(key) + 1);
    job->state = JOB_QUEUED;
    job->waiters = 1;
    job->deadline = deadline;
    clock_cond_init(&job->done);

    struct mysql_job **end = &jobs->first;
    while (*end)
        end = &(*end)->next;
    *end = job;
    return job;
}

void mysql_jobs_leave(struct mysql_jobs *jobs, struct mysql_job *job)
{
    if (--job->waiters > 0 || job->state == JOB_RUNNING)
        return;
    if (job->state == JOB_QUEUED)
        job_unlink(jobs, job);
    job_free(job);
}

struct mysql_job *mysql_jobs_next(struct mysql_jobs *jobs)
{
    struct mysql_job *job = jobs->first;
    while (job && job->state != JOB_QUEUED)
        job = job->next;
    if (job)
        job->state = JOB_RUNNING;
    return job;
}

void mysql_jobs_requeue(struct mysql_jobs *jobs, struct mysql_job *job)
{
    job->state = JOB_QUEUED; /* the list is in order of age whatever their states */
    if (job->waiters > 0)
        return;
    job_unlink(jobs, job);
    job_free(job);
}

void mysql_jobs_finish(struct mysql_jobs *jobs, struct mysql_job *job,
                       const struct finding *finding, const char *notes)
{
    job_unlink(jobs, job);
    job->state = JOB_DONE;
    job->finding = *finding;
    struct text text = text_on(job->notes, sizeof job->notes);
    text_add(&text, notes);
    if (job->waiters == 0)
        job_free(job);
    else
        pthread_cond_broadcast(&job->done);
}

void mysql_jobs_finish_queued(struct mysql_jobs *jobs, const struct finding *finding)
{
    struct mysql_job *next;
    for (struct mysql_job *job = jobs->first; job; job = next) {
        next = job->next;
        if (job->state == JOB_QUEUED)
            mysql_jobs_finish(jobs, job, finding, finding->why.text);
    }
}

bool mysql_jobs_use(const struct mysql_jobs *jobs, const struct mysql_table *table)
{
    for (const struct mysql_job *job = jobs->first; job; job = job->next)
        if (job->table == table)
            return true;
    return false;
}
