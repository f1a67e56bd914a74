/*
 * canary - before a new configuration goes live: does it know whom the one in force knows?
 *
 * A few of the recipients that the directory has confirmed lately are kept in memory. On a reload
 * the new configuration's directory is asked about them and about the sentinels, past all caches
 * and without storing what it says. Where it does not have one, or cannot be asked, the old one is
 * asked again, for the recipient may have been removed meanwhile, or the server may be down for
 * both. What the old one still has and the new one has not is a wrong table, password or domain
 * map.
 */
#ifndef MILTER_CANARY_H
#define MILTER_CANARY_H

#include <stdbool.h>
#include <stddef.h>

#include "db/outcome.h"
#include "shared/address.h"
#include "shared/fault.h"

struct app;
struct snapshot;
struct check_result;
struct canary;

struct canary *canary_create(void); /* one per process; NULL when memory is short */
void canary_destroy(struct canary *canary);

/* Any thread: keeps the recipient if the directory has just said that it exists. NULL is fine. */
void canary_note(struct canary *canary, const struct check_result *result);

enum { CANARY_SAMPLE_MAX = 48 };

/*
 * Some of those it keeps, in `sample`; returns how many. No address twice. One slot each for 16
 * groups of domains and 32 groups of addresses, so that a busy domain, or a busy mailbox, does not
 * displace the others.
 */
size_t canary_sample(struct canary *canary, struct address sample[CANARY_SAMPLE_MAX]);

/* Would the recipient fare worse with what the next configuration's directory says? Asked only
 * where it does not simply have it. `confirmed`: the directory has had it since the start, so that
 * an old one which cannot say now is no excuse. Pure. */
bool canary_is_worse(const struct outcome *next, const struct outcome *old, bool confirmed);
/* Does it have it, or let it pass? Pure. */
bool canary_is_well(const struct outcome *outcome);

/* Main thread: for 5 s, and what the last question takes; `meanwhile` is called before each. False
 * and a fault that names the recipient and how both answered. *asked: how many there were. */
bool canary_compare(struct canary *canary, const struct snapshot *old, const struct snapshot *next,
                    void (*meanwhile)(struct app *app), struct app *app, size_t *asked,
                    struct fault *fault);

#endif
