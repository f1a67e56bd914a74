#ifndef TESTS_UNIT_PAUSE_H
#define TESTS_UNIT_PAUSE_H

#include <time.h>

/* A moment between two looks at a condition; the wait itself has a deadline. */
static inline void test_pause(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
}

#endif
