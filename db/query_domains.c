/* `domain`: Postfix's match_list(3), but for lookup tables, which have no deadline there. */
#include "db/query.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/idn.h"
#include "shared/log.h"
#include "shared/text.h"

static const char WORD_SEPARATORS[] = ", \t\r\n"; /* Postfix's CHARS_COMMA_SP */

enum { FILES_DEEP_MAX = 8 }; /* a file that names itself has no end */

struct reading {
    struct query *query;
    char where[PATH_MAX + 32]; /* for messages: "file:line" of what is being read */
    unsigned depth;
    struct fault *fault;
};

static bool add_words(struct reading *reading, const char *at, bool excludes);

/* As keys have it, so that U-labels and A-labels are one name. What is too long for a domain is
 * none that will be asked for. */
static void copy_domain(char name[IDN_DOMAIN_MAX + 1], const char *word, size_t length)
{
    snprintf(name, IDN_DOMAIN_MAX + 1, "%.*s", (int)length, word);
    text_lower_ascii(name);
    idn_to_key(name);
}

static bool add_domain(struct query *query, const char *word, size_t length, bool excludes,
                       struct fault *fault)
{
    char name[IDN_DOMAIN_MAX + 1];
    if (length > IDN_DOMAIN_MAX)
        return true;
    copy_domain(name, word, length);
    char **grown = realloc(query->domains, (query->domain_count + 1) * sizeof *grown);
    char *domain = NULL;
    if (grown)
        query->domains = grown;
    if (!grown || asprintf(&domain, "%s%s", excludes ? "!" : "", name) < 0) {
        fault_set(fault, "out of memory");
        return false;
    }
    query->domains[query->domain_count++] = domain;
    return true;
}

/* As conf_read does: what is no plain file could have no end, or hold the reader for ever. */
static FILE *open_plain(const char *path, struct fault *fault)
{
    struct stat status;
    FILE *file = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0 && fstat(fd, &status) == 0 && !S_ISREG(status.st_mode))
        fault_set(fault, "%s: is not a plain file", path);
    else if (fd < 0 || !(file = fdopen(fd, "r")))
        fault_set(fault, "%s: %m", path);
    if (fd >= 0 && !file)
        close(fd);
    return file;
}

/* The same words, over lines; `#` begins a comment line. A file with a NUL is refused, since a
 * domain that got lost behind it would have no recipients any more. */
static bool add_lines(struct reading *reading, const char *path, FILE *file, bool excludes)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    bool good = true;
    for (unsigned number = 1; good && (length = getline(&line, &size, file)) >= 0; number++) {
        snprintf(reading->where, sizeof reading->where, "%s:%u", path, number);
        good = strlen(line) == (size_t)length;
        if (!good)
            fault_set(reading->fault, "%s: holds a NUL byte; is this a text file?", path);
        if (good && line[strspn(line, " \t\r\n")] != '#')
            good = add_words(reading, line, excludes);
    }
    if (good && !feof(file)) {
        fault_set(reading->fault, "%s: %m", path);
        good = false;
    }
    free(line);
    return good;
}

static bool add_file(struct reading *outer, const char *word, size_t length, bool excludes)
{
    struct reading reading = {
        .query = outer->query, .depth = outer->depth + 1, .fault = outer->fault};
    char path[PATH_MAX];
    if (length >= sizeof path) {
        fault_set(outer->fault, "the name of a file is too long");
        return false;
    }
    snprintf(path, sizeof path, "%.*s", (int)length, word);
    if (reading.depth > FILES_DEEP_MAX) {
        fault_set(outer->fault, "%s: files that name files, more than %d deep", path,
                  FILES_DEEP_MAX);
        return false;
    }
    FILE *file = open_plain(path, outer->fault);
    if (!file)
        return false;
    bool good = add_lines(&reading, path, file, excludes);
    fclose(file);
    return good;
}

static bool add_word(struct reading *reading, const char *word, size_t length, bool excludes)
{
    for (; length > 0 && *word == '!'; word++, length--)
        excludes = !excludes;
    if (length == 0) {
        fault_set(reading->fault, "a '!' without a domain");
        return false;
    }
    if (word[0] == '/')
        return add_file(reading, word, length, excludes);
    if (memchr(word, ':', length) || memchr(word, '/', length)) {
        fault_set(reading->fault,
                  "`%.*s' is a lookup table, which is not supported here; list the domains, or "
                  "name a text file of them as /file/name",
                  (int)length, word);
        return false;
    }
    return add_domain(reading->query, word, length, excludes, reading->fault);
}

/* As Postfix, which warns too: nothing after a `#` is a domain. */
static bool add_words(struct reading *reading, const char *at, bool excludes)
{
    while (*(at += strspn(at, WORD_SEPARATORS))) {
        size_t length = strcspn(at, WORD_SEPARATORS);
        if (*at == '#') {
            log_warning("%s: a comment at the end of a line, ignored: %.100s", reading->where, at);
            return true;
        }
        if (!add_word(reading, at, length, excludes)) {
            fault_within(reading->fault, "%s", reading->where);
            return false;
        }
        at += length;
    }
    return true;
}

bool query_read_domains(struct query *query, const struct conf *conf, struct fault *fault)
{
    const struct conf_entry *entry = conf_find(conf, "domain");
    if (!entry || !*entry->value)
        return true;
    query->domains = calloc(1, sizeof *query->domains);
    if (!query->domains) {
        fault_set(fault, "out of memory");
        return false;
    }
    struct reading reading = {.query = query, .fault = fault};
    snprintf(reading.where, sizeof reading.where, "%s:%u: domain", conf->path, entry->line);
    return add_words(&reading, entry->value, false);
}
