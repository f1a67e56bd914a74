/*
 * breaker - rests one endpoint after it failed, so that its next user does not wait for it.
 *
 * CLOSED: use it. OPEN: leave it alone; only the prober may try it, one try at a time and no
 * sooner than the rest is over. The rest starts at `rest_ms`, doubles with each failed probe and
 * ends at `rest_max_ms`. Any thread; the lock is a leaf and is never held across I/O.
 *
 * Only trouble with the transport or the server is a failure. What concerns one key is not, and
 * must not be reported here.
 */
#ifndef SHARED_BREAKER_H
#define SHARED_BREAKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct breaker {
    pthread_mutex_t lock;
    int64_t rest_ms, rest_max_ms; /* set once */
    bool open;                    /* lock */
    bool probing;                 /* lock: somebody has the one probe */
    int64_t rest_now_ms;          /* lock: length of the present rest */
    int64_t probe_at_ms;          /* lock: monotonic, when the rest is over */
    int64_t opened_at_ms;         /* lock: monotonic */
};

void breaker_init(struct breaker *breaker, int64_t rest_ms, int64_t rest_max_ms);
void breaker_release(struct breaker *breaker);

bool breaker_is_open(struct breaker *breaker);

/* May the caller probe now? True to one caller only, who then reports success or failure. */
bool breaker_probe(struct breaker *breaker);

/* When the next probe is due, monotonic milliseconds; INT64_MAX while closed or being probed. */
int64_t breaker_probe_due(struct breaker *breaker);

/*
 * Both return true when this call changed the state, so that the caller logs it once. On closing,
 * *open_ms (may be NULL) is how long it had been open.
 *
 * One failure opens it. Once it is open only the probe counts: a use that began before it opened
 * and ends after it neither closes it nor prolongs the rest, so a server that answers every second
 * time does not flap faster than it is probed.
 */
bool breaker_failed(struct breaker *breaker);
bool breaker_succeeded(struct breaker *breaker, int64_t *open_ms);

#endif
