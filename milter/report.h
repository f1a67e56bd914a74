/*
 * report - the one log line of a recipient, and its trace. Any thread.
 *
 * The line is shaped like Postfix's own, so that grep for the recipient, the client or the queue id
 * finds both:
 *
 *   NOQUEUE: reject: RCPT from mail.example.org[192.0.2.1]: 450 4.1.1 <x@y>: text; from=<s>
 * to=<x@y> role=primary verdict="unknown on a primary" evidence=directory age=0s
 *
 * then held="..." where an interlock held a 5xx back, and why="..." where something failed. It is
 * made of fields, which JSON and the journal have by name: see shared/log_format.h and the manual.
 */
#ifndef MILTER_REPORT_H
#define MILTER_REPORT_H

#include "milter/check.h"

/* Writes the line: always for a refusal, for a pass only with log_known; of a flood only as many as
 * log_rate_limit allows. */
void report_recipient(const struct settings *settings, const struct check_request *request,
                      const struct check_result *result);

/* Main thread, every second or so, and at the end: says how many lines log_rate_limit left out,
 * once the flood is over, or now. */
void report_left_out(const struct settings *settings, bool at_once);

/* Counts the recipient, its verdict, its reply and its interlock. */
void report_count(const struct check_result *result);

/* Logs a trace line by line, each with the client before it. */
void report_trace(const struct check_request *request, const struct trace *trace);

#endif
