#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/fault.h"
#include "shared/log.h"
#include "shared/counters.h"
#include "shared/text.h"
#include "shared/trace.h"

/* text: building */

static void what_is_added_follows_what_was_there(void **state)
{
    (void)state;
    char buffer[32];
    struct text text = text_on(buffer, sizeof buffer);
    assert_string_equal(buffer, "");
    text_add(&text, "one");
    text_add_char(&text, ' ');
    text_add_bytes(&text, "twoX", 3);
    text_addf(&text, " %d", 3);
    assert_string_equal(buffer, "one two 3");
    assert_int_equal(text.length, strlen(buffer));
    assert_false(text.overflow);
}

static void a_text_that_just_fits_is_no_overflow(void **state)
{
    (void)state;
    char buffer[6];
    struct text text = text_on(buffer, sizeof buffer);
    text_add(&text, "abcde");
    assert_false(text.overflow);
    text_add(&text, "");
    text_addf(&text, "%s", "");
    assert_false(text.overflow);
    text_add_char(&text, 'f');
    assert_true(text.overflow);
    assert_string_equal(buffer, "abcde");
}

static void a_formatted_text_is_cut_at_the_end(void **state)
{
    (void)state;
    char buffer[6];
    struct text text = text_on(buffer, sizeof buffer);
    text_addf(&text, "%d", 12345);
    assert_false(text.overflow);
    assert_string_equal(buffer, "12345");
    text = text_on(buffer, sizeof buffer);
    text_addf(&text, "%d", 123456);
    assert_true(text.overflow);
    assert_string_equal(buffer, "12345");
    assert_int_equal(text.length, 5);
}

static void one_byte_of_room_holds_the_empty_text(void **state)
{
    (void)state;
    char buffer[2] = {'x', 'x'};
    struct text text = text_on(buffer, 1);
    text_add(&text, "a");
    text_addf(&text, "%c", 'a');
    text_add_printable(&text, "a", 1);
    assert_true(text.overflow);
    assert_string_equal(buffer, "");
    assert_int_equal(buffer[1], 'x');
}

static void nothing_is_added_after_an_overflow(void **state)
{
    (void)state;
    char buffer[8];
    struct text text = text_on(buffer, sizeof buffer);
    text_add(&text, "abcde");
    text_add_printable(&text, "\xf0\x9f\x98\x80", 4); /* no room for four bytes */
    assert_true(text.overflow);
    text_add_char(&text, 'f');
    text_addf(&text, "%s", "g");
    text_add_printable(&text, "h", 1);
    assert_string_equal(buffer, "abcde");
    assert_int_equal(text.length, 5);
}

static void a_nul_can_be_added(void **state)
{
    (void)state;
    char buffer[8];
    struct text text = text_on(buffer, sizeof buffer);
    text_add_bytes(&text, "a\0b", 3);
    assert_int_equal(text.length, 3);
    assert_memory_equal(buffer, "a\0b", 4);
}

/* text: printing and UTF-8 */

static void assert_printable(const char *bytes, size_t length, const char *expected)
{
    char buffer[64];
    struct text text = text_on(buffer, sizeof buffer);
    text_add_printable(&text, bytes, length);
    assert_string_equal(buffer, expected);
    assert_false(text.overflow);
}

static void control_bytes_are_escaped(void **state)
{
    (void)state;
    assert_printable("a\r\nb\t\033[m\177", 9, "a\\x0d\\x0ab\\x09\\x1b[m\\x7f");
    assert_printable("a\0b", 3, "a\\x00b");
}

static void what_ends_or_turns_a_line_in_unicode_is_escaped(void **state)
{
    (void)state;
    assert_printable("a\xe2\x80\xa8z", 5, "a\\xe2\\x80\\xa8z"); /* U+2028 */
    assert_printable("\xe2\x80\xae", 3, "\\xe2\\x80\\xae");     /* U+202E */
    assert_printable("\xe2\x81\xa6", 3, "\\xe2\\x81\\xa6");     /* U+2066 */
    assert_printable("\xe2\x81\xa9", 3, "\\xe2\\x81\\xa9");     /* U+2069 */
    assert_printable("\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa", 12,
                     "\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa");
}

static void c1_controls_are_escaped_with_both_bytes(void **state)
{
    (void)state;
    assert_printable("\xc2\x85", 2, "\\xc2\\x85");
    assert_printable("\xc2\x9f-", 3, "\\xc2\\x9f-");
    assert_printable("\xc2\xa0", 2, "\xc2\xa0");
}

static void utf8_stays_and_other_bytes_are_escaped(void **state)
{
    (void)state;
    assert_printable("\xc3\xa9\xf0\x9f\x98\x80", 6, "\xc3\xa9\xf0\x9f\x98\x80");
    assert_printable("\xe9t\xe9", 3, "\\xe9t\\xe9");
    assert_printable("\xf0\x9f\x98", 3, "\\xf0\\x9f\\x98");
    assert_printable("\xc0\xaf", 2, "\\xc0\\xaf");
}

static void a_backslash_stays_one(void **state)
{
    (void)state;
    assert_printable("\\x41", 4, "\\x41");
}

static void a_printed_text_is_cut_between_characters(void **state)
{
    (void)state;
    static const char bytes[] = "\xc3\xa9\x01\xc2\x85\xf0\x9f\x98\x80"; /* printed: 2+4+8+4 */
    for (size_t capacity = 1; capacity <= 19; capacity++) {
        char buffer[32];
        struct text text = text_on(buffer, capacity);
        text_add_printable(&text, bytes, sizeof bytes - 1);
        size_t room = capacity - 1;
        size_t expected = room >= 18 ? 18 : room >= 14 ? 14 : room >= 6 ? 6 : room >= 2 ? 2 : 0;
        assert_int_equal(text.length, expected);
        assert_int_equal(strlen(buffer), expected);
        assert_int_equal(text.overflow, room < 18);
        assert_true(text_is_utf8(buffer, expected));
    }
}

/* Counts what RFC 3629 allows, one length at a time: 128 characters of one byte, 1920 of two,
 * 65536 - 2048 - 2048 surrogates of three. */
static void as_many_sequences_are_utf8_as_there_are_characters(void **state)
{
    (void)state;
    size_t count[4] = {0};
    for (uint32_t number = 0; number < 0x1000000; number++) {
        char bytes[3] = {(char)(number >> 16), (char)(number >> 8), (char)number};
        size_t size = text_utf8_sequence(bytes, 3);
        /* Each short sequence is counted once, with zeros behind it. */
        if (size == 3 || (size == 2 && bytes[2] == 0) || (size == 1 && !bytes[1] && !bytes[2]))
            count[size]++;
    }
    assert_int_equal(count[1], 0x80);
    assert_int_equal(count[2], 0x800 - 0x80);
    assert_int_equal(count[3], 0x10000 - 0x800 - 0x800);
}

static void four_byte_sequences_end_at_u10ffff(void **state)
{
    (void)state;
    assert_int_equal(text_utf8_sequence("\xf0\x90\x80\x80", 4), 4);
    assert_int_equal(text_utf8_sequence("\xf0\x8f\xbf\xbf", 4), 0);
    assert_int_equal(text_utf8_sequence("\xf4\x8f\xbf\xbf", 4), 4);
    assert_int_equal(text_utf8_sequence("\xf4\x90\x80\x80", 4), 0);
    assert_int_equal(text_utf8_sequence("\xf5\x80\x80\x80", 4), 0);
    assert_int_equal(text_utf8_sequence("\xf0\x90\x80\x41", 4), 0);
}

static void a_sequence_ends_with_the_length(void **state)
{
    (void)state;
    assert_int_equal(text_utf8_sequence("", 0), 0);
    assert_int_equal(text_utf8_sequence("\xc3\xa9", 1), 0);
    assert_int_equal(text_utf8_sequence("\xf0\x9f\x98\x80", 3), 0);
    assert_true(text_is_utf8("", 0));
    assert_true(text_is_utf8("a\0\xc3\xa9", 4));
    assert_false(text_is_utf8("a\xc3\xa9", 2));
}

/* text: words and numbers */

static void only_ascii_letters_are_folded(void **state)
{
    (void)state;
    char string[] = "@AZ[`az{\xc3\x89";
    text_lower_ascii(string);
    assert_string_equal(string, "@az[`az{\xc3\x89");
}

static void words_are_the_same_in_any_case(void **state)
{
    (void)state;
    assert_true(text_same_word("", ""));
    assert_true(text_same_word("PostMaster", "pOSTmASTER"));
    assert_false(text_same_word("post", "postmaster"));
    assert_false(text_same_word("postmaster", "post"));
    assert_false(text_same_word("@", "`")); /* these differ by the bit that letters differ by */
    assert_false(text_same_word("[", "{"));
    assert_false(text_same_word("\xc3\x89", "\xc3\xa9"));
}

static void the_distance_counts_edits(void **state)
{
    (void)state;
    assert_int_equal(text_distance("", ""), 0);
    assert_int_equal(text_distance("role", "role"), 0);
    assert_int_equal(text_distance("", "role"), 4);
    assert_int_equal(text_distance("role", ""), 4);
    assert_int_equal(text_distance("roles", "role"), 1);
    assert_int_equal(text_distance("rule", "role"), 1);
    assert_int_equal(text_distance("rloe", "role"), 1);
    assert_int_equal(text_distance("kitten", "sitting"), 3);
    assert_int_equal(text_distance("ca", "abc"), 3); /* a pair once swapped is not edited again */
}

static void the_distance_of_endless_names_is_far(void **state)
{
    (void)state;
    char name[200];
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = '\0';
    assert_true(text_distance(name, "role") >= 64);
    assert_true(text_distance("role", name) >= 64);
    name[63] = '\0';
    assert_int_equal(text_distance(name, name), 0);
    assert_int_equal(text_distance(name, ""), 63);
}

static void a_number_is_digits_and_nothing_else(void **state)
{
    (void)state;
    static const char *const bad[] = {"", " 1", "1 ", "+1", "-1", "0x1", "1.0", "1e3", "\xd9\xa1"};
    uint64_t number = 77;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(text_to_number(bad[i], UINT64_MAX, &number));
    assert_int_equal(number, 77);
    assert_true(text_to_number("0042", UINT64_MAX, &number));
    assert_int_equal(number, 42);
}

static void a_number_ends_at_its_maximum(void **state)
{
    (void)state;
    uint64_t number;
    assert_true(text_to_number("18446744073709551615", UINT64_MAX, &number));
    assert_true(number == UINT64_MAX);
    assert_false(text_to_number("18446744073709551616", UINT64_MAX, &number));
    assert_false(text_to_number("99999999999999999999999", UINT64_MAX, &number));
    assert_true(text_to_number("32", 32, &number));
    assert_false(text_to_number("33", 32, &number));
    assert_true(text_to_number("0", 0, &number));
    assert_false(text_to_number("1", 0, &number));
}

/* fault */

static void a_fault_holds_its_sentence(void **state)
{
    (void)state;
    struct fault fault = {"old"};
    fault_set(&fault, "cannot open %s: %d", "x", 5);
    assert_string_equal(fault.text, "cannot open x: 5");
    fault_clear(&fault);
    assert_string_equal(fault.text, "");
}

static void the_context_comes_before_the_sentence(void **state)
{
    (void)state;
    struct fault fault;
    fault_set(&fault, "no such host");
    fault_within(&fault, "line %d", 7);
    fault_within(&fault, "%s", "main.cf");
    assert_string_equal(fault.text, "main.cf: line 7: no such host");
}

static void a_fault_may_be_made_of_itself(void **state)
{
    (void)state;
    struct fault fault;
    fault_set(&fault, "one");
    fault_set(&fault, "%s two", fault.text);
    assert_string_equal(fault.text, "one two");
}

static void a_fault_is_safe_to_log(void **state)
{
    (void)state;
    struct fault fault;
    fault_set(&fault, "bad name \"%s\"", "a\nb\033");
    assert_string_equal(fault.text, "bad name \"a\\x0ab\\x1b\"");
    fault_within(&fault, "%s", "file\r");
    assert_string_equal(fault.text, "file\\x0d: bad name \"a\\x0ab\\x1b\"");
}

static void an_endless_fault_is_cut(void **state)
{
    (void)state;
    char endless[3 * FAULT_MAX];
    memset(endless, 'a', sizeof endless);
    endless[sizeof endless - 1] = '\0';
    struct fault fault;
    fault_set(&fault, "%s", endless);
    assert_int_equal(strlen(fault.text), FAULT_MAX - 1);
    fault_within(&fault, "%s", "context");
    assert_int_equal(strlen(fault.text), FAULT_MAX - 1);
    assert_int_equal(strncmp(fault.text, "context: aaa", 12), 0);
    memset(endless, '\n', sizeof endless - 1); /* four bytes each when printed */
    fault_set(&fault, "%s", endless);
    assert_int_equal(strlen(fault.text), (FAULT_MAX - 1) / 4 * 4);
}

static void nobody_need_ask_for_the_fault(void **state)
{
    (void)state;
    fault_set(NULL, "%s", "x");
    fault_within(NULL, "%s", "x");
    fault_clear(NULL);
}

/* trace */

static void a_trace_is_lines_in_order(void **state)
{
    (void)state;
    static struct trace trace;
    trace_start(&trace);
    assert_string_equal(trace.bytes, "");
    trace_add(&trace, "key %s", "u@d.test");
    trace_add(&trace, "a\nb");
    trace_add(&trace, "%s", "");
    assert_string_equal(trace.bytes, "key u@d.test\na\\x0ab\n\n");
    assert_int_equal(trace.length, strlen(trace.bytes));
    trace_start(&trace);
    assert_string_equal(trace.bytes, "");
}

static void a_trace_nobody_asked_for_is_nothing(void **state)
{
    (void)state;
    trace_add(NULL, "%s", "x");
}

static void a_full_trace_ends_with_a_whole_line_ending(void **state)
{
    (void)state;
    static struct trace trace;
    for (int width = 1; width < 400; width += 7) {
        trace_start(&trace);
        for (int i = 0; i < TRACE_MAX; i++) {
            trace_add(&trace, "%*d", width, i);
            assert_in_range(trace.length, 1, TRACE_MAX - 1);
            assert_int_equal(trace.bytes[trace.length - 1], '\n');
            assert_int_equal(trace.bytes[trace.length], '\0');
        }
        assert_in_range(trace.length, TRACE_MAX - 2, TRACE_MAX - 1);
        assert_int_equal(strncmp(trace.bytes + width - 1, "0\n", 2), 0);
    }
}

/* log: what goes to standard error is caught in a file */

struct caught {
    char bytes[64 * 1024];
    size_t length;
    int saved; /* the real standard error */
    FILE *file;
};

static void catch_start(struct caught *caught)
{
    caught->file = tmpfile();
    assert_non_null(caught->file);
    fcntl(fileno(caught->file), F_SETFL, O_APPEND);
    caught->saved = dup(STDERR_FILENO);
    assert_true(caught->saved >= 0);
    assert_int_equal(dup2(fileno(caught->file), STDERR_FILENO), STDERR_FILENO);
}

static void catch_stop(struct caught *caught)
{
    dup2(caught->saved, STDERR_FILENO);
    close(caught->saved);
    rewind(caught->file);
    caught->length = fread(caught->bytes, 1, sizeof caught->bytes - 1, caught->file);
    caught->bytes[caught->length] = '\0';
    fclose(caught->file);
}

static int quiet_again(void **state)
{
    (void)state;
    log_open(true, "", LOG_MAIL);
    log_set_level(LEVEL_INFO);
    return 0;
}

static void a_threshold_lets_through_what_is_as_grave(void **state)
{
    (void)state;
    static struct caught caught;
    static const char *const expected[] = {
        [LEVEL_ERROR] = "t: error: 1\n",
        [LEVEL_WARNING] = "t: error: 1\nt: warning: 2\n",
        [LEVEL_INFO] = "t: error: 1\nt: warning: 2\nt: 3\n",
        [LEVEL_DEBUG] = "t: error: 1\nt: warning: 2\nt: 3\nt: 4\n",
    };
    for (enum log_level level = LEVEL_ERROR; level <= LEVEL_DEBUG; level++) {
        catch_start(&caught);
        log_open(true, "t", LOG_MAIL);
        log_set_level(level);
        log_error("%d", 1);
        log_warning("%d", 2);
        log_info("%d", 3);
        log_debug("%d", 4);
        catch_stop(&caught);
        assert_string_equal(caught.bytes, expected[level]);
        assert_true(log_enabled(level));
        assert_int_equal(log_enabled(LEVEL_DEBUG), level == LEVEL_DEBUG);
    }
}

static void nobody_can_forge_a_line(void **state)
{
    (void)state;
    static struct caught caught;
    catch_start(&caught);
    log_open(true, "t", LOG_MAIL);
    log_info("to=<%s>", "a\nerror: forged\r\033[2J");
    catch_stop(&caught);
    assert_string_equal(caught.bytes, "t: to=<a\\x0aerror: forged\\x0d\\x1b[2J>\n");
}

static void an_endless_line_is_cut_and_ended(void **state)
{
    (void)state;
    static struct caught caught;
    static char endless[3 * LOG_LINE_MAX];
    memset(endless, 'a', sizeof endless - 1);
    catch_start(&caught);
    log_open(true, "t", LOG_MAIL);
    log_error("%s", endless);
    catch_stop(&caught);
    assert_int_equal(caught.length, strlen("t: error: ") + LOG_LINE_MAX + 1);
    assert_int_equal(strncmp(caught.bytes, "t: error: aaa", 13), 0);
    assert_string_equal(caught.bytes + caught.length - 5, "a...\n");
}

enum { WRITERS = 4, LINES = 100 };

static void *write_lines(void *argument)
{
    const char *word = argument;
    for (int i = 0; i < LINES; i++)
        log_info("%s %s %s", word, word, word);
    return NULL;
}

static void lines_of_several_threads_do_not_mix(void **state)
{
    (void)state;
    static struct caught caught;
    static char *const words[WRITERS] = {"alpha", "beta", "gamma", "delta"};
    pthread_t threads[WRITERS];
    catch_start(&caught);
    for (int i = 0; i < WRITERS; i++)
        pthread_create(&threads[i], NULL, write_lines, words[i]);
    for (int i = 0; i < LINES; i++)
        log_open(true, i % 2 ? "odd" : "even", LOG_MAIL); /* a reload under the lines */
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    catch_stop(&caught);

    int lines = 0;
    char *rest = NULL;
    for (char *line = strtok_r(caught.bytes, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        bool known = false;
        for (int i = 0; i < WRITERS && !known; i++) {
            char end[64];
            snprintf(end, sizeof end, "%s %s %s", words[i], words[i], words[i]);
            const char *colon = strstr(line, ": ");
            known = strcmp(colon ? colon + 2 : line, end) == 0;
        }
        if (!known)
            fail_msg("a mixed line: %s", line);
        lines++;
    }
    assert_int_equal(lines, WRITERS * LINES);
}

/* Last: it starts the log's thread. */
static void nobody_waits_for_a_log_that_is_not_read(void **state)
{
    (void)state;
    static char endless[LOG_LINE_MAX - 100];
    int out[2], saved = dup(STDERR_FILENO);
    assert_true(log_start());
    assert_int_equal(pipe(out), 0);
    dup2(out[1], STDERR_FILENO);
    close(out[1]);
    log_open(true, "t", LOG_MAIL);
    memset(endless, 'a', sizeof endless - 1);
    for (int i = 0; i < 3000; i++) /* more than the pipe and the queue hold */
        log_info("%d %s", i, endless);
    assert_true(counter_get(COUNT_log_lines_lost) > 0);
    log_drain(10); /* comes back all the same */

    FILE *reader = fdopen(out[0], "r");
    static char line[2 * LOG_LINE_MAX];
    int next = 0, number = 0;
    unsigned long lost = 0;
    while (lost == 0 && fgets(line, sizeof line, reader)) {
        if (sscanf(line, "t: %d a", &number) == 1)
            assert_int_equal(number, next++); /* in order, none twice */
        else
            assert_int_equal(sscanf(line, "t: warning: %lu lines", &lost), 1);
    }
    assert_int_equal(lost, counter_get(COUNT_log_lines_lost));
    assert_int_equal(next + lost, 3000);
    log_drain(10000);
    log_info("and on it goes");
    assert_non_null(fgets(line, sizeof line, reader));
    assert_string_equal(line, "t: and on it goes\n");
    dup2(saved, STDERR_FILENO);
    close(saved);
    fclose(reader);
}

static void plain_text_ends_at_the_first_byte_that_needs_a_look(void **state)
{
    (void)state;
    assert_int_equal(text_plain_length("a ~", 3), 3);
    assert_int_equal(text_plain_length("a ~", 2), 2);
    assert_int_equal(text_plain_length("", 0), 0);
    assert_int_equal(text_plain_length("a\x1f", 2), 1);
    assert_int_equal(text_plain_length("a\x7f", 2), 1);
    assert_int_equal(text_plain_length("a\xc3\xa9", 3), 1);
    assert_int_equal(text_plain_length("a\0b", 3), 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text_ends_at_the_first_byte_that_needs_a_look),
        cmocka_unit_test(what_is_added_follows_what_was_there),
        cmocka_unit_test(a_text_that_just_fits_is_no_overflow),
        cmocka_unit_test(a_formatted_text_is_cut_at_the_end),
        cmocka_unit_test(one_byte_of_room_holds_the_empty_text),
        cmocka_unit_test(nothing_is_added_after_an_overflow),
        cmocka_unit_test(a_nul_can_be_added),
        cmocka_unit_test(control_bytes_are_escaped),
        cmocka_unit_test(c1_controls_are_escaped_with_both_bytes),
        cmocka_unit_test(what_ends_or_turns_a_line_in_unicode_is_escaped),
        cmocka_unit_test(utf8_stays_and_other_bytes_are_escaped),
        cmocka_unit_test(a_backslash_stays_one),
        cmocka_unit_test(a_printed_text_is_cut_between_characters),
        cmocka_unit_test(as_many_sequences_are_utf8_as_there_are_characters),
        cmocka_unit_test(four_byte_sequences_end_at_u10ffff),
        cmocka_unit_test(a_sequence_ends_with_the_length),
        cmocka_unit_test(only_ascii_letters_are_folded),
        cmocka_unit_test(words_are_the_same_in_any_case),
        cmocka_unit_test(the_distance_counts_edits),
        cmocka_unit_test(the_distance_of_endless_names_is_far),
        cmocka_unit_test(a_number_is_digits_and_nothing_else),
        cmocka_unit_test(a_number_ends_at_its_maximum),
        cmocka_unit_test(a_fault_holds_its_sentence),
        cmocka_unit_test(the_context_comes_before_the_sentence),
        cmocka_unit_test(a_fault_may_be_made_of_itself),
        cmocka_unit_test(a_fault_is_safe_to_log),
        cmocka_unit_test(an_endless_fault_is_cut),
        cmocka_unit_test(nobody_need_ask_for_the_fault),
        cmocka_unit_test(a_trace_is_lines_in_order),
        cmocka_unit_test(a_trace_nobody_asked_for_is_nothing),
        cmocka_unit_test(a_full_trace_ends_with_a_whole_line_ending),
        cmocka_unit_test_teardown(a_threshold_lets_through_what_is_as_grave, quiet_again),
        cmocka_unit_test_teardown(nobody_can_forge_a_line, quiet_again),
        cmocka_unit_test_teardown(an_endless_line_is_cut_and_ended, quiet_again),
        cmocka_unit_test_teardown(lines_of_several_threads_do_not_mix, quiet_again),
        cmocka_unit_test_teardown(nobody_waits_for_a_log_that_is_not_read, quiet_again),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
