/*
 * notify - tells systemd how we are: sd_notify(3). Its journal is shared/log_journal.h's. Does
 * nothing where nobody listens. Main thread.
 */
#ifndef MILTER_NOTIFY_H
#define MILTER_NOTIFY_H

#include <stdint.h>

void notify_ready(const char *status); /* one line for systemctl status */
void notify_reloading(void);
void notify_stopping(void);
void notify_alive(void); /* feeds the watchdog */

/* How often notify_alive is wanted, milliseconds: half of WatchdogSec; -1 where there is none. */
int64_t notify_interval_ms(void);

#endif
