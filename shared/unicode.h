/*
 * unicode - what needs Unicode's tables. The one home of libunistring. Pure, any thread.
 */
#ifndef SHARED_UNICODE_H
#define SHARED_UNICODE_H

#include <stdbool.h>

/* Are two texts the same but for case (full case folding) and composition (NFC)? Both are UTF-8;
 * what is not equals only itself. Fast where both are the same to the byte. */
bool unicode_same_folded(const char *a, const char *b);

#endif
