/*
 * reply - puts the names into a reply's text and makes it safe for the wire. Pure, any thread.
 */
#ifndef MILTER_REPLY_H
#define MILTER_REPLY_H

#include <stdbool.h>

#include "config/reply_setting.h"
#include "config/settings.h"

enum {
    REPLY_LINE_MAX = 900
}; /* bytes; libmilter takes 980 with code, and Postfix 512-byte lines are only advice */

struct reply {
    bool pass;
    char code[4];
    char enhanced[12];
    char text[REPLY_LINE_MAX + 1]; /* as a person reads it */
};

/* $recipient, $domain, $role; control characters and what is not UTF-8 become '?'; cut at
 * REPLY_LINE_MAX on a whole character. `recipient` and `domain` are the client's bytes. */
void reply_render(const struct reply_setting *setting, const char *recipient, const char *domain,
                  enum role role, struct reply *reply);

/* The text for smfi_setreply, which takes it for a format: every '%' doubled. libmilter refuses
 * more than 980 bytes, so what is longer than REPLY_ESCAPED_MAX is cut, on a whole character. */
enum { REPLY_ESCAPED_MAX = 960 };
void reply_escape_for_libmilter(const char *text, char *escaped, size_t size);

bool reply_is_5xx(const struct reply_setting *setting);

#endif
