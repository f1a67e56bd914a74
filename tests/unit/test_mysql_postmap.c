/* Run as: tests/with-mariadb build/plain/tests/unit/test_mysql_postmap
 *
 * Every parameter of mysql_table(5) that shapes an answer: the same file and the same keys, by
 * Postfix's postmap -q and by us. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "db/mysql_pool.h"
#include "tests/unit/mysql_testing.h"
#include "tests/unit/postmap.h"

#define BY_ADDRESS "query = SELECT value FROM r WHERE address = '%s'\n"
#define LOGIN "user = asker\npassword = s3cret\n"

static const struct settings settings = {
    .mysql_connect_timeout_ms = 10000, .mysql_query_timeout_ms = 10000, .mysql_connections = 1};

/* What libmariadb reads for Postfix 3.7, which knows no `charset`. */
static char option_file[256];

/* On the server of the test; `lines` may set the login and the database themselves. */
static struct both_maps open_bare(const char *lines)
{
    char text[4096];
    snprintf(text, sizeof text, "hosts = unix:%s\n%s", test_socket(), lines);
    return both_open(&map_mysql, text, &settings);
}

static struct both_maps open_map(const char *lines)
{
    char text[4096];
    snprintf(text, sizeof text, "option_file = %s\ndbname = postmap_test\n" LOGIN "%s", option_file,
             lines);
    return open_bare(text);
}

static const char *const keys[] = {"alice@x.test",
                                   "nobody@x.test",
                                   "multi@x.test",
                                   "null@x.test",
                                   "empty@x.test",
                                   "at@x.test",
                                   "@catch.test",
                                   "x.test",
                                   "alice",
                                   "a@b.c.x.test",
                                   "two@x.test",
                                   "a@",
                                   "a@x..test",
                                   "a@.x.test.",
                                   "a@1.2.3.4.5.6.7.8.9.test",
                                   "@",
                                   "\"a@b\"@x.test",
                                   NULL};

static void the_value_is_what_postfix_makes_of_it(void **state)
{
    (void)state;
    static const struct {
        const char *lines;
        unsigned found;
    } files[] = {
        {BY_ADDRESS, 6},
        {"query = SELECT value, other FROM r WHERE address = '%s'\n", 7}, /* every column counts */
        {"query = SELECT NULL, '', address FROM r WHERE address = '%s'\n", 8},
        {"query = SELECT value FROM r WHERE address = '%u@%d'\n", 5},
        {"query = SELECT value FROM r WHERE address = '%U@%D'\n", 5},
        {"query = SELECT value FROM r WHERE address = \"%S\"\nresult_format = <%s|%u|%S|%U>%%\n",
         5},
        {BY_ADDRESS "result_format = %d of %D\n", 1},
        {BY_ADDRESS "result_format = smtp:[%s]\n", 6},
        {"query = SELECT 'someone', '@y.test', 'z@'\nresult_format = %u\n", 17},
        {BY_ADDRESS "domain = X.test, y.test\n", 5},
        {BY_ADDRESS "domain = !x.test, y.test\n", 0},
        {"query = SELECT '%1-%2-%3'\n", 2},
        {"query = SELECT '%9'\n", 1},
        {"query = SELECT '%s' FROM DUAL WHERE '%d' = 'x.test'\nresult_format = %1.%2\n", 8},
        {"query = SELECT 12.5, 'b' UNION ALL SELECT 'a,b', 7\n", 17},
        {"query = SELECT 1 AS n FROM r WHERE address LIKE '%%%u%%'\n", 14},
        {"table = r\nselect_field = value\nwhere_field = address\n", 6},
        {"table = r\nselect_field = value, other\nwhere_field = address\n"
         "additional_conditions = AND value > 'a' AND '%d' <> 'y'\n",
         5},
        {BY_ADDRESS "table = nowhere\nselect_field = x\n", 6}, /* query decides */
        {BY_ADDRESS "expansion_limit = 3\n", 6},
        {"query = CALL one('%s')\n", 6},
        {"query = CALL perhaps('%s')\nrequire_result_set = no\n", 1},
        {"query = SELECT fn('%s')\n", 6},
    };
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct both_maps map = open_map(files[i].lines);
        unsigned found = both_agree(&map, keys);
        if (found != files[i].found)
            print_error("%s: %u of the keys were found\n", files[i].lines, found), wrong++;
        both_close(&map);
    }
    assert_int_equal(wrong, 0);
}

static void nothing_in_a_key_is_sql(void **state)
{
    (void)state;
    static const char *const quotes[] = {"'", "\""};
    for (size_t i = 0; i < 2; i++) {
        char lines[256];
        snprintf(lines, sizeof lines, "query = SELECT address FROM h WHERE address = %s%%s%s\n",
                 quotes[i], quotes[i]);
        struct both_maps map = open_map(lines);
        assert_int_equal(both_agree(&map, hostile_keys), (HOSTILE + 1) / 2);
        for (size_t k = 0; k < HOSTILE; k++)
            assert_string_equal(both_ask_ours(&map, hostile_keys[k]).value,
                                k % 2 == 0 ? hostile_keys[k] : "");
        both_close(&map);
    }
}

static void what_postfix_cannot_answer_is_unavailable(void **state)
{
    (void)state;
    static const char *const files[] = {
        BY_ADDRESS "expansion_limit = 1\n",
        "query = SELECT 'a', 'b'\nexpansion_limit = 1\n",
        "query = SELECT value FROM missing WHERE address = '%s'\n",
        "query = SELECT missing FROM r WHERE address = '%s'\n",
        "query = SELEC '%s'\n",
        "query = SELECT address FROM secrets WHERE address = '%s'\n",
        "query = CALL perhaps('%s')\n",
        BY_ADDRESS "dbname = no_such_database\n",
        BY_ADDRESS "password = wrong\n",
        BY_ADDRESS "hosts = unix:/no/such/socket\n",
    };
    enum { FILES = sizeof files / sizeof files[0] };
    struct both_maps maps[FILES];
    struct failing failing[FILES]; /* Postfix sleeps a second before it gives up */
    for (size_t i = 0; i < FILES; i++) {
        maps[i] = open_map(files[i]);
        failing[i] = both_fail_begin(&maps[i], "multi@x.test");
    }
    for (size_t i = 0; i < FILES; i++) {
        both_fail_end(&maps[i], &failing[i]);
        both_close(&maps[i]);
    }
}

static void a_domain_restricts_as_in_postfix(void **state)
{
    (void)state;
    static const char *const asked[] = {"a@in.test",
                                        "a@x.test",
                                        "a@c.test",
                                        "a@old.test",
                                        "a@more.test",
                                        "a@not.test",
                                        "a@b\xc3\xbc"
                                        "cher.test",
                                        "@in.test",
                                        "in.test",
                                        "a@sub.in.test",
                                        "a@z.test",
                                        "a@",
                                        NULL};
    static const struct {
        const char *domain; /* FILE stands for a file of them */
        unsigned found;
    } lists[] = {
        {"%s", 4},       {"%s z.test", 5},        {"!%s z.test", 2},       {"!%s not.test", 1},
        {"!!z.test", 1}, {"Z.TEST,\tin.test", 2}, {"!in.test in.test", 0}, {"in.test # z.test", 1},
        {"", 12},        {"sub.in.test", 1},      {".in.test", 0},
    };
    char file[256], inner[256], text[1024];
    snprintf(text, sizeof text,
             "#c.test\nin.test, x.test\n\n  # c.test\n!not.test\n%s # old.test\n",
             scratch_file(inner, "inner",
                          "more.test B\xc3\x9c"
                          "CHER.test\n"));
    scratch_file(file, "outer", text);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        char lines[1024];
        size_t length = (size_t)snprintf(lines, sizeof lines, "query = SELECT 'hit'\ndomain = ");
        snprintf(lines + length, sizeof lines - length, lists[i].domain, file);
        strcat(lines, "\n");
        struct both_maps map = open_map(lines);
        unsigned found = both_agree(&map, asked);
        if (found != lists[i].found)
            fail_msg("%s: %u of the keys were found", lines, found);
        both_close(&map);
    }
}

static struct both_maps open_with(const char *options, const char *lines)
{
    char text[2048];
    snprintf(text, sizeof text, "dbname = postmap_test\noption_file = %s\n%s%s", options, lines,
             BY_ADDRESS);
    return open_bare(text);
}

static void the_login_may_come_from_an_option_file(void **state)
{
    (void)state;
    static const char *const asked[] = {"alice@x.test", "nobody@x.test", NULL};
    char options[256];
    scratch_file(options, "login.cnf",
                 "[client]\nuser = asker\npassword = wrong\n[maps]\npassword = s3cret\n[other]\n"
                 "password = wrong too\n");
    /* What mysql_table(5) promises. Postfix 3.7 hands libmariadb an empty password, which that
     * takes for one, so only the user comes from the file there. */
    struct both_maps map = open_with(options, "option_group = maps\n");
    assert_int_equal(both_ask_ours(&map, "alice@x.test").answer, FOUND);
    assert_int_equal(both_ask_ours(&map, "nobody@x.test").answer, ABSENT);
    both_close(&map);
    map = open_with(options, "password = s3cret\n");
    assert_int_equal(both_agree(&map, asked), 1);
    both_close(&map);

    /* What the map file says is not overruled. */
    map = open_with(options, LOGIN "option_group = other\n");
    assert_int_equal(both_agree(&map, asked), 1);
    both_close(&map);

    map = open_with(options, ""); /* [client] alone */
    both_fail(&map, "alice@x.test");
    assert_null(strstr(both_ask_ours(&map, "alice@x.test").why.text, "wrong"));
    both_close(&map);

    map = open_with("/no/such.cnf", LOGIN);
    assert_int_equal(both_agree(&map, asked), 1);
    both_close(&map);
}

/* Postfix refuses a file without dbname; with us the query may name it, and without it nobody is
 * absent. */
static void without_dbname_the_query_names_the_database(void **state)
{
    (void)state;
    struct both_maps map =
        open_bare(LOGIN "query = SELECT value FROM postmap_test.r WHERE address = '%s'\n");
    assert_string_equal(both_ask_ours(&map, "alice@x.test").value, "A");
    assert_int_equal(both_ask_ours(&map, "nobody@x.test").answer, ABSENT);
    both_close(&map);
    map = open_bare(LOGIN BY_ADDRESS);
    both_fail(&map, "alice@x.test");
    assert_non_null(strstr(both_ask_ours(&map, "alice@x.test").why.text, "No database selected"));
    both_close(&map);
}

static void charset_is_that_of_the_connection(void **state)
{
    (void)state;
    static const char *const charsets[] = {"utf8mb4", "latin1", "utf8mb3", "ascii"};
    for (size_t i = 0; i < sizeof charsets / sizeof charsets[0]; i++) {
        char lines[256];
        snprintf(lines, sizeof lines,
                 "query = SELECT @@character_set_client, @@character_set_results\ncharset = %s\n",
                 charsets[i]);
        struct both_maps map = open_map(lines);
        struct finding finding = both_ask_ours(&map, "k@x.test");
        snprintf(lines, sizeof lines, "%s,%s", charsets[i], charsets[i]);
        assert_string_equal(finding.value, lines);
        both_close(&map);
    }
    /* ü of a latin1 connection is one byte, so UTF-8 of it is something else. */
    struct both_maps map = open_map(BY_ADDRESS "charset = latin1\n");
    assert_int_equal(both_ask_ours(&map, "m\xc3\xbcller@x.test").answer, ABSENT);
    assert_int_equal(both_ask_ours(&map, "m\xfcller@x.test").answer, FOUND);
    both_close(&map);
    map = open_map(BY_ADDRESS);
    assert_int_equal(both_ask_ours(&map, "m\xc3\xbcller@x.test").answer, FOUND);
    both_close(&map);
    map = open_map(BY_ADDRESS "charset = nosuch\n");
    struct finding finding = both_ask_ours(&map, "alice@x.test");
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_non_null(strstr(finding.why.text, "nosuch"));
    both_close(&map);
}

static void a_server_on_a_unix_socket_is_tried_before_those_over_tcp(void **state)
{
    (void)state;
    struct mysql_table *table = test_table(
        test_socket(), "x", "query = SELECT 1\nhosts = db1 unix:/a db2 localhost unix:/b db3\n");
    unsigned seed = 1, order[MYSQL_HOSTS_MAX], first[6] = {0}, fourth[6] = {0};
    for (int i = 0; i < 1000; i++) {
        bool seen[6] = {false};
        assert_int_equal(mysql_source_order(&table->source, &seed, order), 6);
        for (unsigned k = 0; k < 6; k++) {
            assert_false(seen[order[k]]);
            seen[order[k]] = true;
            bool local = order[k] == 1 || order[k] == 3 || order[k] == 4; /* localhost is one */
            assert_int_equal(local, k < 3);
        }
        first[order[0]]++;
        fourth[order[3]]++;
    }
    for (unsigned k = 0; k < 6;
         k++) /* in random order among themselves: each a third of the time */
        assert_in_range(first[k] + fourth[k], 230, 440);
    mysql_table_free(table);
}

static int prepare(void **state)
{
    (void)state;
    struct fault fault;
    static const char *const statements[] = {
        "CREATE DATABASE postmap_test CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "USE postmap_test",
        "CREATE TABLE r (address VARCHAR(100), value VARCHAR(100), other VARCHAR(100))",
        "INSERT INTO r VALUES ('alice@x.test', 'A', NULL), ('multi@x.test', 'one', 'b'), "
        "('multi@x.test', 'two', ''), ('null@x.test', NULL, NULL), ('null@x.test', 'late', 'o'), "
        "('empty@x.test', '', NULL), ('at@x.test', 'box@y.test', NULL), ('@catch.test', 'all', "
        "''), "
        "('two@x.test', '', 'second'), ('\"a@b\"@x.test', 'quoted', ''), ('m\xc3\xbcller@x.test', "
        "'M', '')",
        "CREATE TABLE secrets (address VARCHAR(100))",
        "CREATE FUNCTION fn(k VARCHAR(100)) RETURNS VARCHAR(100) READS SQL DATA "
        "RETURN (SELECT GROUP_CONCAT(value) FROM r WHERE address = k)",
        "CREATE PROCEDURE one(k VARCHAR(100)) SELECT value FROM r WHERE address = k",
        "CREATE PROCEDURE perhaps(k VARCHAR(100)) "
        "BEGIN IF k = 'alice@x.test' THEN SELECT 'here'; END IF; END",
        "CREATE TABLE h (address VARCHAR(100) PRIMARY KEY)",
        "CREATE USER asker@localhost IDENTIFIED BY 's3cret'",
        "GRANT EXECUTE ON postmap_test.* TO asker@localhost",
        "GRANT SELECT ON postmap_test.r TO asker@localhost",
        "GRANT SELECT ON postmap_test.h TO asker@localhost",
        NULL};
    if (!mysql_client_library_init(&fault))
        return -1;
    run_sql(test_socket(), "mysql", statements);
    scratch_file(option_file, "client.cnf", "[client]\ndefault-character-set = utf8mb4\n");
    struct session session = session_open(test_socket(), "postmap_test");
    for (size_t i = 0; i < HOSTILE; i += 2) {
        char sql[1024] = "INSERT INTO h VALUES (0x", *at = sql + strlen(sql);
        for (const char *c = hostile_keys[i]; *c; c++)
            at += sprintf(at, "%02x", (unsigned char)*c);
        strcpy(at, ")");
        session_run(&session, sql);
    }
    session_close(&session);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_value_is_what_postfix_makes_of_it),
        cmocka_unit_test(nothing_in_a_key_is_sql),
        cmocka_unit_test(what_postfix_cannot_answer_is_unavailable),
        cmocka_unit_test(a_domain_restricts_as_in_postfix),
        cmocka_unit_test(the_login_may_come_from_an_option_file),
        cmocka_unit_test(without_dbname_the_query_names_the_database),
        cmocka_unit_test(charset_is_that_of_the_connection),
        cmocka_unit_test(a_server_on_a_unix_socket_is_tried_before_those_over_tcp),
    };
    scratch_make();
    int failed = cmocka_run_group_tests_name("mysql_postmap", tests, prepare, NULL);
    scratch_remove();
    return failed;
}
