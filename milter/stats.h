/*
 * stats - the counters and gauges as text, for `rcptctl stats` and metrics_listen.
 *
 * PLAIN and JSON: one number for each row of shared/counters.h and milter/gauges.h, by its name.
 *
 * PROMETHEUS (text format 0.0.4): the same rows as rcpt_milter_NAME, with _total behind a counter.
 * Rows whose names begin alike are one metric with a label, by the table in stats.c: verdict_held
 * is rcpt_milter_verdicts_total{row="held"}. Beside the rows: the tally (milter/tally.h), the
 * servers (db/servers.h), the histograms (shared/histogram.h), the version, and
 * process_start_time_seconds under the name it has everywhere.
 */
#ifndef MILTER_STATS_H
#define MILTER_STATS_H

#include <stdio.h>

#include "milter/app.h"

enum stats_form { STATS_PLAIN, STATS_JSON, STATS_PROMETHEUS };

/* Any thread. Takes leaf locks for a few instructions each; asks nobody. */
void stats_print(struct app *app, struct snapshot *snapshot, enum stats_form form, FILE *out);

/* Everything that counts starts from zero; gauges do not count. */
void stats_reset(void);

/* The value of a label between its quotes: backslash, quote and newline escaped. Pure. */
struct text;
void stats_add_label_value(struct text *text, const char *value);

#endif
