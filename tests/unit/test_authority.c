/* What domain_maps, access_maps, recipient_maps and role_maps make of one another's answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "db/authority.h"
#include "db/directory.h"

/* A scripted map stands in for mysql: whatever is asked, it finds nothing on a server that may be
 * behind. It is linked instead of db/map_mysql.c, whose one public name this is. */
static void *lagging_open(const char *table, const struct map_context *context, struct fault *fault)
{
    (void)context, (void)fault;
    return strdup(table);
}

static void lagging_lookup(void *map, const char *key, struct deadline deadline,
                           struct trace *trace, struct finding *finding)
{
    (void)map, (void)key, (void)deadline, (void)trace;
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

static enum role role_with(const char *role_maps, bool *answered)
{
    const char *const overrides[] = {role_maps, "role=fallback", NULL};
    struct node node = node_open(overrides);
    enum role role =
        authority_ask_role(node.authority, "example.org", deadline_in_ms(2000), NULL, answered);
    node_close(&node);
    return role;
}

static void a_role_that_may_be_on_its_way_makes_a_primary_and_is_not_remembered(void **state)
{
    (void)state;
    bool answered = true;
    assert_int_equal(role_with("role_maps=mysql:/x", &answered), ROLE_PRIMARY);
    assert_false(answered);
    assert_int_equal(role_with("role_maps=inline:{a=b}", &answered), ROLE_FALLBACK);
    assert_true(answered);
    assert_int_equal(role_with("role_maps=fail:x", &answered), ROLE_PRIMARY);
    assert_false(answered);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_absence_of_a_server_that_may_be_behind_is_held),
        cmocka_unit_test(so_is_one_that_rests_on_an_exception_that_may_be_on_its_way),
        cmocka_unit_test(who_is_found_is_found_whoever_is_behind),
        cmocka_unit_test(an_outage_is_an_outage_and_no_lag),
        cmocka_unit_test(the_probe_that_was_found_is_told),
        cmocka_unit_test(a_role_that_may_be_on_its_way_makes_a_primary_and_is_not_remembered),
    };
    return cmocka_run_group_tests_name("authority", tests, NULL, NULL);
}
