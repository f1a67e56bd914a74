/*
 * ledger_show - all entries of one kind, read in slices, so that no transaction lives as long as
 * whoever looks at them takes. Any thread.
 */
#ifndef DB_LEDGER_SHOW_H
#define DB_LEDGER_SHOW_H

#include <stdbool.h>

#include "db/ledger_entry.h"
#include "db/lmdb_file.h"

/* False ends it. */
typedef bool ledger_show_entry(void *context, const struct ledger_entry *entry);

/* False where it cannot be read to the end, or memory is short. */
bool ledger_show(struct lmdb_file *file, enum ledger_kind kind, ledger_show_entry *show,
                 void *context);

#endif
