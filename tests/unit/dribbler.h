/* dribbler - for tests: a server that hands the bytes of the real one on, all at once or one at a
 * time, ten a second. */
#ifndef TESTS_UNIT_DRIBBLER_H
#define TESTS_UNIT_DRIBBLER_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/unit/scratch.h"

struct dribbler {
    char sock[108];
    int listener;
    int stop[2]; /* a pipe: readable, or gone, is the end */
    _Atomic bool dribbles;
    _Atomic unsigned broken_off; /* connections the client has shut down */
    pthread_t thread;
};

struct dribbler_pair {
    struct dribbler *dribbler;
    int client;
};

static inline int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    abort();
}

static inline void *dribbler_pair_main(void *argument)
{
    struct dribbler_pair pair = *(struct dribbler_pair *)argument;
    free(argument);
    int server = connect_unix(getenv("MYSQL_TEST_SOCKET"));
    char bytes[4096];
    ssize_t length = 1;
    while (length > 0) {
        struct pollfd fds[] = {
            {pair.client, POLLIN, 0}, {server, POLLIN, 0}, {pair.dribbler->stop[0], POLLIN, 0}};
        poll(fds, 3, -1);
        if (fds[2].revents)
            break;
        if (fds[0].revents) {
            length = read(pair.client, bytes, sizeof bytes);
            if (length <= 0 || write(server, bytes, (size_t)length) != length)
                break;
        }
        if (fds[1].revents) {
            bool dribbles = pair.dribbler->dribbles;
            length = read(server, bytes, dribbles ? 1 : sizeof bytes);
            if (length <= 0 || send(pair.client, bytes, (size_t)length, MSG_NOSIGNAL) != length)
                break;
            struct pollfd pause = {pair.dribbler->stop[0], POLLIN, 0};
            if (dribbles)
                poll(&pause, 1, 100);
        }
    }
    if (length <= 0 || recv(pair.client, bytes, 1, MSG_DONTWAIT) == 0)
        pair.dribbler->broken_off++;
    close(server);
    close(pair.client);
    return NULL;
}

static inline void *dribbler_main(void *argument)
{
    struct dribbler *dribbler = argument;
    pthread_t threads[64];
    unsigned count = 0;
    for (;;) {
        struct pollfd fds[] = {{dribbler->listener, POLLIN, 0}, {dribbler->stop[0], POLLIN, 0}};
        poll(fds, 2, -1);
        if (fds[1].revents || count == 64)
            break;
        struct dribbler_pair *pair = malloc(sizeof *pair);
        *pair = (struct dribbler_pair){dribbler, accept(dribbler->listener, NULL, NULL)};
        pthread_create(&threads[count++], NULL, dribbler_pair_main, pair);
    }
    while (count > 0)
        pthread_join(threads[--count], NULL);
    return NULL;
}

static inline void dribbler_start(struct dribbler *dribbler, const char *name, bool dribbles)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(dribbler->sock, sizeof dribbler->sock, "%s/%s", scratch_dir, name);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", dribbler->sock);
    dribbler->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    dribbler->dribbles = dribbles;
    dribbler->broken_off = 0;
    assert_int_equal(pipe(dribbler->stop), 0);
    assert_int_equal(bind(dribbler->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(dribbler->listener, 64), 0);
    assert_int_equal(pthread_create(&dribbler->thread, NULL, dribbler_main, dribbler), 0);
}

static inline void dribbler_stop(struct dribbler *dribbler)
{
    close(dribbler->stop[1]);
    pthread_join(dribbler->thread, NULL);
    close(dribbler->stop[0]);
    close(dribbler->listener);
}

#endif
