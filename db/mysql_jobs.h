/*
 * mysql_jobs - the lookups a pool has under way: one job per (table, key), however many callers
 * wait for it. A caller joins or adds, waits, and leaves; a worker takes, finishes, and tells.
 *
 * The list is covered by the lock of the pool that owns it: each function is called with it held,
 * where nothing else is said. Waiting and telling have a lock of the job's own, so that whoever is
 * woken does not stand in line for the pool's at once, with all the others.
 */
#ifndef DB_MYSQL_JOBS_H
#define DB_MYSQL_JOBS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "db/directory.h"
#include "db/mysql_table.h"
#include "shared/address.h"

enum { MYSQL_NOTES_MAX = 4096 };

struct mysql_job {
    struct mysql_job *next;
    const struct mysql_table *table; /* set once; must not be used once the job is done */
    char key[ADDRESS_KEY_MAX];       /* set once */
    /* Pool lock, as the next two; JOB_DONE is the last, and then it is no longer in the list. */
    enum { JOB_QUEUED = 1, JOB_RUNNING, JOB_DONE } state;
    unsigned waiters;
    struct deadline deadline;    /* the latest of the waiters' */
    struct finding finding;      /* set once, before JOB_DONE */
    char notes[MYSQL_NOTES_MAX]; /* the same: lines for the trace */

    _Atomic unsigned
        holders;          /* JOB_DONE: those waiters, and whoever tells them; the last frees it */
    pthread_mutex_t lock; /* a leaf */
    bool told;            /* its lock; after JOB_DONE */
    pthread_cond_t done;  /* told, for the waiters */
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

/* Without the pool's lock: until the job is done, or the deadline. True: it is done, and the caller
 * may read what came of it, and leave, without the lock. */
bool mysql_job_wait(struct mysql_job *job, struct deadline deadline);

/* A waiter goes. A job nobody waits for ends here, unless a worker has it. */
void mysql_jobs_leave(struct mysql_jobs *jobs, struct mysql_job *job);

/* The oldest queued job, now running; NULL when there is none. */
struct mysql_job *mysql_jobs_next(struct mysql_jobs *jobs);

/* A running job is queued again, at its old place; it ends here if nobody waits for it any more. */
void mysql_jobs_requeue(struct mysql_jobs *jobs, struct mysql_job *job);

/* The job is done, and this came of it. mysql_job_tell has to follow. */
void mysql_jobs_finish(struct mysql_jobs *jobs, struct mysql_job *job,
                       const struct finding *finding, const char *notes);

/* Wakes all who wait for a job that is done; better without the pool's lock. The job may be gone
 * when this returns. */
void mysql_job_tell(struct mysql_job *job);

/* Finishes every job no worker has begun, and tells of it. */
void mysql_jobs_finish_queued(struct mysql_jobs *jobs, const struct finding *finding);

bool mysql_jobs_use(const struct mysql_jobs *jobs, const struct mysql_table *table);

#endif
