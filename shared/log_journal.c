#include "shared/log_journal.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "shared/log_format.h"

enum { OWN_FIELDS = 8 }; /* what log_format_journal adds to those of the entry, and more */

bool log_journal_is_stderr(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    char ours[64];
    if (!stream || fstat(STDERR_FILENO, &status) != 0)
        return false;
    snprintf(ours, sizeof ours, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    return strcmp(stream, ours) == 0;
}

/* The journal takes no entry, but may still read our standard error. */
static void write_message(const struct iovec *fields, int count)
{
    static const char name[] = "MESSAGE=";
    enum { NAME_SIZE = sizeof name - 1 };
    for (int i = 0; i < count; i++) {
        const char *field = fields[i].iov_base;
        if (strncmp(field, name, NAME_SIZE) == 0)
            dprintf(STDERR_FILENO, "%s\n", field + NAME_SIZE);
    }
}

void log_journal_send(const char *record, size_t length)
{
    struct iovec fields[LOG_FIELDS_MAX + OWN_FIELDS];
    int count = 0;
    for (size_t at = 0; at < length && count < (int)(sizeof fields / sizeof *fields); count++) {
        size_t size = strlen(record + at);
        fields[count] = (struct iovec){(char *)record + at, size};
        at += size + 1;
    }
    if (sd_journal_sendv(fields, count) < 0)
        write_message(fields, count);
}
