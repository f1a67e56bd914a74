/* A wall clock the test can move: in place of the C library's clock_gettime. The monotonic clock
 * goes on as it does. */
#ifndef TESTS_UNIT_CLOCK_SHIFT_H
#define TESTS_UNIT_CLOCK_SHIFT_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic int64_t clock_shift_s;

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && clock == CLOCK_REALTIME)
        now->tv_sec += atomic_load(&clock_shift_s);
    return result;
}

#endif
