/* sqlite:/path.cf, and Postfix's postmap beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "db/maps.h"
#include "tests/unit/pause.h"
#include "tests/unit/postmap.h"

#define BY_ADDRESS "query = SELECT value FROM r WHERE address = '%s'\n"

static struct settings settings;
static struct fault fault;
static char database[256]; /* the one that before_each makes */

static void run_on(sqlite3 *db, const char *sql)
{
    char *error = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
        fail_msg("%s: %s", sql, error);
}

static sqlite3 *database_at(const char *path, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000);
    run_on(db, "PRAGMA synchronous = OFF");
    run_on(db, sql);
    return db;
}

static void make_database(const char *path, const char *sql)
{
    unlink(path);
    sqlite3_close(database_at(path, sql));
}

static int before_each(void **state)
{
    (void)state;
    fault_clear(&fault);
    make_database(scratch_path(database, "mail.db"),
                  "CREATE TABLE r (address TEXT, value TEXT);"
                  "INSERT INTO r VALUES ('alice@x.test', 'A'), ('multi@x.test', 'one'),"
                  " ('multi@x.test', 'two'), ('null@x.test', NULL), ('null@x.test', 'late'),"
                  " ('empty@x.test', ''), ('at@x.test', 'box@y.test'), ('@catch.test', 'all')");
    return 0;
}

static struct both_maps open_on(const char *path, const char *lines)
{
    char text[4096];
    snprintf(text, sizeof text, "dbpath = %s\n%s", path, lines);
    return both_open(&map_sqlite, text, &settings);
}

static struct both_maps open_map(const char *lines)
{
    return open_on(database, lines);
}

static struct finding ask_for(const struct both_maps *map, const char *key, int64_t ms)
{
    struct finding finding = {.answer = UNAVAILABLE};
    map_sqlite.lookup(map->ours, key, deadline_in_ms(ms), NULL, &finding);
    return finding;
}

static void assert_answer(const struct both_maps *map, const char *key, enum answer wanted)
{
    struct finding finding = both_ask_ours(map, key);
    if (finding.answer != wanted)
        fail_msg("%s: %s (%s)", key, answer_name(finding.answer), finding.why.text);
}

static void the_value_is_what_postfix_makes_of_it(void **state)
{
    (void)state;
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
                                       NULL};
    static const struct {
        const char *lines;
        unsigned found;
    } files[] = {
        {BY_ADDRESS, 5},
        {"query = SELECT value, address FROM r WHERE address = '%s'\n", 5},
        {"query = SELECT NULL, address FROM r WHERE address = '%s'\n", 0},
        {"query = SELECT value FROM r WHERE address = '%u@%d'\n", 4},
        {"query = SELECT value FROM r WHERE address = '%S'\nresult_format = <%s|%u|%S|%U>%%\n", 4},
        {BY_ADDRESS "result_format = %d of %D\n", 1},
        {BY_ADDRESS "domain = X.test, y.test\n", 4},
        {"query = SELECT '%1-%2-%3'\n", 1},
        {"query = SELECT '%s' WHERE '%d' = 'x.test'\nresult_format = %1.%2\n", 6},
        {"query = SELECT 12.5, 'b' UNION ALL SELECT x'414200', 1 UNION ALL SELECT 7, 2\n", 10},
        {"query = SELECT 'v'; SELECT 'w'\n", 10},
        {"table = r\nselect_field = value\nwhere_field = address\n", 5},
        {"table = r\nselect_field = value\nwhere_field = address\n"
         "additional_conditions = AND value > 'a' AND '%d' <> 'y'\n",
         4},
        {BY_ADDRESS "expansion_limit = 2\n", 5},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct both_maps map = open_map(files[i].lines);
        unsigned found = both_agree(&map, keys);
        if (found != files[i].found)
            fail_msg("%s: %u of the keys were found", files[i].lines, found);
        both_close(&map);
    }
}

/* Every second one is there, with the key itself as its value, so that no key can pass for another.
 */
static void fill_hostile(void)
{
    sqlite3 *db = database_at(database, "CREATE TABLE h (address TEXT PRIMARY KEY) WITHOUT ROWID");
    sqlite3_stmt *insert;
    assert_int_equal(sqlite3_prepare_v2(db, "INSERT INTO h VALUES (?)", -1, &insert, NULL),
                     SQLITE_OK);
    for (size_t i = 0; i < HOSTILE; i += 2) {
        sqlite3_bind_text(insert, 1, hostile_keys[i], -1, SQLITE_STATIC);
        assert_int_equal(sqlite3_step(insert), SQLITE_DONE);
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
    sqlite3_close(db);
}

static void nothing_in_a_key_is_sql(void **state)
{
    (void)state;
    fill_hostile();
    struct both_maps map = open_map("query = SELECT address FROM h WHERE address = '%s'\n");
    assert_int_equal(both_agree(&map, hostile_keys), (HOSTILE + 1) / 2);
    for (size_t i = 0; hostile_keys[i]; i++) {
        struct finding finding = both_ask_ours(&map, hostile_keys[i]);
        assert_int_equal(finding.answer, i % 2 == 0 ? FOUND : ABSENT);
        assert_string_equal(finding.value, i % 2 == 0 ? hostile_keys[i] : "");
    }
    both_close(&map);
}

/* Postfix doubles ' there too, so it does not find o'brien, and lets a " end the string. */
static void double_quotes_are_as_safe_and_warned_of(void **state)
{
    (void)state;
    char log[4096];
    fill_hostile();
    struct scratch_log capture = scratch_log_begin();
    struct both_maps map = open_map("query = SELECT address FROM h WHERE address = \"%s\"\n");
    scratch_log_end(&capture, log, sizeof log);
    assert_non_null(strstr(log, ".cf:2: query: SQLite takes \"%s\" for the name of a column"));
    for (size_t i = 0; hostile_keys[i]; i++)
        if (strcmp(hostile_keys[i], "address") != 0) /* that is a column */
            assert_answer(&map, hostile_keys[i], i % 2 == 0 ? FOUND : ABSENT);
    both_close(&map);
}

static void bytes_that_are_no_utf8_are_only_themselves(void **state)
{
    (void)state;
    sqlite3_close(
        database_at(database, "INSERT INTO r VALUES (CAST(x'ff40782e74657374' AS TEXT), 'bytes')"));
    struct both_maps map = open_map(BY_ADDRESS);
    assert_answer(&map, "\xff@x.test", FOUND);
    assert_answer(&map, "\xfe@x.test", ABSENT);
    both_close(&map);
}

static void assert_unavailable(const char *path, const char *lines, const char *why)
{
    struct both_maps map = open_on(path, lines);
    struct finding finding = both_ask_ours(&map, "alice@x.test");
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_false(finding.late);
    if (!strstr(finding.why.text, why) || !strstr(finding.why.text, map.path))
        fail_msg("\"%s\" does not say \"%s\"", finding.why.text, why);
    both_close(&map);
}

static void what_cannot_be_asked_is_never_absent(void **state)
{
    (void)state;
    char path[256];
    assert_unavailable(scratch_path(path, "no.db"), BY_ADDRESS, "No such file");
    assert_unavailable("/", BY_ADDRESS, "unable to open");
    assert_unavailable(scratch_file(path, "empty.db", ""), BY_ADDRESS, "no such table: r");
    assert_unavailable(
        scratch_file(path, "text.db", "This is no database at all, but some text.\n"), BY_ADDRESS,
        "not a database");
    assert_unavailable(database, "query = SELECT value FROM missing WHERE a = '%s'\n",
                       "no such table");
    assert_unavailable(database, "query = SELECT missing FROM r WHERE address = '%s'\n",
                       "no such column");
    assert_unavailable(database, "query = SELEC '%s'\n", "syntax error");
    assert_unavailable(database, "query = -- nothing\n", "no statement that gives rows");
    assert_unavailable(database, "query = UPDATE r SET value = '%s'\n",
                       "no statement that gives rows");
    assert_unavailable(database, "query = DELETE FROM r RETURNING value\n", "readonly database");
    assert_unavailable(database, "query = SELECT value, abs(-9223372036854775808) FROM r\n",
                       "overflow");
}

/* The first page is whole, so that the table is known; its rows are not. */
static void a_broken_file_is_not_absence(void **state)
{
    (void)state;
    char path[256];
    make_database(scratch_path(path, "broken.db"),
                  "CREATE TABLE r (address TEXT, value TEXT);"
                  "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
                  " INSERT INTO r SELECT 'user' || i || '@x.test', 'v' FROM n");
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(truncate(path, status.st_size / 2), 0);
    assert_unavailable(path, BY_ADDRESS, "malformed");
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, 4096, SEEK_SET);
    for (long i = 4096; i < status.st_size; i++)
        fputc(0xa5, file);
    assert_int_equal(fclose(file), 0);
    assert_unavailable(path, BY_ADDRESS, "malformed");
}

static void more_values_than_expansion_limit_are_no_answer(void **state)
{
    (void)state;
    struct both_maps map = open_map(BY_ADDRESS "expansion_limit = 1\n");
    assert_answer(&map, "alice@x.test", FOUND);
    assert_answer(&map, "null@x.test", FOUND); /* NULL does not count */
    both_fail(&map, "multi@x.test");
    assert_non_null(strstr(both_ask_ours(&map, "multi@x.test").why.text,
                           "2 values, more than expansion_limit = 1"));
    both_close(&map);
}

static void a_key_too_long_for_the_statement_is_its_own_trouble(void **state)
{
    (void)state;
    char lines[8192] = "query = SELECT '", log[4096];
    for (int i = 0; i < 40; i++)
        strcat(lines, "%s");
    strcat(lines, "'\n");
    struct both_maps map = open_map(lines);
    char key[2000];
    memset(key, 'a', sizeof key);
    strcpy(key + sizeof key - 8, "@x.test");
    struct scratch_log capture = scratch_log_begin();
    assert_answer(&map, key, UNAVAILABLE);
    assert_answer(&map, "a@x.test", FOUND);
    scratch_log_end(&capture, log, sizeof log);
    assert_string_equal(log, ""); /* the table is well */
    both_close(&map);
}

static void a_lock_is_waited_for_until_the_deadline(void **state)
{
    (void)state;
    struct both_maps map = open_map(BY_ADDRESS);
    assert_answer(&map, "alice@x.test", FOUND);
    sqlite3 *writer = database_at(database, "BEGIN EXCLUSIVE; DELETE FROM r");
    int64_t begun = clock_mono_ms();
    struct finding finding = ask_for(&map, "alice@x.test", 100);
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_true(finding.late);
    assert_in_range(clock_mono_ms() - begun, 95, 1500);
    assert_non_null(strstr(finding.why.text, "locked"));
    /* Who has more time learns that it is not his deadline, but somebody's lock. */
    begun = clock_mono_ms();
    finding = ask_for(&map, "alice@x.test", 30000);
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_false(finding.late);
    assert_in_range(clock_mono_ms() - begun, 1900, 15000);
    run_on(writer, "ROLLBACK");
    assert_answer(&map, "alice@x.test", FOUND);
    sqlite3_close(writer);
    both_close(&map);
}

static void *roll_back_soon(void *writer)
{
    test_pause();
    test_pause();
    run_on(writer, "ROLLBACK");
    return NULL;
}

static void a_lock_that_goes_in_time_costs_only_time(void **state)
{
    (void)state;
    struct both_maps map = open_map(BY_ADDRESS);
    sqlite3 *writer = database_at(database, "BEGIN EXCLUSIVE; DELETE FROM r");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, roll_back_soon, writer), 0);
    struct finding finding = ask_for(&map, "alice@x.test", 30000);
    pthread_join(thread, NULL);
    sqlite3_close(writer);
    assert_int_equal(finding.answer, FOUND);
    both_close(&map);
}

static void a_query_without_end_is_ended_by_the_deadline(void **state)
{
    (void)state;
    struct both_maps map =
        open_map("query = WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                 "SELECT 'x' FROM n WHERE i < 0\n");
    int64_t begun = clock_mono_ms();
    struct finding finding = ask_for(&map, "alice@x.test", 100);
    assert_int_equal(finding.answer, UNAVAILABLE);
    assert_true(finding.late);
    assert_non_null(strstr(finding.why.text, "takes too long"));
    assert_in_range(clock_mono_ms() - begun, 95, 2000);
    assert_int_equal(ask_for(&map, "alice@x.test", 0).answer, UNAVAILABLE);
    both_close(&map);
}

static unsigned descriptors(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void a_file_renamed_over_the_old_one_is_seen_at_once(void **state)
{
    (void)state;
    char next[256];
    unsigned before = descriptors();
    struct both_maps map = open_map(BY_ADDRESS);
    assert_answer(&map, "alice@x.test", FOUND);
    unsigned open = descriptors();
    for (int i = 0; i < 5; i++) {
        char sql[256], value[16];
        snprintf(value, sizeof value, "new%d", i);
        snprintf(sql, sizeof sql,
                 "CREATE TABLE r (address, value); INSERT INTO r VALUES ('bob@x.test', '%s')",
                 value);
        make_database(scratch_path(next, "next.db"), sql);
        assert_int_equal(rename(next, database), 0);
        assert_answer(&map, "alice@x.test", ABSENT);
        assert_string_equal(both_ask_ours(&map, "bob@x.test").value, value);
        assert_int_equal(descriptors(), open); /* the old file is let go */
    }
    both_close(&map);
    assert_int_equal(descriptors(), before);
}

static void a_file_that_is_gone_is_no_answer_until_it_is_back(void **state)
{
    (void)state;
    char log[4096];
    struct scratch_log capture = scratch_log_begin();
    struct both_maps map = open_map(BY_ADDRESS);
    assert_answer(&map, "alice@x.test", FOUND);
    unlink(database);
    for (int i = 0; i < 3; i++)
        assert_answer(&map, "alice@x.test", UNAVAILABLE);
    before_each(NULL);
    for (int i = 0; i < 3; i++)
        assert_answer(&map, "alice@x.test", FOUND);
    scratch_log_end(&capture, log, sizeof log);
    both_close(&map);
    assert_int_equal(scratch_count(log, "lookups in this table fail until that is mended"), 1);
    assert_int_equal(scratch_count(log, "answers again"), 1);
    assert_int_equal(scratch_count(log, "\n"), 2);
}

static void rows_written_meanwhile_are_seen(void **state)
{
    (void)state;
    static const char *const modes[] = {"PRAGMA journal_mode = DELETE",
                                        "PRAGMA journal_mode = WAL"};
    for (size_t i = 0; i < 2; i++) {
        before_each(NULL);
        sqlite3 *writer = database_at(database, modes[i]);
        struct both_maps map = open_map(BY_ADDRESS);
        assert_answer(&map, "new@x.test", ABSENT);
        run_on(writer, "INSERT INTO r VALUES ('new@x.test', 'N')");
        assert_answer(&map, "new@x.test", FOUND);
        run_on(writer, "BEGIN; DELETE FROM r");
        assert_answer(&map, "new@x.test", FOUND); /* not committed */
        run_on(writer, "COMMIT");
        assert_answer(&map, "new@x.test", ABSENT);
        sqlite3_close(writer);
        both_close(&map);
    }
}

static void the_database_is_only_read(void **state)
{
    (void)state;
    char path[256];
    struct stat before, after;
    chmod(database, 0444);
    assert_int_equal(stat(database, &before), 0);
    struct both_maps map = open_map(BY_ADDRESS);
    assert_answer(&map, "alice@x.test", FOUND);
    assert_int_equal(access(scratch_path(path, "mail.db-journal"), F_OK), -1);
    both_close(&map);
    assert_int_equal(stat(database, &after), 0);
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
}

/* ---- many threads ---- */

struct crowd {
    struct both_maps map;
    atomic_bool over;
    atomic_uint wrong, asked;
};

static void *ask_on_and_on(void *opaque)
{
    struct crowd *crowd = opaque;
    while (!atomic_load(&crowd->over)) {
        struct finding finding = ask_for(&crowd->map, "alice@x.test", 30000);
        struct finding nobody = ask_for(&crowd->map, "nobody@x.test", 30000);
        if (finding.answer != FOUND || nobody.answer != ABSENT)
            atomic_fetch_add(&crowd->wrong, 1);
        atomic_fetch_add(&crowd->asked, 1);
    }
    return NULL;
}

static void many_threads_ask_while_the_file_is_replaced(void **state)
{
    (void)state;
    enum { THREADS = 6 };
    struct crowd crowd = {.map = open_map(BY_ADDRESS)};
    pthread_t threads[THREADS];
    char path[256], next[256];
    strcpy(path, database);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_on_and_on, &crowd), 0);
    struct deadline patience = deadline_in_ms(60000);
    for (unsigned round = 1; round <= 10; round++) {
        make_database(scratch_path(next, "next.db"), "CREATE TABLE r (address, value);"
                                                     "INSERT INTO r VALUES ('alice@x.test', 'A')");
        assert_int_equal(rename(next, path), 0);
        while (atomic_load(&crowd.asked) < round * 20 && !deadline_passed(patience))
            test_pause();
    }
    atomic_store(&crowd.over, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    both_close(&crowd.map);
    assert_int_equal(atomic_load(&crowd.wrong), 0);
    assert_in_range(atomic_load(&crowd.asked), 200, UINT32_MAX);
}

/* ---- the map file, and the list of maps ---- */

static void assert_refused(const char *text, const char *why)
{
    char path[256];
    struct map_context context = {.settings = &settings};
    assert_null(map_sqlite.open(scratch_file(path, "bad.cf", text), &context, &fault));
    if (!strstr(fault.text, why))
        fail_msg("\"%s\" does not say \"%s\"", fault.text, why);
}

static void a_wrong_file_is_refused_with_file_and_line(void **state)
{
    (void)state;
    struct map_context context = {.settings = &settings};
    assert_refused("query = SELECT 1\n", "bad.cf:1: dbpath is not set");
    assert_refused("dbpath = mail.db\nquery = SELECT 1\n",
                   "bad.cf:1: dbpath: write the whole path");
    assert_refused("dbpath =\nquery = SELECT 1\n", "bad.cf:1: dbpath");
    assert_refused("dbpath = /x.db\n", "neither query nor table is set");
    assert_refused("dbpath = /x.db\nquery = SELECT '%x'\n",
                   "bad.cf:2: query: `%x' is no expansion");
    assert_refused("dbpath = /x.db\nquery = SELECT %u\n",
                   "bad.cf:2: query: %u stands outside quotes");
    assert_refused("dbpath = /x.db\nquery = SELECT [%u]\n", "stands outside quotes");
    assert_refused("dbpath = /x.db\nquery = SELECT '\\'%u'\n", "stands outside quotes");
    assert_refused("dbpath = /x.db\nquery = SELECT /* don't */ 1 -- '%u'\n",
                   "stands outside quotes");
    assert_refused("dbpath = /x.db\nquery = SELECT 1\nexpansion_limit = x\n",
                   "bad.cf:3: expansion_limit");
    assert_refused("dbpath = /x.db\nquery = SELECT 1\ndomain = hash:/x\n",
                   "bad.cf:3: domain: `hash:/x' is a lookup table");
    assert_null(map_sqlite.open("name", &context, &fault));
    assert_non_null(strstr(fault.text, "name a sqlite_table(5) file by its path"));
    assert_null(map_sqlite.open("/no/such.cf", &context, &fault));
    assert_non_null(strstr(fault.text, "/no/such.cf"));
}

static void a_parameter_of_another_backend_is_a_warning(void **state)
{
    (void)state;
    char log[4096];
    struct scratch_log capture = scratch_log_begin();
    struct both_maps map = open_map(BY_ADDRESS "hosts = localhost\ndb_path = /x\n");
    scratch_log_end(&capture, log, sizeof log);
    assert_non_null(
        strstr(log, ".cf:3: hosts: not a parameter of sqlite_table(5) we know, ignored\n"));
    assert_non_null(strstr(log,
                           ".cf:4: db_path: not a parameter of sqlite_table(5) we know, ignored; "
                           "did you mean dbpath?"));
    both_close(&map);
}

static void a_list_of_maps_may_hold_one(void **state)
{
    (void)state;
    struct both_maps map = open_map(BY_ADDRESS);
    char list[700];
    snprintf(list, sizeof list, "inline:{bob@x.test=B}, proxy:%s", map.name);
    for (int offline = 0; offline <= 1; offline++) {
        struct map_context context = {.settings = &settings, .offline = offline == 1};
        struct finding finding;
        struct maps *maps = maps_open(list, &context, &fault);
        if (!maps)
            fail_msg("%s", fault.text);
        assert_true(maps_wait(maps));
        maps_value(maps, "alice@x.test", deadline_in_ms(20000), NULL, &finding);
        assert_int_equal(finding.answer, offline ? UNAVAILABLE : FOUND);
        maps_close(maps);
    }
    both_close(&map);
}

static void the_trace_shows_the_statement_and_what_came_of_it(void **state)
{
    (void)state;
    static struct trace trace;
    struct finding finding = {.answer = UNAVAILABLE};
    struct both_maps map = open_map(BY_ADDRESS "domain = x.test\n");
    trace_start(&trace);
    map_sqlite.lookup(map.ours, "o'b@x.test", deadline_in_ms(20000), &trace, &finding);
    map_sqlite.lookup(map.ours, "o'b@y.test", deadline_in_ms(20000), &trace, &finding);
    assert_non_null(strstr(trace.bytes,
                           "mail.db: SELECT value FROM r WHERE address = 'o''b@x.test': 0 rows, "));
    assert_non_null(strstr(trace.bytes, ".cf: not asked"));
    both_close(&map);
}

#define TEST(name) cmocka_unit_test_setup(name, before_each)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_value_is_what_postfix_makes_of_it),
        TEST(nothing_in_a_key_is_sql),
        TEST(double_quotes_are_as_safe_and_warned_of),
        TEST(bytes_that_are_no_utf8_are_only_themselves),
        TEST(what_cannot_be_asked_is_never_absent),
        TEST(a_broken_file_is_not_absence),
        TEST(more_values_than_expansion_limit_are_no_answer),
        TEST(a_key_too_long_for_the_statement_is_its_own_trouble),
        TEST(a_lock_is_waited_for_until_the_deadline),
        TEST(a_lock_that_goes_in_time_costs_only_time),
        TEST(a_query_without_end_is_ended_by_the_deadline),
        TEST(a_file_renamed_over_the_old_one_is_seen_at_once),
        TEST(a_file_that_is_gone_is_no_answer_until_it_is_back),
        TEST(rows_written_meanwhile_are_seen),
        TEST(the_database_is_only_read),
        TEST(many_threads_ask_while_the_file_is_replaced),
        TEST(a_wrong_file_is_refused_with_file_and_line),
        TEST(a_parameter_of_another_backend_is_a_warning),
        TEST(a_list_of_maps_may_hold_one),
        TEST(the_trace_shows_the_statement_and_what_came_of_it),
    };
    scratch_make();
    int failed = cmocka_run_group_tests_name("map_sqlite", tests, NULL, NULL);
    scratch_remove();
    return failed;
}
