/* The checks of doctor_rows.c on how Postfix reaches rcpt-milter. Pure. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config/duration.h"
#include "milter/doctor_rows.h"
#include "milter/doctor_view.h"

static const char *value_of(const struct doctor_facts *facts,
                            const struct postconf_service *service, const char *name)
{
    return postconf_value(facts->postfix, service->name, name);
}

bool doctor_no_smtpd(const struct doctor_facts *facts, const struct postconf_service *none,
                     struct doctor_words *finding)
{
    size_t count;
    (void)none;
    const struct postconf_service *services = postconf_services(facts->postfix, &count);
    for (size_t i = 0; i < count; i++)
        if (doctor_is_public(facts->postfix, &services[i]))
            return false;
    text_add(&finding->what, "master.cf has no smtpd that takes mail from other hosts");
    return true;
}

bool doctor_not_attached(const struct doctor_facts *facts, const struct postconf_service *service,
                         struct doctor_words *finding)
{
    struct doctor_milter milter;
    char value[1024];
    size_t others;
    bool lost;
    if (postconf_list_has(value_of(facts, service, "receive_override_options"), "no_milters")) {
        text_add(&finding->what, "receive_override_options has no_milters");
        doctor_change(facts, service->name, "receive_override_options", "", &finding->change);
        return true;
    }
    if (doctor_our_milter(facts, service, &milter, &lost))
        return false;
    text_add(&finding->what, "smtpd_milters does not name rcpt-milter's socket");
    struct text wanted = text_on(value, sizeof value);
    doctor_wanted_milters(facts, service, "", &wanted, &others);
    bool tempfail = strcmp(value_of(facts, service, "milter_default_action"), "tempfail") == 0;
    if (others > 0 && !tempfail) { /* they keep theirs; default_action tells the same */
        wanted = text_on(value, sizeof value);
        doctor_wanted_milters(facts, service, "default_action=tempfail", &wanted, &others);
    }
    doctor_change(facts, service->name, "smtpd_milters", value, &finding->change);
    return true;
}

bool doctor_chrooted_socket(const struct doctor_facts *facts,
                            const struct postconf_service *service, struct doctor_words *finding)
{
    struct doctor_milter milter;
    char value[1024];
    size_t others;
    bool lost;
    if (!doctor_our_milter(facts, service, &milter, &lost) || !lost)
        return false;
    text_addf(&finding->what, "this smtpd is %schrooted to %s and does not find the socket as %s",
              service->chroot ? "" : "not ", facts->queue, milter.endpoint);
    struct text wanted = text_on(value, sizeof value);
    doctor_wanted_milters(facts, service, milter.settings, &wanted, &others);
    if (strstr(value, "unix:/"))
        text_addf(&finding->change, "%s: milter_socket = unix:%s/rcpt-milter/milter.sock",
                  facts->config_path, facts->queue);
    else
        doctor_change(facts, service->name, "smtpd_milters", value, &finding->change);
    return true;
}

bool doctor_socket_missing(const struct doctor_facts *facts, const struct postconf_service *none,
                           struct doctor_words *finding)
{
    (void)none;
    if (facts->socket.state != DOCTOR_SOCKET_MISSING)
        return false;
    text_addf(&finding->what, "there is no socket at %s: rcpt-milter is not running",
              facts->settings->milter_socket.path);
    text_add(&finding->change, "systemctl enable --now rcpt-milter");
    return true;
}

bool doctor_socket_closed(const struct doctor_facts *facts, const struct postconf_service *none,
                          struct doctor_words *finding)
{
    (void)none;
    if (facts->socket.state != DOCTOR_SOCKET_CLOSED)
        return false;
    const char *directory = strrchr(facts->settings->milter_socket.path, '/');
    int length = (int)(directory - facts->settings->milter_socket.path);
    const char *user = postconf_value(facts->postfix, NULL, "mail_owner");
    text_addf(&finding->what,
              "the user %s may not connect to the socket, because of the mode of %s", user,
              facts->socket.path);
    text_addf(&finding->change,
              "install -d -m 2750 -o rcpt-milter -g postfix %.*s && systemctl restart rcpt-milter",
              length, facts->settings->milter_socket.path);
    return true;
}

bool doctor_default_action(const struct doctor_facts *facts, const struct postconf_service *service,
                           struct doctor_words *finding)
{
    char action[64];
    doctor_milter_value(facts, service, "default_action", action, sizeof action);
    if (strcmp(action, "tempfail") == 0)
        return false;
    text_addf(&finding->what, "milter_default_action is %s for rcpt-milter", action);
    doctor_change_milter(facts, service, "default_action", "tempfail", false, &finding->change);
    return true;
}

static bool short_timeout(const struct doctor_facts *facts, const struct postconf_service *service,
                          const char *name, struct doctor_words *finding)
{
    char value[64];
    int64_t ms, ours = facts->settings->lookup_deadline_ms;
    doctor_milter_value(facts, service, name, value, sizeof value);
    if (!duration_parse(value, &ms) || ms > ours)
        return false;
    text_addf(&finding->what, "milter_%s is %s, not longer than lookup_deadline (%" PRId64 " ms)",
              name, value, ours);
    snprintf(value, sizeof value, "%" PRId64 "s", ours < 15000 ? 30 : ours / 500);
    doctor_change_milter(facts, service, name, value, true, &finding->change);
    return true;
}

bool doctor_command_timeout(const struct doctor_facts *facts,
                            const struct postconf_service *service, struct doctor_words *finding)
{
    return short_timeout(facts, service, "command_timeout", finding);
}

bool doctor_connect_timeout(const struct doctor_facts *facts,
                            const struct postconf_service *service, struct doctor_words *finding)
{
    return short_timeout(facts, service, "connect_timeout", finding);
}

bool doctor_non_smtpd(const struct doctor_facts *facts, const struct postconf_service *none,
                      struct doctor_words *finding)
{
    struct doctor_milter milter;
    char buffer[1024];
    bool ours = false;
    (void)none;
    struct text rest = text_on(buffer, sizeof buffer);
    const char *at = postconf_value(facts->postfix, NULL, "non_smtpd_milters");
    while (doctor_next_milter(&at, &milter)) {
        if (doctor_is_ours(facts, milter.endpoint, true) ||
            doctor_is_ours(facts, milter.endpoint, false))
            ours = true;
        else
            text_addf(&rest, "%s%s", rest.length > 0 ? ", " : "", milter.text);
    }
    if (!ours)
        return false;
    text_add(&finding->what, "non_smtpd_milters names rcpt-milter");
    doctor_change(facts, NULL, "non_smtpd_milters", buffer, &finding->change);
    return true;
}
