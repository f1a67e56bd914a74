#include "milter/top.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "milter/command.h"
#include "milter/control.h"
#include "milter/top_view.h"
#include "shared/clock.h"

enum {
    INTERVAL_MS = 2000,
    PATIENCE_MS = 5000, /* for a daemon that takes the question and says nothing */
    SIGNAL_EXIT = 128,  /* and its number, as a shell has it */
};

struct top {
    struct endpoint socket;
    enum control_result result; /* of the last question */
    struct fault fault;
    bool screen;        /* a terminal, drawn again and again */
    bool quit;          /* q, or a signal */
    int signal;         /* it; 0: none */
    int signals;        /* signalfd; -1 where one screen is all */
    bool keys;          /* standard input is a terminal */
    struct termios was; /* of standard input, where it is */
    char *stats, *before, *status;
    int64_t stats_ms, before_ms;
};

/* ---- the terminal ---- */

static const char enter[] = "\x1b[?1049h\x1b[?25l"; /* the other screen, without a cursor */
static const char leave[] = "\x1b[?25h\x1b[?1049l";

static void terminal_enter(const struct top *top)
{
    fputs(enter, stdout);
    fflush(stdout);
    if (!top->keys)
        return;
    struct termios raw = top->was;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* ISIG stays: ^C is a signal */
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

static void terminal_leave(const struct top *top)
{
    if (top->keys)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &top->was);
    fputs(leave, stdout);
    fflush(stdout);
}

/* ^Z: as the shell wants it, and as it was before. */
static void suspend(struct top *top)
{
    terminal_leave(top);
    raise(SIGSTOP);
    terminal_enter(top);
}

static bool signals_open(struct top *top)
{
    static const int ours[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        sigaddset(&set, ours[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    top->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return top->signals >= 0;
}

static void take_signals(struct top *top)
{
    struct signalfd_siginfo got;
    while (read(top->signals, &got, sizeof got) == sizeof got) {
        if (got.ssi_signo == SIGTSTP) {
            suspend(top);
        } else if (got.ssi_signo != SIGWINCH) { /* that one only wakes us to draw again */
            top->quit = true;
            top->signal = (int)got.ssi_signo;
        }
    }
}

static void take_keys(struct top *top)
{
    char key;
    ssize_t got = read(STDIN_FILENO, &key, 1);
    for (; got == 1; got = read(STDIN_FILENO, &key, 1))
        top->quit |= key == 'q' || key == 'Q';
    /* VMIN 0: nothing there is 0, too; a terminal that is gone comes as SIGHUP. */
}

/* Until the descriptor has something to read, the deadline, or who sits there wants something
 * else. True for the first. */
static bool wait_for(struct top *top, int fd, struct deadline deadline)
{
    struct pollfd watched[] = {{.fd = fd, .events = POLLIN},
                               {.fd = top->signals, .events = POLLIN},
                               {.fd = top->keys ? STDIN_FILENO : -1, .events = POLLIN}};
    while (!top->quit && !deadline_passed(deadline)) {
        if (poll(watched, 3, (int)deadline_left_ms(deadline)) <= 0)
            continue;
        if (watched[1].revents)
            take_signals(top);
        if (watched[2].revents & (POLLHUP | POLLERR))
            top->quit = true;
        else if (watched[2].revents)
            take_keys(top);
        if (watched[0].revents)
            return true;
        if (fd < 0 && watched[1].revents && !top->quit)
            return false; /* the window has another size: draw again */
    }
    return false;
}

/* ---- asking ---- */

/* What the daemon answers, to be freed; NULL with top->fault. */
static char *ask(struct top *top, int argc, char **argv)
{
    int code = 0, fd = control_send(top->socket.path, argc, argv, &top->result, &top->fault);
    if (fd < 0)
        return NULL;
    if (!wait_for(top, fd, deadline_in_ms(PATIENCE_MS))) {
        top->result = CONTROL_FAILED;
        fault_set(&top->fault, "the daemon has not answered for %d s", PATIENCE_MS / 1000);
        close(fd);
        return NULL;
    }
    char *answer = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&answer, &length);
    if (!out) {
        close(fd);
        return NULL;
    }
    top->result = control_receive(fd, top->socket.path, out, &code, &top->fault);
    fclose(out);
    if (top->result == CONTROL_ANSWERED && code != 0) {
        top->result = CONTROL_FAILED;
        fault_set(&top->fault, "%s", answer);
    }
    if (top->result == CONTROL_ANSWERED)
        return answer;
    free(answer);
    return NULL;
}

/* False: what there was stays, and top->fault says why. */
static bool refresh(struct top *top)
{
    char *for_stats[] = {(char *)"stats", (char *)"--prometheus"},
         *for_status[] = {(char *)"status"};
    fault_clear(&top->fault);
    char *stats = ask(top, 2, for_stats), *status = stats ? ask(top, 1, for_status) : NULL;
    if (!status) {
        free(stats);
        return false;
    }
    free(top->before);
    free(top->status);
    top->before = top->stats;
    top->before_ms = top->stats_ms;
    top->stats = stats;
    top->stats_ms = clock_mono_ms();
    top->status = status;
    return true;
}

/* ---- showing ---- */

static double since_the_start(const char *stats)
{
    static const char key[] = "\nprocess_start_time_seconds ";
    const char *found = strstr(stats, key);
    double start = found ? strtod(found + strlen(key), NULL) : 0;
    double seconds = start > 0 ? (double)clock_wall_s() - start : 0;
    return seconds < 1 ? 1 : seconds; /* both are whole ones */
}

static void show(const struct top *top)
{
    struct top_screen screen;
    struct winsize size = {0};
    struct top_input input = {
        .stats = top->stats, .before = top->before, .status = top->status, .trouble = ""};
    char trouble[FAULT_MAX + 32];
    snprintf(trouble, sizeof trouble, "NOTHING NEW: %s", top->fault.text);
    if (top->fault.text[0] != '\0')
        input.trouble = trouble;
    input.seconds =
        top->before ? (double)(top->stats_ms - top->before_ms) / 1000 : since_the_start(top->stats);
    if (top->screen)
        ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    /* The last row is for the keys. */
    top_layout(&input, size.ws_col, size.ws_row > 1 ? size.ws_row - 1u : size.ws_row, &screen);
    if (top->screen)
        fputs("\x1b[H", stdout);
    for (size_t i = 0; i < screen.count; i++) {
        const struct top_line *line = &screen.lines[i];
        bool loud = top->screen && line->alarm;
        printf("%s%s%s%s\n", loud ? "\x1b[1;31m" : "", line->text, loud ? "\x1b[0m" : "",
               top->screen ? "\x1b[K" : "");
    }
    if (top->screen)
        fputs("\x1b[2mq quits\x1b[0m\x1b[K\x1b[J", stdout);
    fflush(stdout);
}

static void run(struct top *top)
{
    terminal_enter(top);
    while (!top->quit) {
        struct deadline next = deadline_in_ms(INTERVAL_MS);
        show(top);
        while (!top->quit && !deadline_passed(next))
            if (!wait_for(top, -1, next) && !deadline_passed(next) && !top->quit)
                show(top);
        if (!top->quit)
            refresh(top);
    }
    terminal_leave(top);
}

static int first_failure(const struct top *top, int found)
{
    if (top->quit)
        return top->signal ? SIGNAL_EXIT + top->signal : 0;
    if (top->result == CONTROL_NOT_RUNNING && found != 0)
        return found;
    bool absent = top->result == CONTROL_NOT_RUNNING;
    fprintf(stderr, "rcptctl: %s%s\n", absent ? "rcpt-milter is not running: " : "",
            top->fault.text);
    return absent ? EXIT_NOT_RUNNING : EXIT_NO_PERMISSION;
}

int top_run(const struct client_place *place, int argc, char **argv)
{
    struct top top = {.signals = -1};
    bool once = argc == 2 && strcmp(argv[1], "--once") == 0;
    if (argc > 2 || (argc == 2 && !once)) {
        fprintf(stderr, "usage: rcptctl top [--once]\n");
        return EXIT_USAGE;
    }
    int found = client_find_socket(place, &top.socket);
    if (found == EXIT_USAGE)
        return found;
    top.screen = !once && isatty(STDOUT_FILENO);
    top.keys = top.screen && tcgetattr(STDIN_FILENO, &top.was) == 0;
    if (top.screen && !signals_open(&top))
        top.screen = top.keys = false;
    if (!refresh(&top))
        return first_failure(&top, found);
    if (top.screen)
        run(&top);
    else
        show(&top);
    free(top.stats);
    free(top.before);
    free(top.status);
    return top.signal ? SIGNAL_EXIT + top.signal : 0;
}
