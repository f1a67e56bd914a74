#include "db/mysql_client.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "db/mysql_inside.h"
#include "shared/text.h"

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

static void take_error(struct mysql_client *client, struct mysql_trouble *trouble,
                       struct fault *fault)
{
    trouble->number = mysql_errno(&client->mysql);
    trouble->class = mysql_error_classify(trouble->number);
    trouble->connection_lost = mysql_error_means_lost(trouble->number);
    if (trouble->class == MYSQL_NO_ERROR) /* a failure that left no number */
        trouble->class = MYSQL_ERROR_STATEMENT;
    fault_set(fault, "error %u: %s", trouble->number, mysql_error(&client->mysql));
}

static void set_option(MYSQL *mysql, enum mysql_option option, const char *value)
{
    if (value)
        mysql_options(mysql, option, value);
}

static bool wants_tls(const struct mysql_source *source)
{
    return source->tls_key_file || source->tls_cert_file || source->tls_ca_file ||
           source->tls_ca_path || source->tls_ciphers || source->tls_verify_cert;
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
    if (wants_tls(source))
        compat_require_tls(mysql, source->tls_ca_file || source->tls_ca_path,
                           source->tls_verify_cert);
}

/* 0: a statement may take as long as it likes. */
static bool limit_statements(struct mysql_client *client, unsigned s)
{
    enum { UNKNOWN_SYSTEM_VARIABLE = 1193 };
    char sql[64];
    snprintf(sql, sizeof sql, "SET SESSION max_statement_time = %u", s);
    if (mysql_query(&client->mysql, sql) == 0)
        return true;
    if (mysql_errno(&client->mysql) != UNKNOWN_SYSTEM_VARIABLE)
        return false;
    snprintf(sql, sizeof sql, "SET SESSION max_execution_time = %u", s * 1000);
    return mysql_query(&client->mysql, sql) == 0 ||
           mysql_errno(&client->mysql) == UNKNOWN_SYSTEM_VARIABLE; /* before MySQL 5.7.8 */
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

    return limit_statements(client, timeouts->query_s);
}

/* libmariadb goes on without TLS where the server has none, unless it is to verify its name. The
 * log-in was then made in the clear (the password is not sent), and is all that was. */
static bool is_plain_against_wish(struct mysql_client *client, const struct mysql_source *source,
                                  struct mysql_trouble *trouble, struct fault *fault)
{
    enum { SSL_CONNECTION_ERROR = 2026 };
    if (!wants_tls(source) || mysql_get_ssl_cipher(&client->mysql))
        return false;
    *trouble = (struct mysql_trouble){.class = mysql_error_classify(SSL_CONNECTION_ERROR),
                                      .number = SSL_CONNECTION_ERROR};
    fault_set(fault, "error %u: TLS is asked for (tls_*), and the server has none",
              trouble->number);
    return true;
}

static bool connect_to(struct mysql_client *client, const struct mysql_source *source,
                       const struct mysql_host *host, const struct mysql_timeouts *timeouts,
                       struct mysql_trouble *trouble, struct fault *fault)
{
    MYSQL *mysql = &client->mysql;
    const struct endpoint *endpoint = &host->endpoint;
    bool inet = endpoint->kind == ENDPOINT_INET;
    if (!mysql_real_connect(mysql, inet ? endpoint->host : NULL, source->user, source->password,
                            source->dbname, inet ? endpoint->port : 0,
                            endpoint->kind == ENDPOINT_UNIX ? endpoint->path : NULL,
                            CLIENT_MULTI_RESULTS)) {
        take_error(client, trouble, fault);
        return false;
    }
    if (is_plain_against_wish(client, source, trouble, fault))
        return false;
    /* A default-character-set in the option file would win over ours, and escaping rests on it. */
    const char *charset = mysql_character_set_name(mysql);
    if ((charset && strcmp(charset, source->charset) == 0) ||
        mysql_set_character_set(mysql, source->charset) == 0)
        if (prepare_session(client, timeouts))
            return true;
    take_error(client, trouble, fault);
    return false;
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
    client->status_form = 0;
    set_options(&client->mysql, source, timeouts);
    if (connect_to(client, source, host, timeouts, trouble, fault))
        return client;
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

/* ---- one statement ---- */

/* One result set, row by row, so that a table without its WHERE does not fill the memory. */
static bool take_result(struct mysql_client *client, struct mysql_rows *rows)
{
    MYSQL *mysql = &client->mysql;
    MYSQL_RES *result = mysql_use_result(mysql);
    if (!result && mysql_field_count(mysql) == 0 && mysql_errno(mysql) == 0)
        return true; /* a statement that gives none, and CALL's own last word */
    if (!result) {
        take_error(client, rows->trouble, rows->fault);
        return false;
    }
    rows->has_result_set = true;
    MYSQL_ROW row;
    while (!rows->stopped && (row = mysql_fetch_row(result)))
        rows->stopped = !rows->take(rows->context, result, row);
    if (rows->stopped) /* or freeing the result reads the rest of it */
        shutdown(compat_socket(mysql), SHUT_RDWR);
    bool complete = !rows->stopped && mysql_errno(mysql) == 0; /* no row: the end, or an error */
    if (!complete && !rows->stopped)
        take_error(client, rows->trouble, rows->fault); /* before freeing forgets it */
    mysql_free_result(result);
    return complete;
}

bool mysql_client_run(struct mysql_client *client, const char *sql, size_t length,
                      struct mysql_rows *rows)
{
    *rows->trouble = (struct mysql_trouble){0};
    if (mysql_real_query(&client->mysql, sql, (unsigned long)length) != 0) {
        take_error(client, rows->trouble, rows->fault);
        return false;
    }
    int next; /* -1: that was the last; > 0: an error */
    do {
        if (!take_result(client, rows))
            return false;
        next = mysql_next_result(&client->mysql);
    } while (next == 0);
    /* libmariadb's mysql_real_query says -1 for an error; should a next result ever do so too, the
     * error number tells. */
    bool complete = next == -1 && mysql_errno(&client->mysql) == 0;
    if (!complete)
        take_error(client, rows->trouble, rows->fault);
    return complete;
}

/* ---- a lookup ---- */

struct harvest {
    struct query_values values;
    unsigned long rows;
};

static bool harvest_row(void *context, MYSQL_RES *result, MYSQL_ROW row)
{
    struct harvest *harvest = context;
    unsigned columns = mysql_num_fields(result);
    harvest->rows++;
    for (unsigned i = 0; i < columns; i++)
        query_values_add(&harvest->values, row[i]);
    return true;
}

void mysql_client_query(struct mysql_client *client, const struct mysql_table *table,
                        const char *key, const char *sql, size_t length, unsigned long *rows,
                        struct mysql_trouble *trouble, struct finding *finding)
{
    struct harvest harvest = {.values = {.query = &table->query, .key = key}};
    struct mysql_rows taken = {
        .take = harvest_row, .context = &harvest, .trouble = trouble, .fault = &finding->why};
    bool complete = mysql_client_run(client, sql, length, &taken);
    *rows = harvest.rows;
    if (!complete)
        return;
    if (!taken.has_result_set && table->require_result_set) {
        trouble->class = MYSQL_ERROR_SETUP;
        fault_set(&finding->why, "the statement gave no result set (require_result_set = no makes "
                                 "that \"not found\")");
    } else if (!query_values_judge(&harvest.values, finding)) {
        trouble->class = MYSQL_ERROR_KEY;
    }
}

/* ---- a list ---- */

struct listing {
    bool (*each)(void *context, const char *recipient, size_t length);
    void *context;
};

static bool list_row(void *context, MYSQL_RES *result, MYSQL_ROW row)
{
    struct listing *listing = context;
    unsigned long length = mysql_fetch_lengths(result)[0];
    return !row[0] || length == 0 || listing->each(listing->context, row[0], length);
}

bool mysql_client_list(struct mysql_client *client, const char *sql,
                       bool (*each)(void *context, const char *recipient, size_t length),
                       void *context, struct fault *fault)
{
    struct mysql_trouble trouble = {0};
    struct listing listing = {.each = each, .context = context};
    struct mysql_rows rows = {
        .take = list_row, .context = &listing, .trouble = &trouble, .fault = fault};
    /* As long as it takes; and whoever takes the rows may be slow, too. */
    if (!limit_statements(client, 0) ||
        mysql_query(&client->mysql, "SET SESSION net_write_timeout = 3600") != 0) {
        take_error(client, &trouble, fault);
        return false;
    }
    bool complete = mysql_client_run(client, sql, strlen(sql), &rows);
    if (complete && !rows.has_result_set)
        fault_set(fault, "list_query gave no result set");
    return rows.stopped || (complete && rows.has_result_set);
}
