/*
 * sentinel - recipients that always exist (sentinel_recipients), asked for past all caches: every
 * sentinel_interval, and once more before a bounce that rests on the directory's word. A directory
 * that has lost a sentinel is empty, half loaded or another one, and its ABSENT means nothing.
 *
 * One thread asks; the guard is told. It outlives reloads: each round is asked of the snapshot in
 * force.
 */
#ifndef MILTER_SENTINEL_H
#define MILTER_SENTINEL_H

#include <stdbool.h>
#include <stddef.h>

#include "config/settings.h"
#include "shared/address.h"
#include "shared/clock.h"
#include "shared/fault.h"

/* The addresses of sentinel_recipients. NULL and a fault, where one is no address ("file:line:
 * sentinel_recipients: ..."). The caller frees the list with free(). */
struct sentinel_list {
    size_t count;
    struct address addresses[];
};
struct sentinel_list *sentinel_list_read(const struct settings *settings, struct fault *fault);

struct app;
struct guard;
struct sentinel;

/* NULL when no thread is to be had. The first round is asked at once. */
struct sentinel *sentinel_start(struct app *app, struct guard *guard);
void sentinel_stop(struct sentinel *sentinel); /* NULL is fine; waits for a round under way */

/* Another configuration is in force: a round is due. */
void sentinel_reloaded(struct sentinel *sentinel);

/* Waits for a round that begins after this call, so that the sentinels were there after the answer
 * the caller holds. True when all were found; false when one was not, when nobody could be asked in
 * time, or when `callers_max` callers are waiting already. Any thread. */
bool sentinel_confirm(struct sentinel *sentinel, unsigned callers_max, struct deadline deadline);

#endif
