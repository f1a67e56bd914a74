#include "config/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One logical line while it is put together. */
struct logical {
    char *bytes; /* room for the whole file */
    size_t length;
    unsigned line; /* where it starts */
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool conf_add(struct conf *conf, const char *name, size_t name_length, const char *value,
                     size_t value_length, unsigned line, struct fault *fault)
{
    /* Grows when the count is a power of two. */
    if ((conf->count & (conf->count - 1)) == 0) {
        size_t room = conf->count ? 2 * conf->count : 1;
        struct conf_entry *grown = realloc(conf->entries, room * sizeof *grown);
        if (!grown)
            goto out_of_memory;
        conf->entries = grown;
    }
    struct conf_entry *entry = &conf->entries[conf->count];
    entry->name = strndup(name, name_length);
    entry->value = strndup(value, value_length);
    entry->line = line;
    conf->count++;
    if (entry->name && entry->value)
        return true;
out_of_memory:
    fault_set(fault, "%s: out of memory", conf->path);
    return false;
}

/* Splits one logical line at its first '='. */
static bool conf_take_line(struct conf *conf, struct logical *logical, struct fault *fault)
{
    if (logical->length == 0)
        return true;
    const char *end = logical->bytes + logical->length;
    const char *name_end = logical->bytes;
    while (name_end < end && !is_space(*name_end) && *name_end != '=')
        name_end++;
    const char *sign = name_end;
    while (sign < end && is_space(*sign))
        sign++;
    int shown = name_end - logical->bytes > 60 ? 60 : (int)(name_end - logical->bytes);
    if (sign == end || *sign != '=') {
        fault_set(fault, "%s:%u: no '=' after \"%.*s\"", conf->path, logical->line, shown,
                  logical->bytes);
        return false;
    }
    if (name_end == logical->bytes) {
        fault_set(fault, "%s:%u: no name before '='", conf->path, logical->line);
        return false;
    }
    const char *value = sign + 1;
    while (value < end && is_space(*value))
        value++;
    while (end > value && is_space(end[-1]))
        end--;
    bool added = conf_add(conf, logical->bytes, (size_t)(name_end - logical->bytes), value,
                          (size_t)(end - value), logical->line, fault);
    logical->length = 0;
    return added;
}

/* One physical line, without its newline. */
static bool conf_take_physical(struct conf *conf, struct logical *logical, const char *line,
                               size_t length, unsigned number, struct fault *fault)
{
    if (length > 0 && line[length - 1] == '\r')
        length--;
    size_t start = 0;
    while (start < length && is_space(line[start]))
        start++;
    if (start == length || line[start] == '#')
        return true;
    if (start == 0) {
        if (!conf_take_line(conf, logical, fault))
            return false;
        logical->line = number;
    } else if (logical->length == 0) {
        fault_set(fault,
                  "%s:%u: starts with white space, which continues the line before it, but there "
                  "is none",
                  conf->path, number);
        return false;
    }
    memcpy(logical->bytes + logical->length, line, length);
    logical->length += length;
    return true;
}

static bool conf_take_all(struct conf *conf, const char *bytes, size_t length, struct fault *fault)
{
    struct logical logical = {.bytes = malloc(length + 1)};
    if (!logical.bytes) {
        fault_set(fault, "%s: out of memory", conf->path);
        return false;
    }
    const char *end = bytes + length;
    unsigned number = 0;
    bool good = true;
    while (good && bytes < end) {
        const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
        const char *line_end = newline ? newline : end;
        size_t line_length = (size_t)(line_end - bytes);
        number++;
        if (memchr(bytes, '\0', line_length)) {
            fault_set(fault, "%s:%u: holds a NUL byte; is this a text file?", conf->path, number);
            good = false;
        } else {
            good = conf_take_physical(conf, &logical, bytes, line_length, number, fault);
        }
        bytes = newline ? newline + 1 : end;
    }
    good = good && conf_take_line(conf, &logical, fault);
    free(logical.bytes);
    return good;
}

struct conf *conf_read_bytes(const char *path_for_messages, const char *bytes, size_t length,
                             struct fault *fault)
{
    if (length > CONF_FILE_MAX) {
        fault_set(fault, "%s: is larger than %d bytes; is this a configuration file?",
                  path_for_messages, CONF_FILE_MAX);
        return NULL;
    }
    struct conf *conf = calloc(1, sizeof *conf);
    if (!conf || !(conf->path = strdup(path_for_messages))) {
        fault_set(fault, "%s: out of memory", path_for_messages);
        free(conf);
        return NULL;
    }
    if (!conf_take_all(conf, bytes, length, fault)) {
        conf_free(conf);
        return NULL;
    }
    return conf;
}

/* Opens it, and makes sure that reading it cannot wait (a FIFO) or fail in odd ways (a directory).
 */
static int conf_open(const char *path, struct fault *fault)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        fault_set(fault, "%s: cannot be opened: %s", path, strerror(errno));
        return -1;
    }
    struct stat status = {0};
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
        return fd;
    fault_set(fault, "%s: is %s, not a plain file", path,
              S_ISDIR(status.st_mode) ? "a directory" : "a device, pipe or socket");
    close(fd);
    return -1;
}

/* Up to one byte more than allowed, so that conf_read_bytes sees that it is too large. */
static bool conf_read_fd(int fd, char *bytes, size_t *length)
{
    *length = 0;
    while (*length < CONF_FILE_MAX + 1) {
        ssize_t got = read(fd, bytes + *length, CONF_FILE_MAX + 1 - *length);
        if (got == 0)
            return true;
        if (got < 0 && errno != EINTR)
            return false;
        if (got > 0)
            *length += (size_t)got;
    }
    return true;
}

struct conf *conf_read(const char *path, struct fault *fault)
{
    int fd = conf_open(path, fault);
    if (fd < 0)
        return NULL;
    struct conf *conf = NULL;
    size_t length;
    char *bytes = malloc(CONF_FILE_MAX + 1);
    if (!bytes)
        fault_set(fault, "%s: out of memory", path);
    else if (!conf_read_fd(fd, bytes, &length))
        fault_set(fault, "%s: cannot be read: %s", path, strerror(errno));
    else
        conf = conf_read_bytes(path, bytes, length, fault);
    free(bytes);
    close(fd);
    return conf;
}

void conf_free(struct conf *conf)
{
    if (!conf)
        return;
    for (size_t i = 0; i < conf->count; i++) {
        free(conf->entries[i].name);
        free(conf->entries[i].value);
    }
    free(conf->entries);
    free(conf->path);
    free(conf);
}

const struct conf_entry *conf_find(const struct conf *conf, const char *name)
{
    for (size_t i = conf->count; i > 0; i--)
        if (strcmp(conf->entries[i - 1].name, name) == 0)
            return &conf->entries[i - 1];
    return NULL;
}
