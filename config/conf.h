/*
 * conf - the reader of main.cf syntax: rcpt-milter.conf and mysql_table(5) files go through it.
 *
 * postconf(5): `name = value`; a line whose first character that is not white space is `#` is a
 * comment, also between continuation lines; a line that starts with white space continues the one
 * before (an empty line or a comment between them ends nothing); the last setting of a name wins.
 * White space around name and value goes; inside a value it stays as written, also where lines were
 * joined. Nothing is expanded here. A carriage return before the line's end is dropped, as files
 * come from Windows editors and Postfix reads them too. A file with a NUL, a line without `=`, a
 * name with white space inside, or a continuation of nothing (which Postfix drops with a warning:
 * a setting would be lost) is refused with file:line; so is what is no plain file, or holds more
 * than CONF_FILE_MAX bytes. Values are bytes; whoever uses them judges them.
 *
 * A struct conf is read-only once read: any thread.
 */
#ifndef CONFIG_CONF_H
#define CONFIG_CONF_H

#include <stddef.h>

#include "shared/fault.h"

enum { CONF_FILE_MAX = 1 << 20 }; /* bytes */

struct conf_entry {
    char *name;
    char *value;   /* "" where nothing follows the '=' */
    unsigned line; /* where it starts, from 1 */
};

struct conf {
    char *path; /* for messages */
    struct conf_entry *entries;
    size_t count;
};

/* NULL and a fault when the file cannot be read or is wrong. The caller owns it: conf_free. */
struct conf *conf_read(const char *path, struct fault *fault);
struct conf *conf_read_bytes(const char *path_for_messages, const char *bytes, size_t length,
                             struct fault *fault);
void conf_free(struct conf *conf); /* NULL is fine */

/* The last entry of that name, or NULL. */
const struct conf_entry *conf_find(const struct conf *conf, const char *name);

#endif
