#include "db/meanwhile.h"

#include <inttypes.h>
#include <stdio.h>

#include "shared/counters.h"

/* Asked in vain, or not at all because too many were asking. */
static uint64_t unanswered(void)
{
    return counter_get(COUNT_directory_unavailable) + counter_get(COUNT_lookups_shed);
}

void meanwhile_begin(struct meanwhile *meanwhile)
{
    *meanwhile = (struct meanwhile){.unanswered = unanswered(),
                                    .stale = counter_get(COUNT_stale_vouched),
                                    .known_good = counter_get(COUNT_known_good_vouched)};
}

/* After `rcptctl stats --reset` the counter is all there is. */
static uint64_t since(uint64_t before, uint64_t now)
{
    return now >= before ? now - before : now;
}

void meanwhile_print(const struct meanwhile *meanwhile, char sentence[MEANWHILE_MAX])
{
    uint64_t stale = since(meanwhile->stale, counter_get(COUNT_stale_vouched));
    uint64_t known_good = since(meanwhile->known_good, counter_get(COUNT_known_good_vouched));
    uint64_t all = since(meanwhile->unanswered, unanswered());
    uint64_t nobody = all > stale + known_good ? all - stale - known_good : 0;
    sentence[0] = '\0';
    if (stale + known_good + nobody > 0)
        snprintf(sentence, MEANWHILE_MAX,
                 "; meanwhile %" PRIu64 " lookups were answered from stale answers, %" PRIu64
                 " from the known-good store, %" PRIu64 " by nobody",
                 stale, known_good, nobody);
}
