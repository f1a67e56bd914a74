/*
 * log_journal - systemd's journal, for log.c.
 */
#ifndef SHARED_LOG_JOURNAL_H
#define SHARED_LOG_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

/* Is standard error connected to the journal? systemd.exec(5): then JOURNAL_STREAM has its device
 * and inode. */
bool log_journal_is_stderr(void);

/* Sends one entry, as log_format_journal makes it. May wait for the journal. */
void log_journal_send(const char *record, size_t length);

#endif
