#include "shared/histogram.h"

#include <stdatomic.h>

#define HISTOGRAM_ROW(name, help) {#name, help},
const struct histogram_row histogram_rows[HISTOGRAM_COUNT] = {HISTOGRAMS(HISTOGRAM_ROW)};
#undef HISTOGRAM_ROW

/* From a process cache's microseconds to the longest lookup_deadline that makes sense. */
const int64_t histogram_bounds_us[HISTOGRAM_BOUNDS] = {
    5,     10,    25,    50,     100,    250,    500,     1000,    2500,    5000,
    10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 10000000};

static struct {
    _Atomic uint64_t count[HISTOGRAM_BUCKETS];
    _Atomic uint64_t sum_us;
} values[HISTOGRAM_COUNT];

void histogram_add(enum histogram histogram, int64_t us)
{
    int bucket = 0;
    us = us < 0 ? 0 : us;
    while (bucket < HISTOGRAM_BOUNDS && us > histogram_bounds_us[bucket])
        bucket++; /* what is cached ends after a step or two */
    atomic_fetch_add_explicit(&values[histogram].count[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&values[histogram].sum_us, (uint64_t)us, memory_order_relaxed);
}

void histogram_read(enum histogram histogram, struct histogram_state *state)
{
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        state->count[i] = atomic_load_explicit(&values[histogram].count[i], memory_order_relaxed);
    state->sum_us = atomic_load_explicit(&values[histogram].sum_us, memory_order_relaxed);
}

void histograms_reset(void)
{
    for (int i = 0; i < HISTOGRAM_COUNT; i++) {
        for (int j = 0; j < HISTOGRAM_BUCKETS; j++)
            atomic_store_explicit(&values[i].count[j], 0, memory_order_relaxed);
        atomic_store_explicit(&values[i].sum_us, 0, memory_order_relaxed);
    }
}

double histogram_quantile_us(const struct histogram_state *state, double share)
{
    double all = 0, below = 0;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        all += (double)state->count[i];
    if (all == 0)
        return -1;
    double rank = share * all;
    for (int i = 0; i < HISTOGRAM_BOUNDS; i++) {
        double here = (double)state->count[i];
        if (here > 0 && below + here >= rank) {
            double from = i == 0 ? 0 : (double)histogram_bounds_us[i - 1];
            return from + ((double)histogram_bounds_us[i] - from) * (rank - below) / here;
        }
        below += here;
    }
    return (double)histogram_bounds_us[HISTOGRAM_BOUNDS - 1];
}
