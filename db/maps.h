/*
 * maps - a list of `type:table`, as in main.cf, searched in order.
 *
 * Two ways to ask, because trouble means different things:
 *
 * maps_find   does any map know the key? FOUND if one does, whatever happened to the others;
 *             ABSENT only if every map said ABSENT; else UNAVAILABLE. For recipient_maps and
 *             domain_maps: one map's word that it exists is enough.
 * maps_value  what is the key's value? The first FOUND in order, but UNAVAILABLE if a map before
 *             it could not be asked: it might have said something else. For access_maps and
 *             role_maps.
 *
 * A key whose domain has A-labels is also asked for with U-labels (idn.h): each map is taken to
 * hold a domain in one form, either one, and says ABSENT only where it has neither. Keys are those
 * of struct address, address_probes or idn_to_key.
 *
 * An ABSENT is lagging if any of the ABSENTs it is made of is.
 *
 * Of an empty list both say ABSENT, although nobody was asked: the caller looks at maps_empty
 * first. Any thread may ask. `proxy:mysql:` is `mysql:`. Maps are separated by commas or white
 * space; braces hold a map with either in it together, as in main.cf.
 */
#ifndef DB_MAPS_H
#define DB_MAPS_H

#include "db/directory.h"

struct maps;

/* NULL and a fault ("type:table: what"). The caller owns the list. */
struct maps *maps_open(const char *list, const struct map_context *context, struct fault *fault);
void maps_close(struct maps *maps); /* NULL is fine */

bool maps_empty(const struct maps *maps);
bool maps_wait(const struct maps *maps); /* one of them may wait for a server */

void maps_find(const struct maps *maps, const char *key, struct deadline deadline,
               struct trace *trace, struct finding *finding);
/* maps_find, but what a map has found is passed over where `unless` says true of its value: that
 * map then neither knows the key nor fails to, and the next one is asked. `unless` may be NULL. */
typedef bool maps_unless(void *context, const char *value);
void maps_find_unless(const struct maps *maps, const char *key, struct deadline deadline,
                      struct trace *trace, maps_unless *unless, void *context,
                      struct finding *finding);

void maps_value(const struct maps *maps, const char *key, struct deadline deadline,
                struct trace *trace, struct finding *finding);

#endif
