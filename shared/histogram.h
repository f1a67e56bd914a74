/*
 * histogram - how long things take, counted in fixed buckets. One row each: add a row and it is
 * printed by `rcptctl stats --prometheus`. Like the counters they live as long as the process.
 *
 * Any thread, without a lock: two relaxed additions, so that a cached answer may afford one.
 */
#ifndef SHARED_HISTOGRAM_H
#define SHARED_HISTOGRAM_H

#include <stdint.h>

/* X(name, help); the name ends in its unit, as Prometheus wants it */
#define HISTOGRAMS(X)                                                                              \
    X(lookup_seconds, "one recipient, from its RCPT to the reply")                               \
    X(directory_query_seconds, "one SQL statement, also one that failed")                          \
    X(memcache_get_seconds, "one get from memcached, also one that failed")

enum histogram {
#define HISTOGRAM_NAME(name, help) HISTOGRAM_##name,
    HISTOGRAMS(HISTOGRAM_NAME)
#undef HISTOGRAM_NAME
        HISTOGRAM_COUNT
};

struct histogram_row {
    const char *name;
    const char *help;
};

extern const struct histogram_row histogram_rows[HISTOGRAM_COUNT];

/* Upper bounds, inclusive, in microseconds; what is above the last one has a bucket of its own. */
enum { HISTOGRAM_BOUNDS = 19, HISTOGRAM_BUCKETS = HISTOGRAM_BOUNDS + 1 };
extern const int64_t histogram_bounds_us[HISTOGRAM_BOUNDS];

struct histogram_state {
    uint64_t count[HISTOGRAM_BUCKETS]; /* of each bucket alone */
    uint64_t sum_us;
};

void histogram_add(enum histogram histogram, int64_t us); /* less than nothing counts as nothing */
void histogram_read(enum histogram histogram, struct histogram_state *state);
void histograms_reset(void);

/* The time within which this share (0 to 1) of them was done, in microseconds: interpolated within
 * its bucket, as PromQL's histogram_quantile does. -1 where there are none. What is above the last
 * bound is told as the last bound. Pure. */
double histogram_quantile_us(const struct histogram_state *state, double share);

#endif
