#include "db/ledger_show.h"

#include <stdlib.h>
#include <string.h>

enum { SLICE = 128 }; /* entries that are copied at once */

struct showing {
    enum ledger_kind kind;
    size_t count;
    struct {
        size_t length;
        unsigned char value[LMDB_VALUE_MAX];
    } shown[SLICE];
};

static void show_visit(void *context, const struct digest *key, const void *value, size_t length)
{
    struct showing *showing = context;
    if (ledger_key_kind(key) != showing->kind || length > LMDB_VALUE_MAX)
        return;
    showing->shown[showing->count].length = length;
    memcpy(showing->shown[showing->count].value, value, length);
    showing->count++;
}

static bool show_slice(const struct showing *showing, ledger_show_entry *show, void *context)
{
    struct ledger_entry entry;
    for (size_t i = 0; i < showing->count; i++)
        if (ledger_entry_read(&entry, showing->kind, showing->shown[i].value,
                              showing->shown[i].length) &&
            !show(context, &entry))
            return false;
    return true;
}

bool ledger_show(struct lmdb_file *file, enum ledger_kind kind, ledger_show_entry *show,
                 void *context)
{
    struct showing *showing = malloc(sizeof *showing);
    if (!showing)
        return false;
    showing->kind = kind;
    struct lmdb_walk walk = {0};
    bool read, wanted;
    do {
        showing->count = 0;
        read = lmdb_file_walk(file, &walk, SLICE, show_visit, showing);
        wanted = read && show_slice(showing, show, context);
    } while (wanted && !walk.ended);
    free(showing);
    return read;
}
