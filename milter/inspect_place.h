/* inspect_place - files and memcached servers for rcptctl check. One thread. */
#ifndef MILTER_INSPECT_PLACE_H
#define MILTER_INSPECT_PLACE_H

#include "milter/inspect_report.h"

/* Of a texthash file that is there: who may change it, and is there anything in it? */
void inspect_texthash(struct inspect_report *report, const char *path);

/* Each of memcache_servers on its own: a value of ours is put there, read and taken away. */
void inspect_memcached(struct inspect_report *report);

#endif
