/*
 * top_view - what `rcptctl top` shows, from what the daemon says. Pure: texts in, lines out. Every
 * line is shorter than the terminal is wide, whatever the texts hold, and free of control bytes.
 */
#ifndef MILTER_TOP_VIEW_H
#define MILTER_TOP_VIEW_H

#include <stdbool.h>
#include <stddef.h>

enum {
    TOP_COLUMNS_MAX = 80, /* of a line, with the NUL: one column is left free, so nothing wraps */
    TOP_LINES_MAX = 24,
};

/* Borrowed. */
struct top_input {
    const char *stats;   /* of `stats --prometheus` */
    const char *before;  /* the same, earlier; NULL: rates and latencies are since the start */
    double seconds;      /* between the two; since the start where there is no `before` */
    const char *status;  /* of `status` */
    const char *trouble; /* why there is nothing newer; "" all is well */
};

struct top_line {
    char text[TOP_COLUMNS_MAX];
    bool alarm; /* to be seen at once */
};

struct top_screen {
    struct top_line lines[TOP_LINES_MAX];
    size_t count;
};

/* For a terminal of that size; 0: unknown, so 80 x 24. What does not fit is left out from the
 * middle, never the first two lines. */
void top_layout(const struct top_input *input, unsigned columns, unsigned rows,
                struct top_screen *screen);

#endif
