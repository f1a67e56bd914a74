/* What can happen to the store's file, its disk and its directory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "tests/unit/test_known_good.h"

enum { COUNT = 20000, PAGE = 4096 };

/* A reader that a fault throws out of LMDB leaves the transaction behind. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:liblmdb.so\n";
}

static char log_text[65536];
static struct scratch_log capture;

static int fresh_directory(void **state)
{
    (void)state;
    scratch_make();
    capture = scratch_log_begin();
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    scratch_log_end(&capture, log_text, sizeof log_text);
    scratch_remove();
    return 0;
}

static unsigned logged(const char *words)
{
    scratch_log_read(&capture, log_text, sizeof log_text);
    return scratch_count(log_text, words);
}

/* ---- doing harm ---- */

static char *data_path(char path[256])
{
    return scratch_path(path, "known-good.mdb");
}

static off_t data_size(void)
{
    char path[256];
    struct stat status;
    assert_int_equal(stat(data_path(path), &status), 0);
    return status.st_size;
}

/* Bytes that are the same in each run; they may be odd in every way. */
static uint32_t noise_seed;

static unsigned char noise(void)
{
    noise_seed = noise_seed * 1664525 + 1013904223;
    return (unsigned char)(noise_seed >> 24);
}

static void scribble(off_t from, off_t to)
{
    char path[256];
    unsigned char page[PAGE];
    int fd = open(data_path(path), O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (off_t at = from; at < to; at += PAGE) {
        for (size_t i = 0; i < PAGE; i++)
            page[i] = noise();
        assert_int_equal(pwrite(fd, page, PAGE, at), PAGE);
    }
    close(fd);
}

static void cut_to(off_t size)
{
    char path[256];
    assert_int_equal(truncate(data_path(path), size), 0);
}

static void cut_to_nothing(void)
{
    cut_to(0);
}

static void cut_to_one_page(void)
{
    cut_to(PAGE);
}

static void cut_to_half(void)
{
    cut_to(data_size() / 2 / PAGE * PAGE);
}

static void cut_within_a_page(void)
{
    cut_to(data_size() / 2 / PAGE * PAGE + 100);
}

static void scribble_in_the_middle(void)
{
    off_t pages = data_size() / PAGE;
    scribble(pages / 4 * PAGE, pages * 3 / 4 * PAGE);
}

static void scribble_behind_the_head(void)
{
    scribble(2 * PAGE, data_size());
}

static void scribble_over_all(void)
{
    scribble(0, data_size());
}

static void make_it_text(void)
{
    char path[256];
    scratch_file(path, "known-good.mdb",
                 "alice@example.test OK\nbob@example.test OK\n# and so on\n");
}

static void make_it_a_directory(void)
{
    char path[256];
    assert_int_equal(unlink(data_path(path)), 0);
    assert_int_equal(mkdir(path, 0755), 0);
}

static void make_it_a_fifo(void)
{
    char path[256];
    assert_int_equal(unlink(data_path(path)), 0);
    assert_int_equal(mkfifo(path, 0644), 0);
}

static void make_it_zeros(void)
{
    off_t size = data_size();
    cut_to(2 * PAGE); /* the head stays */
    cut_to(size);
}

/* The head points to pages that are not there, or not what they should be. */
static void change_the_head(void)
{
    char path[256];
    int fd = open(data_path(path), O_WRONLY | O_CLOEXEC);
    for (off_t head = 0; head < 2 * PAGE; head += PAGE)
        for (off_t at = 40; at < 160; at++) { /* mapsize, the two trees, last page, transaction */
            unsigned char byte = noise();
            assert_int_equal(pwrite(fd, &byte, 1, head + at), 1);
        }
    close(fd);
}

static const struct harm {
    const char *name;
    void (*do_it)(void);
    bool while_open; /* of use there, too */
} harms[] = {
    {"cut to nothing", cut_to_nothing, true},
    {"cut to one page", cut_to_one_page, true},
    {"cut to half", cut_to_half, true},
    {"cut within a page", cut_within_a_page, true},
    {"garbage in the middle", scribble_in_the_middle, true},
    {"garbage behind the head", scribble_behind_the_head, true},
    {"garbage all over", scribble_over_all, true},
    {"zeros behind the head", make_it_zeros, true},
    {"a garbled head", change_the_head, true},
    {"a text", make_it_text, true},
    {"a directory", make_it_a_directory, false},
    {"a fifo", make_it_a_fifo, false},
};
enum { HARMS = sizeof harms / sizeof *harms };

/* ---- damage ---- */

static void fill(void)
{
    struct fault fault = {""};
    struct known_good *store = store_open();
    for (uint64_t from = 0; from < COUNT; from += COUNT / 4)
        assert_true(learn(store, from, COUNT / 4, 1700000000, &fault));
    for (uint64_t number = 0; number < 100; number++) /* some pages are free again */
        confirm(store, number * 100, 1700001000);
    known_good_close(store);
}

/* Whatever happened: who is confirmed now will be found, and is still there after a restart. */
static void assert_works(struct known_good *store, const char *name)
{
    struct fault fault = {""};
    if (!learn(store, 0, COUNT, 1700000001, &fault)) /* touches each page that is left */
        fail_msg("%s: %s", name, fault.text);
    for (uint64_t number = COUNT; number < COUNT + 500; number++)
        confirm(store, number, 1700000001);
    if (!wait_for(knows(store, COUNT + 499)) || !wait_for(state_of(store).works))
        fail_msg("%s: does not work again: %s", name, state_of(store).why.text);
    for (uint64_t number = 0; number < COUNT + 500; number++)
        if (!knows(store, number))
            fail_msg("%s: %u is not found", name, (unsigned)number);
    known_good_close(store);
    store = store_open();
    assert_true(knows(store, 0) && knows(store, COUNT + 499));
    known_good_close(store);
}

static void damage_at_rest_is_one_error_line_and_an_empty_store(void **state)
{
    (void)state;
    for (size_t i = 0; i < HARMS; i++) {
        fill();
        unsigned errors = logged("error:");
        noise_seed = (uint32_t)i;
        harms[i].do_it();
        struct known_good *store = store_open();
        for (uint64_t number = 0; number < COUNT; number++)
            knows(store, number); /* or not; no crash */
        assert_works(store, harms[i].name);
        if (logged("error:") - errors != 1 || !strstr(log_text, "known-good.mdb.corrupt"))
            fail_msg("%s: %u lines\n%s", harms[i].name, logged("error:") - errors, log_text);
        assert_true(logged("rcptctl learn") > 0);
    }
}

static void garbage_of_any_seed_is_survived(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 40; seed++) {
        fill();
        noise_seed = seed;
        off_t pages = data_size() / PAGE;
        for (unsigned page = 0; page < 1 + seed % 8; page++) { /* a few pages only */
            off_t at = (2 + ((off_t)noise() << 8 | noise()) % (pages - 2)) * PAGE;
            scribble(at, at + PAGE);
        }
        assert_works(store_open(), "a few pages of garbage");
    }
}

/* The first words of a page of LMDB, with lengths that lead out of it: the worst garbage there is,
 * since it is written to before it is looked at. */
static void pages_with_lengths_that_lead_astray_are_not_copied(void **state)
{
    (void)state;
    const uint16_t lengths[][2] = {{60000, 60008}, {16, 65535}, {4000, 20}, {65534, 65535}};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        fill();
        char path[256];
        int fd = open(data_path(path), O_RDWR | O_CLOEXEC);
        for (off_t page = 2; page < data_size() / PAGE; page++)
            assert_int_equal(pwrite(fd, lengths[i], 4, page * PAGE + 12), 4);
        close(fd);
        assert_works(store_open(), "lengths");
    }
}

struct crowd {
    struct known_good *store;
    _Atomic bool stop;
    _Atomic uint64_t looks;
};

static void *crowd_reader(void *context)
{
    struct crowd *crowd = context;
    for (uint64_t i = 0; !atomic_load(&crowd->stop); i += 7) {
        knows(crowd->store, i % COUNT);
        atomic_fetch_add(&crowd->looks, 1);
    }
    return NULL;
}

static void damage_under_a_crowd_of_readers_is_survived(void **state)
{
    (void)state;
    for (size_t i = 0; i < HARMS; i++) {
        if (!harms[i].while_open)
            continue;
        fill();
        unsigned errors = logged("error:");
        struct crowd crowd = {.store = store_open()};
        pthread_t threads[6];
        for (size_t t = 0; t < 6; t++)
            assert_int_equal(pthread_create(&threads[t], NULL, crowd_reader, &crowd), 0);
        assert_true(wait_for(atomic_load(&crowd.looks) > 1000));
        noise_seed = (uint32_t)i;
        harms[i].do_it();
        uint64_t looks = atomic_load(&crowd.looks);
        assert_true(wait_for(atomic_load(&crowd.looks) > looks + 10000)); /* they go on */
        confirm(crowd.store, COUNT + 1, 1700000000);
        assert_true(wait_for(knows(crowd.store, COUNT + 1)));
        atomic_store(&crowd.stop, true);
        for (size_t t = 0; t < 6; t++)
            pthread_join(threads[t], NULL);
        assert_works(crowd.store, harms[i].name);
        assert_true(logged("error:") > errors);
    }
}

/* Two pages of head and one of entries: nothing of it is what it was, and the head is read last. */
static void a_small_file_that_is_overwritten_is_survived(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 20; seed++) {
        struct known_good *store = store_open();
        confirm(store, 1, 1700000000);
        assert_true(flushed(store));
        noise_seed = seed;
        off_t size = data_size();
        cut_to(0);
        scribble(0, size);
        confirm(store, 2, 1700000000);
        if (!wait_for(knows(store, 2)))
            fail_msg("seed %u: %s", seed, log_text);
        known_good_close(store);
    }
}

static void a_file_cut_while_it_is_written_is_survived(void **state)
{
    (void)state;
    struct known_good *store = store_open();
    char path[256];
    for (uint64_t round = 0; round < 10; round++) {
        for (uint64_t number = 0; number < 2000; number++) {
            confirm(store, round * 2000 + number, 1700000000);
            if (number == 1000 && truncate(data_path(path), PAGE * (off_t)(round % 5)) != 0)
                assert_int_equal(errno, ENOENT); /* it is being replaced */
        }
    }
    assert_works(store, "cut while written");
}

/* ---- the directory ---- */

static void a_file_that_was_removed_is_written_again_with_all_that_was_in_it(void **state)
{
    (void)state;
    fill();
    char path[256];
    struct stat status;
    struct known_good *store = store_open();
    assert_int_equal(unlink(data_path(path)), 0);
    assert_true(wait_for(logged("had vanished") == 1));
    assert_true(wait_for(knows(store, 1)));
    confirm(store, COUNT, 1700000000);
    assert_true(flushed(store));
    known_good_close(store);
    assert_int_equal(stat(data_path(path), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);

    store = store_open();
    for (uint64_t number = 0; number <= COUNT; number++)
        assert_true(knows(store, number));
    known_good_close(store);
    assert_int_equal(logged("error:"), 1);
}

static void a_file_that_was_replaced_is_the_one_that_counts(void **state)
{
    (void)state;
    fill();
    char path[256], other[256];
    assert_int_equal(rename(data_path(path), scratch_path(other, "backup")), 0);
    struct known_good *store = store_open();
    assert_false(knows(store, 1));
    assert_int_equal(rename(other, path), 0);
    assert_true(wait_for(knows(store, 1)));
    assert_works(store, "replaced");
    assert_int_equal(logged("error:"), 1);
    assert_int_equal(logged("was replaced by another file"), 1);
}

static void a_directory_that_is_missing_is_used_when_it_comes(void **state)
{
    (void)state;
    char path[256], away[256];
    scratch_path(path, "state");
    struct known_good *store = known_good_open(path, quick_limits());
    assert_non_null(store);
    assert_false(state_of(store).works);
    assert_non_null(strstr(state_of(store).why.text, "No such file or directory"));
    confirm(store, 1, 1700000000);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_true(wait_for(knows(store, 1))); /* it had waited */
    assert_true(wait_for(state_of(store).works));

    /* Moved away, it goes on answering from what it has. */
    assert_int_equal(rename(path, scratch_path(away, "away")), 0);
    assert_true(wait_for(!state_of(store).works));
    assert_true(knows(store, 1));
    assert_int_equal(rename(away, path), 0);
    assert_true(wait_for(state_of(store).works));
    assert_true(knows(store, 1));
    known_good_close(store);
    assert_int_equal(logged("error:"), 2);
    assert_int_equal(logged("works again"), 2);
}

/* In a process of its own, since root may write everywhere and a mount is the process's. */
static void assert_in_child(void (*test)(void))
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        test();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("status %x:\n%s", status, (logged(""), log_text));
}

/* cmocka's asserts cannot leave the child's test. */
#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            dprintf(2, "line %d: %s\n", __LINE__, #condition);                                     \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static void without_permission(void)
{
    struct fault fault = {""};
    must(geteuid() != 0 || (setgid(65534) == 0 && setuid(65534) == 0));
    struct known_good *store = known_good_open(scratch_dir, quick_limits());
    must(store != NULL);
    must(!learn(store, 1, 1, 1700000000, &fault));
    must(strstr(fault.text, "Permission denied"));
    must(!state_of(store).works);
    must(!knows(store, 1));
    for (int i = 0; i < 10; i++) /* several tries, one line */
        must(!flushed(store));
    known_good_close(store);
}

static void a_directory_without_permission_is_one_error_line(void **state)
{
    (void)state;
    assert_int_equal(chmod(scratch_dir, 0500), 0);
    assert_in_child(without_permission);
    assert_int_equal(logged("error:"), 1);
}

static void may_only_read(void)
{
    must(geteuid() != 0 || (setgid(65534) == 0 && setuid(65534) == 0));
    struct known_good *store = known_good_open(scratch_dir, quick_limits());
    must(store != NULL);
    must(!state_of(store).works);
    must(knows(store, 1));
    known_good_close(store);
}

static void a_store_that_may_only_be_read_is_read(void **state)
{
    (void)state;
    char path[256];
    fill();
    assert_int_equal(chmod(data_path(path), 0444), 0);
    assert_int_equal(chmod(scratch_dir, 0555), 0);
    assert_in_child(may_only_read);
    assert_int_equal(chmod(scratch_dir, 0700), 0);
    assert_int_equal(logged("error:"), 1);
}

/* ---- the disk ---- */

static bool mount_disk(const char *options)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", scratch_dir, "tmpfs", 0, options) == 0;
}

static bool mounts_are_possible(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(mount_disk("size=1m") ? 0 : 1);
    int status;
    waitpid(child, &status, 0);
    if (status != 0)
        print_error("NOT TESTED: no mount of our own is possible here (run as root)\n");
    return status == 0;
}

static int filler_fd;

static void fill_disk(void)
{
    char path[256], bytes[PAGE] = {0};
    filler_fd = open(scratch_path(path, "filler"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (write(filler_fd, bytes, sizeof bytes) > 0)
        ;
    must(errno == ENOSPC);
}

static void empty_disk(void)
{
    must(ftruncate(filler_fd, 0) == 0);
}

static void on_a_full_disk(void)
{
    struct fault fault = {""};
    must(mount_disk("size=4m"));
    struct known_good *store = store_open();
    must(learn(store, 0, 5000, 1700000000, &fault));
    fill_disk();
    must(!learn(store, 5000, 20000, 1700000000, &fault));
    must(strstr(fault.text, "No space left on device"));
    confirm(store, 30000, 1700000000);
    must(wait_for(!state_of(store).works));
    for (uint64_t number = 0; number < 5000; number++)
        must(knows(store, number));
    must(!knows(store, 30000));

    /* Started anew it still knows whom it knew. */
    known_good_close(store);
    store = store_open();
    for (uint64_t number = 0; number < 5000; number++)
        must(knows(store, number));
    must(!learn(store, 5000, 20000, 1700000000, &fault));
    confirm(store, 30000, 1700000000);
    empty_disk();
    must(wait_for(knows(store, 30000))); /* had waited for it */
    must(wait_for(state_of(store).works));
    known_good_close(store);
}

static void a_full_disk_stops_writing_and_nothing_else(void **state)
{
    (void)state;
    if (!mounts_are_possible())
        skip();
    assert_in_child(on_a_full_disk);
    assert_in_range(logged("error:"), 2, 2); /* in each of the two lives */
    assert_int_equal(logged("works again"), 1);
}

static void begun_on_a_full_disk(void)
{
    must(mount_disk("size=1m"));
    fill_disk();
    struct known_good *store = store_open();
    must(!state_of(store).works);
    confirm(store, 1, 1700000000);
    for (int i = 0; i < 10; i++)
        must(!flushed(store));
    empty_disk();
    must(wait_for(knows(store, 1)));
    known_good_close(store);
}

static void a_store_can_be_begun_on_a_full_disk(void **state)
{
    (void)state;
    if (!mounts_are_possible())
        skip();
    assert_in_child(begun_on_a_full_disk);
    assert_int_equal(logged("error:"), 1);
    assert_int_equal(logged("works again"), 1);
    assert_int_equal(logged("corrupt"), 0);
}

static void on_a_read_only_disk(void)
{
    struct fault fault = {""};
    must(mount_disk("size=4m"));
    struct known_good *store = store_open();
    must(learn(store, 0, 5000, 1700000000, &fault));
    known_good_close(store);
    must(mount("none", scratch_dir, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
    store = store_open();
    for (uint64_t number = 0; number < 5000; number++)
        must(knows(store, number));
    must(!learn(store, 5000, 1, 1700000000, &fault));
    must(strstr(fault.text, "Read-only file system"));
    must(!state_of(store).works);
    must(state_of(store).entries == 5000);
    must(mount("none", scratch_dir, NULL, MS_REMOUNT, NULL) == 0);
    must(wait_for(state_of(store).works));
    must(learn(store, 5000, 1, 1700000000, &fault));
    must(knows(store, 0) && knows(store, 5000));
    known_good_close(store);
}

static void a_disk_that_is_read_only_is_read(void **state)
{
    (void)state;
    if (!mounts_are_possible())
        skip();
    assert_in_child(on_a_read_only_disk);
    assert_int_equal(logged("error:"), 1);
    assert_int_equal(logged("works again"), 1);
}

static void a_full_map_keeps_what_is_in_it(void **state)
{
    (void)state;
    struct known_good_limits limits = quick_limits();
    limits.map_bytes = 1 << 20;
    struct known_good *store = known_good_open(scratch_dir, limits);
    struct fault fault = {""};
    assert_true(learn(store, 0, 2000, 1700000000, &fault));
    assert_false(learn(store, 2000, 100000, 1700000000, &fault));
    assert_non_null(strstr(fault.text, "MDB_MAP_FULL"));
    for (uint64_t number = 0; number < 2000; number++)
        assert_true(knows(store, number));
    assert_false(knows(store, 2000));
    known_good_close(store);
    assert_int_equal(logged("error:"), 1);
    assert_int_equal(logged("corrupt"), 0);
}

/* ---- crashes that are not the store's ---- */

static void crash_elsewhere(bool really)
{
    signal(SIGSEGV, SIG_DFL); /* cmocka's is not wanted here */
    signal(SIGALRM, SIG_DFL);
    alarm(20); /* were the fault to come again and again */
    struct known_good *store = store_open();
    confirm(store, 1, 1700000000);
    must(flushed(store) && knows(store, 1));
    volatile char *wall = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (really)
        *wall = 1;
    kill(getpid(), SIGSEGV);
    for (;;)
        test_pause();
}

static void a_crash_elsewhere_stays_a_crash(void **state)
{
    (void)state;
    for (int really = 0; really < 2; really++) {
        pid_t child = fork();
        if (child == 0)
            crash_elsewhere(really);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        /* UBSan ends the process itself. */
        assert_true((WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) ||
                    (really && WIFEXITED(status) && WEXITSTATUS(status) != 0));
    }
}

#define STORE_TEST(test) cmocka_unit_test_setup_teardown(test, fresh_directory, remove_directory)

int main(void)
{
    if (!digest_init())
        return 1;
    const struct CMUnitTest tests[] = {
        STORE_TEST(damage_at_rest_is_one_error_line_and_an_empty_store),
        STORE_TEST(garbage_of_any_seed_is_survived),
        STORE_TEST(pages_with_lengths_that_lead_astray_are_not_copied),
        STORE_TEST(damage_under_a_crowd_of_readers_is_survived),
        STORE_TEST(a_file_cut_while_it_is_written_is_survived),
        STORE_TEST(a_small_file_that_is_overwritten_is_survived),
        STORE_TEST(a_file_that_was_removed_is_written_again_with_all_that_was_in_it),
        STORE_TEST(a_file_that_was_replaced_is_the_one_that_counts),
        STORE_TEST(a_directory_that_is_missing_is_used_when_it_comes),
        STORE_TEST(a_directory_without_permission_is_one_error_line),
        STORE_TEST(a_store_that_may_only_be_read_is_read),
        STORE_TEST(a_full_disk_stops_writing_and_nothing_else),
        STORE_TEST(a_store_can_be_begun_on_a_full_disk),
        STORE_TEST(a_disk_that_is_read_only_is_read),
        STORE_TEST(a_full_map_keeps_what_is_in_it),
        STORE_TEST(a_crash_elsewhere_stays_a_crash),
    };
    return cmocka_run_group_tests_name("known_good_damage", tests, NULL, NULL);
}
