/* The first line is a key, the second a value from the database, the rest a mysql_table(5) file. */
#include "tests/fuzz/fuzz.h"

#include "config/conf.h"
#include "db/mysql_table.h"
#include "shared/log.h"

enum { SQL_SIZE = 16384, RESULT_SIZE = 300 };

/* What the escape function was asked for, and where in the SQL its bytes are. */
struct escapes {
    const char *key, *sql;
    bool refuse; /* as the client library does with what is no text of the charset */
    unsigned count;
    char marks[SQL_SIZE];
};

static size_t escape(void *context, char *to, const char *bytes, size_t length)
{
    struct escapes *escapes = context;
    size_t written = 0;
    /* Suppression has seen to it that no expansion is empty. */
    assert(length > 0 && memmem(escapes->key, strlen(escapes->key), bytes, length));
    escapes->count++;
    if (escapes->refuse)
        return 2 * length + 1;
    for (size_t i = 0; i < length; i++) {
        if (strchr("'\"\\", bytes[i]))
            to[written++] = '\\';
        to[written++] = bytes[i];
    }
    to[written] = '\0';
    if (escapes->sql)
        memset(escapes->marks + (to - escapes->sql), 1, written);
    return written;
}

/* Without what was escaped, the SQL is the template without its expansions: nothing of the key came
 * in by another way. */
static void check_sql(const struct mysql_table *table, const struct escapes *escapes)
{
    size_t at = 0;
    unsigned expansions = 0;
    for (const char *c = table->query.statement; *c; c++) {
        bool percent = *c == '%';
        c += percent;
        if (percent && *c != '%') {
            expansions++;
            continue;
        }
        while (escapes->marks[at])
            at++;
        assert(escapes->sql[at++] == *c);
    }
    while (escapes->marks[at])
        at++;
    assert(escapes->sql[at] == '\0');
    assert(expansions == escapes->count);
}

/* Into less room: the same, or "too long", and never past the end. */
static void check_sql_in(const struct mysql_table *table, const char *key, const char *sql,
                         size_t size)
{
    struct escapes escapes = {.key = key};
    char *cut = malloc(size);
    assert(cut);
    enum query_expansion expansion = query_expand(&table->query, key, escape, &escapes, cut, size);
    if (size <= strlen(sql))
        assert(expansion == EXPANSION_TOO_LONG);
    else
        assert(expansion == EXPANSION_TOO_LONG ||
               (expansion == EXPANSION_OK && strcmp(cut, sql) == 0));
    free(cut);
}

static void check_expansion(const struct mysql_table *table, const char *key)
{
    static char sql[SQL_SIZE];
    static struct escapes escapes;
    escapes = (struct escapes){.key = key, .sql = sql};
    enum query_expansion expansion =
        query_expand(&table->query, key, escape, &escapes, sql, sizeof sql);
    assert((expansion == EXPANSION_SUPPRESSED) == !query_applies(&table->query, key));
    if (expansion != EXPANSION_OK)
        return;
    assert(key[0] != '\0');
    check_sql(table, &escapes);
    check_sql_in(table, key, sql, strlen(sql) + 1);
    check_sql_in(table, key, sql, strlen(sql) / 2 + 1);

    escapes = (struct escapes){.key = key, .sql = sql, .refuse = true};
    expansion = query_expand(&table->query, key, escape, &escapes, sql, sizeof sql);
    assert(expansion == (escapes.count > 0 ? EXPANSION_TOO_LONG : EXPANSION_OK));
}

static void check_format(const struct mysql_table *table, const char *key, const char *value)
{
    static const char before[] = "before";
    char *result = malloc(RESULT_SIZE);
    assert(result);
    strcpy(result, before);
    if (query_format(&table->query, key, value, result, RESULT_SIZE)) {
        assert(value[0] != '\0' && strlen(result) < RESULT_SIZE);
        assert(strncmp(result, "before,", sizeof before) == 0);
        if (strcmp(table->query.result_format, "%s") == 0)
            assert(strncmp(result + sizeof before, value, RESULT_SIZE - sizeof before - 1) == 0);
    } else {
        assert(strcmp(result, before) == 0);
    }
    free(result);
}

static void check_source(const struct mysql_source *source)
{
    assert(source->host_count > 0 && source->host_count <= MYSQL_HOSTS_MAX);
    assert(source->charset && source->charset[0] != '\0');
    struct mysql_source copy;
    assert(mysql_source_copy(&copy, source) && mysql_source_equal(&copy, source));
    mysql_source_release(&copy);
}

/* A word of `domain` with a '/' in front, or behind a '!', is a file to read. No input may choose one. */
static bool names_a_file(struct input input)
{
    struct conf *conf = conf_read_bytes("input", input.bytes, input.length, NULL);
    const struct conf_entry *domain = conf ? conf_find(conf, "domain") : NULL;
    bool found = false;
    for (const char *c = domain ? domain->value : ""; *c; c++)
        found = found || (*c == '/' && (c == domain->value || strchr("!, \t\r\n", c[-1])));
    conf_free(conf);
    return found;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_set_level(LEVEL_ERROR); /* every unknown parameter is a warning */
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {(const char *)data, size};
    char *key = input_line(&input), *value = input_line(&input);
    if (!names_a_file(input)) {
        struct fault fault = {""};
        struct mysql_table *table = mysql_table_read(input_file(input), &fault);
        assert(!table == (fault.text[0] != '\0'));
        assert(is_clean(fault.text));
        if (table) {
            check_source(&table->source);
            check_expansion(table, key);
            check_format(table, key, value);
        }
        mysql_table_free(table);
    }
    free(key);
    free(value);
    return 0;
}
