/* What `rcptctl learn` takes from a line, and how it tells its progress. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "milter/command_learn.h"
#include "milter/progress.h"
#include "shared/address.h"

struct line_case {
    const char *line;
    const char *key; /* "" is not a recipient, NULL is nothing at all */
};

static void check_line(const char *line, size_t length, const char *key)
{
    struct digest found, expected;
    enum learn_line result = command_learn_line(line, length, &found);
    if (result != (!key ? LEARN_NOTHING : *key ? LEARN_KEY : LEARN_BAD))
        fail_msg("%s: %d", line, result);
    if (result != LEARN_KEY)
        return;
    expected = digest_shared(key, strlen(key));
    if (!digest_equal(&found, &expected))
        fail_msg("%s: another key than %s", line, key);
}

static void a_line_is_a_recipient_or_nothing_or_bad(void **state)
{
    (void)state;
    static const struct line_case cases[] = {
        {"alice@example.com", "alice@example.com"},
        {"Alice@EXAMPLE.com", "alice@example.com"},
        {"alice@example.com OK", "alice@example.com"},
        {"alice@example.com\tbob@example.com, carol@example.com", "alice@example.com"},
        {"alice@example.com\r", "alice@example.com"},
        {"  alice@example.com  ", "alice@example.com"},
        {"<alice@example.com>", "alice@example.com"},
        {"<#1@example.com>", "#1@example.com"},
        {"\"a b\"@example.com OK", "\"a b\"@example.com"},
        {"\"a\\\" b\"@example.com OK", "\"a\\\" b\"@example.com"},
        {"\"plain\"@example.com", "plain@example.com"},
        {"\xc3\xbcmit@example.com", "\xc3\xbcmit@example.com"},
        {"o'brien@example.com", "o'brien@example.com"},
        {"';DROP/**/TABLE/**/users@example.com", ""},
        {"a@[192.0.2.1]", "a@[192.0.2.1]"},
        {"@example.com", "@example.com"},
        {"@EXAMPLE.com OK", "@example.com"},
        {"", NULL},
        {" \t\r", NULL},
        {"# alice@example.com", NULL},
        {"  #", NULL},
        {"alice", ""},
        {"example.com OK", ""},
        {"postmaster", ""},
        {"@", ""},
        {"@@example.com", ""},
        {"@a.example,@b.example:alice@example.com", ""},
        {"alice@example.com,bob@example.com", ""},
        {"alice@@example.com", ""},
        {"alice@example..com", ""},
        {"\"alice@example.com OK", ""},
        {"al\x01ice@example.com", ""},
        {"al\x1b[31mice@example.com", ""},
        {"\xff\xfe@example.com", ""},
        {"alice@", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_line(cases[i].line, strlen(cases[i].line), cases[i].key);
    check_line("a\0b@example.com", 15, "");
    check_line("\0", 1, "");
}

static void what_is_learned_is_what_is_looked_up(void **state)
{
    (void)state;
    static const char *const spellings[] = {"Alice@Example.COM",
                                            "\"A b\"@example.com",
                                            "\xc3\xbc@example.com",
                                            "\"x\"@[IPv6:2001:DB8::1]",
                                            "JU\xcc\x88RGEN@M\xc3\x9cNCHEN.example",
                                            "a@XN--Mnchen-3ya.example"};
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        struct address address;
        struct address_probes probes;
        assert_int_equal(address_parse(spellings[i], strlen(spellings[i]), &address), ADDRESS_OK);
        address_probes(&address, "+", &probes);
        check_line(spellings[i], strlen(spellings[i]), probes.key[0]);
        char catch_all[ADDRESS_DOMAIN_MAX + 2];
        snprintf(catch_all, sizeof catch_all, "@%s", address.domain);
        check_line(catch_all, strlen(catch_all), probes.key[probes.count - 1]);
    }
}

static void a_line_of_any_length_is_judged(void **state)
{
    (void)state;
    char line[5100];
    memset(line, 'a', sizeof line);
    check_line(line, 5000, "");
    memcpy(line + 5000, "@example.com", 12);
    check_line(line, 5012, "");
    memset(line, '@', sizeof line);
    check_line(line, 5000, "");
    memset(line, '"', sizeof line);
    check_line(line, 4999, "");
    memset(line, ' ', sizeof line);
    check_line(line, 5000, NULL);
    memcpy(line + 5000, "b@example.com", 13);
    check_line(line, 5013, "b@example.com");
}

static void the_progress_never_wraps_at_any_width(void **state)
{
    (void)state;
    struct progress progress = {.stored = 18446744073709551615u, .done = 45, .whole = 100};
    for (unsigned columns = 1; columns < 200; columns++) {
        char line[PROGRESS_COLUMNS_MAX];
        memset(line, 'x', sizeof line);
        progress_line(&progress, 12345678901234, columns, line);
        size_t most = columns < PROGRESS_COLUMNS_MAX ? columns : PROGRESS_COLUMNS_MAX;
        assert_non_null(memchr(line, '\0', most));
    }
}

static void the_progress_shows_percent_where_the_end_is_known(void **state)
{
    (void)state;
    struct progress progress = {.stored = 4500000, .done = 45, .whole = 100};
    char line[PROGRESS_COLUMNS_MAX];
    progress_line(&progress, 10000, 60, line);
    assert_string_equal(line, " 45% [=========>           ] 4500000 stored, 450000/s, 10 s");
    progress_line(&progress, 10000, 40, line);
    assert_string_equal(line, " 45% 4500000 stored, 450000/s, 10 s");
    progress.done = 200; /* it grew while it was read */
    progress_line(&progress, 10000, 60, line);
    assert_string_equal(line, "100% [=====================] 4500000 stored, 450000/s, 10 s");
    progress.whole = 0;
    progress_line(&progress, 10000, 60, line);
    assert_string_equal(line, "4500000 stored, 450000/s, 10 s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_a_recipient_or_nothing_or_bad),
        cmocka_unit_test(what_is_learned_is_what_is_looked_up),
        cmocka_unit_test(a_line_of_any_length_is_judged),
        cmocka_unit_test(the_progress_never_wraps_at_any_width),
        cmocka_unit_test(the_progress_shows_percent_where_the_end_is_known),
    };
    if (!digest_init())
        return 1;
    return cmocka_run_group_tests_name("learn", tests, NULL, NULL);
}
