#include "milter/inspect_watch.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "milter/command.h"

enum { GRACE_S = 5 };

static volatile sig_atomic_t watched_fd = -1; /* written by the one thread and by the handler */

static void run_out(int number)
{
    static const char words[] = "rcptctl: check: a server kept us waiting too long\n";
    (void)number;
    if (watched_fd < 0) {
        if (write(STDERR_FILENO, words, sizeof words - 1) < 0) {
        }
        _exit(EXIT_UNAVAILABLE);
    }
    shutdown(watched_fd, SHUT_RDWR);
    watched_fd = -1;
    alarm(GRACE_S);
}

void inspect_watch_begin(unsigned seconds)
{
    struct sigaction action = {.sa_handler = run_out};
    sigemptyset(&action.sa_mask);
    sigaction(SIGALRM, &action, NULL);
    alarm(seconds);
}

void inspect_watch_socket(int fd)
{
    watched_fd = fd;
}

void inspect_watch_end(void)
{
    alarm(0);
    watched_fd = -1;
}
