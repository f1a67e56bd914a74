#include "shared/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "shared/text.h"

static _Atomic int log_threshold = LEVEL_INFO;

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static bool log_to_syslog;                /* log_lock */
static char log_name[64] = "rcpt-milter"; /* log_lock; syslog keeps the pointer */

void log_open(bool foreground, const char *name, int facility)
{
    pthread_mutex_lock(&log_lock);
    snprintf(log_name, sizeof log_name, "%s", name);
    log_to_syslog = !foreground;
    if (!foreground)
        openlog(log_name, LOG_PID, facility);
    pthread_mutex_unlock(&log_lock);
}

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
    static const int priority[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
    static const char *const word[] = {"error: ", "warning: ", "", ""};

    char raw[LOG_LINE_MAX], line[LOG_LINE_MAX];
    vsnprintf(raw, sizeof raw, format, args);
    struct text text = text_on(line, sizeof line);
    text_add(&text, word[level]);
    text_add_printable(&text, raw, strlen(raw));

    /* Neither syslog(3) nor a write of one line waits for a server of ours; the lock keeps a
     * reload from changing the name under a line that is being written. */
    pthread_mutex_lock(&log_lock);
    if (log_to_syslog)
        syslog(priority[level], "%s", line);
    else
        fprintf(stderr, "%s: %s\n", log_name, line);
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
