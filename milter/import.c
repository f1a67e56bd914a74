#include "milter/import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "milter/command.h"
#include "milter/doctor.h"

#define DEFAULT_QUEUE "/var/spool/postfix"

enum { CARRIED_OVER = 0, SOMETHING_LEFT_OUT = 1 };

struct import {
    struct import_plan plan;
    struct doctor_facts facts;
    struct doctor_report report;
    const char *role;
};

static int usage(void)
{
    const struct command *command = command_find("import-postfix");
    fprintf(stderr, "usage: rcptctl %s %s\n", command->name, command->arguments);
    return EXIT_USAGE;
}

static bool read_words(struct import *import, int argc, char **argv)
{
    import->role = role_name(ROLE_PRIMARY);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--partial") == 0)
            import->plan.partial = true;
        else if (i + 1 == argc)
            return false;
        else if (strcmp(argv[i], "--postfix") == 0 || strcmp(argv[i], "-c") == 0)
            import->facts.directory = argv[++i];
        else if (strcmp(argv[i], "--role") == 0)
            import->role = argv[++i];
        else
            return false;
    }
    return strcmp(import->role, role_name(ROLE_PRIMARY)) == 0 ||
           strcmp(import->role, role_name(ROLE_FALLBACK)) == 0;
}

static bool is_fallback(const struct import *import)
{
    return strcmp(import->role, role_name(ROLE_FALLBACK)) == 0;
}

/* A value of Postfix's, as our reader wants it. */
static void print_value(const char *name, const char *value)
{
    printf("%s = ", name);
    for (; *value; value++)
        printf("%s%c", *value == '$' ? "$" : "", *value);
    printf("\n");
}

static void print_subdomains(const struct import_plan *plan)
{
    if (plan->subdomains)
        printf("parent_domain_matches_subdomains = domain_maps\n");
    if (plan->subdomains && plan->apart.length > 0)
        printf("access_maps =\n    inline:{%s}\n", plan->apart.bytes);
}

static void print_lists(const struct import_plan *plan)
{
    /* Without domains, recipients of the whole world would be looked up. */
    bool whole = plan->recipients.length > 0 && plan->domains.length > 0;
    if (plan->left_out.length > 0)
        printf("\n# NOT CARRIED OVER:\n%s", plan->left_out.bytes);
    if (plan->failing)
        printf("# %s\n",
               plan->partial
                   ? "Instead of these maps there is fail:, so that nobody in them bounces. "
                     "While it is there, nobody unknown\n# bounces either: all wait."
                   : "These maps stand below as Postfix has them, and rcpt-milter -t refuses "
                     "them: without them, whom only they\n# know would not exist. Replace "
                     "them by maps with the same recipients, or see --partial.");
    if (plan->notes.length > 0)
        printf("\n%s", plan->notes.bytes);
    if (whole) {
        printf("\nrecipient_maps =\n    %s\ndomain_maps =\n    %s\n", plan->recipients.bytes,
               plan->domains.bytes);
        print_subdomains(plan);
    } else {
        printf("\n#recipient_maps = mysql:/etc/postfix/...\n#domain_maps = ...\n");
    }
}

static void print_config(const struct import *import)
{
    const struct import_plan *plan = &import->plan;
    const char *queue = postconf_value(plan->postfix, NULL, "queue_directory");
    const char *delimiter = postconf_value(plan->postfix, NULL, "recipient_delimiter");
    printf("# rcpt-milter.conf, made by rcptctl import-postfix from the Postfix of %s.\n",
           postconf_value(plan->postfix, NULL, "myhostname"));
    printf(
        "# Check it with rcpt-milter -t -c FILE, then rcptctl -c FILE lookup --explain ADDRESS.\n");
    printf("\nrole = %s\n", import->role);
    if (is_fallback(import))
        printf("# A restart of the directory then bounces nobody.\noutage_patience = 60s\n");
    if (plan->partial && plan->failing)
        printf("fallback_unavailable_reply = 451 4.4.3 Cannot check the recipient now, try again "
               "later\n");
    if (strcmp(queue, DEFAULT_QUEUE) != 0)
        printf("milter_socket = unix:%s/rcpt-milter/milter.sock\n", queue);
    if (*delimiter)
        print_value("recipient_delimiter", delimiter);
    print_lists(plan);
    printf("\n# Set these: see README.md.\n#sentinel_recipients = postmaster@example.com\n"
           "#memcache_servers = inet:127.0.0.1:11211\n");
}

/* What doctor would say of this Postfix once the configuration is in force. */
static bool judge(struct import *import, struct fault *fault)
{
    char role[64], delimiter[64], socket[DOCTOR_PATH_MAX];
    struct doctor_facts *facts = &import->facts;
    const char *queue = postconf_value(import->plan.postfix, NULL, "queue_directory");
    const char *set = postconf_value(import->plan.postfix, NULL, "recipient_delimiter");
    snprintf(role, sizeof role, "role=%s", import->role);
    snprintf(delimiter, sizeof delimiter, "recipient_delimiter=%s", strcmp(set, "$") ? set : "$$");
    snprintf(socket, sizeof socket, "milter_socket=unix:%s/rcpt-milter/milter.sock", queue);
    const char *overrides[] = {role, delimiter, socket, "recipient_maps=fail:"};
    struct settings *settings =
        settings_load(NULL, overrides, sizeof overrides / sizeof *overrides, fault);
    if (!settings)
        return false;
    facts->settings = settings;
    facts->postfix = import->plan.postfix;
    facts->config_path = SETTINGS_DEFAULT_PATH;
    snprintf(facts->queue, sizeof facts->queue, "%s", queue);
    memcpy(facts->our_socket, settings->milter_socket.path, sizeof settings->milter_socket.path);
    doctor_judge(facts, &import->report);
    facts->settings = NULL;
    settings_free(settings);
    return true;
}

static void print_commented(const char *text)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        printf("#   %.*s\n", (int)length, text);
        text += length + (text[length] == '\n');
    }
}

static void print_changes(const struct import *import)
{
    const struct doctor_report *report = &import->report;
    printf("\n# In Postfix%s:\n", report->count > 0 ? "" : " there is nothing to change");
    for (size_t i = 0; i < report->count; i++) {
        const struct doctor_finding *finding = &report->findings[i];
        printf("#\n# %s%s%s:\n", finding->services, *finding->services ? ": " : "", finding->what);
        print_commented(finding->change);
    }
    if (report->count > 0)
        printf("#\n#   postfix reload\n");
    for (size_t i = 0; i < report->count; i++)
        if (strstr(report->findings[i].change, "smtpd_reject_unlisted_recipient = no"))
            printf("#\n# Postfix then leaves users of this host unchecked, too. To have it check "
                   "these itself, begin smtpd_recipient_restrictions with\n"
                   "#   check_recipient_access inline:{%s=reject_unlisted_recipient}\n"
                   "# Where this host delivers mail itself (virtual, local), a table that is empty "
                   "when a message is delivered still bounces it.\n",
                   postconf_value(import->plan.postfix, NULL, "myhostname"));
}

static int run(struct import *import)
{
    struct fault fault = {{0}};
    struct postconf *postfix = postconf_read(import->facts.directory, &fault);
    if (!postfix) {
        fprintf(stderr, "rcptctl: %s\n", fault.text);
        return EX_UNAVAILABLE;
    }
    import->plan.postfix = postfix;
    import_plan_make(&import->plan);
    print_config(import);
    if (judge(import, &fault))
        print_changes(import);
    else
        import_leave_out(&import->plan, "what to change in Postfix: %s", fault.text);
    postconf_free(postfix);
    return import->plan.left_out.length > 0 ? SOMETHING_LEFT_OUT : CARRIED_OVER;
}

int import_run(const struct client_place *place, int argc, char **argv)
{
    (void)place;
    struct import *import = calloc(1, sizeof *import);
    if (!import) {
        fprintf(stderr, "rcptctl: out of memory\n");
        return EX_OSERR;
    }
    int code = read_words(import, argc, argv) ? run(import) : usage();
    free(import);
    return code;
}
