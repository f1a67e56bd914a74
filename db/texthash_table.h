/*
 * texthash_table - the text of a texthash file as a table in memory. Knows no files but for their
 * names in messages.
 *
 * postmap(1): `key white-space value`. Empty lines, and lines whose first character that is not
 * white space is `#`, are left out. A line that starts with white space goes on with the one
 * before. White space between double quotes, or after a backslash, belongs to the key, and the key
 * keeps its quotes: "a b"@example.com is looked up in that form. Keys are folded, ASCII only.
 *
 * What Postfix warns of and leaves out is warned of and left out here, so that a file means the
 * same to both: a key without a value, a '"' without its partner, a second value for a key (the
 * first one counts), bytes that are not UTF-8. A NUL makes the whole file bad: Postfix would cut
 * the line there, and half a file must not pass for a whole one.
 *
 * Read-only once read: any thread.
 */
#ifndef DB_TEXTHASH_TABLE_H
#define DB_TEXTHASH_TABLE_H

#include <stddef.h>

#include "shared/fault.h"

struct texthash_table;

/* Takes `bytes` over in any case: malloc'd, length + 1 of them (the last one is for a NUL), at most
 * UINT32_MAX. NULL and a fault. Logs warnings "path:line: what", the first few of them. */
struct texthash_table *texthash_table_read(const char *path, char *bytes, size_t length,
                                           struct fault *fault);
void texthash_table_free(struct texthash_table *table); /* NULL is fine */

/* The value, which lives as long as the table, or NULL. */
const char *texthash_table_find(const struct texthash_table *table, const char *key);
size_t texthash_table_count(const struct texthash_table *table);

#endif
