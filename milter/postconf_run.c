#include "milter/postconf_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/text.h"

enum { OUTPUT_MAX = 4 << 20, COMPLAINT_MAX = 1 << 16, CHUNK = 16384 };

extern char **environ;

/* What comes out of one of its descriptors. */
struct stream {
    int fd; /* -1: at its end */
    char *bytes;
    size_t length, max;
    bool too_much;
};

static bool set_error(struct fault *fault, const char *program, int error)
{
    char reason[128];
    fault_set(fault, "%s: %s", program, strerror_r(error, reason, sizeof reason));
    return false;
}

static int spawn_from(const char *const argv[], const posix_spawn_file_actions_t *actions,
                      pid_t *pid)
{
    char path[128];
    char *const *words = (char *const *)argv;
    int error = posix_spawnp(pid, argv[0], actions, NULL, words, environ);
    if (error != ENOENT)
        return error;
    snprintf(path, sizeof path, "/usr/sbin/%s", argv[0]);
    return posix_spawn(pid, path, actions, NULL, words, environ);
}

/* Its standard output and error, close-on-exec here; -1 in both when it does not run. */
static bool start(const char *const argv[], int fds[2], pid_t *pid, struct fault *fault)
{
    int pipes[2][2];
    fds[0] = fds[1] = -1;
    if (pipe2(pipes[0], O_CLOEXEC) != 0)
        return set_error(fault, argv[0], errno);
    if (pipe2(pipes[1], O_CLOEXEC) != 0) {
        int error = errno;
        close(pipes[0][0]), close(pipes[0][1]);
        return set_error(fault, argv[0], error);
    }
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error == 0) {
        error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
        for (int i = 0; error == 0 && i < 2; i++)
            error = posix_spawn_file_actions_adddup2(&actions, pipes[i][1], i + 1);
        if (error == 0)
            error = spawn_from(argv, &actions, pid);
        posix_spawn_file_actions_destroy(&actions);
    }
    for (int i = 0; i < 2; i++) {
        close(pipes[i][1]);
        if (error == 0)
            fds[i] = pipes[i][0];
        else
            close(pipes[i][0]);
    }
    return error == 0 || set_error(fault, argv[0], error);
}

/* False: nothing more is to be had from it. */
static bool take(struct stream *stream)
{
    char *more = realloc(stream->bytes, stream->length + CHUNK + 1);
    ssize_t got = more ? read(stream->fd, more + stream->length, CHUNK) : 0;
    if (more)
        stream->bytes = more;
    if (got < 0 && errno == EINTR)
        return true;
    if (got <= 0)
        return false;
    stream->length += (size_t)got;
    stream->too_much = stream->length > stream->max;
    return !stream->too_much;
}

/* Until both have ended. False: the deadline came first. */
static bool read_streams(struct stream streams[2], struct deadline deadline)
{
    while (streams[0].fd >= 0 || streams[1].fd >= 0) {
        struct pollfd polled[2] = {{.fd = streams[0].fd, .events = POLLIN},
                                   {.fd = streams[1].fd, .events = POLLIN}};
        if (deadline_passed(deadline))
            return false;
        if (poll(polled, 2, (int)deadline_left_ms(deadline)) <= 0)
            continue;
        for (int i = 0; i < 2; i++)
            if (polled[i].revents && !take(&streams[i])) {
                close(streams[i].fd);
                streams[i].fd = -1;
            }
        if (streams[0].too_much)
            return true;
    }
    return true;
}

/* The program is told to end if it has not, and its end is waited for. */
static int finish(pid_t pid, bool in_time)
{
    int status = 0;
    if (!in_time)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

/* Its last line that is not empty: warnings come before what it died of. */
static const char *last_line(char *text)
{
    size_t length = text ? strlen(text) : 0;
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r'))
        text[--length] = '\0';
    char *newline = text ? strrchr(text, '\n') : NULL;
    return newline ? newline + 1 : text ? text : "";
}

static void end_text(struct stream *stream)
{
    if (stream->fd >= 0)
        close(stream->fd);
    if (stream->bytes)
        stream->bytes[stream->length] = '\0';
}

char *postconf_run(const char *const argv[], struct deadline deadline, struct fault *fault)
{
    int fds[2];
    pid_t pid;
    if (!start(argv, fds, &pid, fault))
        return NULL;
    struct stream streams[2] = {{.fd = fds[0], .max = OUTPUT_MAX},
                                {.fd = fds[1], .max = COMPLAINT_MAX}};
    bool in_time = read_streams(streams, deadline);
    int status = finish(pid, in_time && !streams[0].too_much);
    end_text(&streams[0]);
    end_text(&streams[1]);
    bool fine = in_time && !streams[0].too_much && WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
                streams[0].bytes;
    if (!in_time)
        fault_set(fault, "%s %s has not ended in time", argv[0], argv[1]);
    else if (streams[0].too_much)
        fault_set(fault, "%s %s prints too much", argv[0], argv[1]);
    else if (!fine)
        fault_set(fault, "%s %s failed: %s", argv[0], argv[1], last_line(streams[1].bytes));
    free(streams[1].bytes);
    if (!fine) {
        free(streams[0].bytes);
        return NULL;
    }
    return streams[0].bytes;
}
