#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shared/endpoint.h"
#include "shared/text.h"

struct good_row {
    const char *claim;
    const char *text;
    struct endpoint endpoint;
    const char *printed; /* NULL: as it was written */
    const char *libmilter;
};

static const struct good_row good_rows[] = {
    {"an_empty_text_is_no_endpoint", "", {.kind = ENDPOINT_NONE}, NULL, ""},
    {"a_unix_socket_is_read",
     "unix:/run/x.sock",
     {.kind = ENDPOINT_UNIX, .path = "/run/x.sock"},
     NULL,
     "local:/run/x.sock"},
    {"a_colon_in_a_path_is_text",
     "unix:/run/a:b",
     {.kind = ENDPOINT_UNIX, .path = "/run/a:b"},
     NULL,
     "local:/run/a:b"},
    {"a_host_name_and_port_are_read",
     "inet:my_host.example.test:8891",
     {.kind = ENDPOINT_INET, .host = "my_host.example.test", .port = 8891},
     NULL,
     "inet:8891@my_host.example.test"},
    {"an_ipv4_address_is_read",
     "inet:127.0.0.1:1",
     {.kind = ENDPOINT_INET, .host = "127.0.0.1", .port = 1},
     NULL,
     "inet:1@127.0.0.1"},
    {"an_ipv6_address_in_brackets_is_read",
     "inet:[::1]:65535",
     {.kind = ENDPOINT_INET, .host = "::1", .ipv6_literal = true, .port = 65535},
     NULL,
     "inet6:65535@[::1]"},
    {"an_ipv4_address_may_have_brackets_too",
     "inet:[127.0.0.1]:25",
     {.kind = ENDPOINT_INET, .host = "127.0.0.1", .port = 25},
     "inet:127.0.0.1:25",
     "inet:25@127.0.0.1"},
};

struct bad_row {
    const char *claim;
    const char *text;
    const char *fault; /* a part of the sentence */
};

static const struct bad_row bad_rows[] = {
    {"a_path_alone_is_refused", "/run/x.sock", "unix:/path or inet:host:port"},
    {"the_form_of_libmilter_is_refused", "inet6:8891@::1", "unix:/path or inet:host:port"},
    {"a_local_socket_of_libmilter_is_refused", "local:/run/x", "unix:/path or inet:host:port"},
    {"the_type_has_one_case", "UNIX:/run/x", "unix:/path or inet:host:port"},
    {"a_relative_path_is_refused", "unix:private/x", "must begin with /"},
    {"a_unix_socket_without_path_is_refused", "unix:", "must begin with /"},
    {"a_blank_in_a_path_is_refused", "unix:/run/a b", "no blanks"},
    {"a_blank_before_a_socket_is_refused", " inet:a:1", "no blanks"},
    {"a_line_feed_is_refused_and_not_logged", "unix:/run/a\nb", "a\\x0ab"},
    {"two_sockets_are_refused", "unix:/run/a inet:b:1", "no blanks"},
    {"a_host_without_port_is_refused", "inet:localhost", "write inet:host:port"},
    {"a_port_without_host_is_refused", "inet::8891", "no host name"},
    {"port_zero_is_refused", "inet:a:0", "from 1 to 65535"},
    {"a_port_above_65535_is_refused", "inet:a:65536", "from 1 to 65535"},
    {"a_port_that_wraps_is_refused", "inet:a:18446744073709551617", "from 1 to 65535"},
    {"an_empty_port_is_refused", "inet:a:", "from 1 to 65535"},
    {"a_negative_port_is_refused", "inet:a:-1", "from 1 to 65535"},
    {"a_service_name_is_refused", "inet:a:smtp", "from 1 to 65535"},
    {"an_ipv6_address_without_brackets_is_refused", "inet:::1:8891", "in brackets"},
    {"a_bracket_that_does_not_close_is_refused", "inet:[::1:8891", "write inet:host:port"},
    {"text_between_bracket_and_port_is_refused", "inet:[::1]x:25", "write inet:host:port"},
    {"an_ipv6_address_without_port_is_refused", "inet:[::1]", "write inet:host:port"},
    {"a_host_name_in_brackets_is_refused", "inet:[localhost]:25", "no IP address"},
    {"empty_brackets_are_refused", "inet:[]:25", "no IP address"},
    {"an_at_sign_in_a_host_is_refused", "inet:25@host:25", "no host name"},
};

enum {
    GOOD_ROWS = sizeof good_rows / sizeof *good_rows,
    BAD_ROWS = sizeof bad_rows / sizeof *bad_rows,
};

static void check_good_row(void **state)
{
    const struct good_row *row = *state;
    struct endpoint endpoint;
    struct fault fault = {""};
    char buffer[ENDPOINT_TEXT_MAX];

    assert_true(endpoint_parse(row->text, &endpoint, &fault));
    assert_string_equal(fault.text, "");
    assert_int_equal(endpoint.kind, row->endpoint.kind);
    assert_string_equal(endpoint.path, row->endpoint.path);
    assert_string_equal(endpoint.host, row->endpoint.host);
    assert_int_equal(endpoint.ipv6_literal, row->endpoint.ipv6_literal);
    assert_int_equal(endpoint.port, row->endpoint.port);
    endpoint_print(&endpoint, buffer, sizeof buffer);
    assert_string_equal(buffer, row->printed ? row->printed : row->text);
    endpoint_print_for_libmilter(&endpoint, buffer, sizeof buffer);
    assert_string_equal(buffer, row->libmilter);
}

static void check_bad_row(void **state)
{
    const struct bad_row *row = *state;
    struct endpoint endpoint = {.kind = ENDPOINT_UNIX, .path = "/left/over"};
    struct fault fault = {""};
    assert_false(endpoint_parse(row->text, &endpoint, &fault));
    assert_int_equal(endpoint.kind, ENDPOINT_NONE);
    if (!strstr(fault.text, row->fault))
        fail_msg("the fault is: %s", fault.text);
    assert_false(endpoint_parse(row->text, &endpoint, NULL));
}

static void fill(char *buffer, size_t size, const char *open, size_t count, const char *close)
{
    struct text text = text_on(buffer, size);
    text_add(&text, open);
    for (size_t i = 0; i < count; i++)
        text_add_char(&text, 'x');
    text_add(&text, close);
    assert_false(text.overflow);
}

static void the_longest_path_fits_and_a_longer_one_is_refused(void **state)
{
    (void)state;
    char text[512], printed[ENDPOINT_TEXT_MAX];
    struct endpoint endpoint;
    struct fault fault = {""};
    fill(text, sizeof text, "unix:/", ENDPOINT_PATH_MAX - 2, "");
    assert_true(endpoint_parse(text, &endpoint, &fault));
    endpoint_print(&endpoint, printed, sizeof printed);
    assert_string_equal(printed, text);
    fill(text, sizeof text, "unix:/", ENDPOINT_PATH_MAX - 1, "");
    assert_false(endpoint_parse(text, &endpoint, &fault));
    assert_non_null(strstr(fault.text, "at most 107 bytes, this has 108"));
}

static void the_longest_host_fits_and_a_longer_one_is_refused(void **state)
{
    (void)state;
    char text[512], printed[ENDPOINT_TEXT_MAX];
    struct endpoint endpoint;
    struct fault fault = {""};
    fill(text, sizeof text, "inet:", ENDPOINT_HOST_MAX - 1, ":65535");
    assert_true(endpoint_parse(text, &endpoint, &fault));
    endpoint_print(&endpoint, printed, sizeof printed);
    assert_string_equal(printed, text);
    fill(text, sizeof text, "inet:", ENDPOINT_HOST_MAX, ":65535");
    assert_false(endpoint_parse(text, &endpoint, &fault));
    assert_non_null(strstr(fault.text, "at most 255 bytes"));
}

int main(void)
{
    static const struct CMUnitTest functions[] = {
        cmocka_unit_test(the_longest_path_fits_and_a_longer_one_is_refused),
        cmocka_unit_test(the_longest_host_fits_and_a_longer_one_is_refused),
    };
    enum { FUNCTIONS = sizeof functions / sizeof *functions };
    static struct CMUnitTest tests[GOOD_ROWS + BAD_ROWS + FUNCTIONS];
    size_t count = 0;
    for (size_t i = 0; i < GOOD_ROWS; i++)
        tests[count++] = (struct CMUnitTest){good_rows[i].claim, check_good_row, NULL, NULL,
                                             (void *)&good_rows[i]};
    for (size_t i = 0; i < BAD_ROWS; i++)
        tests[count++] =
            (struct CMUnitTest){bad_rows[i].claim, check_bad_row, NULL, NULL, (void *)&bad_rows[i]};
    for (size_t i = 0; i < FUNCTIONS; i++)
        tests[count++] = functions[i];
    return cmocka_run_group_tests_name("endpoint", tests, NULL, NULL);
}
