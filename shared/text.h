/*
 * text - building strings in a buffer of known size, and looking at untrusted bytes.
 *
 * A struct text borrows the caller's buffer and keeps it NUL-terminated after every call. What
 * does not fit is left out, `overflow` is set, and nothing more is added after that: the caller
 * checks it where a cut string would mean something else than the whole one. Not shared between
 * threads.
 */
#ifndef SHARED_TEXT_H
#define SHARED_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    char *bytes;     /* borrowed, NUL-terminated */
    size_t capacity; /* bytes, with the NUL; at least 1 */
    size_t length;   /* bytes, without the NUL */
    bool overflow;   /* something did not fit */
};

struct text text_on(char *buffer, size_t capacity);
void text_add(struct text *text, const char *string);
void text_add_bytes(struct text *text, const char *bytes, size_t length);
void text_add_char(struct text *text, char c);
void text_addf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For a terminal or a log line: bytes below 0x20, 0x7f, C1 controls and whatever is not UTF-8 come
 * out as \xNN; the rest as it is. A backslash in the input stays one, so the result is for reading,
 * not for parsing. Where it is cut, it is cut between characters. */
void text_add_printable(struct text *text, const char *bytes, size_t length);

/* Is it well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF)? */
bool text_is_utf8(const char *bytes, size_t length);

/* The length of the well-formed UTF-8 sequence at bytes, 1 to 4; 0 where there is none. */
size_t text_utf8_sequence(const char *bytes, size_t length);

/* The same, with nothing among them that controls: bytes below 0x20, 0x7f, U+0080 to U+009F, and
 * what ends a line or turns its direction (U+2028 to U+202E, U+2066 to U+2069).
 * *size is the length of what stands there, printable or not; a byte that is no UTF-8 counts 1. */
bool text_is_printable(const char *bytes, size_t length, size_t *size);

/* How many bytes from the beginning are printable ASCII: what most text is made of, and what needs
 * no closer look. */
size_t text_plain_length(const char *bytes, size_t length);

/* ASCII only, in place, whatever the locale. */
void text_lower_ascii(char *string);

/* Case-insensitive in ASCII only, whatever the locale. */
bool text_same_word(const char *a, const char *b);

/* The edit distance of two names (insert, delete, change, swap neighbours), for "did you mean". */
unsigned text_distance(const char *a, const char *b);

/* Reads decimal digits and nothing else; false on anything else or on a number above max. */
bool text_to_number(const char *string, uint64_t max, uint64_t *number);

#endif
