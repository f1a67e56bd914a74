#include "milter/app.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "milter/canary.h"
#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/log.h"

struct app {
    const struct app_options *options; /* borrowed */
    int64_t started_ms;
    struct guard *guard;           /* set once, as the next four */
    struct known_good *known_good; /* lent to every snapshot's resolver, as is the ledger */
    struct ledger *ledger;
    struct sentinel *sentinel;
    struct canary *canary;
    _Atomic unsigned verbosity;

    pthread_mutex_t lock;     /* a leaf; covers what follows, and the readers of every snapshot */
    pthread_cond_t changed;   /* a reader left, or a reload was carried out */
    struct snapshot *current; /* NULL once the app is stopping */
    int64_t loaded_ms;
    unsigned reloads_requested;
    unsigned reloads_served;
    bool force_requested; /* by one of those that are not served */
    bool last_reload_worked;
    struct fault last_reload_fault;
};

/* ---- snapshots ---- */

struct snapshot *snapshot_open(const struct app_options *options, bool offline, struct fault *fault)
{
    struct snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (!snapshot) {
        fault_set(fault, "out of memory");
        return NULL;
    }
    snapshot->settings =
        settings_load(options->config_path, options->overrides, options->override_count, fault);
    if (snapshot->settings)
        snapshot->sentinels = sentinel_list_read(snapshot->settings, fault);
    if (snapshot->sentinels)
        snapshot->resolver = resolver_open(snapshot->settings, offline, fault);
    if (!snapshot->resolver) {
        snapshot_close(snapshot);
        return NULL;
    }
    return snapshot;
}

void snapshot_close(struct snapshot *snapshot)
{
    if (!snapshot)
        return;
    resolver_close(snapshot->resolver);
    free(snapshot->sentinels);
    settings_free(snapshot->settings);
    free(snapshot);
}

/* A trace that was asked for is also seen where log_level would hide it. */
static void use_log_level(const struct app *app, const struct settings *settings)
{
    bool hidden = settings->log_level < LEVEL_INFO && app_verbosity(app) > 0;
    log_set_level(hidden ? LEVEL_INFO : settings->log_level);
}

static void use_log_settings(const struct app *app, const struct settings *settings)
{
    log_open(app->options->foreground, settings->syslog_name, settings->syslog_facility);
    log_set_form(settings->log_format);
    use_log_level(app, settings);
}

static void say_what_is_checked(const struct snapshot *snapshot)
{
    if (!resolver_checks_recipients(snapshot->resolver))
        log_warning("recipient_maps is empty: recipients are not checked, every one passes");
}

/* What outlives the snapshot. */
static void lend(const struct app *app, struct snapshot *snapshot)
{
    snapshot->guard = app->guard;
    snapshot->known_good = app->known_good;
    snapshot->ledger = app->ledger;
    snapshot->sentinel = app->sentinel;
    snapshot->canary = app->canary;
    resolver_lend(snapshot->resolver, app->known_good, app->ledger);
}

struct app *app_create(const struct app_options *options, struct snapshot *snapshot)
{
    const char *directory = snapshot->settings->state_directory;
    struct app *app = calloc(1, sizeof *app);
    if (!app)
        return NULL;
    app->options = options;
    atomic_store(&app->verbosity, options->verbosity);
    use_log_settings(app, snapshot->settings);
    log_start();
    app->started_ms = app->loaded_ms = clock_mono_ms();
    pthread_mutex_init(&app->lock, NULL);
    clock_cond_init(&app->changed);
    app->guard = guard_open(directory);
    app->known_good = known_good_open(directory, known_good_limits());
    app->ledger = ledger_open(directory, ledger_limits());
    app->canary = canary_create();
    lend(app, snapshot);
    app->current = snapshot;
    say_what_is_checked(snapshot);
    if (app->guard && app->known_good && app->ledger && app->canary)
        app->sentinel = snapshot->sentinel = sentinel_start(app, app->guard);
    if (!app->sentinel) {
        log_error("memory or threads are short - the daemon does not start");
        return NULL;
    }
    return app;
}

struct snapshot *app_take(struct app *app)
{
    pthread_mutex_lock(&app->lock);
    struct snapshot *snapshot = app->current;
    if (snapshot)
        snapshot->readers++;
    pthread_mutex_unlock(&app->lock);
    return snapshot;
}

void app_drop(struct app *app, struct snapshot *snapshot)
{
    pthread_mutex_lock(&app->lock);
    /* While it is the current one nobody waits for its readers to leave. */
    if (--snapshot->readers == 0 && snapshot != app->current)
        pthread_cond_broadcast(&app->changed);
    pthread_mutex_unlock(&app->lock);
}

/* Puts `next` in place of the current one, which is returned once its last reader has left; NULL
 * when one is still there at the deadline. */
static struct snapshot *exchange(struct app *app, struct snapshot *next, struct deadline deadline)
{
    pthread_mutex_lock(&app->lock);
    struct snapshot *old = app->current;
    app->current = next;
    app->loaded_ms = clock_mono_ms();
    while (old && old->readers > 0)
        if (!clock_cond_wait(&app->changed, &app->lock, deadline) && old->readers > 0)
            old = NULL;
    pthread_mutex_unlock(&app->lock);
    return old;
}

/* Readers hold a snapshot for one recipient: at most lookup_deadline, and a little for the rest. */
static struct deadline readers_deadline(const struct settings *settings)
{
    return deadline_in_ms(2 * settings->lookup_deadline_ms + 1000);
}

/* ---- reload ---- */

static void put_in_force(struct app *app, struct snapshot *next)
{
    lend(app, next);
    const struct settings *before = app->current->settings; /* only this thread replaces it */
    const char *parameter = settings_restart_needed(before, next->settings);
    if (parameter)
        log_warning("%s: a new %s takes effect only with a restart; the old one stays in use",
                    settings_where(next->settings, parameter), parameter);
    use_log_settings(app, next->settings);
    struct deadline deadline = readers_deadline(before);
    struct snapshot *old = exchange(app, next, deadline);
    if (old)
        snapshot_close(old);
    else
        log_warning("the old configuration still has readers after a reload; it is left in memory");
    sentinel_reloaded(app->sentinel);
    say_what_is_checked(next);
}

/* Before anything is lent to the new one, so that nothing of it is left when it is refused. */
static bool reload(struct app *app, bool force, size_t *compared, struct fault *fault)
{
    struct snapshot *next = snapshot_open(app->options, false, fault);
    if (!next)
        return false;
    if (!force && !canary_compare(app->canary, app->current, next, app->options->meanwhile, app,
                                  compared, fault)) {
        snapshot_close(next);
        return false;
    }
    put_in_force(app, next);
    return true;
}

bool app_reload(struct app *app, bool force, struct fault *fault)
{
    size_t compared = 0;
    bool worked = reload(app, force, &compared, fault);
    counter_add(worked ? COUNT_reloads : COUNT_reload_failures);
    if (worked && force)
        log_warning("configuration %s reloaded by force, nobody was compared",
                    app_config_path(app));
    else if (worked)
        log_info("configuration %s reloaded, %zu recipients compared", app_config_path(app),
                 compared);
    else
        log_error("%s - the configuration was not reloaded, the old one stays in use", fault->text);
    return worked;
}

bool app_request_reload(struct app *app, bool force, void (*wake)(void), struct fault *fault)
{
    pthread_mutex_lock(&app->lock);
    unsigned ticket = ++app->reloads_requested;
    app->force_requested |= force;
    pthread_mutex_unlock(&app->lock);
    wake();

    struct deadline deadline = deadline_in_ms(60000);
    pthread_mutex_lock(&app->lock);
    bool served = true;
    while (served && (int)(app->reloads_served - ticket) < 0)
        served = clock_cond_wait(&app->changed, &app->lock, deadline);
    bool worked = served && app->last_reload_worked;
    if (!served)
        fault_set(fault, "the daemon did not get to the reload within 60 s");
    else if (!worked)
        *fault = app->last_reload_fault;
    pthread_mutex_unlock(&app->lock);
    return worked;
}

bool app_reload_requested(struct app *app)
{
    pthread_mutex_lock(&app->lock);
    bool requested = app->reloads_requested != app->reloads_served;
    pthread_mutex_unlock(&app->lock);
    return requested;
}

void app_serve_reload(struct app *app)
{
    struct fault fault = {{0}};
    pthread_mutex_lock(&app->lock);
    unsigned requested = app->reloads_requested;
    bool wanted = requested != app->reloads_served, force = app->force_requested;
    app->force_requested = false;
    pthread_mutex_unlock(&app->lock);
    if (!wanted)
        return;

    bool worked = app_reload(app, force, &fault);
    pthread_mutex_lock(&app->lock);
    app->reloads_served = requested;
    app->last_reload_worked = worked;
    app->last_reload_fault = fault;
    pthread_cond_broadcast(&app->changed);
    pthread_mutex_unlock(&app->lock);
}

bool app_stop(struct app *app)
{
    struct deadline deadline = readers_deadline(app->current->settings);
    sentinel_stop(app->sentinel);
    struct snapshot *last = exchange(app, NULL, deadline);
    if (!last)
        return false;
    snapshot_close(last);
    known_good_close(app->known_good);
    ledger_close(app->ledger);
    guard_close(app->guard);
    canary_destroy(app->canary);
    pthread_mutex_destroy(&app->lock);
    pthread_cond_destroy(&app->changed);
    return true;
}

/* ---- facts ---- */

unsigned app_verbosity(const struct app *app)
{
    return atomic_load_explicit(&app->verbosity, memory_order_relaxed);
}

void app_set_verbosity(struct app *app, unsigned verbosity)
{
    atomic_store(&app->verbosity, verbosity);
    struct snapshot *snapshot = app_take(app);
    if (!snapshot)
        return;
    use_log_level(app, snapshot->settings);
    app_drop(app, snapshot);
}

int64_t app_uptime_s(const struct app *app)
{
    return (clock_mono_ms() - app->started_ms) / 1000;
}

const char *app_config_path(const struct app *app)
{
    return app->options->config_path;
}

int64_t app_loaded_s_ago(struct app *app)
{
    pthread_mutex_lock(&app->lock);
    int64_t loaded_ms = app->loaded_ms;
    pthread_mutex_unlock(&app->lock);
    return (clock_mono_ms() - loaded_ms) / 1000;
}
