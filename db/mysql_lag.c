/* How far a server is behind its primary. */
#include <stdint.h>
#include <string.h>

#include "db/mysql_inside.h"
#include "shared/text.h"

/* The first one covers every primary of a MariaDB replica that has several; the plain form would
 * show one of them, or none. MySQL's forms show all channels. */
static const char *const status_statements[] = {
    "SHOW ALL SLAVES STATUS", /* every MariaDB */
    "SHOW REPLICA STATUS",    /* MySQL 8.0.22 and later */
    "SHOW SLAVE STATUS",      /* MySQL before that */
};
enum { STATUS_STATEMENTS = sizeof status_statements / sizeof status_statements[0] };

/* As SQL writes a number; a fraction is taken for a whole one. */
static bool read_seconds(const char *text, int64_t *seconds)
{
    static const char digits[] = "0123456789";
    char whole[20] = "";
    bool negative = *text == '-';
    text += negative;
    size_t length = strspn(text, digits);
    uint64_t number;
    if (length == 0 || length >= sizeof whole)
        return false;
    memcpy(whole, text, length);
    if (!text_to_number(whole, INT64_MAX - 1, &number))
        return false;
    text += length;
    if (*text == '.') {
        size_t places = strspn(text + 1, digits);
        number += strspn(text + 1, "0") < places;
        text += 1 + places;
    }
    *seconds = negative ? -(int64_t)number : (int64_t)number;
    return *text == '\0';
}

struct lag_reading {
    bool by_query; /* lag_query: the first column of the first row */
    unsigned rows;
    bool unknown; /* a row does not tell; the fault says why */
    int64_t most_s;
    struct fault *fault;
};

static unsigned lag_column(MYSQL_RES *result)
{
    const MYSQL_FIELD *fields = mysql_fetch_fields(result);
    unsigned columns = mysql_num_fields(result), i = 0;
    while (i < columns && strcmp(fields[i].name, "Seconds_Behind_Master") != 0 &&
           strcmp(fields[i].name, "Seconds_Behind_Source") != 0)
        i++;
    return i;
}

/* A replica of several primaries is as far behind as the one it is furthest behind of. */
static bool take_lag(void *context, MYSQL_RES *result, MYSQL_ROW row)
{
    struct lag_reading *reading = context;
    unsigned column = reading->by_query ? 0 : lag_column(result);
    int64_t seconds = 0;
    reading->rows++;
    if (reading->unknown || (reading->by_query && reading->rows > 1))
        return true;
    reading->unknown = true;
    if (column >= mysql_num_fields(result))
        fault_set(reading->fault, "the server's replica status has no Seconds_Behind_Source");
    else if (!row[column])
        fault_set(reading->fault,
                  reading->by_query ? "lag_query gave NULL" : "its replication is not running");
    else if (!read_seconds(row[column], &seconds))
        fault_set(reading->fault, "\"%.40s\" is no number of seconds", row[column]);
    else
        reading->unknown = false;
    if (reading->rows == 1 || seconds > reading->most_s)
        reading->most_s = seconds;
    return true;
}

bool mysql_client_lag(struct mysql_client *client, const char *lag_query, int64_t *lag_s,
                      struct mysql_trouble *trouble, struct fault *fault)
{
    enum { PARSE_ERROR = 1064 };
    struct lag_reading reading = {.by_query = lag_query != NULL, .fault = fault};
    struct mysql_rows rows = {
        .take = take_lag, .context = &reading, .trouble = trouble, .fault = fault};
    bool complete;
    for (;;) {
        const char *sql = lag_query ? lag_query : status_statements[client->status_form];
        complete = mysql_client_run(client, sql, strlen(sql), &rows);
        if (lag_query || trouble->number != PARSE_ERROR ||
            client->status_form + 1 == STATUS_STATEMENTS)
            break;
        client->status_form++;
    }
    if (!complete || reading.unknown)
        return false;
    if (lag_query && reading.rows == 0) {
        fault_set(fault, "lag_query gave no row");
        return false;
    }
    *lag_s = reading.most_s; /* no row of a status: not a replica */
    return true;
}
