/* The checks of doctor_rows.c on who settles what: Postfix by itself, or rcpt-milter; and whether
 * both mean the same. Pure. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/duration.h"
#include "milter/doctor_rows.h"
#include "milter/doctor_view.h"

static const char *value_of(const struct doctor_facts *facts,
                            const struct postconf_service *service, const char *name)
{
    return postconf_value(facts->postfix, service->name, name);
}

/* -1: not set, or no number. */
static int64_t number_of(const struct doctor_facts *facts, const struct postconf_service *service,
                         const char *name)
{
    uint64_t number;
    bool is_one = text_to_number(value_of(facts, service, name), INT32_MAX, &number);
    return is_one ? (int64_t)number : -1;
}

static bool is_fallback(const struct doctor_facts *facts)
{
    return facts->settings->role == ROLE_FALLBACK || *facts->settings->role_maps;
}

/* Postfix settles it with that code: does it matter? A 5xx is never ours to check. A 4xx leaves a
 * mistyped address waiting, but on a primary only where that would have told the sender. */
static bool code_matters(const struct doctor_facts *facts, const char *code)
{
    return code[0] != '4' || is_fallback(facts) || facts->settings->escalate_after_s > 0;
}

/* Has it a list of those recipients that may be wrong? The system's users do not vanish. */
static bool class_bounces(const struct doctor_facts *facts, const struct postconf_service *service,
                          const struct doctor_class *class)
{
    const char *maps = value_of(facts, service, class->maps);
    return doctor_class_used(facts->postfix, service->name, class) && *maps &&
           !(class == &doctor_classes[3] && strstr(maps, "passwd.byname")) &&
           code_matters(facts, value_of(facts, service, class->code));
}

bool doctor_unlisted_recipients(const struct doctor_facts *facts,
                                const struct postconf_service *service,
                                struct doctor_words *finding)
{
    char names[256], buffer[1024];
    const char *code = "";
    bool only_relay = true;
    struct text maps = text_on(names, sizeof names), lists = text_on(buffer, sizeof buffer);
    bool always = strcmp(value_of(facts, service, "smtpd_reject_unlisted_recipient"), "yes") == 0 &&
                  !postconf_list_has(value_of(facts, service, "receive_override_options"),
                                     "no_unknown_recipient_checks");
    bool listed = doctor_restricts(facts, service->name, "reject_unlisted_recipient", &lists);
    for (size_t i = 0; (always || listed) && i < 4; i++) {
        const struct doctor_class *class = &doctor_classes[i];
        if (!class_bounces(facts, service, class))
            continue;
        text_addf(&maps, "%s%s", maps.length > 0 ? ", " : "", class->maps);
        if (*code != '5')
            code = value_of(facts, service, class->code);
        only_relay &= i == 0;
    }
    if (maps.length == 0)
        return false;
    text_addf(&finding->what, "Postfix itself answers %s to whom it does not find in %s", code,
              names);
    if (only_relay) { /* used for nothing else */
        doctor_change(facts, service->name, "relay_recipient_maps", "", &finding->change);
        return true;
    }
    if (always)
        doctor_change(facts, service->name, "smtpd_reject_unlisted_recipient", "no",
                      &finding->change);
    text_addf(&finding->change, "%s%s", finding->change.length > 0 && listed ? "\n" : "", buffer);
    return true;
}

bool doctor_unverified_recipients(const struct doctor_facts *facts,
                                  const struct postconf_service *service,
                                  struct doctor_words *finding)
{
    const char *code = value_of(facts, service, "unverified_recipient_reject_code");
    if (!code_matters(facts, code) ||
        !doctor_restricts(facts, service->name, "reject_unverified_recipient", &finding->change))
        return false;
    text_addf(&finding->what,
              "reject_unverified_recipient answers %s by what a probe said, for hours", code);
    return true;
}

bool doctor_soft_bounce(const struct doctor_facts *facts, const struct postconf_service *service,
                        struct doctor_words *finding)
{
    if (strcmp(value_of(facts, service, "soft_bounce"), "yes") != 0 || !code_matters(facts, "450"))
        return false;
    text_add(&finding->what, "soft_bounce is yes");
    doctor_change(facts, service->name, "soft_bounce", "no", &finding->change);
    return true;
}

static bool is_database(const char *word)
{
    static const char *const types[] = {
        "mysql:", "pgsql:", "ldap:", "sqlite:", "nis:", "mongodb:", "tcp:", "socketmap:"};
    if (strncmp(word, "proxy:", 6) == 0)
        word += 6;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strncmp(word, types[i], strlen(types[i])) == 0)
            return true;
    return false;
}

/* What a stranger's mail for a domain that is not there meets first. */
static bool refuses_for_good(const struct doctor_facts *facts,
                             const struct postconf_service *service)
{
    static const char *const lists[] = {"smtpd_relay_restrictions", "smtpd_recipient_restrictions"};
    char word[1024];
    for (size_t i = 0; i < 2; i++) {
        const char *at = value_of(facts, service, lists[i]);
        while (postconf_next(&at, word, sizeof word)) {
            if (text_same_word(word, "defer_unauth_destination"))
                return false;
            if (text_same_word(word, "reject_unauth_destination"))
                return value_of(facts, service, "relay_domains_reject_code")[0] != '4';
        }
    }
    return false;
}

bool doctor_domains_in_database(const struct doctor_facts *facts,
                                const struct postconf_service *service,
                                struct doctor_words *finding)
{
    char word[1024];
    if (!refuses_for_good(facts, service))
        return false;
    for (size_t i = 0; i < 4; i++) {
        const struct doctor_class *class = &doctor_classes[i];
        const char *at = value_of(facts, service, class->domains);
        bool found = false;
        while (doctor_class_used(facts->postfix, service->name, class) && !found &&
               postconf_next(&at, word, sizeof word))
            found = is_database(word);
        if (found)
            text_addf(&finding->what, "%s%s", finding->what.length > 0 ? ", " : "", class->domains);
    }
    if (finding->what.length == 0)
        return false;
    text_add(&finding->what, ": the domains are in a database, and Postfix says 554 \"Relay access "
                             "denied\" to mail for one that is not there");
    doctor_change(facts, service->name, "relay_domains_reject_code", "454", &finding->change);
    return true;
}

bool doctor_error_limits(const struct doctor_facts *facts, const struct postconf_service *service,
                         struct doctor_words *finding)
{
    static const struct {
        const char *name;
        int64_t least; /* Postfix's default */
    } limits[] = {{"smtpd_soft_error_limit", 10}, {"smtpd_hard_error_limit", 20}};
    char value[32];
    int64_t sleep_ms;
    for (size_t i = 0; i < 2; i++) {
        int64_t limit = number_of(facts, service, limits[i].name);
        if (limit <= 0 || limit >= limits[i].least)
            continue;
        text_addf(&finding->what, "%s%s is %" PRId64, finding->what.length > 0 ? ", " : "",
                  limits[i].name, limit);
        snprintf(value, sizeof value, "%" PRId64, limits[i].least);
        doctor_change(facts, service->name, limits[i].name, value, &finding->change);
    }
    const char *sleep = value_of(facts, service, "smtpd_error_sleep_time");
    if (duration_parse(sleep, &sleep_ms) && sleep_ms > 1000) {
        text_addf(&finding->what, "%ssmtpd_error_sleep_time is %s",
                  finding->what.length > 0 ? ", " : "", sleep);
        doctor_change(facts, service->name, "smtpd_error_sleep_time", "1s", &finding->change);
    }
    return finding->what.length > 0;
}

/* ---- do both mean the same ---- */

static bool has_all(const char *set, const char *of)
{
    return strspn(of, set) == strlen(of);
}

bool doctor_delimiter(const struct doctor_facts *facts, const struct postconf_service *none,
                      struct doctor_words *finding)
{
    (void)none;
    const char *theirs = postconf_value(facts->postfix, NULL, "recipient_delimiter");
    const char *ours = facts->settings->recipient_delimiter;
    if (has_all(theirs, ours) && has_all(ours, theirs))
        return false;
    text_addf(&finding->what, "recipient_delimiter is \"%s\" in Postfix and \"%s\" here", theirs,
              ours);
    text_addf(&finding->change, "%s: recipient_delimiter = %s", facts->config_path, theirs);
    return true;
}

/* Has a list of maps an entry for this key, as far as it can be read here: inside of inline:{}? */
static bool list_has_key(const char *maps, const char *dot, const char *name)
{
    static const char separators[] = ", \t\r\n{}";
    char entry[DOCTOR_NAME_MAX];
    size_t length = (size_t)snprintf(entry, sizeof entry, "%s%s=", dot, name);
    if (length >= sizeof entry)
        return false;
    for (maps += strspn(maps, separators); *maps; maps += strspn(maps, separators)) {
        if (strncasecmp(maps, entry, length) == 0)
            return true;
        maps += strcspn(maps, separators);
    }
    return false;
}

/* The same table, whatever it is read with: hash:/path is texthash:/path here. */
static bool list_has_table(const char *maps, const char *table)
{
    char map[DOCTOR_PATH_MAX];
    const char *path = strstr(table, ":/");
    while (path && postconf_next(&maps, map, sizeof map)) {
        const char *ours = strstr(map, ":/");
        if (ours && strcmp(ours, path) == 0)
            return true;
    }
    return false;
}

/* The first entry of relay_domains that domain_maps has, too, without its subdomains. */
static bool first_shared_domain(const struct doctor_facts *facts, char *word, size_t size)
{
    const char *ours = facts->settings->domain_maps;
    const char *at = postconf_value(facts->postfix, NULL, "relay_domains");
    while (postconf_next(&at, word, size))
        if (list_has_table(ours, word) ||
            (list_has_key(ours, "", word) && !list_has_key(ours, ".", word)))
            return true;
    return false;
}

static bool may_be_below(const char *maps, const char *name)
{
    for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.'))
        if (strstr(maps, ":/") || list_has_key(maps, "", dot + 1))
            return true;
    return false;
}

/* Users of this host are in none of our maps: a subdomain that is its own must stay unchecked. */
static void change_access(const struct doctor_facts *facts, struct text *change)
{
    char name[DOCTOR_NAME_MAX];
    const struct settings *ours = facts->settings;
    const char *at = postconf_value(facts->postfix, NULL, "mydestination");
    bool any = false;
    while (postconf_next(&at, name, sizeof name)) {
        if (*name == '[' || strchr(name, ':') || strchr(name, '/') ||
            !may_be_below(ours->domain_maps, name) || list_has_key(ours->access_maps, "", name))
            continue;
        if (!any)
            text_addf(change, "%s: access_maps = inline:{", facts->config_path);
        text_addf(change, "%s%s=OK", any ? ", " : "", name);
        any = true;
    }
    if (any)
        text_addf(change, "}%s%s\n", *ours->access_maps ? ", " : "", ours->access_maps);
}

bool doctor_subdomains(const struct doctor_facts *facts, const struct postconf_service *none,
                       struct doctor_words *finding)
{
    (void)none;
    static const char name[] = "parent_domain_matches_subdomains";
    const char *ours = facts->settings->parent_domain_matches_subdomains;
    char word[DOCTOR_PATH_MAX];
    if (!postconf_list_has(postconf_value(facts->postfix, NULL, name), "relay_domains") ||
        postconf_list_has(ours, "domain_maps") || !first_shared_domain(facts, word, sizeof word))
        return false;
    text_addf(&finding->what,
              "Postfix takes mail for subdomains of relay_domains (%s), which domain_maps does not "
              "have",
              name);
    change_access(facts, &finding->change);
    text_addf(&finding->change, "%s: %s = domain_maps%s%s", facts->config_path, name,
              *ours ? ", " : "", ours);
    return true;
}

bool doctor_nobody_checked(const struct doctor_facts *facts, const struct postconf_service *none,
                           struct doctor_words *finding)
{
    (void)none;
    if (*facts->settings->recipient_maps)
        return false;
    text_add(&finding->what, "recipient_maps is empty");
    text_addf(&finding->change, "%s: recipient_maps = ...; see rcptctl import-postfix",
              facts->config_path);
    return true;
}
