/*
 * doctor_mx - the MX hosts of a domain: who they are (doctor_mx_ask, which asks the DNS), and
 * whether their order lets the two promises be kept (pure).
 */
#ifndef MILTER_DOCTOR_MX_H
#define MILTER_DOCTOR_MX_H

#include "milter/doctor.h"
#include "shared/clock.h"
#include "shared/text.h"

/* True and what is so, where it is. */
typedef bool doctor_mx_check(const struct doctor_facts *facts, const struct doctor_domain *domain,
                             struct text *what);

/* More than one address stands before the last MX host. */
doctor_mx_check doctor_mx_sessions;

/* A fallback that is not alone at the end of the order; a primary that is at its end. */
doctor_mx_check doctor_mx_order;

/* Fills in the hosts of the domain whose name is set, or why they are not known. Returns by the
 * deadline, or a few seconds after it. */
void doctor_mx_ask(const struct postconf *postfix, struct deadline deadline,
                   struct doctor_domain *domain);

#endif
