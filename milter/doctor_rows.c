/*
 * What rcptctl doctor looks for: a row each. A check says whether it is so, for one service of
 * master.cf that takes mail from strangers (or for the host, or for one domain), and writes what is
 * so and the lines that would change it; the row says why it matters.
 */
#include "milter/doctor_rows.h"

#include <string.h>

#include "milter/doctor_mx.h"
#include "milter/doctor_view.h"

static const struct row {
    const char *name, *why;
    doctor_check *host;
    doctor_check *service;
    doctor_mx_check *domain;
} rows[] = {
    {"no_smtpd", "Nothing here takes mail whose recipients could be checked.",
     .host = doctor_no_smtpd},
    {"nobody_checked", "rcpt-milter then passes every recipient.", .host = doctor_nobody_checked},
    {"not_attached", "rcpt-milter is not asked: what is mistyped is taken, and bounces later.",
     .service = doctor_not_attached},
    {"chrooted_socket", "Postfix cannot ask rcpt-milter and defers everybody.",
     .service = doctor_chrooted_socket},
    {"socket_missing", "Until it is there Postfix defers everybody.",
     .host = doctor_socket_missing},
    {"socket_closed", "Postfix cannot ask rcpt-milter and defers everybody.",
     .host = doctor_socket_closed},
    {"default_action",
     "While rcpt-milter is down this decides instead of it: only tempfail neither bounces nor "
     "takes anybody.",
     .service = doctor_default_action},
    {"command_timeout",
     "Postfix gives up before rcpt-milter has answered, and the rest of the session is deferred.",
     .service = doctor_command_timeout},
    {"connect_timeout", "Postfix gives up on rcpt-milter while other sessions keep it busy.",
     .service = doctor_connect_timeout},
    {"non_smtpd_milters",
     "Mail that this host sends itself, bounces too, is then held up when a recipient is unknown.",
     .host = doctor_non_smtpd},
    {"unlisted_recipients",
     "rcpt-milter is not asked then: nothing holds a wrong 5xx back, as when a table is empty, and "
     "after a 4xx nobody ever says 5xx.",
     .service = doctor_unlisted_recipients},
    {"unverified_recipients", "rcpt-milter is not asked then, and its evidence counts for nothing.",
     .service = doctor_unverified_recipients},
    {"soft_bounce", "It makes a 4xx of each 5xx: a mistyped address waits for days.",
     .service = doctor_soft_bounce},
    {"domains_in_database",
     "When that table is empty or half loaded, valid mail bounces before rcpt-milter is asked; 454 "
     "makes it wait instead.",
     .service = doctor_domains_in_database},
    {"error_limits",
     "Each 4xx of rcpt-milter counts as an error of the client: while the directory is down, good "
     "senders are slowed and hung up on.",
     .service = doctor_error_limits},
    {"recipient_delimiter",
     "What user+extension means must be the same to both, or valid recipients are unknown here.",
     .host = doctor_delimiter},
    {"subdomains",
     "rcpt-milter passes their recipients: what is mistyped is taken, and bounces later.",
     .host = doctor_subdomains},
    {"mx_sessions",
     "Many senders, Postfix among them, stop after two addresses and never reach the last host: "
     "there a mistyped address waits for escalate_after.",
     .domain = doctor_mx_sessions},
    {"mx_order", "Only the host that is alone at the end of the MX order can say the last word.",
     .domain = doctor_mx_order},
};

static void add_service(struct doctor_finding *to, const char *service)
{
    struct text text = {to->services, sizeof to->services, strlen(to->services), false};
    text_addf(&text, "%s%s", text.length > 0 ? ", " : "", service);
}

/* What is the same for several services is told once. */
static void add_finding(struct doctor_report *report, const struct row *row, const char *service,
                        const struct doctor_finding *found)
{
    for (size_t i = 0; i < report->count; i++) {
        struct doctor_finding *other = &report->findings[i];
        if (other->row == row->name && strcmp(other->what, found->what) == 0 &&
            strcmp(other->change, found->change) == 0) {
            add_service(other, service);
            return;
        }
    }
    if (report->count == DOCTOR_FINDINGS_MAX)
        return; /* there is enough to do */
    struct doctor_finding *new = &report->findings[report->count++];
    *new = *found;
    new->row = row->name;
    new->why = row->why;
    add_service(new, service);
}

static void judge(const struct doctor_facts *facts, const struct row *row,
                  const struct postconf_service *service, const struct doctor_domain *domain,
                  struct doctor_report *report)
{
    struct doctor_finding found = {0};
    struct doctor_words finding = {text_on(found.what, sizeof found.what),
                                   text_on(found.change, sizeof found.change)};
    bool is_so = domain ? row->domain(facts, domain, &finding.what)
                        : (service ? row->service : row->host)(facts, service, &finding);
    if (is_so)
        add_finding(report, row, service ? service->name : "", &found);
}

void doctor_judge(const struct doctor_facts *facts, struct doctor_report *report)
{
    size_t count;
    const struct postconf_service *services = postconf_services(facts->postfix, &count);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        if (rows[r].host)
            judge(facts, &rows[r], NULL, NULL, report);
        for (size_t i = 0; rows[r].service && i < count; i++)
            if (doctor_is_public(facts->postfix, &services[i]))
                judge(facts, &rows[r], &services[i], NULL, report);
        for (size_t i = 0; rows[r].domain && i < facts->domain_count; i++)
            judge(facts, &rows[r], NULL, &facts->domains[i], report);
    }
}
