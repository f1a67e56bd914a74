/* A server that the tests of one program may kill, beside the one of tests/with-mariadb; both hold
 * the directory of mysql_asking.h. */
#ifndef TESTS_UNIT_MYSQL_OWN_H
#define TESTS_UNIT_MYSQL_OWN_H

#include "tests/unit/mysql_asking.h"

static struct own_server own;

/* On our own server, which an earlier test may have left dead. */
static inline struct asking start_own(const char *lines)
{
    if (own.pid == 0)
        own_server_start(&own);
    return start_on(own.sock, "pool_test", lines);
}

/* It hangs, all of its threads: kill(2) does not wait for that. */
static inline void hang_own_server(void)
{
    int status;
    kill(own.pid, SIGSTOP);
    assert_int_equal(waitpid(own.pid, &status, WUNTRACED), own.pid);
    assert_true(WIFSTOPPED(status));
}

static inline int prepare_servers(void **state)
{
    (void)state;
    if (!mysql_client_library_init(&fault))
        return -1;
    own_server_create(&own, "own");
    own_server_start(&own);
    run_sql(own.sock, "mysql", directory);
    if (getenv("MYSQL_TEST_SOCKET"))
        run_sql(test_socket(), "mysql", directory);
    return 0;
}

static inline int kill_own_server(void **state)
{
    (void)state;
    own_server_kill(&own);
    return 0;
}

#endif
