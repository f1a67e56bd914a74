#include "config/duration.h"

#include <string.h>

#include "shared/text.h"

static const int64_t DURATION_MAX_MS = INT64_C(10000) * 366 * 86400 * 1000;

static const struct unit {
    const char *name;
    int64_t ms;
} units[] = {
    {"w", INT64_C(7) * 86400 * 1000}, {"d", INT64_C(86400) * 1000}, {"h", INT64_C(3600) * 1000},
    {"m", INT64_C(60) * 1000},        {"s", INT64_C(1000)},         {"ms", 1}};

enum { UNIT_COUNT = sizeof units / sizeof units[0] };

bool duration_parse(const char *text, int64_t *ms)
{
    char number[DURATION_TEXT_MAX] = "";
    size_t digits = strspn(text, "0123456789");
    const char *name = text[digits] ? text + digits : "s";
    if (digits >= sizeof number)
        return false;
    memcpy(number, text, digits);
    for (size_t i = 0; i < UNIT_COUNT; i++) {
        uint64_t value;
        if (strcmp(name, units[i].name) != 0)
            continue;
        if (!text_to_number(number, (uint64_t)(DURATION_MAX_MS / units[i].ms), &value))
            return false;
        *ms = (int64_t)value * units[i].ms;
        return true;
    }
    return false;
}

void duration_print(int64_t ms, char *buffer, size_t size)
{
    struct text text = text_on(buffer, size);
    /* Not in weeks: "30d" says more than "2w" does of 14 days. */
    for (size_t i = 1; i < UNIT_COUNT; i++)
        if (ms > 0 && ms % units[i].ms == 0) {
            text_addf(&text, "%lld%s", (long long)(ms / units[i].ms), units[i].name);
            return;
        }
    text_addf(&text, "%llds", (long long)ms);
}
