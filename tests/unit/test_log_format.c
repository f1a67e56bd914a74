/* The forms of a log entry, whatever bytes a client sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include <cmocka.h>

#include "shared/log_format.h"

static char bytes[LOG_RECORD_MAX];

enum { AT_S = 1795204800 }; /* 2026-11-20 20:00:00 UTC */

static struct log_entry entry_of(const char *message, const struct log_field *fields, size_t count)
{
    return (struct log_entry){.wall_ms = AT_S * INT64_C(1000) + 7,
                              .level = LEVEL_INFO,
                              .event = "recipient",
                              .message = message,
                              .fields = fields,
                              .field_count = count};
}

static const char *text_of(const struct log_entry *entry)
{
    struct text text = text_on(bytes, sizeof bytes);
    log_format_text(entry, &text);
    assert_false(text.overflow);
    return bytes;
}

static const char *json_of(const struct log_entry *entry)
{
    struct text text = text_on(bytes, sizeof bytes);
    log_format_json(entry, "rcpt-milter", &text);
    assert_false(text.overflow);
    return bytes;
}

/* Of a journal's record the value of one field; NULL. */
static const char *journal_field(const struct log_entry *entry, enum log_form form,
                                 const char *name)
{
    struct text text = text_on(bytes, sizeof bytes);
    log_format_journal(entry, form, "rm", LOG_MAIL, &text);
    assert_false(text.overflow);
    for (size_t at = 0; at < text.length; at += strlen(bytes + at) + 1)
        if (strncmp(bytes + at, name, strlen(name)) == 0 && bytes[at + strlen(name)] == '=')
            return bytes + at + strlen(name) + 1;
    return NULL;
}

static const struct log_field recipient_fields[] = {
    {"client_address", "192.0.2.1", LOG_IN_MESSAGE},
    {"from", "", LOG_ADDRESS},
    {"to", "x@y", LOG_ADDRESS},
    {"role", "primary", LOG_WORD},
    {"verdict", "unknown on a primary", LOG_SENTENCE},
    {"age", "12", LOG_SECONDS},
};
enum { RECIPIENT_FIELDS = sizeof recipient_fields / sizeof *recipient_fields };

static void a_line_of_text_is_the_message_and_its_fields(void **state)
{
    (void)state;
    struct log_entry entry = entry_of("NOQUEUE: reject: RCPT from a[192.0.2.1]: 450 4.1.1 no",
                                      recipient_fields, RECIPIENT_FIELDS);
    assert_string_equal(text_of(&entry),
                        "NOQUEUE: reject: RCPT from a[192.0.2.1]: 450 4.1.1 no; from=<> to=<x@y> "
                        "role=primary verdict=\"unknown on a primary\" age=12s");
    struct log_entry plain = entry_of("stopped", recipient_fields, 1);
    plain.level = LEVEL_WARNING;
    assert_string_equal(text_of(&plain), "warning: stopped");
}

static void a_json_line_has_every_field_by_name(void **state)
{
    (void)state;
    struct log_entry entry = entry_of("m", recipient_fields, RECIPIENT_FIELDS);
    assert_string_equal(
        json_of(&entry),
        "{\"time\":\"2026-11-20T20:00:00.007Z\",\"level\":\"info\",\"program\":\"rcpt-milter\","
        "\"event\":\"recipient\",\"message\":\"m\",\"client_address\":\"192.0.2.1\",\"from\":\"\","
        "\"to\":\"x@y\",\"role\":\"primary\",\"verdict\":\"unknown on a primary\",\"age\":12}");
}

static void the_journal_gets_every_field_by_name(void **state)
{
    (void)state;
    struct log_entry entry = entry_of("m", recipient_fields, RECIPIENT_FIELDS);
    assert_string_equal(
        journal_field(&entry, LOG_TEXT, "MESSAGE"),
        "m; from=<> to=<x@y> role=primary verdict=\"unknown on a primary\" age=12s");
    assert_string_equal(journal_field(&entry, LOG_TEXT, "PRIORITY"), "6");
    assert_string_equal(journal_field(&entry, LOG_TEXT, "SYSLOG_IDENTIFIER"), "rm");
    assert_string_equal(journal_field(&entry, LOG_TEXT, "SYSLOG_FACILITY"), "2");
    assert_string_equal(journal_field(&entry, LOG_TEXT, "RCPT_MILTER_EVENT"), "recipient");
    assert_string_equal(journal_field(&entry, LOG_TEXT, "RCPT_MILTER_VERDICT"),
                        "unknown on a primary");
    assert_string_equal(journal_field(&entry, LOG_TEXT, "RCPT_MILTER_CLIENT_ADDRESS"), "192.0.2.1");
    assert_string_equal(journal_field(&entry, LOG_TEXT, "RCPT_MILTER_AGE"), "12");
    assert_null(journal_field(&entry, LOG_TEXT, "RCPT_MILTER_HELD"));
    assert_int_equal(journal_field(&entry, LOG_JSON, "MESSAGE")[0], '{');
}

struct hostile {
    const char *value, *address, *sentence, *json;
};

static const struct hostile hostile[] = {
    {"a> role=fallback", "a\\x3e role=fallback", "a> role=fallback", "a> role=fallback"},
    {"x\" why=\"y", "x\" why=\"y", "x' why='y", "x\\\" why=\\\"y"},
    {"a\nb\x7f", "a\\x0ab\\x7f", "a\\x0ab\\x7f", "a\\u000ab\\u007f"},
    {"\xff\xc3", "\\xff\\xc3", "\\xff\\xc3", "\\\\xff\\\\xc3"},
    {"caf\xc3\xa9 \xf0\x9f\x90\xa6", "caf\xc3\xa9 \xf0\x9f\x90\xa6", "caf\xc3\xa9 \xf0\x9f\x90\xa6",
     "caf\xc3\xa9 \xf0\x9f\x90\xa6"},
    {"\xc2\x85|\xe2\x80\xae|", "\\xc2\\x85|\\xe2\\x80\\xae|", "\\xc2\\x85|\\xe2\\x80\\xae|",
     "\\u0085|\\u202e|"},
    {"back\\slash", "back\\slash", "back\\slash", "back\\\\slash"},
    {"}{\",\"level\":\"x", "}{\",\"level\":\"x", "}{',\'level':'x", "}{\\\",\\\"level\\\":\\\"x"},
};

static void no_value_can_end_its_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        char expected[256];
        struct log_field fields[] = {{"to", hostile[i].value, LOG_ADDRESS},
                                     {"why", hostile[i].value, LOG_SENTENCE}};
        struct log_entry entry = entry_of("m", fields, 2);
        snprintf(expected, sizeof expected, "m; to=<%s> why=\"%s\"", hostile[i].address,
                 hostile[i].sentence);
        assert_string_equal(text_of(&entry), expected);
        snprintf(expected, sizeof expected, ",\"to\":\"%s\",\"why\":\"%s\"}", hostile[i].json,
                 hostile[i].json);
        assert_non_null(strstr(json_of(&entry), expected));
    }
}

static void every_form_of_any_bytes_is_utf8_in_one_line(void **state)
{
    (void)state;
    for (unsigned a = 1; a < 256; a++) {
        char value[] = {(char)a, (char)(a * 7 + 1), (char)(a ^ 0x80), 'x', '\0'};
        struct log_field fields[] = {{"to", value, LOG_ADDRESS}, {"why", value, LOG_SENTENCE}};
        struct log_entry entry = entry_of(value, fields, 2);
        struct text text = text_on(bytes, sizeof bytes);
        log_format_text(&entry, &text);
        log_format_json(&entry, "p", &text);
        assert_true(text_is_utf8(bytes, text.length));
        for (size_t i = 0; i < text.length; i++)
            assert_true((unsigned char)bytes[i] >= ' ' && bytes[i] != 0x7f);
    }
}

/* The worst: every byte is written as four or six, and there are as many fields as can be. */
static void what_comes_after_an_endless_value_is_there(void **state)
{
    (void)state;
    static char endless[3 * LOG_RECORD_MAX];
    static const char fillers[] = "\x01\xff\"a<";
    for (const char *filler = fillers; *filler; filler++) {
        struct log_field fields[LOG_FIELDS_MAX];
        memset(endless, *filler, sizeof endless - 1);
        for (size_t i = 0; i < LOG_FIELDS_MAX; i++)
            fields[i] = (struct log_field){"a_name_that_is_as_long_as_it_may", endless,
                                           i % 2 ? LOG_ADDRESS : LOG_SENTENCE};
        fields[LOG_FIELDS_MAX - 1] = (struct log_field){"last", "one", LOG_WORD};
        struct log_entry entry = entry_of(endless, fields, LOG_FIELDS_MAX);
        const char *text = text_of(&entry);
        assert_string_equal(text + strlen(text) - 9, " last=one");
        assert_non_null(strstr(text, "...\" "));
        const char *json = json_of(&entry);
        assert_string_equal(json + strlen(json) - 15, "\",\"last\":\"one\"}");
        assert_string_equal(journal_field(&entry, LOG_JSON, "RCPT_MILTER_LAST"), "one");
    }
}

static void a_cut_value_is_not_longer_than_it_may_be(void **state)
{
    (void)state;
    static char endless[2 * LOG_VALUE_MAX];
    memset(endless, 'a', sizeof endless - 1);
    struct log_field field = {"to", endless, LOG_ADDRESS};
    struct log_entry entry = entry_of("m", &field, 1);
    assert_int_equal(strlen(text_of(&entry)), strlen("m; to=<>") + LOG_VALUE_MAX);
    memset(endless, '\0', sizeof endless);
    memset(endless, 'a', LOG_VALUE_MAX - 3);
    assert_null(strstr(text_of(&entry), "..."));
}

static void priorities_are_those_of_syslog(void **state)
{
    (void)state;
    assert_int_equal(log_priority(LEVEL_ERROR), LOG_ERR);
    assert_int_equal(log_priority(LEVEL_DEBUG), LOG_DEBUG);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_of_text_is_the_message_and_its_fields),
        cmocka_unit_test(a_json_line_has_every_field_by_name),
        cmocka_unit_test(the_journal_gets_every_field_by_name),
        cmocka_unit_test(no_value_can_end_its_field),
        cmocka_unit_test(every_form_of_any_bytes_is_utf8_in_one_line),
        cmocka_unit_test(what_comes_after_an_endless_value_is_there),
        cmocka_unit_test(a_cut_value_is_not_longer_than_it_may_be),
        cmocka_unit_test(priorities_are_those_of_syslog),
    };
    return cmocka_run_group_tests_name("log_format", tests, NULL, NULL);
}
