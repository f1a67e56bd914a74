#include "shared/log.h"

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/text.h"

enum { QUEUE_MAX = 4 * 1024 * 1024 }; /* bytes */

static _Atomic int log_threshold = LEVEL_INFO;

struct line {
    struct line *next;
    enum log_level level;
    char text[];
};

/* log_lock covers all of these; it is not held while anything is written that may wait. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t log_changed; /* a line was queued, or the queue is written */
static bool log_to_syslog;
static char log_name[64] = "rcpt-milter"; /* syslog keeps the pointer */
static bool log_threaded;
static bool log_writing; /* the thread has lines that are no longer in the queue */
static struct line *log_first, **log_end = &log_first;
static size_t log_queued;      /* bytes */
static unsigned long log_lost; /* lines, since the last one that was written */

void log_open(bool foreground, const char *name, int facility)
{
    pthread_mutex_lock(&log_lock);
    snprintf(log_name, sizeof log_name, "%s", name);
    log_to_syslog = !foreground;
    if (!foreground)
        openlog(log_name, LOG_PID, facility);
    pthread_mutex_unlock(&log_lock);
}

/* ---- writing ---- */

/* May wait for whoever reads the log. */
static void write_line(bool to_syslog, const char *name, enum log_level level, const char *text)
{
    static const int priority[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
    if (to_syslog) {
        syslog(priority[level], "%s", text);
        return;
    }
    char bytes[LOG_LINE_MAX + sizeof log_name + 16];
    int length = snprintf(bytes, sizeof bytes, "%s: %s\n", name, text);
    ssize_t ignored = write(STDERR_FILENO, bytes, (size_t)length);
    (void)ignored;
}

/* Lock held. Standard error takes a line now: a pipe that is ready has room for PIPE_BUF bytes, a
 * stream socket for many times that. Of the socket in syslog(3) nobody can tell. */
static bool write_would_not_wait(void)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    bool idle = !log_first && !log_writing;
    return idle && (log_to_syslog ? !log_threaded : poll(&out, 1, 0) == 1);
}

/* Lock held. */
static void queue_line(enum log_level level, const char *text)
{
    size_t size = sizeof(struct line) + strlen(text) + 1;
    struct line *line = log_threaded && log_queued + size <= QUEUE_MAX ? malloc(size) : NULL;
    if (!line) {
        log_lost++;
        counter_add(COUNT_log_lines_lost);
        return;
    }
    line->next = NULL;
    line->level = level;
    memcpy(line->text, text, strlen(text) + 1);
    *log_end = line;
    log_end = &line->next;
    log_queued += size;
    pthread_cond_broadcast(&log_changed);
}

/* Lock held; given up while it writes. */
static void write_queue(void)
{
    char name[sizeof log_name];
    struct line *line = log_first;
    unsigned long lost = log_lost;
    bool to_syslog = log_to_syslog;
    memcpy(name, log_name, sizeof name);
    log_first = NULL;
    log_end = &log_first;
    log_queued = 0;
    log_lost = 0;
    log_writing = true;
    pthread_mutex_unlock(&log_lock);
    while (line) {
        struct line *next = line->next;
        write_line(to_syslog, name, line->level, line->text);
        free(line);
        line = next;
    }
    if (lost > 0) {
        char text[128];
        snprintf(text, sizeof text,
                 "warning: %lu lines of this log were lost: it was not read in time", lost);
        write_line(to_syslog, name, LEVEL_WARNING, text);
    }
    pthread_mutex_lock(&log_lock);
    log_writing = false;
    pthread_cond_broadcast(&log_changed);
}

static void *log_main(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&log_lock);
    for (;;) {
        if (log_first)
            write_queue();
        else
            pthread_cond_wait(&log_changed, &log_lock);
    }
    return NULL;
}

bool log_start(void)
{
    pthread_t thread;
    clock_cond_init(&log_changed);
    pthread_mutex_lock(&log_lock);
    log_threaded = pthread_create(&thread, NULL, log_main, NULL) == 0;
    if (log_threaded)
        pthread_detach(thread); /* as long as the process */
    bool started = log_threaded;
    pthread_mutex_unlock(&log_lock);
    return started;
}

void log_drain(int64_t ms)
{
    struct deadline deadline = deadline_in_ms(ms);
    pthread_mutex_lock(&log_lock);
    while (log_threaded && (log_first || log_writing) &&
           clock_cond_wait(&log_changed, &log_lock, deadline))
        ;
    pthread_mutex_unlock(&log_lock);
}

/* ---- one line ---- */

void log_set_level(enum log_level threshold)
{
    atomic_store(&log_threshold, (int)threshold);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&log_threshold, memory_order_relaxed);
}

static void log_line(enum log_level level, const char *format, va_list args)
{
    static const char *const word[] = {"error: ", "warning: ", "", ""};
    char raw[LOG_LINE_MAX], line[LOG_LINE_MAX];
    vsnprintf(raw, sizeof raw, format, args);
    struct text text = text_on(line, sizeof line);
    text_add(&text, word[level]);
    text_add_printable(&text, raw, strlen(raw));

    pthread_mutex_lock(&log_lock);
    if (write_would_not_wait())
        write_line(log_to_syslog, log_name, level, line);
    else
        queue_line(level, line);
    pthread_mutex_unlock(&log_lock);
}

#define LOG_FUNCTION(function, level)                                                              \
    void function(const char *format, ...)                                                         \
    {                                                                                              \
        if (!log_enabled(level))                                                                   \
            return;                                                                                \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        log_line(level, format, args);                                                             \
        va_end(args);                                                                              \
    }

LOG_FUNCTION(log_error, LEVEL_ERROR)
LOG_FUNCTION(log_warning, LEVEL_WARNING)
LOG_FUNCTION(log_info, LEVEL_INFO)
LOG_FUNCTION(log_debug, LEVEL_DEBUG)
