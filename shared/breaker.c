#include "shared/breaker.h"

#include "shared/clock.h"

void breaker_init(struct breaker *breaker, int64_t rest_ms, int64_t rest_max_ms)
{
    *breaker = (struct breaker){.rest_ms = rest_ms, .rest_max_ms = rest_max_ms};
    pthread_mutex_init(&breaker->lock, NULL);
}

void breaker_release(struct breaker *breaker)
{
    pthread_mutex_destroy(&breaker->lock);
}

bool breaker_is_open(struct breaker *breaker)
{
    pthread_mutex_lock(&breaker->lock);
    bool open = breaker->open;
    pthread_mutex_unlock(&breaker->lock);
    return open;
}

bool breaker_probe(struct breaker *breaker)
{
    pthread_mutex_lock(&breaker->lock);
    bool mine = breaker->open && !breaker->probing && clock_mono_ms() >= breaker->probe_at_ms;
    if (mine)
        breaker->probing = true;
    pthread_mutex_unlock(&breaker->lock);
    return mine;
}

int64_t breaker_probe_due(struct breaker *breaker)
{
    pthread_mutex_lock(&breaker->lock);
    int64_t due = breaker->open && !breaker->probing ? breaker->probe_at_ms : INT64_MAX;
    pthread_mutex_unlock(&breaker->lock);
    return due;
}

bool breaker_failed(struct breaker *breaker)
{
    pthread_mutex_lock(&breaker->lock);
    int64_t now = clock_mono_ms();
    bool opened = !breaker->open;
    if (opened) {
        breaker->open = true;
        breaker->opened_at_ms = now;
        breaker->rest_now_ms = breaker->rest_ms;
        breaker->probe_at_ms = now + breaker->rest_now_ms;
    } else if (breaker->probing) {
        int64_t twice = 2 * breaker->rest_now_ms;
        breaker->rest_now_ms = twice < breaker->rest_max_ms ? twice : breaker->rest_max_ms;
        breaker->probe_at_ms = now + breaker->rest_now_ms;
    } /* else a use that began before it opened: it says nothing new and prolongs nothing */
    breaker->probing = false;
    pthread_mutex_unlock(&breaker->lock);
    return opened;
}

bool breaker_succeeded(struct breaker *breaker, int64_t *open_ms)
{
    pthread_mutex_lock(&breaker->lock);
    bool closed = breaker->open && breaker->probing;
    if (closed) {
        if (open_ms)
            *open_ms = clock_mono_ms() - breaker->opened_at_ms;
        breaker->open = false;
        breaker->probing = false;
    }
    pthread_mutex_unlock(&breaker->lock);
    return closed;
}
