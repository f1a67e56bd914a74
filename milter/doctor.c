#include "milter/doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "milter/command.h"
#include "milter/doctor_mx.h"
#include "milter/doctor_socket.h"
#include "milter/doctor_view.h"
#include "shared/clock.h"

enum { DNS_MS = 10000, ALL_IS_WELL = 0, THERE_ARE_FINDINGS = 1 };

static int usage(void)
{
    const struct command *command = command_find("doctor");
    fprintf(stderr, "usage: rcptctl %s %s\n", command->name, command->arguments);
    return EXIT_USAGE;
}

/* A domain, once; no more than there is room for. */
static void add_domain(struct doctor_facts *facts, const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length >= DOCTOR_NAME_MAX || facts->domain_count == DOCTOR_DOMAINS_MAX)
        return;
    for (size_t i = 0; i < facts->domain_count; i++)
        if (text_same_word(facts->domains[i].name, name))
            return;
    memcpy(facts->domains[facts->domain_count++].name, name, length + 1);
}

/* The domains that stand in Postfix's lists themselves. */
static void add_listed_domains(struct doctor_facts *facts)
{
    char word[1024];
    for (size_t i = 0; i < 3; i++) {
        const char *at = postconf_value(facts->postfix, NULL, doctor_classes[i].domains);
        while (postconf_next(&at, word, sizeof word))
            if (!strpbrk(word, ":/!{[") && word[0] != '.')
                add_domain(facts, word);
    }
}

static bool read_words(struct doctor_facts *facts, int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc)
            return false;
        if (strcmp(argv[i], "--postfix") == 0 || strcmp(argv[i], "-c") == 0)
            facts->directory = argv[i + 1];
        else if (strcmp(argv[i], "--domain") == 0)
            add_domain(facts, argv[i + 1]);
        else
            return false;
    }
    return true;
}

static void look_around(struct doctor_facts *facts)
{
    char below[DOCTOR_PATH_MAX];
    struct text text = text_on(below, sizeof below);
    /* As a file in it, since the directory itself may be a link. */
    text_addf(&text, "%s/.", postconf_value(facts->postfix, NULL, "queue_directory"));
    doctor_path_resolve(below, facts->queue);
    facts->queue[strlen(facts->queue) - 2] = '\0';
    doctor_path_resolve(facts->settings->milter_socket.path, facts->our_socket);
    doctor_socket_look(facts);
    if (facts->domain_count == 0)
        add_listed_domains(facts);
    struct deadline deadline = deadline_in_ms(DNS_MS);
    for (size_t i = 0; i < facts->domain_count; i++)
        doctor_mx_ask(facts->postfix, deadline, &facts->domains[i]);
}

/* Every line of the text behind some blanks. */
static void print_indented(const char *text)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        printf("     %.*s\n", (int)length, text);
        text += length + (text[length] == '\n');
    }
}

static void print_findings(const struct doctor_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        const struct doctor_finding *finding = &report->findings[i];
        printf("%s: %s%s%s.\n  %s\n", finding->row, finding->services,
               *finding->services ? ": " : "", finding->what, finding->why);
        print_indented(finding->change);
    }
}

/* What could not be looked at, so that nobody takes it for well. */
static void print_notes(const struct doctor_facts *facts)
{
    if (facts->socket.state == DOCTOR_SOCKET_UNKNOWN &&
        facts->settings->milter_socket.kind == ENDPOINT_UNIX)
        printf("not looked at: whether Postfix may connect to %s; run this as root\n",
               facts->settings->milter_socket.path);
    for (size_t i = 0; i < facts->domain_count; i++)
        if (facts->domains[i].why.text[0])
            printf("not looked at: the MX hosts of %s: %s\n", facts->domains[i].name,
                   facts->domains[i].why.text);
    if (facts->domain_count == 0)
        printf("not looked at: MX hosts; Postfix's lists name no domain, give one with --domain\n");
}

static int examine(struct doctor_facts *facts)
{
    struct doctor_report *report = calloc(1, sizeof *report);
    if (!report) {
        fprintf(stderr, "rcptctl: out of memory\n");
        return EX_OSERR;
    }
    look_around(facts);
    doctor_judge(facts, report);
    print_findings(report);
    print_notes(facts);
    if (report->count > 0)
        printf("%zu finding%s; after a change, \"postfix reload\" or \"rcptctl reload\"\n",
               report->count, report->count == 1 ? "" : "s");
    else
        printf("all is well\n");
    int code = report->count > 0 ? THERE_ARE_FINDINGS : ALL_IS_WELL;
    free(report);
    return code;
}

int doctor_run(const struct client_place *place, int argc, char **argv)
{
    struct fault fault = {{0}};
    struct doctor_facts *facts = calloc(1, sizeof *facts);
    int code = facts ? 0 : EX_OSERR;
    if (facts && !read_words(facts, argc, argv))
        code = usage();
    struct settings *settings = NULL;
    struct postconf *postfix = NULL;
    if (code == 0 && !(settings = settings_load(place->config_path, NULL, 0, &fault)))
        code = EXIT_CONFIG;
    if (code == 0 && !(postfix = postconf_read(facts->directory, &fault)))
        code = EX_UNAVAILABLE;
    if (code == 0) {
        facts->settings = settings;
        facts->postfix = postfix;
        facts->config_path = place->config_path;
        code = examine(facts);
    } else if (code != EXIT_USAGE) {
        fprintf(stderr, "rcptctl: %s\n", facts ? fault.text : "out of memory");
    }
    postconf_free(postfix);
    settings_free(settings);
    free(facts);
    return code;
}
