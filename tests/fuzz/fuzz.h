/*
 * fuzz - what the fuzz targets share. `make fuzz` builds and runs them (tests/fuzz/run).
 *
 * A target is one file with LLVMFuzzerTestOneInput. It asserts what its module promises for every
 * input; that nothing crashes, leaks or reads past an end the sanitizers see for themselves. Where
 * a target needs more than one string, each but the last is a line of its own at the beginning, so
 * that the inputs in corpus/ can be read and written with an editor.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#undef NDEBUG
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shared/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

struct input {
    const char *bytes;
    size_t length;
};

/* A copy that ends where it ends, for ASan to watch; the caller frees it. */
static inline char *input_string(struct input input)
{
    char *string = malloc(input.length + 1);
    assert(string);
    memcpy(string, input.bytes, input.length);
    string[input.length] = '\0';
    return string;
}

/* A C string holds no NUL: what is behind one would never be looked at. */
static inline bool input_has_nul(struct input input)
{
    return memchr(input.bytes, '\0', input.length) != NULL;
}

/* Takes the first line off; the caller frees it. All of the input where there is no newline. */
static inline char *input_line(struct input *input)
{
    const char *newline = memchr(input->bytes, '\n', input->length);
    size_t length = newline ? (size_t)(newline - input->bytes) : input->length;
    char *line = input_string((struct input){input->bytes, length});
    input->bytes += length + (newline != NULL);
    input->length -= length + (newline != NULL);
    return line;
}

/* The path of a plain file that holds the input until the next call. */
static inline const char *input_file(struct input input)
{
    static char path[64];
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("input", MFD_CLOEXEC);
    assert(fd >= 0 && ftruncate(fd, 0) == 0);
    assert(pwrite(fd, input.bytes, input.length, 0) == (ssize_t)input.length);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

/* Fit for a log line, a terminal and the wire: UTF-8 without control characters. */
static inline bool is_clean(const char *string)
{
    for (const char *c = string; *c; c++) {
        unsigned char byte = (unsigned char)*c, next = (unsigned char)c[1];
        if (byte < 0x20 || byte == 0x7f || (byte == 0xc2 && next >= 0x80 && next < 0xa0))
            return false;
    }
    return text_is_utf8(string, strlen(string));
}

#endif
