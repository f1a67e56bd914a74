/* The input is what a memcached answers, and after that it ends the connection. */
#include "tests/fuzz/fuzz.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "db/memcache_wire.h"

enum { ANSWER_MAX = 4000 /* fits the wire's buffer, so that all of it is seen */, ROOM = 64 };

static struct endpoint endpoint = {.kind = ENDPOINT_UNIX};
static char directory[64];
static int listener;

/* Written before the wire connects, read after it has. */
static struct input answer;

static void *serve(void *unused)
{
    static char bytes[ANSWER_MAX], request[4096];
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        assert(fd >= 0);
        /* Once it is sent, the wire may be done and the input gone, before send() returns. */
        size_t length = answer.length;
        memcpy(bytes, answer.bytes, length);
        assert(length == 0 || send(fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length);
        shutdown(fd, SHUT_WR);
        /* To the end: closed with something unread, it would be a reset. */
        while (recv(fd, request, sizeof request, 0) > 0)
            ;
        close(fd);
    }
    return unused;
}

static void remove_socket(void)
{
    unlink(endpoint.path);
    rmdir(directory);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    const char *parent = getenv("TMPDIR");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    pthread_t thread;
    snprintf(directory, sizeof directory, "%s/fuzz.XXXXXX", parent ? parent : "/tmp");
    assert(mkdtemp(directory));
    snprintf(endpoint.path, sizeof endpoint.path, "%s/socket", directory);
    strcpy(address.sun_path, endpoint.path);
    atexit(remove_socket);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    assert(listen(listener, 5) == 0);
    assert(pthread_create(&thread, NULL, serve, NULL) == 0);
    return 0;
}

static bool answer_is(const char *line)
{
    return answer.length == strlen(line) && memcmp(answer.bytes, line, answer.length) == 0;
}

static enum wire_result ask(struct wire_call *call)
{
    struct fault fault = {""};
    struct wire *wire = wire_open(&endpoint);
    assert(wire);
    enum wire_result result = wire_do(wire, call, deadline_in_ms(60000), &fault);
    assert(result != WIRE_LATE);
    assert((result < WIRE_NONE) == (fault.text[0] != '\0') && is_clean(fault.text));
    wire_close(wire);
    return result;
}

/* DONE is "VALUE key FLAGS LENGTH", so many bytes, "END", and not a byte more. */
static void check_get(void)
{
    static const char head[] = "VALUE key ", tail[] = "\r\nEND\r\n";
    char *found = malloc(ROOM);
    struct wire_call call = {.verb = WIRE_GET, .key = "key", .found = found, .size = ROOM};
    assert(found);
    enum wire_result result = ask(&call);
    if (answer_is("END\r\n"))
        assert(result == WIRE_NONE);
    if (result >= WIRE_NONE && !answer_is("END\r\n")) {
        size_t tail_length = strlen(tail), length = call.length;
        assert(answer.length > strlen(head) + length + tail_length);
        assert(memcmp(answer.bytes, head, strlen(head)) == 0);
        const char *end = answer.bytes + answer.length - tail_length;
        assert(memcmp(end, tail, tail_length) == 0);
        if (result == WIRE_DONE) {
            assert(length <= ROOM && memcmp(end - length, found, length) == 0);
            assert(memcmp(end - length - 2, "\r\n", 2) == 0);
        }
    }
    free(found);
}

static void check_change(enum wire_verb verb, const char *done, const char *none)
{
    struct wire_call call = {
        .verb = verb, .key = "key", .value = "value", .length = 5, .expires_s = 60};
    enum wire_result result = ask(&call);
    assert((result == WIRE_DONE) == answer_is(done));
    assert((result == WIRE_NONE) == (none && answer_is(none)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > ANSWER_MAX)
        return 0;
    answer = (struct input){(const char *)data, size};
    check_get();
    check_change(WIRE_SET, "STORED\r\n", NULL);
    check_change(WIRE_ADD, "STORED\r\n", "NOT_STORED\r\n");
    check_change(WIRE_REMOVE, "DELETED\r\n", "NOT_FOUND\r\n");
    return 0;
}
