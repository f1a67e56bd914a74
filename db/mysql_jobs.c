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
    pthread_mutex_destroy(&job->lock);
    free(job);
}

/* Of a job that is done: one of those who hold it has seen it. */
static void job_let_go(struct mysql_job *job)
{
    if (atomic_fetch_sub(&job->holders, 1) == 1)
        job_free(job);
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
    pthread_mutex_init(&job->lock, NULL);

    struct mysql_job **end = &jobs->first;
    while (*end)
        end = &(*end)->next;
    *end = job;
    return job;
}

bool mysql_job_wait(struct mysql_job *job, struct deadline deadline)
{
    pthread_mutex_lock(&job->lock);
    while (!job->told && clock_cond_wait(&job->done, &job->lock, deadline))
        ;
    bool told = job->told;
    pthread_mutex_unlock(&job->lock);
    return told;
}

void mysql_jobs_leave(struct mysql_jobs *jobs, struct mysql_job *job)
{
    if (job->state == JOB_DONE) {
        job_let_go(job);
        return;
    }
    if (--job->waiters > 0 || job->state == JOB_RUNNING)
        return;
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
    atomic_store(&job->holders, job->waiters + 1);
}

void mysql_job_tell(struct mysql_job *job)
{
    pthread_mutex_lock(&job->lock);
    job->told = true;
    pthread_mutex_unlock(&job->lock);
    pthread_cond_broadcast(&job->done); /* without the lock: they shall find it free */
    job_let_go(job);
}

void mysql_jobs_finish_queued(struct mysql_jobs *jobs, const struct finding *finding)
{
    struct mysql_job *next;
    for (struct mysql_job *job = jobs->first; job; job = next) {
        next = job->next;
        if (job->state != JOB_QUEUED)
            continue;
        mysql_jobs_finish(jobs, job, finding, finding->why.text);
        mysql_job_tell(job);
    }
}

bool mysql_jobs_use(const struct mysql_jobs *jobs, const struct mysql_table *table)
{
    for (const struct mysql_job *job = jobs->first; job; job = job->next)
        if (job->table == table)
            return true;
    return false;
}
