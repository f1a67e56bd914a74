/* mysql_asking - for tests: a pool, a table, and the directory they ask. */
#ifndef TESTS_UNIT_MYSQL_ASKING_H
#define TESTS_UNIT_MYSQL_ASKING_H

#include "db/mysql_pool.h"
#include "shared/counters.h"
#include "tests/unit/mysql_testing.h"

#define RECIPIENT_QUERY "query = SELECT address FROM recipients WHERE address = '%s'\n"
#define EMOJI "\xf0\x9f\x98\x80@example.test"

/* Slack for a busy machine and a sanitizer; what is measured are seconds. */
enum { SLACK_MS = 700 };

static struct settings settings;
static struct fault fault;

struct asking {
    struct mysql_table *table;
    struct mysql_pool *pool;
};

static inline struct asking start_on(const char *sock, const char *dbname, const char *lines)
{
    struct asking asking = {.table = test_table(sock, dbname, lines)};
    asking.pool = mysql_pool_take(asking.table, &settings, &fault);
    if (!asking.pool)
        fail_msg("%s", fault.text);
    return asking;
}

static inline struct asking start(const char *lines)
{
    return start_on(test_socket(), "pool_test", lines);
}

static inline void stop(struct asking *asking)
{
    mysql_pool_forget(asking->pool, asking->table);
    mysql_pool_drop(asking->pool);
    mysql_table_free(asking->table);
}

static inline struct finding ask(const struct asking *asking, const char *key, int64_t ms)
{
    struct finding finding = {.answer = UNAVAILABLE};
    mysql_pool_lookup(asking->pool, asking->table, key, deadline_in_ms(ms), NULL, &finding);
    return finding;
}

#define assert_answer(asking, key, wanted)                                                         \
    do {                                                                                           \
        struct finding assert_finding = ask(asking, key, 10000);                                   \
        if (assert_finding.answer != (wanted))                                                     \
            fail_msg("%s: %s (%s)", key, answer_name(assert_finding.answer),                       \
                     assert_finding.why.text);                                                     \
    } while (0)

/* Asks until the answer comes; how long that took, in milliseconds. */
static inline int64_t wait_for_answer(const struct asking *asking, const char *key,
                                      enum answer wanted, int64_t limit_ms)
{
    int64_t begun = clock_mono_ms();
    struct finding finding;
    while ((finding = ask(asking, key, 1000)).answer != wanted) {
        if (clock_mono_ms() - begun > limit_ms)
            fail_msg("after %lld ms still %s (%s)", (long long)(clock_mono_ms() - begun),
                     answer_name(finding.answer), finding.why.text);
        test_pause();
    }
    return clock_mono_ms() - begun;
}

static inline uint64_t since(enum counter counter, uint64_t before)
{
    return counter_get(counter) - before;
}

/* For run_sql. */
static const char *const directory[] = {
    "CREATE DATABASE pool_test CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "USE pool_test",
    "CREATE TABLE recipients (address VARCHAR(320) COLLATE utf8mb4_bin PRIMARY KEY)",
    "INSERT INTO recipients VALUES ('alice@example.test'), ('o\\'brien@example.test'), "
    "('back\\\\slash@example.test'), ('100%s@example.test'), ('\"a b\"@example.test'), "
    "('@catch.test'), ('alic\xc3\xa9@example.test'), ('" EMOJI "'), ('strasse@example.test')",
    "CREATE TABLE old_latin1 (address VARCHAR(100) PRIMARY KEY) CHARSET latin1",
    "CREATE TABLE old_utf8mb3 (address VARCHAR(100) PRIMARY KEY) CHARSET utf8mb3",
    "INSERT INTO old_latin1 VALUES ('alice@example.test'), ('bob@example.test')",
    "INSERT INTO old_utf8mb3 VALUES ('alice@example.test'), ('bob@example.test')",
    "CREATE FUNCTION fn(k VARCHAR(320)) RETURNS VARCHAR(320) READS SQL DATA "
    "RETURN (SELECT address FROM recipients WHERE address = k)",
    "CREATE PROCEDURE pr(k VARCHAR(320)) SELECT address FROM recipients WHERE address = k",
    "CREATE USER pool_user@localhost IDENTIFIED BY 'unused-s3cret'",
    "GRANT SELECT ON pool_test.* TO pool_user@localhost",
    NULL};

static inline int before_each(void **state)
{
    (void)state;
    settings = (struct settings){
        .mysql_connect_timeout_ms = 1000, .mysql_query_timeout_ms = 1000, .mysql_connections = 4};
    fault_clear(&fault);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, before_each)

#endif
