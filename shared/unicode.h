/*
 * unicode - what needs Unicode's tables. The one home of libunistring. Pure, any thread.
 */
#ifndef SHARED_UNICODE_H
#define SHARED_UNICODE_H

#include <stdbool.h>
#include <stddef.h>

/* Are two texts the same but for case (full case folding) and composition (NFC)? Both are UTF-8;
 * what is not equals only itself. Fast where both are the same to the byte. */
bool unicode_same_folded(const char *a, const char *b);

/*
 * The text in lower case (Unicode's full mapping, no language's own rules: the final sigma is a
 * letter of its own, and so are ß and the dotless i) and composed (NFC). False, and nothing of use
 * in `to`, where the text is not UTF-8, does not fit, or holds one of the three characters of which
 * Unicode makes an ASCII one: the Kelvin sign (k), the Greek question mark (;) and the Greek varia
 * (`). A text with one of them stays as it was written, so that nobody passes for another.
 */
bool unicode_lower(const char *text, char *to, size_t size);

/* A key of a table in a file, in place: its ASCII letters in lower case, and by unicode_lower the
 * rest, unless it would become longer. */
void unicode_lower_key(char *key);

bool unicode_is_ascii(const char *text);

#endif
