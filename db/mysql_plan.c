#include "db/mysql_plan.h"

#include <string.h>

#include "shared/text.h"

enum { DEPTH_MAX = 200 };

struct reader {
    const char *at, *end;
    unsigned depth;
    bool broken;
    struct mysql_plan *plan;
};

static char peek(struct reader *reader)
{
    while (reader->at < reader->end && strchr(" \t\r\n", *reader->at))
        reader->at++;
    return reader->at < reader->end ? *reader->at : '\0';
}

static bool take(struct reader *reader, char c)
{
    bool there = !reader->broken && peek(reader) == c;
    reader->at += there;
    return there;
}

static void expect(struct reader *reader, char c)
{
    if (!take(reader, c))
        reader->broken = true;
}

/* Names of tables may be cut; of an escape the letter is kept, as no name we look for has one. */
static void read_string(struct reader *reader, char *string, size_t size)
{
    size_t length = 0;
    expect(reader, '"');
    while (!reader->broken && reader->at < reader->end && *reader->at != '"') {
        reader->at += *reader->at == '\\';
        if (reader->at < reader->end && length + 1 < size)
            string[length++] = *reader->at;
        reader->at += reader->at < reader->end;
    }
    string[length] = '\0';
    expect(reader, '"');
}

static void read_scalar(struct reader *reader, char *string, size_t size)
{
    size_t length = 0;
    peek(reader);
    while (reader->at < reader->end && !strchr(",]} \t\r\n", *reader->at)) {
        if (length + 1 < size)
            string[length++] = *reader->at;
        reader->at++;
    }
    string[length] = '\0';
    reader->broken |= length == 0;
}

static void keep(struct plan_row *row, const char *name, const char *value)
{
    struct text to = {0};
    if (strcmp(name, "table_name") == 0)
        to = text_on(row->table, sizeof row->table);
    else if (strcmp(name, "access_type") == 0)
        to = text_on(row->access, sizeof row->access);
    else if (strcmp(name, "rows") == 0 || strcmp(name, "rows_examined_per_scan") == 0)
        text_to_number(value, UINT64_MAX, &row->rows);
    if (to.bytes)
        text_add(&to, value);
}

static void read_value(struct reader *reader, struct plan_row *row, const char *name);

static void read_object(struct reader *reader)
{
    struct plan_row row = {.table = ""};
    char name[64];
    expect(reader, '{');
    while (!reader->broken && peek(reader) != '}') {
        read_string(reader, name, sizeof name);
        expect(reader, ':');
        read_value(reader, &row, name);
        if (!take(reader, ','))
            break;
    }
    expect(reader, '}');
    if (!reader->broken && row.table[0] != '\0' && row.table[0] != '<' &&
        reader->plan->count < PLAN_ROWS_MAX)
        reader->plan->rows[reader->plan->count++] = row;
}

static void read_array(struct reader *reader)
{
    struct plan_row nobodys = {.table = ""};
    expect(reader, '[');
    while (!reader->broken && peek(reader) != ']') {
        read_value(reader, &nobodys, "");
        if (!take(reader, ','))
            break;
    }
    expect(reader, ']');
}

static void read_value(struct reader *reader, struct plan_row *row, const char *name)
{
    char value[PLAN_NAME_MAX] = "";
    if (++reader->depth > DEPTH_MAX)
        reader->broken = true;
    if (reader->broken)
        return;
    switch (peek(reader)) {
    case '{':
        /* The rows of a derived table are counted where they come from. MariaDB names it
         * <derived2>, MySQL by its alias. */
        if (strncmp(name, "materialized", 12) == 0)
            row->table[0] = '<';
        read_object(reader);
        break;
    case '[':
        row->possible_keys |= strcmp(name, "possible_keys") == 0;
        read_array(reader);
        break;
    case '"':
        read_string(reader, value, sizeof value);
        keep(row, name, value);
        break;
    default:
        read_scalar(reader, value, sizeof value);
        keep(row, name, value);
    }
    reader->depth--;
}

bool mysql_plan_read(const char *json, size_t length, struct mysql_plan *plan)
{
    struct reader reader = {.at = json, .end = json + length, .plan = plan};
    plan->count = 0;
    read_object(&reader);
    return !reader.broken && peek(&reader) == '\0';
}
