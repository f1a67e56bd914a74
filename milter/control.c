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
#include "milter/command_learn.h"
#include "milter/listener.h"
#include "shared/clock.h"
#include "shared/log.h"

enum {
    WORDS_MAX = 256,
    REQUESTS_MAX = 8,        /* threads at a time */
    STOP_PATIENCE_MS = 5000, /* for requests under way when the daemon stops */
    CLIENT_TIMEOUT_S = 5,    /* for a client that sends or reads nothing */
    ANSWER_TIMEOUT_S = 300,  /* rcptctl: many addresses, each up to a few lookup_deadlines */
    SEND_TIMEOUT_S = 30,     /* rcptctl: for a daemon that reads nothing */
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
    bool large;       /* lock; somebody sends more than CONTROL_REQUEST_MAX */
} control = {.listener = -1, .stop_pipe = {-1, -1}, .lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- the daemon's side ---- */

static void send_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return;
        bytes += sent;
        length -= (size_t)sent;
    }
}

/* As recv(2), which ends with EINTR at any signal where a timeout is set (signal(7)). */
static ssize_t receive(int fd, char *bytes, size_t size)
{
    ssize_t got;
    do
        got = recv(fd, bytes, size, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

static bool take_large(void)
{
    pthread_mutex_lock(&control.lock);
    bool free = !control.large;
    control.large = true;
    pthread_mutex_unlock(&control.lock);
    return free;
}

static void drop_large(void)
{
    pthread_mutex_lock(&control.lock);
    control.large = false;
    pthread_mutex_unlock(&control.lock);
}

struct request {
    char *bytes;
    size_t size, length;
    bool large; /* this one has taken control.large */
};

static bool request_grow(int fd, struct request *request)
{
    if (request->large || !command_learn_asked(request->bytes))
        return false;
    request->large = take_large();
    if (!request->large) {
        static const char busy[] = "exit 75\n" LEARN_BUSY;
        send_all(fd, busy, sizeof busy - 1);
        return false;
    }
    /* What is not written to takes no memory. */
    char *bytes = realloc(request->bytes, LEARN_REQUEST_MAX + 1);
    if (!bytes)
        return false;
    request->bytes = bytes;
    request->size = LEARN_REQUEST_MAX;
    return true;
}

/* Reads to the end of what the client sends. False when it is too much or too slow, or ends in the
 * middle of a word: half an address is another address. */
static bool request_read(int fd, struct request *request)
{
    for (;;) {
        if (request->length == request->size && !request_grow(fd, request))
            return false;
        ssize_t got =
            receive(fd, request->bytes + request->length, request->size - request->length);
        if (got < 0)
            return false;
        request->length += (size_t)got;
        request->bytes[request->length] = '\0';
        if (got == 0)
            return request->length == 0 || request->bytes[request->length - 1] == '\0';
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
    if (!command || !command->run) {
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

static void serve(int fd)
{
    struct timeval patience = {.tv_sec = CLIENT_TIMEOUT_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);

    struct request request = {.bytes = malloc(CONTROL_REQUEST_MAX + 1),
                              .size = CONTROL_REQUEST_MAX};
    char *answer = NULL;
    size_t answer_length = 0;
    FILE *out = open_memstream(&answer, &answer_length);
    if (request.bytes && out && request_read(fd, &request)) {
        char *words[WORDS_MAX];
        char head[32];
        int code = run_words(split_words(request.bytes, request.length, words), words, out);
        fflush(out);
        snprintf(head, sizeof head, "exit %d\n", code);
        send_all(fd, head, strlen(head));
        send_all(fd, answer, answer_length);
    }
    if (request.large)
        drop_large();
    if (out)
        fclose(out);
    free(answer);
    free(request.bytes);
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

int control_send(const char *path, int argc, char **argv, enum control_result *result,
                 struct fault *fault)
{
    int fd = connect_to(path, result, fault);
    if (fd < 0)
        return -1;
    struct timeval reading = {.tv_sec = ANSWER_TIMEOUT_S}, sending = {.tv_sec = SEND_TIMEOUT_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &reading, sizeof reading);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &sending, sizeof sending);
    for (int i = 0; i < argc; i++)
        send_all(fd, argv[i], strlen(argv[i]) + 1);
    shutdown(fd, SHUT_WR); /* where sending failed, the daemon may have said why */
    return fd;
}

enum control_result control_receive(int fd, const char *path, FILE *out, int *exit_code,
                                    struct fault *fault)
{
    char block[4096 + 1];
    size_t length = 0;
    char *text = NULL;
    ssize_t got = 0;
    while (!text && length < sizeof block - 1 &&
           (got = receive(fd, block + length, sizeof block - 1 - length)) > 0) {
        length += (size_t)got;
        block[length] = '\0';
        text = strchr(block, '\n');
    }
    bool answered = text && sscanf(block, "exit %d", exit_code) == 1;
    if (answered) {
        text++;
        fwrite(text, 1, length - (size_t)(text - block), out);
        while ((got = receive(fd, block, sizeof block)) > 0)
            fwrite(block, 1, (size_t)got, out);
    } else if (got < 0 && errno == EAGAIN) {
        fault_set(fault, "the daemon at unix:%s has not answered for %d s", path, ANSWER_TIMEOUT_S);
    } else {
        fault_set(fault, "the daemon at unix:%s closed without an answer", path);
    }
    close(fd);
    return answered ? CONTROL_ANSWERED : CONTROL_FAILED;
}

enum control_result control_ask(const char *path, int argc, char **argv, int *exit_code,
                                struct fault *fault)
{
    enum control_result result = CONTROL_FAILED;
    int fd = control_send(path, argc, argv, &result, fault);
    return fd < 0 ? result : control_receive(fd, path, stdout, exit_code, fault);
}
