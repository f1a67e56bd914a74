#include "milter/learn_batch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "milter/command_learn.h"
#include "milter/control.h"
#include "shared/clock.h"

enum {
    BATCH_AGE_MS = 10000, /* a slow input is stored so often */
    TICK_MS = 200,        /* the progress is drawn while the daemon writes */
    ANSWER_MS = 300000,   /* for a daemon that hangs; it gives its disk about a minute */
    LOOK_EVERY = 4096,    /* lines, from one look at the clock to the next */
};

/* ---- signals ---- */

static volatile sig_atomic_t stop_signal;
static int stop_pipe[2] = {-1, -1}; /* set once; wakes whoever waits for input */

static void note_signal(int number)
{
    int error = errno;
    stop_signal = number;
    ssize_t ignored = write(stop_pipe[1], "", 1);
    (void)ignored;
    errno = error;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESETHAND};
    if (pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
        return;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool learn_stopped(struct learning *learning)
{
    if (!stop_signal)
        return false;
    learning->code = LEARN_SIGNAL_EXIT + stop_signal;
    fault_set(&learning->why, "stopped by %s", stop_signal == SIGINT ? "SIGINT" : "SIGTERM");
    return true;
}

/* ---- batches ---- */

static bool await_answer(struct learning *learning, int fd)
{
    struct pollfd watched = {.fd = fd, .events = POLLIN};
    struct deadline deadline = deadline_in_ms(ANSWER_MS);
    bool told = false;
    while (poll(&watched, 1, TICK_MS) <= 0) {
        if (deadline_passed(deadline))
            return false;
        if (stop_signal && !told && learning->progress.terminal) {
            progress_erase(&learning->progress);
            fprintf(stderr, "rcptctl: stops when this batch is stored; at once if asked again\n");
            told = true;
        }
        progress_draw(&learning->progress);
    }
    return true;
}

/* Sends the words and waits for the answer, whose text the caller frees. False: learning->code and
 * why say it. */
static bool ask(struct learning *learning, int argc, char **argv, char **answer)
{
    enum control_result result;
    size_t length;
    int code = EXIT_UNAVAILABLE;
    const char *path = learning->socket.path;
    learning->turn = false;
    learning->code = EXIT_UNAVAILABLE;
    int fd = control_send(path, argc, argv, &result, &learning->why);
    if (fd < 0) {
        bool down = result == CONTROL_NOT_RUNNING;
        if (down)
            fault_within(&learning->why, "rcpt-milter is not running");
        learning->code = down ? EXIT_NOT_RUNNING : EXIT_NO_PERMISSION;
        return false;
    }
    if (!await_answer(learning, fd)) {
        close(fd);
        fault_set(&learning->why, "the daemon at unix:%s has not answered for %d s", path,
                  ANSWER_MS / 1000);
        return false;
    }
    FILE *out = open_memstream(answer, &length);
    if (!out) {
        close(fd);
        fault_set(&learning->why, "out of memory");
        return false;
    }
    result = control_receive(fd, path, out, &code, &learning->why);
    fclose(out);
    if (result != CONTROL_ANSWERED)
        return false;
    learning->turn = true;
    learning->code = code;
    if (code != 0)
        fault_set(&learning->why, "%.*s", (int)strcspn(*answer, "\n"), *answer);
    return code == 0;
}

static void tell_bad_lines(struct learning *learning, const char *about)
{
    while (*about && learning->bad_told < LEARN_BAD_SHOWN) {
        size_t length = strcspn(about, "\n");
        if (learning->bad_told++ == 0)
            fprintf(stderr, "rcptctl: neither an address nor @domain:\n");
        fprintf(stderr, "  %.*s\n", (int)length, about);
        about += length + (about[length] == '\n');
    }
}

static bool read_answer(struct learning *learning, const char *answer)
{
    uint64_t stored, bad;
    if (sscanf(answer, "stored %" SCNu64 ", bad %" SCNu64, &stored, &bad) != 2) {
        learning->code = EXIT_UNAVAILABLE;
        fault_set(&learning->why, "the daemon's answer makes no sense: is it of another version?");
        return false;
    }
    learning->stored += stored;
    learning->progress.stored = learning->stored;
    learning->bad += bad;
    if (learning->lines > 0 && !learning->progress.terminal)
        fprintf(stderr, "rcptctl: %" PRIu64 " recipients stored, as far as line %" PRIu64 "\n",
                learning->stored, learning->seen);
    if (bad > 0) {
        progress_erase(&learning->progress);
        tell_bad_lines(learning, answer + strcspn(answer, "\n") + 1);
    }
    return true;
}

bool learn_send(struct learning *learning)
{
    char line[24], *answer = NULL;
    snprintf(line, sizeof line, "%" PRIu64, learning->seen - learning->lines + 1);
    learning->text[learning->used] = '\0';
    char *words[] = {"learn", learning->owner, line, learning->text};
    bool stored = ask(learning, 4, words, &answer) && read_answer(learning, answer);
    free(answer);
    if (stored)
        learning->safe = learning->seen;
    learning->lines = learning->used = 0;
    return stored;
}

static bool batch_is_old(const struct learning *learning)
{
    return learning->lines > 0 && clock_mono_ms() - learning->begun_ms >= BATCH_AGE_MS;
}

bool learn_add_line(struct learning *learning, const char *line, size_t length)
{
    bool cut = length > LEARN_LINE_KEPT, look = learning->seen % LOOK_EVERY == 0;
    length = cut ? LEARN_LINE_KEPT : length;
    if (look && learn_stopped(learning))
        return false;
    if (look)
        progress_draw(&learning->progress);
    if (learning->seen < learning->skip) {
        learning->safe = ++learning->seen;
        return true;
    }
    bool full = learning->lines == LEARN_BATCH_LINES ||
                learning->used + length + 3 > LEARN_BATCH_BYTES || (look && batch_is_old(learning));
    if (full && (!learn_send(learning) || learn_stopped(learning)))
        return false;
    if (learning->lines == 0)
        learning->begun_ms = clock_mono_ms();

    char *start = learning->text + learning->used, *to = start;
    memcpy(to, line, length);
    while ((to = memchr(to, '\0', length - (size_t)(to - start))) != NULL)
        *to = LEARN_BAD_BYTE; /* a NUL ends a word of the control socket */
    learning->used += length;
    if (cut)
        learning->text[learning->used++] = LEARN_BAD_BYTE; /* half an address is another address */
    learning->text[learning->used++] = '\n';
    learning->lines++;
    learning->seen++;
    return true;
}

bool learn_await_input(struct learning *learning, int fd)
{
    for (;;) {
        int64_t age = clock_mono_ms() - learning->begun_ms;
        int patience = learning->lines == 0 ? -1
                       : age < BATCH_AGE_MS ? (int)(BATCH_AGE_MS - age)
                                            : 0;
        struct pollfd watched[] = {{.fd = fd, .events = POLLIN},
                                   {.fd = stop_pipe[0], .events = POLLIN}};
        int ready = poll(watched, 2, patience);
        if (learn_stopped(learning))
            return false;
        if (ready > 0)
            return true;
        if (ready == 0 && !learn_send(learning))
            return false;
    }
}

/* ---- the beginning and the end ---- */

bool learn_start(struct learning *learning)
{
    learning->text = malloc(LEARN_BATCH_BYTES + 1);
    if (!learning->text) {
        learning->code = EX_OSERR;
        fault_set(&learning->why, "out of memory");
        return false;
    }
    snprintf(learning->owner, sizeof learning->owner, "%ld.%" PRId64, (long)getpid(),
             clock_mono_us());
    catch_signals();
    progress_start(&learning->progress);
    return true;
}

void learn_end(struct learning *learning)
{
    int code = learning->code;
    struct fault why = learning->why;
    char *words[] = {"learn", learning->owner, "end"}, *answer = NULL;
    if (learning->turn)
        ask(learning, 3, words, &answer);
    free(answer);
    free(learning->text);
    learning->text = NULL;
    learning->code = code;
    learning->why = why;
}
