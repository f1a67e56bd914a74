/*
 * trace - what happened to one recipient, line by line, for -v and for `rcptctl lookup --explain`.
 *
 * A NULL trace means that nobody asked: every call is then a test of one pointer. A trace belongs
 * to the thread that looks the recipient up; threads that work for it (a MySQL session) hand their
 * line back with the answer. Never a password.
 */
#ifndef SHARED_TRACE_H
#define SHARED_TRACE_H

#include <stddef.h>

enum { TRACE_MAX = 16384 }; /* bytes of all lines of one recipient; the rest is cut */

struct trace {
    size_t length;
    char bytes[TRACE_MAX]; /* lines, each ended by '\n'; NUL-terminated */
};

void trace_start(struct trace *trace);

/* Adds one line; control characters come out as \xNN. */
void trace_add(struct trace *trace, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
