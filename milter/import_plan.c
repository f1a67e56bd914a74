/* Which of Postfix's lists become recipient_maps and domain_maps. */
#include "milter/import.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "milter/doctor_view.h"

enum { SENTENCE_MAX = 4096, COLUMNS = 92 };

/* Lines of a readable length; a word that is longer stands alone. */
static void add_comment(struct text *to, const char *sentence)
{
    size_t column = 0;
    for (const char *at = sentence; *at;) {
        size_t length = strcspn(at, " ");
        bool fits = column > 0 && column + 1 + length <= COLUMNS;
        text_add(to, fits ? " " : column > 0 ? "\n#   " : "# ");
        column = fits ? column + 1 + length : (column > 0 ? 4 : 2) + length;
        text_add_printable(to, at, length);
        at += length + strspn(at + length, " ");
    }
    text_add_char(to, '\n');
}

void import_note(struct import_plan *plan, const char *format, ...)
{
    char sentence[SENTENCE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    add_comment(&plan->notes, sentence);
}

void import_leave_out(struct import_plan *plan, const char *format, ...)
{
    char sentence[SENTENCE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    fprintf(stderr, "rcptctl: not carried over: %s\n", sentence);
    add_comment(&plan->left_out, sentence);
}

static const char *value(const struct import_plan *plan, const char *name)
{
    return postconf_value(plan->postfix, NULL, name);
}

static void add_maps(struct import_plan *plan, const char *parameter)
{
    char map[4096];
    const char *at = value(plan, parameter);
    while (postconf_next(&at, map, sizeof map))
        import_add_map(plan, &plan->recipients, parameter, map);
}

/* Postfix takes every recipient of a class without maps. Were its domains in domain_maps, the maps
 * of the other classes would be asked for them, and say that nobody exists. */
static void explain_open_class(struct import_plan *plan, const struct doctor_class *class)
{
    import_note(plan,
                "%s is empty, so Postfix takes every recipient of %s (%s). They are not in "
                "domain_maps: rcpt-milter passes them, too. Once recipient_maps has all of "
                "them, add the domains to domain_maps.",
                class->maps, class->domains, value(plan, class->domains));
}

/* The first three classes: is there one whose recipients are listed? */
static bool plan_classes(struct import_plan *plan)
{
    bool listed = false;
    for (size_t i = 0; i < 3; i++) {
        const struct doctor_class *class = &doctor_classes[i];
        if (*value(plan, class->domains) == '\0')
            continue;
        if (*value(plan, class->maps) == '\0') {
            explain_open_class(plan, class);
            continue;
        }
        listed = true;
        import_add_domains(plan, class->domains, value(plan, class->domains), 0);
        add_maps(plan, class->maps);
    }
    return listed;
}

/* The domains of a class whose users are in none of our maps: where one of them is a subdomain of
 * ours Postfix still takes it for that class's. False where we cannot read them. */
static bool set_apart(struct import_plan *plan, const struct doctor_class *class)
{
    char name[512], entry[520];
    const char *at = value(plan, class->domains);
    while (postconf_next(&at, name, sizeof name)) {
        if (*name == '[')
            continue; /* an address literal is below nothing */
        if (*name == '.' || strpbrk(name, ":/!={}"))
            return false;
        snprintf(entry, sizeof entry, "%s=OK", name);
        if (import_may_be_below(plan, name) && !postconf_list_has(plan->apart.bytes, entry))
            text_addf(&plan->apart, "%s%s", plan->apart.length > 0 ? ",\n    " : "", entry);
    }
    return true;
}

static bool set_others_apart(struct import_plan *plan)
{
    bool good = set_apart(plan, &doctor_classes[3]);
    for (size_t i = 1; i < 3; i++)
        if (*value(plan, doctor_classes[i].maps) == '\0')
            good &= set_apart(plan, &doctor_classes[i]);
    return good && !plan->apart.overflow;
}

/* Where relay_domains stand for their subdomains and their recipients are listed, those there must
 * be, too. */
static void plan_subdomains(struct import_plan *plan)
{
    const struct doctor_class *relay = &doctor_classes[0];
    if (!postconf_list_has(value(plan, "parent_domain_matches_subdomains"), relay->domains) ||
        *value(plan, relay->domains) == '\0' || *value(plan, relay->maps) == '\0')
        return;
    plan->subdomains = set_others_apart(plan);
    if (!plan->subdomains)
        import_note(plan,
                    "parent_domain_matches_subdomains has relay_domains: Postfix takes mail for "
                    "their subdomains, too. domain_maps does not have these, so that their "
                    "recipients pass unchecked. Set parent_domain_matches_subdomains = domain_maps "
                    "here unless mydestination, or another list of domains whose recipients are "
                    "not in recipient_maps, has such a subdomain.");
    else
        import_note(plan,
                    "parent_domain_matches_subdomains has relay_domains: Postfix takes mail for "
                    "their subdomains, too, and only for recipients that are listed; so does "
                    "rcpt-milter.%s",
                    plan->apart.length > 0
                        ? " The names in access_maps may be such subdomains, and their users are "
                          "in none of the maps: they pass, and are Postfix's business."
                        : "");
}

static void plan_local(struct import_plan *plan)
{
    const struct doctor_class *local = &doctor_classes[3];
    if (*value(plan, local->domains) == '\0')
        return;
    if (*value(plan, local->maps) == '\0') {
        explain_open_class(plan, local);
        return;
    }
    if (!doctor_class_used(plan->postfix, NULL, local)) {
        import_note(plan,
                    "Users of this host itself (%s) are not in domain_maps: they pass, and are "
                    "Postfix's business.",
                    value(plan, local->domains));
        return;
    }
    import_leave_out(plan,
                     "local_recipient_maps: %s: it has users by their bare names, or those of "
                     "the system. Recipients in mydestination (%s) pass unchecked: do not name "
                     "these domains in domain_maps unless recipient_maps has every user there "
                     "as user@domain",
                     value(plan, local->maps), value(plan, local->domains));
}

/* virtual(5): a bare user is looked up, too, where the domain is $myorigin. */
static void explain_bare_users(struct import_plan *plan)
{
    const char *origin = value(plan, "myorigin");
    if (*value(plan, "virtual_alias_maps") == '\0' ||
        postconf_list_has(value(plan, "mydestination"), origin))
        return;
    for (size_t i = 0; i < 3; i++)
        if (*value(plan, doctor_classes[i].maps) &&
            postconf_list_has(value(plan, doctor_classes[i].domains), origin)) {
            import_leave_out(
                plan,
                "virtual_alias_maps: Postfix finds users of %s (myorigin) by their bare "
                "names, too; write them as user@%s there",
                origin, origin);
            return;
        }
}

static void join_domains(struct import_plan *plan)
{
    if (plan->inside.length == 0)
        return;
    /* First, since it needs no server. */
    char *all = plan->buffers[2];
    struct text joined = text_on(all, IMPORT_LIST_MAX);
    text_addf(&joined, "inline:{%s}%s%s", plan->inside.bytes,
              plan->domains.length > 0 ? ",\n    " : "", plan->domains.bytes);
    plan->domains = joined;
}

void import_plan_make(struct import_plan *plan)
{
    plan->recipients = text_on(plan->buffers[0], IMPORT_LIST_MAX / 2);
    plan->inside = text_on(plan->buffers[0] + IMPORT_LIST_MAX / 2, IMPORT_LIST_MAX / 2);
    plan->domains = text_on(plan->buffers[1], IMPORT_LIST_MAX / 2);
    plan->notes = text_on(plan->words[0], IMPORT_NOTES_MAX);
    plan->left_out = text_on(plan->words[1], IMPORT_NOTES_MAX);
    plan->apart = text_on(plan->apart_bytes, sizeof plan->apart_bytes);
    if (plan_classes(plan)) {
        /* Whoever is in one of these is a recipient, whatever the class: smtpd_check.c. */
        if (*value(plan, "virtual_alias_domains") == '\0') /* else they are there already */
            add_maps(plan, "virtual_alias_maps");
        add_maps(plan, "canonical_maps");
        add_maps(plan, "recipient_canonical_maps");
        explain_bare_users(plan);
    } else {
        import_leave_out(plan, "recipients: Postfix has no list of them (relay_recipient_maps, "
                               "virtual_mailbox_maps, virtual_alias_maps), so every one passes "
                               "until recipient_maps names one");
    }
    plan_local(plan);
    plan_subdomains(plan);
    join_domains(plan);
    if (plan->recipients.overflow || plan->inside.overflow || plan->domains.overflow)
        import_leave_out(plan, "the lists are too long to be written out");
}
