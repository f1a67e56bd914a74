/*
 * import - `rcptctl import-postfix`: a rcpt-milter.conf that knows the recipients the local Postfix
 * knows, and what to change in Postfix so that rcpt-milter is the one to judge them.
 *
 * What cannot be carried over is told on standard error and in the file. A map of recipients that
 * cannot be carried over stands in recipient_maps as Postfix has it, so that rcpt-milter -t refuses
 * the file: left out silently, its recipients would not exist. With --partial `fail:` stands for
 * it, which never says that somebody does not exist.
 */
#ifndef MILTER_IMPORT_H
#define MILTER_IMPORT_H

#include "milter/client.h"
#include "milter/postconf.h"
#include "shared/text.h"

enum { IMPORT_LIST_MAX = 1 << 17, IMPORT_NOTES_MAX = 1 << 15 }; /* bytes */

/* What goes into the file. */
struct import_plan {
    const struct postconf *postfix;
    bool partial;
    struct text recipients; /* maps, as written into recipient_maps */
    struct text domains;    /* the same for domain_maps */
    struct text inside;     /* literal domains: the inside of inline:{} */
    struct text notes;      /* comments, each a line */
    struct text left_out;   /* the same, of what could not be carried over */
    struct text apart;      /* the inside of an inline:{} for access_maps; see subdomains */
    bool failing;           /* there is a `fail:` among the recipients */
    bool subdomains;        /* domain_maps stands for subdomains, too, but for those in apart */
    char buffers[3][IMPORT_LIST_MAX];
    char apart_bytes[IMPORT_NOTES_MAX];
    char words[2][IMPORT_NOTES_MAX];
};

/* Reads Postfix's lists. The plan is zero before, but for `postfix` and `partial`. */
void import_plan_make(struct import_plan *plan);

/* One map of recipients or domains, as Postfix has it; `parameter` is where. */
void import_add_map(struct import_plan *plan, struct text *list, const char *parameter,
                    const char *map);

/* A list such as relay_domains: names, files of names, tables. `depth` is 0. */
void import_add_domains(struct import_plan *plan, const char *parameter, const char *list,
                        unsigned depth);

/* Does a name in the plan's domains stand above this one? Also true where a table of them might. */
bool import_may_be_below(const struct import_plan *plan, const char *name);

void import_note(struct import_plan *plan, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same, also on standard error: the exit code is then 1. */
void import_leave_out(struct import_plan *plan, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* argv[0] is "import-postfix". Returns the exit code: 0 all was carried over, 1 something was not,
 * EX_UNAVAILABLE Postfix's configuration cannot be read. */
int import_run(const struct client_place *place, int argc, char **argv);

#endif
