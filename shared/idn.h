/*
 * idn - one domain, two names: münchen.example is xn--mnchen-3ya.example (RFC 5890, U-label and
 * A-label). The one home of libidn2. Any thread.
 *
 * Our keys have the A-labels: they are ASCII, so that there is one of them whatever the sender
 * wrote, and any table can hold it. A table may have either form, so db/maps.c asks for both. Of a
 * name in ASCII without A-labels there is one form, and nothing is done here but to see that.
 *
 * Two labels are the same only where IDNA2008 has them so: libidn2 makes the one of the other
 * (non-transitional: ß and the final sigma are letters of their own) and back, and nothing but case
 * and composition (NFC) was changed on the way. A label with which that cannot be done (no
 * Punycode, an emoji, a fullwidth letter, or no memory) stays as it is and is the same as itself
 * only.
 */
#ifndef SHARED_IDN_H
#define SHARED_IDN_H

#include <stdbool.h>
#include <stddef.h>

enum { IDN_DOMAIN_MAX = 255 }; /* octets, RFC 1035 2.3.4 */

/* A domain as keys have it, in place. Its ASCII letters are in lower case already. Where the
 * A-labels do not fit, so that it is no domain, all stays as it is and has no other form. */
void idn_to_key(char domain[IDN_DOMAIN_MAX + 1]);

/* The key with U-labels where it has A-labels: of a domain, or of what ends in one after the last
 * '@'. False where there is no other form, or it does not fit. */
bool idn_other_form(const char *key, char *other, size_t size);

#endif
