/*
 * authority - the directory as one thing: asks domain_maps, access_maps and recipient_maps about a
 * recipient, and role_maps about a domain. The only one who may say ABSENT.
 *
 * At most lookup_slots callers wait for servers at a time (db/slots.h); who gets no slot is shed,
 * which says nothing about the recipient. Any thread may ask.
 */
#ifndef DB_AUTHORITY_H
#define DB_AUTHORITY_H

#include "config/settings.h"
#include "db/outcome.h"
#include "shared/address.h"
#include "shared/clock.h"
#include "shared/fault.h"
#include "shared/trace.h"

struct authority;

/* Opens the maps of these settings, which must outlive it. NULL and a fault ("file:line:
 * parameter: what"). offline: check files only, connect to nobody. */
struct authority *authority_open(const struct settings *settings, bool offline,
                                 struct fault *fault);
void authority_close(struct authority *authority); /* NULL is fine; nobody may be inside */

/* Fills the outcome, which is zero before. Anything but UNAVAILABLE was asked now. */
void authority_ask(struct authority *authority, const struct address *address,
                   struct deadline deadline, struct trace *trace, struct outcome *outcome);

/* The role of a domain, or of what stands above it (db/domain_keys.h); *answered is false where
 * role_maps could not be asked, which makes a primary and must not be remembered. */
enum role authority_ask_role(struct authority *authority, const char *domain,
                             struct deadline deadline, struct trace *trace, bool *answered);

bool authority_has_roles(const struct authority *authority);         /* role_maps names any map */
bool authority_checks_recipients(const struct authority *authority); /* recipient_maps does */

unsigned authority_slots_taken(struct authority *authority);

/* One line about the slots, where there are any, for `rcptctl status`. */
void authority_report(struct authority *authority, void (*line)(void *context, const char *text),
                      void *context);

#endif
