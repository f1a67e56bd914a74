/*
 * doctor_rows - the checks that are rows of doctor_rows.c. Pure.
 */
#ifndef MILTER_DOCTOR_ROWS_H
#define MILTER_DOCTOR_ROWS_H

#include "milter/doctor.h"
#include "shared/text.h"

struct doctor_words {
    struct text what, change; /* of a struct doctor_finding */
};

/* True where it is so; then the words are written. `service` is NULL where the row is the host's.
 */
typedef bool doctor_check(const struct doctor_facts *facts, const struct postconf_service *service,
                          struct doctor_words *finding);

doctor_check doctor_no_smtpd, doctor_not_attached, doctor_chrooted_socket, doctor_socket_missing,
    doctor_socket_closed, doctor_default_action, doctor_command_timeout, doctor_connect_timeout,
    doctor_non_smtpd;
doctor_check doctor_unlisted_recipients, doctor_unverified_recipients, doctor_soft_bounce,
    doctor_domains_in_database, doctor_error_limits, doctor_delimiter, doctor_subdomains,
    doctor_nobody_checked;

#endif
