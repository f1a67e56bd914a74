#include "milter/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "milter/listener.h"
#include "milter/metrics_request.h"
#include "milter/stats.h"
#include "shared/clock.h"
#include "shared/log.h"

enum {
    CONNECTIONS_MAX = 8,
    CONNECTION_MS = 5000, /* from accept to the last byte */
    BACKLOG = 16,
};

struct connection {
    int fd; /* -1: free */
    struct deadline deadline;
    char request[METRICS_REQUEST_MAX];
    size_t received;
    char *answer; /* NULL while the request is read */
    size_t length, sent;
};

/* The main thread's; while the thread runs, it alone uses the connections. */
static struct {
    struct app *app;
    struct endpoint endpoint; /* where we listen, or tried to */
    bool running;
    int listener, lock; /* -1: none */
    int stop_pipe[2];
    pthread_t thread;
    struct connection connections[CONNECTIONS_MAX];
} metrics = {.listener = -1, .lock = -1};

/* ---- the answer ---- */

static void print_head(FILE *out, unsigned status, size_t length)
{
    fprintf(out, "HTTP/1.1 %u %s\r\n", status, metrics_status_text(status));
    if (status == 405)
        fprintf(out, "Allow: GET, HEAD\r\n");
    fprintf(out, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    fprintf(out, "Content-Length: %zu\r\nConnection: close\r\n\r\n", length);
}

/* The body into memory: its length stands before it. 200, or 503 once the app is stopping. */
static unsigned write_body(unsigned status, char **body, size_t *length)
{
    struct snapshot *snapshot = status == 200 ? app_take(metrics.app) : NULL;
    if (status == 200 && !snapshot)
        status = 503;
    FILE *out = open_memstream(body, length);
    if (out && snapshot)
        stats_print(metrics.app, snapshot, STATS_PROMETHEUS, out);
    else if (out)
        fprintf(out, "%u %s; the metrics are at /metrics\n", status, metrics_status_text(status));
    if (out)
        fclose(out);
    if (snapshot)
        app_drop(metrics.app, snapshot);
    return status;
}

/* False when memory is short. */
static bool answer(struct connection *connection, struct metrics_request request)
{
    char *body = NULL;
    size_t length = 0;
    unsigned status = write_body(request.status, &body, &length);
    FILE *out = body ? open_memstream(&connection->answer, &connection->length) : NULL;
    if (out) {
        print_head(out, status, length);
        if (!request.head)
            fwrite(body, 1, length, out);
        fclose(out);
    }
    free(body);
    return connection->answer != NULL;
}

/* ---- connections ---- */

static void connection_close(struct connection *connection)
{
    close(connection->fd);
    free(connection->answer);
    connection->fd = -1;
    connection->answer = NULL;
}

/* All three: false when the connection is done with. */
static bool connection_read(struct connection *connection)
{
    ssize_t got = recv(connection->fd, connection->request + connection->received,
                       METRICS_REQUEST_MAX - connection->received, 0);
    if (got <= 0)
        return got < 0 && (errno == EAGAIN || errno == EINTR);
    connection->received += (size_t)got;
    struct metrics_request request =
        metrics_request_read(connection->request, connection->received);
    return request.status == 0 || answer(connection, request);
}

/* At the end only our side is closed, and the rest is read: closing with bytes unread would reset
 * the connection, and the answer with it. */
static bool connection_write(struct connection *connection)
{
    ssize_t sent = send(connection->fd, connection->answer + connection->sent,
                        connection->length - connection->sent, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN || errno == EINTR;
    connection->sent += (size_t)sent;
    if (connection->sent == connection->length)
        shutdown(connection->fd, SHUT_WR);
    return true;
}

static bool connection_drain(struct connection *connection)
{
    char ignored[1024];
    ssize_t got = recv(connection->fd, ignored, sizeof ignored, 0);
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

static bool is_writing(const struct connection *connection)
{
    return connection->answer && connection->sent < connection->length;
}

static bool connection_serve(struct connection *connection)
{
    if (!connection->answer)
        return connection_read(connection);
    return is_writing(connection) ? connection_write(connection) : connection_drain(connection);
}

static struct connection *find_free(void)
{
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        if (metrics.connections[i].fd < 0)
            return &metrics.connections[i];
    return NULL;
}

/* False when there is no descriptor for it: then it stays in the queue, and poll would spin. */
static bool connection_accept(void)
{
    int fd = accept4(metrics.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM;
    struct connection *connection = find_free();
    connection->fd = fd;
    connection->deadline = deadline_in_ms(CONNECTION_MS);
    connection->received = connection->length = connection->sent = 0;
    return true;
}

/* ---- the thread ---- */

enum { WATCH_STOP, WATCH_LISTENER, WATCH_CONNECTIONS };

/* What to wait for, and for how long. A descriptor of -1 is passed over by poll. */
static int prepare(struct pollfd watched[WATCH_CONNECTIONS + CONNECTIONS_MAX], bool short_of_files)
{
    int64_t wait_ms = short_of_files ? 100 : -1;
    watched[WATCH_STOP] = (struct pollfd){.fd = metrics.stop_pipe[0], .events = POLLIN};
    watched[WATCH_LISTENER] = (struct pollfd){
        .fd = find_free() && !short_of_files ? metrics.listener : -1, .events = POLLIN};
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        const struct connection *connection = &metrics.connections[i];
        watched[WATCH_CONNECTIONS + i] = (struct pollfd){
            .fd = connection->fd, .events = is_writing(connection) ? POLLOUT : POLLIN};
        int64_t left_ms = connection->fd < 0 ? -1 : deadline_left_ms(connection->deadline);
        if (left_ms >= 0 && (wait_ms < 0 || left_ms < wait_ms))
            wait_ms = left_ms;
    }
    return (int)wait_ms;
}

static void *metrics_main(void *argument)
{
    (void)argument;
    struct pollfd watched[WATCH_CONNECTIONS + CONNECTIONS_MAX];
    bool short_of_files = false;
    for (;;) {
        int wait_ms = prepare(watched, short_of_files);
        if (poll(watched, WATCH_CONNECTIONS + CONNECTIONS_MAX, wait_ms) < 0)
            continue; /* EINTR or a moment without memory */
        if (watched[WATCH_STOP].revents)
            break;
        for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
            struct connection *connection = &metrics.connections[i];
            if (connection->fd < 0)
                continue;
            bool goes_on = !watched[WATCH_CONNECTIONS + i].revents || connection_serve(connection);
            if (!goes_on || deadline_passed(connection->deadline))
                connection_close(connection);
        }
        short_of_files = watched[WATCH_LISTENER].revents && !connection_accept();
    }
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        if (metrics.connections[i].fd >= 0)
            connection_close(&metrics.connections[i]);
    return NULL;
}

static bool thread_start(struct fault *fault)
{
    sigset_t all, before;
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        metrics.connections[i].fd = -1;
    if (pipe2(metrics.stop_pipe, O_CLOEXEC) < 0) {
        fault_set(fault, "cannot make a pipe: %s", strerror(errno));
        return false;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&metrics.thread, NULL, metrics_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0)
        return true;
    close(metrics.stop_pipe[0]);
    close(metrics.stop_pipe[1]);
    fault_set(fault, "cannot start a thread: %s", strerror(error));
    return false;
}

/* ---- listening ---- */

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
    return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
}

static int listen_at(const struct addrinfo *at)
{
    int yes = 1, fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* The first of the name's addresses that works. */
static int listen_inet(const struct endpoint *endpoint, struct fault *fault)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
    char port[8], where[ENDPOINT_TEXT_MAX];
    snprintf(port, sizeof port, "%u", (unsigned)endpoint->port);
    endpoint_print(endpoint, where, sizeof where);
    int error = getaddrinfo(endpoint->host, port, &hints, &list), fd = -1;
    if (error != 0) {
        fault_set(fault, "cannot listen on %s: %s", where, gai_strerror(error));
        return -1;
    }
    for (struct addrinfo *at = list; at && fd < 0; at = at->ai_next) {
        fd = listen_at(at);
        if (fd < 0)
            fault_set(fault, "cannot listen on %s: %s", where, strerror(errno));
        else if (!is_loopback(at->ai_addr))
            log_warning("metrics_listen %s is reached from other hosts: anybody there may read the "
                        "metrics unless a firewall forbids it",
                        where);
    }
    freeaddrinfo(list);
    return fd;
}

/* Everybody on this host may read it: there is nobody's address in it. */
static int listen_unix(const struct endpoint *endpoint, struct fault *fault)
{
    metrics.lock = listener_take_lock(endpoint->path, fault);
    int fd = metrics.lock < 0 ? -1 : listener_open_unix(endpoint->path, 0666, fault);
    if (fd >= 0)
        fcntl(fd, F_SETFL, O_NONBLOCK); /* who gave up in the queue must not make accept wait */
    return fd;
}

static void close_listener(void)
{
    if (metrics.listener >= 0 && metrics.endpoint.kind == ENDPOINT_UNIX)
        unlink(metrics.endpoint.path);
    if (metrics.listener >= 0)
        close(metrics.listener);
    if (metrics.lock >= 0)
        close(metrics.lock);
    metrics.listener = metrics.lock = -1;
}

void metrics_stop(void)
{
    if (metrics.running) {
        close(metrics.stop_pipe[1]);
        pthread_join(metrics.thread, NULL);
        close(metrics.stop_pipe[0]);
    }
    metrics.running = false;
    close_listener();
}

static bool metrics_start(struct fault *fault)
{
    const struct endpoint *endpoint = &metrics.endpoint;
    metrics.listener = endpoint->kind == ENDPOINT_UNIX ? listen_unix(endpoint, fault)
                                                       : listen_inet(endpoint, fault);
    return metrics.listener >= 0 && thread_start(fault);
}

static bool same_place(const struct endpoint *a, const struct endpoint *b)
{
    char first[ENDPOINT_TEXT_MAX], second[ENDPOINT_TEXT_MAX];
    endpoint_print(a, first, sizeof first);
    endpoint_print(b, second, sizeof second);
    return strcmp(first, second) == 0;
}

void metrics_follow(struct app *app)
{
    struct fault fault = {{0}};
    struct snapshot *snapshot = app_take(app);
    if (!snapshot)
        return;
    struct endpoint wanted = snapshot->settings->metrics_listen;
    app_drop(app, snapshot);
    if (metrics.running && same_place(&wanted, &metrics.endpoint))
        return;
    metrics_stop();
    metrics.app = app;
    metrics.endpoint = wanted;
    if (wanted.kind == ENDPOINT_NONE)
        return;
    metrics.running = metrics_start(&fault);
    if (metrics.running)
        return;
    close_listener();
    log_error("metrics_listen: %s - going on without metrics, until a reload", fault.text);
}
