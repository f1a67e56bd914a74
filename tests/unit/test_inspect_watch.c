/* rcptctl check does not wait for ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "milter/command.h"
#include "milter/inspect_watch.h"

/* Returns what `work` would, from a process of its own; -1: it was killed. */
static int status_of(int (*work)(void))
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(60);
        _exit(work());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

enum { READ_ENDED = 7, READ_WENT_ON = 8 };

static int read_from_nobody(void)
{
    char byte;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return 1;
    inspect_watch_begin(1);
    inspect_watch_socket(pair[0]);
    ssize_t got = read(pair[0], &byte, 1); /* the handler restarts nothing */
    if (got < 0)
        got = read(pair[0], &byte, 1);
    inspect_watch_end();
    return got == 0 ? READ_ENDED : READ_WENT_ON;
}

static void a_socket_nobody_answers_on_is_shut_down(void **state)
{
    (void)state;
    assert_int_equal(status_of(read_from_nobody), READ_ENDED);
}

static int wait_without_a_socket(void)
{
    inspect_watch_begin(1);
    pause();
    return READ_WENT_ON;
}

static void without_a_socket_the_program_ends(void **state)
{
    (void)state;
    assert_int_equal(status_of(wait_without_a_socket), EXIT_UNAVAILABLE);
}

static int end_in_time(void)
{
    inspect_watch_begin(1);
    inspect_watch_end();
    return alarm(0) == 0 ? READ_ENDED : READ_WENT_ON;
}

static void what_ended_in_time_is_not_watched_any_more(void **state)
{
    (void)state;
    assert_int_equal(status_of(end_in_time), READ_ENDED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_socket_nobody_answers_on_is_shut_down),
        cmocka_unit_test(without_a_socket_the_program_ends),
        cmocka_unit_test(what_ended_in_time_is_not_watched_any_more),
    };
    return cmocka_run_group_tests_name("inspect_watch", tests, NULL, NULL);
}
