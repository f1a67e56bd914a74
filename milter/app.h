/*
 * app - the process: the configuration in force as a snapshot, its exchange, and the few things
 * that outlive it.
 *
 * A snapshot is read-only. Whoever works with one takes it and drops it; a reload builds a new one
 * aside, swaps it in, waits for the old one's last reader and closes it, on the thread that
 * reloads, never in a callback.
 */
#ifndef MILTER_APP_H
#define MILTER_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/settings.h"
#include "db/resolver.h"
#include "milter/guard.h"
#include "milter/sentinel.h"
#include "shared/fault.h"

struct app;

struct app_options {
    const char *config_path;      /* as given with -c */
    const char *const *overrides; /* as given with -o */
    size_t override_count;
    bool foreground;                    /* log to standard error */
    unsigned verbosity;                 /* 1: trace each lookup, 2: the milter dialogue too */
    void (*meanwhile)(struct app *app); /* called where the main thread is busy for seconds */
};

struct snapshot {
    struct settings *settings;
    struct resolver *resolver;
    struct sentinel_list *sentinels;
    struct guard *guard;           /* lent by the app, as the next four; NULL in rcptctl */
    struct known_good *known_good; /* the resolver has it, too */
    struct ledger *ledger;         /* the same */
    struct sentinel *sentinel;
    struct canary *canary;
    unsigned readers; /* the app's lock */
};

/* Reads the configuration and opens what it names; for a program without a milter too (rcptctl).
 * offline: files only. NULL and a fault. The caller ends it with snapshot_close. */
struct snapshot *snapshot_open(const struct app_options *options, bool offline,
                               struct fault *fault);
void snapshot_close(struct snapshot *snapshot); /* NULL is fine */

/* Once, by main, after the snapshot was opened; the app owns it from then on. `options` must
 * outlive the app. NULL when memory is short. */
struct app *app_create(const struct app_options *options, struct snapshot *snapshot);

/* Any thread. NULL once the app is stopping. Never held while waiting for anything without a
 * deadline. */
struct snapshot *app_take(struct app *app);
void app_drop(struct app *app, struct snapshot *snapshot);

/* Main thread: reads the configuration again and swaps it in. False and a fault when it is wrong,
 * or, without `force`, when a recipient would fare worse with it (canary.h); then the old one
 * stays. Logs the result. */
bool app_reload(struct app *app, bool force, struct fault *fault);

/* Any other thread: asks the main thread to reload and waits for the result. `wake` is called after
 * the request was noted. */
bool app_request_reload(struct app *app, bool force, void (*wake)(void), struct fault *fault);
/* Main thread: is there a noted request? Carries it out. */
bool app_reload_requested(struct app *app);
void app_serve_reload(struct app *app);

/* Main thread: from now on app_take gives NULL. Waits until the last reader is gone, at most about
 * lookup_deadline; then closes the snapshot. False when readers were left: then nothing was closed.
 */
bool app_stop(struct app *app);

unsigned app_verbosity(const struct app *app);
void app_set_verbosity(struct app *app, unsigned verbosity);
int64_t app_uptime_s(const struct app *app);
const char *app_config_path(const struct app *app);
int64_t app_loaded_s_ago(struct app *app); /* since the configuration in force was read */

#endif
