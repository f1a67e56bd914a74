#include "db/mysql_table.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/conf.h"
#include "shared/log.h"
#include "shared/text.h"

static const char WORD_SEPARATORS[] = ", \t\r\n"; /* Postfix's CHARS_COMMA_SP */

static const char *const other_names[] = {
    "hosts",
    "query",
    "result_format",
    "domain",
    "expansion_limit",
    "table",
    "select_field",
    "where_field",
    "list_query",
    "additional_conditions",
    "idle_interval",
    "retry_interval",
    "require_result_set",
    "tls_verify_cert",
};

void mysql_table_free(struct mysql_table *table)
{
    if (!table)
        return;
    mysql_source_release(&table->source);
    for (size_t i = 0; i < table->domain_count; i++)
        free(table->domains[i]);
    free(table->domains);
    free(table->path);
    free(table->query);
    free(table->result_format);
    free(table->list_query);
    free(table);
}

/* Reading. Every function returns false with a fault that names file and line. */

static bool fault_at(const struct conf *conf, const struct conf_entry *entry, struct fault *fault,
                     const char *what)
{
    fault_set(fault, "%s:%u: %s: %s", conf->path, entry->line, entry->name, what);
    return false;
}

static bool copy_string(char **to, const char *value, struct fault *fault)
{
    *to = strdup(value);
    if (!*to)
        fault_set(fault, "out of memory");
    return *to != NULL;
}

static const char *value_of(const struct conf *conf, const char *name, const char *default_value)
{
    const struct conf_entry *entry = conf_find(conf, name);
    return entry ? entry->value : default_value;
}

static bool read_bool(const struct conf *conf, const char *name, bool default_value, bool *value,
                      struct fault *fault)
{
    const struct conf_entry *entry = conf_find(conf, name);
    *value = default_value;
    if (!entry)
        return true;
    *value = text_same_word(entry->value, "yes");
    if (!*value && !text_same_word(entry->value, "no"))
        return fault_at(conf, entry, fault, "must be yes or no");
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
            return fault_at(conf, entry, fault, "host name too long");
        memcpy(word, at, length);
        word[length] = '\0';
        at += length;
        if (source->host_count == MYSQL_HOSTS_MAX)
            return fault_at(conf, entry, fault, "too many hosts");
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
        const char *value = value_of(conf, strings[i].name, strings[i].default_value);
        /* Empty and not given are the same, as they are to the client library. */
        if (value && *value && !copy_string(mysql_source_string(source, i), value, fault))
            return false;
    }
    if (!source->charset && !copy_string(&source->charset, "utf8mb4", fault))
        return false;
    return read_hosts(conf, source, fault) &&
           read_bool(conf, "tls_verify_cert", false, &source->tls_verify_cert, fault);
}

/* Checks a template and notes what it will need: db_common_parse. */
static bool check_template(const struct conf *conf, struct mysql_table *table, const char *name,
                           const char *template, bool is_query, struct fault *fault)
{
    const struct conf_entry *entry = conf_find(conf, name);
    for (const char *c = template; *c; c++) {
        if (*c != '%')
            continue;
        c++;
        if (*c >= '1' && *c <= '9') {
            unsigned number = (unsigned)(*c - '0');
            if (number > table->needs_labels)
                table->needs_labels = number;
            table->needs_key_domain = true;
        } else if (*c == 'U' || (*c == 'u' && is_query)) {
            table->needs_key_user = true;
        } else if (*c == 'D' || (*c == 'd' && is_query)) {
            table->needs_key_domain = true;
        } else if (*c == 'u') {
            table->needs_value_user = true;
        } else if (*c == 'd') {
            table->needs_value_domain = true;
        } else if (*c == '\0' || !strchr("%sS", *c)) {
            fault_set(fault, "%s:%u: %s: `%%%.1s' is no expansion; a percent sign is written %%%%",
                      conf->path, entry ? entry->line : 0, name, c);
            return false;
        }
    }
    return true;
}

/* dict_mysql.c: without `query`, the form of Postfix before 2.2. */
static bool build_legacy_query(const struct conf *conf, struct mysql_table *table,
                               struct fault *fault)
{
    static const char *const needed[] = {"table", "select_field", "where_field"};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (*value_of(conf, needed[i], "") == '\0') {
            fault_set(fault, "%s:1: neither query nor %s is set", conf->path, needed[i]);
            return false;
        }
    }
    if (asprintf(&table->query, "SELECT %s FROM %s WHERE %s = '%%s' %s",
                 value_of(conf, "select_field", ""), value_of(conf, "table", ""),
                 value_of(conf, "where_field", ""),
                 value_of(conf, "additional_conditions", "")) < 0) {
        table->query = NULL;
        fault_set(fault, "out of memory");
        return false;
    }
    return true;
}

static bool read_templates(const struct conf *conf, struct mysql_table *table, struct fault *fault)
{
    const struct conf_entry *query = conf_find(conf, "query");
    const struct conf_entry *format = conf_find(conf, "result_format");
    const char *list_query = value_of(conf, "list_query", "");
    if (query && !*query->value)
        return fault_at(conf, query, fault, "must not be empty");
    if (format && !*format->value)
        return fault_at(conf, format, fault, "must not be empty");
    if (query ? !copy_string(&table->query, query->value, fault)
              : !build_legacy_query(conf, table, fault))
        return false;
    if (!copy_string(&table->result_format, format ? format->value : "%s", fault))
        return false;
    if (*list_query && !copy_string(&table->list_query, list_query, fault))
        return false;
    return check_template(conf, table, query ? "query" : "table", table->query, true, fault) &&
           check_template(conf, table, "result_format", table->result_format, false, fault);
}

static bool read_limit(const struct conf *conf, struct mysql_table *table, struct fault *fault)
{
    const struct conf_entry *entry = conf_find(conf, "expansion_limit");
    uint64_t limit = 0;
    if (entry && !text_to_number(entry->value, INT_MAX, &limit))
        return fault_at(conf, entry, fault, "must be a number, 0 for no limit");
    table->expansion_limit = (unsigned)limit;
    return true;
}

static bool add_domain(struct mysql_table *table, const char *word, size_t length,
                       struct fault *fault)
{
    char **grown = realloc(table->domains, (table->domain_count + 1) * sizeof *grown);
    if (grown)
        table->domains = grown;
    char *domain = strndup(word, length);
    if (!grown || !domain) {
        free(domain);
        fault_set(fault, "out of memory");
        return false;
    }
    text_lower_ascii(domain);
    table->domains[table->domain_count++] = domain;
    return true;
}

/* As conf_read does: what is no plain file could have no end, or hold the reader for ever. */
static FILE *open_plain(const char *path, struct fault *fault)
{
    struct stat status;
    FILE *file = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0 && fstat(fd, &status) == 0 && !S_ISREG(status.st_mode))
        fault_set(fault, "%s: is not a plain file", path);
    else if (fd < 0 || !(file = fdopen(fd, "r")))
        fault_set(fault, "%s: %m", path);
    if (fd >= 0 && !file)
        close(fd);
    return file;
}

static bool add_domains_of_line(struct mysql_table *table, const char *path, const char *line,
                                struct fault *fault)
{
    const char *at = line;
    if (line[strspn(line, " \t\r\n")] == '#')
        return true;
    while (*(at += strspn(at, WORD_SEPARATORS))) {
        size_t length = strcspn(at, WORD_SEPARATORS);
        if (memchr(at, '/', length) || memchr(at, ':', length)) {
            fault_set(fault, "%s: `%.*s' is no domain name", path, (int)length, at);
            return false;
        }
        if (!add_domain(table, at, length, fault))
            return false;
        at += length;
    }
    return true;
}

/* A file of patterns, as in match_list(3): the same words, over lines; `#` begins a comment line.
 * A file that names further files is more than anybody was seen to need, and is refused; so is one
 * with a NUL, since a domain that got lost behind it would have no recipients any more. */
static bool add_domains_of_file(struct mysql_table *table, const char *path, struct fault *fault)
{
    FILE *file = open_plain(path, fault);
    if (!file)
        return false;
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    bool good = true;
    while (good && (length = getline(&line, &size, file)) >= 0) {
        good = strlen(line) == (size_t)length;
        if (!good)
            fault_set(fault, "%s: holds a NUL byte; is this a text file?", path);
        good = good && add_domains_of_line(table, path, line, fault);
    }
    if (good && !feof(file)) {
        fault_set(fault, "%s: %m", path);
        good = false;
    }
    free(line);
    fclose(file);
    return good;
}

static bool add_domain_word(struct mysql_table *table, const char *word, size_t length,
                            struct fault *fault)
{
    if (word[0] == '/') {
        char path[PATH_MAX];
        if (length < sizeof path) {
            snprintf(path, sizeof path, "%.*s", (int)length, word);
            return add_domains_of_file(table, path, fault);
        }
        fault_set(fault, "the name of a file is too long");
        return false;
    }
    if (memchr(word, ':', length) || memchr(word, '/', length)) {
        fault_set(fault,
                  "`%.*s' is a lookup table, which is not supported here; list the domains, or "
                  "name a text file of them as /file/name",
                  (int)length, word);
        return false;
    }
    return add_domain(table, word, length, fault);
}

static bool read_domains(const struct conf *conf, struct mysql_table *table, struct fault *fault)
{
    const struct conf_entry *entry = conf_find(conf, "domain");
    const char *at = entry ? entry->value : "";
    if (!*at)
        return true;
    /* A list that turns out empty (an empty file) is still a restriction: nothing is in it. */
    table->domains = calloc(1, sizeof *table->domains);
    if (!table->domains) {
        fault_set(fault, "out of memory");
        return false;
    }
    while (*(at += strspn(at, WORD_SEPARATORS))) {
        size_t length = strcspn(at, WORD_SEPARATORS);
        if (!add_domain_word(table, at, length, fault)) {
            fault_within(fault, "%s:%u: domain", conf->path, entry->line);
            return false;
        }
        at += length;
    }
    return true;
}

static bool name_is_known(const char *name)
{
    size_t count;
    const struct mysql_source_string *strings = mysql_source_strings(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, strings[i].name) == 0)
            return true;
    for (size_t i = 0; i < sizeof other_names / sizeof other_names[0]; i++)
        if (strcmp(name, other_names[i]) == 0)
            return true;
    return false;
}

struct mysql_table *mysql_table_read(const char *path, struct fault *fault)
{
    struct conf *conf = conf_read(path, fault);
    if (!conf)
        return NULL;
    for (size_t i = 0; i < conf->count; i++)
        if (!name_is_known(conf->entries[i].name))
            log_warning("%s:%u: %s: not a parameter of mysql_table(5) we know, ignored", path,
                        conf->entries[i].line, conf->entries[i].name);

    struct mysql_table *table = calloc(1, sizeof *table);
    if (!table)
        fault_set(fault, "out of memory");
    bool good = table && copy_string(&table->path, path, fault) &&
                read_source(conf, &table->source, fault) && read_templates(conf, table, fault) &&
                read_limit(conf, table, fault) && read_domains(conf, table, fault) &&
                read_bool(conf, "require_result_set", true, &table->require_result_set, fault);
    conf_free(conf);
    if (good)
        return table;
    mysql_table_free(table);
    return NULL;
}
