#include "shared/counters.h"

#include <stdatomic.h>

#define COUNTER_ROW(name, help) {#name, help},
const struct counter_row counter_rows[COUNTER_COUNT] = {COUNTERS(COUNTER_ROW)};
#undef COUNTER_ROW

static _Atomic uint64_t counter_values[COUNTER_COUNT];

void counter_add(enum counter counter)
{
    atomic_fetch_add_explicit(&counter_values[counter], 1, memory_order_relaxed);
}

uint64_t counter_get(enum counter counter)
{
    return atomic_load_explicit(&counter_values[counter], memory_order_relaxed);
}

void counters_reset(void)
{
    for (int i = 0; i < COUNTER_COUNT; i++)
        atomic_store_explicit(&counter_values[i], 0, memory_order_relaxed);
}
