#include "milter/convoy.h"

#include <pthread.h>

#include "milter/listener.h"
#include "shared/clock.h"

enum { TICK_MS = 50 };

static struct endpoint own_socket; /* set once */
static pthread_cond_t changed;     /* set once; somebody entered while the watcher slept, or stop */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf; covers what follows */
static uint64_t tick = 1;
static unsigned young; /* callbacks that entered in this tick */
static unsigned old;   /* and before it */
static bool asleep;    /* the watcher, until somebody enters */
static bool stopped;

static pthread_t watcher; /* main's */

/* The lock is held, but not while it connects. */
static void touch_socket(void)
{
    pthread_mutex_unlock(&lock);
    listener_wake(&own_socket);
    pthread_mutex_lock(&lock);
}

static void *watch(void *unused)
{
    pthread_mutex_lock(&lock);
    while (!stopped) {
        asleep = young + old == 0;
        clock_cond_wait(&changed, &lock,
                        asleep ? (struct deadline){INT64_MAX} : deadline_in_ms(TICK_MS));
        asleep = false;
        if (old > 0 && !stopped)
            touch_socket();
        old += young;
        young = 0;
        tick++;
    }
    pthread_mutex_unlock(&lock);
    return unused;
}

bool convoy_start(const struct endpoint *socket)
{
    own_socket = *socket;
    clock_cond_init(&changed);
    return pthread_create(&watcher, NULL, watch, NULL) == 0;
}

uint64_t convoy_enter(void)
{
    pthread_mutex_lock(&lock);
    young++;
    if (asleep)
        pthread_cond_signal(&changed);
    uint64_t entered = tick;
    pthread_mutex_unlock(&lock);
    return entered;
}

void convoy_leave(uint64_t entered)
{
    pthread_mutex_lock(&lock);
    (*(entered == tick ? &young : &old))--;
    pthread_mutex_unlock(&lock);
}

void convoy_stop(void)
{
    pthread_mutex_lock(&lock);
    stopped = true;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    pthread_join(watcher, NULL);
}
