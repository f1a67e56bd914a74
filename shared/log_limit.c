#include "shared/log_limit.h"

#include <string.h>

/* Lock held. */
static void note_left_out(struct log_limit *limit, enum log_kind kind, int64_t now_ms)
{
    uint64_t before = 0;
    for (int i = 0; i < LOG_KIND_COUNT; i++)
        before += limit->left_out[i];
    if (before == 0)
        limit->left_out_at_ms = now_ms;
    limit->left_out_last_ms = now_ms;
    limit->left_out[kind]++;
}

bool log_limit_allows(struct log_limit *limit, unsigned count, int64_t window_ms,
                      enum log_kind kind, int64_t now_ms)
{
    if (count == 0)
        return true;
    pthread_mutex_lock(&limit->lock);
    if (now_ms - limit->window_at_ms >= window_ms || now_ms < limit->window_at_ms) {
        limit->window_at_ms = now_ms;
        limit->written = limit->written_5xx = 0;
    }
    unsigned *written = kind == LOG_KIND_5XX ? &limit->written_5xx : &limit->written;
    bool allowed = *written < count;
    if (allowed)
        (*written)++;
    else
        note_left_out(limit, kind, now_ms);
    pthread_mutex_unlock(&limit->lock);
    return allowed;
}

bool log_limit_left_out(struct log_limit *limit, int64_t window_ms, bool at_once, int64_t now_ms,
                        struct log_left_out *left_out)
{
    *left_out = (struct log_left_out){0};
    pthread_mutex_lock(&limit->lock);
    for (int i = 0; i < LOG_KIND_COUNT; i++)
        left_out->all += left_out->lines[i] = limit->left_out[i];
    bool over = now_ms - limit->left_out_last_ms >= window_ms;
    bool due =
        left_out->all > 0 && (over || at_once || now_ms - limit->left_out_at_ms >= LOG_LEFT_OUT_MS);
    if (due) {
        left_out->for_s = (now_ms - limit->left_out_at_ms + 999) / 1000;
        if (left_out->for_s < 1)
            left_out->for_s = 1;
        memset(limit->left_out, 0, sizeof limit->left_out);
    }
    pthread_mutex_unlock(&limit->lock);
    return due;
}
