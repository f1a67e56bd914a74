/* mysql_testing - for tests: tables on a socket, statements, and servers of the test's own. */
#ifndef TESTS_UNIT_MYSQL_TESTING_H
#define TESTS_UNIT_MYSQL_TESTING_H

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "db/mysql_client.h"
#include "shared/clock.h"
#include "tests/unit/pause.h"
#include "tests/unit/scratch.h"

static const struct mysql_timeouts test_timeouts = {.connect_s = 1, .query_s = 1};

/* The shared server of tests/with-mariadb. */
static inline const char *test_socket(void)
{
    const char *sock = getenv("MYSQL_TEST_SOCKET");
    if (!sock || !*sock)
        fail_msg("MYSQL_TEST_SOCKET is not set: run this as `tests/with-mariadb PROGRAM'");
    return sock;
}

/* A table as a file would give it; `more` are further lines. */
static inline struct mysql_table *test_table(const char *sock, const char *dbname, const char *more)
{
    static unsigned number;
    char path[256], name[32], text[4096];
    struct fault fault = {""};
    snprintf(name, sizeof name, "table%u.cf", number++);
    snprintf(text, sizeof text, "hosts = unix:%s\nuser = root\noption_group =\ndbname = %s\n%s",
             sock, dbname, more);
    struct mysql_table *table = mysql_table_read(scratch_file(path, name, text), &fault);
    if (!table)
        fail_msg("%s", fault.text);
    return table;
}

/* A session of the test's own, beside the code under test. */
struct session {
    struct mysql_table *table;
    struct mysql_client *client;
};

static inline bool session_try(struct session *session, const char *sock, const char *dbname,
                               struct fault *fault)
{
    static const struct mysql_timeouts patient = {.connect_s = 10, .query_s = 60};
    struct mysql_trouble trouble;
    session->table = test_table(sock, dbname, "query = none\nrequire_result_set = no\n");
    session->client = mysql_client_connect(
        &session->table->source, &session->table->source.hosts[0], &patient, &trouble, fault);
    if (!session->client)
        mysql_table_free(session->table);
    return session->client != NULL;
}

static inline struct session session_open(const char *sock, const char *dbname)
{
    struct session session;
    struct fault fault = {""};
    if (!session_try(&session, sock, dbname, &fault))
        fail_msg("%s", fault.text);
    return session;
}

static inline void session_close(struct session *session)
{
    mysql_client_close(session->client);
    mysql_table_free(session->table);
}

/* Runs one statement; its values are left in the result. */
static inline struct finding session_run(struct session *session, const char *sql)
{
    unsigned long rows;
    struct mysql_trouble trouble;
    struct finding finding = {.answer = UNAVAILABLE};
    mysql_client_query(session->client, session->table, "k", sql, strlen(sql), &rows, &trouble,
                       &finding);
    if (finding.answer == UNAVAILABLE)
        fail_msg("%s: %s", sql, finding.why.text);
    return finding;
}

static inline void run_sql(const char *sock, const char *dbname, const char *const *statements)
{
    struct session session = session_open(sock, dbname);
    for (; *statements; statements++)
        session_run(&session, *statements);
    session_close(&session);
}

/* The file's statements, split where a line ends with `;'. */
static inline void load_sql(struct session *session, const char *path)
{
    static char statement[1 << 20];
    char line[1 << 16];
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("%s: %s", path, strerror(errno));
    statement[0] = '\0';
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, "--", 2) == 0 || line[0] == '\n')
            continue;
        assert_true(strlen(statement) + strlen(line) < sizeof statement);
        strcat(statement, line);
        size_t length = strlen(line);
        if (length >= 2 && line[length - 2] == ';') {
            statement[strlen(statement) - 2] = '\0';
            session_run(session, statement);
            statement[0] = '\0';
        }
    }
    fclose(file);
}

/* A server that the test may stop and kill. */
struct own_server {
    char dir[256], sock[108];
    pid_t pid; /* 0: not running */
};

static inline void own_server_create(struct own_server *server, const char *name)
{
    char command[1024];
    *server = (struct own_server){.pid = 0};
    setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
    scratch_path(server->dir, name);
    snprintf(server->sock, sizeof server->sock, "%s/%s.sock", scratch_dir, name);
    snprintf(command, sizeof command,
             "mariadb-install-db --no-defaults --user=\"$(id -un)\" --datadir='%s' "
             "--skip-test-db --auth-root-authentication-method=normal >/dev/null 2>&1",
             server->dir);
    if (system(command) != 0)
        fail_msg("mariadb-install-db failed (Debian: apt-get install mariadb-server-core)");
}

/* Returns when it takes connections. It dies with the thread that called this. */
static inline void own_server_start(struct own_server *server)
{
    extern char **environ;
    char datadir[300], sock[300], log[300], user[] = "--user=root";
    snprintf(datadir, sizeof datadir, "--datadir=%s", server->dir);
    snprintf(sock, sizeof sock, "--socket=%s", server->sock);
    snprintf(log, sizeof log, "--log-error=%s.log", server->dir);
    char *argv[] = {"setpriv",
                    "--pdeathsig",
                    "KILL",
                    "--",
                    "mariadbd",
                    "--no-defaults",
                    datadir,
                    sock,
                    log,
                    "--skip-networking",
                    "--innodb-buffer-pool-size=16M",
                    "--innodb-flush-log-at-trx-commit=0",
                    "--innodb-use-native-aio=0",
                    "--performance-schema=OFF",
                    getuid() == 0 ? user : NULL,
                    NULL};
    unlink(server->sock);
    if (posix_spawnp(&server->pid, argv[0], NULL, NULL, argv, environ) != 0)
        fail_msg("cannot start mariadbd");
    struct deadline patience = deadline_in_ms(60 * 1000);
    struct session session;
    struct fault fault = {""};
    while (!session_try(&session, server->sock, "mysql", &fault)) {
        if (deadline_passed(patience) || waitpid(server->pid, NULL, WNOHANG) != 0)
            fail_msg("mariadbd is not ready: %s", fault.text);
        test_pause();
    }
    session_close(&session);
}

static inline void own_server_kill(struct own_server *server)
{
    if (server->pid == 0)
        return;
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

#endif
