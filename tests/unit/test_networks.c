#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shared/networks.h"

#define DEFAULT_LIST "127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128"

struct match_row {
    const char *claim;
    const char *list;
    const char *address;
    bool inside;
};

static const struct match_row match_rows[] = {
    {"an_address_is_in_its_network", "192.0.2.0/24", "192.0.2.77", true},
    {"the_first_address_of_a_network_is_inside", "192.0.2.0/24", "192.0.2.0", true},
    {"the_last_address_of_a_network_is_inside", "192.0.2.0/24", "192.0.2.255", true},
    {"the_address_before_a_network_is_outside", "192.0.2.0/24", "192.0.1.255", false},
    {"the_address_after_a_network_is_outside", "192.0.2.0/24", "192.0.3.0", false},
    {"a_prefix_may_end_inside_a_byte", "192.0.2.64/26", "192.0.2.127", true},
    {"a_prefix_inside_a_byte_has_an_end", "192.0.2.64/26", "192.0.2.128", false},
    {"a_prefix_inside_a_byte_has_a_start", "192.0.2.64/26", "192.0.2.63", false},
    {"one_bit_is_a_prefix", "128.0.0.0/1", "255.0.0.1", true},
    {"one_bit_divides", "128.0.0.0/1", "127.255.255.255", false},
    {"thirty_one_bits_are_two_addresses", "192.0.2.2/31", "192.0.2.3", true},
    {"thirty_one_bits_are_no_more", "192.0.2.2/31", "192.0.2.4", false},
    {"an_address_alone_is_one_address", "192.0.2.7", "192.0.2.7", true},
    {"an_address_alone_is_no_other", "192.0.2.7", "192.0.2.6", false},
    {"no_bits_are_every_ipv4_address", "0.0.0.0/0", "203.0.113.9", true},
    {"no_bits_of_ipv4_are_no_ipv6_address", "0.0.0.0/0", "2001:db8::1", false},
    {"no_bits_are_every_ipv6_address", "[::]/0", "2001:db8::1", true},
    {"no_bits_of_ipv6_are_no_ipv4_address", "[::]/0", "192.0.2.1", false},
    {"an_ipv6_address_is_in_its_network", "[2001:db8::]/32", "2001:db8:ffff::1", true},
    {"an_ipv6_address_outside_is_outside", "[2001:db8::]/32", "2001:db9::1", false},
    {"an_ipv6_prefix_may_end_inside_a_byte", "[2001:db8:8000::]/33", "2001:db8:8001::1", true},
    {"an_ipv6_prefix_inside_a_byte_divides", "[2001:db8:8000::]/33", "2001:db8:7fff::1", false},
    {"an_ipv6_address_alone_is_one_address", "[2001:db8::1]", "2001:db8::1", true},
    {"an_ipv6_address_alone_is_no_other", "[2001:db8::1]", "2001:db8::2", false},
    {"the_bits_may_stand_inside_the_brackets", "[2001:db8::/32]", "2001:db8::9", true},
    {"an_ipv4_network_may_have_brackets", "[192.0.2.0]/24", "192.0.2.9", true},
    {"the_spelling_of_an_ipv6_address_does_not_matter", "[2001:DB8::1]", "2001:0db8:0:0::0001",
     true},
    {"the_tag_of_the_macro_is_read", "[2001:db8::]/32", "IPv6:2001:db8::1", true},
    {"the_tag_of_the_macro_may_have_any_case", "[2001:db8::]/32", "ipv6:2001:db8::1", true},
    {"a_mapped_address_is_in_the_ipv4_network", "192.0.2.0/24", "::ffff:192.0.2.9", true},
    {"a_tagged_mapped_address_is_in_the_ipv4_network", "192.0.2.0/24", "IPv6:::ffff:192.0.2.9",
     true},
    {"a_mapped_address_is_not_in_an_ipv6_network", "[::]/0", "::ffff:192.0.2.9", false},
    {"a_mapped_network_holds_the_ipv4_address", "[::ffff:192.0.2.0]/120", "192.0.2.9", true},
    {"a_mapped_network_holds_its_last_address", "[::ffff:192.0.2.0]/120", "192.0.2.255", true},
    {"the_mapped_network_of_all_holds_every_ipv4_address", "[::ffff:0:0]/96", "203.0.113.9", true},
    {"the_mapped_network_of_all_holds_no_ipv6_address", "[::ffff:0:0]/96", "2001:db8::1", false},
    {"a_mapped_network_has_an_end", "[::ffff:192.0.2.0]/120", "192.0.3.9", false},
    {"a_mapped_network_holds_the_mapped_address", "[::ffff:192.0.2.0]/120", "::ffff:192.0.2.9",
     true},
    {"every_network_of_a_list_counts", "10.0.0.0/8,192.0.2.7 [::1]/128", "::1", true},
    {"blanks_commas_and_lines_separate", " ,10.0.0.0/8 ,\t,\n192.0.2.7,\r\n", "192.0.2.7", true},
    {"the_default_of_debian_holds_localhost", DEFAULT_LIST, "127.0.0.1", true},
    {"the_default_of_debian_holds_ipv6_localhost", DEFAULT_LIST, "IPv6:::1", true},
    {"the_default_of_debian_holds_nobody_else", DEFAULT_LIST, "128.0.0.1", false},
    {"an_unknown_client_is_outside", "0.0.0.0/0 [::]/0", "unknown", false},
    {"a_missing_client_is_outside", "0.0.0.0/0 [::]/0", NULL, false},
    {"an_empty_client_is_outside", "0.0.0.0/0 [::]/0", "", false},
    {"a_tag_alone_is_outside", "0.0.0.0/0 [::]/0", "IPv6:", false},
    {"a_client_with_text_after_it_is_outside", "0.0.0.0/0 [::]/0", "192.0.2.1 ", false},
    {"a_client_in_brackets_is_outside", "0.0.0.0/0 [::]/0", "[::1]", false},
    {"a_client_with_a_prefix_is_outside", "0.0.0.0/0", "192.0.2.0/24", false},
    {"an_empty_list_holds_nobody", "", "127.0.0.1", false},
    {"a_list_of_separators_holds_nobody", " ,\t, ", "127.0.0.1", false},
};

struct bad_row {
    const char *claim;
    const char *list;
    const char *fault; /* a part of the sentence */
};

static const struct bad_row bad_rows[] = {
    {"host_bits_are_refused_with_a_proposal", "192.0.2.1/24", "perhaps you mean 192.0.2.0/24"},
    {"host_bits_inside_a_byte_are_refused", "192.0.2.65/26", "perhaps you mean 192.0.2.64/26"},
    {"host_bits_beside_no_bits_are_refused", "192.0.2.1/0", "perhaps you mean 0.0.0.0/0"},
    {"ipv6_host_bits_are_refused", "[2001:db8::1]/32", "perhaps you mean [2001:db8::]/32"},
    {"one_bad_network_spoils_the_list", "127.0.0.0/8 192.0.2.1/24 10.0.0.0/8", "192.0.2.1/24"},
    {"an_exclusion_is_refused", "!192.0.2.1", "is not supported"},
    {"an_exclusion_after_others_is_refused", "10.0.0.0/8, !10.1.0.0/16", "!10.1.0.0/16"},
    {"a_table_is_refused", "hash:/etc/postfix/networks", "a table (type:name)"},
    {"a_cidr_table_is_refused", "cidr:/etc/postfix/networks", "a table (type:name)"},
    {"a_file_is_refused", "/etc/postfix/networks", "a file of networks"},
    {"an_ipv6_address_without_brackets_is_refused", "2001:db8::/32", "in brackets"},
    {"a_host_name_is_refused", "localhost", "no network"},
    {"a_short_address_is_refused", "127.0.0/24", "no network"},
    {"a_number_is_refused", "127", "no network"},
    {"a_byte_above_255_is_refused", "192.0.2.256", "no network"},
    {"more_than_32_bits_are_refused", "192.0.2.1/33", "from 0 to 32"},
    {"more_than_128_bits_are_refused", "[::1]/129", "from 0 to 128"},
    {"a_netmask_is_refused", "192.0.2.0/255.255.255.0", "from 0 to 32"},
    {"empty_bits_are_refused", "192.0.2.0/", "from 0 to 32"},
    {"negative_bits_are_refused", "192.0.2.0/-1", "from 0 to 32"},
    {"bits_twice_are_refused", "[192.0.2.0/24]/24", "no network"},
    {"a_bracket_that_does_not_close_is_refused", "[::1/128", "no network"},
    {"text_after_a_bracket_is_refused", "[::1]x", "no network"},
    {"empty_brackets_are_refused", "[]", "no network"},
    {"a_zone_is_refused", "[fe80::1%eth0]", "no network"},
    {"a_control_byte_is_refused_and_not_logged", "192.0.2.\0331", "192.0.2.\\x1b1"},
    {"an_endless_network_is_refused",
     "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]",
     "no network"},
};

enum {
    MATCH_ROWS = sizeof match_rows / sizeof *match_rows,
    BAD_ROWS = sizeof bad_rows / sizeof *bad_rows,
};

static void check_match_row(void **state)
{
    const struct match_row *row = *state;
    struct networks *networks;
    struct fault fault = {""};
    assert_true(networks_parse(row->list, &networks, &fault));
    assert_string_equal(fault.text, "");
    assert_int_equal(networks_contain(networks, row->address), row->inside);
    networks_free(networks);
}

static void check_bad_row(void **state)
{
    const struct bad_row *row = *state;
    struct networks *networks = (struct networks *)state;
    struct fault fault = {""};
    assert_false(networks_parse(row->list, &networks, &fault));
    assert_null(networks);
    if (!strstr(fault.text, row->fault))
        fail_msg("the fault is: %s", fault.text);
    assert_false(networks_parse(row->list, &networks, NULL));
}

static void an_empty_text_is_no_list(void **state)
{
    (void)state;
    struct networks *networks = (struct networks *)state;
    assert_true(networks_parse("", &networks, NULL));
    assert_null(networks);
    networks_free(networks);
}

/* Each length of prefix, against arithmetic on the number. */
static void every_ipv4_prefix_matches_as_arithmetic_says(void **state)
{
    (void)state;
    uint32_t base = 0xc0a85a5a; /* 192.168.90.90 */
    for (unsigned bits = 0; bits <= 32; bits++) {
        uint32_t mask = bits ? 0xffffffffu << (32 - bits) : 0;
        struct in_addr network = {.s_addr = htonl(base & mask)};
        char text[INET_ADDRSTRLEN], list[INET_ADDRSTRLEN + 4];
        struct networks *networks;
        inet_ntop(AF_INET, &network, text, sizeof text);
        snprintf(list, sizeof list, "%s/%u", text, bits);
        assert_true(networks_parse(list, &networks, NULL));
        for (unsigned bit = 0; bit < 32; bit++) {
            struct in_addr client = {.s_addr = htonl(base ^ (UINT32_C(1) << bit))};
            inet_ntop(AF_INET, &client, text, sizeof text);
            assert_int_equal(networks_contain(networks, text), bit < 32 - bits);
        }
        networks_free(networks);
    }
}

static void every_ipv6_prefix_matches_the_bits_it_has(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits <= 128; bits++) {
        char text[INET6_ADDRSTRLEN], list[INET6_ADDRSTRLEN + 8];
        struct networks *networks;
        snprintf(list, sizeof list, "[::]/%u", bits);
        assert_true(networks_parse(list, &networks, NULL));
        for (unsigned bit = 0; bit < 128; bit++) {
            struct in6_addr client = {0};
            client.s6_addr[bit / 8] = (uint8_t)(0x80 >> bit % 8);
            inet_ntop(AF_INET6, &client, text, sizeof text);
            assert_int_equal(networks_contain(networks, text), bit >= bits);
        }
        networks_free(networks);
    }
}

int main(void)
{
    static const struct CMUnitTest functions[] = {
        cmocka_unit_test(an_empty_text_is_no_list),
        cmocka_unit_test(every_ipv4_prefix_matches_as_arithmetic_says),
        cmocka_unit_test(every_ipv6_prefix_matches_the_bits_it_has),
    };
    enum { FUNCTIONS = sizeof functions / sizeof *functions };
    static struct CMUnitTest tests[MATCH_ROWS + BAD_ROWS + FUNCTIONS];
    size_t count = 0;
    for (size_t i = 0; i < MATCH_ROWS; i++)
        tests[count++] = (struct CMUnitTest){match_rows[i].claim, check_match_row, NULL, NULL,
                                             (void *)&match_rows[i]};
    for (size_t i = 0; i < BAD_ROWS; i++)
        tests[count++] =
            (struct CMUnitTest){bad_rows[i].claim, check_bad_row, NULL, NULL, (void *)&bad_rows[i]};
    for (size_t i = 0; i < FUNCTIONS; i++)
        tests[count++] = functions[i];
    return cmocka_run_group_tests_name("networks", tests, NULL, NULL);
}
