/*
 * rcpt-milter: the order in which the daemon starts and stops.
 *
 * Threads: main waits for signals and the watchdog, reloads, and stops; one thread serves
 * libmilter, which has workers of its own; one accepts control connections; one serves metrics,
 * where configured; the maps and memcached have theirs.
 *
 * Signals: HUP, TERM and INT are blocked in every thread and read by main from a descriptor.
 * libmilter has a thread that waits for them too, and would take each of them for "stop": see
 * sigwait() in callbacks.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "db/memcache.h"
#include "db/mysql_client.h"
#include "milter/app.h"
#include "milter/callbacks.h"
#include "milter/command.h"
#include "milter/control.h"
#include "milter/listener.h"
#include "milter/metrics.h"
#include "milter/notify.h"
#include "milter/report.h"
#include "milter/version.h"
#include "shared/clock.h"
#include "shared/digest.h"
#include "shared/log.h"

enum {
    OVERRIDES_MAX = 256,
    STUCK_SLACK_MS = 3000,   /* for a machine that is busy with other things */
    LEFT_OUT_TICK_MS = 1000, /* so often main looks whether lines of the log were left out */
    LOG_PATIENCE_MS = 2000   /* at the end, for whoever reads the log */
};

enum action { ACTION_RUN, ACTION_TEST, ACTION_PRINT };

struct command_line {
    struct app_options options;
    const char *overrides[OVERRIDES_MAX];
    enum action action;
};

static void usage(FILE *out)
{
    fprintf(out, "usage: rcpt-milter [-f] [-v] [-c file] [-o name=value]... [-t | -T | -V]\n");
}

static void parse_command_line(int argc, char **argv, struct command_line *line)
{
    line->options.config_path = SETTINGS_DEFAULT_PATH;
    line->options.overrides = line->overrides;
    for (int option; (option = getopt(argc, argv, "fvc:o:tTV")) != -1;) {
        switch (option) {
        case 'f':
            line->options.foreground = true;
            break;
        case 'v':
            line->options.verbosity++;
            break;
        case 'c':
            line->options.config_path = optarg;
            break;
        case 'o':
            if (line->options.override_count == OVERRIDES_MAX) {
                fprintf(stderr, "rcpt-milter: more than %d times -o\n", OVERRIDES_MAX);
                exit(EXIT_USAGE);
            }
            line->overrides[line->options.override_count++] = optarg;
            break;
        case 't':
            line->action = ACTION_TEST;
            break;
        case 'T':
            line->action = ACTION_PRINT;
            break;
        case 'V':
            printf("rcpt-milter %s\n", VERSION);
            exit(0);
        default:
            usage(stderr);
            exit(EXIT_USAGE);
        }
    }
    if (optind < argc) {
        usage(stderr);
        exit(EXIT_USAGE);
    }
}

/* ---- signals ---- */

static int signal_fd; /* set once: HUP, TERM, INT */
static int wake_fd;   /* set once: an eventfd for the other threads */

static void wake_main(void)
{
    uint64_t one = 1;
    ssize_t ignored = write(wake_fd, &one, sizeof one); /* full: main has enough to wake for */
    (void)ignored;
}

/* Before any thread is started: they inherit the mask. */
static bool signals_open(void)
{
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGHUP);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ours, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal_fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return signal_fd >= 0 && wake_fd >= 0;
}

struct events {
    bool stop;
    bool reload;
};

/* What came since the last time. */
static struct events take_events(void)
{
    struct events events = {false, false};
    struct signalfd_siginfo signal;
    uint64_t count;
    while (read(signal_fd, &signal, sizeof signal) == sizeof signal) {
        events.reload |= signal.ssi_signo == SIGHUP;
        events.stop |= signal.ssi_signo != SIGHUP;
    }
    while (read(wake_fd, &count, sizeof count) == sizeof count)
        ;
    return events;
}

/* ---- going into the background ---- */

/* The parent waits until the child is ready or has failed, so that whoever starts us learns which.
 * Returns the descriptor the child reports on, or -1 in the foreground. */
static int go_into_background(void)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0)
        return -1;
    pid_t child = fork();
    if (child > 0) {
        char ready = 0;
        close(report[1]);
        ssize_t got = read(report[0], &ready, 1);
        if (got != 1)
            fprintf(stderr, "rcpt-milter: it did not start; the system log says why\n");
        _exit(got == 1 ? 0 : 1);
    }
    close(report[0]);
    if (child == 0) {
        setsid(); /* no chdir: -c may be relative, and a reload reads it again */
        int null = open("/dev/null", O_RDWR);
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        if (null > STDERR_FILENO)
            close(null);
    }
    return report[1];
}

static void report_ready(int report)
{
    if (report < 0)
        return;
    ssize_t ignored = write(report, "", 1);
    (void)ignored;
    close(report);
    int null = open("/dev/null", O_RDWR);
    dup2(null, STDERR_FILENO);
    close(null);
}

/* ---- serving ---- */

static _Atomic bool milter_ended; /* libmilter serves no more */

static void *milter_main(void *argument)
{
    (void)argument;
    if (!callbacks_serve())
        log_error("libmilter gave up serving; the daemon stops");
    atomic_store(&milter_ended, true);
    wake_main();
    return NULL;
}

static void tell_ready(struct app *app)
{
    struct snapshot *snapshot = app_take(app);
    char status[128];
    snprintf(status, sizeof status, "role %s, recipients %s", role_name(snapshot->settings->role),
             resolver_checks_recipients(snapshot->resolver)
                 ? "checked"
                 : "NOT CHECKED: recipient_maps is empty");
    app_drop(app, snapshot);
    notify_ready(status);
}

static void reload(struct app *app, bool by_signal)
{
    struct fault fault = {{0}};
    notify_reloading();
    if (by_signal)
        app_reload(app, false, &fault);
    app_serve_reload(app);
    metrics_follow(app);
    tell_ready(app);
}

/* Only while lookups end: one may take lookup_deadline, and nothing takes twice that and more. */
static void feed_watchdog(struct app *app)
{
    static bool starving; /* logged */
    struct snapshot *snapshot = app_take(app);
    int64_t limit_ms = 2 * snapshot->settings->lookup_deadline_ms + STUCK_SLACK_MS;
    app_drop(app, snapshot);
    int64_t stuck_ms = callbacks_stuck_ms();
    bool stuck = stuck_ms >= limit_ms;
    if (stuck && !starving)
        log_error("no recipient has been answered for %lld s, though some wait: systemd's watchdog "
                  "is not fed until one is",
                  (long long)(stuck_ms / 1000));
    starving = stuck;
    if (!stuck)
        notify_alive();
}

static void tell_left_out(struct app *app, bool at_once)
{
    struct snapshot *snapshot = app_take(app);
    report_left_out(snapshot->settings, at_once);
    app_drop(app, snapshot);
}

/* Until somebody wants us to stop; false where libmilter did that by itself. */
static bool wait_for_events(struct app *app)
{
    int interval = (int)notify_interval_ms();
    if (interval < 0 || interval > LEFT_OUT_TICK_MS)
        interval = LEFT_OUT_TICK_MS;
    while (!atomic_load(&milter_ended)) {
        struct pollfd watched[] = {{.fd = signal_fd, .events = POLLIN},
                                   {.fd = wake_fd, .events = POLLIN}};
        feed_watchdog(app);
        tell_left_out(app, false);
        if (poll(watched, 2, interval) <= 0)
            continue;
        struct events events = take_events();
        if (events.stop)
            return true;
        if (events.reload || app_reload_requested(app))
            reload(app, events.reload);
    }
    return false;
}

static bool open_sockets(struct app *app, const struct settings *settings, struct fault *fault)
{
    return listener_lock(&settings->milter_socket, fault) &&
           listener_lock(&settings->control_socket, fault) &&
           control_start(app, settings->control_socket.path, wake_main, fault) &&
           callbacks_open(app, &settings->milter_socket, settings->milter_socket_mode, fault);
}

static int serve(struct app *app, const struct settings *settings, int report)
{
    struct fault fault = {{0}};
    pthread_t milter;
    listener_raise_limits();
    if (!open_sockets(app, settings, &fault)) {
        log_error("%s - the daemon does not start", fault.text);
        return EXIT_FAILURE;
    }
    if (pthread_create(&milter, NULL, milter_main, NULL) != 0) {
        log_error("cannot start a thread - the daemon does not start");
        return EXIT_FAILURE;
    }
    log_info("rcpt-milter %s serves, role %s", VERSION, role_name(settings->role));
    metrics_follow(app);
    tell_ready(app);
    report_ready(report);

    bool asked = wait_for_events(app);
    log_info("stopping");
    notify_stopping();
    control_stop();
    metrics_stop();
    callbacks_stop();
    pthread_join(milter, NULL);
    tell_left_out(app, true);
    if (!app_stop(app))
        log_warning("lookups were still under way at the end");
    log_info("stopped");
    log_drain(LOG_PATIENCE_MS);
    return asked ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* What the files have to say while they are opened is logged in the form they ask for. */
static void use_log_format(const struct app_options *options)
{
    struct fault told_later;
    struct settings *settings = settings_load(options->config_path, options->overrides,
                                              options->override_count, &told_later);
    if (settings)
        log_set_form(settings->log_format);
    settings_free(settings);
}

static int run(struct command_line *line)
{
    struct fault fault = {{0}};
    int report = -1;
    if (!signals_open())
        fault_set(&fault, "cannot wait for signals: %s", strerror(errno));
    if (fault.text[0] || !memcache_library_is_safe(&fault) || !mysql_client_library_init(&fault)) {
        log_error("%s - the daemon does not start", fault.text);
        return EXIT_FAILURE;
    }
    line->options.meanwhile = feed_watchdog;
    use_log_format(&line->options);
    /* What is wrong with the files is told before the parent leaves, and before anything starts. */
    struct snapshot *checked = snapshot_open(&line->options, true, &fault);
    snapshot_close(checked);
    if (checked && !line->options.foreground)
        report = go_into_background();
    struct snapshot *snapshot = NULL;
    if (checked)
        snapshot = snapshot_open(&line->options, false, &fault);
    if (!snapshot) {
        log_error("%s - the daemon does not start", fault.text);
        return EXIT_CONFIG;
    }
    static struct app *app; /* as long as the process: libmilter's workers know it to the end */
    app = app_create(&line->options, snapshot);
    if (!app)
        return EXIT_FAILURE;
    return serve(app, snapshot->settings, report);
}

static int test_configuration(const struct command_line *line)
{
    struct fault fault = {{0}};
    struct snapshot *snapshot = snapshot_open(&line->options, true, &fault);
    if (!snapshot) {
        log_error("%s", fault.text);
        return EXIT_CONFIG;
    }
    printf("%s: no errors found in it or in the files it names\n", line->options.config_path);
    snapshot_close(snapshot);
    return 0;
}

/* -T looks at the configuration only, so that it also helps where a map file is missing. */
static int print_configuration(const struct command_line *line)
{
    struct fault fault = {{0}};
    struct settings *settings = settings_load(line->options.config_path, line->overrides,
                                              line->options.override_count, &fault);
    if (!settings) {
        log_error("%s", fault.text);
        return EXIT_CONFIG;
    }
    settings_print(settings, stdout);
    settings_free(settings);
    return 0;
}

int main(int argc, char **argv)
{
    static struct command_line line;
    parse_command_line(argc, argv, &line);
    if (!digest_init()) {
        log_error("the system has no randomness to give");
        return EXIT_FAILURE;
    }
    switch (line.action) {
    case ACTION_TEST:
        return test_configuration(&line);
    case ACTION_PRINT:
        return print_configuration(&line);
    case ACTION_RUN:
        break;
    }
    return run(&line);
}
