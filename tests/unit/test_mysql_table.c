#include <dirent.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "db/mysql_table.h"
#include "shared/address.h"
#include "tests/unit/scratch.h"

#define LOGIN "user = mailer\npassword = s3cret-word\ndbname = mail\n"

static struct fault fault;

static struct mysql_table *read_text(const char *text)
{
    char path[256];
    fault_clear(&fault);
    return mysql_table_read(scratch_file(path, "t.cf", text), &fault);
}

static struct mysql_table *read_good(const char *text)
{
    struct mysql_table *table = read_text(text);
    if (!table)
        fail_msg("%s", fault.text);
    return table;
}

static void assert_refused(const char *text, const char *why)
{
    struct mysql_table *table = read_text(text);
    assert_null(table);
    if (!strstr(fault.text, why))
        fail_msg("\"%s\" does not say \"%s\"", fault.text, why);
    assert_null(strstr(fault.text, "s3cret-word"));
}

/* Doubles what the library would escape, so that it shows where escaping was applied. */
static size_t escape(void *context, char *to, const char *bytes, size_t length)
{
    size_t n = 0;
    (void)context;
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] == '\'' || bytes[i] == '\\')
            to[n++] = '\\';
        to[n++] = bytes[i];
    }
    to[n] = '\0';
    return n;
}

static size_t escape_refuses(void *context, char *to, const char *bytes, size_t length)
{
    (void)context, (void)to, (void)bytes, (void)length;
    return SIZE_MAX;
}

/* NULL: suppressed. */
static void assert_expands(const char *settings, const char *key, const char *wanted)
{
    char sql[1024] = "";
    struct mysql_table *table = read_good(settings);
    enum query_expansion result = query_expand(&table->query, key, escape, NULL, sql, sizeof sql);
    assert_int_equal(result, wanted ? EXPANSION_OK : EXPANSION_SUPPRESSED);
    assert_int_equal(query_applies(&table->query, key), wanted != NULL);
    if (wanted)
        assert_string_equal(sql, wanted);
    mysql_table_free(table);
}

static void defaults_are_those_of_postfix(void **state)
{
    (void)state;
    struct mysql_table *table = read_good("query = SELECT 1\n");
    assert_int_equal(table->source.host_count, 1);
    assert_string_equal(table->source.hosts[0].text, "localhost");
    assert_int_equal(table->source.hosts[0].endpoint.kind, ENDPOINT_NONE);
    assert_null(table->source.user);
    assert_null(table->source.password);
    assert_null(table->source.dbname);
    assert_null(table->source.option_file);
    assert_string_equal(table->source.option_group, "client");
    assert_string_equal(table->source.charset, "utf8mb4");
    assert_false(table->source.tls_verify_cert);
    assert_string_equal(table->query.result_format, "%s");
    assert_int_equal(table->query.expansion_limit, 0);
    assert_true(table->require_result_set);
    assert_null(table->query.domains);
    assert_null(table->list_query);
    mysql_table_free(table);
}

static void every_parameter_arrives(void **state)
{
    (void)state;
    struct mysql_table *table = read_good(
        LOGIN "hosts = db1\nquery = SELECT a FROM b\n  WHERE c='%s'\nresult_format = <%s>\n"
              "expansion_limit = 7\noption_file = /etc/my.cnf\noption_group =\ncharset = latin1\n"
              "tls_key_file = k\ntls_cert_file = c\ntls_CAfile = ca\ntls_CApath = cp\n"
              "tls_ciphers = x\ntls_verify_cert = YES\nrequire_result_set = no\n"
              "idle_interval = 60\nretry_interval = 60\nlist_query = SELECT a FROM b\n");
    assert_string_equal(table->source.user, "mailer");
    assert_string_equal(table->source.password, "s3cret-word");
    assert_string_equal(table->source.dbname, "mail");
    assert_non_null(strstr(table->query.statement, "WHERE c='%s'"));
    assert_string_equal(table->query.result_format, "<%s>");
    assert_int_equal(table->query.expansion_limit, 7);
    assert_string_equal(table->source.option_file, "/etc/my.cnf");
    assert_null(table->source.option_group);
    assert_string_equal(table->source.charset, "latin1");
    assert_string_equal(table->source.tls_key_file, "k");
    assert_string_equal(table->source.tls_cert_file, "c");
    assert_string_equal(table->source.tls_ca_file, "ca");
    assert_string_equal(table->source.tls_ca_path, "cp");
    assert_string_equal(table->source.tls_ciphers, "x");
    assert_true(table->source.tls_verify_cert);
    assert_false(table->require_result_set);
    assert_string_equal(table->list_query, "SELECT a FROM b");
    mysql_table_free(table);
}

static void hosts_are_read_in_every_form_postfix_knows(void **state)
{
    (void)state;
    struct mysql_table *table =
        read_good("query = SELECT 1\nhosts = unix:/run/x.sock, inet:db1:3307 db2:3308,db3\n"
                  "  localhost LOCALHOST:3309 inet:[::1]:3310 192.0.2.1\n");
    static const struct {
        const char *text, *where;
        enum endpoint_kind kind;
        unsigned port;
    } wanted[] = {
        {"unix:/run/x.sock", "/run/x.sock", ENDPOINT_UNIX, 0},
        {"inet:db1:3307", "db1", ENDPOINT_INET, 3307},
        {"db2:3308", "db2", ENDPOINT_INET, 3308},
        {"db3", "db3", ENDPOINT_INET, 0},
        {"localhost", "", ENDPOINT_NONE, 0},
        {"LOCALHOST:3309", "", ENDPOINT_NONE, 0},
        {"inet:[::1]:3310", "::1", ENDPOINT_INET, 3310},
        {"192.0.2.1", "192.0.2.1", ENDPOINT_INET, 0},
    };
    assert_int_equal(table->source.host_count, sizeof wanted / sizeof wanted[0]);
    for (size_t i = 0; i < table->source.host_count; i++) {
        const struct mysql_host *host = &table->source.hosts[i];
        assert_string_equal(host->text, wanted[i].text);
        assert_int_equal(host->endpoint.kind, wanted[i].kind);
        assert_int_equal(host->endpoint.port, wanted[i].port);
        assert_string_equal(wanted[i].kind == ENDPOINT_UNIX ? host->endpoint.path
                                                            : host->endpoint.host,
                            wanted[i].where);
    }
    mysql_table_free(table);
}

static void what_cannot_be_meant_is_refused_with_file_and_line(void **state)
{
    (void)state;
    assert_refused(LOGIN, "t.cf:1: neither query nor table is set");
    assert_refused(LOGIN "table = t\nselect_field = s\n", "where_field");
    assert_refused(LOGIN "query =\n", "t.cf:4: query: must not be empty");
    assert_refused(LOGIN "query = SELECT '%x'\n", "t.cf:4: query: `%x' is no expansion");
    assert_refused(LOGIN "query = SELECT LIKE 'a%'\n", "`%'' is no expansion");
    assert_refused(LOGIN "query = SELECT 100%\n", "is no expansion");
    assert_refused(LOGIN "query = SELECT '%0'\n", "is no expansion");
    assert_refused(LOGIN "query = SELECT 1\nresult_format = %q\n", "t.cf:5: result_format");
    assert_refused(LOGIN "query = SELECT 1\nexpansion_limit = -1\n", "t.cf:5: expansion_limit");
    assert_refused(LOGIN "query = SELECT 1\ntls_verify_cert = maybe\n", "must be yes or no");
    assert_refused(LOGIN "query = SELECT 1\nhosts = unix:relative\n", "t.cf:5: hosts");
    assert_refused(LOGIN "query = SELECT 1\nhosts = db:port\n", "t.cf:5: hosts");
    assert_refused(LOGIN "query = SELECT 1\ndomain = hash:/etc/d\n", "is a lookup table");
    assert_refused(LOGIN "query = SELECT 1\ndomain = /no/such/file\n", "/no/such/file");
    assert_refused(LOGIN "query = SELECT 1\n"
                         "hosts = a b c d e f g h i j k l m n o p q\n",
                   "too many hosts");
    assert_refused("password = s3cret-word\nthis line has no equals sign\n", "t.cf:2");
}

static void an_unknown_parameter_is_a_warning_without_its_value(void **state)
{
    (void)state;
    char log[4096];
    struct scratch_log capture = scratch_log_begin();
    struct mysql_table *table = read_text(LOGIN "query = SELECT 1\npasswort = s3cret-word\n");
    scratch_log_end(&capture, log, sizeof log);
    assert_non_null(table);
    assert_non_null(strstr(log, "t.cf:5: passwort"));
    assert_null(strstr(log, "s3cret-word"));
    mysql_table_free(table);
}

static void assert_warns(const char *text, const char *wanted)
{
    char log[4096];
    struct scratch_log capture = scratch_log_begin();
    struct mysql_table *table = read_text(text);
    scratch_log_end(&capture, log, sizeof log);
    if (!table)
        fail_msg("%s", fault.text);
    mysql_table_free(table);
    if (wanted ? !strstr(log, wanted) : log[0])
        fail_msg("%s was said of %s", log, text);
}

static void a_mistyped_parameter_is_told_what_it_may_mean(void **state)
{
    (void)state;
    assert_warns("query = SELECT 1\nexpansionlimit = 1\n",
                 "t.cf:2: expansionlimit: not a parameter of mysql_table(5) we know, ignored; did "
                 "you mean expansion_limit?");
    assert_warns("query = SELECT 1\ntls_CA_file = x\n", "did you mean tls_CAfile?");
    assert_warns("query = SELECT 1\nuser_name_attribute = x\n", "we know, ignored\n");
    assert_warns("query = SELECT 1\nidle_interval = 60\nretry_interval = 60s\ncharset = utf8\n",
                 NULL);
}

static void an_expansion_outside_quotes_is_a_warning(void **state)
{
    (void)state;
    static const char *const safe[] = {
        "'%s'",    "\"%s\"",           "'it''s %s'",
        "'\\'%s'", "/* don't */ '%s'", "CONCAT('@', '%d') LIKE '%%'"};
    static const char *const unsafe[] = {"%s",        "'a' %u",     "`%d`",
                                         "'\\\\'%s'", "/* '%s' */", "# '%1"};
    for (size_t i = 0; i < sizeof safe / sizeof safe[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "query = SELECT %s\n", safe[i]);
        assert_warns(text, NULL);
    }
    for (size_t i = 0; i < sizeof unsafe / sizeof unsafe[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "query = SELECT %s\n", unsafe[i]);
        assert_warns(text, "t.cf:1: query: %");
    }
}

static void a_key_expands_as_in_postfix(void **state)
{
    (void)state;
    assert_expands("query = %s|%u|%d\n", "a@b.c", "a@b.c|a|b.c");
    assert_expands("query = %S|%U|%D\n", "a@b.c", "a@b.c|a|b.c");
    assert_expands("query = LIKE '%s%%'\n", "a@b.c", "LIKE 'a@b.c%'");
    assert_expands("query = %1,%2,%3\n", "user@mail.example.com", "com,example,mail");
    assert_expands("query = SELECT 1\n", "a@b.c", "SELECT 1");
    assert_expands("query = %u|%d\n", "\"a@b\"@c", "\"a@b\"|c"); /* the last '@' divides */
    assert_expands("query = '%s'\n", "o'brien\\@x.y", "'o\\'brien\\\\@x.y'");
    assert_expands("query = '%u' '%1'\n", "o'b@x.y'z", "'o\\'b' 'y\\'z'");
    assert_expands("query = '%s'\n", "100%s@x", "'100%s@x'"); /* what was put in is not expanded */
}

static void keys_without_the_parts_asked_for_are_not_asked_about(void **state)
{
    (void)state;
    assert_expands("query = %s\n", "", NULL);
    assert_expands("query = %s\n", "@x.y", "@x.y");
    assert_expands("query = %s\n", "x.y", "x.y");
    assert_expands("query = %u\n", "x.y", "x.y"); /* no '@': %u is the whole key */
    assert_expands("query = %u\n", "@x.y", NULL);
    assert_expands("query = %d\n", "@x.y", "x.y");
    assert_expands("query = %d\n", "x.y", NULL);
    assert_expands("query = %d\n", "a@", NULL);
    assert_expands("query = %u\n", "a@", "a");
    assert_expands("query = %1\n", "x.y", NULL);
    assert_expands("query = %3\n", "a@x.y", NULL);
    assert_expands("query = %2\n", "a@x.y", "x");
    assert_expands("query = %9\n", "u@1.2.3.4.5.6.7.8.9", "1");
    /* Postfix notes what both templates need before it expands either. */
    assert_expands("query = %s\nresult_format = %U\n", "@x.y", NULL);
    assert_expands("query = %s\nresult_format = %D\n", "x.y", NULL);
    assert_expands("query = %s\nresult_format = %3\n", "a@x.y", NULL);
    assert_expands("query = %s\nresult_format = %u %d\n", "x.y", "x.y"); /* of the value, these */
}

static void the_legacy_form_builds_the_query(void **state)
{
    (void)state;
    assert_expands("table = t\nselect_field = s\nwhere_field = w\n", "a@b",
                   "SELECT s FROM t WHERE w = 'a@b' ");
    assert_expands("table = t\nselect_field = s\nwhere_field = w\n"
                   "additional_conditions = and d = '%d'\n",
                   "a@b", "SELECT s FROM t WHERE w = 'a@b' and d = 'b'");
}

static void domain_restricts_the_table(void **state)
{
    (void)state;
    char path[256], settings[512];
    scratch_file(path, "domains", "# ours\nin.file, also.in.file\n  # and no more\n");
    snprintf(settings, sizeof settings, "query = %%s\ndomain = One.Example, !two.example %s\n",
             path);
    assert_expands(settings, "a@one.example", "a@one.example");
    assert_expands(settings, "a@also.in.file", "a@also.in.file");
    assert_expands(settings, "a@in.file", "a@in.file");
    assert_expands(settings, "a@two.example", NULL);
    assert_expands(settings, "a@sub.one.example", NULL);
    assert_expands(settings, "@one.example", NULL); /* mysql_table(5): not for partial keys */
    assert_expands(settings, "one.example", NULL);
    scratch_file(path, "empty", "# nothing\n");
    snprintf(settings, sizeof settings, "query = %%s\ndomain = %s\n", path);
    assert_expands(settings, "a@one.example", NULL);
    assert_expands("query = %s\ndomain =\n", "a@b", "a@b");
}

/* Each line of this was held against postmap -q of Postfix 3.7. */
static void a_list_of_domains_is_read_as_match_list_does(void **state)
{
    (void)state;
    char path[256], inner[256], text[512], settings[1024];
    snprintf(text, sizeof text, "in.test, x.test\n!not.test\n%s # old.test\n",
             scratch_file(inner, "inner",
                          "more.test B\xc3\x9c"
                          "CHER.test\n"));
    scratch_file(path, "outer", text);
    snprintf(settings, sizeof settings, "query = '%%s'\ndomain = %s not.test\n", path);
    assert_expands(settings, "a@more.test", "'a@more.test'");
    assert_expands(settings,
                   "a@b\xc3\xbc"
                   "cher.test",
                   "'a@b\xc3\xbc"
                   "cher.test'");
    assert_expands(settings, "a@not.test", NULL); /* the first one that matches decides */
    assert_expands(settings, "a@old.test", NULL);
    snprintf(settings, sizeof settings, "query = '%%s'\ndomain = !%s !!z.test in.test\n", path);
    assert_expands(settings, "a@in.test", NULL);
    assert_expands(settings, "a@not.test", "'a@not.test'");
    assert_expands(settings, "a@z.test", "'a@z.test'");
    assert_expands("query = '%s'\ndomain = a.test # b.test\n", "a@b.test", NULL);

    snprintf(text, sizeof text, "%s\n", scratch_path(path, "circle"));
    scratch_file(path, "circle", text);
    snprintf(settings, sizeof settings, LOGIN "query = SELECT 1\ndomain = %s\n", path);
    assert_refused(settings, "files that name files");
}

/* The keys come in both forms (db/maps.h), since the table may hold either. */
static void a_domain_is_listed_in_either_form(void **state)
{
    (void)state;
    static const char *const keys[] = {"a@xn--bcher-kva.test", "a@b\303\274cher.test"};
    static const char *const lists[] = {"b\303\274cher.test", "xn--bcher-kva.test",
                                        "XN--Bcher-Kva.test", "B\303\234CHER.Test"};
    char settings[256];
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
            snprintf(settings, sizeof settings, "query = %%s\ndomain = %s\n", lists[i]);
            assert_expands(settings, keys[k], keys[k]);
            snprintf(settings, sizeof settings, "query = %%s\ndomain = !%s %s\n", lists[i],
                     keys[1 - k] + 2);
            assert_expands(settings, keys[k], NULL);
        }
        assert_expands("query = %s\ndomain = bucher.test\n", keys[k], NULL);
    }
    /* What has no other form is itself. */
    assert_expands("query = %s\ndomain = \360\237\230\200.test\n", "a@\360\237\230\200.test",
                   "a@\360\237\230\200.test");
    assert_expands("query = %s\ndomain = \360\237\230\200.test\n", "a@xn--e28h.test", NULL);
}

static void a_name_too_long_for_a_domain_lists_nothing_and_harms_nothing(void **state)
{
    (void)state;
    char settings[512];
    snprintf(settings, sizeof settings, "query = %%s\ndomain = %0300d a.test\n", 0);
    assert_expands(settings, "u@a.test", "u@a.test");
    assert_expands(settings, "u@b.test", NULL);
}

/* A domain that gets lost would have no recipients any more. */
static void a_file_of_domains_is_read_whole_or_refused(void **state)
{
    (void)state;
    static const char with_nul[] = "one.example\ntwo.example\0three.example\nfour.example\n";
    char path[256], settings[PATH_MAX + 512], fifo[256];
    FILE *file = fopen(scratch_path(path, "nul"), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(with_nul, 1, sizeof with_nul - 1, file), sizeof with_nul - 1);
    assert_int_equal(fclose(file), 0);
    snprintf(settings, sizeof settings, LOGIN "query = SELECT 1\ndomain = %s\n", path);
    assert_refused(settings, "holds a NUL byte");

    assert_int_equal(mkfifo(scratch_path(fifo, "fifo"), 0600), 0);
    snprintf(settings, sizeof settings, LOGIN "query = SELECT 1\ndomain = %s\n", fifo);
    assert_refused(settings, "fifo: is not a plain file");
    assert_refused(LOGIN "query = SELECT 1\ndomain = /dev/zero\n", "is not a plain file");

    snprintf(settings, sizeof settings, LOGIN "query = SELECT 1\ndomain = /%0*d\n", PATH_MAX, 0);
    assert_refused(settings, "the name of a file is too long");
}

static void a_statement_that_does_not_fit_is_not_cut(void **state)
{
    (void)state;
    char sql[32];
    struct mysql_table *table = read_good("query = SELECT '%s%s'\n");
    assert_int_equal(query_expand(&table->query, "aaaaaaaaaa", escape, NULL, sql, sizeof sql),
                     EXPANSION_TOO_LONG);
    assert_int_equal(query_expand(&table->query, "aa", escape, NULL, sql, sizeof sql),
                     EXPANSION_OK);
    assert_int_equal(query_expand(&table->query, "aa", escape_refuses, NULL, sql, sizeof sql),
                     EXPANSION_TOO_LONG);
    mysql_table_free(table);
}

static void results_are_formatted_as_in_postfix(void **state)
{
    (void)state;
    static const struct {
        const char *format, *value, *wanted; /* wanted NULL: suppressed */
    } cases[] = {
        {"%s", "v", "v"},
        {"%s", "", NULL},
        {"%s", NULL, NULL},
        {"<%u|%d>", "a@b", "<a|b>"},
        {"%d", "v", NULL},
        {"%u", "v", "v"},
        {"%u", "@b", NULL},
        {"%S|%U|%D", "v", "k@x.y|k|x.y"},
        {"%1.%2", "a@other", "y.x"},
        {"%s%%", "v", "v%"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char settings[128], result[64] = "";
        snprintf(settings, sizeof settings, "query = %%s\nresult_format = %s\n", cases[i].format);
        struct mysql_table *table = read_good(settings);
        bool formatted =
            query_format(&table->query, "k@x.y", cases[i].value, result, sizeof result);
        assert_int_equal(formatted, cases[i].wanted != NULL);
        assert_string_equal(result, cases[i].wanted ? cases[i].wanted : "");
        mysql_table_free(table);
    }
}

static void several_results_are_joined_with_commas_and_cut_to_fit(void **state)
{
    (void)state;
    char result[8] = "";
    struct mysql_table *table = read_good("query = %s\n");
    assert_true(query_format(&table->query, "k", "one", result, sizeof result));
    assert_true(query_format(&table->query, "k", "two", result, sizeof result));
    assert_string_equal(result, "one,two");
    assert_true(query_format(&table->query, "k", "three", result, sizeof result));
    assert_string_equal(result, "one,two");
    mysql_table_free(table);
}

static void a_pool_is_shared_by_what_reaches_the_same_directory(void **state)
{
    (void)state;
    struct mysql_table *a = read_good(LOGIN "hosts = db\nquery = SELECT 1\n");
    struct mysql_table *b = read_good(LOGIN "hosts = db\nquery = SELECT 2\ndomain = x\n");
    assert_true(mysql_source_equal(&a->source, &b->source));
    static const char *const others[] = {
        LOGIN "hosts = db2\nquery = SELECT 1\n",
        LOGIN "hosts = db db2\nquery = SELECT 1\n",
        LOGIN "hosts = db\nquery = SELECT 1\npassword = other\n",
        LOGIN "hosts = db\nquery = SELECT 1\ndbname =\n",
        LOGIN "hosts = db\nquery = SELECT 1\ntls_verify_cert = yes\n",
        LOGIN "hosts = db\nquery = SELECT 1\noption_group = x\n",
        LOGIN "hosts = db\nquery = SELECT 1\ncharset = utf8mb3\n",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct mysql_table *other = read_good(others[i]);
        assert_false(mysql_source_equal(&a->source, &other->source));
        mysql_table_free(other);
    }
    struct mysql_source copy;
    assert_true(mysql_source_copy(&copy, &a->source));
    mysql_table_free(a);
    assert_true(mysql_source_equal(&copy, &b->source));
    assert_string_equal(copy.password, "s3cret-word");
    mysql_source_release(&copy);
    mysql_table_free(b);
}

/* Every query file in the folder is read and expands a plain address. Returns how many. */
static unsigned read_folder(const char *folder)
{
    unsigned count = 0;
    DIR *dir = opendir(folder);
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[1024], filled[256], sql[65536];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        scratch_fill(filled, "filled.cf", path, "/run/x.sock", "u", "p");
        struct mysql_table *table = mysql_table_read(filled, &fault);
        if (!table)
            fail_msg("%s: %s", path, fault.text);
        assert_int_equal(
            query_expand(&table->query, "alice@mail.example.test", escape, NULL, sql, sizeof sql),
            EXPANSION_OK);
        assert_non_null(strstr(sql, "example"));
        mysql_table_free(table);
        count++;
    }
    closedir(dir);
    return count;
}

static void our_own_examples_are_read(void **state)
{
    (void)state;
    assert_int_equal(read_folder("config/examples"), 3);
}

static void the_query_files_of_five_real_mail_systems_are_read(void **state)
{
    (void)state;
    static const char *const systems[] = {"postfixadmin", "iredmail", "mailcow", "modoboa",
                                          "ispmail-workaround"};
    if (access("../shared/schemas", F_OK) != 0) {
        print_message("../shared/schemas is not there: skipped\n");
        skip();
    }
    for (size_t i = 0; i < sizeof systems / sizeof systems[0]; i++) {
        char folder[256], log[8192];
        snprintf(folder, sizeof folder, "../shared/schemas/%s/cf", systems[i]);
        struct scratch_log capture = scratch_log_begin();
        unsigned count = read_folder(folder);
        scratch_log_end(&capture, log, sizeof log);
        assert_in_range(count, 4, 100);
        assert_string_equal(log, ""); /* and none holds a parameter we do not know */
    }
}

static void the_longest_key_fits_the_longest_real_query(void **state)
{
    (void)state;
    static char key[ADDRESS_KEY_MAX], sql[65536];
    const char *path = "../shared/schemas/mailcow/cf/mysql_virtual_sender_acl.cf";
    if (access(path, F_OK) != 0) {
        print_message("%s is not there: skipped\n", path);
        skip();
    }
    memset(key, '\'', sizeof key - 1);
    memcpy(key + sizeof key - 14, "@example.test", 13);
    char filled[256];
    struct mysql_table *table =
        mysql_table_read(scratch_fill(filled, "filled.cf", path, "/run/x.sock", "u", "p"), &fault);
    if (!table)
        fail_msg("%s", fault.text);
    assert_int_equal(query_expand(&table->query, key, escape, NULL, sql, sizeof sql), EXPANSION_OK);
    mysql_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_postfix),
        cmocka_unit_test(every_parameter_arrives),
        cmocka_unit_test(hosts_are_read_in_every_form_postfix_knows),
        cmocka_unit_test(what_cannot_be_meant_is_refused_with_file_and_line),
        cmocka_unit_test(an_unknown_parameter_is_a_warning_without_its_value),
        cmocka_unit_test(a_mistyped_parameter_is_told_what_it_may_mean),
        cmocka_unit_test(an_expansion_outside_quotes_is_a_warning),
        cmocka_unit_test(a_key_expands_as_in_postfix),
        cmocka_unit_test(keys_without_the_parts_asked_for_are_not_asked_about),
        cmocka_unit_test(the_legacy_form_builds_the_query),
        cmocka_unit_test(domain_restricts_the_table),
        cmocka_unit_test(a_list_of_domains_is_read_as_match_list_does),
        cmocka_unit_test(a_domain_is_listed_in_either_form),
        cmocka_unit_test(a_name_too_long_for_a_domain_lists_nothing_and_harms_nothing),
        cmocka_unit_test(a_file_of_domains_is_read_whole_or_refused),
        cmocka_unit_test(a_statement_that_does_not_fit_is_not_cut),
        cmocka_unit_test(results_are_formatted_as_in_postfix),
        cmocka_unit_test(several_results_are_joined_with_commas_and_cut_to_fit),
        cmocka_unit_test(a_pool_is_shared_by_what_reaches_the_same_directory),
        cmocka_unit_test(our_own_examples_are_read),
        cmocka_unit_test(the_query_files_of_five_real_mail_systems_are_read),
        cmocka_unit_test(the_longest_key_fits_the_longest_real_query),
    };
    scratch_make();
    int failed = cmocka_run_group_tests_name("mysql_table", tests, NULL, NULL);
    scratch_remove();
    return failed;
}
