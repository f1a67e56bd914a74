#include "shared/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

#include "shared/idn.h"
#include "shared/text.h"
#include "shared/unicode.h"

/* clang-format off */
/*
 * The grammar. RFC 5321 section 4.1.2 and, for literals, 4.1.3; RFC 6531 section 3.3 adds the
 * UTF-8. Where a rule takes more or less than the RFC, the note below it says why. One function
 * stands for each rule and bears its name.
 *
 *   path            = "<" inside ">" / inside
 *                       ; the RCPT argument has the brackets, Postfix's {rcpt_addr} does not
 *   inside          = [ A-d-l ":" ] local-part [ "@" domain ]
 *                       ; without a domain: <postmaster> (4.5.1), or a name for the caller to refuse
 *   A-d-l           = at-domain *( "," at-domain )
 *                       ; a source route: "MUST be accepted, SHOULD be ignored" (4.1.2, appendix C)
 *   at-domain       = "@" domain
 *   local-part      = dot-string / quoted-string
 *   dot-string      = atom *( "." atom )
 *   atom            = 1*atext
 *   atext           = ALPHA / DIGIT / "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "/" /
 *                     "=" / "?" / "^" / "_" / "`" / "{" / "|" / "}" / "~"   ; RFC 5322 3.2.3
 *                     / UTF8-non-ascii
 *   quoted-string   = DQUOTE *QcontentSMTP DQUOTE
 *   QcontentSMTP    = qtextSMTP / quoted-pairSMTP
 *   qtextSMTP       = %d32-33 / %d35-91 / %d93-126 / UTF8-non-ascii
 *                       ; no control bytes, no tab
 *   quoted-pairSMTP = "\" %d32-126
 *   domain          = host-name / address-literal
 *   host-name       = label *( "." label )
 *                       ; not digits and dots alone: that is an address which lost its brackets
 *                       ; (RFC 1123 2.1), and Postfix refuses it too
 *   label           = let-dig [ *( let-dig / "-" ) let-dig ]
 *   let-dig         = ALPHA / DIGIT / "_" / UTF8-non-ascii
 *                       ; no host may be called that, but hosts are, and Postfix takes the "_"
 *                       ; (valid_hostname.c): who gets mail there must not lose it to us
 *   address-literal = "[" ( IPv4 / "IPv6:" IPv6 ) "]"
 *                       ; as inet_pton(3) reads them. General-address-literal: IANA has registered no
 *                       ; tag but IPv6, so no other one can be meant
 *   UTF8-non-ascii  = UTF8-2 / UTF8-3 / UTF8-4
 *                       ; RFC 3629 4, less U+0080 to U+009F: these are controls, which have no
 *                       ; business in a name and do harm on a terminal
 *
 * This dot-string is exactly what quote_821_local(3) and quote_822_local(3) of Postfix leave
 * unquoted, so that the key is spelled as Postfix spells it.
 */
/* clang-format on */

static_assert((int)ADDRESS_DOMAIN_MAX == (int)IDN_DOMAIN_MAX, "one of them is handed to the other");

enum {
    LABEL_MAX = 63,  /* RFC 1035 2.3.4, octets */
    ULABEL_MAX = 59, /* characters: "xn--" and at least one octet for each must fit LABEL_MAX */
};

struct cursor {
    const char *at;
    const char *end;
};

static bool take(struct cursor *cursor, char c)
{
    if (cursor->at == cursor->end || *cursor->at != c)
        return false;
    cursor->at++;
    return true;
}

static bool is_let_dig_ascii(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool skip_utf8_non_ascii(struct cursor *cursor)
{
    size_t size = text_utf8_sequence(cursor->at, (size_t)(cursor->end - cursor->at));
    if (size < 2)
        return false;
    const unsigned char *s = (const unsigned char *)cursor->at;
    if (s[0] == 0xc2 && s[1] < 0xa0) /* U+0080 to U+009F */
        return false;
    cursor->at += size;
    return true;
}

static bool skip_atext(struct cursor *cursor)
{
    if (cursor->at == cursor->end)
        return false;
    char c = *cursor->at;
    if (is_let_dig_ascii(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c))) {
        cursor->at++;
        return true;
    }
    return skip_utf8_non_ascii(cursor);
}

static bool skip_atom(struct cursor *cursor)
{
    if (!skip_atext(cursor))
        return false;
    while (skip_atext(cursor))
        ;
    return true;
}

static bool skip_dot_string(struct cursor *cursor)
{
    do {
        if (!skip_atom(cursor))
            return false;
    } while (take(cursor, '.'));
    return true;
}

static bool skip_qtext(struct cursor *cursor)
{
    if (cursor->at == cursor->end)
        return false;
    char c = *cursor->at;
    if (c >= 32 && c <= 126) {
        cursor->at++;
        return c != '"' && c != '\\';
    }
    return skip_utf8_non_ascii(cursor);
}

/* The opening quote has been taken. Adds what the string means, without quotes and backslashes. */
static bool take_quoted_rest(struct cursor *cursor, struct text *local)
{
    while (!take(cursor, '"')) {
        bool pair = take(cursor, '\\');
        const char *start = cursor->at;
        if (pair) {
            if (start == cursor->end || *start < 32 || *start > 126)
                return false;
            cursor->at++;
        } else if (!skip_qtext(cursor)) {
            return false;
        }
        text_add_bytes(local, start, (size_t)(cursor->at - start));
    }
    return true;
}

static bool take_local_part(struct cursor *cursor, struct text *local, bool *came_quoted)
{
    const char *start = cursor->at;
    *came_quoted = take(cursor, '"');
    if (*came_quoted) {
        if (!take_quoted_rest(cursor, local))
            return false;
    } else {
        if (!skip_dot_string(cursor))
            return false;
        text_add_bytes(local, start, (size_t)(cursor->at - start));
    }
    return !local->overflow;
}

static bool skip_label(struct cursor *cursor)
{
    const char *start = cursor->at;
    size_t characters = 0;
    for (; cursor->at < cursor->end; characters++) {
        char c = *cursor->at;
        bool hyphen = c == '-' && characters > 0;
        if (hyphen || c == '_' || is_let_dig_ascii(c))
            cursor->at++;
        else if (!skip_utf8_non_ascii(cursor))
            break;
    }
    size_t octets = (size_t)(cursor->at - start);
    if (octets == 0 || cursor->at[-1] == '-')
        return false;
    /* The limit holds for the form in the DNS; a U-label may be longer in UTF-8 (RFC 5890 4.2). */
    return characters == octets ? octets <= LABEL_MAX : characters <= ULABEL_MAX;
}

static bool take_host_name(struct cursor *cursor, struct text *domain)
{
    const char *start = cursor->at;
    do {
        if (!skip_label(cursor))
            return false;
    } while (take(cursor, '.'));
    text_add_bytes(domain, start, (size_t)(cursor->at - start));
    if (domain->overflow)
        return false;
    text_lower_ascii(domain->bytes);
    idn_to_key(domain->bytes);
    domain->length = strlen(domain->bytes);
    return domain->bytes[strspn(domain->bytes, "0123456789.")] != '\0';
}

/* Snum (RFC 5321 4.1.3) is decimal, whatever zeros it begins with, and Postfix passes these on.
 * inet_pton(3) refuses them, since elsewhere they make a number octal. */
static void drop_leading_zeros(char *numbers)
{
    bool at_start = true;
    char *to = numbers;
    for (const char *from = numbers; *from; from++) {
        if (at_start && *from == '0' && from[1] >= '0' && from[1] <= '9')
            continue;
        at_start = *from == '.';
        *to++ = *from;
    }
    *to = '\0';
}

/* The opening bracket has been taken. Adds the one spelling that inet_ntop(3) gives, in lower
 * case as Postfix folds it, so that two spellings of an address are one key. */
static bool take_literal_rest(struct cursor *cursor, struct text *domain)
{
    enum { TAG = 5 };
    char inside[TAG + INET6_ADDRSTRLEN], tag[TAG + 1], printed[INET6_ADDRSTRLEN];
    unsigned char address[sizeof(struct in6_addr)];
    const char *start = cursor->at;
    while (cursor->at < cursor->end && *cursor->at != ']' && *cursor->at != '\0')
        cursor->at++;
    size_t length = (size_t)(cursor->at - start);
    if (length >= sizeof inside || !take(cursor, ']'))
        return false;
    memcpy(inside, start, length);
    inside[length] = '\0';
    struct text first = text_on(tag, sizeof tag);
    text_add(&first, inside); /* cut to the length of a tag */

    bool ipv6 = text_same_word(tag, "IPv6:");
    int family = ipv6 ? AF_INET6 : AF_INET;
    if (!ipv6)
        drop_leading_zeros(inside);
    if (inet_pton(family, ipv6 ? inside + TAG : inside, address) != 1 ||
        !inet_ntop(family, address, printed, sizeof printed))
        return false;
    text_addf(domain, "[%s%s]", ipv6 ? "ipv6:" : "", printed);
    return true;
}

static bool take_domain(struct cursor *cursor, struct text *domain)
{
    bool taken =
        take(cursor, '[') ? take_literal_rest(cursor, domain) : take_host_name(cursor, domain);
    return taken && !domain->overflow;
}

/* Nothing or a whole A-d-l with its colon; it is checked and forgotten. */
static bool skip_route(struct cursor *cursor)
{
    if (!take(cursor, '@'))
        return true;
    for (;;) {
        char scratch[ADDRESS_DOMAIN_MAX + 1];
        struct text hop = text_on(scratch, sizeof scratch);
        if (!take_domain(cursor, &hop))
            return false;
        if (!take(cursor, ','))
            return take(cursor, ':');
        if (!take(cursor, '@'))
            return false;
    }
}

static bool needs_quotes(const char *local)
{
    struct cursor cursor = {local, local + strlen(local)};
    return !skip_dot_string(&cursor) || cursor.at != cursor.end;
}

static void add_quoted(struct text *text, const char *local)
{
    text_add_char(text, '"');
    for (; *local; local++) {
        if (*local == '"' || *local == '\\')
            text_add_char(text, '\\');
        text_add_char(text, *local);
    }
    text_add_char(text, '"');
}

/* RFC 5321 4.1.2: "the form that uses the minimum quoting possible". */
static void print_key(char key[ADDRESS_KEY_MAX], const char *local, const char *domain, bool quoted)
{
    struct text text = text_on(key, ADDRESS_KEY_MAX);
    if (quoted)
        add_quoted(&text, local);
    else
        text_add(&text, local);
    text_add_char(&text, '@');
    text_add(&text, domain);
}

/* `sent` is `local` as it came, and empty where it is that. */
static void fold_local(char local[ADDRESS_LOCAL_MAX + 1], char sent[ADDRESS_LOCAL_MAX + 1])
{
    char folded[ADDRESS_LOCAL_MAX + 1];
    sent[0] = '\0';
    text_lower_ascii(local);
    if (unicode_is_ascii(local) || !unicode_lower(local, folded, sizeof folded) ||
        strcmp(folded, local) == 0)
        return;
    strcpy(sent, local);
    strcpy(local, folded);
}

void address_clear(struct address *address)
{
    address->local[0] = address->sent[0] = address->domain[0] = address->key[0] = '\0';
    address->quoted = false;
}

enum address_result address_parse(const char *text, size_t length, struct address *address)
{
    char local_bytes[ADDRESS_LOCAL_MAX + 1], domain_bytes[ADDRESS_DOMAIN_MAX + 1];
    struct text local = text_on(local_bytes, sizeof local_bytes);
    struct text domain = text_on(domain_bytes, sizeof domain_bytes);
    struct cursor cursor = {text, text + length};

    bool bracket = take(&cursor, '<'), came_quoted;
    if (!skip_route(&cursor) || !take_local_part(&cursor, &local, &came_quoted))
        return ADDRESS_MALFORMED;
    if (take(&cursor, '@') && !take_domain(&cursor, &domain))
        return ADDRESS_MALFORMED;
    if (bracket && !take(&cursor, '>'))
        return ADDRESS_MALFORMED;
    if (cursor.at != cursor.end)
        return ADDRESS_MALFORMED;

    fold_local(local_bytes, address->sent);
    memcpy(address->local, local_bytes, strlen(local_bytes) + 1);
    memcpy(address->domain, domain_bytes, domain.length + 1);
    bool as_it_came = address->sent[0] == '\0'; /* but for capitals in ASCII */
    address->quoted = (came_quoted || !as_it_came) && needs_quotes(local_bytes);
    address->key[0] = '\0';
    if (domain.length > 0) {
        print_key(address->key, address->local, address->domain, address->quoted);
        return ADDRESS_OK;
    }
    /* <"postmaster"> too: "all quoted forms MUST be treated as equivalent" (RFC 5321 4.1.2). */
    return strcmp(local_bytes, "postmaster") == 0 ? ADDRESS_POSTMASTER : ADDRESS_NO_DOMAIN;
}

/* The length of the local part without its extension; 0 where it must not or cannot be split.
 * Postfix split_addr(3), with its default owner_request_special = yes. That rule looks at the set
 * of delimiters, not at the one that would split: owner-list+x is whole under "+-". */
static size_t length_without_extension(const char *local, const char *delimiters)
{
    static const char *const never_split[] = {"postmaster", "mailer-daemon", "double-bounce"};
    for (size_t i = 0; i < sizeof never_split / sizeof *never_split; i++)
        if (strcmp(local, never_split[i]) == 0)
            return 0;

    size_t length = strlen(local), request = strlen("-request");
    if (strchr(delimiters, '-')) {
        if (strncmp(local, "owner-", strlen("owner-")) == 0)
            return 0;
        if (length > request && strcmp(local + length - request, "-request") == 0)
            return 0;
    }
    size_t stripped = strcspn(local, delimiters);
    return stripped < length ? stripped : 0;
}

static void add_probe(struct address_probes *probes, const char *local, const char *domain,
                      bool quoted)
{
    char *key = probes->key[probes->count];
    print_key(key, local, domain, quoted);
    for (size_t i = 0; i < probes->count; i++)
        if (strcmp(probes->key[i], key) == 0)
            return;
    probes->count++;
}

/* As mail_addr_find(3): the external form first, the internal one where it differs. */
static void add_local_probes(struct address_probes *probes, const char *local, const char *domain)
{
    if (needs_quotes(local))
        add_probe(probes, local, domain, true);
    add_probe(probes, local, domain, false);
}

static void add_stripped_probes(struct address_probes *probes, const char *local,
                                const char *delimiters, const char *domain)
{
    char stripped[ADDRESS_LOCAL_MAX + 1];
    size_t length = length_without_extension(local, delimiters);
    if (length == 0)
        return;
    memcpy(stripped, local, length);
    stripped[length] = '\0';
    add_local_probes(probes, stripped, domain);
}

void address_probes(const struct address *address, const char *delimiters,
                    struct address_probes *probes)
{
    probes->count = 0;
    if (address->domain[0] == '\0')
        return;
    bool was_changed = address->sent[0] != '\0';
    add_local_probes(probes, address->local, address->domain);
    if (was_changed)
        add_local_probes(probes, address->sent, address->domain);
    add_stripped_probes(probes, address->local, delimiters, address->domain);
    if (was_changed)
        add_stripped_probes(probes, address->sent, delimiters, address->domain);
    add_probe(probes, "", address->domain, false);
}
