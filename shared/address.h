/*
 * address - the recipient as the directory knows it: an RFC 5321 mailbox in one canonical form.
 *
 * Pure functions on the caller's memory; any thread. Of an address in ASCII nothing is allocated.
 */
#ifndef SHARED_ADDRESS_H
#define SHARED_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

enum {
    /* RFC 5321 4.5.3.1 says 64, and asks not to enforce it; VERP and SRS go beyond. What is longer
     * than this no directory holds, and it is malformed. Octets, without the NUL. */
    ADDRESS_LOCAL_MAX = 1024,
    ADDRESS_DOMAIN_MAX = 255,                                        /* RFC 5321 4.5.3.1.2 */
    ADDRESS_KEY_MAX = 2 * ADDRESS_LOCAL_MAX + ADDRESS_DOMAIN_MAX + 4 /* all quoted, '@', the NUL */
};

/*
 * One mailbox has one key, however it was written.
 *
 * local part   lower case and composed (NFC), by unicode_lower in shared/unicode.h: no letter is
 *              taken for another one. Postfix folds the keys of its lookups too, and further.
 * domain       ASCII letters in lower case, labels beyond ASCII as A-labels: shared/idn.h
 */
struct address {
    char local[ADDRESS_LOCAL_MAX + 1]; /* unquoted: what "a b"@x means is `a b` */
    char sent[ADDRESS_LOCAL_MAX + 1];  /* the same with only its ASCII letters in lower case; "" if
                                        * that is the same */
    char domain[ADDRESS_DOMAIN_MAX + 1]; /* name or [literal]; "" unless ADDRESS_OK */
    char key[ADDRESS_KEY_MAX];           /* canonical: local part quoted only where it must be,
                                          * as Postfix spells it; "" unless ADDRESS_OK */
    bool quoted;                         /* the canonical local part needs its quotes */
};

/* None: nobody's. */
void address_clear(struct address *address);

enum address_result {
    ADDRESS_MALFORMED = 0, /* not a mailbox, too long, or not UTF-8: nothing was set */
    ADDRESS_OK,
    ADDRESS_NO_DOMAIN,  /* a local part alone; domain and key are "" */
    ADDRESS_POSTMASTER, /* bare <postmaster>, in any case: RFC 5321 4.5.1; domain and key are "" */
};

/* `text` is a path or mailbox, with or without angle brackets, `length` bytes (NULs are refused).
 * A source route before it is checked and dropped. An address literal comes out in the one
 * spelling of inet_ntop(3), so `[IPv6:2001:DB8:0::1]` and `[ipv6:2001:db8::1]` are one key. */
enum address_result address_parse(const char *text, size_t length, struct address *address);

/*
 * The keys under which a lookup table may hold the address, in Postfix's order: the whole address,
 * the address without its extension, the catch-all @domain. Where the local part needs quotes, the
 * quoted form comes first and the unquoted one second, as Postfix does. Where letters
 * beyond ASCII were folded or composed, it comes as it was sent after that: for a directory with
 * rows in capitals or in NFD.
 * The domain is the key's: that a table may have its other form is for db/maps.c.
 *
 * `delimiters` is recipient_delimiter: a set of characters, "" for none. The local part is split
 * at the first of them; where that is its first byte it is not split at all. `postmaster`,
 * `mailer-daemon`, `double-bounce`, and where '-' is among the delimiters `owner-*` and
 * `*-request`, are never split (Postfix split_addr.c). No key comes twice. An address without a
 * domain has no probes.
 */
enum { ADDRESS_PROBES_MAX = 9 };

struct address_probes {
    size_t count;
    char key[ADDRESS_PROBES_MAX][ADDRESS_KEY_MAX];
};

void address_probes(const struct address *address, const char *delimiters,
                    struct address_probes *probes);

#endif
