#include "shared/unicode.h"

#include <string.h>
#include <unicase.h>

#include "shared/text.h"

bool unicode_same_folded(const char *a, const char *b)
{
    int order;
    if (strcmp(a, b) == 0)
        return true;
    /* The library would take what is no UTF-8 for U+FFFD. */
    if (!text_is_utf8(a, strlen(a)) || !text_is_utf8(b, strlen(b)))
        return false;
    return u8_casecmp((const uint8_t *)a, strlen(a), (const uint8_t *)b, strlen(b), NULL,
                      UNINORM_NFC, &order) == 0 &&
           order == 0;
}
