/*
 * duration - a span of time as an admin writes it: a number with ms, s, m, h, d or w, as in main.cf
 * (which has no ms). A bare number is seconds. Pure, any thread.
 */
#ifndef CONFIG_DURATION_H
#define CONFIG_DURATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DURATION_TEXT_MAX = 32 };

/* Milliseconds; false on anything else, also on more than ten thousand years. */
bool duration_parse(const char *text, int64_t *ms);

/* "30d", "90m", "100ms": in the largest of d, h, m, s and ms that divides it; "0s". */
void duration_print(int64_t ms, char *buffer, size_t size);

#endif
