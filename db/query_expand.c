/* The templates of mysql_table(5) and its like: Postfix's db_common_expand and its rules of
 * suppression. */
#include "db/query.h"

#include <string.h>

#include "shared/idn.h"
#include "shared/text.h"
#include "shared/unicode.h"

struct piece {
    const char *bytes;
    size_t length;
};

struct parts {
    struct piece whole, user, domain;
    bool has_domain; /* there is an '@' */
};

/* The last '@' divides; without one the whole is the local part, and there is no domain. */
static struct parts parts_of(const char *string)
{
    struct parts parts = {.whole = {string, strlen(string)}};
    const char *at = strrchr(string, '@');
    parts.user = parts.whole;
    if (at) {
        parts.has_domain = true;
        parts.user.length = (size_t)(at - string);
        parts.domain = (struct piece){at + 1, strlen(at + 1)};
    }
    return parts;
}

static bool lacks_user(const struct parts *parts)
{
    return parts->has_domain && parts->user.length == 0;
}

/* Number 1 is the last label. Empty labels do not count, as in Postfix's argv_split. */
static bool label_of(struct piece domain, unsigned number, struct piece *label)
{
    size_t end = domain.length;
    while (end > 0) {
        size_t start = end;
        while (start > 0 && domain.bytes[start - 1] != '.')
            start--;
        if (start < end && --number == 0) {
            *label = (struct piece){domain.bytes + start, end - start};
            return true;
        }
        end = start > 0 ? start - 1 : 0;
    }
    return false;
}

static bool key_has_needs(const struct query *query, const struct parts *key)
{
    struct piece label;
    if (query->needs_key_domain && key->domain.length == 0)
        return false;
    if (query->needs_key_user && lacks_user(key))
        return false;
    return query->needs_labels == 0 || label_of(key->domain, query->needs_labels, &label);
}

/* As Postfix folds: ASCII, and beyond it what Unicode says. The list may be long, so that question
 * is only asked where it can matter. */
static bool same_domain(const char *a, const char *b)
{
    return text_same_word(a, b) ||
           (!unicode_is_ascii(a) && !unicode_is_ascii(b) && unicode_same_folded(a, b));
}

/* Postfix's match_list: the first entry that names the domain decides. Here it names it in either
 * form: the table may hold the one, and the list the other. */
static bool domain_is_listed(const struct query *query, const struct parts *key)
{
    char domain[IDN_DOMAIN_MAX + 1];
    if (key->domain.length == 0 || key->user.length == 0 || key->domain.length > IDN_DOMAIN_MAX)
        return false;
    memcpy(domain, key->domain.bytes, key->domain.length);
    domain[key->domain.length] = '\0';
    if (!unicode_is_ascii(domain)) {
        text_lower_ascii(domain);
        idn_to_key(domain);
    }
    for (size_t i = 0; i < query->domain_count; i++) {
        bool excludes = query->domains[i][0] == '!';
        if (same_domain(query->domains[i] + excludes, domain))
            return !excludes;
    }
    return false;
}

static bool applies(const struct query *query, const struct parts *key)
{
    return key->whole.length > 0 && (!query->domains || domain_is_listed(query, key)) &&
           key_has_needs(query, key);
}

bool query_applies(const struct query *query, const char *key)
{
    struct parts parts = parts_of(key);
    return applies(query, &parts);
}

struct output {
    struct text text;
    query_escape *escape; /* NULL: bytes as they are */
    void *context;
};

static void output_piece(struct output *output, struct piece piece)
{
    struct text *text = &output->text;
    if (!output->escape) {
        text_add_bytes(text, piece.bytes, piece.length);
        return;
    }
    char *to = text->bytes + text->length;
    size_t room = text->capacity - text->length;
    if (text->overflow || room < 2 * piece.length + 1) {
        text->overflow = true;
        return;
    }
    size_t length = output->escape(output->context, to, piece.bytes, piece.length);
    if (length > 2 * piece.length) {
        text->overflow = true;
        length = 0;
    }
    text->length += length;
    text->bytes[text->length] = '\0';
}

/* The templates were checked when the file was read, the parts by the caller. */
static void expand(const char *format, const struct parts *value, const struct parts *key,
                   struct output *output)
{
    for (const char *c = format; *c; c++) {
        struct piece label;
        if (*c != '%') {
            text_add_char(&output->text, *c);
            continue;
        }
        switch (*++c) {
        case '%':
            text_add_char(&output->text, '%');
            break;
        case 's':
            output_piece(output, value->whole);
            break;
        case 'u':
            output_piece(output, value->user);
            break;
        case 'd':
            output_piece(output, value->domain);
            break;
        case 'S':
            output_piece(output, key->whole);
            break;
        case 'U':
            output_piece(output, key->user);
            break;
        case 'D':
            output_piece(output, key->domain);
            break;
        default:
            if (label_of(key->domain, (unsigned)(*c - '0'), &label))
                output_piece(output, label);
        }
    }
}

enum query_expansion query_expand(const struct query *query, const char *key, query_escape *escape,
                                  void *context, char *sql, size_t size)
{
    struct parts parts = parts_of(key);
    if (!applies(query, &parts))
        return EXPANSION_SUPPRESSED;
    struct output output = {.text = text_on(sql, size), .escape = escape, .context = context};
    expand(query->statement, &parts, &parts, &output);
    return output.text.overflow ? EXPANSION_TOO_LONG : EXPANSION_OK;
}

bool query_format(const struct query *query, const char *key, const char *value, char *result,
                  size_t size)
{
    if (!value || !*value)
        return false;
    struct parts value_parts = parts_of(value), key_parts = parts_of(key);
    if ((query->needs_value_domain && value_parts.domain.length == 0) ||
        (query->needs_value_user && lacks_user(&value_parts)) || !key_has_needs(query, &key_parts))
        return false;

    size_t length = strlen(result);
    struct output output = {.text = {.bytes = result, .capacity = size, .length = length}};
    if (length > 0)
        text_add_char(&output.text, ',');
    expand(query->result_format, &value_parts, &key_parts, &output);
    return true;
}

void query_values_add(struct query_values *values, const char *value)
{
    if (query_format(values->query, values->key, value, values->joined, sizeof values->joined))
        values->count++;
}

bool query_values_judge(const struct query_values *values, struct finding *finding)
{
    unsigned limit = values->query->expansion_limit;
    if (limit > 0 && values->count > limit) {
        fault_set(&finding->why, "%lu values, more than expansion_limit = %u", values->count,
                  limit);
        return false;
    }
    if (values->count > 0)
        finding_set_found(finding, values->joined);
    else
        finding_set_absent(finding);
    return true;
}
