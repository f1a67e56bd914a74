/* What domain_maps, access_maps, recipient_maps and role_maps make of one another's answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "db/authority.h"
#include "db/directory.h"
#include "shared/text.h"

/* A scripted map stands in for mysql: it knows the keys of its script, and writes down what it is
 * asked. Without a script it finds nothing, on a server that may be behind. It is linked instead of
 * db/map_mysql.c, whose one public name this is. */
static const char *const *script; /* "key=value", "key!fails", "key!late", "key!lags"; NULL */
static char asked_bytes[4096];
static struct text asked;

static void answer_from_script(const char *key, struct finding *finding)
{
    size_t length = strlen(key);
    finding_set_absent(finding);
    for (size_t i = 0; script[i]; i++) {
        const char *says = script[i] + length;
        if (strncmp(script[i], key, length) != 0 || (*says != '=' && *says != '!'))
            continue;
        finding->lagging = strcmp(says, "!lags") == 0;
        finding->late = strcmp(says, "!late") == 0;
        if (*says == '=')
            finding_set_found(finding, says + 1);
        else if (!finding->lagging)
            finding->answer = UNAVAILABLE;
        if (*says == '!')
            fault_set(&finding->why, "%s: %s", key, says + 1);
    }
}

static void *lagging_open(const char *table, const struct map_context *context, struct fault *fault)
{
    (void)context, (void)fault;
    return strdup(table);
}

static void lagging_lookup(void *map, const char *key, struct deadline deadline,
                           struct trace *trace, struct finding *finding)
{
    (void)map, (void)deadline, (void)trace;
    text_addf(&asked, "%s%s", asked.length > 0 ? " " : "", key);
    if (script) {
        answer_from_script(key, finding);
        return;
    }
    finding_set_absent(finding);
    finding->lagging = true;
    fault_set(&finding->why, "45 s behind");
}

const struct map_type map_mysql = {"mysql", true, lagging_open, lagging_lookup, free};

struct node {
    struct settings *settings;
    struct authority *authority;
};

static struct node node_open(const char *const *overrides)
{
    struct fault fault = {""};
    struct node node;
    size_t count = 0;
    while (overrides[count])
        count++;
    node.settings = settings_load(NULL, overrides, count, &fault);
    assert_string_equal(fault.text, "");
    node.authority = authority_open(node.settings, false, &fault);
    assert_string_equal(fault.text, "");
    return node;
}

static void node_close(struct node *node)
{
    authority_close(node->authority);
    settings_free(node->settings);
}

#define ASK(text, ...) ask_with((const char *const[]){__VA_ARGS__, NULL}, text)

static struct outcome ask_with(const char *const *overrides, const char *text)
{
    struct node node = node_open(overrides);
    struct address address;
    struct outcome outcome = {0};
    asked = text_on(asked_bytes, sizeof asked_bytes);
    assert_int_equal(address_parse(text, strlen(text), &address), ADDRESS_OK);
    authority_ask(node.authority, &address, deadline_in_ms(2000), NULL, &outcome);
    node_close(&node);
    return outcome;
}

static void assert_held(const struct outcome *outcome, enum standing standing)
{
    assert_int_equal(outcome->standing, standing);
    assert_int_equal(outcome->interlock, INTERLOCK_REPLICA_LAG);
    assert_true(outcome->asked_now);
    assert_string_equal(outcome->why.text, "45 s behind");
}

static void an_absence_of_a_server_that_may_be_behind_is_held(void **state)
{
    (void)state;
    struct outcome outcome = ASK("bob@example.org", "recipient_maps=mysql:/x");
    assert_held(&outcome, STANDING_ABSENT);
    outcome = ASK("bob@example.org", "recipient_maps=inline:{a=b} mysql:/x");
    assert_held(&outcome, STANDING_ABSENT);
    outcome = ASK("bob@example.org", "recipient_maps=inline:{a=b}");
    assert_int_equal(outcome.standing, STANDING_ABSENT);
    assert_int_equal(outcome.interlock, INTERLOCK_NONE);
}

static void so_is_one_that_rests_on_an_exception_that_may_be_on_its_way(void **state)
{
    (void)state;
    struct outcome outcome =
        ASK("bob@example.org", "access_maps=mysql:/x", "recipient_maps=inline:{a=b}");
    assert_held(&outcome, STANDING_ABSENT);
    outcome = ASK("bob@example.org", "access_maps=mysql:/x inline:{{example.org=550 5.7.1 no}}",
                  "recipient_maps=static:x");
    assert_held(&outcome, STANDING_OVERRIDE);
    outcome = ASK("bob@example.org", "domain_maps=mysql:/x", "recipient_maps=static:x");
    assert_held(&outcome, STANDING_FOREIGN);
}

static void who_is_found_is_found_whoever_is_behind(void **state)
{
    (void)state;
    struct outcome outcome = ASK("bob@example.org", "domain_maps=mysql:/x inline:{example.org=1}",
                                 "access_maps=mysql:/x", "recipient_maps=mysql:/x static:x");
    assert_int_equal(outcome.standing, STANDING_KNOWN);
    assert_int_equal(outcome.interlock, INTERLOCK_NONE);
    assert_string_equal(outcome.why.text, "");
}

static void an_outage_is_an_outage_and_no_lag(void **state)
{
    (void)state;
    struct outcome outcome = ASK("bob@example.org", "recipient_maps=mysql:/x fail:broken");
    assert_int_equal(outcome.standing, STANDING_UNAVAILABLE);
    assert_int_equal(outcome.interlock, INTERLOCK_NONE);
    assert_non_null(strstr(outcome.why.text, "broken"));
}

static void the_probe_that_was_found_is_told(void **state)
{
    (void)state;
    static const char *const maps[] = {"recipient_maps=inline:{bob+x@example.org=1}",
                                       "recipient_maps=inline:{bob@example.org=1}",
                                       "recipient_maps=inline:{@example.org=1}"};
    for (unsigned i = 0; i < 3; i++) {
        struct outcome outcome = ASK("bob+x@example.org", maps[i], "recipient_delimiter=+");
        assert_int_equal(outcome.standing, STANDING_KNOWN);
        assert_int_equal(outcome.probe, i);
    }
}

/* ---- catch-alls ---- */

#define FROM_SCRIPT(...)                                                                           \
    for (const char *const *next = (script = (const char *const[]){__VA_ARGS__, NULL}); next;      \
         next = NULL, script = NULL)

static void a_catch_all_takes_everybody_of_its_domain(void **state)
{
    (void)state;
    static const char maps[] = "recipient_maps=inline:{@all.example=x, @sub.one.example=x}";
    assert_int_equal(ASK("bob@all.example", maps).standing, STANDING_KNOWN);
    assert_int_equal(ASK("bob@sub.all.example", maps).standing, STANDING_ABSENT);
    assert_int_equal(ASK("bob@one.example", maps).standing, STANDING_ABSENT);
    assert_int_equal(ASK("bob@xall.example", maps).standing, STANDING_ABSENT);
}

static void a_catch_all_makes_no_domain_ours(void **state)
{
    (void)state;
    struct outcome outcome = ASK("bob@all.example", "recipient_maps=inline:{@all.example=x}",
                                 "domain_maps=inline:{example.org=1}");
    assert_int_equal(outcome.standing, STANDING_FOREIGN);
}

static void an_exception_goes_before_a_catch_all(void **state)
{
    (void)state;
    static const char *const exceptions[] = {"access_maps=inline:{{bob@all.example=REJECT}}",
                                             "access_maps=inline:{{@all.example=REJECT}}",
                                             "access_maps=inline:{{all.example=REJECT}}",
                                             "access_maps=inline:{{bob@=REJECT}}"};
    for (size_t i = 0; i < sizeof exceptions / sizeof *exceptions; i++)
        assert_int_equal(ASK("bob@all.example", exceptions[i], "recipient_maps=static:x").standing,
                         STANDING_OVERRIDE);
}

static void a_catch_all_is_found_behind_a_key_that_failed(void **state)
{
    (void)state;
    FROM_SCRIPT("bob@all.example!fails", "@all.example=x")
    {
        struct outcome outcome = ASK("bob@all.example", "recipient_maps=mysql:/x");
        assert_int_equal(outcome.standing, STANDING_KNOWN);
        assert_int_equal(outcome.interlock, INTERLOCK_NONE);
    }
    FROM_SCRIPT("bob@all.example=x", "@all.example!fails")
    {
        assert_int_equal(ASK("bob@all.example", "recipient_maps=mysql:/x").standing,
                         STANDING_KNOWN);
        assert_int_equal(ASK("no@all.example", "recipient_maps=mysql:/x").standing,
                         STANDING_UNAVAILABLE);
    }
}

/* ---- follow_domain_alias ---- */

#define FOLLOW "follow_domain_alias=yes", "recipient_delimiter=+"
#define OURS "domain_maps=inline:{alias.example=1, target.example=1, third.example=1}"
#define ASK_ALIAS(text) ASK(text, FOLLOW, OURS, "recipient_maps=mysql:/x")

static void by_default_everybody_exists_in_an_alias_domain(void **state)
{
    (void)state;
    FROM_SCRIPT("@alias.example=@target.example")
    {
        struct outcome outcome = ASK("bob@alias.example", OURS, "recipient_maps=mysql:/x");
        assert_int_equal(outcome.standing, STANDING_KNOWN);
        assert_string_equal(asked.bytes, "bob@alias.example @alias.example");
    }
}

static void only_whom_the_target_has_exists_where_aliases_are_followed(void **state)
{
    (void)state;
    FROM_SCRIPT("@alias.example=@target.example", "bob@target.example=x", "own@alias.example=x")
    {
        assert_int_equal(ASK_ALIAS("bob@alias.example").standing, STANDING_KNOWN);
        assert_string_equal(asked.bytes, "bob@alias.example @alias.example bob@target.example");

        struct outcome outcome = ASK_ALIAS("nobody@alias.example");
        assert_int_equal(outcome.standing, STANDING_ABSENT);
        assert_true(outcome.asked_now);
        assert_int_equal(outcome.interlock, INTERLOCK_NONE);
        assert_string_equal(asked.bytes, "nobody@alias.example @alias.example "
                                         "nobody@target.example @target.example");

        assert_int_equal(ASK_ALIAS("own@alias.example").standing, STANDING_KNOWN);
        assert_string_equal(asked.bytes, "own@alias.example");
    }
}

static void what_is_no_alias_costs_no_second_walk(void **state)
{
    (void)state;
    static const char *const values[] = {"@alias.example=OK", "@alias.example=bob@target.example",
                                         "@alias.example=@alias.example",
                                         "@alias.example=@target.example,@third.example"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        FROM_SCRIPT(values[i])
        {
            assert_int_equal(ASK_ALIAS("bob@alias.example").standing, STANDING_KNOWN);
            assert_string_equal(asked.bytes, "bob@alias.example @alias.example");
        }
    FROM_SCRIPT("bob@alias.example=@target.example") /* an alias of his own, not of the domain */
    {
        assert_int_equal(ASK_ALIAS("bob@alias.example").standing, STANDING_KNOWN);
        assert_string_equal(asked.bytes, "bob@alias.example");
    }
}

/* The known-good store remembers the recipient as asked, under the form in which the target has
 * him: without his extension, or all of the domain. */
static void the_probe_of_an_alias_is_the_one_alike(void **state)
{
    (void)state;
    static const char *const has[] = {"bob+x@target.example=x", "bob@target.example=x",
                                      "@target.example=x"};
    for (unsigned i = 0; i < 3; i++)
        FROM_SCRIPT("@alias.example=@target.example", has[i])
        {
            struct outcome outcome = ASK_ALIAS("bob+x@alias.example");
            assert_int_equal(outcome.standing, STANDING_KNOWN);
            assert_int_equal(outcome.probe, i);
        }
}

static void a_quoted_local_part_is_the_same_one_at_the_target(void **state)
{
    (void)state;
    FROM_SCRIPT("@alias.example=@target.example", "\"a b\"@target.example=x",
                "c d@target.example=x")
    {
        assert_int_equal(ASK_ALIAS("\"a b\"@alias.example").standing, STANDING_KNOWN);
        assert_int_equal(ASK_ALIAS("\"c d\"@alias.example").standing, STANDING_KNOWN);
        assert_int_equal(ASK_ALIAS("\"e f\"@alias.example").standing, STANDING_ABSENT);
    }
}

static void a_failure_on_either_walk_is_not_absence(void **state)
{
    (void)state;
    static const char *const failures[] = {"bob@alias.example!fails", "bob@target.example!fails",
                                           "@target.example!fails", "@target.example!late",
                                           "bob@alias.example!late"};
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
        FROM_SCRIPT("@alias.example=@target.example", failures[i])
        {
            struct outcome outcome = ASK_ALIAS("bob@alias.example");
            assert_int_equal(outcome.standing, STANDING_UNAVAILABLE);
            assert_int_equal(outcome.interlock,
                             strstr(failures[i], "late") ? INTERLOCK_LATE : INTERLOCK_NONE);
            assert_true(strlen(outcome.why.text) > 0);
        }
}

static void a_failure_on_either_walk_hides_nobody_who_is_found(void **state)
{
    (void)state;
    static const char *const failures[] = {"bob+x@alias.example!fails", "bob@alias.example!late",
                                           "bob+x@target.example!fails"};
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
        FROM_SCRIPT("@alias.example=@target.example", failures[i], "bob@target.example=x")
        {
            struct outcome outcome = ASK_ALIAS("bob+x@alias.example");
            assert_int_equal(outcome.standing, STANDING_KNOWN);
            assert_int_equal(outcome.interlock, INTERLOCK_NONE);
            assert_string_equal(outcome.why.text, "");
        }
}

static void an_alias_of_an_alias_is_a_catch_all_and_so_is_a_loop(void **state)
{
    (void)state;
    static const char *const seconds[] = {"@target.example=@third.example",
                                          "@target.example=@alias.example",
                                          "@target.example=@target.example"};
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++)
        FROM_SCRIPT("@alias.example=@target.example", seconds[i])
        {
            assert_int_equal(ASK_ALIAS("bob@alias.example").standing, STANDING_KNOWN);
            assert_string_equal(asked.bytes, "bob@alias.example @alias.example "
                                             "bob@target.example @target.example");
        }
}

#define ASK_BOTH(other)                                                                            \
    ASK("bob@alias.example", FOLLOW, OURS, "recipient_maps=mysql:/x " other).standing

static void another_maps_catch_all_counts_beside_an_alias(void **state)
{
    (void)state;
    FROM_SCRIPT("@alias.example=@target.example")
    {
        assert_int_equal(ASK_BOTH("inline:{a=b}"), STANDING_ABSENT);
        assert_int_equal(ASK_BOTH("inline:{{@alias.example=@target.example}}"), STANDING_ABSENT);
        assert_int_equal(ASK_BOTH("inline:{{@alias.example=all@x}}"), STANDING_KNOWN);
        assert_int_equal(ASK_BOTH("inline:{{@alias.example=@third.example}}"), STANDING_KNOWN);
        assert_int_equal(ASK_BOTH("fail:x"), STANDING_UNAVAILABLE);
        assert_int_equal(ASK_BOTH("inline:{bob@target.example=x}"), STANDING_KNOWN);
    }
}

static void an_alias_of_a_domain_that_is_not_ours_is_a_catch_all(void **state)
{
    (void)state;
    FROM_SCRIPT("@alias.example=@elsewhere.example")
    assert_int_equal(ASK_ALIAS("bob@alias.example").standing, STANDING_KNOWN);
    FROM_SCRIPT("@alias.example=@elsewhere.example", "bob@elsewhere.example!fails")
    assert_int_equal(ASK_ALIAS("bob@alias.example").standing, STANDING_KNOWN);

    static const char *const domain_maps[] = {
        "domain_maps=inline:{alias.example=1}",
        "domain_maps=inline:{alias.example=1, example=1}",
        "domain_maps=inline:{alias.example=1, .example=1}",
        "domain_maps=inline:{alias.example=1} fail:x",
    };
    static const enum standing expected[] = {STANDING_KNOWN, STANDING_KNOWN, STANDING_ABSENT,
                                             STANDING_UNAVAILABLE};
    for (size_t i = 0; i < sizeof domain_maps / sizeof *domain_maps; i++)
        FROM_SCRIPT("@alias.example=@target.example")
    assert_int_equal(
        ASK("bob@alias.example", FOLLOW, domain_maps[i], "recipient_maps=mysql:/x").standing,
        expected[i]);
}

static void an_absence_at_the_target_of_a_server_that_may_be_behind_is_held(void **state)
{
    (void)state;
    static const char *const lags[] = {"bob@alias.example!lags", "bob@target.example!lags",
                                       "@target.example!lags"};
    for (size_t i = 0; i < sizeof lags / sizeof *lags; i++)
        FROM_SCRIPT("@alias.example=@target.example", lags[i])
        {
            struct outcome outcome = ASK_ALIAS("bob@alias.example");
            assert_int_equal(outcome.standing, STANDING_ABSENT);
            assert_int_equal(outcome.interlock, INTERLOCK_REPLICA_LAG);
        }
}

static void assert_refused(const char *const *overrides, const char *expected)
{
    struct fault fault = {""};
    size_t count = 0;
    while (overrides[count])
        count++;
    struct settings *settings = settings_load(NULL, overrides, count, &fault);
    assert_string_equal(fault.text, "");
    assert_null(authority_open(settings, true, &fault));
    assert_string_equal(fault.text, expected);
    settings_free(settings);
}

static void to_follow_aliases_one_must_tell_which_domains_are_ours(void **state)
{
    (void)state;
    const char *const overrides[] = {"follow_domain_alias=yes", "recipient_maps=static:x", NULL};
    assert_refused(overrides, "-o: follow_domain_alias: needs domain_maps, to tell an alias of a "
                              "domain of ours from one that points elsewhere");
}

/* ---- what stands above a domain ---- */

static enum standing domain_with(const char *parents, const char *entry, const char *domain)
{
    char setting[100], maps[100], address[100];
    snprintf(setting, sizeof setting, "parent_domain_matches_subdomains=%s", parents);
    snprintf(maps, sizeof maps, "domain_maps=inline:{%s=1}", entry);
    snprintf(address, sizeof address, "bob@%s", domain);
    return ASK(address, setting, maps, "recipient_maps=inline:{a=b}").standing;
}

static void a_domain_stands_for_its_subdomains_where_that_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *parents, *entry, *domain;
        enum standing standing;
    } cases[] = {
        {"", "example.org", "example.org", STANDING_ABSENT},
        {"", "example.org", "sub.example.org", STANDING_FOREIGN},
        {"", ".example.org", "sub.example.org", STANDING_ABSENT},
        {"", ".example.org", "a.sub.example.org", STANDING_ABSENT},
        {"", ".example.org", "example.org", STANDING_FOREIGN},
        {"", ".example.org", "anexample.org", STANDING_FOREIGN},
        {"", ".org", "example.org", STANDING_ABSENT},
        {"access_maps role_maps", "example.org", "sub.example.org", STANDING_FOREIGN},
        {"domain_maps", "example.org", "example.org", STANDING_ABSENT},
        {"domain_maps", "example.org", "sub.example.org", STANDING_ABSENT},
        {"access_maps, domain_maps", "example.org", "a.sub.example.org", STANDING_ABSENT},
        {"domain_maps", "example.org", "anexample.org", STANDING_FOREIGN},
        {"domain_maps", ".example.org", "sub.example.org", STANDING_FOREIGN},
        {"domain_maps", "org", "example.org", STANDING_ABSENT},
        {"", "[192.0.2.1]", "[192.0.2.1]", STANDING_ABSENT},
        {"", "[192.0.2.1]", "[192.0.2.2]", STANDING_FOREIGN},
        {"", ".2.1]", "[192.0.2.1]", STANDING_FOREIGN},
        {"domain_maps", "2.1]", "[192.0.2.1]", STANDING_FOREIGN},
        {"", "[ipv6:2001:db8::1]", "[IPv6:2001:DB8:0::1]", STANDING_ABSENT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum standing standing = domain_with(cases[i].parents, cases[i].entry, cases[i].domain);
        if (standing != cases[i].standing)
            fail_msg("case %zu: %s with \"%s\" is %s", i, cases[i].domain, cases[i].entry,
                     standing_name(standing));
    }
}

#define ASK_SUB(...)                                                                               \
    ASK("bob@sub.example.org", "domain_maps=mysql:/x", "recipient_maps=inline:{a=b}", __VA_ARGS__)

static void a_key_of_a_domain_that_failed_makes_nothing_foreign(void **state)
{
    (void)state;
    static const char *const failures[] = {"sub.example.org!fails", ".example.org!fails",
                                           ".org!late"};
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
        FROM_SCRIPT(failures[i])
    assert_int_equal(ASK_SUB("role=primary").standing, STANDING_UNAVAILABLE);
    FROM_SCRIPT("sub.example.org!fails", ".example.org=1")
    assert_int_equal(ASK_SUB("role=primary").standing, STANDING_ABSENT);
    FROM_SCRIPT("sub.example.org!lags", ".example.org=1") /* that it is ours is no "no" */
    assert_int_equal(ASK_SUB("role=primary").interlock, INTERLOCK_NONE);
    FROM_SCRIPT(".org!lags")
    {
        struct outcome outcome = ASK_SUB("role=primary");
        assert_int_equal(outcome.standing, STANDING_FOREIGN);
        assert_int_equal(outcome.interlock, INTERLOCK_REPLICA_LAG);
    }
}

/* ---- access_maps ---- */

#define ASK_ACCESS(text, ...)                                                                      \
    ASK(text, "access_maps=mysql:/x", "recipient_maps=static:x", "recipient_delimiter=+",          \
        __VA_ARGS__)

static void access_maps_are_searched_as_postfix_does(void **state)
{
    (void)state;
    FROM_SCRIPT("a=b")
    {
        assert_int_equal(ASK_ACCESS("bob+x@sub.example.org", "role=primary").standing,
                         STANDING_KNOWN);
        assert_string_equal(asked.bytes,
                            "bob+x@sub.example.org bob@sub.example.org @sub.example.org "
                            "sub.example.org .example.org .org bob+x@ bob@");
        ASK_ACCESS("bob@sub.example.org", "parent_domain_matches_subdomains=access_maps");
        assert_string_equal(asked.bytes, "bob@sub.example.org @sub.example.org "
                                         "sub.example.org example.org org bob@");
        ASK_ACCESS("\"a b\"@[192.0.2.1]", "role=primary");
        assert_string_equal(asked.bytes, "\"a b\"@[192.0.2.1] a b@[192.0.2.1] @[192.0.2.1] "
                                         "[192.0.2.1] \"a b\"@ a b@");
        ASK_ACCESS("\"@b\"@x.y", "role=primary");
        assert_string_equal(asked.bytes, "\"@b\"@x.y @b@x.y @x.y x.y .y \"@b\"@ @b@");
    }
}

static void the_first_entry_ends_the_search_whatever_it_says(void **state)
{
    (void)state;
    static const char *const entries[] = {"bob@example.org=OK", "bob@example.org=DUNNO",
                                          "bob@example.org=WARN seen",
                                          "bob@example.org=smtp:[192.0.2.1]", "example.org=DUNNO"};
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        FROM_SCRIPT(entries[i], "bob@=REJECT", ".org=REJECT")
        {
            struct outcome outcome = ASK_ACCESS("bob@example.org", "role=primary");
            if (i == 0)
                assert_true(outcome.reply.pass);
            else
                assert_int_equal(outcome.standing, STANDING_KNOWN);
        }
}

static void a_key_that_failed_may_have_said_something_else(void **state)
{
    (void)state;
    FROM_SCRIPT("example.org!fails", "bob@=OK")
    assert_int_equal(ASK_ACCESS("bob@example.org", "role=primary").standing, STANDING_UNAVAILABLE);
    FROM_SCRIPT("example.org=OK", "bob@!fails")
    assert_int_equal(ASK_ACCESS("bob@example.org", "role=primary").standing, STANDING_OVERRIDE);
}

static void defer_if_reject_defers_the_unknown_alone(void **state)
{
    (void)state;
    FROM_SCRIPT("example.org=DEFER_IF_REJECT moving")
    {
        struct outcome outcome = ASK("bob@example.org", "access_maps=mysql:/x",
                                     "recipient_maps=inline:{bob@example.org=1}");
        assert_int_equal(outcome.standing, STANDING_KNOWN);
        outcome = ASK("ann@example.org", "access_maps=mysql:/x",
                      "recipient_maps=inline:{bob@example.org=1}");
        assert_int_equal(outcome.standing, STANDING_OVERRIDE);
        assert_string_equal(outcome.reply.code, "450");
        assert_string_equal(outcome.reply.text, "moving");
        outcome = ASK("ann@example.org", "access_maps=mysql:/x", "recipient_maps=fail:x");
        assert_int_equal(outcome.standing, STANDING_UNAVAILABLE);
    }
}

/* ---- roles ---- */

static enum role role_with(const char *role_maps, const char *domain, const char *parents,
                           bool *answered)
{
    char setting[100];
    snprintf(setting, sizeof setting, "parent_domain_matches_subdomains=%s", parents);
    const char *const overrides[] = {role_maps, "role=fallback", setting, NULL};
    struct node node = node_open(overrides);
    enum role role =
        authority_ask_role(node.authority, domain, deadline_in_ms(2000), NULL, answered);
    node_close(&node);
    return role;
}

static void a_role_that_may_be_on_its_way_makes_a_primary_and_is_not_remembered(void **state)
{
    (void)state;
    bool answered = true;
    assert_int_equal(role_with("role_maps=mysql:/x", "example.org", "", &answered), ROLE_PRIMARY);
    assert_false(answered);
    assert_int_equal(role_with("role_maps=inline:{a=b}", "example.org", "", &answered),
                     ROLE_FALLBACK);
    assert_true(answered);
    assert_int_equal(role_with("role_maps=fail:x", "example.org", "", &answered), ROLE_PRIMARY);
    assert_false(answered);
    FROM_SCRIPT("sub.example.org!lags", ".example.org=fallback")
    {
        assert_int_equal(role_with("role_maps=mysql:/x", "sub.example.org", "", &answered),
                         ROLE_PRIMARY);
        assert_false(answered);
    }
    FROM_SCRIPT("sub.example.org!fails", ".example.org=fallback")
    {
        assert_int_equal(role_with("role_maps=mysql:/x", "sub.example.org", "", &answered),
                         ROLE_PRIMARY);
        assert_false(answered);
    }
}

static void a_role_holds_for_subdomains_where_that_is_said(void **state)
{
    (void)state;
    bool answered = false;
    static const char exact[] = "role_maps=inline:{example.org=primary}";
    static const char dotted[] = "role_maps=inline:{.example.org=primary, a.example.org=fallback}";
    assert_int_equal(role_with(exact, "sub.example.org", "", &answered), ROLE_FALLBACK);
    assert_int_equal(role_with(exact, "sub.example.org", "domain_maps", &answered), ROLE_FALLBACK);
    assert_int_equal(role_with(exact, "sub.example.org", "role_maps", &answered), ROLE_PRIMARY);
    assert_int_equal(role_with(dotted, "sub.example.org", "", &answered), ROLE_PRIMARY);
    assert_int_equal(role_with(dotted, "example.org", "", &answered), ROLE_FALLBACK);
    assert_int_equal(role_with(dotted, "a.example.org", "", &answered), ROLE_FALLBACK);
    assert_true(answered);
}

static void parents_may_match_in_these_three_lists_only(void **state)
{
    (void)state;
    const char *const of_postfix[] = {"parent_domain_matches_subdomains=domain_maps relay_domains",
                                      NULL};
    assert_refused(of_postfix, "-o: parent_domain_matches_subdomains: \"relay_domains\" is none of "
                               "domain_maps, access_maps and role_maps");
    const char *const cut[] = {"parent_domain_matches_subdomains=domain_map", NULL};
    assert_refused(cut, "-o: parent_domain_matches_subdomains: \"domain_map\" is none of "
                        "domain_maps, access_maps and role_maps");
}

/* ---- domains of two forms (shared/idn.h): either in a table, either from a sender ---- */

#define A_BOOKS "xn--bcher-kva.test"
#define U_BOOKS "b\303\274cher.test"
#define A_CITY "xn--mnchen-3ya.test"
#define U_CITY "m\303\274nchen.test"

static const char *const books[] = {A_BOOKS, U_BOOKS}, *const cities[] = {A_CITY, U_CITY};

static const char *format(char text[256], const char *form, const char *a, const char *b)
{
    snprintf(text, 256, form, a, b);
    return text;
}

/* @books points to @city, of which city_form and domain_form are the table's. */
static void assert_alias_followed(const char *from, const char *to, const char *city_form,
                                  const char *domain_form)
{
    char maps[256], domains[256], user[256], ghost[256];
    snprintf(maps, sizeof maps, "recipient_maps=inline:{@%s=@%s, bob@%s=x}", from, to, city_form);
    format(domains, "domain_maps=inline:{%s=1, %s=1}", from, domain_form);
    for (size_t i = 0; i < 2; i++) {
        format(user, "bob@%s%s", books[i], "");
        format(ghost, "ghost@%s%s", books[i], "");
        assert_int_equal(ASK(user, maps, domains, FOLLOW).standing, STANDING_KNOWN);
        struct outcome outcome = ASK(ghost, maps, domains, FOLLOW);
        assert_int_equal(outcome.standing, STANDING_ABSENT);
        assert_string_equal(outcome.alias_target, A_CITY);
    }
}

static void an_alias_is_followed_between_domains_of_two_forms(void **state)
{
    (void)state;
    for (unsigned forms = 0; forms < 16; forms++)
        assert_alias_followed(books[forms & 1], cities[forms >> 1 & 1], cities[forms >> 2 & 1],
                              cities[forms >> 3]);
}

static void the_other_form_of_a_domain_is_no_alias_of_it(void **state)
{
    (void)state;
    char maps[256], domains[256], user[256];
    for (unsigned forms = 0; forms < 8; forms++) {
        format(maps, "recipient_maps=inline:{@%s=@%s}", books[forms & 1], books[forms >> 1 & 1]);
        format(domains, "domain_maps=inline:{%s=1%s}", books[forms & 1], "");
        format(user, "ghost@%s%s", books[forms >> 2], "");
        assert_int_equal(ASK(user, maps, domains, FOLLOW).standing, STANDING_KNOWN);
    }
}

static void a_domain_is_ours_in_either_form(void **state)
{
    (void)state;
    static const char *const forms[] = {"domain_maps=inline:{%s=1%s}",
                                        "domain_maps=inline:{.%s=1%s}"};
    char domains[256], user[256];
    for (unsigned i = 0; i < 8; i++) {
        bool below = i >> 2;
        format(domains, forms[below], books[i & 1], "");
        format(user, below ? "bob@sub.%s%s" : "bob@%s%s", books[i >> 1 & 1], "");
        assert_int_equal(ASK(user, domains, "recipient_maps=static:x").standing, STANDING_KNOWN);
        assert_int_equal(ASK("bob@bucher.test", domains, "recipient_maps=static:x").standing,
                         STANDING_FOREIGN);
    }
    for (unsigned i = 0; i < 4; i++) {
        format(domains, forms[0], books[i & 1], "");
        format(user, "bob@sub.%s%s", books[i >> 1], "");
        assert_int_equal(ASK(user, domains, "recipient_maps=static:x",
                             "parent_domain_matches_subdomains=domain_maps")
                             .standing,
                         STANDING_KNOWN);
    }
}

static void an_action_counts_for_a_domain_in_either_form(void **state)
{
    (void)state;
    static const char *const keys[] = {"access_maps=inline:{{%s=550 5.7.1 no%s}}",
                                       "access_maps=inline:{{bob@%s=550 5.7.1 no%s}}",
                                       "access_maps=inline:{{@%s=550 5.7.1 no%s}}"};
    char access[256], user[256];
    for (unsigned i = 0; i < 12; i++) {
        format(access, keys[i >> 2], books[i & 1], "");
        format(user, "bob@%s%s", books[i >> 1 & 1], "");
        struct outcome outcome = ASK(user, access, "recipient_maps=static:x");
        assert_int_equal(outcome.standing, STANDING_OVERRIDE);
        assert_string_equal(outcome.reply.text, "no");
    }
    for (unsigned i = 0; i < 8; i++) { /* what stands above it */
        format(access, "access_maps=inline:{{%s%s=550 5.7.1 no}}", i >> 2 ? "." : "", books[i & 1]);
        format(user, "bob@sub.%s%s", books[i >> 1 & 1], "");
        struct outcome outcome =
            ASK(user, access, "recipient_maps=static:x",
                i >> 2 ? "role=primary" : "parent_domain_matches_subdomains=access_maps");
        assert_int_equal(outcome.standing, STANDING_OVERRIDE);
    }
}

/* The domain comes from struct address, with its A-labels. */
static void a_role_holds_for_a_domain_in_either_form(void **state)
{
    (void)state;
    char roles[256];
    bool answered = false;
    for (unsigned i = 0; i < 2; i++) {
        format(roles, "role_maps=inline:{%s=primary%s}", books[i], "");
        assert_int_equal(role_with(roles, A_BOOKS, "", &answered), ROLE_PRIMARY);
        assert_int_equal(role_with(roles, "sub." A_BOOKS, "", &answered), ROLE_FALLBACK);
        assert_int_equal(role_with(roles, "sub." A_BOOKS, "role_maps", &answered), ROLE_PRIMARY);
        format(roles, "role_maps=inline:{.%s=primary%s}", books[i], "");
        assert_int_equal(role_with(roles, "sub." A_BOOKS, "", &answered), ROLE_PRIMARY);
        assert_true(answered);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_absence_of_a_server_that_may_be_behind_is_held),
        cmocka_unit_test(so_is_one_that_rests_on_an_exception_that_may_be_on_its_way),
        cmocka_unit_test(who_is_found_is_found_whoever_is_behind),
        cmocka_unit_test(an_outage_is_an_outage_and_no_lag),
        cmocka_unit_test(the_probe_that_was_found_is_told),
        cmocka_unit_test(a_catch_all_takes_everybody_of_its_domain),
        cmocka_unit_test(a_catch_all_makes_no_domain_ours),
        cmocka_unit_test(an_exception_goes_before_a_catch_all),
        cmocka_unit_test(a_catch_all_is_found_behind_a_key_that_failed),
        cmocka_unit_test(by_default_everybody_exists_in_an_alias_domain),
        cmocka_unit_test(only_whom_the_target_has_exists_where_aliases_are_followed),
        cmocka_unit_test(what_is_no_alias_costs_no_second_walk),
        cmocka_unit_test(the_probe_of_an_alias_is_the_one_alike),
        cmocka_unit_test(a_quoted_local_part_is_the_same_one_at_the_target),
        cmocka_unit_test(a_failure_on_either_walk_is_not_absence),
        cmocka_unit_test(a_failure_on_either_walk_hides_nobody_who_is_found),
        cmocka_unit_test(an_alias_of_an_alias_is_a_catch_all_and_so_is_a_loop),
        cmocka_unit_test(another_maps_catch_all_counts_beside_an_alias),
        cmocka_unit_test(an_alias_of_a_domain_that_is_not_ours_is_a_catch_all),
        cmocka_unit_test(an_absence_at_the_target_of_a_server_that_may_be_behind_is_held),
        cmocka_unit_test(to_follow_aliases_one_must_tell_which_domains_are_ours),
        cmocka_unit_test(a_domain_stands_for_its_subdomains_where_that_is_said),
        cmocka_unit_test(a_key_of_a_domain_that_failed_makes_nothing_foreign),
        cmocka_unit_test(access_maps_are_searched_as_postfix_does),
        cmocka_unit_test(the_first_entry_ends_the_search_whatever_it_says),
        cmocka_unit_test(a_key_that_failed_may_have_said_something_else),
        cmocka_unit_test(defer_if_reject_defers_the_unknown_alone),
        cmocka_unit_test(a_role_that_may_be_on_its_way_makes_a_primary_and_is_not_remembered),
        cmocka_unit_test(a_role_holds_for_subdomains_where_that_is_said),
        cmocka_unit_test(parents_may_match_in_these_three_lists_only),
        cmocka_unit_test(an_alias_is_followed_between_domains_of_two_forms),
        cmocka_unit_test(the_other_form_of_a_domain_is_no_alias_of_it),
        cmocka_unit_test(a_domain_is_ours_in_either_form),
        cmocka_unit_test(an_action_counts_for_a_domain_in_either_form),
        cmocka_unit_test(a_role_holds_for_a_domain_in_either_form),
    };
    return cmocka_run_group_tests_name("authority", tests, NULL, NULL);
}
