/* scratch - for tests: small files in a directory of their own, and what was logged. */
#ifndef TESTS_UNIT_SCRATCH_H
#define TESTS_UNIT_SCRATCH_H

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch_dir[64];

static inline void scratch_make(void)
{
    snprintf(scratch_dir, sizeof scratch_dir, "/tmp/rcpt-milter-test.XXXXXX");
    if (!mkdtemp(scratch_dir))
        abort();
}

static inline void scratch_remove(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch_dir);
    if (system(command) != 0)
        abort();
}

/* The path of a file of that name; the buffer is the caller's. */
static inline char *scratch_path(char path[256], const char *name)
{
    snprintf(path, 256, "%s/%s", scratch_dir, name);
    return path;
}

static inline char *scratch_file(char path[256], const char *name, const char *content)
{
    FILE *file = fopen(scratch_path(path, name), "w");
    if (!file || fputs(content, file) < 0 || fclose(file) != 0)
        abort();
    return path;
}

/* A copy of a query file with its @SOCK@, @USER@ and @PASSWORD@ filled in. */
static inline char *scratch_fill(char path[256], const char *name, const char *template,
                                 const char *sock, const char *user, const char *password)
{
    char line[8192];
    FILE *from = fopen(template, "r"), *to = fopen(scratch_path(path, name), "w");
    if (!from || !to)
        abort();
    while (fgets(line, sizeof line, from)) {
        const char *at = line;
        while (*at) {
            const char *value = NULL;
            size_t skip = 1;
            if (strncmp(at, "@SOCK@", 6) == 0)
                value = sock, skip = 6;
            else if (strncmp(at, "@USER@", 6) == 0)
                value = user, skip = 6;
            else if (strncmp(at, "@PASSWORD@", 10) == 0)
                value = password, skip = 10;
            if (value)
                fputs(value, to);
            else
                fputc(*at, to);
            at += skip;
        }
    }
    fclose(from);
    if (fclose(to) != 0)
        abort();
    return path;
}

/* What goes to standard error between begin and end. */
struct scratch_log {
    int saved, file;
};

static inline struct scratch_log scratch_log_begin(void)
{
    char path[256];
    struct scratch_log capture;
    scratch_path(path, "log");
    capture.file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    capture.saved = dup(2);
    if (capture.file < 0 || dup2(capture.file, 2) < 0)
        abort();
    return capture;
}

/* Everything so far; the capture goes on. */
static inline void scratch_log_read(const struct scratch_log *capture, char *text, size_t size)
{
    ssize_t length = pread(capture->file, text, size - 1, 0);
    text[length > 0 ? length : 0] = '\0';
}

static inline void scratch_log_end(struct scratch_log *capture, char *text, size_t size)
{
    scratch_log_read(capture, text, size);
    dup2(capture->saved, 2);
    close(capture->saved);
    close(capture->file);
}

static inline unsigned scratch_count(const char *text, const char *word)
{
    unsigned count = 0;
    for (; (text = strstr(text, word)); text += strlen(word))
        count++;
    return count;
}

#endif
