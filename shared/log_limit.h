/*
 * log_limit - so many lines about recipients within so long, and a count of what was left out. Any
 * thread; the lock is a leaf. The caller brings the time (monotonic, milliseconds).
 *
 * Lines about recipients refused with a 5xx are evidence: they have as many of their own, so that
 * no flood of others hides one.
 */
#ifndef SHARED_LOG_LIMIT_H
#define SHARED_LOG_LIMIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum log_kind { LOG_KIND_PASS = 0, LOG_KIND_4XX, LOG_KIND_5XX, LOG_KIND_COUNT };

enum { LOG_LEFT_OUT_MS = 60000 }; /* what was left out is told so often while it goes on */

struct log_limit {
    pthread_mutex_t lock;
    int64_t window_at_ms;   /* lock, as the rest: the window began */
    unsigned written;       /* in it: of those that pass or are deferred */
    unsigned written_5xx;   /* in it: of the others */
    int64_t left_out_at_ms; /* the first of the following was left out */
    int64_t left_out_last_ms;
    uint64_t left_out[LOG_KIND_COUNT];
};

#define LOG_LIMIT_INITIALIZER                                                                      \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER                                                          \
    }

/* May this line be written? If not, it is counted. */
bool log_limit_allows(struct log_limit *limit, unsigned count, int64_t window_ms,
                      enum log_kind kind, int64_t now_ms);

struct log_left_out {
    uint64_t lines[LOG_KIND_COUNT], all;
    int64_t for_s; /* since the first; at least 1 */
};

/* Is there something to tell: the flood is over, or has lasted for LOG_LEFT_OUT_MS, or `now` is
 * all there is (`at_once`)? Then it is no longer counted. */
bool log_limit_left_out(struct log_limit *limit, int64_t window_ms, bool at_once, int64_t now_ms,
                        struct log_left_out *left_out);

#endif
