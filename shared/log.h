/*
 * log - to syslog, or to standard error in the foreground; there to systemd's journal, with fields,
 * where standard error is connected to it. As text or as JSON. Any thread.
 *
 * A line is written whole with one call; control characters are escaped, so nothing a client sends
 * can forge a line. Errors and changes of state are logged by whoever owns the state, once
 * per change.
 *
 * Nobody who logs waits for whoever reads the log: a line that would have to wait is queued for a
 * thread of its own, and what does not fit into the queue is lost, and counted, and told when the
 * log is read again.
 */
#ifndef SHARED_LOG_H
#define SHARED_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/log_format.h"

enum { LOG_LINE_MAX = LOG_MESSAGE_MAX }; /* bytes of one message; longer ones are cut */

/* Where lines go from now on. Before the first call they go to standard error. `facility` is a
 * LOG_* constant of <syslog.h>; `name` is copied. May be called again (reload). */
void log_open(bool foreground, const char *name, int facility);

/* Before the first call it is text. Any time. */
void log_set_form(enum log_form form);

/* Starts the thread; without it a line that would have to wait is lost. Once, before other threads
 * and after any fork. False: no thread. */
bool log_start(void);
/* Waits for the queue to be written, at most so long. */
void log_drain(int64_t ms);

void log_set_level(enum log_level threshold);
bool log_enabled(enum log_level level);

/* An entry with fields: wall_ms is filled in. Those below are entries of the event "daemon". */
void log_entry(struct log_entry entry);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
