#include "db/memcache_wire.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shared/text.h"

enum {
    NUMBER_DIGITS = 20,   /* of 2^64 */
    LINE_MAX_BYTES = 512, /* "VALUE key flags length", and the texts of errors */
    VALUE_MAX = 8 << 20,  /* what we would read past; memcached's own bound is 1 MiB */
};

struct wire {
    struct endpoint endpoint;
    int fd;            /* -1: not connected yet */
    size_t have, next; /* bytes[next..have) came and were not looked at */
    char bytes[4096];
};

/* The results of the steps below: DONE goes on, the others end the operation. */

static enum wire_result failed_errno(int number, struct fault *fault)
{
    char text[128];
    fault_set(fault, "%s", strerror_r(number, text, sizeof text));
    return WIRE_FAILED;
}

static enum wire_result failed_answer(struct fault *fault, const char *bytes, size_t length)
{
    fault_set(fault, "it answered \"%.*s\"", length > 60 ? 60 : (int)length, bytes);
    return WIRE_FAILED;
}

struct wire *wire_open(const struct endpoint *endpoint)
{
    struct wire *wire = malloc(sizeof *wire);
    if (!wire)
        return NULL;
    wire->endpoint = *endpoint;
    wire->fd = -1;
    wire->have = wire->next = 0;
    return wire;
}

void wire_close(struct wire *wire)
{
    if (!wire)
        return;
    if (wire->fd >= 0)
        close(wire->fd);
    free(wire);
}

static enum wire_result wait_for(const struct wire *wire, short events, struct deadline deadline,
                                 struct fault *fault)
{
    struct pollfd fd = {.fd = wire->fd, .events = events};
    for (;;) {
        int64_t left_ms = deadline_left_ms(deadline);
        if (left_ms == 0) {
            fault_set(fault, "no answer in time");
            return WIRE_LATE;
        }
        int ready = poll(&fd, 1, left_ms < 60000 ? (int)left_ms : 60000);
        if (ready > 0)
            return WIRE_DONE; /* trouble shows when the socket is used */
        if (ready < 0 && errno != EINTR)
            return failed_errno(errno, fault);
    }
}

static enum wire_result connect_to(struct wire *wire, const struct sockaddr *address,
                                   socklen_t size, struct deadline deadline, struct fault *fault)
{
    wire->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (wire->fd < 0) {
        failed_errno(errno, fault);
        return WIRE_SHORT;
    }
    if (connect(wire->fd, address, size) == 0)
        return WIRE_DONE;
    if (errno != EINPROGRESS) /* over a unix socket also EAGAIN: its queue is full */
        return failed_errno(errno, fault);
    enum wire_result result = wait_for(wire, POLLOUT, deadline, fault);
    int error = 0;
    socklen_t error_size = sizeof error;
    if (result == WIRE_DONE &&
        (getsockopt(wire->fd, SOL_SOCKET, SO_ERROR, &error, &error_size) != 0 || error != 0))
        return failed_errno(error ? error : errno, fault);
    return result;
}

static enum wire_result connect_inet(struct wire *wire, struct deadline deadline,
                                     struct fault *fault)
{
    struct addrinfo *address;
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM};
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)wire->endpoint.port);
    int error = getaddrinfo(wire->endpoint.host, port, &hints, &address);
    if (error != 0) {
        fault_set(fault, "%s: %s", wire->endpoint.host, gai_strerror(error));
        return WIRE_FAILED;
    }
    enum wire_result result =
        connect_to(wire, address->ai_addr, address->ai_addrlen, deadline, fault);
    freeaddrinfo(address);
    int on = 1;
    if (result == WIRE_DONE)
        setsockopt(wire->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return result;
}

static enum wire_result connect_unix(struct wire *wire, struct deadline deadline,
                                     struct fault *fault)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _Static_assert(ENDPOINT_PATH_MAX <= sizeof address.sun_path, "a path fits");
    memcpy(address.sun_path, wire->endpoint.path, strlen(wire->endpoint.path) + 1);
    return connect_to(wire, (struct sockaddr *)&address, sizeof address, deadline, fault);
}

/* A connection that waited in the pool must have nothing to say: neither its end, nor an answer. */
static enum wire_result check_silence(struct wire *wire, struct fault *fault)
{
    char byte;
    ssize_t got = recv(wire->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return WIRE_DONE;
    if (got < 0)
        return failed_errno(errno, fault);
    fault_set(fault, got == 0 ? "it closed the connection" : "it said something nobody asked for");
    return WIRE_FAILED;
}

static enum wire_result send_all(struct wire *wire, struct iovec *parts, size_t count,
                                 struct deadline deadline, struct fault *fault)
{
    while (count > 0) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
        ssize_t sent = sendmsg(wire->fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            enum wire_result result = wait_for(wire, POLLOUT, deadline, fault);
            if (result != WIRE_DONE)
                return result;
        } else if (sent < 0 && errno != EINTR) {
            return failed_errno(errno, fault);
        }
        size_t done = sent > 0 ? (size_t)sent : 0;
        for (; count > 0 && done >= parts->iov_len; parts++, count--)
            done -= parts->iov_len;
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + done;
            parts->iov_len -= done;
        }
    }
    return WIRE_DONE;
}

/* At least one byte more. What was looked at is thrown away. */
static enum wire_result receive(struct wire *wire, struct deadline deadline, struct fault *fault)
{
    memmove(wire->bytes, wire->bytes + wire->next, wire->have - wire->next);
    wire->have -= wire->next;
    wire->next = 0;
    for (;;) {
        /* First: an answer is never there at once. And the deadline is looked at even if bytes are
         * there: who sends one now and then must not go on for ever. */
        enum wire_result result = wait_for(wire, POLLIN, deadline, fault);
        if (result != WIRE_DONE)
            return result;
        ssize_t got = recv(wire->fd, wire->bytes + wire->have, sizeof wire->bytes - wire->have, 0);
        if (got > 0) {
            wire->have += (size_t)got;
            return WIRE_DONE;
        }
        if (got == 0) {
            fault_set(fault, "it closed the connection");
            return WIRE_FAILED;
        }
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            return failed_errno(errno, fault);
    }
}

/* One line without its CRLF, as a string. */
static enum wire_result receive_line(struct wire *wire, char line[LINE_MAX_BYTES],
                                     struct deadline deadline, struct fault *fault)
{
    for (;;) {
        const char *start = wire->bytes + wire->next;
        size_t have = wire->have - wire->next;
        const char *newline = memchr(start, '\n', have);
        size_t length = newline ? (size_t)(newline - start) : have;
        if (length >= LINE_MAX_BYTES || (newline && (length == 0 || start[length - 1] != '\r')) ||
            memchr(start, '\0', length))
            return failed_answer(fault, start, length);
        if (newline) {
            memcpy(line, start, length - 1);
            line[length - 1] = '\0';
            wire->next += length + 1;
            return WIRE_DONE;
        }
        enum wire_result result = receive(wire, deadline, fault);
        if (result != WIRE_DONE)
            return result;
    }
}

/* The next `length` bytes to `to`, or nowhere if that is NULL. */
static enum wire_result receive_bytes(struct wire *wire, char *to, size_t length,
                                      struct deadline deadline, struct fault *fault)
{
    while (length > 0) {
        size_t have = wire->have - wire->next, take = have < length ? have : length;
        if (to && take > 0) {
            memcpy(to, wire->bytes + wire->next, take);
            to += take;
        }
        wire->next += take;
        length -= take;
        if (length > 0) {
            enum wire_result result = receive(wire, deadline, fault);
            if (result != WIRE_DONE)
                return result;
        }
    }
    return WIRE_DONE;
}

static enum wire_result receive_exactly(struct wire *wire, const char *expected,
                                        struct deadline deadline, struct fault *fault)
{
    char bytes[16];
    size_t length = strlen(expected);
    enum wire_result result = receive_bytes(wire, bytes, length, deadline, fault);
    if (result == WIRE_DONE && memcmp(bytes, expected, length) != 0)
        return failed_answer(fault, bytes, length);
    return result;
}

static bool skip(const char **line, const char *start)
{
    size_t length = strlen(start);
    bool there = strncmp(*line, start, length) == 0;
    *line += there ? length : 0;
    return there;
}

/* "VALUE <key> <flags> <bytes>" of this very key. */
static bool value_line_read(const char *line, const char *key, size_t *length)
{
    static const char digits[] = "0123456789";
    uint64_t number;
    if (!skip(&line, "VALUE ") || !skip(&line, key) || !skip(&line, " "))
        return false;
    size_t flags = strspn(line, digits);
    line += flags;
    if (flags == 0 || flags > NUMBER_DIGITS || !skip(&line, " ") || strlen(line) > NUMBER_DIGITS ||
        !text_to_number(line, VALUE_MAX, &number))
        return false;
    *length = (size_t)number;
    return true;
}

static enum wire_result answer_to_get(struct wire *wire, const char *line, struct wire_call *call,
                                      struct deadline deadline, struct fault *fault)
{
    size_t length;
    if (strcmp(line, "END") == 0)
        return WIRE_NONE;
    if (!value_line_read(line, call->key, &length))
        return failed_answer(fault, line, strlen(line));
    bool fits = length <= call->size;
    enum wire_result result =
        receive_bytes(wire, fits ? call->found : NULL, length, deadline, fault);
    if (result == WIRE_DONE)
        result = receive_exactly(wire, "\r\nEND\r\n", deadline, fault);
    if (result != WIRE_DONE)
        return result;
    call->length = length;
    return fits ? WIRE_DONE : WIRE_NONE;
}

static enum wire_result answer_to_change(const char *line, enum wire_verb verb, struct fault *fault)
{
    /* The two that memcached gives for an item and not for itself. */
    static const char too_large[] = "SERVER_ERROR object too large for cache",
                      no_room[] = "SERVER_ERROR out of memory storing object";
    if (strcmp(line, verb == WIRE_REMOVE ? "DELETED" : "STORED") == 0)
        return WIRE_DONE;
    if (strcmp(line, verb == WIRE_REMOVE ? "NOT_FOUND" : "NOT_STORED") == 0 && verb != WIRE_SET)
        return WIRE_NONE;
    failed_answer(fault, line, strlen(line));
    return strcmp(line, too_large) == 0 || strcmp(line, no_room) == 0 ? WIRE_REFUSED : WIRE_FAILED;
}

static enum wire_result request(struct wire *wire, const struct wire_call *call,
                                struct deadline deadline, struct fault *fault)
{
    char head[WIRE_KEY_MAX + 64];
    struct text text = text_on(head, sizeof head);
    bool store = call->verb == WIRE_SET || call->verb == WIRE_ADD;
    if (store) /* set <key> <flags> <exptime> <bytes> */
        text_addf(&text, "%s %s 0 %lld %zu\r\n", call->verb == WIRE_SET ? "set" : "add", call->key,
                  (long long)call->expires_s, call->length);
    else {
        text_add(&text, call->verb == WIRE_GET ? "get " : "delete ");
        text_add(&text, call->key);
        text_add(&text, "\r\n");
    }
    if (text.overflow) {
        fault_set(fault, "the key is too long");
        return WIRE_REFUSED;
    }
    struct iovec parts[] = {{head, text.length},
                            {(void *)call->value, store ? call->length : 0},
                            {(void *)"\r\n", store ? 2 : 0}};
    return send_all(wire, parts, store ? 3 : 1, deadline, fault);
}

enum wire_result wire_do(struct wire *wire, struct wire_call *call, struct deadline deadline,
                         struct fault *fault)
{
    char line[LINE_MAX_BYTES];
    enum wire_result result;
    if (wire->fd >= 0)
        result = check_silence(wire, fault);
    else if (wire->endpoint.kind == ENDPOINT_UNIX)
        result = connect_unix(wire, deadline, fault);
    else
        result = connect_inet(wire, deadline, fault);
    if (result == WIRE_DONE)
        result = request(wire, call, deadline, fault);
    if (result == WIRE_DONE)
        result = receive_line(wire, line, deadline, fault);
    if (result != WIRE_DONE)
        return result;
    result = call->verb == WIRE_GET ? answer_to_get(wire, line, call, deadline, fault)
                                    : answer_to_change(line, call->verb, fault);
    if (result >= WIRE_NONE && wire->next != wire->have)
        return failed_answer(fault, wire->bytes + wire->next, wire->have - wire->next);
    return result;
}
