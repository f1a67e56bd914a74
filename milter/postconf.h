/*
 * postconf - what the local Postfix is configured to do, as its own postconf(1) says it: the
 * values of main.cf, expanded and with their defaults, and those that master.cf sets for one
 * service alone.
 *
 * postconf_read runs the program; all the rest is pure. A struct postconf is read-only once read:
 * any thread.
 */
#ifndef MILTER_POSTCONF_H
#define MILTER_POSTCONF_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/fault.h"

/* An entry of master.cf. */
struct postconf_service {
    char *name;    /* "smtp/inet", as postconf -P names it */
    char *command; /* "smtpd -o ..." */
    bool chroot;
    bool smtpd; /* the command is smtpd */
};

struct postconf;

/* directory: Postfix's config_directory, NULL for its own default. NULL and a fault when postconf
 * is not there, fails, says more than a few MiB or takes longer than some seconds. The caller owns
 * it: postconf_free. */
struct postconf *postconf_read(const char *directory, struct fault *fault);

/* The same from what `postconf -x`, `postconf -x -P` and `postconf -F` print; takes none of the
 * texts over. NULL only when memory is short. */
struct postconf *postconf_parse(const char *main_cf, const char *overrides, const char *fields);
void postconf_free(struct postconf *postconf); /* NULL is fine */

const struct postconf_service *postconf_services(const struct postconf *postconf, size_t *count);

/* The value for that service ("smtp/inet"; NULL: main.cf's); "" where there is none. */
const char *postconf_value(const struct postconf *postconf, const char *service, const char *name);

/* Does master.cf set it for that service? */
bool postconf_overrides(const struct postconf *postconf, const char *service, const char *name);

/*
 * The next word of a list: they are separated by commas and white space, and braces hold both
 * together, as in main.cf. *at moves behind it. False at the end. A word that does not fit is cut:
 * so long a one is none of those we look for.
 */
bool postconf_next(const char **at, char *word, size_t size);

/* Is it in the list, in any case? */
bool postconf_list_has(const char *list, const char *word);

#endif
