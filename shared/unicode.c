#include "shared/unicode.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <uninorm.h>

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

bool unicode_is_ascii(const char *text)
{
    while (*text && (unsigned char)*text < 0x80)
        text++;
    return *text == '\0';
}

static bool may_be_changed(const char *text)
{
    static const char *const twins_of_ascii[] = {
        "\xe2\x84\xaa", /* U+212A KELVIN SIGN */
        "\xcd\xbe",     /* U+037E GREEK QUESTION MARK */
        "\xe1\xbf\xaf", /* U+1FEF GREEK VARIA */
    };
    for (size_t i = 0; i < sizeof twins_of_ascii / sizeof *twins_of_ascii; i++)
        if (strstr(text, twins_of_ascii[i]))
            return false;
    return text_is_utf8(text, strlen(text));
}

bool unicode_lower(const char *text, char *to, size_t size)
{
    size_t length = size;
    if (!may_be_changed(text))
        return false;
    /* It writes into our buffer, or into one of its own where ours is too small. */
    uint8_t *made =
        u8_tolower((const uint8_t *)text, strlen(text), NULL, UNINORM_NFC, (uint8_t *)to, &length);
    bool fits = made == (uint8_t *)to && length < size;
    if (fits)
        to[length] = '\0';
    else if (made != (uint8_t *)to)
        free(made);
    return fits;
}

void unicode_lower_key(char *key)
{
    char lower[4096]; /* longer keys nobody asks for */
    text_lower_ascii(key);
    if (!unicode_is_ascii(key) && unicode_lower(key, lower, sizeof lower) &&
        strlen(lower) <= strlen(key))
        strcpy(key, lower);
}
