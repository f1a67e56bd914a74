#include "db/lmdb_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lmdb.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/lmdb_guard.h"
#include "shared/text.h"

enum { READER_TABLE_BYTES = (LMDB_FILE_READERS + 64) * 64 }; /* a cache line each, and a head */

/* What ended an environment, besides LMDB's own (negative) codes. */
enum spoilt { SOUND, CUT_SHORT = 10000, WILD, ASSERTED, MISSHAPEN }; /* no errno */

/* Written before it is published, but for `spoilt`; then never freed while anybody may be in it. */
struct environment {
    MDB_env *env;
    MDB_dbi entries;
    void *view; /* the file, for lmdb_tree: LMDB does not say where its own map is */
    size_t view_bytes, page_bytes;
    dev_t device;
    ino_t inode;
    bool read_only;
    _Atomic int spoilt;       /* SOUND, another, or an LMDB code */
    struct environment *next; /* in given_up */
};

struct lmdb_file {
    char data[PATH_MAX], reader_table[PATH_MAX], aside[PATH_MAX], fresh[PATH_MAX], lock[PATH_MAX];
    size_t map_bytes;
    struct environment *_Atomic current; /* what readers use; NULL: nothing */

    /* The writer's. */
    struct environment *opened; /* current, unless that was spoilt */
    int lock_fd;                /* -1: another process may have the store */
    unsigned lives;             /* environments given up */
};

/* Leaked on purpose, but not lost: for leak checkers. */
static struct environment *_Atomic given_up;

static const char *spoilt_name(int why)
{
    switch (why) {
    case CUT_SHORT:
        return "a part of it cannot be read (SIGBUS)";
    case WILD:
        return "garbage in it leads nowhere (SIGSEGV)";
    case ASSERTED:
        return "an assertion of LMDB failed";
    case MISSHAPEN:
        return "a page of it is not as LMDB writes them";
    case EISDIR:
        return "it is not a file";
    case MDB_INVALID:
        return "it is not a file of LMDB's";
    case EIO: /* LMDB's name for a write that was cut short, too */
        return "input/output error, or the disk is full";
    default:
        return mdb_strerror(why);
    }
}

/* Errors after which the environment is of no use. */
static bool error_spoils(int error)
{
    switch (error) {
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_PANIC:
    case MDB_CURSOR_FULL:
    case MDB_PAGE_FULL:
    case MDB_INCOMPATIBLE:
    case MDB_BAD_RSLOT:
    case MDB_MAP_RESIZED: /* by nobody: we alone write to it */
    case EISDIR:
        return true;
    default:
        return error >= CUT_SHORT;
    }
}

/* MDB_PANIC is a meta page that could not be written, the other comes from the reader table. */
static bool file_is_damaged(int why)
{
    return why != SOUND && why != MDB_PANIC && why != MDB_BAD_RSLOT;
}

/* ---- under the guard ---- */

/* A call into LMDB. All there is to say about it outlives being cut short. */
struct call {
    struct lmdb_file *file;
    struct environment *in;
    int error; /* of LMDB's or errno's, or enum spoilt */

    const struct digest *key; /* get */
    void *value;
    size_t length; /* get: room, then result */

    const struct lmdb_batch *batch; /* edit */

    struct lmdb_walk *walk; /* walk */
    size_t limit;
    lmdb_visit *visit;
    void *context;

    struct lmdb_size size; /* size */
    unsigned flags;        /* open */
    int fd;                /* copy */
};

/* Its work reports in call->error. Takes an environment that is spoilt by it from the readers. */
static int guarded(struct call *call, void (*work)(void *call))
{
    int cut_by;
    struct environment *in = call->in;
    if (!lmdb_guard_run(work, call, &cut_by))
        call->error = cut_by == 0 ? ASSERTED : cut_by == SIGSEGV ? WILD : CUT_SHORT;
    if (error_spoils(call->error)) {
        int sound = SOUND;
        atomic_compare_exchange_strong(&in->spoilt, &sound, call->error);
        atomic_compare_exchange_strong(&call->file->current, &(struct environment *){in}, NULL);
    }
    return call->error;
}

static MDB_val key_value(const struct digest *key)
{
    return (MDB_val){.mv_size = sizeof key->bytes, .mv_data = (void *)key->bytes};
}

static void get_work(void *context)
{
    struct call *call = context;
    size_t room = call->length;
    call->length = 0;
    MDB_txn *txn;
    if ((call->error = mdb_txn_begin(call->in->env, NULL, MDB_RDONLY, &txn)) != 0)
        return;
    MDB_val key = key_value(call->key), value;
    call->error = mdb_get(txn, call->in->entries, &key, &value);
    if (call->error == 0 && value.mv_size <= room) {
        memcpy(call->value, value.mv_data, value.mv_size);
        call->length = value.mv_size;
    }
    mdb_txn_abort(txn);
}

static int edit_one(const struct call *call, MDB_txn *txn, const void *item)
{
    unsigned char bytes[LMDB_VALUE_MAX];
    MDB_val key = key_value(item), value = {0};
    int error = mdb_get(txn, call->in->entries, &key, &value);
    if (error != 0 && error != MDB_NOTFOUND)
        return error;
    if (value.mv_size > sizeof bytes)
        return MISSHAPEN;
    if (value.mv_size > 0)
        memcpy(bytes, value.mv_data, value.mv_size);
    size_t length = call->batch->edit(call->batch->context, item, bytes, value.mv_size);
    if (length == value.mv_size && (length == 0 || memcmp(bytes, value.mv_data, length) == 0))
        return 0;
    if (length == 0)
        return mdb_del(txn, call->in->entries, &key, NULL);
    value = (MDB_val){.mv_size = length, .mv_data = bytes};
    return mdb_put(txn, call->in->entries, &key, &value, 0);
}

static bool batch_is_safe(const struct call *call, MDB_txn *txn)
{
    const struct lmdb_batch *batch = call->batch;
    struct lmdb_tree tree = {.map = call->in->view,
                             .map_bytes = call->in->view_bytes,
                             .page_bytes = call->in->page_bytes};
    if (!lmdb_tree_begin(&tree, mdb_txn_id(txn) - 1))
        return false;
    const char *item = batch->items;
    for (size_t i = 0; i < batch->count; i++, item += batch->item_bytes)
        if (!lmdb_tree_check(&tree, (const struct digest *)item, batch->deletes))
            return false;
    return true;
}

static void edit_work(void *context)
{
    struct call *call = context;
    MDB_txn *txn;
    if ((call->error = mdb_txn_begin(call->in->env, NULL, 0, &txn)) != 0)
        return;
    if (!batch_is_safe(call, txn))
        call->error = MISSHAPEN;
    const char *item = call->batch->items;
    for (size_t i = 0; i < call->batch->count && call->error == 0; i++)
        call->error = edit_one(call, txn, item + i * call->batch->item_bytes);
    if (call->error == 0)
        call->error = mdb_txn_commit(txn);
    else
        mdb_txn_abort(txn);
}

/* Keys that come in order cannot come for ever, whatever the pages refer to. */
static int walk_on(struct call *call, MDB_cursor *cursor)
{
    struct lmdb_walk *walk = call->walk;
    MDB_val key = key_value(&walk->last), value;
    int error = mdb_cursor_get(cursor, &key, &value, walk->begun ? MDB_SET_RANGE : MDB_FIRST);
    for (size_t visited = 0; error == 0; error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        if (key.mv_size != sizeof walk->last.bytes)
            return MISSHAPEN;
        int order = walk->begun ? memcmp(key.mv_data, walk->last.bytes, key.mv_size) : 1;
        if (order == 0 && visited == 0)
            continue; /* where the last slice ended */
        if (order <= 0)
            return MISSHAPEN;
        if (visited++ == call->limit)
            return 0;
        memcpy(walk->last.bytes, key.mv_data, key.mv_size);
        walk->begun = true;
        call->visit(call->context, &walk->last, value.mv_data, value.mv_size);
    }
    return error;
}

static void walk_work(void *context)
{
    struct call *call = context;
    MDB_txn *txn;
    MDB_cursor *cursor;
    if ((call->error = mdb_txn_begin(call->in->env, NULL, MDB_RDONLY, &txn)) != 0)
        return;
    call->error = mdb_cursor_open(txn, call->in->entries, &cursor);
    if (call->error == 0) {
        call->error = walk_on(call, cursor);
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
}

static void size_work(void *context)
{
    struct call *call = context;
    MDB_stat entries;
    struct stat status;
    int fd;
    /* A reader of another process (mdb_dump) that was killed would keep old pages for ever. */
    mdb_reader_check(call->in->env, NULL);
    call->error = mdb_env_stat(call->in->env, &entries);
    if (call->error == 0 && mdb_env_get_fd(call->in->env, &fd) == 0 && fstat(fd, &status) == 0)
        call->size = (struct lmdb_size){.entries = entries.ms_entries,
                                        .file_bytes = (uint64_t)status.st_size};
}

static void copy_work(void *context)
{
    struct call *call = context;
    call->error = mdb_env_copyfd(call->in->env, call->fd);
}

static void close_work(void *context)
{
    struct environment *in = ((struct call *)context)->in;
    munmap(in->view, in->view_bytes);
    mdb_env_close(in->env);
}

/* ---- opening ---- */

static void assertion_failed(MDB_env *env, const char *message)
{
    (void)env, (void)message;
    lmdb_guard_leave();
}

static int open_environment(struct environment *in, const struct lmdb_file *file, unsigned flags)
{
    MDB_txn *txn;
    MDB_envinfo info;
    MDB_stat pages;
    struct stat status;
    int fd, error;
    if ((error = mdb_env_set_assert(in->env, assertion_failed)) != 0 ||
        (error = mdb_env_set_maxreaders(in->env, LMDB_FILE_READERS)) != 0 ||
        (error = mdb_env_set_mapsize(in->env, file->map_bytes)) != 0 ||
        (error = mdb_env_open(in->env, file->data, flags, 0600)) != 0 ||
        (error = mdb_env_info(in->env, &info)) != 0 ||
        (error = mdb_env_stat(in->env, &pages)) != 0 ||
        (error = mdb_env_get_fd(in->env, &fd)) != 0 ||
        (error = mdb_txn_begin(in->env, NULL, MDB_RDONLY, &txn)) != 0)
        return error;
    error = mdb_dbi_open(txn, NULL, 0, &in->entries);
    mdb_txn_abort(txn);
    if (error == 0 && fstat(fd, &status) != 0)
        error = errno;
    if (error != 0)
        return error;
    in->view_bytes = info.me_mapsize;
    in->view = mmap(NULL, in->view_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (in->view == MAP_FAILED)
        return errno;
    in->page_bytes = pages.ms_psize;
    in->device = status.st_dev;
    in->inode = status.st_ino;
    in->read_only = flags & MDB_RDONLY;
    return 0;
}

static void open_work(void *context)
{
    struct call *call = context;
    call->error = open_environment(call->in, call->file, call->flags);
}

static void environment_give_up(struct lmdb_file *file, struct environment *in)
{
    in->next = atomic_load(&given_up);
    while (!atomic_compare_exchange_weak(&given_up, &in->next, in))
        ;
    file->lives++;
}

/* Makes it what readers use, in the place of one that can only be read. */
static int environment_open(struct lmdb_file *file, unsigned flags)
{
    lmdb_guard_install();
    struct environment *in = calloc(1, sizeof *in);
    if (!in || mdb_env_create(&in->env) != 0) {
        free(in);
        return ENOMEM;
    }
    struct call call = {
        .file = file, .in = in, .flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NOMETASYNC | flags};
    int error = guarded(&call, open_work);
    if (error >= CUT_SHORT) {
        environment_give_up(file, in); /* cut short within */
        return error;
    }
    if (error != 0) {
        mdb_env_close(in->env);
        free(in);
        return error;
    }
    struct environment *before = file->opened;
    file->opened = in;
    atomic_store(&file->current, in);
    if (before)
        environment_give_up(file, before);
    return 0;
}

/* ---- the writer looks after the file ---- */

static bool same_file(const char *path, dev_t device, ino_t inode)
{
    struct stat status;
    return stat(path, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

/* 0, or why not: EWOULDBLOCK where another process has it. */
static int lock_take(struct lmdb_file *file)
{
    struct stat held;
    if (file->lock_fd >= 0 && fstat(file->lock_fd, &held) == 0 &&
        same_file(file->lock, held.st_dev, held.st_ino))
        return 0;
    if (file->lock_fd >= 0)
        close(file->lock_fd);
    file->lock_fd = open(file->lock, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file->lock_fd < 0 || flock(file->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return file->lock_fd < 0 ? errno : 0;
    int error = errno;
    close(file->lock_fd);
    file->lock_fd = -1;
    return error;
}

/* LMDB makes its reader table sparse; on a full disk the first reader would then get a SIGBUS, with
 * a mutex held. */
static int reader_table_allocate(const struct lmdb_file *file)
{
    int fd = open(file->reader_table, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    int error = posix_fallocate(fd, 0, READER_TABLE_BYTES);
    close(fd);
    return error;
}

/* 0, or why it could not be moved. */
static int put_aside(const struct lmdb_file *file)
{
    remove(file->aside); /* an older one; rename would not replace one kind of thing by another */
    if (rename(file->data, file->aside) != 0 && errno != ENOENT)
        return errno;
    unlink(file->reader_table);
    return 0;
}

/* 0 where LMDB may open it, or begin it. */
static int look_at_head(const struct lmdb_file *file, bool *there)
{
    struct stat status;
    *there = stat(file->data, &status) == 0;
    if (!*there)
        return 0; /* whatever else is wrong with the path, LMDB will find it, too */
    if (!S_ISREG(status.st_mode))
        return EISDIR;
    int fd = open(file->data, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    size_t bytes =
        (size_t)status.st_size > file->map_bytes ? (size_t)status.st_size : file->map_bytes;
    bool sound = lmdb_tree_head(fd, bytes);
    close(fd);
    return sound ? 0 : MDB_INVALID;
}

static int open_for_writing(struct lmdb_file *file)
{
    bool there;
    int error = look_at_head(file, &there);
    if (error == 0)
        error = reader_table_allocate(file);
    if (error == 0)
        error = environment_open(file, 0);
    if (error != 0 && !there)
        unlink(file->data); /* a beginning that a full disk cut short would look like damage */
    return error;
}

static int lock_and_open(struct lmdb_file *file)
{
    int error = lock_take(file);
    if (error == 0)
        error = open_for_writing(file);
    /* Nobody can write to it, so readers need no table. */
    if (!file->opened && (error == EROFS || error == ENOSPC || error == EDQUOT))
        environment_open(file, MDB_RDONLY | MDB_NOLOCK);
    return error;
}

static enum lmdb_condition broken(const struct lmdb_file *file, int error, struct fault *fault)
{
    if (error == EWOULDBLOCK)
        fault_set(fault, "%s: another process has locked %s", file->data, file->lock);
    else
        fault_set(fault, "%s: %s", file->data, spoilt_name(error));
    return LMDB_BROKEN;
}

static enum lmdb_condition begin_anew(struct lmdb_file *file, int why, struct fault *fault)
{
    int error = put_aside(file);
    const char *step = error != 0 ? "it cannot be put aside" : "no new one can be begun";
    if (error == 0)
        error = lock_and_open(file);
    if (error != 0)
        fault_set(fault, "%s is damaged: %s; and %s: %s", file->data, spoilt_name(why), step,
                  spoilt_name(error));
    else
        fault_set(fault, "%s was damaged: %s; it is now %s, and an empty one was begun", file->data,
                  spoilt_name(why), file->aside);
    return error != 0 ? LMDB_BROKEN : LMDB_EMPTIED;
}

/* The file is gone, but we still have it: 0 when it is back at its path. */
static int write_again(struct lmdb_file *file)
{
    unlink(file->fresh);
    struct call call = {.file = file, .in = file->opened};
    call.fd = open(file->fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (call.fd < 0)
        return errno;
    int error = guarded(&call, copy_work);
    if (error == 0 && fsync(call.fd) != 0)
        error = errno;
    close(call.fd);
    if (error == 0 && rename(file->fresh, file->data) != 0)
        error = errno;
    if (error != 0)
        unlink(file->fresh);
    return error;
}

static void stop_using(struct lmdb_file *file)
{
    atomic_store(&file->current, NULL);
    environment_give_up(file, file->opened);
    file->opened = NULL;
    /* Its readers may still write to their table: the next environment gets one of its own. */
    unlink(file->reader_table);
}

static enum lmdb_condition after_vanishing(struct lmdb_file *file, struct fault *fault)
{
    bool replaced = access(file->data, F_OK) == 0;
    int error = replaced ? 0 : write_again(file);
    if (error != 0) {
        fault_set(fault, "%s has vanished, and cannot be written again: %s", file->data,
                  spoilt_name(error));
        return LMDB_BROKEN;
    }
    stop_using(file);
    error = lock_and_open(file);
    if (error_spoils(error) && file_is_damaged(error))
        return begin_anew(file, error, fault);
    if (error != 0)
        return broken(file, error, fault);
    fault_set(fault, "%s %s", file->data,
              replaced ? "was replaced by another file, which is used now"
                       : "had vanished; what was in it has been written again");
    return LMDB_REPLACED;
}

static enum lmdb_condition after_damage(struct lmdb_file *file, int why, struct fault *fault)
{
    const struct environment *in = file->opened;
    struct stat table;
    bool table_cut = stat(file->reader_table, &table) == 0 && table.st_size < READER_TABLE_BYTES;
    /* Somebody may have put a better file there meanwhile. */
    bool damaged =
        file_is_damaged(why) && !table_cut && same_file(file->data, in->device, in->inode);
    stop_using(file);
    if (damaged)
        return begin_anew(file, why, fault);
    int error = lock_and_open(file);
    if (error != 0)
        return broken(file, error, fault);
    fault_set(fault, "%s had to be opened again: %s", file->data, spoilt_name(why));
    return LMDB_REPLACED;
}

enum lmdb_condition lmdb_file_tend(struct lmdb_file *file, struct fault *fault)
{
    const struct environment *in = file->opened;
    int why = in ? atomic_load(&in->spoilt) : SOUND;
    if (in && why == SOUND && !in->read_only && same_file(file->data, in->device, in->inode))
        return LMDB_WORKS;
    if (file->lives >= LMDB_FILE_LIVES) {
        fault_set(fault, "%s failed %u times and is left alone until the next start", file->data,
                  file->lives);
        return LMDB_BROKEN;
    }
    if (why != SOUND)
        return after_damage(file, why, fault);
    if (in && !in->read_only)
        return after_vanishing(file, fault);
    int error = lock_and_open(file);
    if (error_spoils(error) && file_is_damaged(error))
        return begin_anew(file, error, fault);
    return error != 0 ? broken(file, error, fault) : LMDB_WORKS;
}

/* ---- the rest of the interface ---- */

struct lmdb_file *lmdb_file_create(const char *base, size_t map_bytes)
{
    struct lmdb_file *file = calloc(1, sizeof *file);
    if (!file)
        return NULL;
    file->map_bytes = map_bytes;
    file->lock_fd = -1;
    const struct {
        char *path;
        const char *end;
    } names[] = {{file->data, ".mdb"},
                 {file->reader_table, ".mdb-lock"},
                 {file->aside, ".mdb.corrupt"},
                 {file->fresh, ".mdb.new"},
                 {file->lock, ".lock"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct text path = text_on(names[i].path, PATH_MAX);
        text_addf(&path, "%s%s", base, names[i].end);
    }
    return file;
}

void lmdb_file_close(struct lmdb_file *file)
{
    if (!file)
        return;
    struct environment *in = file->opened;
    struct call call = {.file = file, .in = in};
    if (in && atomic_load(&in->spoilt) == SOUND && guarded(&call, close_work) == 0)
        free(in);
    else if (in)
        environment_give_up(file, in);
    if (file->lock_fd >= 0)
        close(file->lock_fd);
    free(file);
}

size_t lmdb_file_get(struct lmdb_file *file, const struct digest *key, void *value, size_t capacity)
{
    struct call call = {.file = file,
                        .in = atomic_load(&file->current),
                        .key = key,
                        .value = value,
                        .length = capacity};
    return call.in && guarded(&call, get_work) == 0 ? call.length : 0;
}

bool lmdb_file_edit(struct lmdb_file *file, const struct lmdb_batch *batch, struct fault *fault)
{
    struct call call = {.file = file, .in = atomic_load(&file->current), .batch = batch};
    if (!call.in)
        fault_set(fault, "%s is not open", file->data);
    else if (guarded(&call, edit_work) != 0)
        fault_set(fault, "%s: %s", file->data, spoilt_name(call.error));
    else
        return true;
    return false;
}

bool lmdb_file_walk(struct lmdb_file *file, struct lmdb_walk *walk, size_t limit, lmdb_visit *visit,
                    void *context)
{
    struct call call = {.file = file,
                        .in = atomic_load(&file->current),
                        .walk = walk,
                        .limit = limit,
                        .visit = visit,
                        .context = context};
    int error = call.in ? guarded(&call, walk_work) : ENOENT;
    walk->ended = error == MDB_NOTFOUND;
    return error == 0 || walk->ended;
}

struct lmdb_size lmdb_file_size(struct lmdb_file *file)
{
    struct call call = {.file = file, .in = atomic_load(&file->current)};
    if (call.in)
        guarded(&call, size_work);
    return call.size;
}
