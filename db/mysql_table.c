#include "db/mysql_table.h"

#include <stdlib.h>
#include <string.h>

#include "config/conf.h"
#include "shared/text.h"

static const char WORD_SEPARATORS[] = ", \t\r\n"; /* Postfix's CHARS_COMMA_SP */

/* Beside the strings of the source. */
static const char *const other_names[] = {
    "hosts",          "list_query",      "idle_interval",
    "retry_interval", "tls_verify_cert", "require_result_set",
};
enum { OTHER_NAMES = sizeof other_names / sizeof other_names[0] };

static const char *parameter(size_t i)
{
    size_t count;
    const struct mysql_source_string *strings = mysql_source_strings(&count);
    if (i < count)
        return strings[i].name;
    return i - count < OTHER_NAMES ? other_names[i - count] : NULL;
}

static const struct query_dialect dialect = {
    .page = "mysql_table(5)", .sql = SQL_OF_MYSQL, .parameter = parameter};

void mysql_table_free(struct mysql_table *table)
{
    if (!table)
        return;
    mysql_source_release(&table->source);
    query_release(&table->query);
    free(table->list_query);
    free(table);
}

/* Reading. Every function returns false with a fault that names file and line. */

static bool read_bool(const struct conf *conf, const char *name, bool default_value, bool *value,
                      struct fault *fault)
{
    const struct conf_entry *entry = conf_find(conf, name);
    *value = default_value;
    if (!entry)
        return true;
    *value = text_same_word(entry->value, "yes");
    if (!*value && !text_same_word(entry->value, "no"))
        return query_fault_at(conf, entry, fault, "must be yes or no");
    return true;
}

/* dict_mysql.c: `unix:pathname` or `inet:host:port`, where both `inet:` and `:port` are optional;
 * a host called localhost means the client library's own socket, whatever its port. */
static bool parse_host(const char *word, struct mysql_host *host, struct fault *fault)
{
    memset(host, 0, sizeof *host);
    struct text text = text_on(host->text, sizeof host->text);
    text_add(&text, word);
    if (text.overflow) {
        fault_set(fault, "host name too long");
        return false;
    }
    if (strncmp(word, "unix:", 5) == 0)
        return endpoint_parse(word, &host->endpoint, fault);

    const char *name = strncmp(word, "inet:", 5) == 0 ? word + 5 : word;
    const char *bracket = strrchr(name, ']');
    bool has_port = strchr(bracket ? bracket : name, ':') != NULL;

    char full[ENDPOINT_TEXT_MAX + sizeof "inet::3306"];
    struct text whole = text_on(full, sizeof full);
    text_addf(&whole, "inet:%s%s", name, has_port ? "" : ":3306");
    if (!endpoint_parse(full, &host->endpoint, fault))
        return false;
    if (!has_port)
        host->endpoint.port = 0;
    if (text_same_word(host->endpoint.host, "localhost"))
        host->endpoint = (struct endpoint){.kind = ENDPOINT_NONE};
    return true;
}

static bool read_hosts(const struct conf *conf, struct mysql_source *source, struct fault *fault)
{
    const struct conf_entry *entry = conf_find(conf, "hosts");
    const char *at =
        entry && entry->value[strspn(entry->value, WORD_SEPARATORS)] ? entry->value : "localhost";
    while (*(at += strspn(at, WORD_SEPARATORS))) {
        size_t length = strcspn(at, WORD_SEPARATORS);
        char word[ENDPOINT_TEXT_MAX];
        if (length >= sizeof word)
            return query_fault_at(conf, entry, fault, "host name too long");
        memcpy(word, at, length);
        word[length] = '\0';
        at += length;
        if (source->host_count == MYSQL_HOSTS_MAX)
            return query_fault_at(conf, entry, fault, "too many hosts");
        if (!parse_host(word, &source->hosts[source->host_count], fault)) {
            fault_within(fault, "%s:%u: hosts", conf->path, entry->line);
            return false;
        }
        source->host_count++;
    }
    return true;
}

static bool read_source(const struct conf *conf, struct mysql_source *source, struct fault *fault)
{
    size_t count;
    const struct mysql_source_string *strings = mysql_source_strings(&count);
    for (size_t i = 0; i < count; i++) {
        const struct conf_entry *entry = conf_find(conf, strings[i].name);
        const char *value = entry ? entry->value : strings[i].default_value;
        /* Empty and not given are the same, as they are to the client library. */
        if (value && *value && !query_copy_string(mysql_source_string(source, i), value, fault))
            return false;
    }
    if (!source->charset && !query_copy_string(&source->charset, "utf8mb4", fault))
        return false;
    return read_hosts(conf, source, fault) &&
           read_bool(conf, "tls_verify_cert", false, &source->tls_verify_cert, fault);
}

static bool read_list_query(const struct conf *conf, struct mysql_table *table, struct fault *fault)
{
    const struct conf_entry *entry = conf_find(conf, "list_query");
    return !entry || !*entry->value || query_copy_string(&table->list_query, entry->value, fault);
}

struct mysql_table *mysql_table_read(const char *path, struct fault *fault)
{
    struct conf *conf = conf_read(path, fault);
    if (!conf)
        return NULL;
    struct mysql_table *table = calloc(1, sizeof *table);
    if (!table)
        fault_set(fault, "out of memory");
    bool good = table && query_read(&table->query, conf, &dialect, fault) &&
                read_source(conf, &table->source, fault) && read_list_query(conf, table, fault) &&
                read_bool(conf, "require_result_set", true, &table->require_result_set, fault);
    conf_free(conf);
    if (good)
        return table;
    mysql_table_free(table);
    return NULL;
}
