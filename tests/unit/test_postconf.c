/* What postconf prints, read; and how a program is run that will not end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "milter/doctor_view.h"
#include "milter/postconf.h"
#include "milter/postconf_run.h"

static const char fields[] = "smtp/inet/service = smtp\nsmtp/inet/chroot = -\n"
                             "smtp/inet/command = smtpd -o x=y\n"
                             "/run/a b/unix/chroot = y\n/run/a b/unix/command = smtpdx\n";

static void a_service_has_its_own_value_before_main_cfs(void **state)
{
    (void)state;
    struct postconf *postconf =
        postconf_parse("soft_bounce = no\nempty =\nnot a setting\nequation = a = b\n",
                       "smtp/inet/soft_bounce = yes\n/run/a b/unix/empty = x\n", fields);
    assert_string_equal(postconf_value(postconf, NULL, "soft_bounce"), "no");
    assert_string_equal(postconf_value(postconf, "smtp/inet", "soft_bounce"), "yes");
    assert_string_equal(postconf_value(postconf, "2525/inet", "soft_bounce"), "no");
    assert_string_equal(postconf_value(postconf, "/run/a b/unix", "empty"), "x");
    assert_string_equal(postconf_value(postconf, NULL, "empty"), "");
    assert_string_equal(postconf_value(postconf, NULL, "none"), "");
    assert_string_equal(postconf_value(postconf, NULL, "equation"), "a = b");
    assert_true(postconf_overrides(postconf, "smtp/inet", "soft_bounce"));
    assert_false(postconf_overrides(postconf, "smtp/inet", "empty"));
    assert_false(postconf_overrides(postconf, NULL, "soft_bounce"));
    postconf_free(postconf);
}

static bool is_chrooted(const char *main_cf)
{
    size_t count;
    struct postconf *postconf = postconf_parse(main_cf, "", fields);
    const struct postconf_service *services = postconf_services(postconf, &count);
    assert_int_equal(count, 2);
    assert_string_equal(services[0].name, "smtp/inet");
    assert_true(services[0].smtpd);
    assert_true(services[1].chroot);
    assert_false(services[1].smtpd);
    bool chrooted = services[0].chroot;
    postconf_free(postconf);
    return chrooted;
}

static void a_dash_in_the_chroot_column_depends_on_the_compatibility_level(void **state)
{
    (void)state;
    assert_true(is_chrooted("compatibility_level = 0\n"));
    assert_true(is_chrooted(""));
    assert_false(is_chrooted("compatibility_level = 1\n"));
    assert_false(is_chrooted("compatibility_level = 3.6\n"));
}

static void words_end_at_commas_and_blanks_outside_of_braces(void **state)
{
    (void)state;
    static const char *const words[] = {"hash:/a", "inline:{ {a = b c}, d=e }", "x", "{y, z}"};
    const char *at = " hash:/a,, inline:{ {a = b c}, d=e }\tx {y, z} ";
    char word[64];
    for (size_t i = 0; i < 4; i++) {
        assert_true(postconf_next(&at, word, sizeof word));
        assert_string_equal(word, words[i]);
    }
    assert_false(postconf_next(&at, word, sizeof word));
    at = "{ never closed, at all";
    assert_true(postconf_next(&at, word, sizeof word));
    assert_false(postconf_next(&at, word, sizeof word));
    assert_true(postconf_list_has("a, Reject", "reject"));
    assert_false(postconf_list_has("a, rejected", "reject"));
}

static void a_word_too_long_is_cut_and_the_next_one_found(void **state)
{
    (void)state;
    const char *at = "0123456789 b";
    char word[4];
    assert_true(postconf_next(&at, word, sizeof word));
    assert_string_equal(word, "012");
    assert_true(postconf_next(&at, word, sizeof word));
    assert_string_equal(word, "b");
}

static void a_milters_own_settings_are_told_from_its_endpoint(void **state)
{
    (void)state;
    struct doctor_milter milter;
    const char *at = "{ unix:a/b, default_action=accept,command_timeout=1s }, inet:h:1 {} {";
    assert_true(doctor_next_milter(&at, &milter));
    assert_string_equal(milter.endpoint, "unix:a/b");
    assert_string_equal(milter.settings, "default_action=accept,command_timeout=1s ");
    assert_true(doctor_next_milter(&at, &milter));
    assert_string_equal(milter.endpoint, "inet:h:1");
    assert_string_equal(milter.settings, "");
    for (int i = 0; i < 2; i++) {
        assert_true(doctor_next_milter(&at, &milter));
        assert_string_equal(milter.endpoint, "");
    }
    assert_false(doctor_next_milter(&at, &milter));
}

/* ---- running it ---- */

static char *run(const char *const argv[], int64_t ms, struct fault *fault)
{
    fault_clear(fault);
    return postconf_run(argv, deadline_in_ms(ms), fault);
}

static void what_a_program_prints_is_read_and_nothing_else(void **state)
{
    (void)state;
    struct fault fault;
    const char *argv[] = {"sh", "-c", "echo out; echo err >&2", NULL};
    char *output = run(argv, 30000, &fault);
    assert_string_equal(output, "out\n");
    free(output);
}

static void a_program_that_fails_says_why(void **state)
{
    (void)state;
    struct fault fault;
    const char *argv[] = {"sh", "-c", "echo a warning >&2; echo the reason >&2; exit 1", NULL};
    assert_null(run(argv, 30000, &fault));
    assert_non_null(strstr(fault.text, "sh -c failed: the reason"));
    const char *none[] = {"no-such-program", NULL};
    assert_null(run(none, 30000, &fault));
    assert_non_null(strstr(fault.text, "no-such-program: No such file"));
}

static void a_program_that_does_not_end_is_ended(void **state)
{
    (void)state;
    struct fault fault;
    const char *argv[] = {"sh", "-c", "exec sleep 600", NULL};
    int64_t before = clock_mono_ms();
    assert_null(run(argv, 50, &fault));
    assert_non_null(strstr(fault.text, "in time"));
    assert_true(clock_mono_ms() - before < 60000);
}

static void a_program_that_prints_without_end_is_ended(void **state)
{
    (void)state;
    struct fault fault;
    const char *argv[] = {"yes", "", NULL};
    assert_null(run(argv, 60000, &fault));
    assert_non_null(strstr(fault.text, "too much"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_service_has_its_own_value_before_main_cfs),
        cmocka_unit_test(a_dash_in_the_chroot_column_depends_on_the_compatibility_level),
        cmocka_unit_test(words_end_at_commas_and_blanks_outside_of_braces),
        cmocka_unit_test(a_word_too_long_is_cut_and_the_next_one_found),
        cmocka_unit_test(a_milters_own_settings_are_told_from_its_endpoint),
        cmocka_unit_test(what_a_program_prints_is_read_and_nothing_else),
        cmocka_unit_test(a_program_that_fails_says_why),
        cmocka_unit_test(a_program_that_does_not_end_is_ended),
        cmocka_unit_test(a_program_that_prints_without_end_is_ended),
    };
    return cmocka_run_group_tests_name("postconf", tests, NULL, NULL);
}
