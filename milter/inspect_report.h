/*
 * inspect_report - what rcptctl check has to say, and the exit code that comes of it. One thread.
 */
#ifndef MILTER_INSPECT_REPORT_H
#define MILTER_INSPECT_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "config/conf.h"
#include "config/settings.h"
#include "db/mysql_judge.h"

struct inspect_report {
    const struct settings *settings;
    FILE *out;
    unsigned findings;
    bool unasked;       /* some server could not be asked */
    bool misconfigured; /* the daemon would not start */

    /* What is being looked at. */
    const char *parameter; /* of rcpt-milter.conf */
    const char *thing;     /* the map, the server; NULL: the parameter's value as a whole */
    struct conf *conf;     /* the map's own file; NULL: none */
    unsigned findings_before;
    char **said; /* findings of this thing, as several hosts have the same tables */
    size_t said_count;
};

/* A thing begins; `path` is that of its own file in main.cf syntax, or NULL. Ended by
 * inspect_end. */
void inspect_begin(struct inspect_report *report, const char *parameter, const char *thing,
                   const char *path);
/* `well`: what to say where nothing was found: "ok PARAMETER THING", and " (well)" where it is not
 * empty; NULL: nothing. */
void inspect_end(struct inspect_report *report, const char *well);

/* One finding: "FILE:LINE: PARAMETER THING: sentence". `parameter` is of the thing's own file;
 * NULL: the line is that of rcpt-milter.conf. Each sentence once for a thing. */
void inspect_find(struct inspect_report *report, const char *parameter, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* What could not be looked at, and why: no finding. */
void inspect_note(struct inspect_report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* For the pure judges. */
struct judge inspect_judge(struct inspect_report *report);

#endif
