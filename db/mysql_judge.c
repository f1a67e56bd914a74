#include "db/mysql_judge.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shared/text.h"

enum { SENTENCE_MAX = 1024, MANY_ROWS = 10000 };

static void say(const struct judge *judge, const char *parameter, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void say(const struct judge *judge, const char *parameter, const char *format, ...)
{
    char sentence[SENTENCE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    judge->say(judge->context, parameter, sentence);
}

/* ---- the text of the query ---- */

void judge_statement(const struct judge *judge, const struct mysql_statement *statement)
{
    if (!statement->uses_key)
        say(judge, "query",
            "the query says the same whatever it is asked: no %%s, %%u or %%d is in it. Compare "
            "the column with the key: WHERE address = '%%s'");
    if (statement->takes_all)
        say(judge, "query",
            "the query says SELECT *, and any column that is not empty counts as found, those that "
            "somebody adds later too; name the one column that is meant");
}

/* ---- the plan ---- */

void judge_plan(const struct judge *judge, const struct mysql_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_row *row = &plan->rows[i];
        bool all = strcmp(row->access, "ALL") == 0 || strcmp(row->access, "hash_ALL") == 0;
        bool index = strcmp(row->access, "index") == 0;
        if ((all || index) && !row->possible_keys)
            say(judge, "query",
                "no usable index: each lookup reads all of %s (about %" PRIu64 " rows now). Put an "
                "index on the column the query compares (CREATE INDEX ... ON), and leave that "
                "column bare in WHERE: under a function, or compared with another collation, its "
                "index is of no use",
                row->table, row->rows);
        else if (all && row->rows >= MANY_ROWS)
            say(judge, "query",
                "no usable index: there is one on %s, but the server reads all of its %" PRIu64
                " rows all the same; ANALYZE TABLE may help, or see EXPLAIN of the query",
                row->table, row->rows);
    }
}

/* ---- the rights ---- */

/* One privilege of the list, at *at; without its columns in parentheses. False at the end. */
static bool next_privilege(const char **at, const char *end, const char **name, size_t *length)
{
    while (*at < end && (**at == ' ' || **at == ','))
        (*at)++;
    *name = *at;
    unsigned depth = 0;
    size_t bare = 0;
    for (; *at < end && (depth > 0 || **at != ','); (*at)++) {
        depth += **at == '(';
        if (depth == 0)
            bare = (size_t)(*at + 1 - *name);
        depth -= depth > 0 && **at == ')';
    }
    while (bare > 0 && (*name)[bare - 1] == ' ')
        bare--;
    *length = bare;
    return *name < end;
}

static bool is_harmless(const char *name, size_t length, bool may_ask_lag)
{
    static const char *const harmless[] = {"USAGE", "SELECT", "EXECUTE", "SHOW VIEW"};
    static const char *const of_lag[] = {"REPLICATION CLIENT", "BINLOG MONITOR", "SLAVE MONITOR",
                                         "REPLICA MONITOR"};
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (strlen(harmless[i]) == length && memcmp(harmless[i], name, length) == 0)
            return true;
    for (size_t i = 0; may_ask_lag && i < sizeof of_lag / sizeof *of_lag; i++)
        if (strlen(of_lag[i]) == length && memcmp(of_lag[i], name, length) == 0)
            return true;
    return false;
}

/* `what`, outside of quotes, in bytes[length]; NULL: not there. */
static const char *find_bare(const char *bytes, size_t length, const char *what)
{
    size_t size = strlen(what);
    char quote = '\0';
    for (size_t i = 0; i + size <= length; i++) {
        if (quote == '\0' && memcmp(bytes + i, what, size) == 0)
            return bytes + i;
        if (quote != '\0')
            quote = bytes[i] == quote ? '\0' : quote;
        else if (bytes[i] == '\'' || bytes[i] == '`')
            quote = bytes[i];
    }
    return NULL;
}

/* GRANT a, b (column) ON `x`.`y` TO `user`@`host` [IDENTIFIED BY ...] [WITH ...]. What stands after
 * IDENTIFIED is a password's hash and goes nowhere. */
void judge_grant(const struct judge *judge, const char *row, size_t length, bool may_ask_lag)
{
    static const char grant[] = "GRANT ", on_mark[] = " ON ", to_mark[] = " TO ";
    char names[512];
    struct text more = text_on(names, sizeof names);
    if (length < strlen(grant) || memcmp(row, grant, strlen(grant)) != 0)
        return;
    const char *end = row + length, *at = row + strlen(grant), *name;
    const char *on = find_bare(row, length, on_mark);
    const char *to = on ? find_bare(on, (size_t)(end - on), to_mark) : NULL;
    if (!to)
        return; /* a role: its own rights are rows of their own, while it is active */
    const char *who = to + strlen(to_mark), *who_end = who;
    const char *with = find_bare(who, (size_t)(end - who), " WITH GRANT OPTION");
    for (size_t size; next_privilege(&at, on, &name, &size);)
        if (!is_harmless(name, size, may_ask_lag))
            text_addf(&more, "%s%.*s", more.length > 0 ? ", " : "", (int)size, name);
    if (with)
        text_addf(&more, "%sGRANT OPTION", more.length > 0 ? ", " : "");
    if (more.length == 0)
        return;
    const char *blank = find_bare(who, (size_t)(end - who), " ");
    who_end = blank ? blank : end;
    on += strlen(on_mark);
    /* What is left then has to be granted anew. */
    bool everything = strncmp(names, "ALL PRIVILEGES", 14) == 0;
    if (everything)
        say(judge, "user",
            "the user may do everything on %.*s, and whoever finds its password may too: REVOKE "
            "ALL "
            "PRIVILEGES, GRANT OPTION FROM %.*s; and GRANT SELECT on the tables of the query",
            (int)(to - on), on, (int)(who_end - who), who);
    else
        say(judge, "user",
            "the user may do more than read, and whoever finds its password may too: REVOKE %s ON "
            "%.*s FROM %.*s;",
            names, (int)(to - on), on, (int)(who_end - who), who);
}

/* ---- collations ---- */

bool folding_read(const char *text, size_t length, struct folding *folding)
{
    bool *const fields[] = {&folding->accents, &folding->sharp_s, &folding->width,
                            &folding->trailing};
    if (length != 7)
        return false;
    for (size_t i = 0; i < 4; i++) {
        char digit = text[2 * i];
        if ((digit != '0' && digit != '1') || (i < 3 && text[2 * i + 1] != ','))
            return false;
        *fields[i] = digit == '1';
    }
    return true;
}

bool judge_collation(const struct judge *judge, const struct statement_compared *compared,
                     const char *collation, const struct folding *folding)
{
    const char *same = folding->accents   ? "\xc3\xa9 for e"
                       : folding->sharp_s ? "\xc3\x9f for ss"
                       : folding->width   ? "a fullwidth letter for a plain one"
                                          : NULL;
    bool padded = folding->trailing && compared->padded;
    /* Where the column has another character set, COLLATE utf8mb4_bin alone is an error, and its
     * bytes are not those of the key. */
    bool converted = strncmp(collation, "utf8mb4_", 8) != 0;
    const char *begin = converted ? "CONVERT(" : "", *end = converted ? " USING utf8mb4)" : "";
    if (same)
        say(judge, "query",
            "the collation %s of %s.%s takes %s, so that addresses nobody has are known. Compare "
            "exactly as well: AND %sLOWER(%s)%s COLLATE utf8mb4_bin = '%%s', or what it is "
            "compared "
            "with now; or give the column the collation utf8mb4_bin",
            collation, compared->table, compared->column, same, begin, compared->column, end);
    else if (padded)
        say(judge, "query",
            "the collation %s of %s.%s ignores trailing spaces, so that \"alice \"@example.com is "
            "taken for alice@example.com. Compare exactly as well: AND CAST(%sLOWER(%s)%s AS "
            "BINARY) = '%%u'",
            collation, compared->table, compared->column, begin, compared->column, end);
    return same || padded;
}

/* ---- failures ---- */

void judge_trouble(const struct judge *judge, const struct mysql_trouble *trouble, const char *why)
{
    switch (trouble->number) {
    case 1045:
        say(judge, "password", "the server does not let this user in, with this password: %s", why);
        return;
    case 1044:
    case 1049:
        say(judge, "dbname", "this user has no way into this database, or there is none: %s", why);
        return;
    case 1142:
    case 1143:
        say(judge, "query",
            "the user may not read what the query asks for: GRANT SELECT on that table to it; %s",
            why);
        return;
    case 1370:
        say(judge, "query",
            "the user may not run what the query calls: GRANT EXECUTE on it to it; %s", why);
        return;
    case 1054:
    case 1146:
        say(judge, "query", "there is no such table or column: %s", why);
        return;
    case 1064:
        say(judge, "query", "the query is no SQL that this server understands: %s", why);
        return;
    }
    if (trouble->class == MYSQL_ERROR_SERVER)
        say(judge, "hosts", "the server cannot be asked: %s", why);
    else
        say(judge, "query",
            "the query fails, and a failed lookup means \"nobody knows\", never \"unknown\": %s",
            why);
}

bool judge_is_local(const struct mysql_host *host)
{
    const struct endpoint *endpoint = &host->endpoint;
    struct in_addr v4;
    struct in6_addr v6;
    if (endpoint->kind != ENDPOINT_INET || text_same_word(endpoint->host, "localhost"))
        return true;
    if (inet_pton(AF_INET, endpoint->host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, endpoint->host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}
