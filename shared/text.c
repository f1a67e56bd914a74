#include "shared/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct text text_on(char *buffer, size_t capacity)
{
    buffer[0] = '\0';
    return (struct text){.bytes = buffer, .capacity = capacity};
}

void text_add_bytes(struct text *text, const char *bytes, size_t length)
{
    size_t room = text->overflow ? 0 : text->capacity - 1 - text->length;
    if (length > room) {
        text->overflow = true;
        length = room;
    }
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
}

void text_add(struct text *text, const char *string)
{
    text_add_bytes(text, string, strlen(string));
}

void text_add_char(struct text *text, char c)
{
    text_add_bytes(text, &c, 1);
}

void text_addf(struct text *text, const char *format, ...)
{
    if (text->overflow)
        return;
    size_t room = text->capacity - text->length;
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(text->bytes + text->length, room, format, args);
    va_end(args);
    text->overflow = wanted < 0 || (size_t)wanted >= room;
    if (wanted > 0) /* below zero nobody knows what was written */
        text->length = text->overflow ? text->capacity - 1 : text->length + (size_t)wanted;
    text->bytes[text->length] = '\0';
}

size_t text_utf8_sequence(const char *bytes, size_t length)
{
    /* RFC 3629 section 4: the second byte has a narrower range after four of the first bytes. */
    const unsigned char *s = (const unsigned char *)bytes;
    if (length == 0)
        return 0;
    if (s[0] < 0x80)
        return 1;
    size_t size = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || size > length)
        return 0;
    unsigned char low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

bool text_is_utf8(const char *bytes, size_t length)
{
    while (length > 0) {
        size_t size = text_utf8_sequence(bytes, length);
        if (size == 0)
            return false;
        bytes += size;
        length -= size;
    }
    return true;
}

/* Whole or not at all. */
static void add_whole(struct text *text, const char *bytes, size_t length)
{
    if (length > text->capacity - 1 - text->length)
        text->overflow = true;
    else
        text_add_bytes(text, bytes, length);
}

static void add_escaped(struct text *text, const char *bytes, size_t length)
{
    char buffer[3 * sizeof "\\xNN"]; /* what controls has at most three bytes */
    struct text escaped = text_on(buffer, sizeof buffer);
    for (size_t i = 0; i < length; i++)
        text_addf(&escaped, "\\x%02x", (unsigned char)bytes[i]);
    add_whole(text, escaped.bytes, escaped.length);
}

/* U+2028 and U+2029 end a line for whoever goes by Unicode; U+202A to U+202E and U+2066 to U+2069
 * turn the rest of it round on a terminal. */
static bool breaks_or_turns_lines(const char *sequence)
{
    unsigned char last = (unsigned char)sequence[2];
    return (memcmp(sequence, "\xe2\x80", 2) == 0 && last >= 0xa8 && last <= 0xae) ||
           (memcmp(sequence, "\xe2\x81", 2) == 0 && last >= 0xa6 && last <= 0xa9);
}

bool text_is_printable(const char *bytes, size_t length, size_t *size)
{
    unsigned char c = (unsigned char)bytes[0];
    size_t sequence = text_utf8_sequence(bytes, length);
    bool c1_control = sequence == 2 && c == 0xc2 && (unsigned char)bytes[1] < 0xa0;
    *size = sequence > 0 ? sequence : 1;
    return sequence > 0 && c >= 0x20 && c != 0x7f && !c1_control &&
           !(sequence == 3 && breaks_or_turns_lines(bytes));
}

size_t text_plain_length(const char *bytes, size_t length)
{
    size_t plain = 0;
    while (plain < length && bytes[plain] >= 0x20 && bytes[plain] < 0x7f)
        plain++;
    return plain;
}

void text_add_printable(struct text *text, const char *bytes, size_t length)
{
    for (size_t i = 0, size; i < length && !text->overflow; i += size) {
        if (text_is_printable(bytes + i, length - i, &size))
            add_whole(text, bytes + i, size);
        else /* of a C1 control both bytes: one alone would be no UTF-8 */
            add_escaped(text, bytes + i, size);
    }
}

void text_lower_ascii(char *string)
{
    for (; *string; string++)
        if (*string >= 'A' && *string <= 'Z')
            *string += 'a' - 'A';
}

bool text_same_word(const char *a, const char *b)
{
    for (;; a++, b++) {
        char x = *a >= 'A' && *a <= 'Z' ? (char)(*a + 32) : *a;
        char y = *b >= 'A' && *b <= 'Z' ? (char)(*b + 32) : *b;
        if (x != y)
            return false;
        if (x == '\0')
            return true;
    }
}

unsigned text_distance(const char *a, const char *b)
{
    /* Optimal string alignment, three rows; names longer than the rows are simply far apart. */
    enum { LONGEST = 64 };
    size_t m = strlen(a), n = strlen(b);
    if (m >= LONGEST || n >= LONGEST)
        return LONGEST;
    unsigned row[3][LONGEST + 1];
    for (unsigned j = 0; j <= n; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= m; i++) {
        unsigned *now = row[i % 3], *last = row[(i - 1) % 3], *before = row[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= n; j++) {
            unsigned best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[m % 3][n];
}

bool text_to_number(const char *string, uint64_t max, uint64_t *number)
{
    uint64_t value = 0;
    if (*string == '\0')
        return false;
    for (; *string; string++) {
        if (*string < '0' || *string > '9')
            return false;
        uint64_t digit = (uint64_t)(*string - '0');
        if (digit > max || value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *number = value;
    return true;
}
