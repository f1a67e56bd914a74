#include "milter/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/text.h"

enum {
    INTERVAL_MS = 200,
    BAR_MIN = 4, /* columns between the brackets; a shorter one says nothing */
};

void progress_start(struct progress *progress)
{
    progress->terminal = isatty(STDERR_FILENO);
    progress->started_ms = clock_mono_ms();
}

static void add_bar(struct text *line, unsigned width, unsigned percent)
{
    unsigned filled = width * percent / 100;
    text_add_char(line, '[');
    for (unsigned i = 0; i < width; i++)
        text_add_char(line, i < filled ? '=' : i == filled ? '>' : ' ');
    text_add(line, "] ");
}

void progress_line(const struct progress *progress, int64_t now_ms, unsigned columns,
                   char line[PROGRESS_COLUMNS_MAX])
{
    int64_t ms = now_ms - progress->started_ms;
    uint64_t rate = ms > 0 ? progress->stored * 1000 / (uint64_t)ms : 0;
    char numbers[PROGRESS_COLUMNS_MAX];
    struct text text = text_on(numbers, sizeof numbers);
    text_addf(&text, "%" PRIu64 " stored, %" PRIu64 "/s, %" PRId64 " s", progress->stored, rate,
              ms / 1000);

    if (columns == 0 || columns > PROGRESS_COLUMNS_MAX)
        columns = PROGRESS_COLUMNS_MAX;
    struct text out = text_on(line, columns);
    if (progress->whole > 0) {
        uint64_t done = progress->done < progress->whole ? progress->done : progress->whole;
        unsigned percent = (unsigned)(100.0 * (double)done / (double)progress->whole);
        text_addf(&out, "%3u%% ", percent);
        size_t taken = out.length + text.length + strlen("[] ");
        if (taken + BAR_MIN < columns)
            add_bar(&out, (unsigned)(columns - 1 - taken), percent);
    }
    text_add(&out, numbers);
}

static unsigned terminal_columns(void)
{
    struct winsize size = {0};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void progress_draw(struct progress *progress)
{
    char line[PROGRESS_COLUMNS_MAX];
    int64_t now = clock_mono_ms();
    if (!progress->terminal || now - progress->drawn_ms < INTERVAL_MS)
        return;
    progress_line(progress, now, terminal_columns(), line);
    fprintf(stderr, "\r%s\x1b[K", line); /* erases what was longer before */
    fflush(stderr);
    progress->drawn = true;
    progress->drawn_ms = now;
}

void progress_erase(struct progress *progress)
{
    if (progress->drawn)
        fputs("\r\x1b[K", stderr);
    progress->drawn = false;
}
