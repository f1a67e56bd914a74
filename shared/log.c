#include "shared/log.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/log_journal.h"
#include "shared/text.h"

enum {
    QUEUE_MAX = 4 * 1024 * 1024, /* bytes */
    PROGRAM_MAX = 64
};

enum destination { TO_STDERR = 0, TO_SYSLOG, TO_JOURNAL };

/* Where a line goes, and how it is written there. */
struct target {
    enum destination destination;
    enum log_form form;
    int facility;
    char program[PROGRAM_MAX];
};

static _Atomic int log_threshold = LEVEL_INFO;

struct line {
    struct line *next;
    enum destination destination;
    enum log_level level;
    size_t length;
    char bytes[]; /* with a NUL behind them */
};

/* log_lock covers all of these; it is not held while anything is written that may wait. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t log_changed; /* a line was queued, or the queue is written */
static struct target log_target = {.facility = LOG_MAIL, .program = "rcpt-milter"};
static char log_identity[PROGRAM_MAX]; /* syslog keeps the pointer */
static bool log_threaded;
static bool log_writing; /* the thread has lines that are no longer in the queue */
static struct line *log_first, **log_end = &log_first;
static size_t log_queued;      /* bytes */
static unsigned long log_lost; /* lines, since the last one that was written */

void log_open(bool foreground, const char *name, int facility)
{
    bool journal = foreground && log_journal_is_stderr();
    pthread_mutex_lock(&log_lock);
    snprintf(log_target.program, sizeof log_target.program, "%s", name);
    log_target.facility = facility;
    log_target.destination = journal ? TO_JOURNAL : foreground ? TO_STDERR : TO_SYSLOG;
    if (!foreground) {
        memcpy(log_identity, log_target.program, sizeof log_identity);
        openlog(log_identity, LOG_PID, facility);
    }
    pthread_mutex_unlock(&log_lock);
}

void log_set_form(enum log_form form)
{
    pthread_mutex_lock(&log_lock);
    log_target.form = form;
    pthread_mutex_unlock(&log_lock);
}

/* ---- writing ---- */

/* The bytes as they go there. */
static void write_form(const struct log_entry *entry, const struct target *target,
                       struct text *bytes)
{
    if (target->destination == TO_JOURNAL) {
        log_format_journal(entry, target->form, target->program, target->facility, bytes);
        return;
    }
    if (target->form == LOG_JSON) {
        log_format_json(entry, target->program, bytes);
    } else {
        if (target->destination == TO_STDERR)
            text_addf(bytes, "%s: ", target->program);
        log_format_text(entry, bytes);
    }
    if (target->destination == TO_STDERR)
        text_add_char(bytes, '\n');
}

/* May wait for whoever reads the log. */
static void write_bytes(enum destination destination, enum log_level level, const char *bytes,
                        size_t length)
{
    ssize_t ignored = 0;
    switch (destination) {
    case TO_STDERR:
        ignored = write(STDERR_FILENO, bytes, length);
        break;
    case TO_SYSLOG:
        syslog(log_priority(level), "%s", bytes);
        break;
    case TO_JOURNAL:
        log_journal_send(bytes, length);
        break;
    }
    (void)ignored;
}

/* Lock held. Standard error takes a line now: a pipe that is ready has room for PIPE_BUF bytes, a
 * stream socket for many times that. Of the sockets of syslog and the journal nobody can tell. */
static bool write_would_not_wait(enum destination destination, size_t length)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (log_first || log_writing)
        return false;
    if (!log_threaded && destination != TO_STDERR)
        return true;
    return destination == TO_STDERR && (length <= PIPE_BUF || !log_threaded) &&
           poll(&out, 1, 0) == 1;
}

/* Lock held. */
static void queue_line(enum destination destination, enum log_level level, const char *bytes,
                       size_t length)
{
    size_t size = sizeof(struct line) + length + 1;
    struct line *line = log_threaded && log_queued + size <= QUEUE_MAX ? malloc(size) : NULL;
    if (!line) {
        log_lost++;
        counter_add(COUNT_log_lines_lost);
        return;
    }
    *line = (struct line){.destination = destination, .level = level, .length = length};
    memcpy(line->bytes, bytes, length);
    line->bytes[length] = '\0';
    *log_end = line;
    log_end = &line->next;
    log_queued += size;
    pthread_cond_broadcast(&log_changed);
}

static int64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* By the thread. */
static void write_lost(const struct target *target, unsigned long lost)
{
    char message[128], bytes[LOG_RECORD_MAX];
    struct text text = text_on(bytes, sizeof bytes);
    snprintf(message, sizeof message, "%lu lines of this log were lost: it was not read in time",
             lost);
    struct log_entry entry = {
        .wall_ms = wall_ms(), .level = LEVEL_WARNING, .event = "daemon", .message = message};
    write_form(&entry, target, &text);
    write_bytes(target->destination, entry.level, bytes, text.length);
}

/* Lock held; given up while it writes. */
static void write_queue(void)
{
    struct target target = log_target;
    struct line *line = log_first;
    unsigned long lost = log_lost;
    log_first = NULL;
    log_end = &log_first;
    log_queued = 0;
    log_lost = 0;
    log_writing = true;
    pthread_mutex_unlock(&log_lock);
    while (line) {
        struct line *next = line->next;
        write_bytes(line->destination, line->level, line->bytes, line->length);
        free(line);
        line = next;
    }
    if (lost > 0)
        write_lost(&target, lost);
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

void log_entry(struct log_entry entry)
{
    char bytes[LOG_RECORD_MAX];
    struct text text = text_on(bytes, sizeof bytes);
    if (!log_enabled(entry.level))
        return;
    pthread_mutex_lock(&log_lock);
    struct target target = log_target;
    pthread_mutex_unlock(&log_lock);
    entry.wall_ms = wall_ms();
    write_form(&entry, &target, &text);

    pthread_mutex_lock(&log_lock);
    if (write_would_not_wait(target.destination, text.length))
        write_bytes(target.destination, entry.level, bytes, text.length);
    else
        queue_line(target.destination, entry.level, bytes, text.length);
    pthread_mutex_unlock(&log_lock);
}

static void log_line(enum log_level level, const char *format, va_list args)
{
    char message[LOG_LINE_MAX + 1]; /* one more, so that a cut is seen */
    vsnprintf(message, sizeof message, format, args);
    log_entry((struct log_entry){.level = level, .event = "daemon", .message = message});
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
