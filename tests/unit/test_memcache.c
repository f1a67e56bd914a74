/* The memcached tier against the real memcached, and against doubles that lie. Each test has its
 * own servers, on unix sockets in a scratch directory. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/pause.h"
#include "db/generations.h"
#include "db/memcache.h"
#include "db/memcache_ring.h"
#include "db/memcache_wire.h"
#include "db/outcome.h"
#include "shared/counters.h"

enum {
    SERVERS = 3,
    LIMIT_MS = 10000,  /* for what must happen in the end */
    PATIENT_MS = 2000, /* memcache_timeout where no test is about it: machines are busy */
    SHORT_MS = 300,    /* and where one is */
};

struct world {
    char directory[64];
    char path[SERVERS][96];
    pid_t pid[SERVERS]; /* 0: not running */
};

static bool can_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return connected;
}

static void server_start(struct world *world, int i)
{
    unlink(world->path[i]);
    world->pid[i] = fork();
    assert_true(world->pid[i] >= 0);
    if (world->pid[i] == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* should this test die */
        execlp("memcached", "memcached", "-u", "root", "-U", "0", "-m", "16", "-t", "2", "-s",
               world->path[i], (char *)NULL);
        _exit(127);
    }
    struct deadline limit = deadline_in_ms(LIMIT_MS);
    while (!can_connect(world->path[i])) {
        assert_false(deadline_passed(limit));
        test_pause();
    }
}

static void server_kill(struct world *world, int i)
{
    if (world->pid[i] <= 0)
        return;
    kill(world->pid[i], SIGKILL);
    waitpid(world->pid[i], NULL, 0);
    world->pid[i] = 0;
}

/* Returns when it stands still: kill(2) does not wait for that. */
static void server_stop(struct world *world, int i)
{
    int status;
    kill(world->pid[i], SIGSTOP);
    assert_int_equal(waitpid(world->pid[i], &status, WUNTRACED), world->pid[i]);
    assert_true(WIFSTOPPED(status));
}

static int world_make(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    strcpy(world->directory, "/tmp/test_memcache.XXXXXX");
    if (!mkdtemp(world->directory))
        return -1;
    for (int i = 0; i < SERVERS; i++)
        snprintf(world->path[i], sizeof world->path[i], "%s/%d", world->directory, i);
    *state = world;
    return 0;
}

static int world_end(void **state)
{
    struct world *world = *state;
    for (int i = 0; i < SERVERS; i++) {
        server_kill(world, i);
        unlink(world->path[i]);
    }
    rmdir(world->directory);
    free(world);
    return 0;
}

static struct memcache *open_with(const char *servers, const char *secret_file, int64_t timeout_ms)
{
    struct settings settings = {.memcache_servers = (char *)servers,
                                .memcache_key_prefix = (char *)"test:",
                                .memcache_secret_file = (char *)secret_file,
                                .memcache_timeout_ms = timeout_ms};
    struct fault fault = {.text = ""};
    struct memcache *memcache = memcache_open(&settings, &fault);
    assert_string_equal(fault.text, "");
    assert_non_null(memcache);
    return memcache;
}

static struct memcache *open_servers(const char *servers, int64_t timeout_ms)
{
    return open_with(servers, "", timeout_ms);
}

static struct memcache *open_one(const struct world *world, int64_t timeout_ms)
{
    char servers[128];
    snprintf(servers, sizeof servers, "unix:%s", world->path[0]);
    return open_servers(servers, timeout_ms);
}

static struct digest key_number(unsigned number)
{
    return digest_shared(&number, sizeof number);
}

static bool put(struct memcache *memcache, unsigned key, const char *value)
{
    struct digest digest = key_number(key);
    return memcache_put(memcache, MEMCACHE_OUTCOME, &digest, deadline_in_ms(LIMIT_MS), value,
                        strlen(value), 60);
}

/* The result, and in value[256] what came with it. */
static enum memcache_result get(struct memcache *memcache, unsigned key, char value[256])
{
    struct digest digest = key_number(key);
    size_t length = 0;
    enum memcache_result result = memcache_get(memcache, MEMCACHE_OUTCOME, &digest,
                                               deadline_in_ms(LIMIT_MS), NULL, value, 255, &length);
    value[length] = '\0';
    return result;
}

static void assert_holds(struct memcache *memcache, unsigned key, const char *expected)
{
    char value[256];
    assert_int_equal(get(memcache, key, value), MEMCACHE_HIT);
    assert_string_equal(value, expected);
}

static bool comes_back(struct memcache *memcache, unsigned key)
{
    char value[256];
    struct deadline limit = deadline_in_ms(LIMIT_MS);
    while (!deadline_passed(limit)) {
        if (get(memcache, key, value) != MEMCACHE_FAILED)
            return true;
        test_pause();
    }
    return false;
}

static void keep_line(void *context, const char *text)
{
    char *lines = context;
    snprintf(lines + strlen(lines), 2048 - strlen(lines), "%s\n", text);
}

static void report(struct memcache *memcache, char lines[2048])
{
    lines[0] = '\0';
    memcache_report(memcache, keep_line, lines);
}

/* What is logged between the two goes to a file; log_end counts the lines. */
static int log_begin(const struct world *world)
{
    char path[128];
    snprintf(path, sizeof path, "%s/log", world->directory);
    int before = dup(STDERR_FILENO), log = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
    dup2(log, STDERR_FILENO);
    close(log);
    log_set_level(LEVEL_INFO);
    return before;
}

static void log_end(const struct world *world, int before, int *gone, int *back, int *lines)
{
    char path[128], line[1024];
    log_set_level(LEVEL_ERROR);
    dup2(before, STDERR_FILENO);
    close(before);
    snprintf(path, sizeof path, "%s/log", world->directory);
    FILE *log = fopen(path, "r");
    *gone = *back = *lines = 0;
    while (log && fgets(line, sizeof line, log)) {
        *gone += strstr(line, " - going on without it\n") != NULL;
        *back += strstr(line, ": works again, after ") != NULL;
        ++*lines;
    }
    if (log)
        fclose(log);
    unlink(path);
}

/* Without a server. */

static void the_releases_that_mix_up_values_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *version;
        bool safe;
    } known[] = {{"1.0.18", true}, {"1.1.0", false}, {"1.1.1", false},
                 {"1.1.2", false}, {"1.1.3", false}, {"1.1.4", true},
                 {"1.1.10", true}, {"1.2.0", true},  {"2.1.1", true}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct fault fault = {.text = ""};
        assert_int_equal(memcache_ring_version_is_safe(known[i].version, &fault), known[i].safe);
        assert_int_equal(strstr(fault.text, "CVE-2023-27478") != NULL, !known[i].safe);
    }
    assert_true(memcache_library_is_safe(NULL));
}

static void check_settings(const char *servers, const char *prefix, const char *expected)
{
    struct settings settings = {.memcache_servers = (char *)servers,
                                .memcache_key_prefix = (char *)prefix,
                                .memcache_secret_file = (char *)"",
                                .memcache_timeout_ms = 100};
    struct fault fault = {.text = ""};
    bool good = memcache_check(&settings, &fault);
    if (good != (expected == NULL) || (expected && !strstr(fault.text, expected)))
        fail_msg("\"%s\", \"%s\": %s \"%s\"", servers, prefix, good ? "taken" : "refused",
                 fault.text);
}

static void servers_are_written_as_in_main_cf_or_with_less(void **state)
{
    (void)state;
    check_settings("", "p:", NULL);
    check_settings("unix:/run/x, inet:a:1 b:2\tc,[::1]:4 [::1] inet:[::1]:5 inet:d", "p:", NULL);
    check_settings("unix:relative", "p:", "memcache_servers: ");
    check_settings("a:0", "p:", "memcache_servers: ");
    check_settings("a:x", "p:", "memcache_servers: ");
    check_settings("::1", "p:", "memcache_servers: ");
    check_settings("[zz]:1", "p:", "memcache_servers: ");
    check_settings("a b c/d", "p:", "memcache_servers: ");
}

static void a_server_without_a_port_has_memcacheds_own(void **state)
{
    (void)state;
    char lines[2048];
    struct memcache *memcache =
        open_servers("127.0.0.1 [::1] inet:127.0.0.2 127.0.0.3:5 unix:/x", PATIENT_MS);
    report(memcache, lines);
    memcache_close(memcache);
    assert_string_equal(
        lines,
        "memcached inet:127.0.0.1:11211 up\nmemcached inet:[::1]:11211 up\n"
        "memcached inet:127.0.0.2:11211 up\nmemcached inet:127.0.0.3:5 up\nmemcached unix:/x up\n");
}

static void a_prefix_must_fit_into_a_key(void **state)
{
    (void)state;
    char longest[300];
    memset(longest, 'x', sizeof longest);
    longest[WIRE_KEY_MAX - 33] = '\0';
    check_settings("a", longest, NULL);
    longest[WIRE_KEY_MAX - 33] = 'x';
    longest[WIRE_KEY_MAX - 32] = '\0';
    check_settings("a", longest, "memcache_key_prefix: ");
    check_settings("a", "", NULL);
    check_settings("a", "with blank", "memcache_key_prefix: ");
    check_settings("a", "new\r\nline", "memcache_key_prefix: ");
    check_settings("a", "\xc3\xbc", "memcache_key_prefix: ");
}

static void no_server_is_no_tier(void **state)
{
    (void)state;
    struct settings settings = {.memcache_servers = (char *)" ,",
                                .memcache_key_prefix = (char *)"",
                                .memcache_secret_file = (char *)"",
                                .memcache_timeout_ms = 100};
    struct fault fault;
    assert_null(memcache_open(&settings, &fault));
    assert_string_equal(fault.text, "memcache_servers: it names no server");
    memcache_close(NULL);
}

static void the_ring_is_the_same_whatever_the_order_and_spreads_the_keys(void **state)
{
    (void)state;
    enum { KEYS = 3000 };
    struct endpoint a[3], b[3];
    const char *const names[] = {"unix:/run/one", "inet:cache2:11211", "inet:192.0.2.3:11211"};
    for (size_t i = 0; i < 3; i++) {
        assert_true(endpoint_parse(names[i], &a[i], NULL));
        b[2 - i] = a[i];
    }
    struct memcache_ring *one = memcache_ring_create(a, 3), *other = memcache_ring_create(b, 3);
    int count[3] = {0};
    for (unsigned i = 0; i < KEYS; i++) {
        char key[32];
        snprintf(key, sizeof key, "key%u", i);
        size_t chosen = memcache_ring_choose(one, key);
        assert_in_range(chosen, 0, 2);
        assert_int_equal(memcache_ring_choose(other, key), 2 - chosen);
        count[chosen]++;
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(count[i], KEYS / 6, KEYS / 2);
    memcache_ring_destroy(one);
    memcache_ring_destroy(other);
}

/* With the real one. */

static void what_was_put_is_got_and_what_was_removed_is_not(void **state)
{
    struct world *world = *state;
    char value[256];
    server_start(world, 0);
    struct memcache *memcache = open_one(world, PATIENT_MS);
    struct digest key = key_number(1);
    struct fault fault = {.text = ""};
    assert_int_equal(get(memcache, 1, value), MEMCACHE_MISS);
    assert_true(put(memcache, 1, "one"));
    assert_holds(memcache, 1, "one");
    assert_true(put(memcache, 1, "two"));
    assert_holds(memcache, 1, "two");
    assert_int_equal(get(memcache, 2, value), MEMCACHE_MISS);
    assert_true(
        memcache_remove(memcache, MEMCACHE_OUTCOME, &key, deadline_in_ms(LIMIT_MS), &fault));
    assert_int_equal(get(memcache, 1, value), MEMCACHE_MISS);
    assert_true(
        memcache_remove(memcache, MEMCACHE_OUTCOME, &key, deadline_in_ms(LIMIT_MS), &fault));
    assert_string_equal(fault.text, "");
    memcache_close(memcache);
}

static void add_stores_only_where_there_is_none(void **state)
{
    struct world *world = *state;
    server_start(world, 0);
    struct memcache *memcache = open_one(world, PATIENT_MS);
    struct digest key = key_number(1);
    uint64_t failures = counter_get(COUNT_memcache_failures);
    struct deadline limit = deadline_in_ms(LIMIT_MS);
    assert_true(memcache_add(memcache, MEMCACHE_OUTCOME, &key, limit, "a", 1, 60));
    assert_false(memcache_add(memcache, MEMCACHE_OUTCOME, &key, limit, "b", 1, 60));
    assert_holds(memcache, 1, "a");
    assert_int_equal(counter_get(COUNT_memcache_failures), failures);
    memcache_close(memcache);
}

static void a_value_keeps_every_byte_and_may_be_empty(void **state)
{
    struct world *world = *state;
    char in[256], out[300];
    size_t length = 99;
    server_start(world, 0);
    struct memcache *memcache = open_one(world, PATIENT_MS);
    struct digest key = key_number(1);
    struct deadline limit = deadline_in_ms(LIMIT_MS);
    for (int i = 0; i < 256; i++)
        in[i] = (char)i;
    memcpy(in + 10, "\r\nEND\r\nVALUE x 0 1\r\n", 20);
    assert_true(memcache_put(memcache, MEMCACHE_OUTCOME, &key, limit, in, sizeof in, 60));
    assert_int_equal(
        memcache_get(memcache, MEMCACHE_OUTCOME, &key, limit, NULL, out, sizeof out, &length),
        MEMCACHE_HIT);
    assert_int_equal(length, sizeof in);
    assert_memory_equal(in, out, sizeof in);
    assert_true(memcache_put(memcache, MEMCACHE_OUTCOME, &key, limit, "", 0, 60));
    assert_int_equal(
        memcache_get(memcache, MEMCACHE_OUTCOME, &key, limit, NULL, out, sizeof out, &length),
        MEMCACHE_HIT);
    assert_int_equal(length, 0);
    memcache_close(memcache);
}

static void kinds_of_keys_do_not_meet(void **state)
{
    struct world *world = *state;
    char value[16];
    size_t length;
    server_start(world, 0);
    struct memcache *memcache = open_one(world, PATIENT_MS);
    struct digest key = key_number(1);
    assert_true(put(memcache, 1, "outcome"));
    assert_int_equal(memcache_get(memcache, MEMCACHE_GENERATION, &key, deadline_in_ms(LIMIT_MS),
                                  NULL, value, sizeof value, &length),
                     MEMCACHE_MISS);
    memcache_close(memcache);
}

static void a_value_that_does_not_fit_is_a_miss_and_the_next_one_is_right(void **state)
{
    struct world *world = *state;
    char value[4];
    size_t length;
    server_start(world, 0);
    struct memcache *memcache = open_one(world, PATIENT_MS);
    struct digest key = key_number(1);
    struct deadline limit = deadline_in_ms(LIMIT_MS);
    put(memcache, 1, "12345");
    put(memcache, 2, "next");
    assert_int_equal(
        memcache_get(memcache, MEMCACHE_OUTCOME, &key, limit, NULL, value, sizeof value, &length),
        MEMCACHE_MISS);
    assert_holds(memcache, 2, "next");
    memcache_close(memcache);
}

static void a_value_expires(void **state)
{
    struct world *world = *state;
    char value[256];
    server_start(world, 0);
    struct memcache *memcache = open_one(world, PATIENT_MS);
    struct digest key = key_number(1);
    struct deadline limit = deadline_in_ms(LIMIT_MS);
    assert_false(memcache_put(memcache, MEMCACHE_OUTCOME, &key, limit, "x", 1, 0));
    assert_int_equal(get(memcache, 1, value), MEMCACHE_MISS);
    assert_true(memcache_put(memcache, MEMCACHE_OUTCOME, &key, limit, "x", 1, 1));
    while (get(memcache, 1, value) == MEMCACHE_HIT) {
        assert_false(deadline_passed(limit));
        test_pause();
    }
    assert_int_equal(get(memcache, 1, value), MEMCACHE_MISS);
    /* 31 days would be a date in January 1970 to memcached, and the value gone at once. */
    assert_true(memcache_put(memcache, MEMCACHE_OUTCOME, &key, limit, "x", 1, 31 * 86400));
    assert_holds(memcache, 1, "x");
    memcache_close(memcache);
}

static void an_item_the_server_does_not_want_does_not_put_it_to_rest(void **state)
{
    struct world *world = *state;
    enum { HUGE_ITEM = 2 << 20 }; /* memcached takes 1 MiB */
    server_start(world, 0);
    struct memcache *memcache = open_one(world, PATIENT_MS);
    struct digest key = key_number(1);
    char *value = calloc(1, HUGE_ITEM);
    uint64_t failures = counter_get(COUNT_memcache_failures);
    assert_false(memcache_put(memcache, MEMCACHE_OUTCOME, &key, deadline_in_ms(LIMIT_MS), value,
                              HUGE_ITEM, 60));
    assert_int_equal(counter_get(COUNT_memcache_failures), failures + 1);
    assert_true(put(memcache, 2, "fine"));
    assert_holds(memcache, 2, "fine");
    free(value);
    memcache_close(memcache);
}

static void the_trace_names_key_result_and_time(void **state)
{
    struct world *world = *state;
    static struct trace trace;
    char value[16], wanted[256], hex[DIGEST_HEX + 1];
    size_t length;
    server_start(world, 0);
    struct memcache *memcache = open_one(world, PATIENT_MS);
    struct digest key = key_number(1);
    digest_to_hex(&key, hex);
    trace_start(&trace);
    memcache_get(memcache, MEMCACHE_OUTCOME, &key, deadline_in_ms(LIMIT_MS), &trace, value,
                 sizeof value, &length);
    snprintf(wanted, sizeof wanted, "memcached test:r%s: miss (", hex);
    assert_non_null(strstr(trace.bytes, wanted));
    server_kill(world, 0);
    trace_start(&trace);
    memcache_get(memcache, MEMCACHE_OUTCOME, &key, deadline_in_ms(LIMIT_MS), &trace, value,
                 sizeof value, &length);
    snprintf(wanted, sizeof wanted, "memcached test:r%s: failed: memcached unix:%s: ", hex,
             world->path[0]);
    assert_non_null(strstr(trace.bytes, wanted));
    memcache_close(memcache);
}

static void a_dead_server_fails_at_once_and_works_again_when_it_is_back(void **state)
{
    struct world *world = *state;
    char value[256], lines[2048];
    server_start(world, 0);
    struct memcache *memcache = open_one(world, PATIENT_MS);
    assert_true(put(memcache, 1, "one"));
    server_kill(world, 0);

    uint64_t failures = counter_get(COUNT_memcache_failures);
    int64_t begin_ms = clock_mono_ms();
    assert_int_equal(get(memcache, 1, value), MEMCACHE_FAILED);
    assert_true(clock_mono_ms() - begin_ms < PATIENT_MS / 2);
    assert_int_equal(counter_get(COUNT_memcache_failures), failures + 1);
    assert_false(put(memcache, 1, "x"));
    assert_int_equal(counter_get(COUNT_memcache_failures), failures + 1); /* it was not asked */
    report(memcache, lines);
    assert_non_null(strstr(lines, " down for "));

    struct fault fault = {.text = ""};
    struct digest key = key_number(1);
    assert_false(
        memcache_remove(memcache, MEMCACHE_OUTCOME, &key, deadline_in_ms(LIMIT_MS), &fault));
    assert_non_null(strstr(fault.text, world->path[0]));

    server_start(world, 0);
    begin_ms = clock_mono_ms();
    assert_true(comes_back(memcache, 1));
    assert_true(clock_mono_ms() - begin_ms < 4000); /* 2 s at most, and a busy machine */
    assert_int_equal(get(memcache, 1, value), MEMCACHE_MISS);
    report(memcache, lines);
    assert_non_null(strstr(lines, " up\n"));
    memcache_close(memcache);
}

static void an_outage_is_two_lines_in_the_log_whatever_happens_in_between(void **state)
{
    struct world *world = *state;
    char value[256];
    int gone, back, lines;
    server_start(world, 0);
    struct memcache *memcache = open_one(world, PATIENT_MS);
    int log = log_begin(world);
    put(memcache, 1, "one");
    server_kill(world, 0);
    struct deadline probes = deadline_in_ms(1000); /* two at least */
    while (!deadline_passed(probes)) {
        get(memcache, 1, value);
        test_pause();
    }
    server_start(world, 0);
    bool returned = comes_back(memcache, 1);
    log_end(world, log, &gone, &back, &lines);
    assert_true(returned);
    assert_int_equal(gone, 1);
    assert_int_equal(back, 1);
    assert_int_equal(lines, 2);
    memcache_close(memcache);
}

static void a_restart_between_two_operations_is_not_noticed(void **state)
{
    struct world *world = *state;
    char value[256];
    server_start(world, 0);
    struct memcache *memcache = open_one(world, PATIENT_MS);
    assert_true(put(memcache, 1, "one"));
    server_kill(world, 0);
    server_start(world, 0);
    uint64_t failures = counter_get(COUNT_memcache_failures);
    assert_int_equal(get(memcache, 1, value), MEMCACHE_MISS);
    assert_true(put(memcache, 1, "one"));
    assert_holds(memcache, 1, "one");
    assert_int_equal(counter_get(COUNT_memcache_failures), failures);
    memcache_close(memcache);
}

static void a_hung_server_costs_one_timeout_and_then_nothing(void **state)
{
    struct world *world = *state;
    char value[256];
    server_start(world, 0);
    struct memcache *memcache = open_one(world, SHORT_MS);
    assert_true(put(memcache, 1, "one"));
    server_stop(world, 0);

    int64_t begin_ms = clock_mono_ms();
    assert_int_equal(get(memcache, 1, value), MEMCACHE_FAILED);
    int64_t first_ms = clock_mono_ms() - begin_ms;
    assert_true(first_ms >= SHORT_MS - 1 && first_ms < 3 * SHORT_MS);

    /* Far longer than the prober needs to try it again, too: nobody waits for that. */
    enum { OPERATIONS = 2000 };
    begin_ms = clock_mono_ms();
    for (int i = 0; i < OPERATIONS; i++) {
        assert_int_equal(get(memcache, 1, value), MEMCACHE_FAILED);
        usleep(500);
    }
    int64_t slept_ms = OPERATIONS / 2;
    assert_true(clock_mono_ms() - begin_ms < slept_ms + 10 * SHORT_MS); /* not 2000 timeouts */

    kill(world->pid[0], SIGCONT);
    assert_true(comes_back(memcache, 1));
    assert_holds(memcache, 1, "one");
    memcache_close(memcache);
}

static void an_operation_ends_with_its_callers_deadline_and_blames_nobody(void **state)
{
    struct world *world = *state;
    char value[16], lines[2048];
    size_t length;
    server_start(world, 0);
    struct memcache *memcache = open_one(world, PATIENT_MS);
    struct digest key = key_number(1);
    assert_true(put(memcache, 1, "one"));
    server_stop(world, 0);
    int64_t begin_ms = clock_mono_ms();
    assert_int_equal(memcache_get(memcache, MEMCACHE_OUTCOME, &key, deadline_in_ms(50), NULL, value,
                                  sizeof value, &length),
                     MEMCACHE_FAILED);
    assert_true(clock_mono_ms() - begin_ms < PATIENT_MS / 2);
    assert_int_equal(memcache_get(memcache, MEMCACHE_OUTCOME, &key, (struct deadline){0}, NULL,
                                  value, sizeof value, &length),
                     MEMCACHE_FAILED);
    report(memcache, lines);
    assert_non_null(strstr(lines, " up\n"));
    kill(world->pid[0], SIGCONT);
    assert_holds(memcache, 1, "one");
    memcache_close(memcache);
}

static void closing_does_not_wait_for_a_hung_server(void **state)
{
    struct world *world = *state;
    char value[256];
    server_start(world, 0);
    struct memcache *memcache = open_one(world, SHORT_MS);
    assert_true(put(memcache, 1, "one"));
    server_stop(world, 0);
    assert_int_equal(get(memcache, 1, value), MEMCACHE_FAILED);
    int64_t begin_ms = clock_mono_ms();
    memcache_close(memcache);
    assert_true(clock_mono_ms() - begin_ms < 4 * SHORT_MS);
    kill(world->pid[0], SIGCONT);
}

static void one_dead_server_of_three_takes_only_its_own_keys_along(void **state)
{
    struct world *world = *state;
    enum { KEYS = 90 };
    char servers[512], value[256], text[32];
    for (int i = 0; i < SERVERS; i++)
        server_start(world, i);
    snprintf(servers, sizeof servers, "unix:%s, unix:%s unix:%s", world->path[0], world->path[1],
             world->path[2]);
    struct memcache *memcache = open_servers(servers, PATIENT_MS);
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(text, sizeof text, "value %u", i);
        assert_true(put(memcache, i, text));
    }
    server_kill(world, 1);
    unsigned hits = 0, failed = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(text, sizeof text, "value %u", i);
        enum memcache_result result = get(memcache, i, value);
        failed += result == MEMCACHE_FAILED; /* and never a MISS: its keys did not move */
        if (result == MEMCACHE_HIT) {
            hits++;
            assert_string_equal(value, text);
        }
    }
    assert_int_equal(hits + failed, KEYS);
    assert_in_range(failed, 1, KEYS * 2 / 3);
    server_start(world, 1);
    for (unsigned i = 0; i < KEYS; i++)
        assert_true(comes_back(memcache, i));
    memcache_close(memcache);
}

struct crowd {
    struct memcache *memcache;
    atomic_bool stop;
    atomic_uint next, hits, wrong, done;
    int64_t limit_ms; /* how long one operation may take */
    atomic_int too_slow;
};

/* Every value is made from its key: another key's value would be seen. */
static void *crowd_member(void *context)
{
    struct crowd *crowd = context;
    unsigned seed = atomic_fetch_add(&crowd->next, 1);
    while (!atomic_load(&crowd->stop)) {
        char value[256], expected[32];
        seed = seed * 1103515245 + 12345;
        unsigned key = (seed >> 8) % 200;
        snprintf(expected, sizeof expected, "value %u", key);
        int64_t begin_ms = clock_mono_ms();
        if (get(crowd->memcache, key, value) == MEMCACHE_HIT) {
            atomic_fetch_add(&crowd->hits, 1);
            if (strcmp(value, expected) != 0)
                atomic_fetch_add(&crowd->wrong, 1);
        } else {
            put(crowd->memcache, key, expected);
        }
        if (clock_mono_ms() - begin_ms > crowd->limit_ms)
            atomic_fetch_add(&crowd->too_slow, 1);
        atomic_fetch_add(&crowd->done, 1);
        usleep(200);
    }
    return NULL;
}

static void wait_for_count(atomic_uint *count, unsigned more)
{
    unsigned wanted = atomic_load(count) + more;
    struct deadline limit = deadline_in_ms(LIMIT_MS);
    while (atomic_load(count) < wanted) {
        assert_false(deadline_passed(limit));
        test_pause();
    }
}

/* More threads than connections. */
enum { THREADS = 40 };

static void many_threads_through_stop_kill_and_restart_never_see_anothers_value(void **state)
{
    struct world *world = *state;
    server_start(world, 0);
    struct crowd crowd = {.memcache = open_one(world, SHORT_MS), .limit_ms = 6 * SHORT_MS};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_member, &crowd), 0);
    wait_for_count(&crowd.hits, 500);
    for (int round = 0; round < 2; round++) {
        server_stop(world, 0);
        wait_for_count(&crowd.done, 500); /* the crowd goes on while it hangs */
        kill(world->pid[0], SIGCONT);
        wait_for_count(&crowd.hits, 500);
        server_kill(world, 0);
        wait_for_count(&crowd.done, 500);
        server_start(world, 0);
        wait_for_count(&crowd.hits, 500);
    }
    atomic_store(&crowd.stop, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    memcache_close(crowd.memcache);
    assert_int_equal(atomic_load(&crowd.wrong), 0);
    assert_int_equal(atomic_load(&crowd.too_slow), 0);
}

static void a_name_that_is_unknown_costs_no_caller_anything(void **state)
{
    (void)state;
    char value[256], lines[2048];
    struct memcache *memcache = open_servers("does-not-exist.invalid", PATIENT_MS);
    int64_t begin_ms = clock_mono_ms();
    for (int i = 0; i < 100; i++)
        assert_int_equal(get(memcache, 1, value), MEMCACHE_FAILED);
    assert_true(clock_mono_ms() - begin_ms < PATIENT_MS / 2);
    report(memcache, lines);
    assert_non_null(strstr(lines, "its name"));
    memcache_close(memcache);
}

/* Doubles that lie: one thread each, a line in and the scripted bytes out. */

struct liar {
    int listener;
    _Atomic(const char *) answer; /* to a get of an outcome; %s is its key */
    size_t length;                /* of the answer, where it is no string; then nothing is put in */
    int pause_us;                 /* after each byte */
    bool hang_up;                 /* after the answer */
    bool lie_to_probes;           /* they get the answer too; else what they ask for */
    atomic_bool stop;
    atomic_int connections, asked;
    pthread_t thread;
};

static void liar_say(struct liar *liar, int fd, const char *bytes, size_t length)
{
    if (liar->pause_us == 0) {
        (void)!send(fd, bytes, length, MSG_NOSIGNAL);
        return;
    }
    for (size_t i = 0; i < length && !atomic_load(&liar->stop); i++) {
        if (send(fd, bytes + i, 1, MSG_NOSIGNAL) != 1)
            return;
        usleep((useconds_t)liar->pause_us);
    }
}

/* False: hang up. */
static bool liar_answer(struct liar *liar, int fd, char *line)
{
    char key[256] = "", bytes[1024];
    if (sscanf(line, "%*[a-z] %255[^ \r\n]", key) != 1)
        return false;
    if (strncmp(key, "test:p", 6) == 0 && !liar->lie_to_probes) {
        liar_say(liar, fd, "END\r\n", 5);
        return true;
    }
    atomic_fetch_add(&liar->asked, 1);
    if (liar->length > 0) {
        liar_say(liar, fd, liar->answer, liar->length);
        return !liar->hang_up;
    }
    size_t length = 0;
    for (const char *c = liar->answer; *c; c++) {
        bool put_key = c[0] == '%' && c[1] == 's';
        length += (size_t)snprintf(bytes + length, sizeof bytes - length, "%.*s", put_key ? 255 : 1,
                                   put_key ? key : c);
        c += put_key;
    }
    liar_say(liar, fd, bytes, length);
    return !liar->hang_up;
}

static void liar_serve(struct liar *liar, int fd)
{
    char line[2048];
    size_t length = 0;
    while (!atomic_load(&liar->stop)) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, 20) <= 0)
            continue;
        ssize_t got = recv(fd, line + length, sizeof line - 1 - length, 0);
        if (got <= 0)
            return;
        length += (size_t)got;
        line[length] = '\0';
        if (!strchr(line, '\n'))
            continue;
        length = 0;
        if (!liar_answer(liar, fd, line))
            return;
    }
}

/* One connection after the other is enough: each test has one caller, and the prober's backlog
 * waits. But an idle connection must not keep the others out, so each has a thread. */
struct liar_connection {
    struct liar *liar;
    int fd;
};

static void *liar_connection_run(void *context)
{
    struct liar_connection *connection = context;
    liar_serve(connection->liar, connection->fd);
    close(connection->fd);
    free(connection);
    return NULL;
}

static void *liar_run(void *context)
{
    struct liar *liar = context;
    pthread_t threads[64];
    int count = 0;
    while (!atomic_load(&liar->stop) && count < 64) {
        struct pollfd wait = {.fd = liar->listener, .events = POLLIN};
        if (poll(&wait, 1, 20) <= 0)
            continue;
        struct liar_connection *connection = malloc(sizeof *connection);
        *connection = (struct liar_connection){liar, accept(liar->listener, NULL, NULL)};
        atomic_fetch_add(&liar->connections, 1);
        pthread_create(&threads[count++], NULL, liar_connection_run, connection);
    }
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    return NULL;
}

static void liar_start(struct world *world, struct liar *liar)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", world->path[0]);
    unlink(world->path[0]);
    liar->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(liar->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(liar->listener, 64), 0);
    assert_int_equal(pthread_create(&liar->thread, NULL, liar_run, liar), 0);
}

static void liar_start_inet(struct liar *liar, char servers[64])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    liar->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(liar->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(liar->listener, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(listen(liar->listener, 64), 0);
    assert_int_equal(pthread_create(&liar->thread, NULL, liar_run, liar), 0);
    snprintf(servers, 64, "localhost:%d", ntohs(address.sin_port));
}

static void liar_stop(struct liar *liar)
{
    atomic_store(&liar->stop, true);
    pthread_join(liar->thread, NULL);
    close(liar->listener);
}

static void garbage_is_no_answer_and_never_a_crash(void **state)
{
    struct world *world = *state;
    static char long_key[400], many_digits[400];
    const char *const answers[] = {
        "\r\n",
        "\n",
        "ERROR\r\n",
        "CLIENT_ERROR bad\r\n",
        "SERVER_ERROR out of order\r\n",
        "STORED\r\n",
        "VALUE\r\n",
        "VALUE \r\n",
        "VALUE %s\r\n",
        "VALUE %s 0\r\n",
        "VALUE %s 0 \r\n",
        "VALUE %s 0 x\r\n",
        "VALUE %s 0 -1\r\nabc\r\nEND\r\n",
        "VALUE %s 0 18446744073709551615\r\nabc\r\nEND\r\n",
        "VALUE %s 0 18446744073709551614\r\nabc\r\nEND\r\n",
        "VALUE %s 0 99999999999999999999999999\r\nabc\r\nEND\r\n",
        "VALUE %s 0 18446744073709551613\r\nabc\r\nEND\r\n",
        "VALUE %s 0 18446744073709550592\r\nabc\r\nEND\r\n",
        "VALUE %s 0 18446744073709551000\r\nabc\r\nEND\r\n",
        "VALUE %s 0 1000000000000\r\nabc\r\nEND\r\n",
        "VALUE %s 0 100000000\r\nabc\r\nEND\r\n",
        "VALUE other 0 3\r\nabc\r\nEND\r\n",
        "VALUE %sx 0 3\r\nabc\r\nEND\r\n",
        "VALUE  0 3\r\nabc\r\nEND\r\n",
        "VALUE %s 0 3\r\nabc\r\nSTORED\r\n",
        "VALUE %s 0 3\r\nabc\r\nVALUE %s 0 3\r\ndef\r\nEND\r\n",
        "VALUE %s 0 3\r\nabcdefgh\r\nEND\r\n",
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        "END END END\r\nVALUE %s 0 3\r\nabc\r\nEND\r\n",
        "END\r\nVALUE %s 0 3\r\nabc\r\nEND\r\n",
        "VALUE %s 0 3\nabc\r\nEND\r\n",
        "VALUE %s 0 3 \r\nabc\r\nEND\r\n",
        "VALUE %s 0 3 17\r\nabc\r\nEND\r\n",
        "VALUE %s 0 3\r\nabc\r\nEND\r\nEND\r\n",
        "STORED\r\nSTORED\r\n",
        "STORED \r\n",
        "DELETED\r\n",
        "OK\r\n",
        "END\r\n\r\n",
        long_key,
        many_digits,
    };
    snprintf(long_key, sizeof long_key, "VALUE %0330d 0 3\r\nabc\r\nEND\r\n", 0);
    memset(long_key + 6, 'a', 330);
    snprintf(many_digits, sizeof many_digits, "VALUE %%s 0 %0250d\r\nabc\r\nEND\r\n", 3);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        char value[256];
        struct liar liar = {.answer = answers[i]};
        liar_start(world, &liar);
        struct memcache *memcache = open_one(world, 100);
        enum memcache_result result = get(memcache, 1, value);
        memcache_close(memcache);
        memcache = open_one(world, 100); /* this one knows nothing bad of it yet */
        bool stored = put(memcache, 1, "x");
        memcache_close(memcache);
        liar_stop(&liar);
        if (result != MEMCACHE_FAILED)
            fail_msg("\"%s\" was an answer: \"%s\"", answers[i], value);
        assert_int_equal(stored, strcmp(answers[i], "STORED\r\n") == 0);
        assert_true(atomic_load(&liar.asked) > 0);
    }
}

static void half_an_answer_is_a_failure_whether_it_hangs_or_hangs_up(void **state)
{
    struct world *world = *state;
    const char *const answers[] = {"V",
                                   "VALUE %s",
                                   "VALUE %s 0 10\r\n",
                                   "VALUE %s 0 10\r\nabc",
                                   "VALUE %s 0 3\r\nabc",
                                   "VALUE %s 0 3\r\nabc\r\n",
                                   "VALUE %s 0 3\r\nabc\r\nEN",
                                   "EN"};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        for (int hang_up = 0; hang_up < 2; hang_up++) {
            char value[256];
            struct liar liar = {.answer = answers[i], .hang_up = hang_up};
            liar_start(world, &liar);
            struct memcache *memcache = open_one(world, 100);
            assert_int_equal(get(memcache, 1, value), MEMCACHE_FAILED);
            memcache_close(memcache);
            liar_stop(&liar);
        }
}

static void random_bytes_are_no_answer(void **state)
{
    struct world *world = *state;
    unsigned seed = 7;
    for (int round = 0; round < 60; round++) {
        char bytes[600], value[256];
        for (size_t i = 0; i < sizeof bytes; i++) {
            seed = seed * 1103515245 + 12345;
            bytes[i] = (char)(seed >> 16);
        }
        if (round % 2) /* such as gets past the first look */
            memcpy(bytes, "VALUE ", 6);
        struct liar liar = {.answer = bytes, .length = sizeof bytes, .hang_up = true};
        liar_start(world, &liar);
        struct memcache *memcache = open_one(world, 100);
        assert_int_equal(get(memcache, 1, value), MEMCACHE_FAILED);
        memcache_close(memcache);
        liar_stop(&liar);
    }
}

static void anothers_outcome_under_our_key_is_a_miss_to_the_decoder(void **state)
{
    struct world *world = *state;
    char value[OUTCOME_TEXT_MAX], answer[OUTCOME_TEXT_MAX + 64];
    size_t length;
    struct outcome outcome = {.standing = STANDING_KNOWN, .verified = clock_wall_s()};
    struct digest ours = key_number(1), other = key_number(2);
    assert_true(outcome_encode(&outcome, &other, value) > 0);
    snprintf(answer, sizeof answer, "VALUE %%s 0 %zu\r\n%s\r\nEND\r\n", strlen(value), value);
    struct liar liar = {.answer = answer};
    liar_start(world, &liar);
    struct memcache *memcache = open_one(world, PATIENT_MS);
    assert_int_equal(memcache_get(memcache, MEMCACHE_OUTCOME, &ours, deadline_in_ms(LIMIT_MS), NULL,
                                  value, sizeof value, &length),
                     MEMCACHE_HIT);
    assert_false(outcome_decode(value, length, &ours, &outcome));
    assert_true(outcome_decode(value, length, &other, &outcome));
    memcache_close(memcache);
    liar_stop(&liar);
}

static void a_server_by_name_is_used_once_its_name_was_looked_up(void **state)
{
    (void)state;
    char servers[64], value[256];
    struct liar liar = {.answer = "VALUE %s 0 3\r\nabc\r\nEND\r\n"}; /* an honest one */
    liar_start_inet(&liar, servers);
    struct memcache *memcache = open_servers(servers, PATIENT_MS);
    assert_true(comes_back(memcache, 1)); /* localhost may be ::1 first, where nobody listens */
    assert_int_equal(get(memcache, 1, value), MEMCACHE_HIT);
    assert_string_equal(value, "abc");
    memcache_close(memcache);
    liar_stop(&liar);
}

static void a_server_that_answers_nonsense_is_not_asked_again_until_it_is_well(void **state)
{
    struct world *world = *state;
    char value[256], lines[2048];
    struct liar liar = {.answer = "NONSENSE\r\n", .lie_to_probes = true};
    liar_start(world, &liar);
    struct memcache *memcache = open_one(world, PATIENT_MS);
    assert_int_equal(get(memcache, 1, value), MEMCACHE_FAILED);
    int connections = atomic_load(&liar.connections);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(get(memcache, 1, value), MEMCACHE_FAILED);
    assert_true(atomic_load(&liar.connections) <= connections + 3); /* the prober's, if any */
    report(memcache, lines);
    assert_non_null(strstr(lines, " down for "));
    liar_stop(&liar);
    server_start(world, 0);
    assert_true(comes_back(memcache, 1));
    memcache_close(memcache);
}

static void a_server_that_has_what_nobody_stored_stays_at_rest(void **state)
{
    struct world *world = *state;
    char value[256];
    struct liar liar = {.answer = "NONSENSE\r\n", .lie_to_probes = true};
    liar_start(world, &liar);
    struct memcache *memcache = open_one(world, PATIENT_MS);
    assert_int_equal(get(memcache, 1, value), MEMCACHE_FAILED);
    liar.answer = "VALUE %s 0 1\r\nx\r\nEND\r\n";    /* well-formed, to any question */
    struct deadline patience = deadline_in_ms(1500); /* two probes at least */
    while (!deadline_passed(patience)) {
        assert_int_equal(get(memcache, 1, value), MEMCACHE_FAILED);
        test_pause();
    }
    memcache_close(memcache);
    liar_stop(&liar);
}

static void a_dribbling_server_costs_one_timeout_too(void **state)
{
    struct world *world = *state;
    char value[256];
    /* A byte every 40 ms never meets a timeout of 100 ms: the whole takes more than 2 s. */
    struct liar liar = {
        .answer = "VALUE %s 0 3\r\nabc\r\nEND\r\n", .pause_us = 40000, .lie_to_probes = true};
    liar_start(world, &liar);
    struct memcache *memcache = open_one(world, 100);
    int64_t begin_ms = clock_mono_ms();
    assert_int_equal(get(memcache, 1, value), MEMCACHE_FAILED);
    assert_true(clock_mono_ms() - begin_ms < 500); /* one timeout of 100 ms */
    begin_ms = clock_mono_ms();
    for (int i = 0; i < 100; i++)
        assert_int_equal(get(memcache, 1, value), MEMCACHE_FAILED);
    assert_true(clock_mono_ms() - begin_ms < 1000);
    liar_stop(&liar);
    memcache_close(memcache);
}

/* ---- memcache_secret_file ---- */

static const char our_secret[] = "0123456789abcdef", their_secret[] = "0123456789abcdeF";

/* A node with this secret, or NULL for none, on the one server. */
static struct memcache *open_sealed(const struct world *world, const char *secret)
{
    char servers[128], path[96] = "";
    snprintf(servers, sizeof servers, "unix:%s", world->path[0]);
    if (secret) {
        snprintf(path, sizeof path, "%s/2", world->directory); /* world_end removes it */
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fprintf(file, "%s\n", secret);
        assert_int_equal(fchmod(fileno(file), 0600), 0);
        fclose(file);
    }
    return open_with(servers, path, PATIENT_MS);
}

/* What stands under a wire key, past our own code; -1 where there is nothing. */
static int raw_talk(const struct world *world, const char *request, size_t length, char *answer,
                    size_t size, const char *end)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", world->path[0]);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(send(fd, request, length, MSG_NOSIGNAL), length);
    size_t have = 0, end_length = strlen(end);
    while (have < end_length || memcmp(answer + have - end_length, end, end_length) != 0) {
        ssize_t got = recv(fd, answer + have, size - have, 0);
        assert_true(got > 0);
        have += (size_t)got;
    }
    close(fd);
    return (int)have;
}

static void raw_set(const struct world *world, const char *key, const void *value, size_t length)
{
    char request[4096], answer[64];
    size_t head = (size_t)snprintf(request, sizeof request, "set %s 0 60 %zu\r\n", key, length);
    assert_true(head + length + 2 <= sizeof request);
    memcpy(request + head, value, length);
    memcpy(request + head + length, "\r\n", 2);
    raw_talk(world, request, head + length + 2, answer, sizeof answer, "\r\n");
    assert_memory_equal(answer, "STORED", 6);
}

static size_t raw_get(const struct world *world, const char *key, char value[2048])
{
    char request[300], answer[4096];
    size_t length = 0;
    size_t head = (size_t)snprintf(request, sizeof request, "get %s\r\n", key);
    raw_talk(world, request, head, answer, sizeof answer, "END\r\n");
    if (sscanf(answer, "VALUE %*s %*u %zu", &length) != 1)
        return 0;
    memcpy(value, strchr(answer, '\n') + 1, length);
    return length;
}

static void wire_key(char kind, unsigned number, char key[64])
{
    char hex[DIGEST_HEX + 1];
    struct digest digest = key_number(number);
    digest_to_hex(&digest, hex);
    snprintf(key, 64, "test:%c%s", kind, hex);
}

static uint64_t forged(void)
{
    return counter_get(COUNT_memcache_forged_values);
}

static void sealed_values_come_back_and_are_only_longer_on_the_wire(void **state)
{
    struct world *world = *state;
    char key[64], raw[2048];
    server_start(world, 0);
    struct memcache *memcache = open_sealed(world, our_secret);
    uint64_t before = forged();
    assert_true(put(memcache, 1, "value"));
    assert_holds(memcache, 1, "value");
    wire_key('r', 1, key);
    assert_int_equal(raw_get(world, key, raw), 5 + 16);
    assert_memory_equal(raw, "value", 5);
    assert_true(put(memcache, 2, ""));
    assert_holds(memcache, 2, "");
    assert_int_equal(forged(), before);
    memcache_close(memcache);

    memcache = open_sealed(world, NULL); /* off: nothing is added */
    assert_true(put(memcache, 3, "value"));
    wire_key('r', 3, key);
    assert_int_equal(raw_get(world, key, raw), 5);
    memcache_close(memcache);
}

static void whatever_is_not_sealed_for_this_key_is_a_miss_and_is_counted(void **state)
{
    struct world *world = *state;
    char key[64], other_key[64], generation_key[64], raw[2048], long_one[2000];
    char value[256];
    server_start(world, 0);
    struct memcache *memcache = open_sealed(world, our_secret);
    wire_key('r', 1, key);
    wire_key('r', 2, other_key);
    wire_key('g', 1, generation_key);
    assert_true(put(memcache, 1, "value"));
    size_t length = raw_get(world, key, raw);
    memset(long_one, 'x', sizeof long_one);
    const struct {
        const char *bytes;
        size_t length;
        unsigned number; /* under which key */
    } bad[] = {
        {"value", 5, 1},          {"", 0, 1},          {raw, length - 1, 1},
        {raw + 1, length - 1, 1}, {raw, length, 2},    {"0123456789abcdef", 16, 1},
        {long_one, 1040, 1},      {long_one, 1041, 1}, {long_one, sizeof long_one, 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t before = forged();
        raw_set(world, bad[i].number == 1 ? key : other_key, bad[i].bytes, bad[i].length);
        assert_int_equal(get(memcache, bad[i].number, value), MEMCACHE_MISS);
        assert_int_equal(forged(), before + 1);
    }
    /* Of another kind. */
    struct digest digest = key_number(1);
    size_t got;
    uint64_t before = forged();
    raw_set(world, generation_key, raw, length);
    assert_int_equal(memcache_get(memcache, MEMCACHE_GENERATION, &digest, deadline_in_ms(LIMIT_MS),
                                  NULL, value, sizeof value, &got),
                     MEMCACHE_MISS);
    assert_int_equal(forged(), before + 1);
    /* And in its own place it still is what it was. */
    raw_set(world, key, raw, length);
    assert_holds(memcache, 1, "value");
    memcache_close(memcache);
}

static void what_is_too_long_to_be_sealed_is_not_stored(void **state)
{
    struct world *world = *state;
    char bytes[1025];
    server_start(world, 0);
    struct memcache *memcache = open_sealed(world, our_secret);
    struct digest key = key_number(1);
    struct deadline limit = deadline_in_ms(LIMIT_MS);
    memset(bytes, 'x', sizeof bytes);
    assert_true(memcache_put(memcache, MEMCACHE_OUTCOME, &key, limit, bytes, 1024, 60));
    assert_false(memcache_put(memcache, MEMCACHE_OUTCOME, &key, limit, bytes, 1025, 60));
    memcache_close(memcache);
}

static void nodes_with_other_secrets_or_none_see_misses(void **state)
{
    struct world *world = *state;
    char value[256];
    server_start(world, 0);
    struct memcache *ours = open_sealed(world, our_secret);
    struct memcache *theirs = open_sealed(world, their_secret);
    struct memcache *plain = open_sealed(world, NULL);
    assert_true(put(ours, 1, "ours"));
    assert_int_equal(get(theirs, 1, value), MEMCACHE_MISS);
    assert_true(put(theirs, 1, "theirs"));
    assert_int_equal(get(ours, 1, value), MEMCACHE_MISS);
    assert_true(put(plain, 1, "plain"));
    assert_int_equal(get(ours, 1, value), MEMCACHE_MISS);
    /* Without the secret a sealed value is bytes like any other: the decoder judges it. */
    char text[OUTCOME_TEXT_MAX];
    struct digest key = key_number(1);
    struct outcome outcome = {.standing = STANDING_KNOWN, .verified = clock_wall_s()}, read;
    size_t length = outcome_encode(&outcome, &key, text);
    assert_true(
        memcache_put(ours, MEMCACHE_OUTCOME, &key, deadline_in_ms(LIMIT_MS), text, length, 60));
    assert_int_equal(get(plain, 1, value), MEMCACHE_HIT);
    assert_false(outcome_decode(value, length + 16, &key, &read));
    memcache_close(ours);
    memcache_close(theirs);
    memcache_close(plain);
}

static void forged_values_are_one_line_in_the_log_not_one_each(void **state)
{
    struct world *world = *state;
    char key[64], value[256], text[8192];
    FILE *log = tmpfile();
    int before = dup(2);
    server_start(world, 0);
    struct memcache *memcache = open_sealed(world, our_secret);
    wire_key('r', 1, key);
    raw_set(world, key, "forged", 6);
    log_set_level(LEVEL_WARNING);
    dup2(fileno(log), 2);
    for (int i = 0; i < 50; i++) {
        get(memcache, 1, value);
        assert_true(put(memcache, 2, "good")); /* a good one in between does not make it two */
        assert_holds(memcache, 2, "good");
    }
    dup2(before, 2);
    close(before);
    log_set_level(LEVEL_ERROR);
    rewind(log);
    text[fread(text, 1, sizeof text - 1, log)] = '\0';
    fclose(log);
    char *first = strstr(text, key);
    assert_non_null(first);
    assert_null(strstr(first + 1, key));
    assert_null(strstr(text, our_secret));
    memcache_close(memcache);
}

static struct generations *generations_on(struct memcache *memcache)
{
    static const struct digest setup;
    struct generations *generations = generations_create(memcache, &setup, 0);
    assert_non_null(generations);
    return generations;
}

static bool generation_get(struct generations *generations, struct digest *generation)
{
    return generations_get(generations, "example.test", deadline_in_ms(LIMIT_MS), NULL, generation);
}

/* With a secret and without one: what stands in the way of a generation is replaced. */
static void a_bad_generation_is_replaced_and_a_flush_still_works(void **state)
{
    struct world *world = *state;
    static const char domain[] = "example.test";
    static const char *const bad[] = {"", "forged", "0123456789abcdef",
                                      "0123456789abcdef0123456789abcdef"};
    server_start(world, 0);
    for (int sealed = 0; sealed < 2; sealed++)
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            if (!sealed && strlen(bad[i]) == 16)
                continue; /* it looks like one: who shares memcached with strangers sets a secret */
            struct memcache *memcache = open_sealed(world, sealed ? our_secret : NULL);
            struct generations *generations = generations_on(memcache);
            struct digest first, again, name = digest_shared(domain, strlen(domain));
            char key[64], hex[DIGEST_HEX + 1];
            digest_to_hex(&name, hex);
            snprintf(key, sizeof key, "test:g%s", hex);
            raw_set(world, key, bad[i], strlen(bad[i]));
            assert_true(generation_get(generations, &first));
            assert_true(generation_get(generations, &again));
            assert_true(digest_equal(&first, &again));
            assert_true(generations_advance(generations, domain, deadline_in_ms(LIMIT_MS), NULL));
            assert_true(generation_get(generations, &again));
            assert_false(digest_equal(&first, &again));
            generations_destroy(generations);
            memcache_close(memcache);
        }
}

/* A fleet on its way to a secret: no node is left without memcached for long, and a flush by any
 * is a flush for all. */
static void a_flush_by_a_node_with_another_secret_is_still_a_flush(void **state)
{
    struct world *world = *state;
    server_start(world, 0);
    struct memcache *memcaches[] = {open_sealed(world, our_secret), open_sealed(world, NULL),
                                    open_sealed(world, their_secret)};
    enum { NODES = sizeof memcaches / sizeof *memcaches };
    struct generations *nodes[NODES];
    for (int i = 0; i < NODES; i++)
        nodes[i] = generations_on(memcaches[i]);
    for (int flusher = 0; flusher < NODES; flusher++)
        for (int other = 0; other < NODES; other++) {
            struct digest before, after;
            assert_true(generation_get(nodes[other], &before));
            assert_true(generations_advance(nodes[flusher], "example.test",
                                            deadline_in_ms(LIMIT_MS), NULL));
            assert_true(generation_get(nodes[other], &after));
            assert_false(digest_equal(&before, &after));
        }
    for (int i = 0; i < NODES; i++) {
        generations_destroy(nodes[i]);
        memcache_close(memcaches[i]);
    }
}

#define with_world(test) cmocka_unit_test_setup_teardown(test, world_make, world_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_releases_that_mix_up_values_are_refused),
        cmocka_unit_test(servers_are_written_as_in_main_cf_or_with_less),
        cmocka_unit_test(a_server_without_a_port_has_memcacheds_own),
        cmocka_unit_test(a_prefix_must_fit_into_a_key),
        cmocka_unit_test(no_server_is_no_tier),
        cmocka_unit_test(the_ring_is_the_same_whatever_the_order_and_spreads_the_keys),
        with_world(what_was_put_is_got_and_what_was_removed_is_not),
        with_world(add_stores_only_where_there_is_none),
        with_world(a_value_keeps_every_byte_and_may_be_empty),
        with_world(kinds_of_keys_do_not_meet),
        with_world(a_value_that_does_not_fit_is_a_miss_and_the_next_one_is_right),
        with_world(a_value_expires),
        with_world(an_item_the_server_does_not_want_does_not_put_it_to_rest),
        with_world(the_trace_names_key_result_and_time),
        with_world(a_dead_server_fails_at_once_and_works_again_when_it_is_back),
        with_world(an_outage_is_two_lines_in_the_log_whatever_happens_in_between),
        with_world(a_restart_between_two_operations_is_not_noticed),
        with_world(a_hung_server_costs_one_timeout_and_then_nothing),
        with_world(an_operation_ends_with_its_callers_deadline_and_blames_nobody),
        with_world(closing_does_not_wait_for_a_hung_server),
        with_world(one_dead_server_of_three_takes_only_its_own_keys_along),
        with_world(many_threads_through_stop_kill_and_restart_never_see_anothers_value),
        cmocka_unit_test(a_name_that_is_unknown_costs_no_caller_anything),
        with_world(garbage_is_no_answer_and_never_a_crash),
        with_world(half_an_answer_is_a_failure_whether_it_hangs_or_hangs_up),
        with_world(random_bytes_are_no_answer),
        with_world(anothers_outcome_under_our_key_is_a_miss_to_the_decoder),
        cmocka_unit_test(a_server_by_name_is_used_once_its_name_was_looked_up),
        with_world(a_server_that_answers_nonsense_is_not_asked_again_until_it_is_well),
        with_world(a_server_that_has_what_nobody_stored_stays_at_rest),
        with_world(a_dribbling_server_costs_one_timeout_too),
        with_world(sealed_values_come_back_and_are_only_longer_on_the_wire),
        with_world(whatever_is_not_sealed_for_this_key_is_a_miss_and_is_counted),
        with_world(what_is_too_long_to_be_sealed_is_not_stored),
        with_world(nodes_with_other_secrets_or_none_see_misses),
        with_world(forged_values_are_one_line_in_the_log_not_one_each),
        with_world(a_bad_generation_is_replaced_and_a_flush_still_works),
        with_world(a_flush_by_a_node_with_another_secret_is_still_a_flush),
    };
    log_set_level(LEVEL_ERROR); /* the doubles make a great many outages */
    return digest_init() ? cmocka_run_group_tests_name("memcache", tests, NULL, NULL) : 1;
}
