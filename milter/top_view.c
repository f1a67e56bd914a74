#include "milter/top_view.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shared/histogram.h"
#include "shared/text.h"

#define PREFIX "rcpt_milter_"

enum {
    WORD_MAX = 32,     /* one number, printed */
    BELOW_STATUS = 10, /* lines of rates and latencies, with the blank ones */
};

/* ---- reading ---- */

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

/* A number of what the daemon says, never less than 0 and never more than can be counted. */
static double sane(double number)
{
    return number > 0 ? smaller(number, 1e18) : 0;
}

/* The sample with exactly this name and labels; -1: there is none. */
static double value(const char *text, const char *key)
{
    size_t length = strlen(key);
    while (text && *text) {
        if (strncmp(text, key, length) == 0 && text[length] == ' ')
            return sane(strtod(text + length, NULL));
        text = strchr(text, '\n');
        text += text != NULL;
    }
    return -1;
}

/* All samples of a metric, "name{", whose labels hold this one. */
static double sum(const char *text, const char *metric, const char *label)
{
    double all = 0;
    while (text && *text) {
        size_t length = strcspn(text, "\n");
        const char *found = strncmp(text, metric, strlen(metric)) == 0
                                ? memmem(text, length, label, strlen(label))
                                : NULL;
        const char *end = found ? memchr(found, '}', length - (size_t)(found - text)) : NULL;
        if (end)
            all += sane(strtod(end + 1, NULL));
        text += length + (text[length] == '\n');
    }
    return all;
}

/* Since before. A number that has shrunk was reset: then it counts from zero. */
static double grown(double now, double before)
{
    return before > now || before < 0 ? sane(now) : sane(now - before);
}

static double grown_value(const struct top_input *input, const char *key)
{
    return grown(value(input->stats, key), input->before ? value(input->before, key) : 0);
}

static double grown_sum(const struct top_input *input, const char *metric, const char *label)
{
    return grown(sum(input->stats, metric, label),
                 input->before ? sum(input->before, metric, label) : 0);
}

static double rate(const struct top_input *input, double count)
{
    return input->seconds > 0 ? count / input->seconds : 0;
}

/* ---- printing numbers ---- */

/* At most six columns. */
static void print_number(double number, char word[WORD_MAX])
{
    static const char units[] = "kMGTPE";
    struct text text = text_on(word, WORD_MAX);
    size_t unit = 0;
    if (number < 9999.5) {
        bool whole = number >= 99.95 || number == (double)(int64_t)number;
        text_addf(&text, whole ? "%.0f" : "%.1f", number);
        return;
    }
    for (number /= 1000; number >= 999.5 && unit + 1 < strlen(units); unit++)
        number /= 1000;
    text_addf(&text, number < 9.95 ? "%.1f%c" : "%.0f%c", smaller(number, 9999), units[unit]);
}

static void print_seconds(double seconds, char word[WORD_MAX])
{
    struct text text = text_on(word, WORD_MAX);
    uint64_t s = (uint64_t)smaller(seconds, 86400.0 * 99999);
    if (s < 120)
        text_addf(&text, "%us", (unsigned)s);
    else if (s < 7200)
        text_addf(&text, "%um", (unsigned)(s / 60));
    else if (s < 2 * 86400)
        text_addf(&text, "%uh%02um", (unsigned)(s / 3600), (unsigned)(s / 60 % 60));
    else
        text_addf(&text, "%ud%02uh", (unsigned)(s / 86400), (unsigned)(s / 3600 % 24));
}

static void print_latency(double us, char word[WORD_MAX])
{
    struct text text = text_on(word, WORD_MAX);
    if (us < 0)
        text_add(&text, "-");
    else if (us < 1000)
        text_addf(&text, "%.0f us", us);
    else if (us < 1e6)
        text_addf(&text, us < 1e4 ? "%.1f ms" : "%.0f ms", us / 1e3);
    else
        text_addf(&text, "%.1f s", us / 1e6);
}

/* ---- lines ---- */

struct page {
    struct top_screen *screen;
    unsigned columns, rows;
};

/* A new line; NULL when the page is full. */
static struct top_line *add_line(struct page *page, struct text *text)
{
    static const struct top_line empty;
    if (page->screen->count >= page->rows)
        return NULL;
    struct top_line *line = &page->screen->lines[page->screen->count++];
    *line = empty;
    *text = text_on(line->text, page->columns);
    return line;
}

static void add_printable(struct page *page, const char *bytes, size_t length, bool alarm)
{
    struct text text;
    struct top_line *line = add_line(page, &text);
    if (!line)
        return;
    text_add_printable(&text, bytes, length);
    line->alarm = alarm;
}

static void add_waiting(struct page *page, const struct top_input *input)
{
    struct text text;
    struct top_line *line = add_line(page, &text);
    char count[WORD_MAX], oldest[WORD_MAX], limit[WORD_MAX];
    double oldest_s = sane(value(input->stats, PREFIX "oldest_waiting_seconds"));
    double limit_s = sane(value(input->stats, PREFIX "escalate_after_seconds"));
    if (!line)
        return;
    print_number(sane(value(input->stats, PREFIX "waiting_recipients")), count);
    print_seconds(oldest_s, oldest);
    print_seconds(limit_s, limit);
    text_addf(&text, "waiting  %6s", count);
    if (strcmp(count, "0") != 0)
        text_addf(&text, "   the first for %s", oldest);
    if (limit_s > 0)
        text_addf(&text, "   (a primary bounces after %s)", limit);
    else
        text_add(&text, "   (a primary never bounces)");
    line->alarm = limit_s > 0 && oldest_s > 1.5 * limit_s;
}

static void add_bounced(struct page *page, const struct top_input *input)
{
    struct text text;
    struct top_line *line = add_line(page, &text);
    char count[WORD_MAX], wrong[WORD_MAX], per_second[WORD_MAX];
    double false_bounces = sane(value(input->stats, PREFIX "false_bounces_total"));
    if (!line)
        return;
    print_number(sane(value(input->stats, PREFIX "bounces_total")), count);
    print_number(false_bounces, wrong);
    print_number(rate(input, grown_value(input, PREFIX "bounces_total")), per_second);
    text_addf(&text, "bounced  %6s   %s per second, possibly false: %s%s", count, per_second, wrong,
              false_bounces > 0 ? "  <-- rcptctl bounced" : "");
    line->alarm = false_bounces > 0;
}

/* ---- what status says ---- */

/* The rest of it stands elsewhere on the screen, or changes with a reload only. */
static bool is_shown(const char *line)
{
    static const char *const hidden[] = {
        "configuration:", "process cache:", "lookup slots:", "ledger:", "recipients: checked"};
    for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++)
        if (strncmp(line, hidden[i], strlen(hidden[i])) == 0)
            return strstr(line, "DEGRADED") != NULL && strncmp(line, "ledger:", 7) == 0;
    return *line != '\0' && *line != '\n';
}

static bool is_alarm(const char *line, size_t length)
{
    static const char *const words[] = {" resting for ", " down for ", "NOT CHECKED", "DEGRADED",
                                        "bounces: no"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (memmem(line, length, words[i], strlen(words[i])))
            return true;
    return false;
}

/* "...DEGRADED" is looked for in one line only. */
static void add_status(struct page *page, const char *status)
{
    size_t room = page->rows > page->screen->count + BELOW_STATUS
                      ? page->rows - page->screen->count - BELOW_STATUS
                      : 0;
    size_t left_out = 0;
    while (status && *status) {
        size_t length = strcspn(status, "\n");
        char first[128];
        struct text copy = text_on(first, sizeof first);
        text_add_bytes(&copy, status, length);
        if (is_shown(first) && room > 0) {
            add_printable(page, status, length, is_alarm(status, length));
            room--;
        } else if (is_shown(first)) {
            left_out++;
        }
        status += length + (status[length] == '\n');
    }
    if (left_out > 0 && page->rows > page->screen->count) {
        struct text text;
        add_line(page, &text);
        text_addf(&text, "... and %zu lines more: rcptctl status", left_out);
    }
}

/* ---- rates ---- */

struct rate_row {
    const char *title, *metric;
    struct {
        const char *label, *name;
    } columns[6];
};

static const struct rate_row rate_rows[] = {
    {"replies",
     PREFIX "replies_total{",
     {{"class=\"pass\"", "pass"}, {"class=\"4xx\"", "4xx"}, {"class=\"5xx\"", "5xx"}}},
    {"answers",
     PREFIX "lookups_total{",
     {{"tier=\"process-cache\"", "process"},
      {"tier=\"memcached\"", "memcached"},
      {"tier=\"directory\"", "directory"}}},
    {"guesses",
     PREFIX "lookups_total{",
     {{"tier=\"memcached-stale\"", "stale"},
      {"tier=\"known-good\"", "known-good"},
      {"tier=\"nobody\"", "nobody"}}},
};

static void add_rates(struct page *page, const struct top_input *input)
{
    struct text text;
    char word[WORD_MAX], shed[WORD_MAX];
    if (!add_line(page, &text) || !add_line(page, &text))
        return;
    print_number(rate(input, grown_value(input, PREFIX "recipients_total")), word);
    print_number(rate(input, grown_value(input, PREFIX "lookups_shed_total")), shed);
    text_addf(&text, "per second %6s recipients %6s shed  (%s)", word, shed,
              input->before ? "now" : "since the start");
    for (size_t i = 0; i < sizeof rate_rows / sizeof rate_rows[0]; i++) {
        const struct rate_row *row = &rate_rows[i];
        if (!add_line(page, &text))
            return;
        text_addf(&text, "  %-8s", row->title);
        for (size_t j = 0; j < sizeof row->columns / sizeof row->columns[0]; j++) {
            if (!row->columns[j].label)
                break;
            print_number(rate(input, grown_sum(input, row->metric, row->columns[j].label)), word);
            text_addf(&text, " %6s %-10s", word, row->columns[j].name);
        }
    }
}

/* ---- latencies ---- */

static void read_buckets(const char *text, const char *name, double count[HISTOGRAM_BUCKETS])
{
    double before = 0;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        char bytes[128];
        struct text key = text_on(bytes, sizeof bytes);
        text_addf(&key, PREFIX "%s_bucket{le=\"", name);
        if (i < HISTOGRAM_BOUNDS)
            text_addf(&key, "%g\"}", (double)histogram_bounds_us[i] / 1e6);
        else
            text_add(&key, "+Inf\"}");
        double upto = value(text, bytes);
        upto = upto < before ? before : upto; /* also where it is missing */
        count[i] = upto - before;
        before = upto;
    }
}

static void read_histogram(const struct top_input *input, const char *name,
                           struct histogram_state *state)
{
    double now[HISTOGRAM_BUCKETS], before[HISTOGRAM_BUCKETS] = {0};
    read_buckets(input->stats, name, now);
    if (input->before)
        read_buckets(input->before, name, before);
    state->sum_us = 0;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        state->count[i] = (uint64_t)grown(now[i], before[i]);
}

static void add_latencies(struct page *page, const struct top_input *input)
{
    static const char *const titles[HISTOGRAM_COUNT] = {
        [HISTOGRAM_lookup_seconds] = "a lookup",
        [HISTOGRAM_directory_query_seconds] = "SQL",
        [HISTOGRAM_memcache_get_seconds] = "memcached",
    };
    struct text text;
    if (!add_line(page, &text) || !add_line(page, &text))
        return;
    text_addf(&text, "%-12s %10s %10s", "latency", "p50", "p99");
    for (int i = 0; i < HISTOGRAM_COUNT; i++) {
        struct histogram_state state;
        char half[WORD_MAX], most[WORD_MAX];
        if (!add_line(page, &text))
            return;
        read_histogram(input, histogram_rows[i].name, &state);
        print_latency(histogram_quantile_us(&state, 0.5), half);
        print_latency(histogram_quantile_us(&state, 0.99), most);
        text_addf(&text, "  %-10s %10s %10s", titles[i], half, most);
    }
}

void top_layout(const struct top_input *input, unsigned columns, unsigned rows,
                struct top_screen *screen)
{
    struct page page = {.screen = screen};
    struct text text;
    page.columns = columns == 0 || columns > TOP_COLUMNS_MAX ? TOP_COLUMNS_MAX : columns;
    page.rows = rows == 0 || rows > TOP_LINES_MAX ? TOP_LINES_MAX : rows;
    screen->count = 0;
    add_waiting(&page, input);
    add_bounced(&page, input);
    if (input->trouble[0] != '\0')
        add_printable(&page, input->trouble, strlen(input->trouble), true);
    else
        add_line(&page, &text);
    add_status(&page, input->status);
    add_rates(&page, input);
    add_latencies(&page, input);
}
