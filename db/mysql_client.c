#include "db/mysql_client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/mysql_compat.h"

struct mysql_client {
    MYSQL mysql;
};

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static bool library_is_ready; /* set once under library_once */

static void library_init(void)
{
    library_is_ready = mysql_library_init(0, NULL, NULL) == 0;
}

bool mysql_client_library_init(struct fault *fault)
{
    pthread_once(&library_once, library_init);
    if (!library_is_ready)
        fault_set(fault, "the MySQL client library cannot be initialised");
    return library_is_ready;
}

void mysql_client_thread_init(void)
{
    mysql_thread_init();
}

void mysql_client_thread_end(void)
{
    mysql_thread_end();
}

/* Names as in the manuals of MariaDB and MySQL, without ER_ and CR_. */
static const struct {
    unsigned number;
    enum mysql_error_class class;
} classes[] = {
    /* the server, or the way to it */
    {1040, MYSQL_ERROR_SERVER}, /* CON_COUNT_ERROR */
    {1041, MYSQL_ERROR_SERVER}, /* OUT_OF_RESOURCES */
    {1053, MYSQL_ERROR_SERVER}, /* SERVER_SHUTDOWN */
    {1135, MYSQL_ERROR_SERVER}, /* CANT_CREATE_THREAD */
    {1158, MYSQL_ERROR_SERVER}, /* NET_READ_ERROR */
    {1159, MYSQL_ERROR_SERVER}, /* NET_READ_INTERRUPTED */
    {1160, MYSQL_ERROR_SERVER}, /* NET_ERROR_ON_WRITE */
    {1161, MYSQL_ERROR_SERVER}, /* NET_WRITE_INTERRUPTED */
    {1203, MYSQL_ERROR_SERVER}, /* TOO_MANY_USER_CONNECTIONS */
    {1226, MYSQL_ERROR_SERVER}, /* USER_LIMIT_REACHED */
    {1927, MYSQL_ERROR_SERVER}, /* CONNECTION_KILLED */
    {2002, MYSQL_ERROR_SERVER}, /* CONNECTION_ERROR */
    {2003, MYSQL_ERROR_SERVER}, /* CONN_HOST_ERROR */
    {2005, MYSQL_ERROR_SERVER}, /* UNKNOWN_HOST */
    {2006, MYSQL_ERROR_SERVER}, /* SERVER_GONE_ERROR */
    {2013, MYSQL_ERROR_SERVER}, /* SERVER_LOST */
    {2026, MYSQL_ERROR_SERVER}, /* SSL_CONNECTION_ERROR */
    {2055, MYSQL_ERROR_SERVER}, /* SERVER_LOST_EXTENDED */
    {4031, MYSQL_ERROR_SERVER}, /* CLIENT_INTERACTION_TIMEOUT */
    /* time */
    {1205, MYSQL_ERROR_SERVER}, /* LOCK_WAIT_TIMEOUT */
    {1317, MYSQL_ERROR_SERVER}, /* QUERY_INTERRUPTED */
    {1969, MYSQL_ERROR_SERVER}, /* STATEMENT_TIMEOUT */
    {3024, MYSQL_ERROR_SERVER}, /* QUERY_TIMEOUT */
    /* the session */
    {1213, MYSQL_ERROR_STATEMENT}, /* LOCK_DEADLOCK */
    {1243, MYSQL_ERROR_STATEMENT}, /* UNKNOWN_STMT_HANDLER */
    {1615, MYSQL_ERROR_STATEMENT}, /* NEED_REPREPARE */
    {2057, MYSQL_ERROR_STATEMENT}, /* NEW_STMT_METADATA */
    /* the bytes of this key */
    {1153, MYSQL_ERROR_KEY}, /* NET_PACKET_TOO_LARGE */
    {1267, MYSQL_ERROR_KEY}, /* CANT_AGGREGATE_2COLLATIONS */
    {1270, MYSQL_ERROR_KEY}, /* CANT_AGGREGATE_3COLLATIONS */
    {1271, MYSQL_ERROR_KEY}, /* CANT_AGGREGATE_NCOLLATIONS */
    {1292, MYSQL_ERROR_KEY}, /* TRUNCATED_WRONG_VALUE */
    {1300, MYSQL_ERROR_KEY}, /* INVALID_CHARACTER_STRING */
    {1366, MYSQL_ERROR_KEY}, /* TRUNCATED_WRONG_VALUE_FOR_FIELD */
    {1406, MYSQL_ERROR_KEY}, /* DATA_TOO_LONG */
    {3854, MYSQL_ERROR_KEY}, /* CANNOT_CONVERT_STRING */
    {3988, MYSQL_ERROR_KEY}, /* IMPOSSIBLE_STRING_CONVERSION */
};

enum mysql_error_class mysql_error_classify(unsigned number)
{
    if (number == 0)
        return MYSQL_NO_ERROR;
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (classes[i].number == number)
            return classes[i].class;
    /* 2000 to 2999 are the library's own: out of step, a malformed packet. Nobody can say what
     * state the connection is in. */
    return number >= 2000 && number < 3000 ? MYSQL_ERROR_STATEMENT : MYSQL_ERROR_SETUP;
}

static bool number_means_lost(unsigned number)
{
    return number == 2006 || number == 2013 || number == 2055 || number == 4031 || number == 1927 ||
           number == 1053;
}

static void take_error(struct mysql_client *client, struct mysql_trouble *trouble,
                       struct fault *fault)
{
    trouble->number = mysql_errno(&client->mysql);
    trouble->class = mysql_error_classify(trouble->number);
    trouble->connection_lost = number_means_lost(trouble->number);
    if (trouble->class == MYSQL_NO_ERROR) /* a failure that left no number */
        trouble->class = MYSQL_ERROR_STATEMENT;
    fault_set(fault, "error %u: %s", trouble->number, mysql_error(&client->mysql));
}

static void set_option(MYSQL *mysql, enum mysql_option option, const char *value)
{
    if (value)
        mysql_options(mysql, option, value);
}

static void set_options(MYSQL *mysql, const struct mysql_source *source,
                        const struct mysql_timeouts *timeouts)
{
    unsigned connect_s = timeouts->connect_s, read_s = timeouts->query_s + 1;
    set_option(mysql, MYSQL_READ_DEFAULT_FILE, source->option_file);
    set_option(mysql, MYSQL_READ_DEFAULT_GROUP, source->option_group);
    set_option(mysql, MYSQL_SET_CHARSET_NAME, source->charset);
    mysql_options(mysql, MYSQL_OPT_CONNECT_TIMEOUT, &connect_s);
    mysql_options(mysql, MYSQL_OPT_READ_TIMEOUT, &read_s);
    mysql_options(mysql, MYSQL_OPT_WRITE_TIMEOUT, &read_s);

    set_option(mysql, MYSQL_OPT_SSL_KEY, source->tls_key_file);
    set_option(mysql, MYSQL_OPT_SSL_CERT, source->tls_cert_file);
    set_option(mysql, MYSQL_OPT_SSL_CA, source->tls_ca_file);
    set_option(mysql, MYSQL_OPT_SSL_CAPATH, source->tls_ca_path);
    set_option(mysql, MYSQL_OPT_SSL_CIPHER, source->tls_ciphers);
    if (source->tls_key_file || source->tls_cert_file || source->tls_ca_file ||
        source->tls_ca_path || source->tls_ciphers || source->tls_verify_cert)
        compat_require_tls(mysql, source->tls_verify_cert);
}

/*
 * What the server's administrator may have set otherwise, and a lookup needs so:
 * - autocommit, or a connection that lives for hours reads from the snapshot of its first query;
 * - a lock that an ALTER TABLE holds is waited for as long as a query may take, not for a day;
 * - backslash escapes, because with NO_BACKSLASH_ESCAPES mysql_real_escape_string cannot know the
 *   kind of quotes around %s, and Oracle's refuses to guess.
 */
static bool prepare_session(struct mysql_client *client, const struct mysql_timeouts *timeouts)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "SET SESSION autocommit = 1, lock_wait_timeout = %u, sql_mode = "
             "REPLACE(@@SESSION.sql_mode, 'NO_BACKSLASH_ESCAPES', '')",
             timeouts->query_s);
    if (mysql_query(&client->mysql, sql) != 0)
        return false;

    enum { UNKNOWN_SYSTEM_VARIABLE = 1193 };
    snprintf(sql, sizeof sql, "SET SESSION max_statement_time = %u", timeouts->query_s);
    if (mysql_query(&client->mysql, sql) == 0)
        return true;
    if (mysql_errno(&client->mysql) != UNKNOWN_SYSTEM_VARIABLE)
        return false;
    snprintf(sql, sizeof sql, "SET SESSION max_execution_time = %u", timeouts->query_s * 1000);
    return mysql_query(&client->mysql, sql) == 0 ||
           mysql_errno(&client->mysql) == UNKNOWN_SYSTEM_VARIABLE; /* before MySQL 5.7.8 */
}

static bool connect_to(struct mysql_client *client, const struct mysql_source *source,
                       const struct mysql_host *host, const struct mysql_timeouts *timeouts)
{
    MYSQL *mysql = &client->mysql;
    const struct endpoint *endpoint = &host->endpoint;
    bool inet = endpoint->kind == ENDPOINT_INET;
    if (!mysql_real_connect(mysql, inet ? endpoint->host : NULL, source->user, source->password,
                            source->dbname, inet ? endpoint->port : 0,
                            endpoint->kind == ENDPOINT_UNIX ? endpoint->path : NULL,
                            CLIENT_MULTI_RESULTS))
        return false;
    /* A default-character-set in the option file would win over ours, and escaping rests on it. */
    const char *charset = mysql_character_set_name(mysql);
    if ((!charset || strcmp(charset, source->charset) != 0) &&
        mysql_set_character_set(mysql, source->charset) != 0)
        return false;
    return prepare_session(client, timeouts);
}

struct mysql_client *mysql_client_connect(const struct mysql_source *source,
                                          const struct mysql_host *host,
                                          const struct mysql_timeouts *timeouts,
                                          struct mysql_trouble *trouble, struct fault *fault)
{
    *trouble = (struct mysql_trouble){0};
    struct mysql_client *client = malloc(sizeof *client);
    if (!client || !mysql_init(&client->mysql)) {
        free(client);
        trouble->class = MYSQL_ERROR_SERVER;
        fault_set(fault, "out of memory");
        return NULL;
    }
    set_options(&client->mysql, source, timeouts);
    if (connect_to(client, source, host, timeouts))
        return client;
    take_error(client, trouble, fault);
    mysql_client_close(client);
    return NULL;
}

void mysql_client_close(struct mysql_client *client)
{
    if (!client)
        return;
    mysql_close(&client->mysql);
    free(client);
}

int mysql_client_socket(const struct mysql_client *client)
{
    /* Neither library takes a const pointer, and neither writes through it. */
    return compat_socket((MYSQL *)(uintptr_t)&client->mysql);
}

size_t mysql_client_escape(void *client, char *to, const char *bytes, size_t length)
{
    MYSQL *mysql = &((struct mysql_client *)client)->mysql;
    return mysql_real_escape_string(mysql, to, bytes, (unsigned long)length);
}

/* What one statement has given so far. */
struct harvest {
    const struct mysql_table *table;
    const char *key;
    struct mysql_trouble *trouble; /* set, with the fault, by whatever step failed */
    struct fault *fault;
    unsigned long rows, values;
    bool has_result_set;
    char value[FINDING_VALUE_MAX]; /* the values as Postfix joins them; "" for none */
};

static void harvest_row(struct harvest *harvest, MYSQL_ROW row, unsigned columns)
{
    harvest->rows++;
    for (unsigned i = 0; i < columns; i++)
        if (mysql_table_format(harvest->table, harvest->key, row[i], harvest->value,
                               sizeof harvest->value))
            harvest->values++;
}

/* One result set, row by row, so that a table without its WHERE does not fill the memory. */
static bool harvest_result(struct mysql_client *client, struct harvest *harvest)
{
    MYSQL *mysql = &client->mysql;
    MYSQL_RES *result = mysql_use_result(mysql);
    if (!result && mysql_field_count(mysql) == 0 && mysql_errno(mysql) == 0)
        return true; /* a statement that gives none, and CALL's own last word */
    if (!result) {
        take_error(client, harvest->trouble, harvest->fault);
        return false;
    }
    harvest->has_result_set = true;
    unsigned columns = mysql_num_fields(result);
    MYSQL_ROW row;
    while ((row = mysql_fetch_row(result)))
        harvest_row(harvest, row, columns);
    bool complete = mysql_errno(mysql) == 0; /* a NULL row is the end, or an error */
    if (!complete)
        take_error(client, harvest->trouble, harvest->fault); /* before freeing forgets it */
    mysql_free_result(result);
    return complete;
}

static bool harvest_statement(struct mysql_client *client, const char *sql, size_t length,
                              struct harvest *harvest)
{
    if (mysql_real_query(&client->mysql, sql, (unsigned long)length) != 0) {
        take_error(client, harvest->trouble, harvest->fault);
        return false;
    }
    int next; /* -1: that was the last; > 0: an error */
    do {
        if (!harvest_result(client, harvest))
            return false;
        next = mysql_next_result(&client->mysql);
    } while (next == 0);
    /* libmariadb's mysql_real_query says -1 for an error; should a next result ever do so too, the
     * error number tells. */
    bool complete = next == -1 && mysql_errno(&client->mysql) == 0;
    if (!complete)
        take_error(client, harvest->trouble, harvest->fault);
    return complete;
}

void mysql_client_query(struct mysql_client *client, const struct mysql_table *table,
                        const char *key, const char *sql, size_t length, unsigned long *rows,
                        struct mysql_trouble *trouble, struct finding *finding)
{
    struct harvest harvest = {
        .table = table, .key = key, .trouble = trouble, .fault = &finding->why};
    *trouble = (struct mysql_trouble){0};
    bool complete = harvest_statement(client, sql, length, &harvest);
    *rows = harvest.rows;
    if (!complete)
        return;
    if (!harvest.has_result_set && table->require_result_set) {
        trouble->class = MYSQL_ERROR_SETUP;
        fault_set(&finding->why, "the statement gave no result set (require_result_set = no makes "
                                 "that \"not found\")");
    } else if (table->expansion_limit > 0 && harvest.values > table->expansion_limit) {
        trouble->class = MYSQL_ERROR_KEY;
        fault_set(&finding->why, "%lu values, more than expansion_limit = %u", harvest.values,
                  table->expansion_limit);
    } else if (harvest.value[0]) {
        finding_set_found(finding, harvest.value);
    } else {
        finding_set_absent(finding);
    }
}
