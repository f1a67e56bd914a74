/*
 * mysql_jobs - the lookups a pool has under way: one job per (table, key), however many callers
 * wait for it. A caller joins or adds, waits, and leaves; a worker takes, and finishes.
 *
 * Everything here is covered by the lock of the pool that owns the list: each function is called
 * with it held.
 */
#ifndef DB_MYSQL_JOBS_H
#define DB_MYSQL_JOBS_H

#include <pthread.h>
#include <stdbool.h>

#include "db/directory.h"
#include "db/mysql_table.h"
#include "shared/address.h"

enum { MYSQL_NOTES_MAX = 4096 };

struct mysql_job {
    struct mysql_job *next;
    const struct mysql_table *table; /* set once; must not be used once the job is done */
    char key[ADDRESS_KEY_MAX];       /* set once */
    enum { JOB_QUEUED = 1, JOB_RUNNING, JOB_DONE } state;
    unsigned waiters;
    struct deadline deadline;    /* the latest of the waiters' */
    pthread_cond_t done;         /* for the waiters */
    struct finding finding;      /* JOB_DONE */
    char notes[MYSQL_NOTES_MAX]; /* JOB_DONE: lines for the trace */
};

struct mysql_jobs {
    struct mysql_job *first; /* those not done, oldest first */
};

/* The job of this table and key that is not done yet, or NULL; the caller is one more waiter. */
struct mysql_job *mysql_jobs_join(struct mysql_jobs *jobs, const struct mysql_table *table,
                                  const char *key, struct deadline deadline);

/* A new queued job with one waiter; NULL when memory is short, or the key is too long. */
struct mysql_job *mysql_jobs_add(struct mysql_jobs *jobs, const struct mysql_table *table,
                                 const char *key, struct deadline deadline);

/* A waiter goes. A job nobody waits for ends here, unless a worker has it. */
void mysql_jobs_leave(struct mysql_jobs *jobs, struct mysql_job *job);

/* The oldest queued job, now running; NULL when there is none. */
struct mysql_job *mysql_jobs_next(struct mysql_jobs *jobs);

/* A running job is queued again, at its old place; it ends here if nobody waits for it any more. */
void mysql_jobs_requeue(struct mysql_jobs *jobs, struct mysql_job *job);

/* Hands the finding to all who wait. The job may be gone when this returns. */
void mysql_jobs_finish(struct mysql_jobs *jobs, struct mysql_job *job,
                       const struct finding *finding, const char *notes);

/* Finishes every job no worker has begun. */
void mysql_jobs_finish_queued(struct mysql_jobs *jobs, const struct finding *finding);

bool mysql_jobs_use(const struct mysql_jobs *jobs, const struct mysql_table *table);

#endif
