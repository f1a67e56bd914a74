#include "db/domain_keys.h"

#include <string.h>

#include "shared/text.h"

static const char separators[] = ", \t\r\n";

/* Longer than a few spellings of the longest domain is a list that may have been cut: the rest of
 * it is not known. */
enum { ALIAS_VALUE_MAX = 3 * ADDRESS_DOMAIN_MAX };

static unsigned count_labels(const char *name)
{
    unsigned count = 1;
    for (const char *c = name; *c; c++)
        count += *c == '.';
    return count;
}

const char *domain_next_key(const char *key, bool parents_match)
{
    if (*key == '\0' || *key == '[')
        return NULL;
    const char *dot = key;
    do
        dot = strchr(dot + 1, '.');
    while (dot && count_labels(dot + 1) > DOMAIN_PARENT_LABELS_MAX);
    return dot ? dot + parents_match : NULL;
}

const char *domain_of_catch_all(const char *key)
{
    /* `"@a"@example.com` without its quotes begins with an '@', too. */
    return key[0] == '@' && key[1] != '\0' && !strchr(key + 1, '@') ? key + 1 : NULL;
}

bool domain_move_address(const struct address *address, const char *domain, size_t length,
                         struct address *moved)
{
    char bytes[ADDRESS_KEY_MAX];
    struct text text = text_on(bytes, sizeof bytes);
    const char *at = strrchr(address->key, '@');
    text_add_bytes(&text, address->key, (size_t)(at - address->key) + 1);
    text_add_bytes(&text, domain, length);
    return !text.overflow && address_parse(text.bytes, text.length, moved) == ADDRESS_OK;
}

bool domain_alias_target(const struct address *address, const char *value, struct address *target)
{
    struct address again;
    bool any = false;
    if (!strrchr(address->key, '@') || strlen(value) > ALIAS_VALUE_MAX)
        return false;
    for (value += strspn(value, separators); *value; value += strspn(value, separators)) {
        size_t length = strcspn(value, separators);
        if (*value != '@' ||
            !domain_move_address(address, value + 1, length - 1, any ? &again : target))
            return false;
        if (any && strcmp(again.domain, target->domain) != 0)
            return false;
        any = true;
        value += length;
    }
    return any && strcmp(target->domain, address->domain) != 0;
}
