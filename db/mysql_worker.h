/*
 * mysql_worker - the inside of a mysql_pool: its workers, its watchdog, and what it knows of its
 * hosts. For db/mysql_pool.c, mysql_worker.c, mysql_watchdog.c and mysql_health.c only.
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
    int64_t idle_since_ms;
    unsigned seed;
    struct finding finding;
    struct text notes; /* on notes_bytes: lines for the trace */
    char notes_bytes[MYSQL_NOTES_MAX];
    char sql[MYSQL_SQL_MAX];
};

struct mysql_pool_host {
    struct breaker breaker;
    unsigned connections;     /* pool lock */
    int64_t resting_since_ms; /* pool lock: monotonic */
    struct fault reason;      /* pool lock: its last failure, with its name */
};

/* A table whose statement cannot work until somebody mends something. */
struct mysql_table_trouble {
    struct mysql_table_trouble *next;
    const struct mysql_table *table;
    unsigned number;
    int64_t since_ms;
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

/* mysql_health.c. Host and table states; each change is logged here, once, without the lock. */

/* Lock held. True when every host is resting; the fault says why. */
bool mysql_all_hosts_rest(struct mysql_pool *pool, struct fault *fault);
/* The fault is without the host's name. */
void mysql_host_failed(struct mysql_pool *pool, unsigned host, const struct fault *fault);
void mysql_host_recovered(struct mysql_pool *pool, unsigned host);
void mysql_table_failed(struct mysql_pool *pool, const struct mysql_table *table, unsigned number,
                        const struct fault *fault);
void mysql_table_answered(struct mysql_pool *pool, const struct mysql_table *table);
/* Lock held. */
void mysql_table_trouble_forget(struct mysql_pool *pool, const struct mysql_table *table);

#endif
