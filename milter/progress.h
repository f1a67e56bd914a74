/*
 * progress - one line on a terminal that tells how far a long command is: a bar where the end is
 * known, else a count; the rate and the time so far. Nothing at all where standard error is no
 * terminal. One thread.
 */
#ifndef MILTER_PROGRESS_H
#define MILTER_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROGRESS_COLUMNS_MAX = 80 };

struct progress {
    bool terminal;      /* standard error is one */
    bool drawn;         /* the line is there now */
    int64_t started_ms; /* clock_mono_ms */
    int64_t drawn_ms;
    uint64_t stored;      /* what is counted */
    uint64_t done, whole; /* bytes of the input; whole 0: nobody knows */
};

/* Starts the clock. */
void progress_start(struct progress *progress);
/* Draws the line again if the last time is 200 ms ago; cheap otherwise. */
void progress_draw(struct progress *progress);
/* Before something else is printed, and at the end. */
void progress_erase(struct progress *progress);

/* The line for a terminal of that many columns, shorter than it and than PROGRESS_COLUMNS_MAX, so
 * that it never wraps. Pure. */
void progress_line(const struct progress *progress, int64_t now_ms, unsigned columns,
                   char line[PROGRESS_COLUMNS_MAX]);

#endif
