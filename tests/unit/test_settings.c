/* settings: rcpt-milter.conf as a struct; what is refused and in which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/settings.h"

/* One configuration file for all tests of this program. */
static char file_path[] = "/tmp/test_settings.XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(file_path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(file_path);
}

static void write_file(const char *text)
{
    FILE *file = fopen(file_path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static struct settings *load(const char *text)
{
    struct fault fault = {0};
    write_file(text);
    struct settings *settings = settings_load(file_path, NULL, 0, &fault);
    if (!settings)
        fail_msg("%s", fault.text);
    return settings;
}

/* `message` is what follows "FILE:". */
static void assert_refused(const char *text, const char *message)
{
    struct fault fault = {0};
    char expected[FAULT_MAX];
    write_file(text);
    struct settings *settings = settings_load(file_path, NULL, 0, &fault);
    if (settings)
        fail_msg("was taken: %s", text);
    snprintf(expected, sizeof expected, "%s:%s", file_path, message);
    assert_string_equal(fault.text, expected);
}

static void assert_override_refused(const char *override, const char *message)
{
    struct fault fault = {0};
    assert_null(settings_load(NULL, &override, 1, &fault));
    assert_string_equal(fault.text, message);
}

static void the_defaults_are_those_of_the_design(void **state)
{
    (void)state;
    struct fault fault = {0};
    struct settings *settings = settings_load(NULL, NULL, 0, &fault);
    if (!settings)
        fail_msg("%s", fault.text);
    assert_int_equal(settings->role, ROLE_PRIMARY);
    assert_string_equal(settings->role_maps, "");
    assert_int_equal(settings->milter_socket.kind, ENDPOINT_UNIX);
    assert_string_equal(settings->milter_socket.path, "/var/spool/postfix/rcpt-milter/milter.sock");
    assert_int_equal(settings->milter_socket_mode, 0660);
    assert_int_equal(settings->control_socket.kind, ENDPOINT_UNIX);
    assert_string_equal(settings->control_socket.path, "/run/rcpt-milter/control.sock");
    assert_string_equal(settings->state_directory, "/var/lib/rcpt-milter");
    assert_int_equal(settings->metrics_listen.kind, ENDPOINT_NONE);

    assert_string_equal(settings->recipient_maps, "");
    assert_string_equal(settings->domain_maps, "");
    assert_string_equal(settings->access_maps, "");
    assert_string_equal(settings->recipient_delimiter, "");
    assert_int_equal(settings->lookup_deadline_ms, 5000);
    assert_int_equal(settings->lookup_slots, 12);
    assert_int_equal(settings->mysql_connect_timeout_ms, 2000);
    assert_int_equal(settings->mysql_query_timeout_ms, 2000);
    assert_int_equal(settings->mysql_connections, 4);

    assert_string_equal(settings->memcache_servers, "");
    assert_string_equal(settings->memcache_key_prefix, "rcpt-milter:");
    assert_int_equal(settings->memcache_timeout_ms, 100);
    assert_int_equal(settings->positive_ttl_s, 3600);
    assert_int_equal(settings->negative_ttl_s, 60);
    assert_int_equal(settings->stale_ttl_s, 7 * 86400);
    assert_int_equal(settings->process_cache_entries, 100000);
    assert_int_equal(settings->process_cache_ttl_ms, 5000);

    assert_int_equal(settings->known_good_ttl_s, 30 * 86400);
    assert_int_equal(settings->removal_grace_s, 86400);
    assert_int_equal(settings->max_replica_lag_s, 0);
    assert_string_equal(settings->sentinel_recipients, "");
    assert_int_equal(settings->sentinel_interval_s, 10);
    assert_int_equal(settings->vanish_limit.count, 20);
    assert_int_equal(settings->vanish_limit.window_s, 600);
    assert_int_equal(settings->outage_patience_s, 0);
    assert_int_equal(settings->escalate_after_s, 4 * 3600);

    assert_null(settings->exempt_networks);
    assert_true(settings->exempt_authenticated);
    assert_int_equal(settings->log_level, LEVEL_INFO);
    assert_false(settings->log_known);
    assert_int_equal(settings->log_format, LOG_TEXT);
    assert_int_equal(settings->log_rate_limit.count, 200);
    assert_int_equal(settings->log_rate_limit.window_s, 1);
    assert_int_equal(settings->syslog_facility, LOG_MAIL);
    assert_string_equal(settings->syslog_name, "rcpt-milter");
    settings_free(settings);
}

static void the_default_replies_have_the_codes_of_the_design(void **state)
{
    (void)state;
    struct settings *settings = settings_load(NULL, NULL, 0, NULL);
    assert_non_null(settings);
    const struct {
        const struct reply_setting *reply;
        const char *code, *enhanced;
    } wanted[] = {
        {&settings->primary_unknown_reply, "450", "4.1.1"},
        {&settings->primary_proven_reply, "550", "5.1.1"},
        {&settings->primary_unavailable_reply, "451", "4.4.3"},
        {&settings->fallback_unknown_reply, "550", "5.1.1"},
        {&settings->fallback_unavailable_reply, "550", "5.4.3"},
        {&settings->held_reply, "451", "4.4.3"},
        {&settings->malformed_reply, "550", "5.1.3"},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        assert_false(wanted[i].reply->pass);
        assert_string_equal(wanted[i].reply->code, wanted[i].code);
        assert_string_equal(wanted[i].reply->enhanced, wanted[i].enhanced);
        assert_true(strlen(wanted[i].reply->text) > 10);
    }
    assert_true(settings->foreign_reply.pass);
    settings_free(settings);
}

static void every_row_starts_as_its_default_and_says_so(void **state)
{
    (void)state;
    size_t count;
    const struct setting_row *rows = settings_rows(&count);
    struct settings *settings = settings_load(NULL, NULL, 0, NULL);
    assert_non_null(settings);
    assert_true(count > 40);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(settings->origins[i].value, rows[i].default_value);
        assert_string_equal(settings->origins[i].where, "default");
        assert_false(settings->origins[i].changed);
    }
    settings_free(settings);
}

static void a_value_of_each_type_is_read(void **state)
{
    (void)state;
    struct settings *settings = load("role = FALLBACK\n"
                                     "role_maps = inline:{a.example=primary},\n"
                                     "  mysql:/etc/x.cf\n"
                                     "milter_socket = inet:[::1]:8891\n"
                                     "milter_socket_mode = 666\n"
                                     "state_directory = /srv/x y\n"
                                     "metrics_listen = inet:127.0.0.1:9100\n"
                                     "recipient_delimiter = +-\n"
                                     "lookup_deadline = 1500ms\n"
                                     "mysql_connect_timeout = 1m\n"
                                     "mysql_query_timeout = 3000ms\n"
                                     "mysql_connections = 64\n"
                                     "memcache_key_prefix =\n"
                                     "positive_ttl = 2w\n"
                                     "stale_ttl = 15d\n"
                                     "negative_ttl = 90\n"
                                     "process_cache_entries = 0\n"
                                     "vanish_limit = 0\n"
                                     "outage_patience = 60s\n"
                                     "held_reply = pass\n"
                                     "fallback_unavailable_reply = 451 4.4.3\n"
                                     "\t later, <$recipient>\n"
                                     "exempt_networks = 127.0.0.0/8 [::1]/128\n"
                                     "exempt_authenticated = No\n"
                                     "log_level = debug\n"
                                     "syslog_facility = local3\n");
    assert_int_equal(settings->role, ROLE_FALLBACK);
    assert_string_equal(settings->role_maps, "inline:{a.example=primary},  mysql:/etc/x.cf");
    assert_int_equal(settings->milter_socket.kind, ENDPOINT_INET);
    assert_int_equal(settings->milter_socket.port, 8891);
    assert_int_equal(settings->milter_socket_mode, 0666);
    assert_string_equal(settings->state_directory, "/srv/x y");
    assert_int_equal(settings->metrics_listen.port, 9100);
    assert_string_equal(settings->recipient_delimiter, "+-");
    assert_int_equal(settings->lookup_deadline_ms, 1500);
    assert_int_equal(settings->mysql_connect_timeout_ms, 60000);
    assert_int_equal(settings->mysql_query_timeout_ms, 3000);
    assert_int_equal(settings->mysql_connections, 64);
    assert_string_equal(settings->memcache_key_prefix, "");
    assert_int_equal(settings->positive_ttl_s, 14 * 86400);
    assert_int_equal(settings->stale_ttl_s, 15 * 86400);
    assert_int_equal(settings->negative_ttl_s, 90);
    assert_int_equal(settings->process_cache_entries, 0);
    assert_int_equal(settings->vanish_limit.count, 0);
    assert_int_equal(settings->vanish_limit.window_s, 0);
    assert_int_equal(settings->outage_patience_s, 60);
    assert_true(settings->held_reply.pass);
    assert_string_equal(settings->fallback_unavailable_reply.text, "later, <$recipient>");
    assert_true(networks_contain(settings->exempt_networks, "127.1.2.3"));
    assert_true(networks_contain(settings->exempt_networks, "::1"));
    assert_false(networks_contain(settings->exempt_networks, "192.0.2.1"));
    assert_false(settings->exempt_authenticated);
    assert_int_equal(settings->log_level, LEVEL_DEBUG);
    assert_int_equal(settings->syslog_facility, LOG_LOCAL3);
    settings_free(settings);
}

static void each_time_unit_counts_as_in_main_cf(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds;
    } times[] = {{"7", 7},       {"7s", 7},     {"7m", 420}, {"7h", 25200}, {"7d", 604800},
                 {"1w", 604800}, {"1000ms", 1}, {"0", 0},    {"0w", 0},     {"007", 7}};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        char line[64];
        snprintf(line, sizeof line, "outage_patience = %s\n", times[i].text);
        struct settings *settings = load(line);
        assert_int_equal(settings->outage_patience_s, times[i].seconds);
        settings_free(settings);
    }
}

static void bounds_themselves_are_allowed_and_their_neighbours_are_not(void **state)
{
    (void)state;
    static const char *const good[] = {"lookup_deadline = 100ms",
                                       "lookup_deadline = 60s",
                                       "lookup_slots = 1",
                                       "lookup_slots = 64",
                                       "mysql_connect_timeout = 1",
                                       "mysql_query_timeout = 60",
                                       "memcache_timeout = 1ms",
                                       "memcache_timeout = 5s",
                                       "positive_ttl = 1\nstale_ttl = 1",
                                       "positive_ttl = 30d\nstale_ttl = 30d",
                                       "process_cache_entries = 100000000",
                                       "process_cache_ttl = 1h",
                                       "process_cache_ttl = 0",
                                       "milter_socket_mode = 0777",
                                       "vanish_limit = 1/1s",
                                       "vanish_limit = 10000/1d",
                                       "escalate_after = 0"};
    static const struct {
        const char *line, *message;
    } bad[] = {
        {"lookup_deadline = 99ms", "\"99ms\" is not between 100ms and 1m"},
        {"lookup_deadline = 61", "\"61\" is not between 100ms and 1m"},
        {"lookup_slots = 0", "\"0\" is not between 1 and 64"},
        {"lookup_slots = 65", "\"65\" is not between 1 and 64"},
        {"mysql_connect_timeout = 0s", "\"0s\" is not between 1s and 1m"},
        {"mysql_query_timeout = 2m", "\"2m\" is not between 1s and 1m"},
        {"mysql_connections = 18446744073709551617",
         "\"18446744073709551617\" is not between 1 and 64"},
        {"memcache_timeout = 0", "\"0\" is not between 1ms and 5s"},
        {"positive_ttl = 0", "\"0\" is not between 1s and 30d"},
        {"stale_ttl = 31d", "\"31d\" is not between 0s and 30d"},
        {"process_cache_entries = 100000001", "\"100000001\" is not between 0 and 100000000"},
        {"process_cache_ttl = 61m", "\"61m\" is not between 0s and 1h"},
        {"milter_socket_mode = 1777", "\"1777\" is not between 0000 and 0777"},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        settings_free(load(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char message[200];
        snprintf(message, sizeof message, "1: %.*s: %s", (int)strcspn(bad[i].line, " "),
                 bad[i].line, bad[i].message);
        assert_refused(bad[i].line, message);
    }
}

static void what_is_no_time_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"5 sheep",
                                        "5 s",
                                        "s",
                                        "-5",
                                        "+5",
                                        "5S",
                                        "0.5s",
                                        "5sec",
                                        "5ms5",
                                        "1h30m",
                                        "99999999999999999999",
                                        "9999999999999999w"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char line[100], message[200];
        snprintf(line, sizeof line, "role = primary\nlookup_deadline = %s\n", wrong[i]);
        snprintf(message, sizeof message,
                 "2: lookup_deadline: \"%s\" is not a time (number with ms, s, m, h, d or w)",
                 wrong[i]);
        assert_refused(line, message);
    }
    assert_refused("lookup_deadline =", "1: lookup_deadline: \"\" is not a time (number with ms, "
                                        "s, m, h, d or w)");
}

static void a_fraction_of_a_second_is_refused_where_seconds_are_counted(void **state)
{
    (void)state;
    assert_refused("mysql_query_timeout = 1500ms",
                   "1: mysql_query_timeout: \"1500ms\" is not a whole number of seconds");
    assert_refused("positive_ttl = 1500ms",
                   "1: positive_ttl: \"1500ms\" is not a whole number of seconds");
}

static void a_wrong_word_is_answered_with_the_right_ones(void **state)
{
    (void)state;
    assert_refused("role = master", "1: role: \"master\" is not one of primary fallback");
    assert_refused("role =", "1: role: \"\" is not one of primary fallback");
    assert_refused("log_known = true", "1: log_known: \"true\" is not one of yes no");
    assert_refused("log_format = xml", "1: log_format: \"xml\" is not one of text json");
    assert_refused("log_rate_limit = 200/1500ms",
                   "1: log_rate_limit: \"200/1500ms\" is not over a whole number of seconds");
    assert_refused("log_level = warn",
                   "1: log_level: \"warn\" is not one of error warning info debug");
    assert_refused("syslog_facility = kern",
                   "1: syslog_facility: \"kern\" is not one of mail daemon user auth authpriv cron "
                   "ftp lpr news syslog uucp local0 local1 local2 local3 local4 local5 local6 "
                   "local7");
}

static void what_is_no_value_of_its_type_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"lookup_slots = twelve", "\"twelve\" is not a number"},
        {"lookup_slots = -1", "\"-1\" is not a number"},
        {"lookup_slots =", "\"\" is not a number"},
        {"milter_socket_mode = 0680", "\"0680\" is not a mode (octal digits, such as 0660)"},
        {"milter_socket_mode = rw", "\"rw\" is not a mode (octal digits, such as 0660)"},
        {"milter_socket_mode = 00660", "\"00660\" is not a mode (octal digits, such as 0660)"},
        {"state_directory = lib", "\"lib\" is not an absolute path"},
        {"state_directory =", "must not be empty"},
        {"milter_socket =", "must not be empty: unix:/path or inet:host:port"},
        {"control_socket =", "must not be empty: unix:/path"},
        {"control_socket = inet:127.0.0.1:1",
         "\"inet:127.0.0.1:1\" is not unix:/path, and nothing else is allowed here"},
        {"recipient_delimiter = +@", "\"+@\" holds '@', which ends the local part"},
        {"recipient_delimiter = + -", "\"+ -\" holds white space or what is not ASCII"},
        {"memcache_key_prefix = a b", "\"a b\" holds a space, or what is not printable ASCII"},
        {"syslog_name = \xc3\xbc", "\"\xc3\xbc\" holds a space, or what is not printable ASCII"},
        {"syslog_name =", "must not be empty"},
        {"vanish_limit = 20", "\"20\" is not a rate (such as 20/10m, or 0 for none)"},
        {"vanish_limit = /10m", "\"/10m\" is not a rate (such as 20/10m, or 0 for none)"},
        {"vanish_limit = x/10m", "\"x/10m\": \"x\" is not a number"},
        {"vanish_limit = 0/10m", "\"0/10m\": \"0\" is not between 1 and 10000"},
        {"vanish_limit = 20/2d", "\"20/2d\": \"2d\" is not between 1s and 1d"},
        {"vanish_limit = 20/1500ms", "\"20/1500ms\" is not over a whole number of seconds"},
        {"held_reply = 450",
         "after 450 there must be an enhanced status code such as 4.1.1, not \"\""},
        {"foreign_reply = 550 4.1.1 x",
         "the reply code 550 and the enhanced status code 4.1.1 contradict each other"},
        {"role_maps = a\001b", "holds the control character \\x01"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char message[300];
        snprintf(message, sizeof message, "1: %.*s: %s", (int)strcspn(cases[i].line, " "),
                 cases[i].line, cases[i].message);
        assert_refused(cases[i].line, message);
    }
}

static void a_prefix_that_leaves_no_room_for_the_key_is_refused(void **state)
{
    (void)state;
    char line[200] = "memcache_key_prefix = ";
    size_t start = strlen(line);
    memset(line + start, 'x', 100);
    settings_free(load(line));
    line[start + 100] = 'x';
    assert_refused(line, "1: memcache_key_prefix: has 101 bytes, more than 100");
}

static void sockets_and_networks_are_refused_in_the_words_of_their_parsers(void **state)
{
    (void)state;
    static const char *const lines[] = {"milter_socket = /run/x.sock",
                                        "metrics_listen = 127.0.0.1:9100",
                                        "exempt_networks = 192.0.2.1/24"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct fault fault = {0};
        char start[200];
        write_file(lines[i]);
        assert_null(settings_load(file_path, NULL, 0, &fault));
        snprintf(start, sizeof start, "%s:1: %.*s: ", file_path, (int)strcspn(lines[i], " "),
                 lines[i]);
        assert_memory_equal(fault.text, start, strlen(start));
        assert_true(strlen(fault.text) > strlen(start));
    }
}

static void a_misspelt_name_is_answered_with_the_near_one(void **state)
{
    (void)state;
    assert_refused("role = primary\n\nlookup_deadlin = 5s",
                   "3: lookup_deadlin: unknown parameter; did you mean lookup_deadline?");
    assert_refused("fallback-unknown-reply = pass", "1: fallback-unknown-reply: unknown parameter; "
                                                    "did you mean fallback_unknown_reply?");
    assert_refused("rloe = primary", "1: rloe: unknown parameter; did you mean role?");
    assert_refused("Role = primary", "1: Role: unknown parameter; did you mean role?");
}

static void a_name_like_no_other_is_only_called_unknown(void **state)
{
    (void)state;
    assert_refused("smtpd_banner = x", "1: smtpd_banner: unknown parameter");
    assert_refused("x = y", "1: x: unknown parameter");
}

static void a_file_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    struct fault fault = {0};
    assert_null(settings_load("/nonexistent/x.conf", NULL, 0, &fault));
    assert_string_equal(fault.text,
                        "/nonexistent/x.conf: cannot be opened: No such file or directory");
}

static void the_last_setting_wins_and_the_others_are_not_judged(void **state)
{
    (void)state;
    struct settings *settings = load("lookup_slots = nonsense\nlookup_slots = 3\n");
    char where[100];
    snprintf(where, sizeof where, "%s:2", file_path);
    assert_int_equal(settings->lookup_slots, 3);
    assert_string_equal(settings_where(settings, "lookup_slots"), where);
    settings_free(settings);
}

static void an_override_beats_the_file(void **state)
{
    (void)state;
    static const char *const overrides[] = {"lookup_slots=3", " role = fallback ", "syslog_name=x",
                                            "lookup_slots=4", "role_maps="};
    struct fault fault = {0};
    write_file("lookup_slots = 2\nlookup_deadline = 3s\nsyslog_name = bad name\nrole_maps = x\n");
    struct settings *settings = settings_load(file_path, overrides, 5, &fault);
    if (!settings)
        fail_msg("%s", fault.text);
    char where[100];
    snprintf(where, sizeof where, "%s:2", file_path);
    assert_int_equal(settings->lookup_slots, 4);
    assert_int_equal(settings->role, ROLE_FALLBACK);
    assert_string_equal(settings->role_maps, "");
    assert_string_equal(settings_where(settings, "lookup_slots"), "-o");
    assert_string_equal(settings_where(settings, "lookup_deadline"), where);
    assert_string_equal(settings_where(settings, "mysql_connections"), "default");
    settings_free(settings);
}

static void a_wrong_override_is_refused(void **state)
{
    (void)state;
    assert_override_refused("lookup_slots", "-o: \"lookup_slots\" is not name=value");
    assert_override_refused("=3", "-o: \"=3\" is not name=value");
    assert_override_refused("lookup slots=3", "-o: \"lookup slots=3\" is not name=value");
    assert_override_refused("lookup_slot=3",
                            "-o: lookup_slot: unknown parameter; did you mean lookup_slots?");
    assert_override_refused("lookup_slots=x", "-o: lookup_slots: \"x\" is not a number");
    assert_override_refused("role_maps=a\nrole = fallback",
                            "-o: role_maps: holds the control character \\x0a");
}

static void names_are_put_in_from_wherever_they_were_set(void **state)
{
    (void)state;
    static const char *const overrides[] = {"syslog_name=$role-milter"};
    struct fault fault = {0};
    write_file("state_directory = /srv/$syslog_name\n"
               "memcache_key_prefix = ${memcache_servers?{yes}:{no}}$$:\n"
               "primary_unknown_reply = 450 4.1.1 $syslog_name on $mysql_connections:"
               " $recipient $$\n"
               "role_maps = ${recipient_maps? x } \n");
    struct settings *settings = settings_load(file_path, overrides, 1, &fault);
    if (!settings)
        fail_msg("%s", fault.text);
    assert_string_equal(settings->state_directory, "/srv/primary-milter");
    assert_string_equal(settings->memcache_key_prefix, "no$:");
    assert_string_equal(settings->primary_unknown_reply.text, "primary-milter on 4: $recipient $$");
    assert_string_equal(settings->role_maps, "");
    settings_free(settings);
}

static void one_reply_can_be_written_as_another(void **state)
{
    (void)state;
    struct settings *settings = load("held_reply = 450 4.1.1 held, <$recipient> costs $$1\n"
                                     "fallback_unavailable_reply = $held_reply\n");
    assert_string_equal(settings->fallback_unavailable_reply.text, "held, <$recipient> costs $$1");
    assert_string_equal(settings->fallback_unavailable_reply.code, "450");
    settings_free(settings);
}

static void an_unknown_name_after_a_dollar_is_an_error(void **state)
{
    (void)state;
    assert_refused("role_maps = $recipient_map",
                   "1: role_maps: $recipient_map: unknown parameter; did you mean "
                   "$recipient_maps?");
    assert_refused("held_reply = 450 4.1.1 <$recipent>",
                   "1: held_reply: $recipent: unknown parameter; did you mean $recipient?");
    assert_refused("role_maps = $recipient", "1: role_maps: $recipient: unknown parameter");
    assert_refused("role_maps = $mydomain", "1: role_maps: $mydomain: unknown parameter");
}

static void a_circle_of_names_is_an_error(void **state)
{
    (void)state;
    assert_refused("access_maps = x\nrole_maps = $domain_maps\ndomain_maps = $role_maps\n",
                   "2: role_maps: $domain_maps: runs in a circle: \"role_maps\"");
}

static void a_positive_answer_may_not_outlive_its_stale_form(void **state)
{
    (void)state;
    char message[300];
    snprintf(message, sizeof message,
             "1: positive_ttl = 1h (default) is longer than stale_ttl = 30m (%s:1)", file_path);
    assert_refused("stale_ttl = 30m\n", message);
    snprintf(message, sizeof message,
             "2: positive_ttl = 8d (%s:2) is longer than stale_ttl = 7d (default)", file_path);
    assert_refused("\npositive_ttl = 8d\n", message);
    struct settings *settings = load("stale_ttl = 0\n");
    assert_int_equal(settings->stale_ttl_s, 0);
    settings_free(settings);
}

static void two_sockets_may_not_be_the_same(void **state)
{
    (void)state;
    char message[300];
    snprintf(message, sizeof message,
             "1: milter_socket = unix:/x (%s:1) is the same as control_socket = unix:/x (%s:2)",
             file_path, file_path);
    assert_refused("milter_socket = unix:/x\ncontrol_socket = unix:/x\n", message);
}

static void a_held_reply_that_bounces_is_refused(void **state)
{
    (void)state;
    assert_refused("held_reply = 550 5.1.1 x", "1: held_reply: must be 4xx or pass, since it is "
                                               "given where a 5xx could be wrong");
}

static void a_primary_may_be_told_to_bounce(void **state)
{
    (void)state;
    struct settings *settings = load("primary_unknown_reply = 550 5.1.1 x");
    assert_string_equal(settings->primary_unknown_reply.code, "550");
    settings_free(settings);
}

static char *print_all(const struct settings *settings)
{
    char *bytes;
    size_t length;
    FILE *out = open_memstream(&bytes, &length);
    settings_print(settings, out);
    assert_int_equal(fclose(out), 0);
    return bytes;
}

static void what_differs_from_its_default_is_marked_in_print(void **state)
{
    (void)state;
    static const char *const overrides[] = {"lookup_slots=3"};
    char mark[200];
    write_file("role = fallback\nlookup_deadline = 5000ms\nnegative_ttl = 60s\n");
    struct settings *settings = settings_load(file_path, overrides, 1, NULL);
    assert_non_null(settings);
    char *bytes = print_all(settings);
    snprintf(mark, sizeof mark, "# set at %s:1\nrole = fallback\nrole_maps =\n", file_path);
    assert_memory_equal(bytes, mark, strlen(mark));
    assert_non_null(strstr(bytes, "\n# set with -o\nlookup_slots = 3\n"));
    /* Another way to write the default is no difference. */
    assert_non_null(strstr(bytes, "_matches_subdomains =\nlookup_deadline = 5000ms\n"));
    assert_non_null(strstr(bytes, "\npositive_ttl = 1h\nnegative_ttl = 60s\n"));
    size_t marks = 0;
    for (const char *c = bytes; (c = strstr(c, "# set")); c++)
        marks++;
    assert_int_equal(marks, 2);
    free(bytes);
    settings_free(settings);
}

static void what_print_writes_reads_back_the_same(void **state)
{
    (void)state;
    struct settings *before = load("state_directory = /srv/$$x/$role\n"
                                   "recipient_maps = static:$$$$ inline:{a=b,\n"
                                   "\t{c=d e}}\n"
                                   "held_reply = 450 4.1.1 $$ ${recipient}x $role$mysql_connections"
                                   "  y\n"
                                   "exempt_networks = 192.0.2.0/24\n"
                                   "vanish_limit = 0\nstale_ttl = 0\n"
                                   "metrics_listen = inet:[::1]:9100\n");
    char *bytes = print_all(before);
    struct settings *after = load(bytes);
    size_t count;
    const struct setting_row *rows = settings_rows(&count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(before->origins[i].value, after->origins[i].value) != 0)
            fail_msg("%s", rows[i].name);
        assert_int_equal(before->origins[i].changed, after->origins[i].changed);
    }
    assert_string_equal(after->state_directory, "/srv/$x/primary");
    assert_string_equal(after->recipient_maps, before->recipient_maps);
    assert_string_equal(after->held_reply.text, "$$ ${recipient}x ${role}4 y");
    assert_string_equal(after->held_reply.text, before->held_reply.text);
    assert_true(networks_contain(after->exempt_networks, "192.0.2.7"));
    assert_null(settings_restart_needed(before, after));
    free(bytes);
    settings_free(before);
    settings_free(after);
}

static void a_change_that_needs_a_restart_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *line, *name;
    } cases[] = {{"milter_socket = unix:/x", "milter_socket"},
                 {"milter_socket_mode = 0600", "milter_socket_mode"},
                 {"control_socket = unix:/x", "control_socket"},
                 {"state_directory = /x", "state_directory"},
                 {"metrics_listen = inet:127.0.0.1:9100", NULL},
                 {"milter_socket_mode = 660", NULL}, /* the same mode in other words */
                 {"role = fallback", NULL},
                 {"exempt_networks = 192.0.2.7", NULL}};
    struct settings *before = load("");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct settings *after = load(cases[i].line);
        const char *name = settings_restart_needed(before, after);
        assert_true(!name == !cases[i].name);
        if (name)
            assert_string_equal(name, cases[i].name);
        settings_free(after);
    }
    settings_free(before);
}

static void a_role_has_a_name_that_reads_back(void **state)
{
    (void)state;
    assert_string_equal(role_name(ROLE_PRIMARY), "primary");
    assert_string_equal(role_name(ROLE_FALLBACK), "fallback");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_are_those_of_the_design),
        cmocka_unit_test(the_default_replies_have_the_codes_of_the_design),
        cmocka_unit_test(every_row_starts_as_its_default_and_says_so),
        cmocka_unit_test(a_value_of_each_type_is_read),
        cmocka_unit_test(each_time_unit_counts_as_in_main_cf),
        cmocka_unit_test(bounds_themselves_are_allowed_and_their_neighbours_are_not),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(a_fraction_of_a_second_is_refused_where_seconds_are_counted),
        cmocka_unit_test(a_wrong_word_is_answered_with_the_right_ones),
        cmocka_unit_test(what_is_no_value_of_its_type_is_refused),
        cmocka_unit_test(a_prefix_that_leaves_no_room_for_the_key_is_refused),
        cmocka_unit_test(sockets_and_networks_are_refused_in_the_words_of_their_parsers),
        cmocka_unit_test(a_misspelt_name_is_answered_with_the_near_one),
        cmocka_unit_test(a_name_like_no_other_is_only_called_unknown),
        cmocka_unit_test(a_file_that_is_not_there_is_an_error),
        cmocka_unit_test(the_last_setting_wins_and_the_others_are_not_judged),
        cmocka_unit_test(an_override_beats_the_file),
        cmocka_unit_test(a_wrong_override_is_refused),
        cmocka_unit_test(names_are_put_in_from_wherever_they_were_set),
        cmocka_unit_test(one_reply_can_be_written_as_another),
        cmocka_unit_test(an_unknown_name_after_a_dollar_is_an_error),
        cmocka_unit_test(a_circle_of_names_is_an_error),
        cmocka_unit_test(a_positive_answer_may_not_outlive_its_stale_form),
        cmocka_unit_test(two_sockets_may_not_be_the_same),
        cmocka_unit_test(a_held_reply_that_bounces_is_refused),
        cmocka_unit_test(a_primary_may_be_told_to_bounce),
        cmocka_unit_test(what_differs_from_its_default_is_marked_in_print),
        cmocka_unit_test(what_print_writes_reads_back_the_same),
        cmocka_unit_test(a_change_that_needs_a_restart_is_named),
        cmocka_unit_test(a_role_has_a_name_that_reads_back),
    };
    return cmocka_run_group_tests_name("settings", tests, make_file, remove_file);
}
