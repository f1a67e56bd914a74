/*
 * doctor_view - what the checks of doctor_rows.c ask of the facts. Pure.
 */
#ifndef MILTER_DOCTOR_VIEW_H
#define MILTER_DOCTOR_VIEW_H

#include <stdint.h>

#include "milter/doctor.h"
#include "shared/text.h"

/* A class of recipients, postfix's ADDRESS_CLASS_README. */
struct doctor_class {
    const char *domains, *maps, *code; /* parameters */
};
extern const struct doctor_class doctor_classes[4]; /* relay, mailbox, alias, local */

/* Does Postfix have domains of that class for other hosts' mail? Not by its own name alone, and
 * not by virtual_alias_domains' default, which is every alias. */
bool doctor_class_used(const struct postconf *postfix, const char *service,
                       const struct doctor_class *class);

/* A smtpd that takes mail from strangers: not one on a loopback address, and none whose
 * restrictions end in a bare `reject`, as submission has it. */
bool doctor_is_public(const struct postconf *postfix, const struct postconf_service *service);

/* An entry of smtpd_milters: "unix:..." or "{ unix:..., command_timeout=10s }". */
struct doctor_milter {
    char text[DOCTOR_PATH_MAX];     /* as written */
    char endpoint[DOCTOR_PATH_MAX]; /* unix:..., inet:... */
    char settings[DOCTOR_PATH_MAX]; /* what follows it in the braces */
};

/* The next one of a list such as smtpd_milters; false at its end. */
bool doctor_next_milter(const char **at, struct doctor_milter *milter);

/* Is that our milter, for somebody who is chrooted or not? */
bool doctor_is_ours(const struct doctor_facts *facts, const char *endpoint, bool chrooted);

/* The entry of a service's smtpd_milters that is ours. False: there is none. *lost: it is, but this
 * service will not find the socket there. */
bool doctor_our_milter(const struct doctor_facts *facts, const struct postconf_service *service,
                       struct doctor_milter *milter, bool *lost);

/* milter_NAME for our milter at that service: its entry's own value, or else Postfix's. */
void doctor_milter_value(const struct doctor_facts *facts, const struct postconf_service *service,
                         const char *name, char *value, size_t size);

/* smtpd_milters as it should be: ours first, with `settings` of its own if not "", then the others.
 * *others: how many these are. */
void doctor_wanted_milters(const struct doctor_facts *facts, const struct postconf_service *service,
                           const char *settings, struct text *value, size_t *others);

/* Is the restriction in force for RCPT there, also by way of smtpd_restriction_classes? Adds the
 * lines that take it out to `change` unless that is NULL. */
bool doctor_restricts(const struct doctor_facts *facts, const char *service, const char *word,
                      struct text *change);

/* A line for a shell that sets a parameter, where it is set: for the service alone or for all. */
void doctor_change(const struct doctor_facts *facts, const char *service, const char *name,
                   const char *value, struct text *change);

/* The same for milter_NAME of our milter: for it alone where it has its own value, or where there
 * are other milters whose value should stay (not others_too). */
void doctor_change_milter(const struct doctor_facts *facts, const struct postconf_service *service,
                          const char *name, const char *value, bool others_too,
                          struct text *change);

#endif
