/* The walk through the tiers, with maps that need no server, and with a real memcached. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "db/resolver.h"
#include "shared/digest.h"
#include "tests/unit/clock_shift.h"

struct node {
    struct settings *settings;
    struct resolver *resolver;
};

/* A node with these settings ("name=value", ended by NULL). */
static struct node node_open(const char *const *overrides)
{
    struct fault fault = {{0}};
    struct node node;
    size_t count = 0;
    while (overrides[count])
        count++;
    node.settings = settings_load(NULL, overrides, count, &fault);
    assert_string_equal(fault.text, "");
    node.resolver = resolver_open(node.settings, false, &fault);
    assert_string_equal(fault.text, "");
    assert_non_null(node.resolver);
    return node;
}

#define NODE(...) node_open((const char *const[]){__VA_ARGS__, NULL})

static void node_close(struct node *node)
{
    resolver_close(node->resolver);
    settings_free(node->settings);
}

static struct address address_of(const char *text)
{
    struct address address;
    assert_int_equal(address_parse(text, strlen(text), &address), ADDRESS_OK);
    return address;
}

static struct outcome find_mode(struct node *node, const char *text, enum lookup_mode mode)
{
    struct address address = address_of(text);
    struct outcome outcome;
    resolver_find(node->resolver, &address, mode, deadline_in_ms(2000), NULL, &outcome);
    return outcome;
}

static struct outcome find(struct node *node, const char *text)
{
    return find_mode(node, text, LOOKUP_CACHED);
}

static void expect(struct node *node, const char *text, enum standing standing)
{
    struct outcome outcome = find(node, text);
    if (outcome.standing != standing)
        fail_msg("%s is %s, not %s: %s", text, standing_name(outcome.standing),
                 standing_name(standing), outcome.why.text);
}

static void the_directory_says_found_and_absent(void **state)
{
    (void)state;
    struct node node = NODE("recipient_maps=inline:{alice@example.com=1}");
    expect(&node, "Alice@Example.COM", STANDING_KNOWN);
    expect(&node, "bob@example.com", STANDING_ABSENT);
    struct outcome outcome = find_mode(&node, "bob@example.com", LOOKUP_ASK_NOW);
    assert_int_equal(outcome.tier, TIER_DIRECTORY);
    assert_true(outcome.asked_now);
    node_close(&node);
}

static void probes_go_in_postfix_order(void **state)
{
    (void)state;
    struct node node = NODE(
        "recipient_maps=inline:{alice@example.com=1, @catch.example=1, {\"a b\"@example.com=1}}",
        "recipient_delimiter=+-");
    expect(&node, "alice+tag@example.com", STANDING_KNOWN);
    expect(&node, "alice-tag@example.com", STANDING_KNOWN);
    expect(&node, "anybody@catch.example", STANDING_KNOWN);
    expect(&node, "+alice@example.com", STANDING_ABSENT);
    node_close(&node);
}

static void a_broken_map_is_not_absence(void **state)
{
    (void)state;
    struct node node = NODE("recipient_maps=inline:{alice@example.com=1}, fail:{out of order}");
    expect(&node, "alice@example.com", STANDING_KNOWN);
    expect(&node, "bob@example.com", STANDING_UNAVAILABLE);
    struct outcome outcome = find(&node, "bob@example.com");
    assert_non_null(strstr(outcome.why.text, "out of order"));
    assert_int_equal(outcome.interlock, INTERLOCK_NONE);
    node_close(&node);
}

static void a_map_after_a_broken_one_may_still_find(void **state)
{
    (void)state;
    struct node node = NODE("recipient_maps=fail:x, inline:{alice@example.com=1}");
    expect(&node, "alice@example.com", STANDING_KNOWN);
    expect(&node, "bob@example.com", STANDING_UNAVAILABLE);
    node_close(&node);
}

static void a_foreign_domain_is_foreign_and_a_broken_domain_map_is_unavailable(void **state)
{
    (void)state;
    struct node node =
        NODE("recipient_maps=inline:{a@ours.example=1}", "domain_maps=inline:{ours.example=1}");
    expect(&node, "a@ours.example", STANDING_KNOWN);
    expect(&node, "b@ours.example", STANDING_ABSENT);
    expect(&node, "a@theirs.example", STANDING_FOREIGN);
    node_close(&node);

    node = NODE("recipient_maps=inline:{a@ours.example=1}", "domain_maps=fail:x");
    expect(&node, "a@ours.example", STANDING_UNAVAILABLE);
    node_close(&node);
}

static void access_maps_decide_before_the_recipients(void **state)
{
    (void)state;
    struct node node =
        NODE("recipient_maps=static:1",
             "access_maps=inline:{{shut@example.com=REJECT no more}, {later@example.com=DEFER}, "
             "{on@example.com=DUNNO}, {closed.example=error:5.1.2 moved}, {ok.example=OK}}");
    struct outcome outcome = find(&node, "shut@example.com");
    assert_int_equal(outcome.standing, STANDING_OVERRIDE);
    assert_string_equal(outcome.reply.code, "554");
    outcome = find(&node, "shut@example.com"); /* from the process cache: all of it */
    assert_int_equal(outcome.tier, TIER_PROCESS_CACHE);
    assert_string_equal(outcome.reply.code, "554");
    assert_string_equal(outcome.reply.text, "no more");
    outcome = find(&node, "later@example.com");
    assert_string_equal(outcome.reply.code, "450");
    outcome = find(&node, "who@closed.example");
    assert_string_equal(outcome.reply.enhanced, "5.1.2");
    outcome = find(&node, "who@ok.example");
    assert_true(outcome.reply.pass);
    expect(&node, "on@example.com", STANDING_KNOWN);
    node_close(&node);
}

static void a_broken_access_map_hides_what_comes_after_it(void **state)
{
    (void)state;
    struct node node =
        NODE("recipient_maps=static:1", "access_maps=fail:x, inline:{{shut@example.com=REJECT}}");
    expect(&node, "shut@example.com", STANDING_UNAVAILABLE);
    node_close(&node);
}

static void what_is_no_action_never_bounces(void **state)
{
    (void)state;
    struct node node =
        NODE("recipient_maps=static:1", "access_maps=inline:{{a@example.com=greylisted}}");
    struct outcome outcome = find(&node, "a@example.com");
    assert_int_equal(outcome.standing, STANDING_UNAVAILABLE);
    assert_int_equal(outcome.interlock, INTERLOCK_BAD_ACTION);
    node_close(&node);
}

static void without_recipient_maps_nobody_is_checked(void **state)
{
    (void)state;
    struct node node = NODE("role=fallback");
    assert_false(resolver_checks_recipients(node.resolver));
    expect(&node, "anybody@example.com", STANDING_UNCHECKED);
    node_close(&node);
}

static void a_fresh_answer_is_kept_in_the_process_cache(void **state)
{
    (void)state;
    struct node node = NODE("recipient_maps=inline:{alice@example.com=1}");
    assert_int_equal(find(&node, "alice@example.com").tier, TIER_DIRECTORY);
    struct outcome outcome = find(&node, "alice@example.com");
    assert_int_equal(outcome.tier, TIER_PROCESS_CACHE);
    assert_false(outcome.asked_now);
    assert_int_equal(find_mode(&node, "alice@example.com", LOOKUP_ASK_NOW).tier, TIER_DIRECTORY);
    assert_int_equal(find_mode(&node, "alice@example.com", LOOKUP_DIRECTORY_DOWN).tier,
                     TIER_PROCESS_CACHE);
    struct address alice = address_of("alice@example.com");
    assert_true(resolver_flush_address(node.resolver, &alice, NULL));
    assert_int_equal(find(&node, "alice@example.com").tier, TIER_DIRECTORY);
    assert_true(resolver_flush_domain(node.resolver, "example.com", NULL));
    assert_int_equal(find(&node, "alice@example.com").tier, TIER_DIRECTORY);
    node_close(&node);
}

static void the_process_cache_can_be_off(void **state)
{
    (void)state;
    struct node node =
        NODE("recipient_maps=inline:{alice@example.com=1}", "process_cache_entries=0");
    find(&node, "alice@example.com");
    assert_int_equal(find(&node, "alice@example.com").tier, TIER_DIRECTORY);
    assert_true(resolver_flush_all(node.resolver, NULL));
    node_close(&node);
}

static void trouble_is_never_cached(void **state)
{
    (void)state;
    struct node node = NODE("recipient_maps=fail:x");
    for (int i = 0; i < 3; i++) {
        struct outcome outcome = find(&node, "alice@example.com");
        assert_int_equal(outcome.standing, STANDING_UNAVAILABLE);
        assert_int_equal(outcome.tier, TIER_NONE);
    }
    node_close(&node);
}

static enum role role_of(struct node *node, const char *domain)
{
    return resolver_role(node->resolver, domain, deadline_in_ms(2000), NULL);
}

static void role_maps_say_the_role_of_a_domain(void **state)
{
    (void)state;
    struct node node = NODE("role=fallback", "role_maps=inline:{one.example=primary, "
                                             "two.example=Fallback, three.example=nonsense}");
    assert_int_equal(role_of(&node, "one.example"), ROLE_PRIMARY);
    assert_int_equal(role_of(&node, "two.example"), ROLE_FALLBACK);
    assert_int_equal(role_of(&node, "two.example"), ROLE_FALLBACK); /* remembered */
    assert_int_equal(role_of(&node, "three.example"), ROLE_PRIMARY);
    assert_int_equal(role_of(&node, "other.example"), ROLE_FALLBACK);
    node_close(&node);
}

static void a_broken_role_map_makes_a_primary(void **state)
{
    (void)state;
    struct node node = NODE("role=fallback", "role_maps=inline:{two.example=fallback}, fail:x");
    assert_int_equal(role_of(&node, "other.example"), ROLE_PRIMARY);
    assert_int_equal(role_of(&node, "two.example"), ROLE_FALLBACK);
    node_close(&node);
}

static void a_wrong_map_is_told_with_its_parameter(void **state)
{
    (void)state;
    struct fault fault = {{0}};
    const char *overrides[] = {"domain_maps=nosuch:/x"};
    struct settings *settings = settings_load(NULL, overrides, 1, &fault);
    assert_non_null(settings);
    assert_null(resolver_open(settings, true, &fault));
    assert_non_null(strstr(fault.text, "-o: domain_maps: "));
    assert_non_null(strstr(fault.text, "nosuch"));
    settings_free(settings);
}

/* ---- with memcached ---- */

static const char *memcache_setting(void)
{
    static char setting[256];
    const char *socket = getenv("MEMCACHED_TEST_SOCKET");
    if (!socket)
        fail_msg("MEMCACHED_TEST_SOCKET is not set: run this through tests/with-memcached");
    snprintf(setting, sizeof setting, "memcache_servers=unix:%s", socket);
    return setting;
}

/* Each test has keys of its own, since all share one memcached. */
static const char *prefix(const char *name)
{
    static char setting[128];
    snprintf(setting, sizeof setting, "memcache_key_prefix=test-%s:", name);
    return setting;
}

#define RECIPIENTS "recipient_maps=inline:{alice@example.com=1}"

static void nodes_share_answers_through_memcached(void **state)
{
    (void)state;
    struct node one = NODE(RECIPIENTS, memcache_setting(), prefix("share"));
    struct node two = NODE(RECIPIENTS, memcache_setting(), prefix("share"), "role=fallback");
    assert_int_equal(find(&one, "alice@example.com").tier, TIER_DIRECTORY);
    assert_int_equal(find(&two, "alice@example.com").tier, TIER_MEMCACHE);
    assert_int_equal(find(&two, "alice@example.com").tier, TIER_PROCESS_CACHE);
    assert_int_equal(find(&one, "bob@example.com").standing, STANDING_ABSENT);
    struct outcome bob = find(&two, "bob@example.com");
    assert_int_equal(bob.standing, STANDING_ABSENT);
    assert_int_equal(bob.tier, TIER_MEMCACHE);
    assert_false(bob.asked_now);
    node_close(&one);
    node_close(&two);
}

static void nodes_with_other_maps_share_nothing(void **state)
{
    (void)state;
    struct node one = NODE(RECIPIENTS, memcache_setting(), prefix("other"));
    struct node two =
        NODE("recipient_maps=inline:{bob@example.com=1}", memcache_setting(), prefix("other"));
    expect(&one, "bob@example.com", STANDING_ABSENT);
    expect(&two, "bob@example.com", STANDING_KNOWN);
    expect(&two, "alice@example.com", STANDING_ABSENT);
    node_close(&one);
    node_close(&two);
}

static void nor_do_nodes_that_read_the_same_maps_otherwise(void **state)
{
    (void)state;
    static const char maps[] = "recipient_maps=inline:{{@alias.example=@example.com}}",
                      domains[] = "domain_maps=inline:{alias.example=1, example.com=1}";
    struct node one = NODE(maps, domains, memcache_setting(), prefix("alias"));
    struct node two =
        NODE(maps, domains, memcache_setting(), prefix("alias"), "follow_domain_alias=yes");
    struct node three = NODE(maps, domains, memcache_setting(), prefix("alias"),
                             "parent_domain_matches_subdomains=domain_maps");
    expect(&one, "bob@alias.example", STANDING_KNOWN);
    expect(&two, "bob@alias.example", STANDING_ABSENT);
    expect(&one, "bob@sub.example.com", STANDING_FOREIGN);
    expect(&three, "bob@sub.example.com", STANDING_ABSENT);
    node_close(&one);
    node_close(&two);
    node_close(&three);
}

static void an_alias_is_remembered_under_the_address_that_was_asked(void **state)
{
    (void)state;
    struct node node =
        NODE("recipient_maps=inline:{{@alias.example=@example.com}, bob@example.com=1}",
             "domain_maps=inline:{alias.example=1, example.com=1}", "follow_domain_alias=yes",
             memcache_setting(), prefix("asked"));
    assert_int_equal(find(&node, "bob@alias.example").tier, TIER_DIRECTORY);
    struct outcome outcome = find(&node, "bob@alias.example");
    assert_int_equal(outcome.standing, STANDING_KNOWN);
    assert_int_equal(outcome.tier, TIER_PROCESS_CACHE);
    assert_int_equal(find(&node, "bob@example.com").tier, TIER_DIRECTORY);
    struct address bob = address_of("bob@alias.example");
    assert_true(resolver_flush_address(node.resolver, &bob, NULL));
    assert_int_equal(find(&node, "bob@alias.example").tier, TIER_DIRECTORY);
    assert_true(resolver_flush_domain(node.resolver, "alias.example", NULL));
    assert_int_equal(find(&node, "bob@alias.example").tier, TIER_DIRECTORY);
    node_close(&node);
}

static void a_flush_reaches_memcached(void **state)
{
    (void)state;
    struct fault fault = {{0}};
    struct node one = NODE(RECIPIENTS, memcache_setting(), prefix("flush"), "process_cache_ttl=0");
    struct address alice = address_of("alice@example.com");
    find(&one, "alice@example.com");
    assert_int_equal(find(&one, "alice@example.com").tier, TIER_MEMCACHE);
    assert_true(resolver_flush_address(one.resolver, &alice, &fault));
    assert_int_equal(find(&one, "alice@example.com").tier, TIER_DIRECTORY);
    assert_int_equal(find(&one, "alice@example.com").tier, TIER_MEMCACHE);
    assert_true(resolver_flush_domain(one.resolver, "example.com", &fault));
    assert_int_equal(find(&one, "alice@example.com").tier, TIER_DIRECTORY);
    assert_int_equal(find(&one, "alice@example.com").tier, TIER_MEMCACHE);
    assert_true(resolver_flush_domain(one.resolver, "other.example", &fault));
    assert_int_equal(find(&one, "alice@example.com").tier, TIER_MEMCACHE);
    assert_true(resolver_flush_all(one.resolver, &fault));
    assert_int_equal(find(&one, "alice@example.com").tier, TIER_DIRECTORY);
    node_close(&one);
}

static void a_flush_on_one_node_is_seen_by_another(void **state)
{
    (void)state;
    struct fault fault = {{0}};
    struct node one = NODE(RECIPIENTS, memcache_setting(), prefix("fleet"), "process_cache_ttl=0");
    struct node two = NODE(RECIPIENTS, memcache_setting(), prefix("fleet"), "process_cache_ttl=0");
    find(&one, "alice@example.com");
    assert_int_equal(find(&two, "alice@example.com").tier, TIER_MEMCACHE);
    assert_true(resolver_flush_domain(one.resolver, "example.com", &fault));
    assert_int_equal(find(&two, "alice@example.com").tier, TIER_DIRECTORY);
    node_close(&one);
    node_close(&two);
}

static void a_stale_known_vouches_only_while_the_directory_is_unavailable(void **state)
{
    (void)state;
    struct node node = NODE(RECIPIENTS, memcache_setting(), prefix("stale"), "positive_ttl=1s",
                            "process_cache_ttl=0");
    find(&node, "alice@example.com");
    struct deadline limit = deadline_in_ms(5000);
    while (find_mode(&node, "alice@example.com", LOOKUP_DIRECTORY_DOWN).tier != TIER_STALE)
        assert_false(deadline_passed(limit));
    struct outcome outcome = find_mode(&node, "alice@example.com", LOOKUP_DIRECTORY_DOWN);
    assert_int_equal(outcome.standing, STANDING_KNOWN);
    assert_int_equal(outcome.tier, TIER_STALE);
    assert_false(outcome.asked_now);
    assert_int_equal(find(&node, "alice@example.com").tier, TIER_DIRECTORY);
    node_close(&node);
}

static void an_absence_never_vouches(void **state)
{
    (void)state;
    struct node node = NODE(RECIPIENTS, memcache_setting(), prefix("absent"), "negative_ttl=0",
                            "process_cache_ttl=0");
    find(&node, "bob@example.com");
    struct outcome outcome = find_mode(&node, "bob@example.com", LOOKUP_DIRECTORY_DOWN);
    assert_int_equal(outcome.standing, STANDING_UNAVAILABLE);
    node_close(&node);
}

static int reset_clock(void **state)
{
    (void)state;
    clock_shift_s = 0;
    return 0;
}

static void after_the_clock_was_set_back_what_memcached_knows_still_vouches(void **state)
{
    (void)state;
    struct node node =
        NODE(RECIPIENTS, memcache_setting(), prefix("back"), "process_cache_entries=0");
    find(&node, "alice@example.com");
    find(&node, "bob@example.com");
    clock_shift_s = -3600;
    assert_int_equal(find_mode(&node, "alice@example.com", LOOKUP_DIRECTORY_DOWN).tier, TIER_STALE);
    assert_int_equal(find_mode(&node, "bob@example.com", LOOKUP_DIRECTORY_DOWN).standing,
                     STANDING_UNAVAILABLE);
    assert_int_equal(find(&node, "alice@example.com").tier, TIER_DIRECTORY);
    clock_shift_s = -3800; /* what the clocks of nodes may differ, */
    assert_int_equal(find(&node, "alice@example.com").tier, TIER_MEMCACHE);
    clock_shift_s = -4000; /* and more */
    assert_int_equal(find(&node, "alice@example.com").tier, TIER_DIRECTORY);
    node_close(&node);
}

static void after_the_clock_was_set_ahead_what_the_process_cache_knows_still_vouches(void **state)
{
    (void)state;
    struct node node = NODE(RECIPIENTS, "process_cache_ttl=1h", "positive_ttl=1h");
    find(&node, "alice@example.com");
    find(&node, "bob@example.com");
    clock_shift_s = 7200;
    assert_int_equal(find_mode(&node, "alice@example.com", LOOKUP_DIRECTORY_DOWN).tier, TIER_STALE);
    assert_int_equal(find_mode(&node, "bob@example.com", LOOKUP_DIRECTORY_DOWN).standing,
                     STANDING_UNAVAILABLE);
    assert_int_equal(find(&node, "alice@example.com").tier, TIER_DIRECTORY);
    clock_shift_s = 14 * 86400; /* past stale_ttl */
    assert_int_equal(find_mode(&node, "alice@example.com", LOOKUP_DIRECTORY_DOWN).standing,
                     STANDING_UNAVAILABLE);
    node_close(&node);
}

static void a_missing_memcached_changes_no_answer(void **state)
{
    (void)state;
    struct fault fault = {{0}};
    struct node node = NODE(RECIPIENTS, "memcache_servers=unix:/nonexistent/memcached.sock");
    expect(&node, "alice@example.com", STANDING_KNOWN);
    expect(&node, "bob@example.com", STANDING_ABSENT);
    assert_false(resolver_flush_all(node.resolver, &fault));
    assert_string_not_equal(fault.text, "");
    node_close(&node);
}

/* ---- the known-good store ---- */

static char directory[] = "/tmp/rcpt-milter-resolver.XXXXXX";
static struct known_good *store;

static int open_store(void **state)
{
    (void)state;
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    store = mkdtemp(directory) ? known_good_open(directory, known_good_limits()) : NULL;
    return store ? 0 : -1;
}

static int close_store(void **state)
{
    (void)state;
    char command[sizeof directory + 16];
    known_good_close(store);
    snprintf(command, sizeof command, "rm -r %s", directory);
    return system(command);
}

static struct node lent(struct node node)
{
    resolver_lend(node.resolver, store, NULL);
    return node;
}

#define STORE_NODE(...) lent(NODE("process_cache_entries=0", __VA_ARGS__))

static void know(const char *key, int64_t confirmed, int64_t gone)
{
    struct digest digest = digest_shared(key, strlen(key));
    struct fault fault = {{0}};
    known_good_confirm(store, &digest, confirmed);
    assert_true(known_good_learn(store, NULL, 0, confirmed, &fault));
    if (gone != 0)
        known_good_mark_gone(store, &digest, gone);
    assert_true(known_good_learn(store, NULL, 0, confirmed, &fault));
}

static bool is_in_store(const char *key)
{
    struct digest digest = digest_shared(key, strlen(key));
    struct known_good_entry entry;
    struct fault fault = {{0}};
    assert_true(known_good_learn(store, NULL, 0, 0, &fault));
    return known_good_find(store, &digest, &entry);
}

static void what_the_directory_confirms_vouches_when_it_is_away(void **state)
{
    (void)state;
    struct node node = STORE_NODE("recipient_maps=inline:{alice@example.com=1}");
    expect(&node, "alice@example.com", STANDING_KNOWN);
    assert_true(is_in_store("alice@example.com"));
    node_close(&node);

    node = STORE_NODE("recipient_maps=fail:away");
    struct outcome outcome = find(&node, "alice@example.com");
    assert_int_equal(outcome.standing, STANDING_KNOWN);
    assert_int_equal(outcome.tier, TIER_KNOWN_GOOD);
    assert_false(outcome.asked_now);
    assert_true(outcome.directory_failed);
    assert_true(outcome.verified > 0);
    expect(&node, "bob@example.com", STANDING_UNAVAILABLE);
    node_close(&node);
}

static void only_the_key_that_was_found_is_confirmed(void **state)
{
    (void)state;
    struct node node =
        STORE_NODE("recipient_maps=inline:{@catch.example=1}", "recipient_delimiter=+");
    expect(&node, "anybody+x@catch.example", STANDING_KNOWN);
    assert_true(is_in_store("@catch.example"));
    assert_false(is_in_store("anybody+x@catch.example"));
    assert_false(is_in_store("anybody@catch.example"));
    node_close(&node);
}

#define ALIAS                                                                                      \
    "domain_maps=inline:{alias.example=1, target.example=1}", "recipient_delimiter=+",             \
        "recipient_maps=inline:{{@alias.example=@target.example}, bob@target.example=1}"

static void behind_an_alias_the_recipient_is_confirmed_and_not_the_domain(void **state)
{
    (void)state;
    struct node node = STORE_NODE(ALIAS, "follow_domain_alias=yes");
    expect(&node, "bob+x@alias.example", STANDING_KNOWN);
    assert_true(is_in_store("bob@alias.example"));
    assert_false(is_in_store("bob+x@alias.example"));
    assert_false(is_in_store("bob@target.example"));
    assert_false(is_in_store("@alias.example"));
    node_close(&node);
}

/* It was known good as a catch-all before it was followed, or comes with every list that is learnt.
 */
static void an_alias_that_is_there_holds_no_stranger(void **state)
{
    (void)state;
    struct node node = STORE_NODE(ALIAS);
    expect(&node, "nobody@alias.example", STANDING_KNOWN);
    assert_true(is_in_store("@alias.example"));
    node_close(&node);

    node = STORE_NODE(ALIAS, "follow_domain_alias=yes");
    struct outcome outcome = find(&node, "nobody@alias.example");
    assert_int_equal(outcome.standing, STANDING_ABSENT);
    assert_int_equal(outcome.interlock, INTERLOCK_NONE);
    assert_false(outcome.vanished);
    know("gone+x@alias.example", clock_wall_s(), 0);
    outcome = find(&node, "gone+x@alias.example"); /* one who was there himself is held */
    assert_int_equal(outcome.interlock, INTERLOCK_KNOWN_GOOD);
    assert_true(outcome.vanished);
    node_close(&node);
}

static void behind_an_alias_whoever_is_known_good_at_the_target_is(void **state)
{
    (void)state;
    struct node node = STORE_NODE(ALIAS, "follow_domain_alias=yes");
    know("gone@target.example", clock_wall_s() - 86400, 0);
    struct outcome outcome = find(&node, "gone+x@alias.example");
    assert_int_equal(outcome.standing, STANDING_ABSENT);
    assert_int_equal(outcome.interlock, INTERLOCK_KNOWN_GOOD);
    assert_true(outcome.vanished);
    assert_true(is_in_store("gone@target.example")); /* and written that it is gone */
    outcome = find(&node, "gone@target.example");    /* it is he who vanished, and once */
    assert_int_equal(outcome.interlock, INTERLOCK_KNOWN_GOOD);
    assert_false(outcome.vanished);
    node_close(&node);

    node = STORE_NODE("recipient_maps=inline:{{@alias.example=@target.example}} fail:away",
                      "domain_maps=static:ours", "follow_domain_alias=yes");
    know("bob@target.example", clock_wall_s() - 86400, 0);
    outcome = find(&node, "bob@alias.example");
    assert_int_equal(outcome.standing, STANDING_KNOWN);
    assert_int_equal(outcome.tier, TIER_KNOWN_GOOD);
    expect(&node, "nobody@alias.example", STANDING_UNAVAILABLE);
    node_close(&node);
}

static void an_alias_that_is_gone_holds_everybody(void **state)
{
    (void)state;
    struct node node = STORE_NODE("recipient_maps=inline:{a=b}", "follow_domain_alias=yes",
                                  "domain_maps=inline:{alias.example=1}");
    know("@alias.example", clock_wall_s() - 100, 0);
    struct outcome outcome = find(&node, "bob@alias.example");
    assert_int_equal(outcome.standing, STANDING_ABSENT);
    assert_int_equal(outcome.interlock, INTERLOCK_KNOWN_GOOD);
    assert_true(outcome.vanished);
    node_close(&node);
}

static void nobody_but_a_known_recipient_is_confirmed(void **state)
{
    (void)state;
    struct node node = STORE_NODE("recipient_maps=inline:{alice@example.com=1}",
                                  "access_maps=inline:{{odd@example.com=REJECT no}}",
                                  "domain_maps=inline:{example.com=1}");
    expect(&node, "odd@example.com", STANDING_OVERRIDE);
    expect(&node, "bob@example.com", STANDING_ABSENT);
    expect(&node, "a@elsewhere.example", STANDING_FOREIGN);
    assert_false(is_in_store("odd@example.com"));
    assert_false(is_in_store("bob@example.com"));
    assert_false(is_in_store("a@elsewhere.example"));
    node_close(&node);
}

/* confirmed and gone: so many seconds ago; -1: not gone. */
static void entries_vouch_for_known_good_ttl_and_removal_grace(void **state)
{
    (void)state;
    static const struct {
        int confirmed, gone;
        bool vouches;
    } rows[] = {{0, -1, true},     {990, -1, true},   {1010, -1, false}, {500, 90, true},
                {500, 110, false}, {1010, 90, false}, {-500, -1, true}};
    struct node node =
        STORE_NODE("recipient_maps=fail:away", "known_good_ttl=1000s", "removal_grace=100s");
    int64_t now = clock_wall_s();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char key[64];
        snprintf(key, sizeof key, "row%zu@example.com", i);
        know(key, now - rows[i].confirmed, rows[i].gone < 0 ? 0 : now - rows[i].gone);
        expect(&node, key, rows[i].vouches ? STANDING_KNOWN : STANDING_UNAVAILABLE);
    }
    node_close(&node);
}

static void a_known_good_recipient_that_turns_absent_is_held_and_vanishes_once(void **state)
{
    (void)state;
    struct node node = STORE_NODE("recipient_maps=inline:{x@example.com=1}", "removal_grace=100s");
    know("alice@example.com", clock_wall_s() - 86400, 0);
    struct outcome outcome = find(&node, "alice@example.com");
    assert_int_equal(outcome.standing, STANDING_ABSENT);
    assert_int_equal(outcome.interlock, INTERLOCK_KNOWN_GOOD);
    assert_true(outcome.vanished);
    assert_true(is_in_store("alice@example.com")); /* and written that it is gone */
    outcome = find(&node, "alice@example.com");
    assert_int_equal(outcome.interlock, INTERLOCK_KNOWN_GOOD);
    assert_false(outcome.vanished);
    outcome = find(&node, "bob@example.com");
    assert_int_equal(outcome.interlock, INTERLOCK_NONE);
    assert_false(outcome.vanished);
    node_close(&node);
}

static void without_a_grace_it_still_counts_as_vanished(void **state)
{
    (void)state;
    struct node node = STORE_NODE("recipient_maps=inline:{x@example.com=1}", "removal_grace=0");
    know("alice@example.com", clock_wall_s(), 0);
    struct outcome outcome = find(&node, "alice@example.com");
    assert_int_equal(outcome.interlock, INTERLOCK_NONE);
    assert_true(outcome.vanished);
    node_close(&node);
}

static void one_that_comes_back_is_known_good_again(void **state)
{
    (void)state;
    int64_t now = clock_wall_s();
    struct node node = STORE_NODE("recipient_maps=inline:{alice@example.com=1}");
    know("alice@example.com", now - 1000, now - 900);
    expect(&node, "alice@example.com", STANDING_KNOWN);
    assert_true(is_in_store("alice@example.com"));
    node_close(&node);
    node = STORE_NODE("recipient_maps=fail:away", "removal_grace=100s");
    expect(&node, "alice@example.com", STANDING_KNOWN);
    node_close(&node);
}

static void trouble_that_is_none_of_the_directory_is_not_blamed_on_it(void **state)
{
    (void)state;
    struct node node = STORE_NODE("recipient_maps=fail:away");
    struct outcome outcome = find(&node, "bob@example.com");
    assert_true(outcome.directory_failed);
    node_close(&node);
    node = STORE_NODE("recipient_maps=inline:{x@example.com=1}",
                      "access_maps=inline:{{bob@example.com=no action}}");
    outcome = find(&node, "bob@example.com");
    assert_int_equal(outcome.interlock, INTERLOCK_BAD_ACTION);
    assert_false(outcome.directory_failed);
    node_close(&node);
}

static int set_up(void **state)
{
    (void)state;
    return digest_init() ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_directory_says_found_and_absent),
        cmocka_unit_test(probes_go_in_postfix_order),
        cmocka_unit_test(a_broken_map_is_not_absence),
        cmocka_unit_test(a_map_after_a_broken_one_may_still_find),
        cmocka_unit_test(a_foreign_domain_is_foreign_and_a_broken_domain_map_is_unavailable),
        cmocka_unit_test(access_maps_decide_before_the_recipients),
        cmocka_unit_test(a_broken_access_map_hides_what_comes_after_it),
        cmocka_unit_test(what_is_no_action_never_bounces),
        cmocka_unit_test(without_recipient_maps_nobody_is_checked),
        cmocka_unit_test(a_fresh_answer_is_kept_in_the_process_cache),
        cmocka_unit_test(the_process_cache_can_be_off),
        cmocka_unit_test(trouble_is_never_cached),
        cmocka_unit_test(role_maps_say_the_role_of_a_domain),
        cmocka_unit_test(a_broken_role_map_makes_a_primary),
        cmocka_unit_test(a_wrong_map_is_told_with_its_parameter),
        cmocka_unit_test(nodes_share_answers_through_memcached),
        cmocka_unit_test(nodes_with_other_maps_share_nothing),
        cmocka_unit_test(nor_do_nodes_that_read_the_same_maps_otherwise),
        cmocka_unit_test(an_alias_is_remembered_under_the_address_that_was_asked),
        cmocka_unit_test(a_flush_reaches_memcached),
        cmocka_unit_test(a_flush_on_one_node_is_seen_by_another),
        cmocka_unit_test(a_stale_known_vouches_only_while_the_directory_is_unavailable),
        cmocka_unit_test(an_absence_never_vouches),
#define WITH_CLOCK(test) cmocka_unit_test_teardown(test, reset_clock)
        WITH_CLOCK(after_the_clock_was_set_back_what_memcached_knows_still_vouches),
        WITH_CLOCK(after_the_clock_was_set_ahead_what_the_process_cache_knows_still_vouches),
        cmocka_unit_test(a_missing_memcached_changes_no_answer),
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, open_store, close_store)
        WITH_STORE(what_the_directory_confirms_vouches_when_it_is_away),
        WITH_STORE(only_the_key_that_was_found_is_confirmed),
        WITH_STORE(behind_an_alias_the_recipient_is_confirmed_and_not_the_domain),
        WITH_STORE(an_alias_that_is_there_holds_no_stranger),
        WITH_STORE(behind_an_alias_whoever_is_known_good_at_the_target_is),
        WITH_STORE(an_alias_that_is_gone_holds_everybody),
        WITH_STORE(nobody_but_a_known_recipient_is_confirmed),
        WITH_STORE(entries_vouch_for_known_good_ttl_and_removal_grace),
        WITH_STORE(a_known_good_recipient_that_turns_absent_is_held_and_vanishes_once),
        WITH_STORE(without_a_grace_it_still_counts_as_vanished),
        WITH_STORE(one_that_comes_back_is_known_good_again),
        WITH_STORE(trouble_that_is_none_of_the_directory_is_not_blamed_on_it),
    };
    return cmocka_run_group_tests_name("resolver", tests, set_up, NULL);
}
