#include "milter/learn_input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/mysql_list.h"
#include "milter/command.h"
#include "milter/progress.h"
#include "shared/text.h"

enum { READ_SIZE = 1 << 16 }; /* bytes */

/* ---- a file or a pipe ---- */

struct assembly {
    char line[LEARN_LINE_KEPT + 1]; /* of a longer line one byte more, which shows that it is */
    size_t length;
    bool begun;
};

static void assemble(struct assembly *assembly, const char *bytes, size_t length)
{
    size_t room = sizeof assembly->line - assembly->length;
    memcpy(assembly->line + assembly->length, bytes, length < room ? length : room);
    assembly->length += length < room ? length : room;
    assembly->begun = true;
}

static bool add_bytes(struct learning *learning, struct assembly *assembly, const char *bytes,
                      size_t length)
{
    for (const char *end = bytes + length; bytes < end;) {
        const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
        assemble(assembly, bytes, (size_t)((newline ? newline : end) - bytes));
        if (!newline)
            break;
        if (!learn_add_line(learning, assembly->line, assembly->length))
            return false;
        assembly->length = 0;
        assembly->begun = false;
        bytes = newline + 1;
    }
    return true;
}

static bool fail_input(struct learning *learning)
{
    learning->code = EX_NOINPUT;
    fault_set(&learning->why, "cannot read %s: %s", learning->source, strerror(errno));
    return false;
}

static bool read_stream(struct learning *learning, int fd)
{
    char block[READ_SIZE];
    struct assembly assembly = {.length = 0};
    for (;;) {
        if (!learn_await_input(learning, fd))
            return false;
        ssize_t got = read(fd, block, READ_SIZE);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got < 0)
            return fail_input(learning);
        if (got == 0)
            return !assembly.begun || learn_add_line(learning, assembly.line, assembly.length);
        if (!add_bytes(learning, &assembly, block, (size_t)got))
            return false;
        learning->progress.done += (uint64_t)got;
        progress_draw(&learning->progress);
    }
}

bool learn_read_file(struct learning *learning)
{
    bool standard_input = strcmp(learning->source, "-") == 0;
    int fd = standard_input ? STDIN_FILENO : open(learning->source, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    if (learn_stopped(learning)) /* a pipe without a writer: open(2) waits */
        return false;
    if (fd < 0 || fstat(fd, &stat) != 0)
        return fail_input(learning);
    off_t at = S_ISREG(stat.st_mode) ? lseek(fd, 0, SEEK_CUR) : 0;
    if (S_ISREG(stat.st_mode) && at >= 0 && stat.st_size > at)
        learning->progress.whole = (uint64_t)(stat.st_size - at);
    bool whole = read_stream(learning, fd);
    if (!standard_input)
        close(fd);
    return whole;
}

/* ---- a map ---- */

static void add_quoted(struct text *text, const char *local, size_t length)
{
    text_add_char(text, '"');
    for (size_t i = 0; i < length; i++) {
        if (local[i] == '"' || local[i] == '\\')
            text_add_char(text, '\\');
        text_add_char(text, local[i] == '\n' ? LEARN_BAD_BYTE : local[i]);
    }
    text_add_char(text, '"');
}

/* A row as a line. Tables hold local parts as they are, and Postfix asks them for both forms: there
 * are no quotes in `john doe@example.com`, which on a line are needed, also for a `#` in front.
 * A local part with another '@' is rather two addresses: it goes as it is, to be refused. */
static bool add_row(void *context, const char *recipient, size_t length)
{
    char row[LEARN_LINE_KEPT + 2]; /* of a longer one so much that it is one */
    struct text text = text_on(row, sizeof row);
    const char *at = memrchr(recipient, '@', length);
    size_t local = at ? (size_t)(at - recipient) : 0;
    bool plain = local == 0 || *recipient == '"' || *recipient == '<' ||
                 memchr(recipient, '@', local) != NULL;
    if (!plain)
        add_quoted(&text, recipient, local);
    for (size_t i = plain ? 0 : local; i < length && !text.overflow; i++)
        text_add_char(&text, recipient[i] == '\n' ? LEARN_BAD_BYTE : recipient[i]);
    return learn_add_line(context, row, text.length);
}

bool learn_read_map(struct learning *learning)
{
    struct fault fault = {{0}};
    bool whole = mysql_list(learning->map, add_row, learning, &fault);
    if (learning->code != 0) /* add_row stopped it */
        return false;
    /* Rows that came before a failure are as good as any. */
    if (whole || (learning->lines > 0 && !learn_send(learning)))
        return whole;
    learning->code = EXIT_UNAVAILABLE;
    learning->why = fault;
    return false;
}
