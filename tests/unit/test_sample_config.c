/* The sample configuration and rcpt-milter.conf(5) are held against the rows, so that a parameter
 * cannot be added, dropped or given another default in one place alone. Runs in the project's
 * folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/settings.h"
#include "shared/text.h"

#define SAMPLE "config/rcpt-milter.conf"
#define MANUAL "packaging/man/rcpt-milter.conf.5"

enum { DOCUMENT_MAX = 65536, LINES_MAX = 2000 };

/* One document, cut into lines. */
struct document {
    const char *path;
    char bytes[DOCUMENT_MAX];
    char *lines[LINES_MAX];
    size_t count;
};

static struct document sample = {.path = SAMPLE}, manual = {.path = MANUAL};

/* Those that belong to later work. Whoever makes one work takes it off this list, and its
 * documents are then wrong until they say what it does. */
static const char *const without_effect[] = {""};

static bool document_read(struct document *document)
{
    FILE *file = fopen(document->path, "r");
    if (!file)
        return false;
    size_t length = fread(document->bytes, 1, DOCUMENT_MAX - 1, file);
    bool whole = length < DOCUMENT_MAX - 1 && !ferror(file);
    fclose(file);
    document->bytes[length] = '\0';
    for (char *line = strtok(document->bytes, "\n"); line; line = strtok(NULL, "\n"))
        if (document->count < LINES_MAX)
            document->lines[document->count++] = line;
    return whole && document->count < LINES_MAX;
}

static int read_documents(void **state)
{
    (void)state;
    return document_read(&sample) && document_read(&manual) ? 0 : -1;
}

static const char name_bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789_";

/* Is it `#name =` or `#name = value`? Prose has a space after its '#'. */
static bool sample_parameter(const char *line, char name[64], const char **value)
{
    if (line[0] != '#')
        return false;
    size_t length = strspn(line + 1, name_bytes);
    const char *rest = line + 1 + length;
    if (length == 0 || length >= 64 || strncmp(rest, " =", 2) != 0)
        return false;
    memcpy(name, line + 1, length);
    name[length] = '\0';
    *value = rest[2] == ' ' ? rest + 3 : rest + 2;
    return true;
}

/* Is it `.It Cm name Pq "default: value"`? The value loses its `\&`. */
static bool manual_parameter(const char *line, char name[64], char value[512])
{
    static const char start[] = ".It Cm ", middle[] = " Pq \"default: ";
    if (strncmp(line, start, strlen(start)) != 0)
        return false;
    line += strlen(start);
    size_t length = strspn(line, name_bytes), line_length = strlen(line);
    if (length == 0 || length >= 64 || line_length >= 512 || line[line_length - 1] != '"' ||
        strncmp(line + length, middle, strlen(middle)) != 0)
        return false;
    memcpy(name, line, length);
    name[length] = '\0';
    struct text text = text_on(value, 512);
    for (const char *c = line + length + strlen(middle); c[1]; c++)
        if (strncmp(c, "\\&", 2) == 0)
            c++;
        else
            text_add_char(&text, *c);
    return true;
}

static void the_sample_shows_every_parameter_once_in_order_with_its_default(void **state)
{
    (void)state;
    size_t count, next = 0;
    const struct setting_row *rows = settings_rows(&count);
    for (size_t i = 0; i < sample.count; i++) {
        char name[64];
        const char *value;
        if (!sample_parameter(sample.lines[i], name, &value))
            continue;
        if (next == count)
            fail_msg("%s: one too many", name);
        assert_string_equal(name, rows[next].name);
        assert_string_equal(value, rows[next].default_value);
        next++;
    }
    if (next < count)
        fail_msg("%s is missing in " SAMPLE, rows[next].name);
}

static void the_sample_holds_nothing_else_but_comments(void **state)
{
    (void)state;
    for (size_t i = 0; i < sample.count; i++) {
        const char *line = sample.lines[i];
        char name[64];
        const char *value;
        bool comment = strcmp(line, "#") == 0 || strncmp(line, "# ", 2) == 0;
        if (!comment && !sample_parameter(line, name, &value))
            fail_msg("neither a comment nor a parameter: %s", line);
    }
}

static void every_parameter_of_the_sample_has_a_comment_of_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < sample.count; i++) {
        char name[64], before[64];
        const char *value;
        if (sample_parameter(sample.lines[i], name, &value) &&
            (i == 0 || sample_parameter(sample.lines[i - 1], before, &value)))
            fail_msg("%s has no comment", name);
    }
}

/* The sample with its parameters in force, in a file whose path is written to `path`. */
static void write_sample_in_force(char *path)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    assert_non_null(file);
    for (size_t i = 0; i < sample.count; i++) {
        char name[64];
        const char *value, *line = sample.lines[i];
        fprintf(file, "%s\n", line + (sample_parameter(line, name, &value) ? 1 : 0));
    }
    assert_int_equal(fclose(file), 0);
}

static void the_sample_in_force_is_the_defaults(void **state)
{
    (void)state;
    char path[] = "/tmp/test_sample_config.XXXXXX";
    write_sample_in_force(path);
    struct fault fault = {0};
    struct settings *settings = settings_load(path, NULL, 0, &fault);
    unlink(path);
    if (!settings)
        fail_msg("%s", fault.text);
    size_t count;
    const struct setting_row *rows = settings_rows(&count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(settings->origins[i].value, rows[i].default_value);
        assert_false(settings->origins[i].changed);
        assert_string_not_equal(settings->origins[i].where, "default");
    }
    settings_free(settings);
}

static void the_sample_as_it_is_loads_and_sets_nothing(void **state)
{
    (void)state;
    struct fault fault = {0};
    struct settings *settings = settings_load(SAMPLE, NULL, 0, &fault);
    if (!settings)
        fail_msg("%s", fault.text);
    size_t count;
    settings_rows(&count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(settings->origins[i].where, "default");
    settings_free(settings);
}

static void the_manual_has_every_parameter_once_in_order_with_its_default(void **state)
{
    (void)state;
    size_t count, next = 0;
    const struct setting_row *rows = settings_rows(&count);
    for (size_t i = 0; i < manual.count; i++) {
        char name[64], value[512];
        if (!manual_parameter(manual.lines[i], name, value))
            continue;
        if (next == count)
            fail_msg("%s: one too many", name);
        assert_string_equal(name, rows[next].name);
        assert_string_equal(value,
                            rows[next].default_value[0] ? rows[next].default_value : "empty");
        next++;
    }
    if (next < count)
        fail_msg("%s is missing in " MANUAL, rows[next].name);
}

/* Does the text about the parameter, before it in the sample, hold the phrase? */
static bool sample_says(const char *wanted, const char *phrase)
{
    bool said = false;
    for (size_t i = 0; i < sample.count; i++) {
        char name[64];
        const char *value, *line = sample.lines[i];
        if (!sample_parameter(line, name, &value))
            said = said || strcasestr(line, phrase);
        else if (strcmp(name, wanted) == 0)
            return said;
        else
            said = false;
    }
    return false;
}

/* Does the text about the parameter, behind it in the manual, hold the phrase? */
static bool manual_says(const char *wanted, const char *phrase)
{
    char name[64] = "", value[512];
    for (size_t i = 0; i < manual.count; i++) {
        const char *line = manual.lines[i];
        if (strncmp(line, ".Sh", 3) == 0)
            name[0] = '\0';
        else if (!manual_parameter(line, name, value) && strcmp(name, wanted) == 0 &&
                 strcasestr(line, phrase))
            return true;
    }
    return false;
}

static void assert_both_say(const char *name, const char *phrase, bool wanted)
{
    if (sample_says(name, phrase) != wanted)
        fail_msg("%s: \"%s\" in " SAMPLE, name, phrase);
    if (manual_says(name, phrase) != wanted)
        fail_msg("%s: \"%s\" in " MANUAL, name, phrase);
}

static void a_parameter_says_that_it_has_no_effect_where_it_has_none(void **state)
{
    (void)state;
    size_t count;
    const struct setting_row *rows = settings_rows(&count);
    for (size_t i = 0; i < count; i++) {
        bool wanted = false;
        for (size_t j = 0; j < sizeof without_effect / sizeof without_effect[0]; j++)
            wanted = wanted || strcmp(without_effect[j], rows[i].name) == 0;
        assert_both_say(rows[i].name, "no effect yet", wanted);
    }
}

static void a_parameter_says_that_it_needs_a_restart_where_it_does(void **state)
{
    (void)state;
    size_t count;
    const struct setting_row *rows = settings_rows(&count);
    for (size_t i = 0; i < count; i++)
        assert_both_say(rows[i].name, "needs a restart", rows[i].needs_restart);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sample_shows_every_parameter_once_in_order_with_its_default),
        cmocka_unit_test(the_sample_holds_nothing_else_but_comments),
        cmocka_unit_test(every_parameter_of_the_sample_has_a_comment_of_its_own),
        cmocka_unit_test(the_sample_in_force_is_the_defaults),
        cmocka_unit_test(the_sample_as_it_is_loads_and_sets_nothing),
        cmocka_unit_test(the_manual_has_every_parameter_once_in_order_with_its_default),
        cmocka_unit_test(a_parameter_says_that_it_has_no_effect_where_it_has_none),
        cmocka_unit_test(a_parameter_says_that_it_needs_a_restart_where_it_does),
    };
    return cmocka_run_group_tests_name("sample_config", tests, read_documents, NULL);
}
