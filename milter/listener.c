#include "milter/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shared/log.h"

enum { ENOUGH_FILES = 4096 };

int listener_take_lock(const char *socket, struct fault *fault)
{
    struct stat there;
    if (lstat(socket, &there) == 0 && !S_ISSOCK(there.st_mode)) {
        fault_set(fault, "%s exists and is not a socket; it was left alone", socket);
        return -1;
    }
    char path[ENDPOINT_PATH_MAX + 8];
    snprintf(path, sizeof path, "%s.lock", socket);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        fault_set(fault, "cannot open the lock file %s: %s", path, strerror(errno));
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    fault_set(fault, "another rcpt-milter serves %s (it holds %s); it was left alone", socket,
              path);
    close(fd);
    return -1;
}

/* The descriptor stays open, and with it the lock. */
bool listener_lock(const struct endpoint *socket, struct fault *fault)
{
    return socket->kind != ENDPOINT_UNIX || listener_take_lock(socket->path, fault) >= 0;
}

static struct sockaddr_un unix_address(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return address;
}

static void touch(int family, const struct sockaddr *address, socklen_t size)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, address, size) < 0 && errno != EINPROGRESS)
        log_debug("cannot wake our own listener: %s", strerror(errno));
    close(fd);
}

void listener_wake(const struct endpoint *endpoint)
{
    if (endpoint->kind == ENDPOINT_UNIX) {
        struct sockaddr_un address = unix_address(endpoint->path);
        touch(AF_UNIX, (struct sockaddr *)&address, sizeof address);
        return;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)endpoint->port);
    if (getaddrinfo(endpoint->host, port, &hints, &list) != 0)
        return;
    touch(list->ai_family, list->ai_addr, list->ai_addrlen);
    freeaddrinfo(list);
}

int listener_open_unix(const char *path, unsigned mode, struct fault *fault)
{
    struct sockaddr_un address = unix_address(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        fault_set(fault, "cannot make a socket: %s", strerror(errno));
        return -1;
    }
    unlink(path);
    mode_t before = umask(0777 & ~mode);
    bool listening =
        bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, SOMAXCONN) == 0;
    umask(before);
    if (listening)
        return fd;
    fault_set(fault, "cannot listen on unix:%s: %s", path, strerror(errno));
    close(fd);
    return -1;
}

void listener_raise_limits(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < ENOUGH_FILES)
        log_warning("only %llu files may be open at a time, which is about as many SMTP sessions; "
                    "raise the limit (LimitNOFILE= in the systemd unit) to %d or more",
                    (unsigned long long)files.rlim_cur, ENOUGH_FILES);
}
