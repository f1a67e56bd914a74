#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shared/address.h"
#include "shared/text.h"

/* Each row is a test of its own and its claim is the name of the test. */

#define OK ADDRESS_OK
#define BAD ADDRESS_MALFORMED
#define ALONE ADDRESS_NO_DOMAIN
#define POSTMASTER ADDRESS_POSTMASTER
#define BYTES(text) text, sizeof(text) - 1 /* a text may hold NULs */

#define TEN "0123456789"
#define SIXTY TEN TEN TEN TEN TEN TEN

struct parse_row {
    const char *claim;
    const char *text;
    size_t length;
    enum address_result result;
    const char *key; /* OK: the key; ALONE and POSTMASTER: the local part */
};

static const struct parse_row parse_rows[] = {
    /* path */
    {"a_mailbox_in_brackets_is_read", BYTES("<user@example.test>"), OK, "user@example.test"},
    {"a_mailbox_without_brackets_is_read", BYTES("user@example.test"), OK, "user@example.test"},
    {"the_null_path_is_no_recipient", BYTES("<>"), BAD, NULL},
    {"an_empty_text_is_malformed", BYTES(""), BAD, NULL},
    {"an_opening_bracket_needs_a_closing_one", BYTES("<user@example.test"), BAD, NULL},
    {"a_closing_bracket_needs_an_opening_one", BYTES("user@example.test>"), BAD, NULL},
    {"double_brackets_are_malformed", BYTES("<<user@example.test>>"), BAD, NULL},
    {"text_after_the_path_is_malformed", BYTES("<user@example.test>x"), BAD, NULL},
    {"a_parameter_after_the_path_is_malformed", BYTES("<u@example.test> NOTIFY=NEVER"), BAD, NULL},
    {"a_blank_before_the_path_is_malformed", BYTES(" <user@example.test>"), BAD, NULL},
    {"a_blank_after_the_path_is_malformed", BYTES("<user@example.test> "), BAD, NULL},
    {"a_blank_inside_the_brackets_is_malformed", BYTES("< user@example.test>"), BAD, NULL},
    {"a_display_name_is_malformed", BYTES("\"Name\" <user@example.test>"), BAD, NULL},
    {"a_comment_is_malformed", BYTES("<user(comment)@example.test>"), BAD, NULL},
    {"a_comment_after_the_domain_is_malformed", BYTES("user@example.test (comment)"), BAD, NULL},
    {"two_mailboxes_are_malformed", BYTES("<a@example.test,b@example.test>"), BAD, NULL},
    {"a_group_is_malformed", BYTES("<list:a@example.test;>"), BAD, NULL},
    {"a_lone_opening_bracket_is_malformed", BYTES("<"), BAD, NULL},
    {"a_lone_at_sign_is_malformed", BYTES("@"), BAD, NULL},
    {"two_at_signs_are_malformed", BYTES("<user@one.test@two.test>"), BAD, NULL},
    {"an_at_sign_twice_in_a_row_is_malformed", BYTES("<user@@example.test>"), BAD, NULL},

    /* A-d-l */
    {"a_source_route_of_one_hop_is_dropped", BYTES("<@a.test:u@d.test>"), OK, "u@d.test"},
    {"a_source_route_of_two_hops_is_dropped", BYTES("<@a.test,@b.test:u@d.test>"), OK, "u@d.test"},
    {"a_source_route_without_brackets_is_dropped", BYTES("@a.test:u@d.test"), OK, "u@d.test"},
    {"a_source_route_through_a_literal_is_dropped", BYTES("<@[192.0.2.1]:u@d.test>"), OK,
     "u@d.test"},
    {"a_source_route_before_postmaster_is_dropped", BYTES("<@a.test:postmaster>"), POSTMASTER,
     "postmaster"},
    {"a_source_route_before_a_quoted_string_is_dropped", BYTES("<@a.test:\"u v\"@d.test>"), OK,
     "\"u v\"@d.test"},
    {"a_source_route_alone_is_malformed", BYTES("<@a.test:>"), BAD, NULL},
    {"a_source_route_without_colon_is_malformed", BYTES("<@a.test>"), BAD, NULL},
    {"a_source_route_that_ends_with_a_comma_is_malformed", BYTES("<@a.test,:u@d.test>"), BAD, NULL},
    {"a_source_route_with_an_empty_hop_is_malformed", BYTES("<@a.test,,@b.test:u@d.test>"), BAD,
     NULL},
    {"a_hop_without_at_sign_is_malformed", BYTES("<@a.test,b.test:u@d.test>"), BAD, NULL},
    {"a_hop_without_a_name_is_malformed", BYTES("<@:u@d.test>"), BAD, NULL},
    {"a_hop_that_is_no_domain_is_malformed", BYTES("<@a..test:u@d.test>"), BAD, NULL},
    {"a_source_route_with_a_blank_is_malformed", BYTES("<@a.test, @b.test:u@d.test>"), BAD, NULL},
    {"two_source_routes_are_malformed", BYTES("<@a.test:@b.test:u@d.test>"), BAD, NULL},

    /* local part alone */
    {"bare_postmaster_is_known", BYTES("<postmaster>"), POSTMASTER, "postmaster"},
    {"bare_postmaster_in_capitals_is_known", BYTES("<POSTMASTER>"), POSTMASTER, "postmaster"},
    {"bare_postmaster_in_mixed_case_is_known", BYTES("<PostMaster>"), POSTMASTER, "postmaster"},
    {"bare_postmaster_without_brackets_is_known", BYTES("postmaster"), POSTMASTER, "postmaster"},
    {"quoted_bare_postmaster_is_postmaster", BYTES("<\"postmaster\">"), POSTMASTER, "postmaster"},
    {"bare_postmaster_with_pairs_is_postmaster", BYTES("<\"Post\\master\">"), POSTMASTER,
     "postmaster"},
    {"postmaster_with_a_domain_is_a_mailbox", BYTES("<postmaster@d.test>"), OK,
     "postmaster@d.test"},
    {"a_local_part_alone_has_no_domain", BYTES("<user>"), ALONE, "user"},
    {"a_local_part_alone_is_folded", BYTES("<User>"), ALONE, "user"},
    {"a_quoted_local_part_alone_has_no_domain", BYTES("<\"a b\">"), ALONE, "a b"},
    {"postmaster_with_an_extension_is_not_postmaster", BYTES("<postmaster+x>"), ALONE,
     "postmaster+x"},
    {"a_domain_in_the_place_of_a_local_part_is_one", BYTES("<example.test>"), ALONE,
     "example.test"},
    {"a_local_part_with_an_at_sign_and_no_domain_is_malformed", BYTES("<user@>"), BAD, NULL},
    {"postmaster_with_an_at_sign_and_no_domain_is_malformed", BYTES("<postmaster@>"), BAD, NULL},
    {"a_domain_alone_is_malformed", BYTES("<@example.test>"), BAD, NULL},

    /* dot-string */
    {"capitals_in_the_local_part_are_folded", BYTES("<User.Name@d.test>"), OK, "user.name@d.test"},
    {"one_letter_is_a_local_part", BYTES("<a@d.test>"), OK, "a@d.test"},
    {"digits_are_a_local_part", BYTES("<123@d.test>"), OK, "123@d.test"},
    {"all_special_atext_is_unquoted", BYTES("<!#$%&'*+-/=?^_`{|}~@d.test>"), OK,
     "!#$%&'*+-/=?^_`{|}~@d.test"},
    {"a_percent_route_is_plain_text", BYTES("<user%other.test@d.test>"), OK,
     "user%other.test@d.test"},
    {"a_bang_path_is_plain_text", BYTES("<host!user@d.test>"), OK, "host!user@d.test"},
    {"sql_text_is_plain_text", BYTES("<o'brien--@d.test>"), OK, "o'brien--@d.test"},
    {"an_srs_address_is_plain_text", BYTES("<SRS0=HHH=TT=orig.test=user@d.test>"), OK,
     "srs0=hhh=tt=orig.test=user@d.test"},
    {"a_verp_address_is_plain_text", BYTES("<list-1-user=orig.test@d.test>"), OK,
     "list-1-user=orig.test@d.test"},
    {"an_extension_stays_in_the_key", BYTES("<user+ext@d.test>"), OK, "user+ext@d.test"},
    {"a_leading_hyphen_in_the_local_part_is_fine", BYTES("<-user@d.test>"), OK, "-user@d.test"},
    {"a_leading_dot_is_malformed", BYTES("<.user@d.test>"), BAD, NULL},
    {"a_trailing_dot_is_malformed", BYTES("<user.@d.test>"), BAD, NULL},
    {"two_dots_in_a_row_are_malformed", BYTES("<us..er@d.test>"), BAD, NULL},
    {"a_dot_alone_is_malformed", BYTES("<.@d.test>"), BAD, NULL},
    {"an_empty_local_part_is_malformed", BYTES("<@d.test>"), BAD, NULL},
    {"a_blank_in_a_dot_string_is_malformed", BYTES("<us er@d.test>"), BAD, NULL},
    {"a_backslash_in_a_dot_string_is_malformed", BYTES("<us\\er@d.test>"), BAD, NULL},
    {"a_comma_in_a_dot_string_is_malformed", BYTES("<us,er@d.test>"), BAD, NULL},
    {"a_colon_in_a_dot_string_is_malformed", BYTES("<us:er@d.test>"), BAD, NULL},
    {"a_semicolon_in_a_dot_string_is_malformed", BYTES("<us;er@d.test>"), BAD, NULL},
    {"brackets_in_a_dot_string_are_malformed", BYTES("<us[e]r@d.test>"), BAD, NULL},
    {"a_quote_inside_an_atom_is_malformed", BYTES("<us\"er@d.test>"), BAD, NULL},
    {"an_atom_and_a_quoted_string_do_not_mix", BYTES("<a.\"b\"@d.test>"), BAD, NULL},
    {"a_quoted_string_and_an_atom_do_not_mix", BYTES("<\"a\".b@d.test>"), BAD, NULL},
    {"a_nul_in_the_local_part_is_malformed", BYTES("<us\0er@d.test>"), BAD, NULL},
    {"a_nul_in_the_domain_is_malformed", BYTES("<user@d\0.test>"), BAD, NULL},
    {"a_nul_after_the_mailbox_is_malformed", BYTES("user@d.test\0"), BAD, NULL},
    {"a_nul_before_the_mailbox_is_malformed", BYTES("\0user@d.test"), BAD, NULL},
    {"a_tab_in_the_local_part_is_malformed", BYTES("<us\ter@d.test>"), BAD, NULL},
    {"a_line_feed_in_the_local_part_is_malformed", BYTES("<us\ner@d.test>"), BAD, NULL},
    {"a_carriage_return_at_the_end_is_malformed", BYTES("user@d.test\r"), BAD, NULL},
    {"an_escape_in_the_local_part_is_malformed", BYTES("<us\033[31mer@d.test>"), BAD, NULL},
    {"a_delete_in_the_local_part_is_malformed", BYTES("<us\177er@d.test>"), BAD, NULL},
    {"memcached_text_is_malformed", BYTES("<u@d.test\r\nflush_all\r\n>"), BAD, NULL},

    /* quoted-string */
    {"a_blank_in_quotes_is_kept_and_quoted", BYTES("<\"a b\"@d.test>"), OK, "\"a b\"@d.test"},
    {"postfix_prints_a_quoted_mailbox_and_it_is_read", BYTES("\"a b\"@d.test"), OK,
     "\"a b\"@d.test"},
    {"quotes_that_are_not_needed_are_dropped", BYTES("<\"user\"@d.test>"), OK, "user@d.test"},
    {"quotes_round_dots_are_dropped", BYTES("<\"a.b.c\"@d.test>"), OK, "a.b.c@d.test"},
    {"quotes_round_an_extension_are_dropped", BYTES("<\"a+b\"@d.test>"), OK, "a+b@d.test"},
    {"a_pair_of_an_ordinary_letter_is_that_letter", BYTES("<\"us\\er\"@d.test>"), OK,
     "user@d.test"},
    {"a_pair_of_a_capital_is_folded_too", BYTES("<\"\\USER\"@D.TEST>"), OK, "user@d.test"},
    {"capitals_in_quotes_are_folded", BYTES("<\"A B\"@d.test>"), OK, "\"a b\"@d.test"},
    {"an_escaped_quote_stays_escaped", BYTES("<\"a\\\"b\"@d.test>"), OK, "\"a\\\"b\"@d.test"},
    {"an_escaped_backslash_stays_escaped", BYTES("<\"a\\\\b\"@d.test>"), OK, "\"a\\\\b\"@d.test"},
    {"an_escaped_blank_loses_its_backslash", BYTES("<\"a\\ b\"@d.test>"), OK, "\"a b\"@d.test"},
    {"an_escaped_at_sign_loses_its_backslash", BYTES("<\"a\\@b\"@d.test>"), OK, "\"a@b\"@d.test"},
    {"an_at_sign_in_quotes_is_text", BYTES("<\"a@b\"@d.test>"), OK, "\"a@b\"@d.test"},
    {"a_mailbox_in_quotes_is_text", BYTES("<\"u@evil.test\"@d.test>"), OK,
     "\"u@evil.test\"@d.test"},
    {"angle_brackets_in_quotes_are_text", BYTES("<\"<u>\"@d.test>"), OK, "\"<u>\"@d.test"},
    {"two_dots_in_quotes_keep_their_quotes", BYTES("<\"a..b\"@d.test>"), OK, "\"a..b\"@d.test"},
    {"a_trailing_dot_in_quotes_keeps_its_quotes", BYTES("<\"a.\"@d.test>"), OK, "\"a.\"@d.test"},
    {"a_leading_dot_in_quotes_keeps_its_quotes", BYTES("<\".a\"@d.test>"), OK, "\".a\"@d.test"},
    {"every_special_in_quotes_keeps_its_quotes", BYTES("<\"(),.:;<>@[]\"@d.test>"), OK,
     "\"(),.:;<>@[]\"@d.test"},
    {"empty_quotes_are_a_local_part", BYTES("<\"\"@d.test>"), OK, "\"\"@d.test"},
    {"a_blank_alone_in_quotes_is_a_local_part", BYTES("<\" \"@d.test>"), OK, "\" \"@d.test"},
    {"quoted_postmaster_with_a_domain_is_a_mailbox", BYTES("<\"postmaster\"@d.test>"), OK,
     "postmaster@d.test"},
    {"quotes_that_do_not_end_are_malformed", BYTES("<\"user@d.test>"), BAD, NULL},
    {"an_escaped_closing_quote_does_not_close", BYTES("<\"user\\\"@d.test>"), BAD, NULL},
    {"a_backslash_at_the_end_is_malformed", BYTES("\"user\\"), BAD, NULL},
    {"text_after_the_closing_quote_is_malformed", BYTES("<\"a\"b@d.test>"), BAD, NULL},
    {"two_quoted_strings_are_malformed", BYTES("<\"a\"\"b\"@d.test>"), BAD, NULL},
    {"a_tab_in_quotes_is_malformed", BYTES("<\"a\tb\"@d.test>"), BAD, NULL},
    {"an_escaped_tab_is_malformed", BYTES("<\"a\\\tb\"@d.test>"), BAD, NULL},
    {"a_line_feed_in_quotes_is_malformed", BYTES("<\"a\nb\"@d.test>"), BAD, NULL},
    {"an_escaped_line_feed_is_malformed", BYTES("<\"a\\\nb\"@d.test>"), BAD, NULL},
    {"a_nul_in_quotes_is_malformed", BYTES("<\"a\0b\"@d.test>"), BAD, NULL},
    {"an_escaped_nul_is_malformed", BYTES("<\"a\\\0b\"@d.test>"), BAD, NULL},
    {"a_delete_in_quotes_is_malformed", BYTES("<\"a\177b\"@d.test>"), BAD, NULL},
    {"a_pair_of_utf8_is_malformed", BYTES("<\"\\\303\251\"@d.test>"), BAD, NULL},

    /* UTF8-non-ascii */
    {"utf8_in_an_atom_is_unquoted", BYTES("<jos\303\251@d.test>"), OK, "jos\303\251@d.test"},
    {"utf8_in_quotes_loses_the_quotes", BYTES("<\"jos\303\251\"@d.test>"), OK,
     "jos\303\251@d.test"},
    {"utf8_beside_a_blank_keeps_the_quotes", BYTES("<\"jos\303\251 b\"@d.test>"), OK,
     "\"jos\303\251 b\"@d.test"},
    {"utf8_capitals_are_folded", BYTES("<JOS\303\211@d.test>"), OK, "jos\303\251@d.test"},
    {"a_letter_in_pieces_is_composed", BYTES("<jose\314\201@d.test>"), OK, "jos\303\251@d.test"},
    {"a_capital_in_pieces_is_folded_and_composed", BYTES("<JOSE\314\201@d.test>"), OK,
     "jos\303\251@d.test"},
    {"a_letter_in_pieces_in_quotes_is_composed", BYTES("<\"jose\314\201 b\"@d.test>"), OK,
     "\"jos\303\251 b\"@d.test"},
    {"a_letter_with_another_mark_is_another", BYTES("<jose\314\200@d.test>"), OK,
     "jos\303\250@d.test"},
    {"sharp_s_is_not_two", BYTES("<stra\303\237e@d.test>"), OK, "stra\303\237e@d.test"},
    {"the_final_sigma_stays", BYTES("<\316\263\317\202@d.test>"), OK, "\316\263\317\202@d.test"},
    {"the_dotless_i_stays", BYTES("<al\304\261ce@d.test>"), OK, "al\304\261ce@d.test"},
    {"the_dotted_capital_i_is_no_i", BYTES("<al\304\260ce@d.test>"), OK, "ali\314\207ce@d.test"},
    {"the_kelvin_sign_is_no_k", BYTES("<\342\204\252@d.test>"), OK, "\342\204\252@d.test"},
    {"fullwidth_letters_stay_wide", BYTES("<\357\275\201@d.test>"), OK, "\357\275\201@d.test"},
    {"a_greek_question_mark_is_no_semicolon", BYTES("<a\315\276@d.test>"), OK, "a\315\276@d.test"},
    {"three_bytes_of_utf8_are_read", BYTES("<\344\270\255\346\226\207@d.test>"), OK,
     "\344\270\255\346\226\207@d.test"},
    {"an_emoji_is_read", BYTES("<\360\237\230\200@d.test>"), OK, "\360\237\230\200@d.test"},
    {"the_first_character_after_the_c1_controls_is_read", BYTES("<\302\240@d.test>"), OK,
     "\302\240@d.test"},
    {"the_last_c1_control_is_malformed", BYTES("<a\302\237@d.test>"), BAD, NULL},
    {"the_first_c1_control_is_malformed", BYTES("<a\302\200@d.test>"), BAD, NULL},
    {"a_c1_control_in_quotes_is_malformed", BYTES("<\"a\302\205\"@d.test>"), BAD, NULL},
    {"a_c1_control_in_the_domain_is_malformed", BYTES("<a@d\302\205.test>"), BAD, NULL},
    {"latin1_in_the_local_part_is_malformed", BYTES("<jos\351@d.test>"), BAD, NULL},
    {"latin1_in_quotes_is_malformed", BYTES("<\"jos\351\"@d.test>"), BAD, NULL},
    {"latin1_in_the_domain_is_malformed", BYTES("<a@b\374cher.test>"), BAD, NULL},
    {"utf8_cut_short_is_malformed", BYTES("<jos\303@d.test>"), BAD, NULL},
    {"utf8_cut_at_the_end_of_the_text_is_malformed", BYTES("user@d.tes\303"), BAD, NULL},
    {"an_overlong_slash_is_malformed", BYTES("<a\300\257@d.test>"), BAD, NULL},
    {"an_overlong_nul_is_malformed", BYTES("<a\300\200@d.test>"), BAD, NULL},
    {"a_surrogate_is_malformed", BYTES("<a\355\240\200@d.test>"), BAD, NULL},
    {"a_character_above_unicode_is_malformed", BYTES("<a\364\220\200\200@d.test>"), BAD, NULL},
    {"a_lone_continuation_byte_is_malformed", BYTES("<a\200@d.test>"), BAD, NULL},

    /* host-name */
    {"capitals_in_the_domain_are_folded", BYTES("<user@Example.TEST>"), OK, "user@example.test"},
    {"one_label_is_a_domain", BYTES("<user@localhost>"), OK, "user@localhost"},
    {"many_labels_are_a_domain", BYTES("<user@a.b.c.d.e.test>"), OK, "user@a.b.c.d.e.test"},
    {"digits_in_a_label_are_fine", BYTES("<user@4you.test>"), OK, "user@4you.test"},
    {"a_hyphen_inside_a_label_is_fine", BYTES("<user@my-host.test>"), OK, "user@my-host.test"},
    {"two_hyphens_inside_a_label_are_fine", BYTES("<user@xn--bcher-kva.test>"), OK,
     "user@xn--bcher-kva.test"},
    {"an_underscore_in_a_label_is_fine", BYTES("<user@my_host.test>"), OK, "user@my_host.test"},
    {"a_leading_underscore_is_fine", BYTES("<user@_mail.test>"), OK, "user@_mail.test"},
    {"a_utf8_domain_is_read", BYTES("<user@b\303\274cher.test>"), OK, "user@xn--bcher-kva.test"},
    {"a_utf8_domain_in_capitals_is_the_same", BYTES("<user@B\303\234CHER.test>"), OK,
     "user@xn--bcher-kva.test"},
    {"a_utf8_domain_in_pieces_is_the_same", BYTES("<user@bu\314\210cher.test>"), OK,
     "user@xn--bcher-kva.test"},
    {"an_a_label_in_capitals_is_the_same", BYTES("<user@XN--BCHER-KVA.test>"), OK,
     "user@xn--bcher-kva.test"},
    {"an_a_label_that_is_none_stays", BYTES("<user@xn--a.xn--999999999.test>"), OK,
     "user@xn--a.xn--999999999.test"},
    {"an_emoji_domain_stays", BYTES("<user@\360\237\230\200.test>"), OK,
     "user@\360\237\230\200.test"},
    {"a_fullwidth_domain_is_no_ascii_one", BYTES("<user@\357\274\241.test>"), OK,
     "user@\357\274\241.test"},
    {"a_label_of_63_octets_is_read", BYTES("<u@" SIXTY "abc.test>"), OK, "u@" SIXTY "abc.test"},
    {"a_label_of_64_octets_is_malformed", BYTES("<u@" SIXTY "abcd.test>"), BAD, NULL},
    {"a_trailing_dot_in_the_domain_is_malformed", BYTES("<user@example.test.>"), BAD, NULL},
    {"a_leading_dot_in_the_domain_is_malformed", BYTES("<user@.example.test>"), BAD, NULL},
    {"an_empty_label_is_malformed", BYTES("<user@example..test>"), BAD, NULL},
    {"a_leading_hyphen_in_a_label_is_malformed", BYTES("<user@-a.test>"), BAD, NULL},
    {"a_trailing_hyphen_in_a_label_is_malformed", BYTES("<user@a-.test>"), BAD, NULL},
    {"a_hyphen_alone_is_malformed", BYTES("<user@->"), BAD, NULL},
    {"a_blank_in_the_domain_is_malformed", BYTES("<user@exa mple.test>"), BAD, NULL},
    {"a_slash_in_the_domain_is_malformed", BYTES("<user@a/b.test>"), BAD, NULL},
    {"a_quote_in_the_domain_is_malformed", BYTES("<user@a'b.test>"), BAD, NULL},
    {"a_percent_in_the_domain_is_malformed", BYTES("<user@a%b.test>"), BAD, NULL},
    {"a_port_after_the_domain_is_malformed", BYTES("<user@d.test:25>"), BAD, NULL},
    {"a_star_in_the_domain_is_malformed", BYTES("<user@*.test>"), BAD, NULL},
    {"an_address_without_its_brackets_is_malformed", BYTES("<user@192.0.2.1>"), BAD, NULL},
    {"a_number_is_no_domain", BYTES("<user@12345>"), BAD, NULL},
    {"numbers_and_a_hyphen_are_a_domain", BYTES("<user@1-2>"), OK, "user@1-2"},

    /* address-literal */
    {"an_ipv4_literal_is_read", BYTES("<user@[192.0.2.1]>"), OK, "user@[192.0.2.1]"},
    {"an_ipv4_literal_without_angle_brackets_is_read", BYTES("user@[192.0.2.1]"), OK,
     "user@[192.0.2.1]"},
    {"an_ipv6_literal_is_read", BYTES("<user@[IPv6:2001:db8::1]>"), OK, "user@[ipv6:2001:db8::1]"},
    {"the_shortest_ipv6_literal_is_read", BYTES("<user@[IPv6:::]>"), OK, "user@[ipv6:::]"},
    {"a_long_ipv6_literal_is_shortened", BYTES("<u@[IPv6:2001:0DB8:0:0:0:0:0:0001]>"), OK,
     "u@[ipv6:2001:db8::1]"},
    {"the_longest_ipv6_literal_is_read",
     BYTES("<u@[IPv6:0000:0000:0000:0000:0000:ffff:192.100.200.255]>"), OK,
     "u@[ipv6:::ffff:192.100.200.255]"},
    {"the_tag_may_have_any_case", BYTES("<user@[ipV6:::1]>"), OK, "user@[ipv6:::1]"},
    {"an_ipv6_literal_without_tag_is_malformed", BYTES("<user@[2001:db8::1]>"), BAD, NULL},
    {"an_ipv4_literal_with_the_ipv6_tag_is_malformed", BYTES("<user@[IPv6:192.0.2.1]>"), BAD, NULL},
    {"zeros_before_the_numbers_of_a_literal_are_dropped", BYTES("<user@[192.000.002.010]>"), OK,
     "user@[192.0.2.10]"},
    {"the_zero_address_keeps_its_zeros", BYTES("<user@[0.0.0.0]>"), OK, "user@[0.0.0.0]"},
    {"an_ipv4_literal_of_three_numbers_is_malformed", BYTES("<user@[192.0.2]>"), BAD, NULL},
    {"an_ipv4_literal_of_five_numbers_is_malformed", BYTES("<user@[192.0.2.1.1]>"), BAD, NULL},
    {"an_ipv4_literal_above_255_is_malformed", BYTES("<user@[192.0.2.256]>"), BAD, NULL},
    {"an_ipv4_literal_in_hexadecimal_is_malformed", BYTES("<user@[0xc0.0.2.1]>"), BAD, NULL},
    {"an_ipv6_literal_with_two_gaps_is_malformed", BYTES("<user@[IPv6:1::2::3]>"), BAD, NULL},
    {"an_ipv6_literal_with_a_zone_is_malformed", BYTES("<user@[IPv6:fe80::1%eth0]>"), BAD, NULL},
    {"a_general_literal_is_malformed", BYTES("<user@[x-tag:content]>"), BAD, NULL},
    {"a_host_name_in_a_literal_is_malformed", BYTES("<user@[example.test]>"), BAD, NULL},
    {"an_empty_literal_is_malformed", BYTES("<user@[]>"), BAD, NULL},
    {"a_tag_alone_is_malformed", BYTES("<user@[IPv6:]>"), BAD, NULL},
    {"a_literal_that_does_not_end_is_malformed", BYTES("<user@[192.0.2.1>"), BAD, NULL},
    {"a_nul_in_a_literal_is_malformed", BYTES("<user@[192.0.2.1\0]>"), BAD, NULL},
    {"a_blank_in_a_literal_is_malformed", BYTES("<user@[ 192.0.2.1]>"), BAD, NULL},
    {"a_label_after_a_literal_is_malformed", BYTES("<user@[192.0.2.1].test>"), BAD, NULL},
    {"a_literal_in_a_domain_is_malformed", BYTES("<user@a.[192.0.2.1]>"), BAD, NULL},
    {"an_endless_literal_is_malformed", BYTES("<user@[" SIXTY SIXTY "]>"), BAD, NULL},
};

struct probe_row {
    const char *claim;
    const char *mailbox;
    const char *delimiters;
    const char *keys[ADDRESS_PROBES_MAX + 1];
};

static const struct probe_row probe_rows[] = {
    {"without_an_extension_the_address_and_the_catch_all_are_probed",
     "user@d.test",
     "+",
     {"user@d.test", "@d.test"}},
    {"the_extension_is_stripped_after_the_whole_address",
     "user+ext@d.test",
     "+",
     {"user+ext@d.test", "user@d.test", "@d.test"}},
    {"without_a_delimiter_nothing_is_stripped",
     "user+ext@d.test",
     "",
     {"user+ext@d.test", "@d.test"}},
    {"another_character_is_no_delimiter", "user-ext@d.test", "+", {"user-ext@d.test", "@d.test"}},
    {"the_first_delimiter_splits",
     "user+a+b@d.test",
     "+",
     {"user+a+b@d.test", "user@d.test", "@d.test"}},
    {"of_several_delimiters_the_first_in_the_address_splits",
     "user-a+b@d.test",
     "+-",
     {"user-a+b@d.test", "user@d.test", "@d.test"}},
    {"the_order_of_the_delimiters_does_not_matter",
     "user+a-b@d.test",
     "-+",
     {"user+a-b@d.test", "user@d.test", "@d.test"}},
    {"an_empty_extension_is_stripped",
     "user+@d.test",
     "+",
     {"user+@d.test", "user@d.test", "@d.test"}},
    {"a_delimiter_at_the_first_place_does_not_split",
     "+ext@d.test",
     "+",
     {"+ext@d.test", "@d.test"}},
    {"a_delimiter_at_the_first_place_hides_a_later_one",
     "+a+b@d.test",
     "+",
     {"+a+b@d.test", "@d.test"}},
    {"a_delimiter_alone_does_not_split", "+@d.test", "+", {"+@d.test", "@d.test"}},
    {"a_delimiter_in_the_domain_does_not_split",
     "user@my-host.test",
     "-",
     {"user@my-host.test", "@my-host.test"}},
    {"capitals_are_folded_before_probing",
     "User+Ext@D.Test",
     "+",
     {"user+ext@d.test", "user@d.test", "@d.test"}},
    {"postmaster_is_never_split_even_where_a_letter_delimits",
     "postmaster@d.test",
     "m",
     {"postmaster@d.test", "@d.test"}},
    {"mailer_daemon_is_never_split",
     "MAILER-DAEMON@d.test",
     "-",
     {"mailer-daemon@d.test", "@d.test"}},
    {"double_bounce_is_never_split",
     "double-bounce@d.test",
     "-",
     {"double-bounce@d.test", "@d.test"}},
    {"postmaster_with_an_extension_is_split",
     "postmaster+x@d.test",
     "+",
     {"postmaster+x@d.test", "postmaster@d.test", "@d.test"}},
    {"mailer_daemon_with_an_extension_is_split",
     "mailer-daemon+x@d.test",
     "+",
     {"mailer-daemon+x@d.test", "mailer-daemon@d.test", "@d.test"}},
    {"owner_is_not_split_where_a_hyphen_delimits",
     "owner-list@d.test",
     "-",
     {"owner-list@d.test", "@d.test"}},
    {"owner_is_not_split_in_capitals_either",
     "OWNER-list@d.test",
     "-",
     {"owner-list@d.test", "@d.test"}},
    {"request_is_not_split_where_a_hyphen_delimits",
     "list-request@d.test",
     "-",
     {"list-request@d.test", "@d.test"}},
    {"owner_is_split_at_a_plus_where_no_hyphen_delimits",
     "owner-list+x@d.test",
     "+",
     {"owner-list+x@d.test", "owner-list@d.test", "@d.test"}},
    {"owner_is_whole_where_a_hyphen_is_among_the_delimiters",
     "owner-list+x@d.test",
     "+-",
     {"owner-list+x@d.test", "@d.test"}},
    {"request_is_whole_where_a_hyphen_is_among_the_delimiters",
     "list+x-request@d.test",
     "+-",
     {"list+x-request@d.test", "@d.test"}},
    {"request_is_split_at_a_plus_where_no_hyphen_delimits",
     "list+x-request@d.test",
     "+",
     {"list+x-request@d.test", "list@d.test", "@d.test"}},
    {"request_in_the_middle_is_split",
     "list-request-x@d.test",
     "-",
     {"list-request-x@d.test", "list@d.test", "@d.test"}},
    {"owner_without_hyphen_is_split",
     "owner+x@d.test",
     "+-",
     {"owner+x@d.test", "owner@d.test", "@d.test"}},
    {"request_alone_begins_with_its_delimiter",
     "-request@d.test",
     "-",
     {"-request@d.test", "@d.test"}},
    {"a_quoted_local_part_is_probed_quoted_then_plain",
     "\"a b\"@d.test",
     "+",
     {"\"a b\"@d.test", "a b@d.test", "@d.test"}},
    {"a_quoted_local_part_is_stripped_quoted_then_plain",
     "\"a b+x\"@d.test",
     "+",
     {"\"a b+x\"@d.test", "a b+x@d.test", "\"a b\"@d.test", "a b@d.test", "@d.test"}},
    {"a_stripped_local_part_loses_quotes_it_no_longer_needs",
     "\"a+b c\"@d.test",
     "+",
     {"\"a+b c\"@d.test", "a+b c@d.test", "a@d.test", "@d.test"}},
    {"a_stripped_local_part_gets_quotes_it_now_needs",
     "a.+x@d.test",
     "+",
     {"a.+x@d.test", "\"a.\"@d.test", "a.@d.test", "@d.test"}},
    {"quotes_that_were_not_needed_make_no_probe",
     "\"user\"@d.test",
     "+",
     {"user@d.test", "@d.test"}},
    {"an_at_sign_in_quotes_is_probed_quoted_first",
     "\"a@b\"@d.test",
     "+",
     {"\"a@b\"@d.test", "a@b@d.test", "@d.test"}},
    {"the_plain_probe_has_no_backslashes",
     "\"a\\\"b\"@d.test",
     "+",
     {"\"a\\\"b\"@d.test", "a\"b@d.test", "@d.test"}},
    {"an_empty_local_part_and_the_catch_all_are_one_probe",
     "\"\"@d.test",
     "+",
     {"\"\"@d.test", "@d.test"}},
    {"a_literal_is_probed_like_a_domain",
     "user@[192.0.2.1]",
     "+",
     {"user@[192.0.2.1]", "@[192.0.2.1]"}},
    {"an_extension_before_a_literal_is_stripped",
     "user+x@[IPv6:2001:db8::1]",
     "+",
     {"user+x@[ipv6:2001:db8::1]", "user@[ipv6:2001:db8::1]", "@[ipv6:2001:db8::1]"}},
    {"utf8_is_stripped_like_the_rest",
     "jos\303\251+x@d.test",
     "+",
     {"jos\303\251+x@d.test", "jos\303\251@d.test", "@d.test"}},
    {"in_capitals_beyond_ascii_it_comes_as_it_was_sent_too",
     "JOS\303\211+X@d.test",
     "+",
     {"jos\303\251+x@d.test", "jos\303\211+x@d.test", "jos\303\251@d.test", "jos\303\211@d.test",
      "@d.test"}},
    {"in_pieces_it_comes_as_it_was_sent_too",
     "jose\314\201@d.test",
     "+",
     {"jos\303\251@d.test", "jose\314\201@d.test", "@d.test"}},
    {"in_pieces_and_quotes_it_comes_in_every_form",
     "\"jose\314\201 b+x\"@d.test",
     "+",
     {"\"jos\303\251 b+x\"@d.test", "jos\303\251 b+x@d.test", "\"jose\314\201 b+x\"@d.test",
      "jose\314\201 b+x@d.test", "\"jos\303\251 b\"@d.test", "jos\303\251 b@d.test",
      "\"jose\314\201 b\"@d.test", "jose\314\201 b@d.test", "@d.test"}},
    {"a_delimiter_that_composes_still_delimits_what_was_sent",
     "a=\314\270x@d.test",
     "=",
     {"a\342\211\240x@d.test", "a=\314\270x@d.test", "a@d.test", "@d.test"}},
    {"the_domain_of_a_probe_is_the_keys",
     "user@B\303\234CHER.test",
     "+",
     {"user@xn--bcher-kva.test", "@xn--bcher-kva.test"}},
    {"a_percent_delimits_as_any_other",
     "user%x@d.test",
     "%",
     {"user%x@d.test", "user@d.test", "@d.test"}},
    {"an_equals_sign_delimits_as_any_other",
     "user=x@d.test",
     "+=",
     {"user=x@d.test", "user@d.test", "@d.test"}},
};

/* What Postfix 3.7.11 gave a milter as the argument of RCPT and as {rcpt_addr}, recorded. */
struct pair_row {
    const char *claim;
    const char *argument;
    const char *macro;
};

static const struct pair_row pair_rows[] = {
    {"postfix_folds_as_we_do", "<User.Name@D.TEST>", "user.name@d.test"},
    {"postfix_keeps_quotes_as_we_do", "<\"a b\"@d.test>", "\"a b\"@d.test"},
    {"postfix_drops_quotes_as_we_do", "<\"user\"@d.test>", "user@d.test"},
    {"postfix_drops_backslashes_as_we_do", "<\"us\\er\"@d.test>", "user@d.test"},
    {"postfix_keeps_backslashes_as_we_do", "<\"a\\\\b\"@d.test>", "\"a\\\\b\"@d.test"},
    {"postfix_escapes_quotes_as_we_do", "<\"a\\\"b\"@d.test>", "\"a\\\"b\"@d.test"},
    {"postfix_drops_routes_as_we_do", "<@a,@b:u@d.test>", "u@d.test"},
    {"postfix_quotes_an_at_sign_as_we_do", "<\"a@b\"@d.test>", "\"a@b\"@d.test"},
    {"postfix_quotes_two_dots_as_we_do", "<\"a..b\"@d.test>", "\"a..b\"@d.test"},
    {"postfix_quotes_specials_as_we_do", "<\"(),:;<>[]\"@d.test>", "\"(),:;<>[]\"@d.test"},
    {"postfix_leaves_atext_as_we_do", "<!#$%&'*+-/=?^_`{|}~@d.test>", "!#$%&'*+-/=?^_`{|}~@d.test"},
    {"postfix_quotes_the_empty_local_part_as_we_do", "<\"\"@d.test>", "\"\"@d.test"},
    {"postfix_leaves_utf8_unquoted_as_we_do", "<jos\303\251@d.test>", "jos\303\251@d.test"},
    {"postfix_takes_underscores_as_we_do", "<u@my_host.test>", "u@my_host.test"},
    {"postfix_folds_a_literal_as_we_do", "<u@[IPv6:2001:DB8::1]>", "u@[ipv6:2001:db8::1]"},
    {"postfix_leaves_a_literal_long_and_it_is_the_same", "<u@[IPv6:2001:DB8:0:0:0:0:0:1]>",
     "u@[ipv6:2001:db8:0:0:0:0:0:1]"},
    {"postfix_leaves_zeros_in_a_literal_and_it_is_the_same", "<u@[192.0.2.001]>",
     "u@[192.0.2.001]"},
};

enum {
    PAIR_ROWS = sizeof pair_rows / sizeof *pair_rows,
    PARSE_ROWS = sizeof parse_rows / sizeof *parse_rows,
    PROBE_ROWS = sizeof probe_rows / sizeof *probe_rows,
};

static enum address_result parse(const char *text, struct address *address)
{
    return address_parse(text, strlen(text), address);
}

static void check_parse_row(void **state)
{
    const struct parse_row *row = *state;
    struct address address, untouched, again;
    memset(&address, 0x5a, sizeof address);
    untouched = address;

    assert_int_equal(address_parse(row->text, row->length, &address), row->result);
    switch (row->result) {
    case ADDRESS_MALFORMED:
        assert_memory_equal(&address, &untouched, sizeof address);
        return;
    case ADDRESS_NO_DOMAIN:
    case ADDRESS_POSTMASTER:
        assert_string_equal(address.local, row->key);
        assert_string_equal(address.domain, "");
        assert_string_equal(address.key, "");
        return;
    case ADDRESS_OK:
        assert_string_equal(address.key, row->key);
        assert_string_equal(address.domain, strrchr(row->key, '@') + 1);
        assert_int_equal(address.quoted, row->key[0] == '"');
        assert_int_equal(parse(address.key, &again), ADDRESS_OK);
        assert_string_equal(again.key, address.key);
        assert_string_equal(again.local, address.local);
        return;
    }
    fail_msg("no such result: %d", (int)row->result);
}

static void check_probe_row(void **state)
{
    const struct probe_row *row = *state;
    struct address address;
    struct address_probes probes;
    assert_int_equal(parse(row->mailbox, &address), ADDRESS_OK);
    address_probes(&address, row->delimiters, &probes);
    size_t count = 0;
    for (; row->keys[count]; count++) {
        assert_in_range(count, 0, probes.count - 1);
        assert_string_equal(probes.key[count], row->keys[count]);
    }
    assert_int_equal(probes.count, count);
}

static void check_pair_row(void **state)
{
    const struct pair_row *row = *state;
    struct address argument, macro;
    assert_int_equal(parse(row->argument, &argument), ADDRESS_OK);
    assert_int_equal(parse(row->macro, &macro), ADDRESS_OK);
    assert_string_equal(argument.key, macro.key);
}

/* Arguments Postfix repairs before it prints the macro: <a..b@d>, <.a@d>, <a.@d>, <u@d.>, <u(c)@d>,
 * <first."second".last@d>, <"\é"@d>. */
static void what_postfix_makes_of_bad_arguments_is_read(void **state)
{
    (void)state;
    static const char *const macros[] = {
        "\"a..b\"@d.test",          "\".a\"@d.test",   "\"a.\"@d.test", "u@d.test",
        "first.second.last@d.test", "\303\251@d.test",
    };
    struct address address;
    for (size_t i = 0; i < sizeof macros / sizeof *macros; i++) {
        assert_int_equal(parse(macros[i], &address), ADDRESS_OK);
        assert_string_equal(address.key, macros[i]);
    }
}

static void the_parts_of_a_quoted_mailbox_are_unquoted_and_folded(void **state)
{
    (void)state;
    struct address address;
    assert_int_equal(parse("<\"A \\\"B\\\\\"@Example.TEST>", &address), ADDRESS_OK);
    assert_string_equal(address.local, "a \"b\\");
    assert_string_equal(address.domain, "example.test");
    assert_true(address.quoted);
}

static void an_address_without_domain_has_no_probes(void **state)
{
    (void)state;
    static const char *const texts[] = {"<postmaster>", "<user+ext>"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct address address;
        struct address_probes probes = {.count = 99};
        assert_int_not_equal(parse(texts[i], &address), ADDRESS_MALFORMED);
        address_probes(&address, "+", &probes);
        assert_int_equal(probes.count, 0);
    }
}

/* The length counts, not a NUL: what lies behind it must not be read. */
static void nothing_behind_the_length_is_read(void **state)
{
    (void)state;
    struct address address;
    assert_int_equal(address_parse("u@d.testing", 8, &address), ADDRESS_OK);
    assert_string_equal(address.key, "u@d.test");
    assert_int_equal(address_parse("u@d.test>", 8, &address), ADDRESS_OK);
    assert_int_equal(address_parse("<u@d.test>", 9, &address), ADDRESS_MALFORMED);
}

static enum address_result parse_long(const char *open, size_t count, const char *unit,
                                      const char *close, struct address *address)
{
    static char bytes[16384];
    struct text text = text_on(bytes, sizeof bytes);
    text_add(&text, open);
    for (size_t i = 0; i < count; i++)
        text_add(&text, unit);
    text_add(&text, close);
    assert_false(text.overflow);
    return address_parse(bytes, text.length, address);
}

static void the_longest_local_part_is_read_and_a_longer_one_is_not(void **state)
{
    (void)state;
    struct address address;
    assert_int_equal(parse_long("", ADDRESS_LOCAL_MAX, "a", "@d.test", &address), ADDRESS_OK);
    assert_int_equal(strlen(address.local), ADDRESS_LOCAL_MAX);
    assert_int_equal(parse_long("", ADDRESS_LOCAL_MAX + 1, "a", "@d.test", &address),
                     ADDRESS_MALFORMED);
    assert_int_equal(parse_long("", ADDRESS_LOCAL_MAX + 1, "a", "", &address), ADDRESS_MALFORMED);
}

static void the_limit_counts_what_a_quoted_string_means(void **state)
{
    (void)state;
    struct address address;
    assert_int_equal(parse_long("\"", ADDRESS_LOCAL_MAX, "\\a", "\"@d.test", &address), ADDRESS_OK);
    assert_int_equal(strlen(address.local), ADDRESS_LOCAL_MAX);
    assert_int_equal(parse_long("\"", ADDRESS_LOCAL_MAX + 1, "\\a", "\"@d.test", &address),
                     ADDRESS_MALFORMED);
}

static void the_longest_key_fits_and_so_do_its_probes(void **state)
{
    (void)state;
    struct address address;
    struct address_probes probes;
    char domain[1 + ADDRESS_DOMAIN_MAX + 1] = "@";
    for (size_t i = 1; i < sizeof domain - 1; i++)
        domain[i] = i % 2 ? 'd' : '.';
    char close[2 + sizeof domain];
    snprintf(close, sizeof close, "+\"%s", domain);

    assert_int_equal(parse_long("\"", ADDRESS_LOCAL_MAX - 1, "\\\"", close, &address), ADDRESS_OK);
    assert_int_equal(strlen(address.domain), ADDRESS_DOMAIN_MAX);
    assert_int_equal(strlen(address.key), ADDRESS_KEY_MAX - 1 - 1); /* the '+' has no backslash */
    address_probes(&address, "+", &probes);
    assert_int_equal(probes.count, 5);
    assert_int_equal(strlen(probes.key[2]), ADDRESS_KEY_MAX - 1 - 2);
    assert_string_equal(probes.key[4], domain);
}

static void a_domain_of_256_octets_is_malformed(void **state)
{
    (void)state;
    struct address address;
    assert_int_equal(parse_long("u@", 127, "d.", "d", &address), ADDRESS_OK);
    assert_int_equal(strlen(address.domain), 255);
    assert_int_equal(parse_long("u@", 127, "d.", "dd", &address), ADDRESS_MALFORMED);
    assert_int_equal(parse_long("@", 127, "d.", "dd:u@d.test", &address), ADDRESS_MALFORMED);
}

static void a_utf8_label_is_measured_in_characters(void **state)
{
    (void)state;
    struct address address;
    assert_int_equal(parse_long("u@", 59, "\344\270\255", "", &address), ADDRESS_OK);
    assert_int_equal(parse_long("u@", 60, "\344\270\255", "", &address), ADDRESS_MALFORMED);
}

static void a_route_of_a_thousand_hops_is_dropped(void **state)
{
    (void)state;
    struct address address;
    assert_int_equal(parse_long("<@a.test", 1000, ",@a.test", ":u@d.test>", &address), ADDRESS_OK);
    assert_string_equal(address.key, "u@d.test");
}

/* Every byte at one place of a text, against the list of bytes the grammar allows there. */
static void check_every_byte(const char *format, const char *allowed)
{
    for (int c = 0; c < 256; c++) {
        char text[32];
        int length = snprintf(text, sizeof text, format, c);
        struct address address;
        bool right = c != 0 && strchr(allowed, c) != NULL;
        enum address_result result = address_parse(text, (size_t)length, &address);
        if ((result == ADDRESS_OK) != right)
            fail_msg("byte %d in %s", c, format);
    }
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define ATEXT LETTERS TEN "!#$%&'*+-/=?^_`{|}~"

static void an_atom_takes_atext_and_no_other_byte(void **state)
{
    (void)state;
    check_every_byte("%c@d.test", ATEXT);
    check_every_byte("a%cb@d.test", ATEXT ".");
}

static void quotes_take_qtext_and_no_other_byte(void **state)
{
    (void)state;
    check_every_byte("\"a%cb\"@d.test", ATEXT " (),.:;<>@[]\\"); /* \b is a pair */
}

static void a_pair_takes_printable_ascii_and_no_other_byte(void **state)
{
    (void)state;
    check_every_byte("\"a\\%cb\"@d.test", ATEXT " (),.:;<>@[]\"\\");
}

static void a_label_takes_let_dig_and_hyphen_and_no_other_byte(void **state)
{
    (void)state;
    check_every_byte("a@d%cd.test", LETTERS TEN "_-.");
    check_every_byte("a@%cd.test", LETTERS TEN "_");
    check_every_byte("a@d.tes%c", LETTERS TEN "_");
}

/* Texts made of the pieces the grammar cares about: whatever parses has a key that parses to
 * itself, and as many probes as there is room for, no two the same. */
static void whatever_parses_has_a_key_that_parses_to_itself(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "a", "B",  "+",     "-",  ".",         "@",          "\"",       "\\",        "<",
        ">", " ",  "[",     "]",  ",",         ":",          "\303\251", "\351",      "d.test",
        "_", "%s", "IPv6:", "::", "192.0.2.1", "postmaster", "@d.test",  "\"@d.test",
    };
    uint32_t random = 12345;
    size_t parsed = 0;
    for (int i = 0; i < 200000; i++) {
        char bytes[128];
        struct text text = text_on(bytes, sizeof bytes);
        random = random * 1664525 + 1013904223;
        for (uint32_t n = random >> 28; n > 0; n--) {
            random = random * 1664525 + 1013904223;
            text_add(&text, pieces[(random >> 16) % (sizeof pieces / sizeof *pieces)]);
        }
        if (i % 2)
            text_add(&text, "@d.test");
        struct address address, again;
        if (address_parse(bytes, text.length, &address) != ADDRESS_OK)
            continue;
        parsed++;
        assert_int_equal(parse(address.key, &again), ADDRESS_OK);
        assert_string_equal(again.key, address.key);
        assert_true(text_is_utf8(address.key, strlen(address.key)));
        struct address_probes probes;
        address_probes(&address, "+-", &probes);
        assert_in_range(probes.count, 2, ADDRESS_PROBES_MAX);
        assert_string_equal(probes.key[0], address.key);
        for (size_t a = 0; a < probes.count; a++)
            for (size_t b = 0; b < a; b++)
                assert_string_not_equal(probes.key[a], probes.key[b]);
    }
    assert_in_range(parsed, 1000, 200000); /* else the pieces are badly chosen */
}

int main(void)
{
    static const struct CMUnitTest functions[] = {
        cmocka_unit_test(what_postfix_makes_of_bad_arguments_is_read),
        cmocka_unit_test(the_parts_of_a_quoted_mailbox_are_unquoted_and_folded),
        cmocka_unit_test(an_address_without_domain_has_no_probes),
        cmocka_unit_test(nothing_behind_the_length_is_read),
        cmocka_unit_test(the_longest_local_part_is_read_and_a_longer_one_is_not),
        cmocka_unit_test(the_limit_counts_what_a_quoted_string_means),
        cmocka_unit_test(the_longest_key_fits_and_so_do_its_probes),
        cmocka_unit_test(a_domain_of_256_octets_is_malformed),
        cmocka_unit_test(a_utf8_label_is_measured_in_characters),
        cmocka_unit_test(a_route_of_a_thousand_hops_is_dropped),
        cmocka_unit_test(an_atom_takes_atext_and_no_other_byte),
        cmocka_unit_test(quotes_take_qtext_and_no_other_byte),
        cmocka_unit_test(a_pair_takes_printable_ascii_and_no_other_byte),
        cmocka_unit_test(a_label_takes_let_dig_and_hyphen_and_no_other_byte),
        cmocka_unit_test(whatever_parses_has_a_key_that_parses_to_itself),
    };
    enum { FUNCTIONS = sizeof functions / sizeof *functions };
    static struct CMUnitTest tests[PARSE_ROWS + PROBE_ROWS + PAIR_ROWS + FUNCTIONS];
    size_t count = 0;
    for (size_t i = 0; i < PARSE_ROWS; i++)
        tests[count++] = (struct CMUnitTest){parse_rows[i].claim, check_parse_row, NULL, NULL,
                                             (void *)&parse_rows[i]};
    for (size_t i = 0; i < PROBE_ROWS; i++)
        tests[count++] = (struct CMUnitTest){probe_rows[i].claim, check_probe_row, NULL, NULL,
                                             (void *)&probe_rows[i]};
    for (size_t i = 0; i < PAIR_ROWS; i++)
        tests[count++] = (struct CMUnitTest){pair_rows[i].claim, check_pair_row, NULL, NULL,
                                             (void *)&pair_rows[i]};
    for (size_t i = 0; i < FUNCTIONS; i++)
        tests[count++] = functions[i];
    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
