/* How the writer of an lmdb_file opens, gives up and replaces environments. */
#include "db/lmdb_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/lmdb_guard.h"

enum { READER_TABLE_BYTES = (LMDB_FILE_READERS + 64) * 64 }; /* a cache line each, and a head */

/* Leaked on purpose, but not lost: for leak checkers. */
static struct environment *_Atomic given_up;

/* MDB_PANIC is a meta page that could not be written, the other comes from the reader table. */
static bool file_is_damaged(int why)
{
    return why != SOUND && why != MDB_PANIC && why != MDB_BAD_RSLOT;
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

void lmdb_environment_give_up(struct lmdb_file *file, struct environment *in)
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
    int error = lmdb_guarded(&call, open_work);
    if (error >= CUT_SHORT) {
        lmdb_environment_give_up(file, in); /* cut short within */
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
        lmdb_environment_give_up(file, before);
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
    /* We cannot write to it, so our readers need no table. What it says may still vouch. */
    if (!file->opened && (error == EROFS || error == EACCES || error == ENOSPC || error == EDQUOT))
        environment_open(file, MDB_RDONLY | MDB_NOLOCK);
    return error;
}

static enum lmdb_condition broken(const struct lmdb_file *file, int error, struct fault *fault)
{
    if (error == EWOULDBLOCK)
        fault_set(fault, "%s: another process has locked %s", file->data, file->lock);
    else
        fault_set(fault, "%s: %s", file->data, lmdb_spoilt_name(error));
    return LMDB_BROKEN;
}

static enum lmdb_condition begin_anew(struct lmdb_file *file, int why, struct fault *fault)
{
    int error = put_aside(file);
    const char *step = error != 0 ? "it cannot be put aside" : "no new one can be begun";
    if (error == 0)
        error = lock_and_open(file);
    if (error != 0)
        fault_set(fault, "%s is damaged: %s; and %s: %s", file->data, lmdb_spoilt_name(why), step,
                  lmdb_spoilt_name(error));
    else
        fault_set(fault, "%s was damaged: %s; it is now %s, and an empty one was begun", file->data,
                  lmdb_spoilt_name(why), file->aside);
    return error != 0 ? LMDB_BROKEN : LMDB_EMPTIED;
}

static void copy_work(void *context)
{
    struct call *call = context;
    call->error = mdb_env_copyfd(call->in->env, call->fd);
}

/* The file is gone, but we still have it: 0 when it is back at its path. */
static int write_again(struct lmdb_file *file)
{
    unlink(file->fresh);
    struct call call = {.file = file, .in = file->opened};
    call.fd = open(file->fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (call.fd < 0)
        return errno;
    int error = lmdb_guarded(&call, copy_work);
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
    lmdb_environment_give_up(file, file->opened);
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
                  lmdb_spoilt_name(error));
        return LMDB_BROKEN;
    }
    stop_using(file);
    error = lock_and_open(file);
    if (lmdb_error_spoils(error) && file_is_damaged(error))
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
    fault_set(fault, "%s had to be opened again: %s", file->data, lmdb_spoilt_name(why));
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
    if (lmdb_error_spoils(error) && file_is_damaged(error))
        return begin_anew(file, error, fault);
    return error != 0 ? broken(file, error, fault) : LMDB_WORKS;
}
