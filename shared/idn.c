#include "shared/idn.h"

#include <idn2.h>
#include <string.h>

#include "shared/text.h"
#include "shared/unicode.h"

enum {
    LABEL_MAX = 63, /* RFC 1035 2.3.4 */
    ULABEL_BYTES = 4 * LABEL_MAX,
};

static const char a_prefix[] = "xn--";

static bool is_alabel(const char *label)
{
    return strncmp(label, a_prefix, strlen(a_prefix)) == 0;
}

/* Has the domain labels in ASCII only, and no A-label? Most have. */
static bool has_one_form(const char *domain)
{
    if (!unicode_is_ascii(domain))
        return false;
    for (const char *at = domain; (at = strstr(at, a_prefix)); at++)
        if (at == domain || at[-1] == '.')
            return false;
    return true;
}

static bool copy_out(char *made, char *to, size_t size)
{
    struct text text = text_on(to, size);
    text_add(&text, made);
    idn2_free(made);
    return !text.overflow;
}

static bool encode(const char *ulabel, char *to, size_t size)
{
    char *made = NULL;
    return idn2_to_ascii_8z(ulabel, &made, IDN2_NONTRANSITIONAL) == IDN2_OK &&
           copy_out(made, to, size);
}

static bool decode(const char *alabel, char *to, size_t size)
{
    char *made = NULL;
    return idn2_to_unicode_8z8z(alabel, &made, 0) == IDN2_OK && copy_out(made, to, size);
}

/* One label in both its forms; false where it has not two. */
static bool forms_of(const char *label, char alabel[LABEL_MAX + 1], char ulabel[ULABEL_BYTES + 1])
{
    char again[ULABEL_BYTES + 1];
    bool ascii = unicode_is_ascii(label);
    if (ascii ? !is_alabel(label) || !decode(label, ulabel, ULABEL_BYTES + 1)
              : !unicode_lower(label, ulabel, ULABEL_BYTES + 1))
        return false;
    if (unicode_is_ascii(ulabel) || !encode(ulabel, alabel, LABEL_MAX + 1))
        return false;
    return is_alabel(alabel) && (!ascii || strcmp(alabel, label) == 0) &&
           decode(alabel, again, sizeof again) && strcmp(again, ulabel) == 0 &&
           unicode_lower(ulabel, again, sizeof again) && strcmp(again, ulabel) == 0;
}

/* Adds the domain with each label that has two forms in the wanted one. */
static void add_in_form(struct text *to, const char *domain, bool as_alabels)
{
    for (;;) {
        char label[ULABEL_BYTES + 1], alabel[LABEL_MAX + 1], ulabel[ULABEL_BYTES + 1];
        size_t length = strcspn(domain, ".");
        struct text text = text_on(label, sizeof label);
        text_add_bytes(&text, domain, length);
        if (text.overflow || !forms_of(label, alabel, ulabel))
            text_add_bytes(to, domain, length);
        else
            text_add(to, as_alabels ? alabel : ulabel);
        domain += length;
        if (*domain == '\0')
            return;
        text_add_char(to, *domain++);
    }
}

static bool to_alabels(const char *domain, char key[IDN_DOMAIN_MAX + 1])
{
    struct text text = text_on(key, IDN_DOMAIN_MAX + 1);
    add_in_form(&text, domain, true);
    return !text.overflow;
}

void idn_to_key(char domain[IDN_DOMAIN_MAX + 1])
{
    char key[IDN_DOMAIN_MAX + 1];
    if (!has_one_form(domain) && to_alabels(domain, key))
        strcpy(domain, key);
}

bool idn_other_form(const char *key, char *other, size_t size)
{
    const char *at = strrchr(key, '@');
    const char *domain = at ? at + 1 : key;
    char alabels[IDN_DOMAIN_MAX + 1];
    /* A key with U-labels has some that have no other form, or too many that do. */
    if (has_one_form(domain) || (!unicode_is_ascii(domain) && !to_alabels(domain, alabels)))
        return false;
    struct text text = text_on(other, size);
    text_add_bytes(&text, key, (size_t)(domain - key));
    add_in_form(&text, domain, false);
    return !text.overflow && strcmp(other, key) != 0;
}
