#include "milter/notify.h"

#include <systemd/sd-daemon.h>

#include "shared/clock.h"

void notify_ready(const char *status)
{
    sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void notify_reloading(void)
{
    /* Type=notify-reload wants the monotonic time with it. */
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_mono_us());
}

void notify_stopping(void)
{
    sd_notify(0, "STOPPING=1");
}

void notify_alive(void)
{
    sd_notify(0, "WATCHDOG=1");
}

int64_t notify_interval_ms(void)
{
    uint64_t us;
    return sd_watchdog_enabled(0, &us) > 0 ? (int64_t)(us / 2000) : -1;
}
