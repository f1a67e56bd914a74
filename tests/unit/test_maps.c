#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/pause.h"
#include "db/maps.h"
#include "shared/digest.h"

/*
 * A scripted map stands in for mysql: its table's name is what it answers. It is linked instead of
 * db/map_mysql.c, whose one public name this is.
 */
static _Atomic int mysql_asked, mysql_closed;

static void *mysql_open(const char *table, const struct map_context *context, struct fault *fault)
{
    (void)context;
    if (strcmp(table, "/missing.cf") != 0)
        return strdup(table);
    fault_set(fault, "/missing.cf: No such file or directory");
    return NULL;
}

static void mysql_lookup(void *map, const char *key, struct deadline deadline, struct trace *trace,
                         struct finding *finding)
{
    (void)deadline, (void)trace;
    bool u_labels = strchr(key, '\303') != NULL;
    atomic_fetch_add(&mysql_asked, 1);
    if (strncmp(map, "/u-", 3) == 0 && !u_labels) {
        finding_set_absent(finding);
    } else if (strncmp(map, "/a-", 3) == 0 && u_labels) {
        finding_set_absent(finding);
    } else if (strcmp(map, "/u-unfit.cf") == 0 || strcmp(map, "/unfit.cf") == 0) {
        finding->unfit = true;
        fault_set(&finding->why, "illegal mix of collations");
    } else if (strstr(map, "-broken.cf")) {
        fault_set(&finding->why, "%s is gone", (const char *)map);
    } else if (strstr(map, "late.cf")) {
        finding->late = true;
        fault_set(&finding->why, "no time left");
    } else if (strcmp(map, "/absent.cf") == 0) {
        finding_set_absent(finding);
    } else if (strstr(map, "lagging")) {
        finding_set_absent(finding);
        finding->lagging = true;
        fault_set(&finding->why, "%s is behind", (const char *)map);
    } else {
        finding_set_found(finding, map);
    }
}

static void mysql_close(void *map)
{
    atomic_fetch_add(&mysql_closed, 1);
    free(map);
}

const struct map_type map_mysql = {"mysql", true, mysql_open, mysql_lookup, mysql_close};

static struct maps *open_list(const char *list, struct fault *fault)
{
    struct map_context context = {.offline = false};
    fault_clear(fault);
    return maps_open(list, &context, fault);
}

static struct maps *open_good(const char *list)
{
    struct fault fault;
    struct maps *maps = open_list(list, &fault);
    assert_string_equal(fault.text, "");
    assert_non_null(maps);
    return maps;
}

typedef void asker(const struct maps *, const char *, struct deadline, struct trace *,
                   struct finding *);

/* "FOUND value", "ABSENT", "UNAVAILABLE reason", with " late" or " lagging" after it. */
static void check(asker *ask, const char *list, const char *key, const char *expected)
{
    struct maps *maps = open_good(list);
    struct finding finding;
    char said[2048];
    memset(&finding, 0x55, sizeof finding); /* whatever stood there before must not matter */
    ask(maps, key, deadline_in_ms(1000), NULL, &finding);
    maps_close(maps);
    const char *more = finding.answer == FOUND ? finding.value : finding.why.text;
    snprintf(said, sizeof said, "%s%s%s%s%s", answer_name(finding.answer), more[0] ? " " : "", more,
             finding.late ? " late" : "", finding.lagging ? " lagging" : "");
    if (strcmp(said, expected) != 0)
        fail_msg("%s asked for %s: \"%s\", expected \"%s\"", list, key, said, expected);
}

static void check_refused(const char *list, const char *expected)
{
    struct fault fault;
    struct maps *maps = open_list(list, &fault);
    assert_null(maps);
    if (!strstr(fault.text, expected))
        fail_msg("%s: \"%s\" does not say \"%s\"", list, fault.text, expected);
}

static void an_answer_nobody_set_is_unavailable(void **state)
{
    (void)state;
    struct finding finding = {.late = false};
    assert_string_equal(answer_name(finding.answer), "UNAVAILABLE");
    assert_string_equal(answer_name(FOUND), "FOUND");
    assert_string_equal(answer_name(ABSENT), "ABSENT");
    assert_string_equal(answer_name((enum answer)77), "UNAVAILABLE");
}

static void a_long_value_is_cut_to_fit_and_a_missing_one_is_empty(void **state)
{
    (void)state;
    struct finding finding = {.late = true};
    char value[FINDING_VALUE_MAX + 10];
    memset(value, 'v', sizeof value);
    value[sizeof value - 1] = '\0';
    finding_set_found(&finding, value);
    assert_int_equal(strlen(finding.value), FINDING_VALUE_MAX - 1);
    assert_false(finding.late);
    finding_set_found(&finding, NULL);
    assert_int_equal(finding.answer, FOUND);
    assert_string_equal(finding.value, "");
    finding.lagging = true;
    finding_set_absent(&finding);
    assert_int_equal(finding.answer, ABSENT);
    assert_false(finding.lagging);
}

static void one_lagging_absence_makes_the_whole_absence_lagging(void **state)
{
    (void)state;
    static asker *const askers[] = {maps_find, maps_value};
    for (size_t i = 0; i < 2; i++) {
        check(askers[i], "mysql:/lagging.cf", "k", "ABSENT /lagging.cf is behind lagging");
        check(askers[i], "mysql:/lagging.cf inline:{a=b}", "k",
              "ABSENT /lagging.cf is behind lagging");
        check(askers[i], "inline:{a=b} mysql:/lagging.cf", "k",
              "ABSENT /lagging.cf is behind lagging");
        check(askers[i], "mysql:/lagging.cf mysql:/lagging2.cf mysql:/absent.cf", "k",
              "ABSENT /lagging.cf is behind lagging");
        check(askers[i], "mysql:/lagging.cf static:v", "k", "FOUND v");
        check(askers[i], "mysql:/lagging.cf fail:broken", "k", "UNAVAILABLE broken");
        check(askers[i], "mysql:/absent.cf", "k", "ABSENT");
    }
    check(maps_find, "fail:broken mysql:/lagging.cf", "k", "UNAVAILABLE broken");
    check(maps_find, "fail:broken mysql:/lagging.cf mysql:/late.cf", "k",
          "UNAVAILABLE broken late");
}

static void one_map_that_finds_it_is_enough_whatever_happened_to_the_others(void **state)
{
    (void)state;
    check(maps_find, "fail:broken, inline:{k=v}", "k", "FOUND v");
    check(maps_find, "inline:{k=v}, fail:broken", "k", "FOUND v");
    check(maps_find, "mysql:/late.cf static:OK", "k", "FOUND OK");
}

static void a_broken_map_is_not_absence(void **state)
{
    (void)state;
    check(maps_find, "fail:broken, inline:{k=v}", "x", "UNAVAILABLE broken");
    check(maps_find, "inline:{k=v}, fail:broken", "x", "UNAVAILABLE broken");
    check(maps_find, "mysql:/absent.cf fail:one fail:two mysql:/absent.cf", "x", "UNAVAILABLE one");
}

static void absent_needs_the_word_of_every_map(void **state)
{
    (void)state;
    check(maps_find, "inline:{k=v}, mysql:/absent.cf, inline:{l=v}", "x", "ABSENT");
}

static void one_late_map_makes_a_failed_lookup_late(void **state)
{
    (void)state;
    check(maps_find, "mysql:/late.cf", "x", "UNAVAILABLE no time left late");
    check(maps_find, "fail:broken mysql:/late.cf", "x", "UNAVAILABLE broken late");
    check(maps_find, "mysql:/late.cf fail:broken", "x", "UNAVAILABLE no time left late");
}

static void of_values_the_first_map_in_order_decides(void **state)
{
    (void)state;
    check(maps_value, "inline:{k=1} inline:{k=2 l=3}", "k", "FOUND 1");
    check(maps_value, "inline:{k=1} inline:{k=2 l=3}", "l", "FOUND 3");
    check(maps_value, "inline:{k=1} inline:{k=2 l=3}", "m", "ABSENT");
}

static void a_map_that_failed_might_have_said_another_value(void **state)
{
    (void)state;
    check(maps_value, "fail:broken inline:{k=2}", "k", "UNAVAILABLE broken");
    check(maps_value, "inline:{k=1} fail:broken", "k", "FOUND 1");
    check(maps_value, "mysql:/late.cf inline:{k=2}", "k", "UNAVAILABLE no time left late");
}

/* xn--9ca and é. */
#define A_FORM "x@xn--9ca.test"
#define U_FORM "x@\xc3\xa9.test"

static void a_domain_with_a_labels_is_found_under_either_form(void **state)
{
    (void)state;
    static asker *const askers[] = {maps_find, maps_value};
    for (size_t i = 0; i < 2; i++) {
        check(askers[i], "inline:{" A_FORM "=v}", A_FORM, "FOUND v");
        check(askers[i], "inline:{" U_FORM "=v}", A_FORM, "FOUND v");
        check(askers[i], "inline:{xn--9ca.test=v}", "xn--9ca.test", "FOUND v");
        check(askers[i], "inline:{\xc3\xa9.test=v}", "xn--9ca.test", "FOUND v");
        check(askers[i], "inline:{@\xc3\xa9.test=v}", "@xn--9ca.test", "FOUND v");
        check(askers[i], "inline:{" U_FORM "=v}", "y@xn--9ca.test", "ABSENT");
        check(askers[i], "inline:{" U_FORM "=1}, inline:{" A_FORM "=2}", A_FORM, "FOUND 1");
        check(askers[i], "inline:{x=1}, inline:{" U_FORM "=2}", A_FORM, "FOUND 2");
    }
}

static void absent_needs_the_word_of_a_map_for_both_forms(void **state)
{
    (void)state;
    static asker *const askers[] = {maps_find, maps_value};
    for (size_t i = 0; i < 2; i++) {
        check(askers[i], "mysql:/absent.cf", A_FORM, "ABSENT");
        check(askers[i], "mysql:/u-broken.cf", A_FORM, "UNAVAILABLE /u-broken.cf is gone");
        check(askers[i], "mysql:/a-broken.cf", A_FORM, "UNAVAILABLE /a-broken.cf is gone");
        check(askers[i], "mysql:/u-late.cf", A_FORM, "UNAVAILABLE no time left late");
        check(askers[i], "mysql:/u-lagging.cf", A_FORM, "ABSENT /u-lagging.cf is behind lagging");
        check(askers[i], "mysql:/a-lagging.cf", A_FORM, "ABSENT /a-lagging.cf is behind lagging");
    }
    check(maps_find, "mysql:/u-broken.cf inline:{" U_FORM "=v}", A_FORM, "FOUND v");
}

/* Else a latin1 table made every domain in Chinese one that cannot be looked up, and what is sent
 * there from here would be refused. */
static void a_table_without_the_letters_of_u_labels_has_none(void **state)
{
    (void)state;
    static asker *const askers[] = {maps_find, maps_value};
    for (size_t i = 0; i < 2; i++) {
        check(askers[i], "mysql:/u-unfit.cf", A_FORM, "ABSENT");
        check(askers[i], "mysql:/unfit.cf", A_FORM, "UNAVAILABLE illegal mix of collations");
        check(askers[i], "mysql:/unfit.cf", "x@example.test",
              "UNAVAILABLE illegal mix of collations");
    }
}

static void a_plain_domain_is_asked_for_once(void **state)
{
    (void)state;
    static const char *const plain[] = {"x@example.test", "example.test", "@example.test",
                                        "\xc3\xa9@example.test", "xn--9ca@example.test"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        atomic_store(&mysql_asked, 0);
        check(maps_find, "mysql:/absent.cf", plain[i], "ABSENT");
        assert_int_equal(atomic_load(&mysql_asked), 1);
    }
    atomic_store(&mysql_asked, 0);
    check(maps_find, "mysql:/absent.cf", A_FORM, "ABSENT");
    assert_int_equal(atomic_load(&mysql_asked), 2);
}

static void the_search_ends_with_the_first_map_that_finds_it(void **state)
{
    (void)state;
    int before = mysql_asked;
    check(maps_find, "static:OK mysql:/x.cf", "k", "FOUND OK");
    check(maps_value, "static:OK mysql:/x.cf", "k", "FOUND OK");
    assert_int_equal(mysql_asked, before);
}

static void an_empty_list_is_empty_and_says_absent(void **state)
{
    (void)state;
    const char *const lists[] = {"", "  ", ", ,"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct maps *maps = open_good(lists[i]);
        assert_true(maps_empty(maps));
        assert_false(maps_wait(maps));
        maps_close(maps);
        check(maps_find, lists[i], "k", "ABSENT");
        check(maps_value, lists[i], "k", "ABSENT");
    }
    maps_close(NULL);
}

static void a_list_waits_when_one_of_its_maps_does(void **state)
{
    (void)state;
    struct maps *quick = open_good("static:OK, inline:{a=b}, fail:x");
    struct maps *slow = open_good("static:OK, mysql:/x.cf");
    assert_false(maps_empty(quick));
    assert_false(maps_wait(quick));
    assert_true(maps_wait(slow));
    maps_close(quick);
    maps_close(slow);
}

static void proxy_mysql_is_mysql(void **state)
{
    (void)state;
    check(maps_find, "proxy:mysql:/etc/postfix/x.cf", "k", "FOUND /etc/postfix/x.cf");
    check_refused("proxy:/etc/postfix/x.cf", "type:table");
    check_refused("proxy:", "type:table");
}

static void a_list_is_split_at_commas_and_blanks_but_not_in_braces(void **state)
{
    (void)state;
    check(maps_find, ",static:{a b,c}\t,\n mysql:/absent.cf", "k", "FOUND a b,c");
    check(maps_find, "inline:{a=1, {b=two, words}},static:OK", "b", "FOUND two, words");
    check(maps_find, "inline:{a=1 b=2} static:OK", "x", "FOUND OK");
    check_refused("inline:{a=1, static:OK", "a '{' has no '}'");
    check_refused("static:a} static:OK", "a '}' has no '{'");
}

static void an_unknown_type_names_the_known_ones(void **state)
{
    (void)state;
    check_refused("ldap:/x",
                  "there is no map type \"ldap\"; there are mysql, sqlite, texthash, static, "
                  "inline, fail");
    check_refused("static:OK, mysq:/x", "mysq:/x: there is no map type \"mysq\"");
    check_refused("mysq:/x", "did you mean mysql?");
    check_refused("hash:/etc/postfix/x", "did you mean texthash (it reads the text file");
    check_refused("MYSQL:/x", "there is no map type \"MYSQL\"");
}

static void a_map_without_a_type_is_refused(void **state)
{
    (void)state;
    check_refused("/etc/postfix/x", "/etc/postfix/x: write a map as type:table");
    check_refused(":x", "type:table");
}

static void a_map_that_cannot_be_opened_closes_those_before_it(void **state)
{
    (void)state;
    int before = mysql_closed;
    check_refused("mysql:/a.cf mysql:/b.cf mysql:/missing.cf",
                  "mysql:/missing.cf: /missing.cf: No such file");
    assert_int_equal(mysql_closed, before + 2);
}

static void each_map_that_is_asked_leaves_one_line_in_the_trace(void **state)
{
    (void)state;
    static struct trace trace;
    struct maps *maps = open_good("fail:broken, inline:{a=1}, static:yes, mysql:/x.cf");
    struct finding finding;
    trace_start(&trace);
    maps_find(maps, "u\n@x", deadline_in_ms(1000), &trace, &finding);
    maps_close(maps);
    assert_string_equal(trace.bytes, "map fail:broken: u\\x0a@x: UNAVAILABLE: broken\n"
                                     "map inline:{a=1}: u\\x0a@x: ABSENT\n"
                                     "map static:yes: u\\x0a@x: FOUND: yes\n");
}

static void static_finds_every_key(void **state)
{
    (void)state;
    check(maps_find, "static:OK", "anything", "FOUND OK");
    check(maps_find, "static:{  some text\t}", "x", "FOUND some text");
    check(maps_find, "static:a:b", "x", "FOUND a:b");
    check_refused("static:", "write the value after the colon");
    check_refused("static:{ }", "write the value after the colon");
    check_refused("static:{a}b", "after the closing brace");
}

static void inline_holds_the_keys_between_its_braces(void **state)
{
    (void)state;
    const char *list = "inline:{ a=1, {b = two  words } {C@X=3=4}, d={x y} }";
    check(maps_find, list, "a", "FOUND 1");
    check(maps_find, list, "b", "FOUND two  words");
    check(maps_find, list, "c@x", "FOUND 3=4");
    check(maps_find, list, "d", "FOUND {x y}");
    check(maps_find, list, "C@X", "ABSENT"); /* keys come folded; this one did not */
    check(maps_find, list, "", "ABSENT");
    check(maps_find, "inline:{a=1 a=2}", "a", "FOUND 2"); /* as Postfix 3.7 answers */
}

static void an_inline_map_with_a_mistake_is_refused(void **state)
{
    (void)state;
    check_refused("inline:a=b", "write the entries in braces");
    check_refused("inline:{a=b}c", "write the entries in braces");
    check_refused("inline:", "write the entries in braces");
    check_refused("inline:{}", "there is no entry");
    check_refused("inline:{ , }", "there is no entry");
    check_refused("inline:{a}", "\"a\" has no '='");
    check_refused("inline:{a = b}", "has no '='");
    check_refused("inline:{a=}", "may be empty");
    check_refused("inline:{=a}", "may be empty");
    check_refused("inline:{{a=b}c}", "something between '}'");
}

static void fail_answers_every_key_with_its_text(void **state)
{
    (void)state;
    check(maps_find, "fail:{disk on fire}", "k", "UNAVAILABLE {disk on fire}");
    check(maps_find, "fail:", "k", "UNAVAILABLE a fail: map fails every lookup");
}

static enum answer ask(const struct maps *maps, const char *key)
{
    struct finding finding;
    maps_find(maps, key, deadline_in_ms(1000), NULL, &finding);
    return finding.answer;
}

/* texthash */

struct scratch {
    char directory[64], path[96], list[128];
};

static int scratch_make(void **state)
{
    struct scratch *scratch = calloc(1, sizeof *scratch);
    strcpy(scratch->directory, "/tmp/test_maps.XXXXXX");
    if (!scratch || !mkdtemp(scratch->directory))
        return -1;
    snprintf(scratch->path, sizeof scratch->path, "%s/table", scratch->directory);
    snprintf(scratch->list, sizeof scratch->list, "texthash:%s", scratch->path);
    *state = scratch;
    return 0;
}

static int scratch_remove(void **state)
{
    struct scratch *scratch = *state;
    DIR *directory = opendir(scratch->directory);
    struct dirent *entry;
    while (directory && (entry = readdir(directory)))
        unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory)
        closedir(directory);
    rmdir(scratch->directory);
    free(scratch);
    return 0;
}

/* Gives the file a time long past, so that nobody has to wait for it to be left alone; each call
 * another one. */
static void set_old_time(const char *path)
{
    static time_t seconds = 1000000000;
    struct timespec times[2] = {{.tv_sec = seconds + 1}, {.tv_sec = seconds + 1}};
    seconds++;
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* Log lines go to a file from here on, until log_end, which counts how many say `what`. */
static int log_begin(const struct scratch *scratch)
{
    char path[128];
    snprintf(path, sizeof path, "%s/log", scratch->directory);
    int before = dup(STDERR_FILENO), log = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
    dup2(log, STDERR_FILENO);
    close(log);
    return before;
}

static int log_end(const struct scratch *scratch, int before, const char *what, int *lines)
{
    char path[128], line[4096];
    int said = 0;
    dup2(before, STDERR_FILENO);
    close(before);
    snprintf(path, sizeof path, "%s/log", scratch->directory);
    FILE *log = fopen(path, "r");
    *lines = 0;
    while (log && fgets(line, sizeof line, log)) {
        said += strstr(line, what) != NULL;
        ++*lines;
    }
    if (log)
        fclose(log);
    return said;
}

static void write_bytes(const char *path, const char *bytes, size_t length)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    fclose(file);
    set_old_time(path);
}

static void write_table(const struct scratch *scratch, const char *text)
{
    char next[128];
    snprintf(next, sizeof next, "%s.new", scratch->path);
    write_bytes(next, text, strlen(text));
    assert_int_equal(rename(next, scratch->path), 0);
}

/* The claim is about the time after the next look at the file, which is a second away at most. */
static bool comes_to(const struct maps *maps, const char *key, enum answer answer)
{
    struct deadline limit = deadline_in_ms(10000);
    while (!deadline_passed(limit)) {
        if (ask(maps, key) == answer)
            return true;
        test_pause();
    }
    return false;
}

/* Until the map has looked at the file twice: a change it were to take would have been taken. */
static bool stays(const struct maps *maps, const char *key, enum answer answer)
{
    struct deadline limit = deadline_in_ms(2500);
    while (!deadline_passed(limit)) {
        if (ask(maps, key) != answer)
            return false;
        test_pause();
    }
    return true;
}

static void texthash_reads_what_postmap_reads(void **state)
{
    struct scratch *scratch = *state;
    write_table(scratch, "# comment\n"
                         "A@X.org one\n"
                         "   # indented comment\n"
                         "\"q U\"@x.org\tquoted value \t\r\n"
                         "cont@x.org first\n"
                         "# between\n"
                         "  second\n"
                         "\n"
                         "\tthird\n"
                         "x\\ y backslash\n"
                         "\"k\\\"k\" v\n"
                         "@x.org catch all\n"
                         "last@x.org no newline");
    check(maps_find, scratch->list, "a@x.org", "FOUND one");
    check(maps_find, scratch->list, "\"q u\"@x.org", "FOUND quoted value");
    check(maps_find, scratch->list, "q u@x.org", "ABSENT");
    check(maps_find, scratch->list, "cont@x.org", "FOUND first  second\tthird");
    check(maps_find, scratch->list, "x\\ y", "FOUND backslash");
    check(maps_find, scratch->list, "\"k\\\"k\"", "FOUND v");
    check(maps_find, scratch->list, "@x.org", "FOUND catch all");
    check(maps_find, scratch->list, "last@x.org", "FOUND no newline");
    check(maps_find, scratch->list, "#", "ABSENT");
    check(maps_find, scratch->list, "", "ABSENT");
}

/* As Postfix with smtputf8_enable folds the keys of a file, and composed as addresses are. */
static void the_keys_of_a_file_are_folded_beyond_ascii(void **state)
{
    struct scratch *scratch = *state;
    write_table(scratch, "J\303\234RGEN@M\303\234NCHEN.test 1\njose\314\201@x.test 2\n"
                         "\342\204\252@x.test 3\n");
    struct maps *maps = open_good(scratch->list);
    static const char *const rows[][2] = {
        {"j\303\274rgen@xn--mnchen-3ya.test", "1"},
        {"jos\303\251@x.test", "2"},
        {"\342\204\252@x.test", "3"},
        {"k@x.test", NULL},
        {"jose@x.test", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct finding finding = {0};
        maps_find(maps, rows[i][0], deadline_in_ms(1000), NULL, &finding);
        assert_int_equal(finding.answer, rows[i][1] ? FOUND : ABSENT);
        assert_string_equal(finding.value, rows[i][1] ? rows[i][1] : "");
    }
    maps_close(maps);
    check(maps_find, "inline:{J\303\234RGEN@x.test=v}", "j\303\274rgen@x.test", "FOUND v");
}

static void texthash_leaves_out_what_postmap_leaves_out(void **state)
{
    struct scratch *scratch = *state;
    write_table(scratch, "  leading@x.org v\n"
                         "novalue@x.org\n"
                         "novalue2@x.org   \n"
                         "twice@x.org first\n"
                         "TWICE@x.org second\n"
                         "unb\"al@x.org v\n"
                         "latin1\xe9@x.org v\n"
                         "good@x.org v\n");
    struct map_context context = {.offline = false};
    struct fault fault = {.text = ""};
    int lines, log = log_begin(scratch);
    struct maps *maps = maps_open(scratch->list, &context, &fault);
    int said = log_end(scratch, log, "/table:5: this key has a value already", &lines);
    assert_non_null(maps);
    assert_int_equal(said, 1);
    assert_int_equal(lines, 6);
    assert_int_equal(ask(maps, "leading@x.org"), ABSENT);
    assert_int_equal(ask(maps, "novalue@x.org"), ABSENT);
    assert_int_equal(ask(maps, "novalue2@x.org"), ABSENT);
    assert_int_equal(ask(maps, "unb\"al@x.org"), ABSENT);
    assert_int_equal(ask(maps, "latin1\xe9@x.org"), ABSENT);
    assert_int_equal(ask(maps, "good@x.org"), FOUND);
    struct finding finding;
    maps_find(maps, "twice@x.org", deadline_in_ms(1000), NULL, &finding);
    assert_string_equal(finding.value, "first");
    maps_close(maps);
}

static void a_file_full_of_mistakes_does_not_fill_the_log(void **state)
{
    struct scratch *scratch = *state;
    write_table(scratch, "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm v\nalias: v\n");
    struct map_context context = {.offline = false};
    struct fault fault = {.text = ""};
    int lines, log = log_begin(scratch);
    struct maps *maps = maps_open(scratch->list, &context, &fault);
    int said = log_end(scratch, log, "3 more lines with something wrong", &lines);
    assert_non_null(maps);
    assert_int_equal(said, 1);
    assert_int_equal(lines, 11);
    assert_int_equal(ask(maps, "alias:"), FOUND);
    maps_close(maps);
}

static void a_file_that_is_missing_or_no_text_is_a_fault(void **state)
{
    struct scratch *scratch = *state;
    check_refused(scratch->list, "table: No such file or directory");
    write_bytes(scratch->path, "a b\nc\0d e\n", 10);
    check_refused(scratch->list, "there is a NUL in it");
    unlink(scratch->path);
    assert_int_equal(mkfifo(scratch->path, 0600), 0);
    set_old_time(scratch->path);
    check_refused(scratch->list, "this is not a file");
    unlink(scratch->path);
    write_table(scratch, "");
    assert_int_equal(truncate(scratch->path, (off_t)1 << 32), 0);
    set_old_time(scratch->path);
    check_refused(scratch->list, "bytes are too many");
    check_refused("texthash:relative/path", "the whole path");
    check_refused("texthash:/", "this is not a file");
}

static void an_empty_file_that_is_opened_is_taken_at_its_word(void **state)
{
    struct scratch *scratch = *state;
    write_table(scratch, "");
    check(maps_find, scratch->list, "a", "ABSENT");
    write_table(scratch, "\n# nothing\n");
    check(maps_find, scratch->list, "a", "ABSENT");
}

static void a_large_table_finds_each_of_its_keys(void **state)
{
    struct scratch *scratch = *state;
    enum { KEYS = 20000 };
    FILE *file = fopen(scratch->path, "w");
    for (int i = 0; i < KEYS; i++)
        fprintf(file, "user%d@example.com value%d\n", i, i);
    fclose(file);
    set_old_time(scratch->path);
    struct maps *maps = open_good(scratch->list);
    for (int i = 0; i < KEYS; i++) {
        char key[64], value[64];
        struct finding finding;
        snprintf(key, sizeof key, "user%d@example.com", i);
        snprintf(value, sizeof value, "value%d", i);
        maps_find(maps, key, deadline_in_ms(1000), NULL, &finding);
        assert_string_equal(finding.value, value);
    }
    assert_int_equal(ask(maps, "user20000@example.com"), ABSENT);
    maps_close(maps);
}

static void a_changed_file_is_read_again(void **state)
{
    struct scratch *scratch = *state;
    write_table(scratch, "old v\n");
    struct maps *maps = open_good(scratch->list);
    assert_int_equal(ask(maps, "old"), FOUND);
    write_table(scratch, "new v\n"); /* the same size: the inode and the time tell */
    assert_true(comes_to(maps, "new", FOUND));
    assert_int_equal(ask(maps, "old"), ABSENT);
    maps_close(maps);
}

static void a_file_that_vanishes_leaves_the_old_table(void **state)
{
    struct scratch *scratch = *state;
    write_table(scratch, "old v\n");
    struct maps *maps = open_good(scratch->list);
    int lines, log = log_begin(scratch);
    unlink(scratch->path);
    bool stayed = stays(maps, "old", FOUND);
    int said = log_end(scratch, log, "No such file or directory - going on with the 1", &lines);
    assert_true(stayed);
    assert_int_equal(said, 1);
    assert_int_equal(lines, 1);
    write_table(scratch, "back v\n");
    assert_true(comes_to(maps, "back", FOUND));
    maps_close(maps);
}

static void a_file_that_became_empty_or_bad_leaves_the_old_table(void **state)
{
    struct scratch *scratch = *state;
    write_table(scratch, "old v\n");
    struct maps *maps = open_good(scratch->list);
    int lines, log = log_begin(scratch);
    write_table(scratch, "# all gone\n");
    bool stayed = stays(maps, "old", FOUND);
    int said = log_end(scratch, log, "error: ", &lines);
    assert_true(stayed);
    assert_int_equal(said, 1);
    assert_int_equal(lines, 1);
    write_bytes(scratch->path, "a\0b\n", 4);
    assert_true(stays(maps, "old", FOUND));
    write_table(scratch, "new v\n");
    assert_true(comes_to(maps, "new", FOUND));
    maps_close(maps);
}

static void a_file_is_not_read_while_somebody_writes_it(void **state)
{
    struct scratch *scratch = *state;
    write_table(scratch, "one v\ntwo v\n");
    struct maps *maps = open_good(scratch->list);
    struct deadline limit = deadline_in_ms(2500); /* longer than a look and a quiet second apart */
    while (!deadline_passed(limit)) {             /* half of the file, written again and again */
        FILE *file = fopen(scratch->path, "w");
        fputs("one v\n", file);
        fclose(file);
        assert_int_equal(ask(maps, "two"), FOUND);
        test_pause();
    }
    FILE *file = fopen(scratch->path, "a");
    fputs("three v\n", file);
    fclose(file);
    assert_true(comes_to(maps, "three", FOUND));
    maps_close(maps);
}

static void opening_waits_until_the_file_was_left_alone(void **state)
{
    struct scratch *scratch = *state;
    FILE *file = fopen(scratch->path, "w");
    fputs("one v\n", file);
    fclose(file);
    int64_t before = clock_mono_ms();
    struct maps *maps = open_good(scratch->list);
    assert_in_range(clock_mono_ms() - before, 500, 4000);
    assert_int_equal(ask(maps, "one"), FOUND);
    maps_close(maps);
}

struct crowd {
    struct maps *maps;
    atomic_bool stop;
    atomic_int wrong, asked;
};

/* "always" is in every version of the file. */
static void *crowd_member(void *context)
{
    struct crowd *crowd = context;
    while (!atomic_load(&crowd->stop)) {
        if (ask(crowd->maps, "always") != FOUND || ask(crowd->maps, "never") != ABSENT)
            atomic_fetch_add(&crowd->wrong, 1);
        atomic_fetch_add(&crowd->asked, 1);
        usleep(100);
    }
    return NULL;
}

static void many_threads_ask_while_the_file_changes(void **state)
{
    struct scratch *scratch = *state;
    write_table(scratch, "always v\nround0 v\n");
    struct crowd crowd = {.maps = open_good(scratch->list)};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_member, &crowd), 0);
    for (int round = 1; round <= 2; round++) {
        char text[64], key[32];
        snprintf(text, sizeof text, "round%d v\nalways v\n", round);
        snprintf(key, sizeof key, "round%d", round);
        write_table(scratch, text);
        assert_true(comes_to(crowd.maps, key, FOUND));
    }
    atomic_store(&crowd.stop, true);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&crowd.asked) > 0);
    assert_int_equal(atomic_load(&crowd.wrong), 0);
    maps_close(crowd.maps);
}

#define with_scratch(test) cmocka_unit_test_setup_teardown(test, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_nobody_set_is_unavailable),
        cmocka_unit_test(a_long_value_is_cut_to_fit_and_a_missing_one_is_empty),
        cmocka_unit_test(one_lagging_absence_makes_the_whole_absence_lagging),
        cmocka_unit_test(one_map_that_finds_it_is_enough_whatever_happened_to_the_others),
        cmocka_unit_test(a_broken_map_is_not_absence),
        cmocka_unit_test(absent_needs_the_word_of_every_map),
        cmocka_unit_test(one_late_map_makes_a_failed_lookup_late),
        cmocka_unit_test(of_values_the_first_map_in_order_decides),
        cmocka_unit_test(a_map_that_failed_might_have_said_another_value),
        cmocka_unit_test(a_domain_with_a_labels_is_found_under_either_form),
        cmocka_unit_test(absent_needs_the_word_of_a_map_for_both_forms),
        cmocka_unit_test(a_table_without_the_letters_of_u_labels_has_none),
        cmocka_unit_test(a_plain_domain_is_asked_for_once),
        cmocka_unit_test(the_search_ends_with_the_first_map_that_finds_it),
        cmocka_unit_test(an_empty_list_is_empty_and_says_absent),
        cmocka_unit_test(a_list_waits_when_one_of_its_maps_does),
        cmocka_unit_test(proxy_mysql_is_mysql),
        cmocka_unit_test(a_list_is_split_at_commas_and_blanks_but_not_in_braces),
        cmocka_unit_test(an_unknown_type_names_the_known_ones),
        cmocka_unit_test(a_map_without_a_type_is_refused),
        cmocka_unit_test(a_map_that_cannot_be_opened_closes_those_before_it),
        cmocka_unit_test(each_map_that_is_asked_leaves_one_line_in_the_trace),
        cmocka_unit_test(static_finds_every_key),
        cmocka_unit_test(inline_holds_the_keys_between_its_braces),
        cmocka_unit_test(an_inline_map_with_a_mistake_is_refused),
        cmocka_unit_test(fail_answers_every_key_with_its_text),
        with_scratch(texthash_reads_what_postmap_reads),
        with_scratch(the_keys_of_a_file_are_folded_beyond_ascii),
        with_scratch(texthash_leaves_out_what_postmap_leaves_out),
        with_scratch(a_file_full_of_mistakes_does_not_fill_the_log),
        with_scratch(a_file_that_is_missing_or_no_text_is_a_fault),
        with_scratch(an_empty_file_that_is_opened_is_taken_at_its_word),
        with_scratch(a_large_table_finds_each_of_its_keys),
        with_scratch(a_changed_file_is_read_again),
        with_scratch(a_file_that_vanishes_leaves_the_old_table),
        with_scratch(a_file_that_became_empty_or_bad_leaves_the_old_table),
        with_scratch(a_file_is_not_read_while_somebody_writes_it),
        with_scratch(opening_waits_until_the_file_was_left_alone),
        with_scratch(many_threads_ask_while_the_file_changes),
    };
    return digest_init() ? cmocka_run_group_tests_name("maps", tests, NULL, NULL) : 1;
}
