/* conf: what postconf(5) says about the syntax of main.cf, and what a broken file is answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/conf.h"

static struct conf *read_text(const char *text)
{
    struct fault fault = {0};
    struct conf *conf = conf_read_bytes("x.cf", text, strlen(text), &fault);
    if (!conf)
        fail_msg("%s", fault.text);
    return conf;
}

static void assert_value(const char *text, const char *name, const char *value)
{
    struct conf *conf = read_text(text);
    const struct conf_entry *entry = conf_find(conf, name);
    assert_non_null(entry);
    assert_string_equal(entry->value, value);
    conf_free(conf);
}

static void assert_bytes_refused(const char *text, size_t length, const char *message)
{
    struct fault fault = {0};
    struct conf *conf = conf_read_bytes("x.cf", text, length, &fault);
    assert_null(conf);
    assert_string_equal(fault.text, message);
}

static void assert_refused(const char *text, const char *message)
{
    assert_bytes_refused(text, strlen(text), message);
}

static void an_empty_file_has_no_entries(void **state)
{
    (void)state;
    static const char *const empty[] = {"", "\n", "\n\n  \n\t\n", "# a = b\n", "  # a = b", "\r\n"};
    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        struct conf *conf = read_text(empty[i]);
        assert_int_equal(conf->count, 0);
        assert_null(conf_find(conf, "a"));
        conf_free(conf);
    }
}

static void white_space_around_name_and_value_goes(void **state)
{
    (void)state;
    assert_value("a=b", "a", "b");
    assert_value("a = b\n", "a", "b");
    assert_value("a\t =\t  b c \t\n", "a", "b c");
    assert_value("a =\n", "a", "");
    assert_value("a =  \t \n", "a", "");
    assert_value("a = b  c", "a", "b  c");
}

static void only_the_first_equals_sign_divides(void **state)
{
    (void)state;
    assert_value("query = SELECT 1 WHERE a='%s' = b\n", "query", "SELECT 1 WHERE a='%s' = b");
    assert_value("a==b", "a", "=b");
}

static void a_hash_inside_a_line_is_no_comment(void **state)
{
    (void)state;
    assert_value("a = b # c\n", "a", "b # c");
    assert_value("a = #b\n", "a", "#b");
}

static void a_line_that_starts_with_white_space_continues(void **state)
{
    (void)state;
    assert_value("a = b\n  c\n\td\ne = f\n", "a", "b  c\td");
    assert_value("a =\n  b", "a", "b");
    assert_value("a\n = b\n", "a", "b");
}

static void comments_and_empty_lines_do_not_end_a_continued_line(void **state)
{
    (void)state;
    const char *text = "a = b\n# one\n  # two\n\n   \n  c\n# three\nd = e\n";
    assert_value(text, "a", "b  c");
    assert_value(text, "d", "e");
}

static void the_last_setting_of_a_name_wins_and_none_is_forgotten(void **state)
{
    (void)state;
    struct conf *conf = read_text("a = 1\nb = 2\na = 3\n");
    assert_int_equal(conf->count, 3);
    assert_string_equal(conf_find(conf, "a")->value, "3");
    assert_int_equal(conf_find(conf, "a")->line, 3);
    assert_string_equal(conf_find(conf, "b")->value, "2");
    assert_null(conf_find(conf, "A"));
    conf_free(conf);
}

static void an_entry_knows_the_line_it_starts_on(void **state)
{
    (void)state;
    struct conf *conf = read_text("# one\n\na = b\n  c\n\n# six\nd = e");
    assert_int_equal(conf->entries[0].line, 3);
    assert_int_equal(conf->entries[1].line, 7);
    conf_free(conf);
}

static void line_ends_of_windows_are_taken(void **state)
{
    (void)state;
    assert_value("a = b\r\n  c\r\n\r\nd = e\r\n", "a", "b  c");
    assert_value("a = b\r\nd =\r\n", "d", "");
}

static void bytes_that_are_not_ascii_pass_as_they_are(void **state)
{
    (void)state;
    assert_value("a = \xc3\xbc\xff\x01z\n", "a", "\xc3\xbc\xff\x01z");
}

static void a_line_without_an_equals_sign_is_refused(void **state)
{
    (void)state;
    assert_refused("a = b\nrole primary\n", "x.cf:2: no '=' after \"role\"");
    assert_refused("role", "x.cf:1: no '=' after \"role\"");
    assert_refused("a = b\n\n\xef\xbb\xbf\n", "x.cf:3: no '=' after \"\xef\xbb\xbf\"");
}

static void a_name_with_white_space_inside_is_refused(void **state)
{
    (void)state;
    assert_refused("a b = c", "x.cf:1: no '=' after \"a\"");
}

static void a_value_without_a_name_is_refused(void **state)
{
    (void)state;
    assert_refused("a = b\n= c\n", "x.cf:2: no name before '='");
}

static void a_continuation_of_nothing_is_refused(void **state)
{
    (void)state;
    const char *message = "x.cf:2: starts with white space, which continues the line before it, "
                          "but there is none";
    assert_refused("# a\n b = c\n", message);
    assert_refused("\n\tb = c\n", message);
}

static void a_nul_is_refused_with_its_line(void **state)
{
    (void)state;
    assert_bytes_refused("a = b\nc\0d = e\n", 14, "x.cf:2: holds a NUL byte; is this a text file?");
    assert_bytes_refused("# \0\n", 4, "x.cf:1: holds a NUL byte; is this a text file?");
}

static void many_entries_are_all_kept(void **state)
{
    (void)state;
    char text[20000] = "";
    size_t length = 0;
    for (int i = 0; i < 1000; i++)
        length += (size_t)sprintf(text + length, "name%d = value%d\n", i, i);
    struct conf *conf = read_text(text);
    assert_int_equal(conf->count, 1000);
    for (int i = 0; i < 1000; i++) {
        char value[32];
        sprintf(value, "value%d", i);
        assert_string_equal(conf->entries[i].value, value);
    }
    conf_free(conf);
}

/* A scratch directory for the tests of real files. */
static int make_scratch(void **state)
{
    char *path = strdup("/tmp/test_conf.XXXXXX");
    *state = path;
    return mkdtemp(path) ? 0 : -1;
}

static int remove_scratch(void **state)
{
    int result = rmdir(*state);
    free(*state);
    return result;
}

static void write_file(const char *path, const char *bytes, size_t length)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static void assert_file_refused(const char *path, const char *message)
{
    struct fault fault = {0};
    char expected[FAULT_MAX];
    snprintf(expected, sizeof expected, "%s: %s", path, message);
    assert_null(conf_read(path, &fault));
    assert_string_equal(fault.text, expected);
}

static void a_file_is_read_with_its_path_in_the_messages(void **state)
{
    char path[256], expected[300];
    snprintf(path, sizeof path, "%s/a.cf", (char *)*state);
    write_file(path, "a = b", 5);
    struct fault fault = {0};
    struct conf *conf = conf_read(path, &fault);
    assert_non_null(conf);
    assert_string_equal(conf->path, path);
    assert_string_equal(conf_find(conf, "a")->value, "b");
    conf_free(conf);

    write_file(path, "a", 1);
    snprintf(expected, sizeof expected, "%s:1: no '=' after \"a\"", path);
    assert_null(conf_read(path, &fault));
    assert_string_equal(fault.text, expected);
    unlink(path);
}

static void what_is_no_readable_plain_file_is_refused(void **state)
{
    char path[256];
    assert_file_refused(*state, "is a directory, not a plain file");
    snprintf(path, sizeof path, "%s/none.cf", (char *)*state);
    assert_file_refused(path, "cannot be opened: No such file or directory");
    snprintf(path, sizeof path, "%s/fifo", (char *)*state);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_file_refused(path, "is a device, pipe or socket, not a plain file"); /* and at once */
    unlink(path);
}

static void a_file_is_read_up_to_its_largest_size_and_not_beyond(void **state)
{
    char path[256];
    snprintf(path, sizeof path, "%s/large.cf", (char *)*state);
    char *bytes = malloc(CONF_FILE_MAX + 1);
    assert_non_null(bytes);
    memset(bytes, 'x', CONF_FILE_MAX + 1);
    memcpy(bytes, "a = ", 4);
    write_file(path, bytes, CONF_FILE_MAX);
    struct fault fault = {0};
    struct conf *conf = conf_read(path, &fault);
    assert_non_null(conf);
    assert_int_equal(strlen(conf_find(conf, "a")->value), CONF_FILE_MAX - 4);
    conf_free(conf);

    write_file(path, bytes, CONF_FILE_MAX + 1);
    assert_file_refused(path, "is larger than 1048576 bytes; is this a configuration file?");
    free(bytes);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_has_no_entries),
        cmocka_unit_test(white_space_around_name_and_value_goes),
        cmocka_unit_test(only_the_first_equals_sign_divides),
        cmocka_unit_test(a_hash_inside_a_line_is_no_comment),
        cmocka_unit_test(a_line_that_starts_with_white_space_continues),
        cmocka_unit_test(comments_and_empty_lines_do_not_end_a_continued_line),
        cmocka_unit_test(the_last_setting_of_a_name_wins_and_none_is_forgotten),
        cmocka_unit_test(an_entry_knows_the_line_it_starts_on),
        cmocka_unit_test(line_ends_of_windows_are_taken),
        cmocka_unit_test(bytes_that_are_not_ascii_pass_as_they_are),
        cmocka_unit_test(a_line_without_an_equals_sign_is_refused),
        cmocka_unit_test(a_name_with_white_space_inside_is_refused),
        cmocka_unit_test(a_value_without_a_name_is_refused),
        cmocka_unit_test(a_continuation_of_nothing_is_refused),
        cmocka_unit_test(a_nul_is_refused_with_its_line),
        cmocka_unit_test(many_entries_are_all_kept),
        cmocka_unit_test_setup_teardown(a_file_is_read_with_its_path_in_the_messages, make_scratch,
                                        remove_scratch),
        cmocka_unit_test_setup_teardown(what_is_no_readable_plain_file_is_refused, make_scratch,
                                        remove_scratch),
        cmocka_unit_test_setup_teardown(a_file_is_read_up_to_its_largest_size_and_not_beyond,
                                        make_scratch, remove_scratch),
    };
    return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
