/* Where in a statement one is: in a string, a name, a comment, or between them. */
#include "db/query.h"

#include <string.h>

/* What begins at *at outside of everything, or 0; *at is left at its last byte. */
static char opens(enum query_sql dialect, const char *sql, size_t length, size_t *at)
{
    char c = sql[*at], next = *at + 1 < length ? sql[*at + 1] : '\0';
    if (c == '\'' || c == '"' || c == '`')
        return c;
    if (c == '[' && dialect == SQL_OF_SQLITE)
        return ']';
    if (c == '#' && dialect == SQL_OF_MYSQL)
        return '-';
    if ((c == '/' && next == '*') || (c == '-' && next == '-')) {
        ++*at;
        return next;
    }
    return 0;
}

char query_quote_at(enum query_sql dialect, const char *sql, size_t length)
{
    char open = 0;
    for (size_t i = 0; i < length; i++) {
        char c = sql[i];
        bool string = open == '\'' || open == '"';
        if (!open)
            open = opens(dialect, sql, length, &i);
        else if (string && c == '\\' && dialect == SQL_OF_MYSQL)
            i++;
        else if (open == '*' && c == '*' && i + 1 < length && sql[i + 1] == '/')
            open = 0, i++;
        else if (open == '-' ? c == '\n' : open != '*' && c == open)
            open = 0; /* of a quote that is doubled, the second opens it again */
    }
    return open;
}
