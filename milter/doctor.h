/*
 * doctor - `rcptctl doctor`: what in the local Postfix, or in the DNS, would break the two
 * promises. doctor_run gathers and says; doctor_judge decides, from values alone.
 *
 * What is looked for are rows, doctor_rows.c: one check and one sentence each.
 */
#ifndef MILTER_DOCTOR_H
#define MILTER_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "config/settings.h"
#include "milter/client.h"
#include "milter/postconf.h"

enum {
    DOCTOR_NAME_MAX = 256,
    DOCTOR_PATH_MAX = 512,
    DOCTOR_MX_MAX = 16,
    DOCTOR_DOMAINS_MAX = 20,
    DOCTOR_FINDINGS_MAX = 64
};

/* milter_socket, as far as stat tells. */
struct doctor_socket {
    enum {
        DOCTOR_SOCKET_UNKNOWN = 0, /* not looked at, or not to be seen by us */
        DOCTOR_SOCKET_FINE,
        DOCTOR_SOCKET_MISSING,
        DOCTOR_SOCKET_CLOSED /* Postfix's user may not connect */
    } state;
    char path[DOCTOR_PATH_MAX]; /* CLOSED: what is in the way */
};

/* A domain's MX hosts as the DNS has them, the first choice first. */
struct doctor_domain {
    char name[DOCTOR_NAME_MAX];
    struct doctor_mx {
        char name[DOCTOR_NAME_MAX];
        unsigned preference;
        unsigned addresses; /* A and AAAA */
        bool here;          /* this host */
    } hosts[DOCTOR_MX_MAX];
    size_t count;
    struct fault why; /* not "": they could not be found out */
};

struct doctor_facts {
    const struct settings *settings;
    const struct postconf *postfix;
    const char *config_path; /* of our configuration, for the lines to change */
    const char *directory;   /* Postfix's, as given; NULL: its default */
    /* Without symbolic links; as configured where they cannot be resolved. */
    char queue[DOCTOR_PATH_MAX], our_socket[DOCTOR_PATH_MAX];
    struct doctor_socket socket;
    struct doctor_domain domains[DOCTOR_DOMAINS_MAX];
    size_t domain_count;
};

struct doctor_finding {
    const char *row;    /* its name */
    const char *why;    /* why it matters */
    char services[512]; /* of master.cf, "smtp/inet, smtpd/pass"; "": the whole host */
    char what[768];     /* what is so, one sentence */
    char change[2048];  /* the lines that would mend it, each on its own; may be "" */
};

struct doctor_report {
    struct doctor_finding findings[DOCTOR_FINDINGS_MAX];
    size_t count;
};

/* Pure. The report is empty before. */
void doctor_judge(const struct doctor_facts *facts, struct doctor_report *report);

/* argv[0] is "doctor". Returns the exit code: 0 all is well, 1 there are findings, EX_UNAVAILABLE
 * Postfix's configuration cannot be read, EXIT_CONFIG ours cannot. */
int doctor_run(const struct client_place *place, int argc, char **argv);

#endif
