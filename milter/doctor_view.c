#include "milter/doctor_view.h"

#include <stdio.h>
#include <string.h>

enum { WORD_MAX = 1024 };

const struct doctor_class doctor_classes[4] = {
    {"relay_domains", "relay_recipient_maps", "unknown_relay_recipient_reject_code"},
    {"virtual_mailbox_domains", "virtual_mailbox_maps", "unknown_virtual_mailbox_reject_code"},
    {"virtual_alias_domains", "virtual_alias_maps", "unknown_virtual_alias_reject_code"},
    {"mydestination", "local_recipient_maps", "unknown_local_recipient_reject_code"},
};

/* The lists that are judged at RCPT, in Postfix's order. */
static const char *const restrictions[] = {
    "smtpd_client_restrictions", "smtpd_helo_restrictions",      "smtpd_sender_restrictions",
    "smtpd_relay_restrictions",  "smtpd_recipient_restrictions",
};
enum { RESTRICTIONS = sizeof restrictions / sizeof *restrictions };

/* mydestination beyond the names of the machine itself. */
static bool has_local_domain(const struct postconf *postfix, const char *service)
{
    char word[WORD_MAX];
    const char *at = postconf_value(postfix, service, "mydestination");
    const char *host = postconf_value(postfix, service, "myhostname");
    while (postconf_next(&at, word, sizeof word))
        if (!text_same_word(word, host) && strncmp(word, "localhost", 9) != 0)
            return true;
    return false;
}

bool doctor_class_used(const struct postconf *postfix, const char *service,
                       const struct doctor_class *class)
{
    const char *domains = postconf_value(postfix, service, class->domains);
    if (*domains == '\0')
        return false;
    if (class == &doctor_classes[3])
        return has_local_domain(postfix, service);
    if (class == &doctor_classes[2] &&
        strcmp(domains, postconf_value(postfix, service, class->maps)) == 0)
        return !doctor_class_used(postfix, service, &doctor_classes[0]) &&
               !doctor_class_used(postfix, service, &doctor_classes[1]);
    return true;
}

static bool is_loopback(const char *name)
{
    static const char *const begins[] = {"127.", "[127.", "localhost:", "[::1]", "::1"};
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (strncmp(name, begins[i], strlen(begins[i])) == 0)
            return true;
    return false;
}

bool doctor_is_public(const struct postconf *postfix, const struct postconf_service *service)
{
    const char *type = strrchr(service->name, '/');
    if (!service->smtpd || !type || is_loopback(service->name) ||
        (strcmp(type, "/inet") != 0 && strcmp(type, "/pass") != 0))
        return false;
    for (size_t i = 0; i < RESTRICTIONS; i++)
        if (postconf_list_has(postconf_value(postfix, service->name, restrictions[i]), "reject"))
            return false;
    return true;
}

bool doctor_next_milter(const char **at, struct doctor_milter *milter)
{
    if (!postconf_next(at, milter->text, sizeof milter->text))
        return false;
    milter->settings[0] = '\0';
    if (milter->text[0] != '{') {
        memcpy(milter->endpoint, milter->text, sizeof milter->endpoint);
        return true;
    }
    char inside[DOCTOR_PATH_MAX];
    struct text text = text_on(inside, sizeof inside);
    size_t length = strlen(milter->text);
    text_add_bytes(&text, milter->text + 1, length < 2 ? 0 : length - 2);
    const char *rest = inside;
    if (!postconf_next(&rest, milter->endpoint, sizeof milter->endpoint))
        milter->endpoint[0] = '\0';
    rest += strspn(rest, ", \t");
    memcpy(milter->settings, rest, strlen(rest) + 1);
    return true;
}

/* The same path, doubled slashes aside. */
static bool same_path(const char *a, const char *b)
{
    while (*a || *b) {
        if (*a != *b)
            return false;
        bool slash = *a == '/';
        a++, b++;
        while (slash && *a == '/')
            a++;
        while (slash && *b == '/')
            b++;
    }
    return true;
}

static bool is_our_path(const struct doctor_facts *facts, const char *queue, const char *path,
                        bool chrooted)
{
    char whole[2 * DOCTOR_PATH_MAX];
    bool below = chrooted || path[0] != '/';
    snprintf(whole, sizeof whole, "%s%s%s", below ? queue : "", below ? "/" : "", path);
    return same_path(whole, facts->our_socket) ||
           same_path(whole, facts->settings->milter_socket.path);
}

static bool is_local_name(const char *host)
{
    return text_same_word(host, "localhost") || strncmp(host, "127.", 4) == 0 ||
           strcmp(host, "::1") == 0;
}

static bool is_our_inet(const struct endpoint *ours, const char *text)
{
    struct endpoint given;
    if (!endpoint_parse(text, &given, NULL) || given.kind != ENDPOINT_INET ||
        given.port != ours->port)
        return false;
    return text_same_word(given.host, ours->host) || strcmp(ours->host, "0.0.0.0") == 0 ||
           strcmp(ours->host, "::") == 0 ||
           (is_local_name(given.host) && is_local_name(ours->host));
}

bool doctor_is_ours(const struct doctor_facts *facts, const char *endpoint, bool chrooted)
{
    const struct endpoint *ours = &facts->settings->milter_socket;
    if (ours->kind == ENDPOINT_INET)
        return is_our_inet(ours, endpoint);
    const char *path = strncmp(endpoint, "unix:", 5) == 0    ? endpoint + 5
                       : strncmp(endpoint, "local:", 6) == 0 ? endpoint + 6
                                                             : NULL;
    return path && (is_our_path(facts, facts->queue, path, chrooted) ||
                    is_our_path(facts, postconf_value(facts->postfix, NULL, "queue_directory"),
                                path, chrooted));
}

bool doctor_our_milter(const struct doctor_facts *facts, const struct postconf_service *service,
                       struct doctor_milter *milter, bool *lost)
{
    *lost = false;
    const char *at = postconf_value(facts->postfix, service->name, "smtpd_milters");
    while (doctor_next_milter(&at, milter)) {
        if (doctor_is_ours(facts, milter->endpoint, service->chroot))
            return true;
        if (doctor_is_ours(facts, milter->endpoint, !service->chroot))
            return *lost = true;
    }
    return false;
}

void doctor_milter_value(const struct doctor_facts *facts, const struct postconf_service *service,
                         const char *name, char *value, size_t size)
{
    struct doctor_milter milter;
    bool lost;
    char parameter[64], word[DOCTOR_PATH_MAX];
    snprintf(parameter, sizeof parameter, "milter_%s", name);
    struct text text = text_on(value, size);
    text_add(&text, postconf_value(facts->postfix, service->name, parameter));
    if (!doctor_our_milter(facts, service, &milter, &lost))
        return;
    for (const char *at = milter.settings; postconf_next(&at, word, sizeof word);) {
        size_t length = strlen(name);
        if (strncmp(word, name, length) != 0 || word[length] != '=')
            continue;
        text = text_on(value, size);
        text_add(&text, word + length + 1);
    }
}

/* The settings of an entry of smtpd_milters with one of them set anew. */
static void set_entry(const char *settings, const char *name, const char *value, struct text *out)
{
    char word[DOCTOR_PATH_MAX];
    size_t length = strlen(name);
    while (postconf_next(&settings, word, sizeof word))
        if (strncmp(word, name, length) != 0 || word[length] != '=')
            text_addf(out, "%s%s", out->length > 0 ? ", " : "", word);
    text_addf(out, "%s%s=%s", out->length > 0 ? ", " : "", name, value);
}

void doctor_change_milter(const struct doctor_facts *facts, const struct postconf_service *service,
                          const char *name, const char *value, bool others_too, struct text *change)
{
    struct doctor_milter milter = {.settings = ""};
    char wanted[WORD_MAX], settings[WORD_MAX], parameter[64], in_force[64];
    size_t others;
    bool lost;
    snprintf(parameter, sizeof parameter, "milter_%s", name);
    doctor_milter_value(facts, service, name, in_force, sizeof in_force);
    bool own = strcmp(in_force, postconf_value(facts->postfix, service->name, parameter)) != 0;
    struct text text = text_on(wanted, sizeof wanted), entry = text_on(settings, sizeof settings);
    if (!doctor_our_milter(facts, service, &milter, &lost))
        milter.settings[0] = '\0';
    set_entry(milter.settings, name, value, &entry);
    doctor_wanted_milters(facts, service, settings, &text, &others);
    if (own || (others > 0 && !others_too))
        doctor_change(facts, service->name, "smtpd_milters", wanted, change);
    else
        doctor_change(facts, service->name, parameter, value, change);
}

/* Relative to the queue directory where it is below that: this works chrooted and not. */
static void add_our_endpoint(const struct doctor_facts *facts, struct text *value)
{
    char endpoint[ENDPOINT_TEXT_MAX];
    const char *queues[] = {facts->queue, postconf_value(facts->postfix, NULL, "queue_directory")};
    const char *ours[] = {facts->our_socket, facts->settings->milter_socket.path};
    for (size_t i = 0; i < 2; i++) {
        size_t length = strlen(queues[i]);
        if (length > 0 && strncmp(ours[i], queues[i], length) == 0 && ours[i][length] == '/') {
            text_addf(value, "unix:%s", ours[i] + length + 1);
            return;
        }
    }
    endpoint_print(&facts->settings->milter_socket, endpoint, sizeof endpoint);
    text_add(value, endpoint);
}

void doctor_wanted_milters(const struct doctor_facts *facts, const struct postconf_service *service,
                           const char *settings, struct text *value, size_t *others)
{
    struct doctor_milter milter;
    *others = 0;
    text_add(value, *settings ? "{ " : "");
    add_our_endpoint(facts, value);
    if (*settings)
        text_addf(value, ", %s }", settings);
    const char *at = postconf_value(facts->postfix, service->name, "smtpd_milters");
    while (doctor_next_milter(&at, &milter)) {
        if (doctor_is_ours(facts, milter.endpoint, true) ||
            doctor_is_ours(facts, milter.endpoint, false))
            continue;
        text_addf(value, ", %s", milter.text);
        (*others)++;
    }
}

/* postconf -P takes no white space in a value: commas do as well, in lists and in braces. */
static void add_without_space(struct text *text, const char *value)
{
    static const char separators[] = ", \t";
    while (*value) {
        size_t gap = strspn(value, separators), word = strcspn(value + gap, separators);
        char last = text->bytes[text->length - 1];
        if (gap > 0 && last != '=' && last != '{' && value[gap] != '}' && word > 0)
            text_add_char(text, ',');
        text_add_bytes(text, value + gap, word);
        value += gap + word;
    }
}

/* Between single quotes of a shell. */
static void add_quoted(struct text *text, const char *value)
{
    for (; *value; value++)
        text_add(text, *value == '\'' ? "'\\''" : (char[]){*value, '\0'});
}

void doctor_change(const struct doctor_facts *facts, const char *service, const char *name,
                   const char *value, struct text *change)
{
    char buffer[2 * WORD_MAX];
    struct text line = text_on(buffer, sizeof buffer);
    bool alone = postconf_overrides(facts->postfix, service, name);
    text_addf(&line, "%s%s%s =%s", alone ? service : "", alone ? "/" : "", name, *value ? " " : "");
    if (alone)
        add_without_space(&line, value);
    else
        text_add(&line, value);
    text_add(change, change->length > 0 ? "\npostconf" : "postconf");
    if (facts->directory)
        text_addf(change, " -c %s", facts->directory);
    text_add(change, alone ? " -P '" : " -e '");
    add_quoted(change, buffer);
    text_add_char(change, '\'');
}

/* The list without the word. */
static void change_list(const struct doctor_facts *facts, const char *service, const char *name,
                        const char *word, struct text *change)
{
    char buffer[WORD_MAX], item[WORD_MAX];
    struct text rest = text_on(buffer, sizeof buffer);
    const char *at = postconf_value(facts->postfix, service, name);
    while (postconf_next(&at, item, sizeof item))
        if (!text_same_word(item, word))
            text_addf(&rest, "%s%s", rest.length > 0 ? " " : "", item);
    doctor_change(facts, service, name, rest.overflow ? "..." : buffer, change);
}

bool doctor_restricts(const struct doctor_facts *facts, const char *service, const char *word,
                      struct text *change)
{
    char class[WORD_MAX];
    bool found = false;
    const char *classes = postconf_value(facts->postfix, service, "smtpd_restriction_classes");
    for (size_t i = 0;; i++) {
        const char *name = i < RESTRICTIONS ? restrictions[i] : class;
        if (i >= RESTRICTIONS && !postconf_next(&classes, class, sizeof class))
            return found;
        if (!postconf_list_has(postconf_value(facts->postfix, service, name), word))
            continue;
        found = true;
        if (change)
            change_list(facts, service, name, word, change);
    }
}
