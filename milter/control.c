#include "milter/control.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "milter/command.h"
#include "milter/listener.h"
#include "shared/clock.h"
#include "shared/log.h"

enum {
    WORDS_MAX = 256,
    REQUESTS_MAX = 8,        /* threads at a time */
    STOP_PATIENCE_MS = 5000, /* for requests under way when the daemon stops */
    CLIENT_TIMEOUT_S = 5,    /* for a client that sends or reads nothing */
    ANSWER_TIMEOUT_S = 300,  /* rcptctl: many addresses, each up to a few lookup_deadlines */
};

static struct {
    struct app *app;         /* set once */
    void (*wake_main)(void); /* set once */
    int listener;            /* set once */
    int stop_pipe[2];        /* set once; closed at the writing end to stop */
    pthread_t accepter;      /* main thread */
    pthread_mutex_t lock;
    pthread_cond_t finished;
    unsigned running; /* lock */
} control = {.listener = -1, .stop_pipe = {-1, -1}, .lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- the daemon's side ---- */

/* Reads to the end of what the client sends; the length, or -1 when it is too much or too slow. */
static ssize_t read_request(int fd, char *request, size_t size)
{
    size_t length = 0;
    for (;;) {
        ssize_t got = recv(fd, request + length, size - length, 0);
        if (got == 0)
            return (ssize_t)length;
        if (got < 0 || (length += (size_t)got) == size)
            return -1;
    }
}

static int split_words(char *request, size_t length, char **words)
{
    int count = 0;
    for (size_t at = 0; at < length && count < WORDS_MAX; at += strlen(request + at) + 1)
        words[count++] = request + at;
    return count;
}

static int run_words(int argc, char **argv, FILE *out)
{
    const struct command *command = argc > 0 ? command_find(argv[0]) : NULL;
    if (!command) {
        fprintf(out, "the daemon knows no command \"%s\"\n", argc > 0 ? argv[0] : "");
        return EXIT_USAGE;
    }
    struct snapshot *snapshot = command->needs_snapshot ? app_take(control.app) : NULL;
    if (command->needs_snapshot && !snapshot) {
        fprintf(out, "the daemon is stopping\n");
        return EXIT_NOT_RUNNING;
    }
    struct command_context context = {
        .app = control.app, .snapshot = snapshot, .wake_main = control.wake_main, .out = out};
    int code = command->run(&context, argc, argv);
    if (snapshot)
        app_drop(control.app, snapshot);
    return code;
}

static void send_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        bytes += sent;
        length -= (size_t)sent;
    }
}

static void serve(int fd)
{
    struct timeval patience = {.tv_sec = CLIENT_TIMEOUT_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);

    char *request = malloc(CONTROL_REQUEST_MAX + 1);
    char *answer = NULL;
    size_t answer_length = 0;
    FILE *out = open_memstream(&answer, &answer_length);
    ssize_t length = request && out ? read_request(fd, request, CONTROL_REQUEST_MAX) : -1;
    if (length >= 0) {
        char *words[WORDS_MAX];
        char head[32];
        request[length] = '\0';
        int code = run_words(split_words(request, (size_t)length, words), words, out);
        fflush(out);
        snprintf(head, sizeof head, "exit %d\n", code);
        send_all(fd, head, strlen(head));
        send_all(fd, answer, answer_length);
    }
    if (out)
        fclose(out);
    free(answer);
    free(request);
}

static void *request_main(void *argument)
{
    int fd = (int)(intptr_t)argument;
    serve(fd);
    close(fd);
    pthread_mutex_lock(&control.lock);
    control.running--;
    pthread_cond_signal(&control.finished);
    pthread_mutex_unlock(&control.lock);
    return NULL;
}

static bool start_request(int fd)
{
    pthread_t thread;
    pthread_mutex_lock(&control.lock);
    bool room = control.running < REQUESTS_MAX;
    control.running += room;
    pthread_mutex_unlock(&control.lock);
    if (!room)
        return false;
    if (pthread_create(&thread, NULL, request_main, (void *)(intptr_t)fd) == 0) {
        pthread_detach(thread);
        return true;
    }
    pthread_mutex_lock(&control.lock);
    control.running--;
    pthread_mutex_unlock(&control.lock);
    return false;
}

static void *accept_main(void *argument)
{
    (void)argument;
    sigset_t all;
    sigfillset(&all); /* the main thread's business; request threads inherit this */
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    for (;;) {
        struct pollfd watched[2] = {{.fd = control.listener, .events = POLLIN},
                                    {.fd = control.stop_pipe[0], .events = POLLIN}};
        if (poll(watched, 2, -1) < 0 && errno != EINTR)
            break;
        if (watched[1].revents)
            break;
        int fd = watched[0].revents ? accept4(control.listener, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (fd >= 0 && !start_request(fd)) {
            static const char busy[] = "exit 75\nthe daemon serves as many requests as it can\n";
            send_all(fd, busy, sizeof busy - 1);
            close(fd);
        } else if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
            poll(&watched[1], 1, 100); /* out of descriptors: do not spin, but do stop */
        }
    }
    return NULL;
}

bool control_start(struct app *app, const char *path, void (*wake_main)(void), struct fault *fault)
{
    control.app = app;
    control.wake_main = wake_main;
    clock_cond_init(&control.finished);
    control.listener = listener_open_unix(path, 0660, fault);
    if (control.listener < 0)
        return false;
    if (pipe(control.stop_pipe) == 0 &&
        pthread_create(&control.accepter, NULL, accept_main, NULL) == 0)
        return true;
    fault_set(fault, "cannot start the control thread: %s", strerror(errno));
    return false;
}

void control_stop(void)
{
    if (control.listener < 0)
        return;
    close(control.stop_pipe[1]);
    pthread_join(control.accepter, NULL);
    pthread_mutex_lock(&control.lock);
    struct deadline deadline = deadline_in_ms(STOP_PATIENCE_MS);
    while (control.running > 0 && clock_cond_wait(&control.finished, &control.lock, deadline))
        ;
    pthread_mutex_unlock(&control.lock);
    close(control.listener);
    close(control.stop_pipe[0]);
}

/* ---- rcptctl's side ---- */

static int connect_to(const char *path, enum control_result *result, struct fault *fault)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    bool absent = errno == ENOENT || errno == ECONNREFUSED;
    *result = absent ? CONTROL_NOT_RUNNING : CONTROL_FAILED;
    fault_set(fault, "cannot connect to unix:%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool send_words(int fd, int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        send_all(fd, argv[i], strlen(argv[i]) + 1);
    return shutdown(fd, SHUT_WR) == 0;
}

enum control_result control_ask(const char *path, int argc, char **argv, int *exit_code,
                                struct fault *fault)
{
    enum control_result result = CONTROL_FAILED;
    int fd = connect_to(path, &result, fault);
    if (fd < 0)
        return result;
    struct timeval patience = {.tv_sec = ANSWER_TIMEOUT_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);

    fault_set(fault, "the daemon at unix:%s closed without an answer", path);
    FILE *in = send_words(fd, argc, argv) ? fdopen(fd, "r") : NULL;
    if (in && fscanf(in, "exit %d", exit_code) == 1 && fgetc(in) == '\n') {
        char block[4096];
        size_t length;
        while ((length = fread(block, 1, sizeof block, in)) > 0)
            fwrite(block, 1, length, stdout);
        result = CONTROL_ANSWERED;
    }
    if (in)
        fclose(in);
    else
        close(fd);
    return result;
}
