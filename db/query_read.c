/* Reading what mysql_table(5) and its like have in common. */
#include "db/query.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/log.h"
#include "shared/text.h"

static const char *const common_names[] = {
    "query", "result_format", "domain",      "expansion_limit",
    "table", "select_field",  "where_field", "additional_conditions",
};
enum { COMMON_NAMES = sizeof common_names / sizeof common_names[0] };

void query_release(struct query *query)
{
    for (size_t i = 0; i < query->domain_count; i++)
        free(query->domains[i]);
    free(query->domains);
    free(query->path);
    free(query->statement);
    free(query->result_format);
    memset(query, 0, sizeof *query);
}

bool query_fault_at(const struct conf *conf, const struct conf_entry *entry, struct fault *fault,
                    const char *what)
{
    fault_set(fault, "%s:%u: %s: %s", conf->path, entry->line, entry->name, what);
    return false;
}

bool query_copy_string(char **to, const char *value, struct fault *fault)
{
    *to = strdup(value);
    if (!*to)
        fault_set(fault, "out of memory");
    return *to != NULL;
}

/* What the file may hold, one by one; NULL after the last. */
static const char *name_number(const struct query_dialect *dialect, size_t i)
{
    return i < COMMON_NAMES ? common_names[i] : dialect->parameter(i - COMMON_NAMES);
}

static void warn_unless_known(const struct conf *conf, const struct conf_entry *entry,
                              const struct query_dialect *dialect)
{
    const char *near = NULL, *name;
    unsigned nearest = 3; /* edits */
    for (size_t i = 0; (name = name_number(dialect, i)); i++) {
        unsigned distance = text_distance(entry->name, name);
        if (distance == 0)
            return;
        if (distance < nearest) {
            nearest = distance;
            near = name;
        }
    }
    log_warning("%s:%u: %s: not a parameter of %s we know, ignored%s%s%s", conf->path, entry->line,
                entry->name, dialect->page, near ? "; did you mean " : "", near ? near : "",
                near ? "?" : "");
}

static const char *value_of(const struct conf *conf, const char *name)
{
    const struct conf_entry *entry = conf_find(conf, name);
    return entry ? entry->value : "";
}

/* Notes what an expansion will need: db_common_parse. False: it is none. */
static bool note_needs(struct query *query, char c, bool is_statement)
{
    if (c >= '1' && c <= '9') {
        unsigned number = (unsigned)(c - '0');
        if (number > query->needs_labels)
            query->needs_labels = number;
        query->needs_key_domain = true;
    } else if (c == 'U' || (c == 'u' && is_statement)) {
        query->needs_key_user = true;
    } else if (c == 'D' || (c == 'd' && is_statement)) {
        query->needs_key_domain = true;
    } else if (c == 'u') {
        query->needs_value_user = true;
    } else if (c == 'd') {
        query->needs_value_domain = true;
    } else {
        return c != '\0' && strchr("%sS", c);
    }
    return true;
}

static bool check_template(struct query *query, const char *template, bool is_statement,
                           const char *where, struct fault *fault)
{
    for (const char *c = template; *c; c++) {
        if (*c != '%' || note_needs(query, *++c, is_statement))
            continue;
        fault_set(fault, "%s: `%%%.1s' is no expansion; a percent sign is written %%%%", where, c);
        return false;
    }
    return true;
}

/* What the client library escapes is safe inside quotes only: `WHERE uid = %u` is SQL written by
 * whoever sends mail. */
static bool check_quotes(const struct query *query, const struct query_dialect *dialect,
                         const char *where, struct fault *fault)
{
    static const char what[] = "stands outside quotes, so whoever sends mail could write SQL there";
    for (const char *c = strchr(query->statement, '%'); c; c = strchr(c + 2, '%')) {
        char open = query_quote_at(dialect->sql, query->statement, (size_t)(c - query->statement));
        if (c[1] != '%' && open == '"' && dialect->sql == SQL_OF_SQLITE)
            log_warning(
                "%s: SQLite takes \"%.2s\" for the name of a column where there is one: write "
                "'%.2s'",
                where, c, c);
        if (c[1] == '%' || open == '\'' || open == '"')
            continue;
        if (dialect->quoted_only) {
            fault_set(fault, "%s: %.2s %s: write '%.2s'", where, c, what, c);
            return false;
        }
        log_warning("%s: %.2s %s: write '%.2s'", where, c, what, c);
        return true;
    }
    return true;
}

/* dict_mysql.c: without `query`, the form of Postfix before 2.2. */
static bool build_legacy(struct query *query, const struct conf *conf, struct fault *fault)
{
    static const char *const needed[] = {"table", "select_field", "where_field"};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (*value_of(conf, needed[i]) == '\0') {
            fault_set(fault, "%s:1: neither query nor %s is set", conf->path, needed[i]);
            return false;
        }
    }
    if (asprintf(&query->statement, "SELECT %s FROM %s WHERE %s = '%%s' %s",
                 value_of(conf, "select_field"), value_of(conf, "table"),
                 value_of(conf, "where_field"), value_of(conf, "additional_conditions")) < 0) {
        query->statement = NULL;
        fault_set(fault, "out of memory");
        return false;
    }
    return true;
}

static bool read_statement(struct query *query, const struct conf *conf,
                           const struct query_dialect *dialect, struct fault *fault)
{
    char where[FAULT_MAX];
    const struct conf_entry *entry = conf_find(conf, "query");
    if (entry && !*entry->value)
        return query_fault_at(conf, entry, fault, "must not be empty");
    if (entry ? !query_copy_string(&query->statement, entry->value, fault)
              : !build_legacy(query, conf, fault))
        return false;
    if (!entry)
        entry = conf_find(conf, "table");
    struct text text = text_on(where, sizeof where);
    text_addf(&text, "%s:%u: %s", conf->path, entry->line, entry->name);
    return check_template(query, query->statement, true, where, fault) &&
           check_quotes(query, dialect, where, fault);
}

static bool read_format(struct query *query, const struct conf *conf, struct fault *fault)
{
    char where[FAULT_MAX] = "";
    const struct conf_entry *entry = conf_find(conf, "result_format");
    if (entry && !*entry->value)
        return query_fault_at(conf, entry, fault, "must not be empty");
    if (!query_copy_string(&query->result_format, entry ? entry->value : "%s", fault))
        return false;
    if (!entry)
        return true;
    struct text text = text_on(where, sizeof where);
    text_addf(&text, "%s:%u: %s", conf->path, entry->line, entry->name);
    return check_template(query, query->result_format, false, where, fault);
}

static bool read_limit(struct query *query, const struct conf *conf, struct fault *fault)
{
    const struct conf_entry *entry = conf_find(conf, "expansion_limit");
    uint64_t limit = 0;
    if (entry && !text_to_number(entry->value, INT_MAX, &limit))
        return query_fault_at(conf, entry, fault, "must be a number, 0 for no limit");
    query->expansion_limit = (unsigned)limit;
    return true;
}

bool query_read(struct query *query, const struct conf *conf, const struct query_dialect *dialect,
                struct fault *fault)
{
    for (size_t i = 0; i < conf->count; i++)
        warn_unless_known(conf, &conf->entries[i], dialect);
    return query_copy_string(&query->path, conf->path, fault) &&
           read_statement(query, conf, dialect, fault) && read_format(query, conf, fault) &&
           read_limit(query, conf, fault) && query_read_domains(query, conf, fault);
}
