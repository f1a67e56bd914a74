/*
 * mysql_worker - the inside of a mysql_pool: its workers, its watchdog, and what it knows of its
 * hosts. For db/mysql_pool.c, mysql_worker.c, mysql_dial.c, mysql_ask.c, mysql_watchdog.c and
 * mysql_health.c only.
 *
 * One lock per pool covers the queue, the workers' phases and the hosts' state. It is held for a
 * few instructions at a time and never across a call that may wait (shutdown(2) does not). Under
 * it only the breakers' locks are taken, which are leaves.
 *
 * A worker's life: idle -> connecting or asking -> idle. While it is not idle it has a limit, and
 * the watchdog sees to it:
 *   asking      its socket is shut down; the library returns at once
 *   connecting  there is no socket to be had from either library, and name resolution has none:
 *               the worker is left behind (`lost`), its job answered, its host rested, and another
 *               thread takes its place. It goes, or takes its place back, when it returns. A pool
 *               replaces at most places * hosts of them, which is what can hang before every
 *               breaker is open, and while that many hang no host is probed.
 */
#ifndef DB_MYSQL_WORKER_H
#define DB_MYSQL_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "db/meanwhile.h"
#include "db/mysql_client.h"
#include "db/mysql_jobs.h"
#include "db/mysql_table.h"
#include "shared/breaker.h"
#include "shared/text.h"

enum {
    MYSQL_WORKERS_MAX = 64,
    MYSQL_SQL_MAX = 65536,    /* bytes of one statement: mailcow's longest holds the key 12 times */
    MYSQL_REST_MS = 500,      /* breaker: the first rest, */
    MYSQL_REST_MAX_MS = 4000, /* and the longest: recovery is seen within about 5 s */
    MYSQL_IDLE_MS = 60 * 1000,  /* as Postfix: an unused connection is closed */
    MYSQL_NEW_RIGHTS_MS = 1000, /* so often a session without rights is replaced by a new one */
    MYSQL_WATCH_SLACK_MS = 500, /* so that the server's own, better word comes first */
    MYSQL_CONNECT_SLACK_MS = 1000,
};

enum mysql_phase { WORKER_IDLE = 0, WORKER_CONNECTING, WORKER_ASKING };

struct mysql_worker {
    struct mysql_pool *pool;
    unsigned place; /* index in pool->workers */

    enum mysql_phase phase; /* pool lock */
    struct deadline limit;  /* pool lock: of the phase */
    int socket;             /* pool lock: while asking */
    bool shot;              /* pool lock: the watchdog has shut the socket down */
    bool lost;              /* pool lock: left behind, its place is another's */
    unsigned connecting_to; /* pool lock: while connecting */
    struct mysql_job *job;  /* pool lock: the job it has, not done */

    /* The rest is the thread's own. */
    struct mysql_client *client; /* or NULL */
    unsigned host;               /* of the client */
    int64_t idle_since_ms, connected_ms;
    unsigned seed;
    struct finding finding;
    struct text notes; /* on notes_bytes: lines for the trace */
    char notes_bytes[MYSQL_NOTES_MAX];
    char sql[MYSQL_SQL_MAX];
};

/*
 * A host is up, resting, or on trial: a probe has connected, and it is used, but no lookup was
 * answered yet. A connection says little: a server whose table is locked takes one at any time. To
 * its breaker, the trial is a part of the probe.
 *
 * While others hold connections to it, a host that takes no more of them (1040 ...) is none the
 * worse for it: it is then `refusing`, and only dialled when a back-off is over, by nobody who has
 * a job.
 */
enum mysql_host_state { HOST_UP = 0, HOST_ON_TRIAL, HOST_RESTS };
enum mysql_lag { LAG_FINE = 0, LAG_BEHIND, LAG_UNKNOWN }; /* FINE: or nobody asked */

struct mysql_pool_host {
    struct breaker breaker;
    unsigned connections;       /* pool lock, as the rest; times are monotonic */
    int64_t resting_since_ms;   /* of the outage that was logged */
    struct meanwhile meanwhile; /* the same */
    int64_t trial_since_ms;     /* 0: not on trial */
    struct fault reason;        /* its last failure, without its name */

    int64_t refusing_since_ms; /* 0: it takes connections */
    int64_t refusing_until_ms; /* then one may try */
    int64_t refusing_pause_ms;
    struct fault refusal;

    enum mysql_lag lag; /* what the last statement that found nothing was told */
    struct fault lag_why;
};

/* A table whose statement cannot work until somebody mends something. */
struct mysql_table_trouble {
    struct mysql_table_trouble *next;
    const struct mysql_table *table;
    unsigned number;
    int64_t since_ms;
    struct meanwhile meanwhile;
    struct fault fault;
};

struct mysql_pool {
    struct mysql_pool *next; /* registry lock */
    unsigned users;          /* registry lock */

    struct mysql_source source; /* set once, as are the next two */
    struct mysql_timeouts timeouts;
    unsigned places; /* workers wanted */

    pthread_mutex_t lock;
    pthread_cond_t work;  /* for workers: a job, a host that fails, the end */
    pthread_cond_t watch; /* for the watchdog: a limit sooner than watch_at, the end */
    pthread_cond_t quiet; /* for drop and forget: a job done, a thread gone */

    struct mysql_jobs jobs; /* lock, as the rest */
    struct mysql_pool_host hosts[MYSQL_HOSTS_MAX];
    struct mysql_table_trouble *troubles;
    struct mysql_worker *workers[MYSQL_WORKERS_MAX]; /* NULL: its last one is lost */
    struct deadline watch_at;
    unsigned threads; /* workers, lost ones, the watchdog */
    unsigned lost;
    bool stopping;
    bool orphaned; /* the last thread to go frees the pool */
};

/* mysql_worker.c. Lock held. False when no thread is to be had. */
bool mysql_worker_start(struct mysql_pool *pool, unsigned place);

static inline unsigned mysql_pool_lost_max(const struct mysql_pool *pool)
{
    return pool->places * (unsigned)pool->source.host_count;
}

/* mysql_watchdog.c */
void *mysql_watchdog_main(void *pool);

/* mysql_pool.c: detached, with all signals blocked. Lock held. */
bool mysql_pool_thread(struct mysql_pool *pool, void *(*main)(void *), void *argument);
/* The calling thread goes. Lock held; it is released. */
void mysql_pool_thread_leaves(struct mysql_pool *pool);

/* mysql_worker.c: for the trace. */
void mysql_worker_note(struct mysql_worker *worker, const char *what);

/* mysql_worker.c. Phases; both lock. False: the pool is stopping. */
bool mysql_phase_begin(struct mysql_worker *worker, enum mysql_phase phase, int64_t ms,
                       unsigned host);
bool mysql_phase_end(struct mysql_worker *worker); /* true: the watchdog had to end it */

/* mysql_dial.c: connections. */
enum mysql_dialled {
    DIAL_FAILED = 0, /* the hosts rest now */
    DIAL_LATE,       /* the deadline passed, or this process has no descriptor left */
    DIAL_REFUSED,    /* a host has connections to us, and takes no more: the job is for those */
    DIAL_DONE,
    DIAL_KEPT, /* the connection there was */
    DIAL_LOST, /* the watchdog has left us behind: the job is no longer ours */
};
enum mysql_dialled mysql_worker_dial(struct mysql_worker *worker, unsigned host,
                                     struct mysql_client **client, struct fault *fault);
/* A connection to a host that does not rest. */
enum mysql_dialled mysql_worker_connect(struct mysql_worker *worker, struct deadline deadline,
                                        struct fault *fault);
void mysql_worker_adopt(struct mysql_worker *worker, struct mysql_client *client, unsigned host);
void mysql_worker_hang_up(struct mysql_worker *worker);

/* mysql_ask.c: one go at the job on the worker's connection. Sets the worker's finding; true when
 * another go, on another connection, may help. `kept`: the connection was not made for this job. */
bool mysql_worker_ask(struct mysql_worker *worker, const struct mysql_job *job, bool kept);

/* mysql_health.c. Host and table states; each change is logged here, once, without the lock. */

/* Lock held. */
enum mysql_host_state mysql_host_state(struct mysql_pool *pool, unsigned host);
/* May a worker without a connection dial this refusing host now? If not, when. To one at a time. */
bool mysql_host_try_again(struct mysql_pool *pool, unsigned host, int64_t *due_ms);
bool mysql_host_is_refusing(const struct mysql_pool *pool, unsigned host);
bool mysql_some_host_is_refusing(struct mysql_pool *pool);               /* and not resting */
bool mysql_all_hosts_rest(struct mysql_pool *pool, struct fault *fault); /* who says why */

/* What came of connections and statements; they lock. Faults are without the host's name. */
void mysql_host_failed(struct mysql_pool *pool, unsigned host, const struct fault *fault);
void mysql_host_probed(struct mysql_pool *pool, unsigned host); /* it has connected */
void mysql_host_answered(struct mysql_pool *pool, unsigned host, int64_t took_ms);
void mysql_host_connected(struct mysql_pool *pool, unsigned host);
/* It takes no more connections. False where we have none to go on with. */
bool mysql_host_refused(struct mysql_pool *pool, unsigned host, const struct fault *fault);
void mysql_host_lag(struct mysql_pool *pool, unsigned host, enum mysql_lag lag,
                    const struct fault *why);
void mysql_table_failed(struct mysql_pool *pool, const struct mysql_table *table, unsigned number,
                        const struct fault *fault);
void mysql_table_answered(struct mysql_pool *pool, const struct mysql_table *table);
/* Lock held. */
void mysql_table_trouble_forget(struct mysql_pool *pool, const struct mysql_table *table);

static inline const char *mysql_host_name(const struct mysql_pool *pool, unsigned host)
{
    return pool->source.hosts[host].text;
}

#endif
