#include "shared/clock.h"

int64_t clock_mono_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

int64_t clock_wall_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec;
}

struct deadline deadline_in_ms(int64_t ms)
{
    /* A wait that is longer than the clock can count ends when the clock does; one that was over
     * before the clock began, when it began. */
    int64_t now = clock_mono_us();
    if (ms > (INT64_MAX - now) / 1000)
        return (struct deadline){.at_us = INT64_MAX};
    if (ms < -now / 1000)
        return (struct deadline){.at_us = 0};
    return (struct deadline){.at_us = now + ms * 1000};
}

struct deadline deadline_sooner(struct deadline a, struct deadline b)
{
    return a.at_us < b.at_us ? a : b;
}

bool deadline_passed(struct deadline deadline)
{
    return clock_mono_us() >= deadline.at_us;
}

int64_t deadline_left_ms(struct deadline deadline)
{
    int64_t left = deadline.at_us - clock_mono_us();
    return left > 0 ? left / 1000 + (left % 1000 != 0) : 0;
}

void clock_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

bool clock_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, struct deadline deadline)
{
    struct timespec at = {.tv_sec = deadline.at_us / 1000000,
                          .tv_nsec = (long)(deadline.at_us % 1000000) * 1000};
    /* Any error ends the wait: who waits in a loop must not spin on it. */
    return pthread_cond_timedwait(cond, lock, &at) == 0;
}
