/*
 * reply_setting - a reply as an admin writes it: `pass`, or `CODE X.Y.Z text`.
 *
 * CODE is 4xx or 5xx as in RFC 5321 4.2 (second digit 0 to 5), X.Y.Z an enhanced status code (RFC
 * 3463) of the same class. The text may be empty and may hold $recipient, $domain and $role (also
 * ${...}); `$$` is a dollar. It has no control characters, is UTF-8, and at most REPLY_TEXT_MAX
 * bytes. Pure, any thread.
 */
#ifndef CONFIG_REPLY_SETTING_H
#define CONFIG_REPLY_SETTING_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/fault.h"

enum { REPLY_TEXT_MAX = 400 }; /* bytes, before $name is put in; libmilter takes 980 in all */

struct reply_setting {
    bool pass;         /* then the rest is empty */
    char code[4];      /* "450" */
    char enhanced[12]; /* "4.1.1", RFC 3463: up to 1.3.3 digits */
    char text[REPLY_TEXT_MAX + 1];
};

/* False and a fault that says what is wrong with it. */
bool reply_setting_parse(const char *text, struct reply_setting *setting, struct fault *fault);

/* The parts alone, for access_maps actions: three digits 4xx/5xx; X.Y.Z. */
bool reply_code_is_valid(const char *code, size_t length);
bool reply_enhanced_is_valid(const char *enhanced, size_t length);

#endif
