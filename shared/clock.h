/*
 * clock - the two clocks and the deadline.
 *
 * Waiting and ageing inside one process use the monotonic clock; times that other processes or a
 * later run will read (memcached values) use the wall clock, in seconds since 1970. Any thread.
 */
#ifndef SHARED_CLOCK_H
#define SHARED_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

int64_t clock_mono_us(void); /* microseconds, never steps */
int64_t clock_mono_ms(void); /* milliseconds, never steps */
int64_t clock_wall_s(void);  /* seconds since 1970, may step */

/* A moment on the monotonic clock by which something must be over. It is handed down by value and
 * only ever made sooner. A zero deadline has passed long ago. */
struct deadline {
    int64_t at_us;
};

struct deadline deadline_in_ms(int64_t ms);
struct deadline deadline_sooner(struct deadline a, struct deadline b);
bool deadline_passed(struct deadline deadline);
int64_t deadline_left_ms(struct deadline deadline); /* rounded up; 0 when it has passed */

/* A condition variable whose timed waits use the monotonic clock. */
void clock_cond_init(pthread_cond_t *cond);

/* Waits on such a condition; false when the deadline passed. The mutex is held by the caller. */
bool clock_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, struct deadline deadline);

#endif
