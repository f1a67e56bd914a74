/* inspect_mysql - a mysql: map for rcptctl check: each of its hosts on its own. One thread. */
#ifndef MILTER_INSPECT_MYSQL_H
#define MILTER_INSPECT_MYSQL_H

#include "milter/inspect_probe.h"
#include "milter/inspect_report.h"

/* `path` is the mysql_table(5) file. What is found goes to the report, the answers to the probes.
 */
void inspect_mysql(struct inspect_report *report, const char *path, struct probes *probes);

#endif
