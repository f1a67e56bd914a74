#include "db/lmdb_inside.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/lmdb_guard.h"
#include "shared/text.h"

const char *lmdb_spoilt_name(int why)
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
bool lmdb_error_spoils(int error)
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

/* ---- under the guard ---- */

/* Its work reports in call->error. Takes an environment that is spoilt by it from the readers. */
int lmdb_guarded(struct call *call, void (*work)(void *call))
{
    int cut_by;
    struct environment *in = call->in;
    if (!lmdb_guard_run(work, call, &cut_by))
        call->error = cut_by == 0 ? ASSERTED : cut_by == SIGSEGV ? WILD : CUT_SHORT;
    if (lmdb_error_spoils(call->error)) {
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

static void close_work(void *context)
{
    struct environment *in = ((struct call *)context)->in;
    munmap(in->view, in->view_bytes);
    mdb_env_close(in->env);
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
    if (in && atomic_load(&in->spoilt) == SOUND && lmdb_guarded(&call, close_work) == 0)
        free(in);
    else if (in)
        lmdb_environment_give_up(file, in);
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
    return call.in && lmdb_guarded(&call, get_work) == 0 ? call.length : 0;
}

bool lmdb_file_edit(struct lmdb_file *file, const struct lmdb_batch *batch, struct fault *fault)
{
    struct call call = {.file = file, .in = atomic_load(&file->current), .batch = batch};
    if (!call.in)
        fault_set(fault, "%s is not open", file->data);
    else if (lmdb_guarded(&call, edit_work) != 0)
        fault_set(fault, "%s: %s", file->data, lmdb_spoilt_name(call.error));
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
    int error = call.in ? lmdb_guarded(&call, walk_work) : ENOENT;
    walk->ended = error == MDB_NOTFOUND;
    return error == 0 || walk->ended;
}

struct lmdb_size lmdb_file_size(struct lmdb_file *file)
{
    struct call call = {.file = file, .in = atomic_load(&file->current)};
    if (call.in)
        lmdb_guarded(&call, size_work);
    return call.size;
}
