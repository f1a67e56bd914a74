/*
 * texthash:/path, Postfix's plain-text table, kept in memory and read again when the file changes.
 *
 * A lookup looks at the file (stat) at most once a second, one thread at a time; the others go on
 * with the table there is. The new table is built aside and swapped in. The file must have been
 * left alone for QUIET_MS first, because a file being written looks like one that lost its end, and
 * an address missing from half a file would be ABSENT. (Postfix waits for the same reason,
 * dict_thash.c.) Opening waits for that moment too, for at most a few seconds. Renaming a complete
 * file over the old one is still the better way.
 *
 * A change that cannot be used leaves the old table in force and is logged once: the file is gone,
 * cannot be read, is too large, holds a NUL, or has BECOME EMPTY. An empty file is what a full disk
 * or a failed export leaves behind, and taken at its word it says that nobody exists. Who means it
 * reloads the configuration: a map that is opened takes the file as it is, with a warning.
 */
#include "db/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/texthash_table.h"
#include "shared/log.h"

enum {
    CHECK_MS = 1000,
    QUIET_MS = 1000,          /* as Postfix, whose clock has whole seconds */
    OPEN_WAIT_MS = 5000,      /* a file that somebody writes all the time still opens */
    SIZE_MAX_BYTES = 1 << 28, /* 256 MiB, some four million addresses; offsets need under 4 GiB */
};

struct identity {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct texthash {
    char *path;
    pthread_rwlock_t lock;        /* covers table; held for one look into memory, never for I/O */
    struct texthash_table *table; /* lock */

    _Atomic int64_t check_at_ms; /* monotonic: when the next look at the file is due */
    atomic_flag checking;        /* whoever set it owns the fields below */
    struct identity seen;        /* the file that was read, or refused */
    int64_t trouble_at_ms;       /* monotonic: since when there is some */
    bool trouble;                /* the last look found something to complain of */
};

static struct identity identity_of(const struct stat *status)
{
    return (struct identity){status->st_dev, status->st_ino, status->st_size, status->st_mtim};
}

static bool same_identity(const struct identity *a, const struct identity *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

/* How long until the file has been left alone for QUIET_MS. A time in the future (a copy that kept
 * it, another clock) says nothing about writers. */
static int64_t quiet_in_ms(const struct identity *file)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t age = (int64_t)(now.tv_sec - file->changed.tv_sec) * 1000 +
                  (now.tv_nsec - file->changed.tv_nsec) / 1000000;
    return age >= 0 && age < QUIET_MS ? QUIET_MS - age : 0;
}

static bool file_look(const char *path, struct identity *identity, struct fault *fault)
{
    struct stat status;
    if (stat(path, &status) == 0) {
        *identity = identity_of(&status);
        return true;
    }
    char reason[128];
    fault_set(fault, "%s: %s", path, strerror_r(errno, reason, sizeof reason));
    return false;
}

/* All of an open file, with room for a NUL; NULL and a fault. */
static char *file_bytes(const char *path, int fd, size_t size, struct fault *fault)
{
    char reason[128];
    char *bytes = malloc(size + 1);
    size_t length = 0;
    while (bytes && length < size) {
        ssize_t got = read(fd, bytes + length, size - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            fault_set(fault, "%s: %s", path, strerror_r(errno, reason, sizeof reason));
        else if (got == 0)
            fault_set(fault, "%s: it became shorter while it was being read", path);
        if (got <= 0) {
            free(bytes);
            return NULL;
        }
        length += (size_t)got;
    }
    if (!bytes)
        fault_set(fault, "%s: out of memory", path);
    return bytes;
}

/* *changing: the failure is that somebody writes the file right now. */
static struct texthash_table *fd_read(const char *path, int fd, struct identity *identity,
                                      bool *changing, struct fault *fault)
{
    struct stat before, after;
    if (fstat(fd, &before) != 0 || !S_ISREG(before.st_mode)) {
        fault_set(fault, "%s: this is not a file", path);
        return NULL;
    }
    *identity = identity_of(&before);
    if (before.st_size > SIZE_MAX_BYTES) {
        fault_set(fault, "%s: %lld bytes are too many, a texthash file may have %d MiB", path,
                  (long long)before.st_size, SIZE_MAX_BYTES >> 20);
        return NULL;
    }
    char *bytes = file_bytes(path, fd, (size_t)before.st_size, fault);
    if (fstat(fd, &after) == 0) {
        struct identity now = identity_of(&after);
        *changing = !same_identity(identity, &now);
    }
    if (bytes && *changing) {
        fault_set(fault, "%s: it changed while it was being read", path);
        free(bytes);
        return NULL;
    }
    return bytes ? texthash_table_read(path, bytes, (size_t)before.st_size, fault) : NULL;
}

static struct texthash_table *file_read(const char *path, struct identity *identity, bool *changing,
                                        struct fault *fault)
{
    *changing = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO must not hold us */
    if (fd < 0) {
        char reason[128];
        fault_set(fault, "%s: %s", path, strerror_r(errno, reason, sizeof reason));
        return NULL;
    }
    struct texthash_table *table = fd_read(path, fd, identity, changing, fault);
    close(fd);
    return table;
}

static void sleep_ms(int64_t ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&time, &time) != 0 && errno == EINTR)
        ;
}

/* Waits until nobody seems to be writing the file, for at most patience_ms. */
static struct texthash_table *first_read(const char *path, int64_t patience_ms,
                                         struct identity *identity, struct fault *fault)
{
    struct deadline patience = deadline_in_ms(patience_ms);
    for (;;) {
        bool changing = false, given_up = deadline_passed(patience);
        if (!file_look(path, identity, fault))
            return NULL;
        int64_t wait_ms = quiet_in_ms(identity);
        if (wait_ms == 0 || given_up) {
            struct texthash_table *table = file_read(path, identity, &changing, fault);
            if (table && patience_ms > 0 && quiet_in_ms(identity) > 0)
                log_warning("%s: somebody keeps writing this file; write a new one and rename it",
                            path);
            if (table || !changing || given_up)
                return table;
            wait_ms = QUIET_MS;
        }
        int64_t left_ms = deadline_left_ms(patience);
        sleep_ms(wait_ms < left_ms ? wait_ms : left_ms);
    }
}

static void texthash_close(void *opened)
{
    struct texthash *map = opened;
    texthash_table_free(map->table);
    pthread_rwlock_destroy(&map->lock);
    free(map->path);
    free(map);
}

static void *texthash_open(const char *path, const struct map_context *context, struct fault *fault)
{
    if (path[0] != '/') {
        fault_set(fault, "write the whole path of the file, from / on");
        return NULL;
    }
    struct texthash *map = calloc(1, sizeof *map);
    if (!map) {
        fault_set(fault, "out of memory");
        return NULL;
    }
    /* Readers are many and quick; without this a writer might never have its turn. */
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&map->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    atomic_flag_clear(&map->checking);
    atomic_init(&map->check_at_ms, clock_mono_ms() + CHECK_MS);
    map->path = strdup(path);
    if (!map->path)
        fault_set(fault, "out of memory");
    else
        map->table = first_read(map->path, context->offline ? 0 : OPEN_WAIT_MS, &map->seen, fault);
    if (!map->table) {
        texthash_close(map);
        return NULL;
    }
    if (texthash_table_count(map->table) == 0)
        log_warning("%s: this file holds no entry, so nothing is found in it", path);
    return map;
}

/* One line per change of state, from the thread that owns `checking`. */
static void tell_trouble(struct texthash *map, const char *what)
{
    if (!map->trouble) {
        map->trouble_at_ms = clock_mono_ms();
        log_error("%s - going on with the %zu entries read before", what,
                  texthash_table_count(map->table));
    }
    map->trouble = true;
}

static void tell_no_trouble(struct texthash *map)
{
    if (map->trouble)
        log_info("%s: is in order again after %.1f s, %zu entries", map->path,
                 (double)(clock_mono_ms() - map->trouble_at_ms) / 1000,
                 texthash_table_count(map->table));
    map->trouble = false;
}

static void swap_table(struct texthash *map, struct texthash_table *table)
{
    pthread_rwlock_wrlock(&map->lock);
    struct texthash_table *old = map->table;
    map->table = table;
    pthread_rwlock_unlock(&map->lock);
    texthash_table_free(old);
}

static void take_change(struct texthash *map)
{
    struct fault fault = {.text = ""};
    struct identity identity = {.size = 0};
    bool changing;
    struct texthash_table *table = file_read(map->path, &identity, &changing, &fault);
    if (changing) /* then there is something to see at the next look too */
        return;
    /* A file that is bad is not read again until it changes; one that cannot be opened (no
     * identity) may be put right without a change of its time. */
    map->seen = identity;
    if (!table) {
        tell_trouble(map, fault.text);
        return;
    }
    /* Only the owner of `checking` changes the table, so it may read it without the lock. */
    if (texthash_table_count(table) == 0 && texthash_table_count(map->table) > 0) {
        texthash_table_free(table);
        fault_set(&fault, "%s: the file has become empty; if that is meant, reload rcpt-milter",
                  map->path);
        tell_trouble(map, fault.text);
        return;
    }
    swap_table(map, table);
    if (!map->trouble)
        log_info("%s: has changed, %zu entries", map->path, texthash_table_count(map->table));
    tell_no_trouble(map);
}

static void look_for_change(struct texthash *map)
{
    struct identity now;
    struct fault fault = {.text = ""};
    if (!file_look(map->path, &now, &fault)) {
        tell_trouble(map, fault.text);
        memset(&map->seen, 0, sizeof map->seen); /* whatever comes back is read */
    } else if (!same_identity(&now, &map->seen) && quiet_in_ms(&now) == 0) {
        take_change(map);
    }
}

static void texthash_lookup(void *opened, const char *key, struct deadline deadline,
                            struct trace *trace, struct finding *finding)
{
    (void)deadline, (void)trace;
    struct texthash *map = opened;
    int64_t now_ms = clock_mono_ms();
    if (now_ms >= atomic_load(&map->check_at_ms) && !atomic_flag_test_and_set(&map->checking)) {
        look_for_change(map);
        atomic_store(&map->check_at_ms, clock_mono_ms() + CHECK_MS);
        atomic_flag_clear(&map->checking);
    }
    pthread_rwlock_rdlock(&map->lock);
    const char *value = texthash_table_find(map->table, key);
    if (value)
        finding_set_found(finding, value);
    else
        finding_set_absent(finding);
    pthread_rwlock_unlock(&map->lock);
}

const struct map_type map_texthash = {"texthash", false, texthash_open, texthash_lookup,
                                      texthash_close};
