/*
 * mysql_list - every recipient a directory has, by the `list_query` of a mysql_table(5) file: for
 * `rcptctl learn`, not for lookups. A connection of its own, no pool, no breaker.
 */
#ifndef DB_MYSQL_LIST_H
#define DB_MYSQL_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/fault.h"

/*
 * Hands the first column of each row to `each`, as the rows come and as they are (not folded, any
 * byte, no NUL after the end); NULL and empty ones are left out. The memory this takes does not
 * grow with their number. `each` returns false when it wants no more, which is no failure.
 *
 * True: `each` has seen them all, or wanted no more. False and a fault "path: host: what"
 * otherwise, also when it broke off half-way: what `each` was given until then was true, but not
 * all there is. The hosts are tried in the order of mysql_table(5); once one has begun to answer
 * there is no other. A server may be silent for 5 min at a time. Blocks; any thread that uses no
 * mysql_client itself.
 */
bool mysql_list(const char *path, bool (*each)(void *context, const char *recipient, size_t length),
                void *context, struct fault *fault);

#endif
